"""Window starts, exact from the first to the last time."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlib.elements import MAX_TIME, MIN_TIME
from streamlib.kernels._jit import kernel
from streamlib.kernels.windows import write_starts


@kernel("boolean(int64, int64, int64, int64, int64)")
def starts_of(times: int, rows: int, size: int, offset: int, starts: int) -> bool:
    """`write_starts` as a kernel."""
    return write_starts(times, rows, size, offset, starts)


def computed(values: list[int], size: int, offset: int) -> list[int]:
    times = np.array(values, dtype=np.int64)
    starts = np.empty_like(times)
    one = starts_of(times.ctypes.data, len(times), size, offset, starts.ctypes.data)
    result: list[int] = starts.tolist()
    assert not one or len(set(result)) == 1, "what is said to be one window is one"
    return result


any_time = st.one_of(
    st.integers(MIN_TIME, MAX_TIME),
    st.integers(-100, 100),
    st.integers(MAX_TIME - 100, MAX_TIME),
    st.integers(MIN_TIME, MIN_TIME + 100),
)
sizes = st.one_of(
    st.integers(1, 20), st.sampled_from([10**9, 10**10, 86_400 * 10**9]), st.integers(1, MAX_TIME)
)


@settings(max_examples=400, deadline=None)
@given(st.lists(any_time, min_size=1, max_size=20), sizes, st.data())
def test_oracle_starts_equal_python_integers(values: list[int], size: int, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, size - 1))
    want = [max(MIN_TIME, (t - offset) // size * size + offset) for t in values]
    assert computed(values, size, offset) == want


@settings(max_examples=300, deadline=None)
@given(any_time, sizes, st.lists(st.integers(0, 2**61), min_size=1, max_size=20), st.integers(-1, 1))
def test_oracle_times_around_boundaries_far_from_the_first(
    first: int, size: int, steps: list[int], nudge: int
) -> None:
    values = [first, *((first + step) // size * size + nudge for step in steps)]
    values = [max(MIN_TIME, min(MAX_TIME, v)) for v in values]
    assert computed(values, size, 0) == [max(MIN_TIME, v // size * size) for v in values]


def test_times_of_one_window_are_said_to_be_in_one() -> None:
    times = np.array([12, 19, 10], dtype=np.int64)
    starts = np.empty_like(times)
    assert starts_of(times.ctypes.data, 3, 10, 0, starts.ctypes.data)
    assert not starts_of(times.ctypes.data, 3, 5, 0, starts.ctypes.data)
