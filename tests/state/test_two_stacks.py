"""Sums over the latest slices: whatever is pushed, dropped and amended, they are those of all rows taken anew."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlib.aggregates import AccumulatorPlan, Count, Max, Min, Sum
from streamlib.aggregates.quantile import Median
from streamlib.state import TwoStacks, two_stacks

KEY = pa.field("k", pa.string())
NAMES = ["a", "b", None, "a key of more than eight bytes", "", "c", "d", "e"]
PLANS = {
    "words": [(Count(), None, None), (Sum(), 0, pa.int64()), (Max(), 0, pa.int64())],
    "values beside": [(Count(), None, None), (Min(), 0, pa.string())],
    "collected": [(Count(), None, None), (Median(), 0, pa.int64())],
}

Rows = list[tuple[int, int, int]]  # time, which key, value

rows = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 7), st.integers(-50, 50)), max_size=60)


def batch(some: Rows, text: bool) -> tuple[pa.RecordBatch, list[pa.Array], Any]:
    times = np.array([row[0] for row in some], dtype=np.int64)
    keys = pa.record_batch([pa.array([NAMES[row[1]] for row in some], pa.string())], schema=pa.schema([KEY]))
    values = [row[2] for row in some]
    return keys, [pa.array(list(map(str, values)) if text else values)], times


def anew(some: Rows, kind: str) -> dict[str | None, list[Any]]:
    """The results by key, in plain Python."""
    found: dict[str | None, list[int]] = {}
    for _, key, value in some:
        found.setdefault(NAMES[key], []).append(value)
    if kind == "words":
        return {key: [len(v), sum(v), max(v)] for key, v in found.items()}
    if kind == "values beside":
        return {key: [len(v), min(map(str, v))] for key, v in found.items()}
    return {key: [len(v), float(np.median(v))] for key, v in found.items()}


def results(closed: Any) -> dict[str | None, list[Any]]:
    if closed is None:
        return {}
    columns = [column.to_pylist() for column in closed.results()]
    keys = closed.keys.column(0).to_pylist()
    assert len(set(keys)) == len(keys), "each key comes once"
    return {key: list(values) for key, *values in zip(keys, *columns, strict=True)}


@pytest.mark.parametrize("kind", PLANS)
@given(
    given_rows=rows,
    size=st.sampled_from([1, 2, 3, 7, 30]),
    grows=st.booleans(),
    amended=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29), st.integers(0, 7)), max_size=12),
    block_bytes=st.sampled_from([1, 5_000, 15_000, 2**19]),
)
@settings(deadline=None)
def test_windows_of_slices_are_those_of_their_rows(
    kind: str, given_rows: Rows, size: int, grows: bool, amended: list[tuple[int, int, int]], block_bytes: int
) -> None:
    """Slices of 1; a window ends after each. With `grows` they begin together, `size` at a time."""
    with patch.object(two_stacks, "_BLOCK_BYTES", block_bytes):
        check_windows(kind, given_rows, size, grows, amended)


def check_windows(
    kind: str, given_rows: Rows, size: int, grows: bool, amended: list[tuple[int, int, int]]
) -> None:
    plan, text = AccumulatorPlan(PLANS[kind]), kind == "values beside"
    stacks = TwoStacks([KEY], plan)
    keys, values, times = batch(given_rows, text)
    if given_rows:
        stacks.slices.add(keys, times, values, times)
    there = list(given_rows)
    for last in range(30):
        first = last // size * size if grows else max(0, last - size + 1)
        stacks.drop(first)
        for slice_start, when, key in amended:
            if when == last and first <= slice_start <= last:
                row = [(slice_start, key, when)]
                keys, values, times = batch(row, text)
                stacks.amendments.add(keys, np.array([7]), values, times)
                stacks.amend(slice_start, stacks.amendments.take(7))
                there += row
        stacks.push(last + 1)
        assert results(stacks.closed()) == anew([row for row in there if first <= row[0] <= last], kind)
        stacks.compact()
    stacks.drop(30)
    assert stacks.closed() is None and not len(stacks.slices)


def test_the_front_has_sums_for_some_slices_at_a_time() -> None:
    """A sum for each of the 600 slices, all with the same keys, would take as much memory as they do."""
    keys = pa.record_batch([pa.array([f"k{key}" for key in range(200)])], schema=pa.schema([KEY]))
    stacks, most = TwoStacks([KEY], AccumulatorPlan([(Count(), None, None)])), 0
    with patch.object(two_stacks, "_BLOCK_BYTES", 2**16):
        for number in range(1300):
            starts = np.full(200, number, dtype=np.int64)
            stacks.slices.add(keys, starts, [], starts)
            stacks.drop(number - 599)
            stacks.push(number + 1)
            if number % 7 == 0:
                closed = stacks.closed()
                assert closed is not None
                assert closed.results()[0].to_pylist() == [min(number + 1, 600)] * 200
            most = max(most, len(stacks._front))
    assert 10 < most < 120
    assert stacks._anchors <= set(stacks._front)


def one_shot(stacks: TwoStacks, number: int, keys: int) -> None:
    names = pa.record_batch([pa.array([f"{number}/{key}" for key in range(keys)])], schema=pa.schema([KEY]))
    starts = np.full(keys, number, dtype=np.int64)
    stacks.slices.add(names, starts, [], starts)


def test_sums_of_keys_that_come_once_take_no_more_than_the_slices() -> None:
    """A sum for each slice would take thirty times as much."""
    stacks = TwoStacks([KEY], AccumulatorPlan([(Count(), None, None)]))
    for number in range(180):
        one_shot(stacks, number, 500)
        stacks.drop(number - 59)
        stacks.push(number + 1)
        closed = stacks.closed()
        assert closed is not None and len(closed.state) == 500 * min(60, number + 1)
        stacks.compact()
        slices = stacks.slices.nbytes
        sums = sum(pane.nbytes for pane in stacks._panes()) - slices
        assert sums <= 3 * slices, "the back is one sum more"
        assert stacks._keys.count <= 2 * 60 * 500 + 1024 + 500, "keys that have gone are forgotten"


def test_a_hundred_thousand_keys_that_came_once_leave_nothing_behind() -> None:
    stacks = TwoStacks([KEY], AccumulatorPlan([(Count(), None, None)]))
    for number in range(20):
        one_shot(stacks, number, 5_000)
        stacks.drop(number)
        stacks.push(number + 1)
        assert stacks.closed() is not None
        stacks.compact()
    stacks.drop(20)
    stacks.compact()
    assert stacks.closed() is None
    assert (stacks.slices.rows, stacks._keys.count) == (0, 0)
    assert not stacks._panes()
