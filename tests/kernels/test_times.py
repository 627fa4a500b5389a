"""What a look at event times tells, against the rows one by one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlib.elements import MAX_TIME
from streamlib.kernels.times import event_times, glance

FACTORS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000}
near = st.integers(-60, 60)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(near, min_size=1, max_size=30),
    st.sampled_from(sorted(FACTORS)),
    st.sampled_from([0, 1, 999, 1_000, 30_000, 10**6, 5 * 10**9, 30 * 10**9, MAX_TIME]),
    st.integers(1, 60),
    st.integers(0, 3),
)
def test_oracle_a_glance_equals_the_rows_one_by_one(
    values: list[int], unit: str, delay: int, repeat: int, offset: int
) -> None:
    values = values * repeat  # longer than a block too
    column = pa.array([0] * offset + values, pa.timestamp(unit)).slice(offset)
    times = [value * FACTORS[unit] for value in values]
    behind, top = 0, times[0]
    for time in times:
        behind += top - time > delay
        top = max(top, time)
    into = np.zeros(len(times), np.int64)
    assert glance(column, delay, into) == glance(column, delay) == (min(times), max(times), behind)
    assert into.tolist() == times
    assert event_times(column, "ts").tolist() == times


@pytest.mark.parametrize("unit", FACTORS)
def test_a_glance_reaches_to_the_ends_of_time_and_no_further(unit: str) -> None:
    most = MAX_TIME // FACTORS[unit]
    ends = pa.array([most, -most], pa.timestamp(unit))
    assert glance(ends, MAX_TIME) == (-most * FACTORS[unit], most * FACTORS[unit], 1)
    for beyond in (most + 1, -most - 1, 2**63 - 1, -(2**63)):
        assert glance(pa.array([0, beyond], pa.timestamp(unit)), 0) is None


def test_columns_that_are_no_such_times_are_left_to_event_times() -> None:
    for column in (
        pa.array([1, None], pa.timestamp("us")),
        pa.array([], pa.timestamp("us")),
        pa.array([1], pa.timestamp("ns")),
        pa.array([1], pa.date32()),
    ):
        assert glance(column, 0) is None
