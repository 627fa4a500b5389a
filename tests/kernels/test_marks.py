"""Marks against the definition, at the ends of time too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlib.elements import MAX_TIME, MIN_TIME
from streamlib.kernels import marks

near = st.integers(-60, 60)
far = st.sampled_from([MIN_TIME, MIN_TIME + 1, 0, 1_700_000_000_000_000_000, MAX_TIME - 60, MAX_TIME])
times = st.one_of(near, st.tuples(far, near).map(lambda p: max(MIN_TIME, min(MAX_TIME, p[0] + p[1]))))
delays = st.one_of(st.integers(0, 50), st.just(MAX_TIME))


def plain(values: list[int], top: int, floor: int, delay: int) -> tuple[int, list[int]]:
    marked = []
    for time in values:
        marked.append(max(floor, max(MIN_TIME, top - delay)))
        top = max(top, time)
    return top, marked


@settings(max_examples=200, deadline=None)
@given(st.lists(times, max_size=30), times, times, delays, st.integers(1, 60))
def test_oracle_marks_equal_their_definition(
    values: list[int], top: int, floor: int, delay: int, repeat: int
) -> None:
    values = values * repeat  # longer than a block too
    got = marks.advance(np.array(values, dtype=np.int64), top, floor, delay)
    want_top, want = plain(values, top, floor, delay)
    behind = sum(t < m for t, m in zip(values, want, strict=True))
    assert (got.running_max, got.behind) == (want_top, behind)
    assert (got.low, got.high) == (min(values, default=MAX_TIME), max(values, default=MIN_TIME))
    if behind:
        assert got.marks is not None and got.marks.tolist() == want
    else:
        assert got.marks is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(times, st.integers(0, 3)), max_size=60), delays)
def test_oracle_splits_by_row_equal_each_split_alone(rows: list[tuple[int, int]], delay: int) -> None:
    floor = np.array([MIN_TIME, MIN_TIME, 0, 5], dtype=np.int64)
    running_max = np.array([MIN_TIME, 0, MIN_TIME, 7], dtype=np.int64)
    before = running_max.copy()
    values = np.array([t for t, _ in rows], dtype=np.int64)
    splits = np.array([s for _, s in rows], dtype=np.int32)
    got = marks.advance_splits(values, splits, running_max, floor, delay)
    want = np.zeros(len(rows), dtype=np.int64)
    for split in range(4):
        chosen = splits == split
        top, marked = plain(values[chosen].tolist(), int(before[split]), int(floor[split]), delay)
        want[chosen] = marked
        assert running_max[split] == top
    assert got.behind == int((values < want).sum())
    if got.behind:
        assert got.marks is not None and got.marks.tolist() == want.tolist()


def test_a_batch_cut_does_not_change_the_marks() -> None:
    rng = np.random.default_rng(1)
    values = np.sort(rng.integers(0, 10_000, 3000)) - rng.integers(0, 500, 3000)
    whole = marks.advance(values, MIN_TIME, MIN_TIME, 100)
    top, behind = MIN_TIME, 0
    for begin in range(0, 3000, 7):
        part = marks.advance(values[begin : begin + 7], top, MIN_TIME, 100)
        top, behind = part.running_max, behind + part.behind
    assert (top, behind) == (whole.running_max, whole.behind) and behind > 0


@pytest.mark.parametrize("kernel", [marks.scan])
def test_the_plain_function_and_the_compiled_one_agree(kernel: object) -> None:
    values = np.array([5, 1, 9, 9, 2], dtype=np.int64)
    assert marks.scan(values, 3, 0, 4) == marks.scan.py(values, 3, 0, 4)
