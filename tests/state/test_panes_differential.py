"""differential: the pane store against a dict of dicts, over random batches, keys, disorder and cuts."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from streamlib.aggregates import AccumulatorPlan, Count, First, Last, Max, Mean, Min, Sum
from streamlib.state import PaneStore, Tumbling
from tests.state.simulator import Simulator, canonical, same

LONG = "a key that is longer than seven bytes, "
STRINGS = ["", "a", "1234567", "12345678", "123456789", "zażółć", "\0", "\0\0"]
STRINGS += [LONG + "1", LONG + "2", LONG[:15], LONG[:16]]
AGGREGATES: list[Any] = [
    (Count(), None, None),
    (Count(), 0, pa.float64()),
    (Sum(), 0, pa.float64()),
    (Mean(), 0, pa.float64()),
    (Min(), 0, pa.float64()),
    (Max(), 0, pa.float64()),
    (First(), 0, pa.float64()),
    (Last(), 1, pa.int32()),
    (Sum(), 1, pa.int32()),
]
FLOATS = [0.0, -0.0, 1.5, -2.25, 1e300, -1e300, 1e-300, math.nan, math.inf, 0.1, 0.2]
INTS = [0, 1, -1, 2**31 - 1, -(2**31), 7]
KEYS: dict[str, tuple[list[pa.DataType], list[list[Any]]]] = {
    "none": ([], []),
    "string": ([pa.string()], [STRINGS]),
    "int": ([pa.int64()], [[0, 1, -1, 2**63 - 1, -(2**63), 0xFE << 55]]),
    "float": ([pa.float32()], [[0.0, -0.0, math.nan, 1.5, math.inf]]),
    "several": (
        [pa.string(), pa.int16(), pa.decimal128(9, 2)],
        [STRINGS[:4], [0, 1, -5], [Decimal("1.25"), Decimal("-0.01")]],
    ),
}


def draw_keys(rng: random.Random, kind: str, rows: int, nulls: bool) -> pa.RecordBatch:
    types, pools = KEYS[kind]
    columns = [
        pa.array([None if nulls and rng.random() < 0.2 else rng.choice(pool) for _ in range(rows)], data_type)
        for data_type, pool in zip(types, pools, strict=True)
    ]
    if not columns:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    return pa.RecordBatch.from_arrays(columns, [f"k{i}" for i in range(len(columns))])


def draw_input(
    rng: random.Random, rows: int, pool: list[Any], data_type: pa.DataType, nulls: bool
) -> pa.Array:
    """Values, sometimes as a slice of a longer array."""
    before = rng.choice([0, 3, 9])
    values = [None if nulls and rng.random() < 0.2 else rng.choice(pool) for _ in range(rows + before + 2)]
    return pa.array(values, data_type).slice(before, rows)


def check(closed: Any, simulator: Simulator) -> None:
    want = simulator.results(closed.start, AGGREGATES)
    results = [column.to_pylist() for column in closed.results()]
    types = [a.result_type(kind) for a, _, kind in AGGREGATES]
    assert [column.type for column in closed.results()] == types
    keys = [
        tuple(canonical(v) for v in row)
        for row in zip(*(c.to_pylist() for c in closed.keys.columns), strict=True)
    ]
    keys = keys or [()]
    assert len(set(keys)) == len(keys) == len(want)
    for row, key in enumerate(keys):
        got = [column[row] for column in results]
        for (aggregate, index, _), a, b in zip(AGGREGATES, got, want[key], strict=True):
            if (
                aggregate.name in ("sum", "mean")
                and isinstance(b, float)
                and (math.isnan(b) or abs(b) > 1e299)
            ):
                continue  # infinite parts: judged in test_accumulators
            assert same(a, b), (key, aggregate.name, index, a, b)


@pytest.mark.parametrize(  # each row compiles kernels of its own: all pairs, not all triples
    ("kind", "ordered", "nulls"),
    [
        pytest.param("string", False, False, marks=pytest.mark.slow),
        ("string", True, True),
        pytest.param("int", False, True, marks=pytest.mark.slow),
        pytest.param("int", True, False, marks=pytest.mark.slow),
        pytest.param("float", False, True, marks=pytest.mark.slow),
        ("several", True, True),
        pytest.param("none", False, True, marks=pytest.mark.slow),
        ("none", True, False),
    ],
)
def test_differential_store_equals_simulator(kind: str, ordered: bool, nulls: bool) -> None:
    rng = random.Random(f"{kind} {ordered} {nulls}")
    for trial in range(6):
        types, _ = KEYS[kind]
        fields = [pa.field(f"k{i}", t) for i, t in enumerate(types)]
        plan = AccumulatorPlan(AGGREGATES, ["price", "volume"], ordered=ordered)
        stores = [PaneStore(fields, plan) for _ in range(1 if not ordered else rng.choice([1, 3]))]
        simulator = Simulator(ordered)
        size, offset = rng.choice([10, 7, 1000]), rng.choice([0, 3])
        base = rng.choice([0, -50, 2**63 - 2000, -(2**63) + 2000, 1_700_000_000_000_000_000])
        position = 0
        for _ in range(rng.choice([1, 5])):
            rows = rng.choice([0, 1, 5, 300, 2500])
            keys = draw_keys(rng, kind, rows, nulls)
            time = np.array([base + rng.randrange(0, 60) for _ in range(rows)], dtype=np.int64)
            inputs = [
                draw_input(rng, rows, FLOATS, pa.float64(), nulls),
                draw_input(rng, rows, INTS, pa.int32(), nulls),
            ]
            order = np.array([position + rng.randrange(rows) for _ in range(rows)], dtype=np.int64)
            if rng.random() < 0.5:  # else some rows are of one input row, and come in their order
                order = position + np.random.default_rng(trial).permutation(rows).astype(np.int64)
            position += rows
            starts = [(int(t) - offset) // size * size + offset for t in time]
            given: Any = Tumbling(size, offset) if rng.random() < 0.7 else np.array(starts, dtype=np.int64)
            rng.choice(stores).add(keys, given, inputs, time, order if ordered else None)
            simulator.add(
                keys,
                starts,
                inputs,
                time.tolist(),
                order.tolist() if ordered else None,
            )
        target = stores[0]
        for other in stores[1:]:
            if rng.random() < 0.5:
                target.restore(other.snapshot())
            else:
                for start in list(other.starts()):
                    target.merge(other.partials(start))
                assert len(other) == 0
        if rng.random() < 0.5:
            again = PaneStore(fields, plan)
            again.restore(target.snapshot())
            target = again
        assert list(target.starts()) == sorted(simulator.panes)
        assert target.rows == sum(len(pane) for pane in simulator.panes.values())
        for closed in target.close(2**63 - 1):
            check(closed, simulator)
        assert len(target) == 0 and target.nbytes == 0
