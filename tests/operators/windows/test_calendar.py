"""Calendar windows: against zoneinfo second by second, and DuckDB's date_trunc in the zones where both agree."""

from __future__ import annotations

import datetime as dt
import threading
import zoneinfo
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import BuildError
from streamlib.operators.windows.calendar_window import CalendarWindow, first_instant
from tests.oracle.queries import database

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
MIN, MAX = -(2**63), 2**63 - 1
UNITS = {"1d": "day", "1w": "week", "1mo": "month", "1q": "quarter", "1y": "year"}

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "America/Sao_Paulo",  # days that begin at 01:00
    "Asia/Beirut",
    "America/Havana",  # days whose midnight comes twice
    "America/St_Johns",  # clocks were put back at one minute past midnight
    "Pacific/Apia",  # a day that never was
]


def wall(time: int, zone: zoneinfo.ZoneInfo) -> dt.datetime:
    """What the clock shows, whole seconds."""
    at = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=time // SECOND)
    return at.astimezone(zone).replace(tzinfo=None)


def period(shown: dt.datetime, unit: str) -> tuple[int, int]:
    """A number for the period that a local time is in: rises with time."""
    if unit == "1d":
        return shown.toordinal(), 0
    if unit == "1w":
        return (shown.toordinal() - 1) // 7, 0
    months = {"1mo": 1, "1q": 3, "1y": 12}[unit]
    return (shown.year * 12 + shown.month - 1) // months, 0


@given(
    seconds=st.integers(-9_200_000_000, 9_200_000_000),
    zone=st.sampled_from(ZONES),
    unit=st.sampled_from(list(UNITS)),
)
@example(seconds=1_325_239_200, zone="Pacific/Apia", unit="1d")
@example(seconds=1_286_600_000, zone="America/Sao_Paulo", unit="1d")
def test_a_window_begins_when_the_clock_first_shows_its_period(seconds: int, zone: str, unit: str) -> None:
    """At the start it does, a second before it did not, and it goes on to the next such moment."""
    window, rules, time = sl.calendar(unit, tz=zone), zoneinfo.ZoneInfo(zone), seconds * SECOND
    start = int(window.starts(np.array([time]))[0])
    end = window.end(start)
    assert start <= time < end
    if start == MIN or end == MAX:
        return
    mine = period(wall(start, rules), unit)
    assert period(wall(start - SECOND, rules), unit) < mine
    assert period(wall(end - SECOND, rules), unit) <= mine, "put back, the clock shows the day before again"
    assert period(wall(end, rules), unit) > mine
    assert (
        int(window.starts(np.array([end]))[0]) == end and int(window.starts(np.array([end - 1]))[0]) == start
    )


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Pacific/Auckland"])
def test_windows_equal_those_of_duckdb(unit: str, zone: str) -> None:
    """From 1970 to 2262, every 63 hours: also after 2037, where Arrow's own rules end."""
    times = np.arange(0, 9_200_000_000, 9 * 3600 * 7 + 1, dtype=np.int64)
    given = pa.table({"s": times})
    connection = database()
    connection.register("given_times", given)
    connection.execute(f"set timezone = '{zone}'")
    try:
        query = f"select epoch(date_trunc('{UNITS[unit]}', to_timestamp(s)))::bigint as s from given_times"
        wanted = connection.sql(query).to_arrow_table()["s"].to_numpy()
    finally:
        connection.execute("set timezone = 'UTC'")
    assert np.array_equal(sl.calendar(unit, tz=zone).starts(times * SECOND), wanted * SECOND)


@pytest.mark.parametrize(
    "window",
    [
        sl.calendar("1d", tz="Europe/Berlin"),
        sl.calendar("1w", tz="America/New_York", week_start="sunday", offset="6h"),
        sl.calendar("3mo", tz="Asia/Kolkata"),
        sl.calendar("100y"),
        sl.calendar("580y"),
        sl.calendar("1d", offset="1500ms"),
    ],
    ids=lambda window: window.describe(),
)
def test_ours_keep_the_contract(window: CalendarWindow) -> None:
    t.check_window(window)


def starts(window: CalendarWindow, *days: str) -> list[str]:
    times = np.array(days, dtype="datetime64[ns]").astype(np.int64)
    return [str(s)[:16] for s in window.starts(times).astype("datetime64[ns]")]


def test_weeks_begin_on_monday_unless_told_otherwise() -> None:
    sunday = "2026-03-08T12:00"
    assert starts(sl.calendar("1w"), sunday) == ["2026-03-02T00:00"]
    assert starts(sl.calendar("1w", week_start="sunday"), sunday) == ["2026-03-08T00:00"]


