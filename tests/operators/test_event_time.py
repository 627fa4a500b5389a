"""`event_time`: times of any unit, splits within a split (`per`), and the row that an error is about."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import DataError, col
from streamlib.connectors.memory import ArrowSource

SIZE = 10


def windows(stream: sl.Stream) -> sl.Stream:
    return stream.window(sl.tumbling(f"{SIZE}s")).agg(n=sl.count())


@pytest.mark.parametrize(
    "kind", [pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns")]
)
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_times_of_every_unit_and_zone_fall_into_the_same_windows(
    kind: pa.TimestampType, zone: str | None
) -> None:
    column = pa.array([-1, 0, 9, 10, 10], pa.timestamp("s")).cast(pa.timestamp(kind.unit, zone))
    found = windows(sl.read_arrow(pa.table({"ts": column})).event_time("ts", max_delay="1s")).collect()
    assert found["n"].to_pylist() == [1, 2, 2]
    assert found["window_start"].type == column.type
    assert found["window_start"].cast(pa.timestamp("s", zone)).cast(pa.int64()).to_pylist() == [-10, 0, 10]


def test_a_date_is_its_midnight() -> None:
    dates = pa.table({"day": pa.array([dt.date(1969, 12, 31), dt.date(1970, 1, 1)])})
    found = sl.read_arrow(dates).event_time("day", max_delay="1d").window(sl.tumbling("1d")).agg(n=sl.count())
    assert found.collect()["window_start"].cast(pa.int64()).to_pylist() == [-86_400, 0]


def test_integers_become_times_by_from_epoch() -> None:
    table = pa.table({"t": [-1, 9_999, 10_000]})
    stream = (
        sl.read_arrow(table).with_columns(ts=sl.from_epoch(col("t"), "ms")).event_time("ts", max_delay="1s")
    )
    assert windows(stream).collect()["n"].to_pylist() == [1, 1, 1]


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_null_time_is_an_error_that_names_the_row_the_step_and_the_cure(
    batch_rows: int, workers: int
) -> None:
    table = pa.table({"ts": pa.array([1, 2, None, 4], pa.timestamp("s"))})
    stream = sl.read(ArrowSource(table, block_rows=2, name="ticks"))
    with pytest.raises(DataError) as caught:
        stream.event_time("ts", max_delay="1s").collect(batch_rows=batch_rows, workers=workers)
    assert caught.value.where == "ticks, row 2"
    assert "'ts'" in str(caught.value) and "is_not_null" in str(caught.value)
    assert caught.value.step == "event_time"
    cured = stream.filter(col("ts").is_not_null()).event_time("ts", max_delay="1s")
    assert cured.collect().num_rows == 3


def test_a_time_beyond_2262_is_an_error_that_names_the_row_and_the_step() -> None:
    table = pa.table({"ts": pa.array([dt.datetime(2024, 1, 1), dt.datetime(3000, 1, 1)], pa.timestamp("us"))})
    with pytest.raises(DataError) as caught:
        sl.read(ArrowSource(table, name="ticks")).event_time("ts", max_delay="1s").collect()
    for part in ("3000-01-01", "1677 to 2262", "'ts'"):
        assert part in str(caught.value)
    assert caught.value.step == "event_time"
    assert caught.value.where == "ticks, row 1"


def test_a_time_beyond_the_year_9999_asks_for_its_unit() -> None:
    """Milliseconds that are taken for seconds, which no `datetime` can hold."""
    numbers = pa.table({"t": [1_767_623_401_000]})
    timed = sl.read_arrow(numbers).select(ts=sl.from_epoch("t", "s")).event_time("ts", max_delay="1s")
    with pytest.raises(DataError, match="1767623401000 s since 1970") as caught:
        timed.collect()
    assert caught.value.hint is not None and "from_epoch" in caught.value.hint
    assert caught.value.where == "arrow, row 0"
    assert timed.on_error("skip").collect().num_rows == 0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("batch_rows", [1, 100])
def test_until_end_is_batch_work_no_row_is_late(workers: int, batch_rows: int) -> None:
    table = pa.table({"ts": pa.array([100, 5, 50, 1], pa.timestamp("s"))})
    found = windows(sl.read_arrow(table).event_time("ts", max_delay=sl.UNTIL_END))
    assert found.collect(workers=workers, batch_rows=batch_rows)["n"].to_pylist() == [2, 1, 1]
    assert found.late.collect(workers=workers, batch_rows=batch_rows).num_rows == 0


# ---- per: splits within a split ----------------------------------------------------------------------

Row = tuple[int, str | None, int]


def late_by_hand(rows: Sequence[Row], delay: int) -> list[int]:
    """Row by row: each value of `per` has its own maximum; a new one enters at what its file has reached."""
    top: dict[tuple[str | None, int], int] = {}
    floor: dict[tuple[str | None, int], int | None] = {}
    reached: int | None = None
    late = []
    for number, (time, *value) in enumerate(rows):
        key = (value[0], value[1])
        if key not in floor:
            if top:
                lowest = min(top.values()) - delay
                reached = lowest if reached is None else max(reached, lowest)
            floor[key] = reached
        marks = [
            mark
            for mark in (floor[key], top.get(key, time) - delay if key in top else None)
            if mark is not None
        ]
        if marks and max(marks) >= time - time % SIZE + SIZE:
            late.append(number)
        top[key] = max(top.get(key, time), time)
    return late


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 90), st.sampled_from(["a", "b", None]), st.integers(0, 1)), max_size=30
    ),
    delay=st.sampled_from([0, 3, 20]),
    block_rows=st.sampled_from([1, 4, 100]),
    batch_rows=st.sampled_from([1, 3, 100]),
    workers=st.sampled_from([1, 2]),
)
def test_each_value_of_per_is_late_by_its_own_rows_alone(
    rows: list[Row], delay: int, block_rows: int, batch_rows: int, workers: int
) -> None:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    table = pa.table(
        {
            "ts": pa.array(columns[0], pa.timestamp("s")),
            "venue": pa.array(columns[1], pa.string()),
            "side": pa.array(columns[2], pa.int8()),
            "n": pa.array(range(len(rows)), pa.int64()),
        }
    )
    stream = sl.read(ArrowSource(table, block_rows)).event_time("ts", f"{delay}s", per=["venue", "side"])
    found = windows(stream).late.collect(workers=workers, batch_rows=batch_rows)
    assert sorted(found["n"].to_pylist()) == late_by_hand(rows, delay)
