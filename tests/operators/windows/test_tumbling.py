"""Tumbling windows: each time in exactly one, from 1677 to 2262."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import streamlib as sl
from streamlib.operators.windows.tumbling import TumblingWindow

MIN, MAX = -(2**63), 2**63 - 1
SECOND = 1_000_000_000


@given(
    time=st.integers(MIN, MAX),
    size=st.integers(1, 10**18),
    offset=st.integers(0, 10**18 - 1),
)
@example(time=-1, size=10, offset=0)
@example(time=0, size=10, offset=0)
@example(time=MAX - 1, size=10 * SECOND, offset=0)
@example(time=MIN + 1, size=10 * SECOND, offset=0)
def test_starts_and_ends_are_those_of_exact_arithmetic_held_at_the_ends_of_time(
    time: int, size: int, offset: int
) -> None:
    """Python's integers do not wrap. The window of a time near an end of time is cut there and overlaps no other."""
    window = TumblingWindow(size, offset % size)
    start = time - (time - offset) % size
    starts = window.starts(np.array([time], dtype=np.int64))
    assert starts.tolist() == [max(start, MIN)]
    assert window.ends(starts).tolist() == [min(start + size, MAX)]


def bars(times: list[int], delay: str = "2s") -> list[tuple[int, int, int]]:
    table = pa.table({"ts": pa.array(times, pa.int64()).cast(pa.timestamp("ns"))})
    stream = sl.read_arrow(table).event_time("ts", max_delay=delay).window(sl.tumbling("10s"))
    found = stream.agg(n=sl.count()).collect()
    bounds = (found[name].cast(pa.int64()).to_pylist() for name in ("window_start", "window_end"))
    return list(zip(*bounds, found["n"].to_pylist(), strict=True))


def test_the_first_window_of_all_is_cut_at_its_start_and_keeps_its_end() -> None:
    second = (MIN // (10 * SECOND) + 1) * 10 * SECOND
    assert bars([MIN + 1, second - 1, second]) == [(MIN, second, 2), (second, second + 10 * SECOND, 1)]


def test_the_last_window_of_all_is_cut_at_its_end() -> None:
    last = MAX // (10 * SECOND) * 10 * SECOND
    assert bars([last - 1, last, MAX - 1]) == [(last - 10 * SECOND, last, 1), (last, MAX, 2)]


def test_the_latest_time_there_is_ends_no_window_before_the_input_does() -> None:
    """Without any delay the watermark stands at the latest time, and the window that holds it has not ended."""
    assert [bar[2] for bar in bars([MAX - 5, MAX, MAX - 1], delay="0s")] == [3]


def test_windows_are_half_open_and_the_origin_is_1970_moved_by_the_offset() -> None:
    table = pa.table({"ts": pa.array([-7, -6, 3, 4, 14], pa.timestamp("s"))})
    stream = sl.read_arrow(table).event_time("ts", max_delay="1s").window(sl.tumbling("10s", offset="4s"))
    found = stream.agg(n=sl.count()).collect()
    assert found["window_start"].cast(pa.int64()).to_pylist() == [-16, -6, 4, 14]
    assert found["n"].to_pylist() == [1, 2, 1, 1]


@pytest.mark.parametrize(("size", "unit"), [("10s", "s"), ("1ms", "ns"), ("1500ms", "ns")])
def test_bounds_have_the_type_of_the_time_where_that_is_fine_enough(size: str, unit: str) -> None:
    table = pa.table({"ts": pa.array([1, 2], pa.timestamp("s", "UTC"))})
    result = sl.read_arrow(table).event_time("ts", "1s").window(sl.tumbling(size)).agg(n=sl.count())
    assert result.schema.field("window_start").type == pa.timestamp(unit, "UTC")
    assert result.collect().num_rows == (1 if size == "10s" else 2)
