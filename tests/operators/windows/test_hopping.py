"""Hopping and cumulative windows: their numbers in exact arithmetic, what is late for some of them, and their edges."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import BuildError, col
from streamlib.contracts import OverlappingWindow
from streamlib.operators.windows.cumulative import CumulativeWindow
from streamlib.operators.windows.hopping import HoppingWindow

MIN, MAX = -(2**63), 2**63 - 1
SECOND = 1_000_000_000

spans = st.one_of(st.integers(3, 20), st.integers(3, 10**9), st.integers(10**9, 10**17))
moments = st.one_of(
    st.integers(-100, 100), st.integers(MIN, MAX), st.integers(MIN, MIN + 50), st.integers(MAX - 50, MAX)
)


def held(time: int) -> int:
    return max(MIN, min(MAX, time))


def array(number: int) -> Any:
    return np.array([number], dtype=np.int64)


@given(time=moments, every=spans, more=st.integers(0, 10**18), offset=st.integers(0, 10**18))
def test_hops_are_those_of_exact_arithmetic_held_at_the_ends_of_time(
    time: int, every: int, more: int, offset: int
) -> None:
    """Python's integers do not wrap."""
    size, offset = every + more, offset % every
    window = HoppingWindow(size, every, offset)
    first, last = (time - offset - size) // every + 1, (time - offset) // every
    assert (window.first(array(time))[0], window.last(array(time))[0]) == (first, last)
    for number in (first - 1, first, last, last + 1):
        start = offset + number * every
        assert window.starts(array(number))[0] == held(start)
        assert window.ends(array(number))[0] == held(start + size)
        assert window.bounds(number) == (held(start), held(start + size))


