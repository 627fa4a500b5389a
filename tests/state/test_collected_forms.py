"""Sets of distinct values in all their forms, as panes come and go: bits, near, wide, and what lies between."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.aggregates import AccumulatorPlan, CountDistinct, Median
from streamlib.state import PaneStore, Tumbling
from streamlib.state.collected.bit_table import BitTable
from streamlib.state.collected.kept_distinct import KeptDistinct

KEY = [pa.field("k", pa.int64())]
SIZE = 10
RANGES = [(0, 5), (0, 5), (1_000, 1_020), (-3, 200), (0, 2**40), (-(2**63), 2**63 - 1)]
Row = tuple[int, int, int | None]


def batches(seed: int) -> list[list[Row]]:
    """Batches of (key, time, value): times rise a little from batch to batch, values lie in changing ranges."""
    dice, found, now = random.Random(seed), [], 0
    for _ in range(dice.randint(1, 10)):
        low, high = dice.choice(RANGES)
        keys, back, nulls = dice.choice([1, 3, 40]), dice.choice([0, 0, 15, 60]), dice.choice([0, 0, 0.3])
        now += dice.choice([0, SIZE, SIZE])
        found.append(
            [
                (
                    dice.randrange(keys),
                    now - dice.randint(0, back),
                    None if dice.random() < nulls else dice.randint(low, high),
                )
                for _ in range(dice.choice([1, 20, 300]))
            ]
        )
    return found


def forms(store: PaneStore) -> set[str]:
    """The forms of the sets of all open panes."""
    return {pane.collected[0].form for pane in store._panes.values()}


def close(store: PaneStore, before: int | None) -> dict[tuple[int, int], Any]:
    """The results of the panes that end by `before`, by window and key."""
    found = {}
    for start in list(store.starts()):
        if before is None or start + SIZE <= before:
            closed = store.pop(start)
            for key, value in zip(
                closed.keys.column(0).to_pylist(), closed.results()[0].to_pylist(), strict=True
            ):
                found[start, key] = value
    return found


@pytest.mark.parametrize("kind", ["distinct", "median", "through partial results"])
@given(seed=st.integers(0, 2**32))
def test_panes_hold_what_was_added_whatever_form_they_take(kind: str, seed: int) -> None:
    aggregate = Median() if kind == "median" else CountDistinct()
    plan = AccumulatorPlan([(aggregate, 0, pa.int64())])
    store, expected, seen = PaneStore(KEY, plan), defaultdict(list), {}
    high = -(10**9)
    for rows in batches(seed):
        rows = [row for row in rows if row[1] // SIZE * SIZE + SIZE > high - 70]
        if not rows:
            continue
        times = np.array([time for _, time, _ in rows], dtype=np.int64)
        values = pa.array([value for _, _, value in rows], pa.int64())
        keys = pa.record_batch([pa.array([key for key, _, _ in rows], pa.int64())], names=["k"])
        store.add(keys, Tumbling(SIZE), [values], times)
        for key, time, value in rows:
            expected[time // SIZE * SIZE, key] += [] if value is None else [value]
        high = max(high, int(times.max()))
        if kind == "through partial results":
            other = PaneStore(KEY, plan)
            for start in list(store.starts()):
                other.merge(store.partials(start))
            store = other
        seen.update(close(store, high - 70))
    seen.update(close(store, None))
    if kind == "median":
        floats = {at: np.array(values, dtype=np.float64) for at, values in expected.items()}
        middles = {at: float(np.median(values)) if len(values) else None for at, values in floats.items()}
        assert seen.keys() == middles.keys()
        for at, middle in middles.items():
            assert seen[at] == (middle if middle is None else pytest.approx(middle, rel=1e-12))
    else:
        assert seen == {at: len(set(values)) for at, values in expected.items()}


def test_bits_are_taken_where_they_pay_and_left_where_they_do_not() -> None:
    plan = AccumulatorPlan([(CountDistinct(), 0, pa.int64())])
    store = PaneStore(KEY, plan)
    dice = np.random.default_rng(0)
    met = []
    for window in range(60):
        far = 1 if window < 20 or window >= 26 else 10**6
        keys, values = dice.integers(0, 50, 3000), dice.integers(0, 60, 3000) * far
        times = np.full(3000, window * SIZE)
        batch = pa.record_batch([pa.array(keys)], names=["k"])
        store.add(batch, Tumbling(SIZE), [pa.array(values)], times)
        met.append(forms(store))
        pairs = set(zip(keys.tolist(), values.tolist(), strict=True))
        found = close(store, None)
        assert sum(found.values()) == len(pairs), window
    assert met[0] == {"near"} and met[1] == {"bits"} and met[19] == {"bits"}
    assert met[20] == {"near"}, "the first values that have no bit end it for this pane"
    assert met[-1] == {"bits"}, "after some panes it is tried again"


def test_sets_of_several_forms_take_the_rows_of_one_batch() -> None:
    plan = AccumulatorPlan([(CountDistinct(), 0, pa.int64())])
    store = PaneStore(KEY, plan)

    def add(times: list[int], values: list[int]) -> None:
        keys = pa.record_batch([pa.array([0] * len(times))], names=["k"])
        store.add(keys, Tumbling(SIZE), [pa.array(values)], np.array(times))

    add([0] * 50, list(range(50)))
    add([SIZE] * 2, [0, 2**63 - 1])
    assert close(store, SIZE) == {(0, 0): 50}
    add([SIZE, 2 * SIZE, 3 * SIZE, SIZE] * 100, list(range(400)))
    assert len(forms(store)) > 1
    assert close(store, None) == {(SIZE, 0): 201, (2 * SIZE, 0): 100, (3 * SIZE, 0): 100}


def test_a_table_of_bits_grows_with_the_slots_and_then_gives_up() -> None:
    table = BitTable(codes=65, slots=10)
    assert table.codes == 128 and table.nbytes == 160
    assert table.card(40, 0) is not None and table.nbytes == 640
    assert table.card(41, 0) is None


def test_freed_slots_have_no_bits() -> None:
    plan = AccumulatorPlan([(CountDistinct(), 0, pa.int64())])
    first = KeptDistinct(plan.collected[0].collected, pa.int64())  # type: ignore[arg-type]
    first.add(np.arange(64) % 4, pa.array(np.arange(64)))
    first.final(4)
    second = KeptDistinct(plan.collected[0].collected, pa.int64(), first.like)  # type: ignore[arg-type]
    second.add(np.array([0, 1, 1, 3]), pa.array([5, 6, 7, 63]))
    assert second.form == "bits" and second.partial(4).to_pylist() == [[5], [6, 7], [], [63]]
    second.drop(np.array([1, 3]))
    assert second.final(4).to_pylist() == [1, 0, 0, 0]
    second.add(np.array([1]), pa.array([10**9]))
    assert second.form == "near" and second.partial(4).to_pylist() == [[5], [10**9], [], []]
