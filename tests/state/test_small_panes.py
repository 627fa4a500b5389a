"""Many windows of few keys: panes that kernels open by themselves, taken out together, against a dictionary."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from streamlib.aggregates import AccumulatorPlan, Count, Sum
from streamlib.state import HandingStore, Tumbling

PLAN = AccumulatorPlan([(Count(), None, None), (Sum(), 0, pa.int64())], ["volume"])
SIZE = 10


def name_of(kind: pa.DataType, number: int) -> Any:
    if not pa.types.is_string(kind):
        return None if number == 3 else number
    return None if number == 3 else f"k{number}" if number % 2 else f"a long name of key {number}"


def taken(store: HandingStore, starts: list[int]) -> dict[tuple[int, Any], tuple[int, int]]:
    closed, counts = store.pop_together(starts)
    rows, sums = (column.to_pylist() for column in closed.results())
    begins = [start for start, count in zip(starts, counts, strict=True) for _ in range(count)]
    keys = closed.keys.column(0).to_pylist()
    return dict(zip(zip(begins, keys, strict=True), zip(rows, sums, strict=True), strict=True))


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.int64(), pytest.param(pa.float64(), marks=pytest.mark.slow)]
)
def test_windows_of_few_keys_open_and_close_in_any_order(kind: pa.DataType) -> None:
    dice = random.Random(5)
    stores = [HandingStore([pa.field("key", kind)], PLAN) for _ in range(2)]
    want: dict[tuple[int, Any], list[int]] = {}
    got: dict[tuple[int, Any], tuple[int, int]] = {}
    for step in range(120):
        rows = dice.choice([1, 20, 400])
        width = dice.choice([1, 50, 3000])
        base = step * 40
        times = np.array([base + dice.randrange(width) for _ in range(rows)], dtype=np.int64)
        keys = [name_of(kind, dice.randrange(dice.choice([2, 30]))) for _ in range(rows)]
        values = [dice.randrange(-5, 9) for _ in range(rows)]
        batch = pa.RecordBatch.from_arrays([pa.array(keys, kind)], ["key"])
        dice.choice(stores).add(batch, Tumbling(SIZE), [pa.array(values, pa.int64())], times)
        for time, key, value in zip(times.tolist(), keys, values, strict=True):
            want.setdefault((time // SIZE * SIZE, key), []).append(value)
        one, other = stores
        if dice.random() < 0.2 and len(other):  # some panes meet in one store
            some = dice.sample(list(other.starts()), dice.randrange(1, len(other) + 1))
            if all(other.hands_over(start) for start in some):
                for _, shares in other.hand_over(some, 1):
                    one.take_in(shares)
            else:
                one.merge(other.partials(*some))
        over = [start for start in one.starts() if start + SIZE <= base and start not in other.starts()]
        if over:
            got |= taken(one, over)
            want = {**{k: v for k, v in want.items() if k[0] not in set(over)}, **_checked(want, got, over)}
    one, other = stores
    for start in list(other.starts()):
        one.merge(other.partials(start))
    got |= taken(one, list(one.starts()))
    assert {k: (len(v), sum(v)) for k, v in want.items()} == got
    assert one.nbytes == other.nbytes == 0


def _checked(
    want: dict[tuple[int, Any], list[int]], got: dict[tuple[int, Any], tuple[int, int]], over: list[int]
) -> dict[tuple[int, Any], list[int]]:
    """The rows of windows that are over, which are complete: no later row may come for them."""
    found = {k: v for k, v in want.items() if k[0] in set(over)}
    assert {k: (len(v), sum(v)) for k, v in found.items()} == {
        k: v for k, v in got.items() if k[0] in set(over)
    }
    return found