@given(time=moments, every=spans, steps=st.integers(1, 60), offset=st.integers(0, 10**18))
def test_steps_are_those_of_exact_arithmetic_held_at_the_ends_of_time(
    time: int, every: int, steps: int, offset: int
) -> None:
    size = every * steps
    offset %= size
    window = CumulativeWindow(size, every, offset)
    start = time - (time - offset) % size
    first, last = int(window.first(array(time))[0]), int(window.last(array(time))[0])
    assert last - first == steps - 1 - (time - start) // every
    for number in range(max(first, last - 3), last + 1):
        end = start + size - (last - number) * every
        assert window.starts(array(number))[0] == held(start)
        assert window.ends(array(number))[0] == held(end)
        assert window.bounds(number) == (held(start), held(end))
    assert window.starts(array(last + 1))[0] == held(start + size)
    assert window.ends(array(first - 1))[0] == held(start + (time - start) // every * every)


@pytest.mark.parametrize(
    "window",
    [
        sl.hopping("60s", every="1s"),
        sl.hopping("60s", every="7s", offset="3s"),
        sl.hopping("1h", every="1h"),
        sl.hopping("10ns", every="3ns"),
        sl.cumulative("1d", every="1h", offset="90m"),
        sl.cumulative("10s", every="10s"),
    ],
    ids=lambda window: window.describe(),
)
def test_ours_keep_the_contract(window: OverlappingWindow) -> None:
    t.check_window(window)


@dataclass(frozen=True)
class Own(OverlappingWindow):
    """The example of the contract."""

    size: int
    every: int

    def first(self, times: Any) -> Any:
        return (times - self.size) // self.every + 1

    def last(self, times: Any) -> Any:
        return times // self.every

    def starts(self, numbers: Any) -> Any:
        return numbers * self.every

    def ends(self, numbers: Any) -> Any:
        return numbers * self.every + self.size


class HasGaps(Own):
    def first(self, times: Any) -> Any:
        return super().first(times) + (times % 2)


class CountsOneTooMany(Own):
    def last(self, times: Any) -> Any:
        return super().last(times) + 1


def test_windows_of_your_own_may_overlap() -> None:
    t.check_window(Own(10 * SECOND, 3 * SECOND))
    own = ticks([1, 6, 12, 7, 3, 31]).window(Own(10 * SECOND, 4 * SECOND)).agg(n=sl.count())
    ours = ticks([1, 6, 12, 7, 3, 31]).window(sl.hopping("10s", every="4s")).agg(n=sl.count())
    assert own.collect().equals(ours.collect().cast(own.schema)) and own.late.collect().num_rows == 2


@pytest.mark.parametrize("wrong", [HasGaps(10, 10), CountsOneTooMany(10 * SECOND, 4 * SECOND)])
def test_what_is_wrong_with_them_is_found(wrong: OverlappingWindow) -> None:
    with pytest.raises(AssertionError):
        t.check_window(wrong)


def ticks(seconds: list[float], delay: str = "0s") -> sl.Stream:
    times = pa.array([round(1000 * s) for s in seconds], pa.int64()).cast(pa.timestamp("ms"))
    return sl.read_arrow(pa.table({"ts": times, "n": range(len(seconds))})).event_time("ts", max_delay=delay)


def counts(found: pa.Table) -> list[tuple[int, int, int]]:
    starts, ends = (
        (found[name].cast(pa.int64()).to_numpy() // 1000).tolist() for name in ("window_start", "window_end")
    )
    return list(zip(starts, ends, found["n"].to_pylist(), strict=True))


@pytest.mark.parametrize("how", [{}, {"batch_rows": 1}, {"workers": 3}])
def test_a_row_that_is_late_for_some_windows_is_in_the_others(how: dict[str, int]) -> None:
    """When row 7 comes, at 12, its window [0, 10) has ended; [5, 15) has not."""
    windows = ticks([1, 12, 7]).window(sl.hopping("10s", every="5s")).agg(n=sl.count())
    assert counts(windows.collect(**how)) == [(-5, 5, 1), (0, 10, 1), (5, 15, 2), (10, 20, 1)]
    (late,) = windows.late.collect(**how).to_pylist()
    zero, second = dt.datetime(1970, 1, 1), dt.timedelta(seconds=1)
    assert late == {
        "ts": zero + 7 * second,
        "n": 2,
        "late_by": 2 * second,
        "windows_late": 1,
        "window_start": zero,
        "window_end": zero + 10 * second,
    }


def test_a_row_is_late_once_however_many_windows_it_missed() -> None:
    windows = ticks([60, 7]).window(sl.hopping("10s", every="1s")).agg(n=sl.count())
    (late,) = windows.late.collect().to_pylist()
    assert late["windows_late"] == 10 and late["late_by"] == dt.timedelta(seconds=52)
    assert [n for *_, n in counts(windows.collect())] == [1] * 10


def test_lateness_is_allowed_to_each_window_by_itself() -> None:
    """At 17 the windows [0, 10) and [5, 15) have ended; the second takes rows for 3 s more."""
    windows = ticks([1, 17, 7]).window(sl.hopping("10s", every="5s"), allowed_lateness="3s").agg(n=sl.count())
    (late,) = windows.late.collect().to_pylist()
    assert (late["windows_late"], late["late_by"]) == (1, dt.timedelta(seconds=4))
    assert counts(windows.collect()) == [(-5, 5, 1), (0, 10, 1), (5, 15, 1), (10, 20, 1), (15, 25, 1)]


def test_windows_without_rows_give_none_and_a_gap_of_centuries_costs_nothing() -> None:
    table = pa.table({"ts": pa.array([-9 * 10**18, 0, 9 * 10**18], pa.timestamp("ns")), "n": range(3)})
    windows = sl.read_arrow(table).event_time("ts", max_delay="0s").window(sl.hopping("3ns", every="1ns"))
    found = windows.agg(n=sl.count()).collect()
    assert found["n"].to_pylist() == [1] * 9


def test_a_day_so_far_hour_by_hour() -> None:
    """An hour without rows repeats the day so far; the next day begins anew; an empty day gives nothing."""
    hours = [0.5, 0.75, 3.5, 49]
    windows = ticks([h * 3600 for h in hours]).window(sl.cumulative("1d", every="12h")).agg(n=sl.count())
    day = 86_400
    assert counts(windows.collect()) == [
        (0, day // 2, 3),
        (0, day, 3),
        (2 * day, 2 * day + day // 2, 1),
        (2 * day, 3 * day, 1),
    ]


def test_windows_at_the_ends_of_time_are_cut_there() -> None:
    table = pa.table({"ts": pa.array([MIN + 1, MAX - 1], pa.timestamp("ns"))})
    windows = sl.read_arrow(table).event_time("ts", max_delay="1s").window(sl.hopping("10s", every="5s"))
    found = windows.agg(n=sl.count()).collect()
    starts, ends = (found[name].cast(pa.int64()).to_pylist() for name in ("window_start", "window_end"))
    assert (starts[0], ends[-1]) == (MIN, MAX)
    assert all(start < end for start, end in zip(starts, ends, strict=True)) and len(starts) == 4


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sl.hopping("0s", every="1s"), "longer than zero"),
        (lambda: sl.hopping("10s", every="0s"), "some time apart"),
        (lambda: sl.hopping("10s", every="11s"), "the hop is longer than the window"),
        (lambda: sl.hopping(10, every="1s"), "a string with a unit"),  # type: ignore[arg-type]
        (lambda: sl.cumulative("1d", every="7h"), "do not fill the period"),
        (lambda: sl.cumulative("0s", every="1h"), "longer than zero"),
        (lambda: sl.cumulative("1h", every="-1s"), "longer than zero"),
    ],
)
def test_windows_that_make_no_sense_are_refused_where_they_are_made(make: Any, words: str) -> None:
    with pytest.raises(BuildError, match=words) as caught:
        make()
    assert "test_hopping.py" in str(caught.value)


ROWS = [
    {"ts": f"00:00:{second:02}", "k": key, "v": v}
    for second, key, v in zip(
        [3, 1, 4, 1, 5, 12, 9, 16, 15, 13, 25, 28, 29, 22], "aabaababaabbab", range(14), strict=True
    )
]


@pytest.mark.slow
@pytest.mark.parametrize("window", [sl.hopping("10s", every="4s"), sl.cumulative("20s", every="5s")])
def test_the_operator_keeps_its_contract(window: OverlappingWindow) -> None:
    """Cut and restored anywhere, with values in words, beside the records, and collected."""
    rows = t.table(
        "ts k v\n" + "\n".join(f"{r['ts']} {r['k']} {r['v']}" for r in sorted(ROWS, key=lambda r: r["ts"]))
    )
    timed = sl.read_arrow(rows).event_time("ts", max_delay="4s").key_by("k")
    windows = timed.window(window, allowed_lateness="2s")
    for aggregates in (
        {"n": sl.count(), "v": col("v").sum(), "first": col("v").first()},
        {"least": col("k").min(), "n": sl.count()},
        {"middle": col("v").median(), "different": col("v").count_distinct()},
    ):
        marks = [5 * SECOND, 9 * SECOND, 13 * SECOND, 21 * SECOND]
        t.check_operator(windows.agg(**aggregates), sorted_after(rows, marks), watermarks=marks)


def sorted_after(rows: pa.Table, marks: list[int]) -> pa.Table:
    """Rows none of which is late when the watermarks come evenly between them."""
    base = rows["ts"].cast(pa.timestamp("ns")).cast(pa.int64()).to_numpy()
    parts = np.array_split(np.arange(len(base)), len(marks) + 1)
    low = [MIN, *marks]
    times = np.concatenate(
        [
            np.maximum(base[part] - base[part] // SECOND // 60 * 60 * SECOND, floor)
            for part, floor in zip(parts, low, strict=True)
        ]
    )
    return rows.set_column(0, "ts", pa.array(times.astype(np.int64)).cast(rows.schema.field("ts").type))


@pytest.mark.slow
def test_a_pipeline_gives_the_same_rows_however_it_is_run() -> None:
    stream = sl.read(t.source(ROWS[:9], ROWS[9:])).event_time("ts", max_delay="2s").key_by("k")
    windows = stream.window(sl.hopping("10s", every="3s"), allowed_lateness="1s").agg(
        n=sl.count(), first=col("v").first(), low=col("v").min()
    )
    again = windows.key_by().window(sl.same_window()).agg(n=col("n").sum())
    assert t.check([windows, windows.late, again]) > 10
    assert t.run(windows.late).num_rows > 0


def test_slices_with_thousands_of_keys_in_one_batch_grow() -> None:
    count = 6_000
    seconds = [n * 40 // count for n in range(count)]
    keys = [n * 7 % 2_500 for n in range(count)]
    table = pa.table({"ts": pa.array(seconds, pa.timestamp("s")), "k": keys})
    rows = sl.read_arrow(table).event_time("ts", max_delay="0s")
    found = rows.key_by("k").window(sl.hopping("20s", every="10s")).agg(n=sl.count()).collect()
    want = Counter(
        (key, start)
        for second, key in zip(seconds, keys, strict=True)
        for start in range(second // 10 * 10 - 10, second + 1, 10)
    )
    starts = found["window_start"].cast(pa.int64()).to_pylist()
    assert (
        dict(zip(zip(found["k"].to_pylist(), starts, strict=True), found["n"].to_pylist(), strict=True))
        == want
    )
