"""`.dt`: against Polars and Python, before 1970 and where clocks are changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamlib.errors import BuildError, DataError, TypeMismatchError
from streamlib.expr import col, from_epoch
from tests.expr.columns import assert_same, one, polars_values

BERLIN_CHANGES = [dt.datetime(2024, 3, 31, 1), dt.datetime(2024, 10, 27, 1)]
NEAR_CHANGES = st.builds(
    lambda change, minutes: change + dt.timedelta(minutes=minutes),
    st.sampled_from(BERLIN_CHANGES),
    st.integers(-200, 200),
)
MOMENTS = st.datetimes(dt.datetime(1850, 1, 1), dt.datetime(2199, 1, 1)) | NEAR_CHANGES
COLUMN = st.lists(st.none() | MOMENTS, max_size=8)
ZONED = st.lists(
    st.none() | NEAR_CHANGES | st.datetimes(dt.datetime(1950, 1, 1), dt.datetime(2037, 1, 1)), max_size=8
)
"""Arrow knows no clock changes after 2037, and rounds offsets of the time before zones to minutes."""
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]


def times(values: list[dt.datetime | None], kind: pa.DataType) -> pa.RecordBatch:
    utc = pa.array(values, pa.timestamp("us"))
    return pa.record_batch({"t": utc.cast(kind, safe=False)})


PARTS: dict[str, Callable[[Any], Any]] = {
    name: lambda t, name=name: getattr(t.dt, name)()
    for name in (
        "year", "iso_year", "quarter", "month", "week", "weekday", "day", "ordinal_day", "is_leap_year", "date",
        "time", "hour", "minute", "second", "millisecond", "microsecond", "nanosecond",
    )
}  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
@given(values=COLUMN)
def test_parts_without_a_zone_agree_with_polars(name: str, values: list[dt.datetime | None]) -> None:
    batch = times(values, pa.timestamp("us"))
    assert_same(PARTS[name](col("t")).evaluate(batch), polars_values(batch, PARTS[name](pl.col("t"))))


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("zone", [None, *ZONES])
@given(values=ZONED)
def test_parts_in_a_zone_agree_with_polars(
    name: str, zone: str | None, values: list[dt.datetime | None]
) -> None:
    for unit in ("us", "ns", "ms"):
        batch = times(values, pa.timestamp(unit, zone))
        ours = PARTS[name](col("t")).evaluate(batch)
        assert_same(ours, polars_values(batch, PARTS[name](pl.col("t"))))


@given(values=st.lists(st.none() | st.dates(dt.date(1600, 1, 1)), max_size=8))
def test_parts_of_dates_agree_with_polars(values: list[dt.date | None]) -> None:
    batch = pa.record_batch({"t": pa.array(values, pa.date32())})
    for name in ("year", "iso_year", "quarter", "month", "week", "weekday", "day", "ordinal_day", "date"):
        assert_same(PARTS[name](col("t")).evaluate(batch), polars_values(batch, PARTS[name](pl.col("t"))))


@given(values=st.lists(st.none() | st.times(), max_size=8))
def test_parts_of_times_of_day_agree_with_polars(values: list[dt.time | None]) -> None:
    batch = pa.record_batch({"t": pa.array(values, pa.time64("us"))})
    for name in ("hour", "minute", "second", "millisecond", "microsecond", "nanosecond"):
        assert_same(PARTS[name](col("t")).evaluate(batch), polars_values(batch, PARTS[name](pl.col("t"))))


@pytest.mark.parametrize("unit", ["d", "s", "ms", "us", "ns"])
@given(
    values=st.lists(st.none() | st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)), max_size=8)
)
@example([dt.datetime(1969, 12, 31, 23, 59, 59, 999_999)])
def test_epoch_rounds_down_and_is_the_inverse_of_from_epoch(
    unit: Any, values: list[dt.datetime | None]
) -> None:
    per = {"d": 86_400 * 10**6, "s": 10**6, "ms": 10**3, "us": 1}.get(unit)
    micros = [
        None if v is None else (v - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1) for v in values
    ]
    expected = [None if m is None else m // per if per else m * 1000 for m in micros]
    batch = times(values, pa.timestamp("us"))
    assert col("t").dt.epoch(unit).evaluate(batch).to_pylist() == expected
    if unit != "d":
        back = from_epoch(col("t").dt.epoch(unit), unit).dt.epoch(unit)
        assert back.evaluate(batch).to_pylist() == expected


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@given(ticks=st.lists(st.none() | st.integers(-(9 * 10**9), 9 * 10**9), max_size=8))
def test_totals_agree_with_polars(unit: str, ticks: list[int | None]) -> None:
    batch = pa.record_batch({"d": pa.array(ticks, pa.duration(unit))})
    polars_batch = batch if unit != "s" else pa.record_batch({"d": batch["d"].cast(pa.duration("ms"))})
    for part in ("days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"):
        name = f"total_{part}"
        ours = getattr(col("d").dt, name)().evaluate(batch)
        assert_same(ours, polars_values(polars_batch, getattr(pl.col("d").dt, name)()))
    exact = [None if t is None else t / {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit] for t in ticks]
    assert_same(col("d").dt.total_seconds(fractional=True).evaluate(batch), exact)


# ---- truncation ---------------------------------------------------------------------------------------

EVERY = [
    "1us",
    "10s",
    "1m",
    "7m",
    "15m",
    "1h",
    "6h",
    "1d",
    "3d",
    "1w",
    "2w",
    "1mo",
    "5mo",
    "1q",
    "1y",
    "1h30m",
]


@pytest.mark.parametrize("every", EVERY)
@given(values=COLUMN)
def test_truncation_agrees_with_polars(every: str, values: list[dt.datetime | None]) -> None:
    for zone in (None, "UTC"):
        batch = times(values, pa.timestamp("us", zone))
        expected = polars_values(batch, pl.col("t").dt.truncate(every))
        assert_same(col("t").dt.truncate(every).evaluate(batch), expected)


@pytest.mark.parametrize("zone", ZONES[1:])
@pytest.mark.parametrize("every", ["10m", "30m", "1h", "2h", "1d", "1w", "1mo"])
@given(
    values=st.lists(NEAR_CHANGES | st.datetimes(dt.datetime(1980, 1, 1), dt.datetime(2030, 1, 1)), max_size=8)
)
def test_truncation_is_that_of_the_wall_clock(every: str, zone: str, values: list[dt.datetime]) -> None:
    """Python's zones say what the clock shows; the result is the last instant at which it showed that."""
    batch = times(values, pa.timestamp("us", zone))
    got = col("t").dt.truncate(every).evaluate(batch)
    local = col("t").dt.replace_time_zone(None).dt.truncate(every).evaluate(batch).to_pylist()
    for moment, result, wanted in zip(batch["t"].to_pylist(), got.to_pylist(), local, strict=True):
        assert result <= moment
        shown = result.replace(tzinfo=None)
        if shown == wanted:
            rest = moment.replace(tzinfo=None) - wanted
            assert moment - result in (rest, rest + dt.timedelta(hours=1), rest - dt.timedelta(hours=1),
                                       rest + dt.timedelta(minutes=30), rest - dt.timedelta(minutes=30))  # fmt: skip
            continue
        gap = wanted.replace(tzinfo=ZoneInfo(zone))
        assert gap.astimezone(dt.UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) != wanted, (
            "not in a gap"
        )


