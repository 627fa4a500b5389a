"""`select` and `with_columns`: columns of the same row; time, order and lateness stay the row's."""

from __future__ import annotations

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import col

ROWS = pa.table(
    {"ts": pa.array([5, 1, 30, 2], pa.timestamp("s")), "k": ["a", "b", "a", "b"], "n": [1, 2, 3, 4]}
)


def timed() -> sl.Stream:
    return sl.read_arrow(ROWS).event_time("ts", max_delay="0s")


def test_select_gives_only_what_was_asked_for_in_that_order() -> None:
    table = sl.read_arrow(ROWS).select("n", double=col("n") * 2, one=1).collect()
    assert table.to_pydict() == {"n": [1, 2, 3, 4], "double": [2, 4, 6, 8], "one": [1] * 4}


def test_with_columns_replaces_in_place_and_adds_at_the_end() -> None:
    table = sl.read_arrow(ROWS).with_columns(k=col("n") + 1, z=col("n")).collect()
    assert table.schema.names == ["ts", "k", "n", "z"]
    assert table["k"].to_pylist() == [2, 3, 4, 5]


def test_all_expressions_see_the_columns_as_they_were() -> None:
    table = sl.read_arrow(ROWS).with_columns(n=col("n") + 100, old=col("n")).collect()
    assert table["old"].to_pylist() == [1, 2, 3, 4]


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_a_row_keeps_its_event_time_when_the_column_is_replaced_or_gone(batch_rows: int) -> None:
    """Windows go by the time that `event_time` read; rows keep their marks."""
    changed = timed().with_columns(ts=col("ts").cast("int64"))
    gone = timed().select("k", "n")
    for stream in (changed, gone):
        result = stream.window(sl.tumbling("10s")).agg(n=col("n").sum())
        assert result.collect(batch_rows=batch_rows)["n"].to_pylist() == [1 + 2, 3]
        assert result.late.collect(batch_rows=batch_rows)["n"].to_pylist() == [4]


def test_a_stream_stays_keyed_while_its_key_columns_stay() -> None:
    keyed = timed().key_by("k")

    def columns(stream: sl.Stream) -> list[str]:
        return stream.window(sl.tumbling("10s")).agg(c=sl.count()).schema.names

    bounds = ["window_start", "window_end", "c"]
    assert columns(keyed.with_columns(x=1)) == ["k", *bounds]
    assert columns(keyed.select("n", "k")) == ["k", *bounds]
    assert columns(keyed.select("n").key_by()) == bounds
    assert columns(keyed.with_columns(k=col("n")).key_by()) == bounds