def test_multiples_are_counted_from_1970() -> None:
    assert starts(sl.calendar("2w"), "1970-01-04", "1970-01-12") == ["1969-12-29T00:00", "1970-01-12T00:00"]
    assert starts(sl.calendar("3mo"), "2026-02-28", "1969-12-31") == ["2026-01-01T00:00", "1969-10-01T00:00"]
    assert starts(sl.calendar("10y"), "2026-02-28", "1969-12-31") == ["2020-01-01T00:00", "1960-01-01T00:00"]


def test_the_offset_is_by_the_clock_on_the_wall() -> None:
    """Days from six to six: on the day the clocks go forward six o'clock is an hour earlier."""
    days = sl.calendar("1d", tz="Europe/Berlin", offset="6h")
    assert starts(days, "2026-03-28T05:00", "2026-03-29T04:00", "2026-03-29T03:59") == [
        "2026-03-28T05:00",
        "2026-03-29T04:00",
        "2026-03-28T05:00",
    ]


def test_days_have_23_and_25_hours() -> None:
    days = sl.calendar("1d", tz="Europe/Berlin")
    noons = np.array(["2026-03-29T12", "2026-10-25T12", "2026-07-01T12"], dtype="datetime64[ns]").astype(
        np.int64
    )
    lengths = days.ends(days.starts(noons)) - days.starts(noons)
    assert (lengths // (3600 * SECOND)).tolist() == [23, 25, 24]


def test_a_time_that_is_skipped_begins_when_the_clock_is_changed() -> None:
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    change = int(dt.datetime(2026, 3, 29, 1, tzinfo=dt.UTC).timestamp())
    for minute in (0, 1, 30, 59):
        assert first_instant(dt.datetime(2026, 3, 29, 2, minute), zone) == change
    assert first_instant(dt.datetime(2026, 3, 29, 3), zone) == change


def test_bounds_are_kept_between_batches_and_shared_by_threads() -> None:
    window = sl.calendar("1d", tz="Europe/Berlin")
    times = np.arange(0, 400 * DAY, 7 * 3600 * SECOND, dtype=np.int64)
    wanted = sl.calendar("1d", tz="Europe/Berlin").starts(times)
    wrong: list[Any] = []

    def look(part: Any) -> None:
        for piece in np.array_split(part, 40):
            want = wanted[np.searchsorted(times, piece)]
            if not np.array_equal(window.starts(piece), want):
                wrong.append(piece)

    threads = [threading.Thread(target=look, args=(times[which::2],)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("workers", [1, 3])
def test_counts_by_local_day_equal_duckdb(workers: int) -> None:
    times = (np.arange(5_000) * 2_399 % 9_000_011) + 1_790_000_000
    table = pa.table({"ts": pa.array(np.sort(times), pa.timestamp("s"))})
    stream = sl.read_arrow(table).event_time("ts", max_delay="0s")
    found = stream.window(sl.calendar("1d", tz="America/New_York")).agg(n=sl.count()).collect(workers=workers)
    connection = database()
    connection.register("given_times", table)
    query = """
        with local as (select timezone('America/New_York', ts at time zone 'UTC') as clock from given_times)
        select epoch(timezone('America/New_York', date_trunc('day', clock)))::bigint, count(*)
        from local group by all order by all
    """
    wanted = connection.execute(query).fetchall()
    assert (
        list(zip(found["window_start"].cast(pa.int64()).to_pylist(), found["n"].to_pylist(), strict=True))
        == wanted
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sl.calendar("1h"), "cannot be read"),
        (lambda: sl.calendar("1mo2d"), "cannot be read"),
        (lambda: sl.calendar(7), "cannot be read"),  # type: ignore[arg-type]
        (lambda: sl.calendar("0d"), "longer than zero"),
        (lambda: sl.calendar("1000y"), "too long"),
        (lambda: sl.calendar("1d", tz="Europe/Atlantis"), "unknown time zone"),
        (lambda: sl.calendar("1d", tz="../../etc/passwd"), "unknown time zone"),
        (lambda: sl.calendar("1w", week_start="Montag"), "unknown weekday"),
        (lambda: sl.calendar("1d", offset="24h"), "within the period"),
        (lambda: sl.calendar("1d", offset="-1h"), "within the period"),
    ],
)
def test_calendars_that_make_no_sense_are_refused_where_they_are_made(make: Any, words: str) -> None:
    with pytest.raises(BuildError, match=words) as caught:
        make()
    assert "test_calendar.py" in str(caught.value)