def test_a_day_begins_at_midnight_there_and_an_hour_that_comes_twice_stays_two() -> None:
    zone = pa.timestamp("s", "Europe/Berlin")
    first, second = 1_729_989_000, 1_729_992_600  # 02:30 on 2024-10-27, in summer and in winter time
    batch = pa.record_batch({"t": pa.array([first, second, None], zone)})
    hours = col("t").dt.truncate("1h").dt.epoch("s").evaluate(batch).to_pylist()
    assert hours == [first - 1800, second - 1800, None]
    days = col("t").dt.truncate("1d").dt.epoch("s").evaluate(batch).to_pylist()
    assert days == [1_729_980_000, 1_729_980_000, None]


def test_a_midnight_that_does_not_exist_gives_the_first_instant_of_the_day() -> None:
    at = pa.array(
        [1_540_998_000 + 4 * 86_400], pa.timestamp("s", "America/Sao_Paulo")
    )  # 2018-11-04, no 00:00
    assert one(col("t").dt.truncate("1d"), t=at) == dt.datetime(
        2018, 11, 4, 1, tzinfo=ZoneInfo("America/Sao_Paulo")
    )


@pytest.mark.parametrize("every", ["2us", "10s", "7m", "1h", "1d", "1w"])
@given(values=COLUMN)
def test_rounding_agrees_with_polars(every: str, values: list[dt.datetime | None]) -> None:
    batch = times(values, pa.timestamp("us"))
    assert_same(col("t").dt.round(every).evaluate(batch), polars_values(batch, pl.col("t").dt.round(every)))


def test_dates_and_durations_are_truncated_too() -> None:
    assert one(col("d").dt.truncate("1mo"), d=dt.date(2024, 2, 29)) == dt.date(2024, 2, 1)
    assert one(col("d").dt.truncate("1w"), d=dt.date(1969, 12, 31)) == dt.date(1969, 12, 29)
    assert one(col("d").dt.truncate("10s"), d=dt.timedelta(seconds=-1)) == dt.timedelta(seconds=-10)


# ---- zones and texts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ZONES)
@given(values=ZONED)
def test_another_clock_agrees_with_python(zone: str, values: list[dt.datetime | None]) -> None:
    batch = times(values, pa.timestamp("us"))
    wall = col("t").dt.convert_time_zone(zone).dt.replace_time_zone(None).evaluate(batch).to_pylist()
    for value, shown in zip(values, wall, strict=True):
        if value is None:
            assert shown is None
            continue
        expected = value.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        assert shown == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe"])
