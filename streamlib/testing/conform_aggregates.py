"""What an aggregate of one's own promises, as checks that an outsider runs on theirs."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan, Custom
from streamlib.contracts import Aggregate
from streamlib.state import PaneStore

_KEYS = 3


def check_own_aggregate(
    aggregate: Aggregate, *columns: pa.Array, seed: int = 0, rel_tol: float = 1e-9
) -> None:
    """Checks an aggregate of one's own: rows in any order and any pieces, merged in any order, give one result.

    Args:
        aggregate: with its options.
        columns: what its `add` is given, with nulls among them, of one length; twenty rows or more tell most.
        seed: draws keys, order and pieces.
        rel_tol: how far two floats may be apart, relative; 0 for a result that is exact in any order.

    Raises:
        AssertionError: the contract is broken.

    >>> from streamlib.contracts import Aggregate
    >>> class Total(Aggregate):
    ...     def result_type(self, values):
    ...         return pa.int64()
    ...     def init(self):
    ...         return {"sum": 0}
    ...     def add(self, state, slots, values):
    ...         np.add.at(state["sum"], slots, values.fill_null(0).to_numpy())
    ...     def merge(self, state, slots, other):
    ...         state["sum"][slots] += other["sum"]
    ...     def finish(self, state):
    ...         return pa.array(state["sum"])
    >>> check_own_aggregate(Total(), pa.array([1, None, 4, 10]))
    """
    dice = random.Random(seed)
    rows = len(columns[0])
    assert all(len(column) == rows for column in columns), "the columns have one length"
    names = [str(number) for number in range(len(columns))]
    values = pa.StructArray.from_arrays(list(columns), names)
    plan = AccumulatorPlan([(Custom(aggregate), 0, values.type)], ["rows"])
    keys = pa.array([dice.randrange(_KEYS) for _ in range(rows)], pa.int64())
    given = pa.record_batch([keys, values], names=["k", "rows"])

    whole = _made(plan, [given])
    wanted = _results(whole)
    assert len(wanted) == len(set(keys.to_pylist())), "each key has one result"

    order = list(range(rows))
    dice.shuffle(order)
    shuffled = given.take(pa.array(order, pa.int64()))
    _same(wanted, _results(_made(plan, [shuffled])), rel_tol, "rows in another order")

    cuts = sorted(dice.randrange(rows + 1) for _ in range(4))
    pieces = [given.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, rows], strict=True)]
    _same(wanted, _results(_made(plan, pieces)), rel_tol, "rows in pieces")
    for name, parts in (("", pieces), (" in another order", pieces[::-1])):
        merged = _made(plan, [])
        for part in parts:
            other = _made(plan, [part])
            for start in list(other.starts()):
                merged.merge(other.partials(start))
        _same(wanted, _results(merged), rel_tol, f"the states of pieces merged{name}")
    restored = _made(plan, [])
    restored.restore(_made(plan, pieces).snapshot())
    _same(wanted, _results(restored), rel_tol, "a state taken in from a snapshot")

    mask = [dice.random() < 0.5 for _ in range(rows)]
    among = given.set_column(
        1,
        "rows",
        pa.array([v if m else None for v, m in zip(values.to_pylist(), mask, strict=True)], values.type),
    )
    kept = _results(_made(plan, [given.filter(pa.array(mask))]))
    _same(kept, {k: v for k, v in _results(_made(plan, [among])).items() if k in kept}, rel_tol, "a filter")


def _made(plan: AccumulatorPlan, batches: list[pa.RecordBatch]) -> PaneStore:
    """A store with the rows of these batches."""
    store = PaneStore([pa.field("k", pa.int64())], plan)
    for batch in batches:
        if batch.num_rows:
            starts = np.zeros(batch.num_rows, dtype=np.int64)
            store.add(batch.select(["k"]), starts, [batch.column("rows")], starts)
    return store


def _results(store: PaneStore) -> dict[Any, Any]:
    """The result of each key; the store is empty then."""
    found: dict[Any, Any] = {}
    for start in list(store.starts()):
        closed = store.pop(start)
        (values,) = closed.results()
        found.update(zip(closed.keys.column(0).to_pylist(), values.to_pylist(), strict=True))
    return found


def _same(wanted: dict[Any, Any], got: dict[Any, Any], rel_tol: float, what: str) -> None:
    assert wanted.keys() == got.keys(), f"{what}: other keys"
    for key, value in wanted.items():
        assert _equal(value, got[key], rel_tol), f"{what} gave {got[key]!r}, all rows at once {value!r}"


def _equal(a: Any, b: Any, rel_tol: float) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=rel_tol)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_equal(x, y, rel_tol) for x, y in zip(a, b, strict=True))
    return bool(a == b)
