"""`fill_gaps`: which windows are filled, with what, when they come out, and what cannot work."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.contracts import OverlappingWindow, Window
from streamlib.elements import MAX_TIME, Batch
from streamlib.errors import BuildError, ColumnNotFoundError, TypeMismatchError
from streamlib.operators.windows.calendar_window import CalendarWindow
from streamlib.operators.windows.gaps import Grid

SECOND = 1_000_000_000
SCHEMA = pa.schema({"ts": pa.timestamp("s"), "k": pa.string(), "v": pa.int64()})


def rows(*ticks: tuple[float, str | None, int]) -> pa.Table:
    """Seconds, key and value of each row."""
    columns = [list(column) for column in zip(*ticks, strict=True)] or [[], [], []]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def bars(table: pa.Table | None = None, window: Any = None, lateness: str = "0s") -> sl.KeyedStream:
    keyed = sl.read_arrow(rows() if table is None else table).event_time("ts", max_delay="2s").key_by("k")
    windowed = keyed.window(window or sl.tumbling("10s"), allowed_lateness=lateness)
    return windowed.agg(n=sl.count(), v=col("v").sum(), twice=sl.count() * 2)  # type: ignore[return-value]


def by_hand(filled: sl.Stream, *results: tuple[Any, ...]) -> Batch:
    """Results as they come from the window step: the columns of `filled`, bounds in seconds."""
    columns = [list(column) for column in zip(*results, strict=True)]
    arrays = [
        pa.array(c, pa.timestamp("s")).cast(f.type) if pa.types.is_timestamp(f.type) else pa.array(c, f.type)
        for c, f in zip(columns, filled.schema, strict=True)
    ]
    rows = pa.RecordBatch.from_arrays(arrays, schema=filled.schema)
    ends = rows["window_end"].cast(pa.timestamp("ns")).cast(pa.int64())
    return Batch(rows, np.asarray(ends) - 1)


def fed(filled: sl.Stream, *results: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """What becomes of some results."""
    step = t.harness(filled)
    list(step.operator.on_batch(by_hand(filled, *results)))
    return sorted(plain(step.end()), key=lambda row: row[:3])


def plain(table: pa.Table) -> list[tuple[Any, ...]]:
    """Key, bounds in seconds, and all else."""
    found = []
    for row in table.to_pylist():
        bounds = [int(row.pop(name).timestamp()) for name in ("window_start", "window_end")]
        found.append((row.pop("k", None), *bounds, *row.values()))
    return found


def test_windows_between_rows_and_after_them_are_filled_up_to_a_time() -> None:
    filled = bars(rows((1, "a", 1), (2, "b", 2), (31, "a", 3))).fill_gaps(n=0, v="forward", up_to="25s")
    assert plain(filled.collect()) == [
        ("a", 0, 10, 1, 1, 2),
        ("b", 0, 10, 1, 2, 2),
        ("a", 10, 20, 0, 1, None),
        ("b", 10, 20, 0, 2, None),
        ("a", 20, 30, 0, 1, None),
        ("b", 20, 30, 0, 2, None),
        ("a", 30, 40, 1, 3, 2),
        ("a", 40, 50, 0, 3, None),
        ("a", 50, 60, 0, 3, None),
    ]


def test_a_quiet_key_has_windows_as_the_watermark_passes_them() -> None:
    filled = bars().fill_gaps(n=0, v="forward", up_to="30s")
    step = t.harness(filled)
    list(step.operator.on_batch(by_hand(filled, ("a", 0, 10, 1, 5, 2), ("b", 0, 10, 1, 6, 2))))
    assert step.operator.open_windows() == (1, 10 * SECOND - 1)
    assert plain(step.watermark(10 * SECOND)) == [("a", 0, 10, 1, 5, 2), ("b", 0, 10, 1, 6, 2)]
    assert step.watermark(20 * SECOND - 1).num_rows == 0
    assert step.forwarded == 20 * SECOND - 1
    assert plain(step.watermark(20 * SECOND)) == [("a", 10, 20, 0, 5, None), ("b", 10, 20, 0, 6, None)]
    list(step.operator.on_batch(by_hand(filled, ("a", 30, 40, 1, 7, 2))))
    halved = step.restored(step.barrier())
    for each in (step, halved):
        assert sorted(plain(each.watermark(41 * SECOND)), key=lambda row: row[:3]) == [
            ("a", 20, 30, 0, 5, None),
            ("a", 30, 40, 1, 7, 2),
            ("b", 20, 30, 0, 6, None),
            ("b", 30, 40, 0, 6, None),
        ]
        assert each.operator.snapshot()["last"]["k"].to_pylist() == ["a"], "b has been quiet for too long"
        assert plain(each.end()) == [("a", n, n + 10, 0, 7, None) for n in (40, 50, 60)]
    assert step.times()[-1] == 70 * SECOND - 1


def test_keys_that_have_been_quiet_for_too_long_leave_no_state() -> None:
    filled = bars().fill_gaps(n=0, up_to="10s")
    step = t.harness(filled)
    for turn in range(40):
        results = ((f"{turn}/{n}", turn * 10, turn * 10 + 10, 1, n, 2) for n in range(200))
        list(step.operator.on_batch(by_hand(filled, *results)))
        step.watermark((turn * 10 + 10) * SECOND)
        assert step.operator.snapshot()["last"].num_rows == 200
    assert step.operator.table.count < 3_000  # type: ignore[attr-defined]
    assert step.rows().num_rows == 40 * 200 + 39 * 200


def test_a_window_with_late_rows_is_filled_when_none_can_come_any_more() -> None:
    table = rows((1, "a", 1), (25, "b", 1), (12, "a", 2), (50, "b", 2))
    filled = bars(table, lateness="20s").fill_gaps(n=0, up_to="20s")
    assert [(row[0], row[1], row[3]) for row in plain(filled.collect()) if row[0] == "a"] == [
        ("a", 0, 1),
        ("a", 10, 1),
        ("a", 20, 0),
        ("a", 30, 0),
    ]


def test_days_of_a_time_zone_are_filled_whatever_their_length() -> None:
    days = [dt.datetime(2026, 3, 27, 12), dt.datetime(2026, 3, 31, 12)]
    table = pa.table({"ts": pa.array(days, pa.timestamp("s")), "k": ["a", "a"], "v": [1, 2]}, schema=SCHEMA)
    filled = bars(table, sl.calendar("1d", tz="Europe/Berlin")).fill_gaps(v="forward", up_to="48h")
    found = [(row["window_start"], row["v"]) for row in filled.collect().to_pylist()]
    midnights = [dt.datetime(2026, 3, 26, 23), dt.datetime(2026, 3, 27, 23), dt.datetime(2026, 3, 28, 23)]
    # Two days and 47 hours later; the 29th has 23 hours, so that the 30th would end an hour too late.
    assert found == [
        (midnights[0], 1),
        (midnights[1], 1),
        (midnights[2], 1),
        (dt.datetime(2026, 3, 30, 22), 2),
        (dt.datetime(2026, 3, 31, 22), 2),
        (dt.datetime(2026, 4, 1, 22), 2),
    ]


@dataclass(frozen=True)
class Odd(Window):
    """One second, then two, and so on."""

    def starts(self, times: Any) -> Any:
        return times // (3 * SECOND) * 3 * SECOND + np.where(times % (3 * SECOND) >= SECOND, SECOND, 0)

    def ends(self, starts: Any) -> Any:
        return starts + np.where(starts % (3 * SECOND) == 0, SECOND, 2 * SECOND)


@dataclass(frozen=True)
class SameEnds(OverlappingWindow):
    """Two windows that end together, every ten seconds: so long, and half as long."""

    def first(self, times: Any) -> Any:
        return times // (10 * SECOND) * 2

    def last(self, times: Any) -> Any:
        return times // (10 * SECOND) * 2 + (times % (10 * SECOND) >= 5 * SECOND)

    def starts(self, numbers: Any) -> Any:
        return numbers // 2 * 10 * SECOND + numbers % 2 * 5 * SECOND

    def ends(self, numbers: Any) -> Any:
        return (numbers // 2 + 1) * 10 * SECOND


def test_windows_of_ones_own_are_filled_from_end_to_end() -> None:
    t.check_window(Odd())
    filled = bars(rows((0, "a", 1), (7, "a", 2)), Odd()).fill_gaps(n=0, up_to="5s")
    assert [row[1:4] for row in plain(filled.collect())] == [
        (0, 1, 1),
        (1, 3, 0),
        (3, 4, 0),
        (4, 6, 0),
        (7, 9, 1),
        (9, 10, 0),
        (10, 12, 0),
        (12, 13, 0),
    ]


def test_windows_that_end_together_are_gaps_together() -> None:
    t.check_window(SameEnds())
    filled = bars(window=SameEnds()).fill_gaps(n=0, up_to="20s")
    given = [("a", 0, 10, 1, 1, 2), ("a", 20, 30, 1, 2, 2), ("a", 25, 30, 1, 2, 2)]
    assert [row[1:4] for row in fed(filled, *given)][:5] == [
        (0, 10, 1),
        (10, 20, 0),
        (15, 20, 0),
        (20, 30, 1),
        (25, 30, 1),
    ]


def test_many_windows_are_given_a_few_at_a_time() -> None:
    for window in (sl.tumbling("1ns"), Odd()):
        grid, reached = Grid(window, 7), np.array([0, 0])
        limits = np.array([40, 50]) if not isinstance(window, Odd) else np.array([40, 50]) * SECOND
        parts = list(grid.following(reached, limits))
        assert max(len(part.after) for part in parts) <= 7
        assert sum(len(part.after) for part in parts) > 50
        assert (reached < limits).all()
        assert not list(grid.following(reached, limits))


def test_all_kinds_of_values_fill_columns() -> None:
    kinds = {
        "d": pa.decimal128(9, 2),
        "s": pa.dictionary(pa.int32(), pa.string()),
        "t": pa.duration("ms"),
        "f": pa.float64(),
        "l": pa.list_(pa.int64()),
    }
    table = pa.schema({"ts": pa.timestamp("s"), **kinds}).empty_table()
    windowed = sl.read_arrow(table).event_time("ts", max_delay="0s").window(sl.tumbling("10s"))
    latest = windowed.agg(**{name: col(name).last() for name in kinds})
    result = (0, 10, Decimal("1.50"), "x", dt.timedelta(milliseconds=5), 1.5, [1])
    filled = [
        fed(latest.fill_gaps(up_to="10s", **fills), result)[1][3:]
        for fills in (
            {},
            dict.fromkeys("dstfl", "forward"),
            {"d": 0, "s": "none", "t": dt.timedelta(seconds=1), "f": 0, "l": None},
            {"d": Decimal("0.5"), "s": sl.lit("forward"), "f": -1},
        )
    ]
    assert filled == [
        (None,) * 5,
        (Decimal("1.50"), "x", dt.timedelta(milliseconds=5), 1.5, [1]),
        (Decimal("0.00"), "none", dt.timedelta(seconds=1), 0.0, None),
        (Decimal("0.50"), "forward", None, -1.0, None),
    ]


def test_a_null_is_carried_forward_as_it_is() -> None:
    filled = bars().fill_gaps(v="forward", up_to="10s")
    found = fed(filled, ("a", 0, 10, 1, 1, 2), ("a", 10, 20, 1, None, 2), ("a", 30, 40, 1, 2, 2))
    assert [row[4] for row in found] == [1, None, None, 2, 2]


def test_windows_are_filled_to_the_end_of_time_and_no_further() -> None:
    times = pa.array([MAX_TIME - 25 * SECOND], pa.int64()).cast(pa.timestamp("ns"))
    table = pa.table({"ts": times, "k": ["a"], "v": [1]})
    for window in (sl.tumbling("10s"), sl.calendar("1d")):
        keyed = sl.read_arrow(table).event_time("ts", max_delay="0s").window(window)
        counted = keyed.agg(n=sl.count(), v=col("v").sum())
        filled = counted.fill_gaps(n=0, up_to="200d").collect()
        ends = filled["window_end"].cast(pa.int64()).to_pylist()
        assert ends[0] > MAX_TIME - 25 * SECOND and ends == sorted(ends) and len(ends) <= 3


def test_same_window_knows_filled_windows() -> None:
    filled = bars(rows((1, "a", 1), (2, "b", 2), (31, "a", 3))).fill_gaps(n=0, up_to="20s")
    across = filled.key_by().window(sl.same_window()).agg(n=col("n").sum(), keys=sl.count())
    assert across.collect().select(["n", "keys"]).to_pylist() == [
        {"n": n, "keys": keys} for n, keys in ((2, 2), (0, 2), (0, 2), (1, 1), (0, 1), (0, 1))
    ]


@pytest.mark.parametrize(
    "window", [sl.tumbling("4s"), sl.calendar("1d")], ids=lambda window: window.describe()
)
def test_any_cut_order_and_crash_gives_the_same_rows(window: Any) -> None:
    dice = random.Random(3)
    scale = 8_000 if isinstance(window, CalendarWindow) else 1
    ticks = [
        (time, dice.choice(["a", "b", None]), time)
        for time in sorted(dice.randint(0, 120) * scale for _ in range(15))
    ]
    filled = bars(rows(*ticks), window).fill_gaps(n=0, v="forward", up_to="11s" if scale == 1 else "2d")
    t.check(filled)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: bars().fill_gaps(n=0), BuildError, "needs up_to="),
        (lambda: bars().fill_gaps(n=0, up_to=5), BuildError, "up_to"),
        (lambda: bars().fill_gaps(n=0, up_to="9s"), BuildError, "shorter than the way"),
        (lambda: bars().fill_gaps(x=0, up_to="1h"), ColumnNotFoundError, "no column 'x'"),
        (lambda: bars().fill_gaps(k="forward", up_to="1h"), BuildError, "'k' is not filled"),
        (lambda: bars().fill_gaps(window_end="forward", up_to="1h"), BuildError, "is not filled"),
        (lambda: bars().fill_gaps(n="none", up_to="1h"), TypeMismatchError, "cannot be filled with 'none'"),
        (lambda: bars().fill_gaps(n=0.5, up_to="1h"), TypeMismatchError, "cannot be filled with 0.5"),
        (lambda: bars().fill_gaps(n=True, up_to="1h"), TypeMismatchError, "cannot be filled with True"),
        (lambda: bars().fill_gaps(v="0", up_to="1h"), TypeMismatchError, "cannot be filled with '0'"),
        (lambda: bars().fill_gaps(n=col("v"), up_to="1h"), BuildError, "a value or forward"),
        (lambda: bars().filter(col("n") > 1).fill_gaps(n=0, up_to="1h"), BuildError, "right behind"),
        (lambda: bars().fill_gaps(n=0, up_to="1h").fill_gaps(n=0, up_to="1h"), BuildError, "right behind"),
        (lambda: bars(window=sl.session("1s")).fill_gaps(n=0, up_to="1h"), BuildError, "follow one another"),
        (
            lambda: bars(window=sl.tumbling(rows=2)).fill_gaps(n=0, up_to="1h"),
            BuildError,
            "follow one another",
        ),
        (
            lambda: bars().window(sl.same_window()).agg(n=sl.count()).fill_gaps(n=0, up_to="1h"),
            BuildError,
            "follow one another",
        ),
    ],
)
def test_what_makes_no_sense_fails_when_the_graph_is_built(make: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_options_are_shown_as_they_were_written() -> None:
    shown = str(bars().fill_gaps(n=0, v="forward", twice=sl.lit(-1), up_to="1h").explain())
    assert "n=0, v='forward', twice=lit(-1), up_to='1h'" in shown
