"""Columns in forms that files and data frames have them in give what plain columns give.

Dictionaries whose words repeat, are null or are unused, and differ from batch to batch; views; runs; slices
that begin somewhere.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.testing.list_source import ListSource

WORDS = ["", "a", "b\0", "exactly8", "a text of more than eight bytes"]
NUMBERS = [-1.5, 0.0, 2.5, 1e300]
Steps = dict[str, Callable[[sl.Stream], sl.Stream | sl.Table]]

STEPS: Steps = {
    "window": lambda rows: (
        rows.key_by("k").window(sl.tumbling("10s")).agg(n=sl.count(), f=col("p").first(), m=col("p").max())
    ),
    "hopping": lambda rows: rows.key_by("k", "p").window(sl.hopping("10s", every="5s")).agg(n=sl.count()),
    "session": lambda rows: rows.key_by("k").window(sl.session("3s")).agg(n=sl.count(), p=col("p").count()),
    "updates": lambda rows: (
        rows.key_by("k").window(sl.tumbling("10s"), emit="updates").agg(n=sl.count()).changes()
    ),
    "states": lambda rows: rows.key_by("k").agg(n=sl.count(), last=col("p").last(), every="5s"),
    "latest": lambda rows: rows.key_by("k").latest(),
    "dedup": lambda rows: rows.dedup("k", within="5s"),
    "join": lambda rows: rows.join(rows, on="k", within=("0s", "2s"), how="left"),
    "as of": lambda rows: rows.asof_join(rows, on=["k", "p"], allow_exact=False),
    "rolling": lambda rows: rows.key_by("k").rolling(rows=2).agg(n=sl.count(), total=col("v").sum()),
    "functions": lambda rows: rows.key_by("k").with_columns(before=col("p").shift(1)),
    "filled": lambda rows: (
        rows.key_by("k").window(sl.tumbling("2s")).agg(p=col("p").last()).fill_gaps(p="forward", up_to="4s")
    ),
    "null": lambda rows: rows.filter(col("k").is_null()),
}


def coded(dice: random.Random, values: list[Any], kind: pa.DataType) -> pa.Array:
    """A slice of a dictionary with words twice, words that nobody uses, and a null among them."""
    pool = WORDS if pa.types.is_string(kind) else NUMBERS
    words = [*values, *dice.choices(pool, k=3), None]
    dice.shuffle(words)
    places = [dice.choice([n for n, word in enumerate(words) if word == value]) for value in [None, *values]]
    return pa.DictionaryArray.from_arrays(pa.array(places, pa.int16()), pa.array(words, kind)).slice(1)


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
    """Batches of plain columns, and the same rows in batches of their own with dictionaries."""
    dice = random.Random(draw(st.integers(0, 2**32)))
    count = dice.choice((0, 1, 12, 40))
    times = sorted(dice.randint(0, 30) for _ in range(count))
    keys, values = dice.choices([*WORDS, None], k=count), dice.choices([*NUMBERS, None], k=count)
    plain, forms = [], []
    begin = 0
    while begin < count:
        end = dice.randint(begin + 1, count)
        part = slice(begin, end)
        others = [pa.array(times[part], pa.timestamp("s")), pa.array(range(begin, end), pa.int64())]
        mine = [pa.array(keys[part], pa.string()), pa.array(values[part], pa.float64())]
        both = [coded(dice, keys[part], pa.string()), coded(dice, values[part], pa.float64())]
        plain.append(pa.RecordBatch.from_arrays([*others, *mine], names=["ts", "v", "k", "p"]))
        forms.append(pa.RecordBatch.from_arrays([*others, *both], names=["ts", "v", "k", "p"]))
        begin = end
    return plain, forms


def stream(batches: list[pa.RecordBatch], kinds: list[pa.DataType]) -> sl.Stream:
    schema = pa.schema(dict(zip(["ts", "v", "k", "p"], [pa.timestamp("s"), pa.int64(), *kinds], strict=True)))
    return sl.read(ListSource({"only": batches}, schema)).event_time("ts", max_delay="0s")


def found(table: pa.Table) -> Counter[str]:
    return Counter(map(str, table.to_pylist()))


@pytest.mark.parametrize("step", STEPS)
@settings(max_examples=15)
@given(both=rows(), workers=st.sampled_from([1, 2, 4]), batch_rows=st.sampled_from([1, 7, 65_536]))
def test_dictionaries_give_what_plain_columns_give(
    step: str, both: tuple[list[pa.RecordBatch], list[pa.RecordBatch]], workers: int, batch_rows: int
) -> None:
    plain = stream(both[0], [pa.string(), pa.float64()])
    forms = stream(both[1], [pa.dictionary(pa.int16(), kind) for kind in (pa.string(), pa.float64())])
    wanted, got = STEPS[step](plain).collect(), STEPS[step](forms).collect(workers, batch_rows)
    assert found(got) == found(wanted)


def test_nulls_among_the_words_of_a_batch_function() -> None:
    def coded_keys(batch: pa.RecordBatch) -> pa.RecordBatch:
        words = pa.array(["a", None])
        places = pa.array([n % 2 for n in range(batch.num_rows)], pa.int32())
        return pa.record_batch({"ts": batch["ts"], "k": pa.DictionaryArray.from_arrays(places, words)})

    ticks = sl.read_arrow(pa.table({"ts": pa.array([1, 2, 3, 4], pa.timestamp("s"))}))
    mapped = ticks.event_time("ts", max_delay="0s").map_batches(
        coded_keys, {"ts": "timestamp[s]", "k": pa.dictionary(pa.int32(), pa.string())}
    )
    assert mapped.filter(col("k").is_null()).collect().num_rows == 2
    joined = mapped.join(mapped, on="k", within=("0s", "0s"))
    assert joined.collect().num_rows == 2, "null matches nothing"


def test_views_and_runs_in_arrow_files_and_data_frames_are_plain_columns(tmp_path: Path) -> None:
    table = pa.table(
        {
            "ts": pa.array([1, 2, 3], pa.timestamp("s")),
            "text": pa.array(["x", "a text of more than twelve bytes", None], pa.string_view()),
            "bytes": pa.array([b"x", None, b""], pa.binary_view()),
            "tags": pa.array([["x", None], [], None], pa.list_(pa.string_view())),
            "both": pa.array([{"a": "x"}, None, {"a": None}], pa.struct({"a": pa.string_view()})),
            "runs": pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array(["p", "q"])),
            "half": pa.array([1.5, None, 2.0], pa.float16()),
        }
    )
    with pa.ipc.new_file(str(tmp_path / "rows.arrow"), table.schema) as writer:
        writer.write_table(table)
    for source in (sl.read_files(tmp_path / "rows.arrow"), sl.read_arrow(table)):
        assert [str(kind) for kind in source.schema.types[1:6]] == [
            "string",
            "binary",
            "list<item: string>",
            "struct<a: string>",
            "string",
        ]
        timed = source.event_time("ts", max_delay="0s")
        known = timed.filter(col("text").is_not_null())
        for stream in (known, known.dedup("text", within="1s")):
            got = stream.collect(batch_rows=1).to_pylist()
            assert got == table.slice(0, 2).to_pylist()
        counted = timed.key_by("runs").window(sl.tumbling("1h")).agg(n=sl.count(), first=col("text").first())
        assert [row["n"] for row in counted.collect().to_pylist()] == [2, 1]
        assert timed.key_by("half").latest().collect().num_rows == 3
