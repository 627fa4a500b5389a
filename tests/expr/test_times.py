"""Times and durations: comparison with texts and datetimes, arithmetic, integers since 1970."""

from __future__ import annotations

import datetime as dt
import operator
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.errors import DataError, TypeMismatchError
from streamlib.expr import col, from_epoch
from tests.expr.columns import assert_same, one, polars_values

NOON = dt.datetime(2024, 1, 31, 12)
TIMES = st.lists(st.none() | st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)))


def _times(values: list[Any], unit: str = "us", zone: str | None = None) -> pa.RecordBatch:
    return pa.record_batch({"t": pa.array(values, pa.timestamp(unit, zone))})


@given(values=TIMES, bound=st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)))
def test_a_column_compares_with_datetimes_and_texts(values: list[Any], bound: dt.datetime) -> None:
    batch = _times([*values, bound])
    for apply in (operator.lt, operator.eq, operator.ge):
        expected = [None if v is None else apply(v, bound) for v in [*values, bound]]
        assert_same(apply(col("t"), bound).evaluate(batch), expected)
        assert_same(apply(col("t"), bound.isoformat()).evaluate(batch), expected)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_bound_finer_than_the_column_is_not_rounded(unit: str) -> None:
    batch = _times([NOON], unit)
    assert (col("t") < "2024-01-31T12:00:00.000000001").evaluate(batch).to_pylist() == [True]
    assert (col("t") < NOON + dt.timedelta(microseconds=1)).evaluate(batch).to_pylist() == [True]
    assert (col("t") == "2024-01-31 12:00").evaluate(batch).to_pylist() == [True]
    assert (col("t") > "2024-01-31").evaluate(batch).to_pylist() == [True]


def test_a_time_without_a_zone_is_utc() -> None:
    zoned = pa.array([NOON], pa.timestamp("us", "UTC")).cast(pa.timestamp("us", "Asia/Tokyo"))
    plain = pa.array([NOON], pa.timestamp("ms"))
    assert one(col("z") == col("t"), z=zoned, t=plain) is True
    assert one(col("z") - col("t"), z=zoned, t=plain) == dt.timedelta(0)
    assert one(col("z") == "2024-01-31T12:00:00", z=zoned) is True
    assert one(col("z") == "2024-01-31T21:00:00+09:00", z=zoned) is True
    assert one(col("t") == "2024-01-31T21:00:00+09:00", t=plain) is True
    assert one(col("t") == NOON.replace(tzinfo=dt.UTC), t=plain) is True
    assert one(col("z") == NOON, z=zoned) is True
    assert one(col("z") > dt.date(2024, 1, 31), z=zoned) is True


def test_dates_compare_with_dates_times_and_texts() -> None:
    day = pa.array([dt.date(2024, 1, 31)])
    assert one(col("d") == "2024-01-31", d=day) is True
    assert one(col("d") < "2024-01-31T00:00:01", d=day) is True
    assert one(col("d") < NOON, d=day) is True


@given(values=TIMES)
def test_time_arithmetic_agrees_with_polars(values: list[Any]) -> None:
    batch = _times(values)
    span = dt.timedelta(days=1, seconds=2, microseconds=3)
    assert_same((col("t") + span).evaluate(batch), polars_values(batch, pl.col("t") + span))
    assert_same((col("t") - "1h").evaluate(batch), polars_values(batch, pl.col("t") - dt.timedelta(hours=1)))
    assert_same((col("t") - NOON).evaluate(batch), polars_values(batch, pl.col("t") - NOON))
    assert_same((NOON - col("t")).evaluate(batch), polars_values(batch, NOON - pl.col("t")))


def test_a_constant_span_keeps_the_unit_of_the_column() -> None:
    schema = pa.schema({"t": pa.timestamp("ms")})
    assert (col("t") + dt.timedelta(seconds=1)).type_in(schema) == pa.timestamp("ms")
    assert (col("t") + "10s").type_in(schema) == pa.timestamp("ms")
    assert (col("t") + dt.timedelta(microseconds=10)).type_in(schema) == pa.timestamp("us")
    assert (col("t") + "10us").type_in(schema) == pa.timestamp("ns")


def test_durations_scale_divide_and_compare() -> None:
    span = pa.array([dt.timedelta(seconds=3)])
    assert one(col("d") * 2, d=span) == dt.timedelta(seconds=6)
    assert one(col("d") / 2, d=span) == dt.timedelta(seconds=1.5)
    assert one(col("d") / 0, d=span) is None
    assert one(col("d") / col("d"), d=span) == 1.0
    assert one(col("d") > "2s", d=span) is True
    assert one(-col("d"), d=span) == dt.timedelta(seconds=-3)


def test_a_time_that_overflows_is_an_error() -> None:
    with pytest.raises(DataError, match="overflow"):
        one(col("t") + "36500d", t=pa.array([2**63 - 1]).cast(pa.timestamp("ns")))


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_integers_since_1970_become_times(unit: Any, per_second: int) -> None:
    seconds = 1_700_000_000
    expr = from_epoch("n", unit)
    batch = pa.record_batch({"n": pa.array([seconds * per_second, None])})
    assert expr.type_in(batch.schema) == pa.timestamp(unit)
    result = expr.evaluate(batch).cast(pa.timestamp("s")).to_pylist()
    assert result == [dt.datetime.fromtimestamp(seconds, dt.UTC).replace(tzinfo=None), None]
    assert one(from_epoch(col("n") * per_second, unit), n=pa.array([seconds], pa.int64())) == result[0]


def test_narrow_and_unsigned_integers_become_times() -> None:
    for data_type in (pa.int32(), pa.uint32(), pa.uint64()):
        assert one(from_epoch("n", "s"), n=pa.array([86_400], data_type)) == dt.datetime(1970, 1, 2)


def test_floats_since_1970_are_refused() -> None:
    with pytest.raises(TypeMismatchError, match="from_epoch"):
        from_epoch("n", "s").type_in(pa.schema({"n": pa.float64()}))


@pytest.mark.parametrize(
    "build",
    [
        lambda: col("t") > "yesterday",
        lambda: col("t") > 5,
        lambda: col("t") * 2,
        lambda: col("t") + col("t"),
        lambda: col("t") + 1.5,
        lambda: col("t") + "soon",
    ],
)
def test_what_times_do_not_do(build: Any) -> None:
    with pytest.raises(TypeMismatchError, match=r'cannot compute col\("t"\)'):
        build().type_in(pa.schema({"t": pa.timestamp("us")}))
