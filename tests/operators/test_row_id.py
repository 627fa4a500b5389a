"""`with_row_id` and `head`: the same rows have the same number, and a look shows the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import BuildError, col
from streamlib.testing import ListSource


def source(splits: list[list[int]], seed: int = 0, block_rows: int = 2) -> ListSource:
    schema = pa.schema({"ts": pa.timestamp("s"), "id": pa.int64()})
    items: dict[str, Any] = {}
    count = 0
    for number, times in enumerate(splits):
        ids = range(count, count + len(times))
        count += len(times)
        batch = pa.record_batch(
            [pa.array(times, pa.timestamp("s")), pa.array(ids, pa.int64())], schema=schema
        )
        items[f"s{number}"] = [batch]
    return ListSource(items, schema, seed=seed, block_rows=block_rows)


@given(
    splits=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=3),
    seed=st.integers(0, 9),
    batch_rows=st.sampled_from([1, 3, 100]),
    workers=st.sampled_from([1, 2, 3]),
)
def test_the_number_depends_on_the_row_alone(
    splits: list[list[int]], seed: int, batch_rows: int, workers: int
) -> None:
    def numbers(**how: Any) -> dict[int, int]:
        stream = sl.read(source(splits, seed=seed)).event_time("ts", max_delay="5s")
        kept = stream.filter(col("id") % 3 != 1).with_columns(x=col("id") * 2).with_row_id("row")
        return {r["id"]: r["row"] for r in kept.collect(**how).to_pylist()}

    expected = numbers()
    assert len(set(expected.values())) == len(expected)
    assert numbers(batch_rows=batch_rows, workers=workers) == expected
    positions = [(n, i) for n, times in enumerate(splits) for i in range(len(times))]
    assert expected == {k: (positions[k][0] << 40) + positions[k][1] for k in expected}


def test_the_column_stands_in_front_and_time_and_keys_stay() -> None:
    stream = sl.read(source([[1, 2]])).event_time("ts", max_delay="0s").key_by("id").with_row_id()
    assert stream.schema.names == ["row_id", "ts", "id"]
    assert stream._node.time == "ts"
    assert stream.window(sl.tumbling("1s")).agg(n=sl.count()).schema.names[0] == "id"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda s: s.with_row_id(), "needs event time"),
        (lambda s: s.event_time("ts", "0s").with_row_id("id"), "a column 'id' already"),
        (
            lambda s: s.event_time("ts", "0s").map_batches(lambda b: b).with_row_id(),
            "put with_row_id() before 'map_batches'",
        ),
        (lambda s: s.event_time("ts", "0s").union(s.event_time("ts", "0s")).with_row_id(), "before 'union'"),
        (
            lambda s: (
                s.event_time("ts", "0s")
                .key_by("id")
                .window(sl.tumbling("1s"))
                .agg(n=sl.count())
                .with_row_id()
            ),
            "its results are told apart by id, window_start",
        ),
    ],
)
def test_rows_without_a_position_of_their_own_get_none(build: Any, message: str) -> None:
    with pytest.raises(BuildError) as caught:
        build(sl.read(source([[1]])))
    assert message in str(caught.value)


# ---- head ---------------------------------------------------------------------------------------------


def test_head_reads_no_further_than_it_must() -> None:
    seen: list[int] = []

    def watched(batch: pa.RecordBatch) -> pa.RecordBatch:
        seen.extend(batch["id"].to_pylist())
        return batch

    stream = sl.read(source([list(range(100))], block_rows=10)).map_batches(watched)
    assert stream.head(3)["id"].to_pylist() == [0, 1, 2]
    assert len(seen) <= 30
    assert stream.head(0).num_rows == 0
    assert stream.head().num_rows == 5
    assert stream.head(1_000).num_rows == 100
    assert stream.head(1).schema == stream.schema


@pytest.mark.parametrize("n", [1, 3, 50])
def test_head_shows_the_same_rows_each_time(n: int, tmp_path: Path) -> None:
    for name in ("a", "b"):
        pq.write_table(
            pa.table({"ts": pa.array(range(20), pa.timestamp("s")), "f": [name] * 20}),
            tmp_path / f"{name}.parquet",
        )
    stream = sl.read_files(str(tmp_path / "*.parquet")).event_time("ts", max_delay="2s")
    bars = stream.key_by("f").window(sl.tumbling("5s")).agg(n=sl.count())
    for each in (stream, bars):
        first = each.head(n)
        assert first.num_rows == min(n, each.collect().num_rows)
        for _ in range(3):
            assert each.head(n).equals(first)
        rows = each.collect().to_pylist()
        assert all(row in rows for row in first.to_pylist())


def test_head_names_the_step_that_fails() -> None:
    stream = sl.read(source([[1, 2]])).with_columns(x=col("id") * 2**62 * 4)
    with pytest.raises(sl.DataError, match="overflow"):
        stream.head()
    with pytest.raises(BuildError, match="number of rows"):
        stream.head(-1)
