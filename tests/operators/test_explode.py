"""`explode`: rows multiply, and each keeps time, mark and order of the row it stems from."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import BuildError, DataError, TypeMismatchError, col

LISTS = st.lists(st.none() | st.lists(st.none() | st.integers(-9, 9), max_size=4), max_size=6)


@given(values=LISTS, batch_rows=st.sampled_from([1, 2, 3, 100]), large=st.booleans())
def test_a_row_for_each_value_and_one_for_none(values: list[Any], batch_rows: int, large: bool) -> None:
    """What Polars gives with `empty_as_null=True`."""
    kind = pa.large_list(pa.int64()) if large else pa.list_(pa.int64())
    ids = pa.array(range(len(values)), pa.int64())
    table = pa.table({"id": ids, "v": pa.array(values, kind)})
    got = sl.read_arrow(table).explode("v").collect(batch_rows=batch_rows)
    assert got.schema == pa.schema({"id": pa.int64(), "v": pa.int64()})
    assert got.to_pylist() == [{"id": i, "v": v} for i, some in enumerate(values) for v in some or [None]]


@given(values=LISTS, batch_rows=st.sampled_from([1, 2, 100]))
def test_several_lists_are_exploded_side_by_side(values: list[Any], batch_rows: int) -> None:
    doubled = [None if v is None else [None if i is None else 2 * i for i in v] for v in values]
    kind = pa.list_(pa.int64())
    table = pa.table({"a": pa.array(values, kind), "b": pa.array(doubled, kind)})
    rows = sl.read_arrow(table).explode("a", "b").collect(batch_rows=batch_rows).to_pylist()
    assert all(r["b"] == (None if r["a"] is None else 2 * r["a"]) for r in rows)
    assert len(rows) == sum(max(len(v or ()), 1) for v in values)


def test_batches_stay_small_however_long_the_lists() -> None:
    sizes: list[int] = []

    def seen(batch: pa.RecordBatch) -> pa.RecordBatch:
        sizes.append(batch.num_rows)
        return batch

    table = pa.table({"v": [list(range(25)), [], list(range(7)), [1], None]})
    rows = sl.read_arrow(table).explode("v").map_batches(seen).collect(batch_rows=10)
    assert rows["v"].to_pylist() == [*range(25), None, *range(7), 1, None]
    assert max(sizes) <= 10


ROW = st.tuples(st.integers(0, 40), st.sampled_from("ab"), st.lists(st.integers(0, 9), max_size=3))


@pytest.mark.slow
@given(
    rows=st.lists(ROW, max_size=8),
    batch_rows=st.sampled_from([1, 3, 100]),
    workers=st.sampled_from([1, 2]),
)
def test_a_window_sees_each_value_once_and_the_last_is_the_last_of_its_row(
    rows: list[Any], batch_rows: int, workers: int
) -> None:
    table = pa.table(
        {
            "ts": pa.array([r[0] for r in rows], pa.timestamp("s")),
            "k": pa.array([r[1] for r in rows], pa.string()),
            "v": pa.array([r[2] for r in rows], pa.list_(pa.int64())),
        }
    )
    stream = sl.read_arrow(table).event_time("ts", max_delay="1m").explode("v").key_by("k")
    bars = stream.window(sl.tumbling("1m")).agg(total=col("v").sum(), n=sl.count(), last=col("v").last())
    results = bars.collect(workers=workers, batch_rows=batch_rows).to_pylist()
    got = {r["k"]: (r["total"], r["n"], r["last"]) for r in results}
    expected = {}
    for key in {r[1] for r in rows}:
        mine = sorted((r for r in rows if r[1] == key), key=lambda r: r[0])
        values = [v for r in mine for v in (r[2] or [None])]
        expected[key] = (sum(v or 0 for v in values), len(values), values[-1])
    assert got == expected


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_a_late_row_is_late_with_all_its_values(batch_rows: int) -> None:
    table = pa.table({"ts": pa.array([30, 2, 31], pa.timestamp("s")), "v": [[1], [2, 3], [4, 5]]})
    exploded = sl.read_arrow(table).event_time("ts", max_delay="0s").explode("v")
    result = exploded.window(sl.tumbling("10s")).agg(n=col("v").sum())
    assert result.collect(batch_rows=batch_rows)["n"].to_pylist() == [10]
    assert result.late.collect(batch_rows=batch_rows)["v"].to_pylist() == [2, 3]


def test_lists_of_different_length_are_refused() -> None:
    table = pa.table({"a": [[1], [1, 2]], "b": [[1], [2]]})
    with pytest.raises(DataError, match="'a' and 'b' differ in length"):
        sl.read_arrow(table).explode("a", "b").collect()


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        (("n",), TypeMismatchError, "is no list"),
        (("s",), TypeMismatchError, "str.split"),
        ((), BuildError, "no column"),
        (("m",), BuildError, "no column 'm'"),
    ],
)
def test_what_cannot_work_fails_at_its_line(columns: Any, error: type[BuildError], message: str) -> None:
    with pytest.raises(error) as caught:
        sl.read_arrow(pa.table({"n": [1], "s": ["a"]})).explode(*columns)
    assert message in str(caught.value)