@pytest.mark.parametrize("ambiguous", ["earliest", "latest", "null"])
@given(values=st.lists(st.none() | NEAR_CHANGES | st.datetimes(dt.datetime(1980, 1, 1)), max_size=8))
def test_a_wall_clock_in_a_zone_agrees_with_polars(
    zone: str, ambiguous: Any, values: list[dt.datetime | None]
) -> None:
    values = [None if v is None or v.year > 2030 else v for v in values]
    batch = times(values, pa.timestamp("us"))
    ours = col("t").dt.replace_time_zone(zone, ambiguous=ambiguous, non_existent="null")
    theirs = pl.col("t").dt.replace_time_zone(zone, ambiguous=ambiguous, non_existent="null")
    assert_same(ours.evaluate(batch), polars_values(batch, theirs))


def test_a_wall_clock_that_is_no_one_instant_is_refused() -> None:
    twice, never = dt.datetime(2024, 10, 27, 2, 30), dt.datetime(2024, 3, 31, 2, 30)
    for moment, options in ((twice, {"non_existent": "null"}), (never, {"ambiguous": "null"}), (twice, {})):
        with pytest.raises(DataError, match="cannot compute") as caught:
            one(col("t").dt.replace_time_zone("Europe/Berlin", **options), t=moment)  # type: ignore[arg-type]
        assert f"say {'ambiguous' if moment is twice else 'non_existent'}=" in str(caught.value)
    late = one(col("t").dt.replace_time_zone("Europe/Berlin", non_existent="latest"), t=never)
    assert late.astimezone(dt.UTC) == dt.datetime(2024, 3, 31, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@given(values=ZONED)
def test_texts_agree_with_polars(zone: str | None, values: list[dt.datetime | None]) -> None:
    for unit in ("us", "ms"):
        batch = times(values, pa.timestamp(unit, zone))
        for format in (
            "%Y-%m-%d %H:%M:%S",
            "%d.%m.%y",
            "%H:%M:%S%.3f",
            "%S%.6f|%j",
            "100%% %p %I",
            "%a %b %e",
            "%S.%3f",
        ):
            expected = polars_values(batch, pl.col("t").dt.to_string(format))
            assert_same(col("t").dt.to_string(format).evaluate(batch), expected)


def test_texts_of_dates_times_and_offsets() -> None:
    assert one(col("t").dt.to_string("%d/%m"), t=dt.date(2024, 2, 29)) == "29/02"
    assert one(col("t").dt.strftime("%H-%M-%S%.f"), t=dt.time(1, 2, 3, 4)) == "01-02-03.000004000"
    zoned = pa.array([0], pa.timestamp("s", "Asia/Kathmandu"))
    assert one(col("t").dt.to_string("%H:%M %z"), t=zoned) == "05:30 +0530"
    assert one(col("t").dt.to_string("%H%.f"), t=zoned) == "05"
    assert one(col("t").dt.to_string(""), t=zoned) == ""


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: col("t").dt.truncate("0s"), "longer than zero"),
        (lambda: col("t").dt.truncate("0mo"), "longer than zero"),
        (lambda: col("t").dt.truncate("soon"), "cannot be read"),
        (lambda: col("t").dt.round("1mo"), "cannot be read"),
        (lambda: col("t").dt.truncate(10), "must be a text"),
        (lambda: col("t").dt.epoch("m"), "the unit of epoch"),
        (lambda: col("t").dt.convert_time_zone("Europe/Nowhere"), "no such time zone"),
        (lambda: col("t").dt.replace_time_zone("UTC", ambiguous="first"), "ambiguous= is unknown"),
        (lambda: col("t").dt.replace_time_zone(None, ambiguous="latest"), "without a zone"),
    ],
)
def test_what_cannot_work_fails_where_it_is_written(build: Any, message: str) -> None:
    with pytest.raises(BuildError) as caught:
        build()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda t: t.dt.hour(), pa.date32(), "works on a timestamp or time, not date32"),
        (lambda t: t.dt.year(), pa.string(), "to_datetime"),
        (lambda t: t.dt.year(), pa.int64(), "from_epoch"),
        (lambda t: t.dt.total_seconds(), pa.timestamp("s"), "totals are of durations"),
        (lambda t: t.dt.truncate("1ms"), pa.timestamp("s"), "too coarse"),
        (lambda t: t.dt.to_string("%z"), pa.timestamp("s"), "without a zone has no offset"),
    ],
)
def test_types_are_checked_when_it_is_built(build: Any, kind: pa.DataType, message: str) -> None:
    with pytest.raises(TypeMismatchError) as caught:
        build(col("t")).type_in(pa.schema({"t": kind}))
    assert message in str(caught.value)
