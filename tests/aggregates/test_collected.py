"""What is collected beside the records: exact sets in all their forms, sketches, lists; drops, merges, bytes."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.aggregates import (
    AccumulatorPlan,
    Aggregate,
    ApproxCountDistinct,
    ApproxQuantile,
    CountDistinct,
    List,
    MaxBy,
    Median,
    MinBy,
    NUnique,
    Quantile,
    TopK,
    TopKBy,
)
from streamlib.aggregates.selection import INTERPOLATIONS, quantiles_of
from streamlib.aggregates.sorting import sortable
from streamlib.state import PaneStore, SlotTable
from streamlib.testing import check_aggregate

KEY = [pa.field("k", pa.int64())]
POOLS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "near integers": (pa.int64(), [5, 6, 7, 1000, -3]),
    "far integers": (pa.int64(), [0, 2**63 - 1, -(2**63), 5, 2**40]),
    "small integers": (pa.int8(), [0, 1, -128, 127]),
    "unsigned": (pa.uint64(), [0, 2**64 - 1, 2**63, 1]),
    "floats": (pa.float64(), [0.0, -0.0, math.nan, 1.5, math.inf, -math.inf]),
    "narrow floats": (pa.float32(), [0.0, -0.0, math.nan, 1.5]),
    "booleans": (pa.bool_(), [True, False]),
    "dates": (pa.date32(), [0, 20_000, -5]),
    "times": (pa.timestamp("ns", "UTC"), [0, 2**62, -5]),
    "durations": (pa.duration("s"), [0, 5]),
    "strings": (pa.string(), ["", "a", "b", "longer than seven bytes", "longer than seven bytez"]),
    "views": (pa.string_view(), ["", "a", "a text that lies outside of its view"]),
    "large binary": (pa.large_binary(), [b"", b"a", b"\0", b"\0\0"]),
    "dictionaries": (pa.dictionary(pa.int8(), pa.string()), ["a", "b", ""]),
    "fixed binary": (pa.binary(3), [b"abc", b"abd"]),
    "decimals": (pa.decimal128(9, 2), [Decimal("1.25"), Decimal("-0.01")]),
    "nothing": (pa.null(), []),
}


def columns(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).cast(kind)
    return pa.array(values, kind)


def made(plan: AccumulatorPlan, batches: list[tuple[list[int], pa.Array]]) -> PaneStore:
    store = PaneStore(KEY, plan)
    for keys, column in batches:
        if keys:
            times = np.zeros(len(keys), dtype=np.int64)
            store.add(pa.record_batch([pa.array(keys)], schema=pa.schema(KEY)), times, [column], times)
    return store


def results(store: PaneStore) -> dict[int, list[Any]]:
    closed = store.pop(0)
    values = [column.to_pylist() for column in closed.results()]
    return {key: [v[row] for v in values] for row, key in enumerate(closed.keys.column(0).to_pylist())}


def canonical(value: Any) -> Any:
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value + 0.0
    return value


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))])
def test_distinct_values_are_counted_exactly_whatever_the_type(pool: str, seed: int) -> None:
    kind, values = POOLS[pool]
    rng = random.Random(f"{pool} {seed}")
    plan = AccumulatorPlan([(CountDistinct(), 0, kind), (NUnique(), 0, kind)], ["x"])
    batches, seen, total = [], {}, PaneStore(KEY, plan)  # type: ignore[var-annotated]
    for _ in range(3):
        keys = [rng.randrange(4) for _ in range(rng.choice([1, 40]))]
        drawn = [rng.choice([None, *values]) for _ in keys]
        batches.append((keys, columns(kind, drawn)))
        for key, value in zip(keys, drawn, strict=True):
            seen.setdefault(key, set()).add(canonical(value))
    want = {key: [len(found - {None}), len(found)] for key, found in seen.items()}
    assert results(made(plan, batches)) == want
    for batch in batches:
        total.merge(made(plan, [batch]).partials(0))
    again = PaneStore(KEY, plan)
    again.restore(total.snapshot())
    again.restore(total.snapshot())
    assert results(again) == want


def test_many_distinct_values_grow_the_tables() -> None:
    rng = np.random.default_rng(1)
    keys, values = rng.integers(0, 50, 200_000), rng.integers(0, 5_000, 200_000)
    for column in (pa.array(values), pa.array(values * 1.5), pa.array(values << 48)):
        plan = AccumulatorPlan([(CountDistinct(), 0, column.type)], ["x"])
        batches = [(keys[i : i + 9_000].tolist(), column.slice(i, 9_000)) for i in range(0, 200_000, 9_000)]
        store = made(plan, batches)
        pairs = len(np.unique(keys * 5_000 + values))
        assert pairs * 8 < store.nbytes < pairs * 80
        got = results(store)
        assert got == {key: [len(np.unique(values[keys == key]))] for key in got} and len(got) == 50


@pytest.mark.slow
def test_freed_keys_take_nothing_with_them() -> None:
    """A slot that is reset begins anew, in every form of state."""
    kind = pa.float64()
    aggregates: list[Aggregate] = [
        CountDistinct(),
        Median(),
        List(),
        TopK(k=2),
        ApproxCountDistinct(),
        ApproxQuantile(0.5),
    ]
    plan = AccumulatorPlan([(a, 0, kind) for a in aggregates], ["x"])
    table = SlotTable(KEY, plan)
    keys = pa.record_batch([pa.array([1, 2, 1, 2])], schema=pa.schema(KEY))
    times = np.arange(4)
    slots = table.put(keys, [pa.array([1.0, 2.0, 3.0, 2.0])], times)
    table.reset(np.array([slots[0]]))
    table.put(keys.slice(0, 1), [pa.array([7.0])], times[:1])
    read = [column.to_pylist() for column in table.read(np.array([slots[1], slots[0]])).results()]
    assert read[:5] == [[1, 1], [2.0, 7.0], [[2.0, 2.0], [7.0]], [[2.0, 2.0], [7.0]], [1, 1]]
    assert read[5] == pytest.approx([2.0, 7.0], rel=0.01)


@given(
    st.lists(
        st.one_of(st.floats(), st.sampled_from([0.0, -0.0, math.nan, 1.0, 2.0])), min_size=1, max_size=80
    ),
    st.floats(0, 1),
    st.sampled_from(INTERPOLATIONS),
)
def test_quantiles_equal_those_of_sorted_values(values: list[float], quantile: float, rule: str) -> None:
    ordered = sorted(values, key=lambda v: (math.isnan(v), v))
    place = (len(ordered) - 1) * quantile
    low, part = int(place), place - int(place)
    high = low + 1 if part > 0 else low
    a, b = ordered[low], ordered[high]
    want = {
        "nearest": ordered[int(place + 0.5)],
        "lower": a,
        "higher": b,
        "midpoint": a if a == b else (a + b) / 2 if abs(a + b) < math.inf else a / 2 + b / 2,
        "linear": a if a == b else a + (b - a) * part if abs(b - a) < math.inf else a * (1 - part) + b * part,
    }[rule]
    plan = AccumulatorPlan([(Quantile(quantile, rule), 0, pa.float64())], ["x"])
    (got,) = results(made(plan, [([0] * len(values), pa.array(values, from_pandas=False))]))[0]
    assert math.isclose(got, want, rel_tol=1e-12) or (math.isnan(got) and math.isnan(want))


@pytest.mark.parametrize("shape", ["ties", "rising", "falling", "organ pipe", "random"])
def test_selection_takes_no_quadratic_time(shape: str) -> None:
    n = 60_000
    values = {
        "ties": np.repeat(3.0, n),
        "rising": np.arange(n, dtype=float),
        "falling": np.arange(n, dtype=float)[::-1],
        "organ pipe": np.concatenate([np.arange(n // 2), np.arange(n // 2)[::-1]]).astype(float),
        "random": np.random.default_rng(2).random(n),
    }[shape]
    plan = AccumulatorPlan([(Median(), 0, pa.float64()), (Quantile(0.999), 0, pa.float64())], ["x"])
    got = results(made(plan, [([0] * n, pa.array(values))]))[0]
    assert got == [np.median(values), np.sort(values)[int((n - 1) * 0.999 + 0.5)]]


@pytest.mark.parametrize("kind", ["int64", "string"])
@pytest.mark.parametrize("count", [0, 1, 10, 1_000, 50_000, 300_000])
def test_estimated_counts_are_within_five_standard_errors(count: int, kind: str) -> None:
    values = pa.array(range(count), pa.int64()).cast(kind)
    for error in (0.01, 0.05):
        plan = AccumulatorPlan([(ApproxCountDistinct(error), 0, values.type)], ["x"])
        both = pa.concat_arrays([values, values.slice(count // 2), pa.nulls(1, values.type)])
        store = made(plan, [([0] * len(both), both)])
        assert store.nbytes < 2_000_000
        (got,) = results(store)[0]
        assert abs(got - count) <= max(0.5, 5 * error * count)


@pytest.mark.parametrize("error", [0.001, 0.01, 0.2])
def test_estimated_quantiles_are_within_their_error(error: float) -> None:
    rng = np.random.default_rng(4)
    values = np.concatenate(
        [rng.lognormal(0, 3, 20_000), -rng.lognormal(1, 2, 5_000), np.zeros(99), [1e-300, 1e300]]
    )
    rng.shuffle(values)
    ordered = np.sort(values)
    for quantile in (0.0, 0.01, 0.199, 0.5, 0.9, 0.999, 1.0):
        plan = AccumulatorPlan([(ApproxQuantile(quantile, error), 0, pa.float64())], ["x"])
        (got,) = results(made(plan, [([0] * len(values), pa.array(values))]))[0]
        want = ordered[int((len(ordered) - 1) * quantile + 0.5)]
        assert abs(got - want) <= error * abs(want) * (1 + 1e-9)
    plan = AccumulatorPlan(
        [(ApproxQuantile(1.0), 0, pa.float64()), (ApproxQuantile(0.0), 0, pa.float64())], ["x"]
    )
    assert results(made(plan, [([0] * 3, pa.array([1.0, -math.inf, math.inf]))]))[0] == [math.inf, -math.inf]
    (top, _) = results(made(plan, [([0] * 2, pa.array([1.0, math.nan], from_pandas=False))]))[0]
    assert math.isnan(top)


VALUES = [
    pa.array([1.5, None, math.nan, -0.0, 0.0, 1e9, 2.5, None, 1.5, 7.0] * 3),
    pa.array([3, None, -5, 4, 4, 2**60, 0, 1] * 3),
    pa.array(["b", None, "", "a", "b", "a longer text than seven bytes"] * 4),
    pa.array([True, None, False, True] * 5),
    pa.array([0, None, 10**15, -5], pa.timestamp("us")),
]
PAIRS = [
    pa.StructArray.from_arrays([values, values.take(pa.array(range(len(values) - 1, -1, -1)))], ["0", "1"])
    for values in VALUES
]


@pytest.mark.parametrize("values", VALUES, ids=lambda v: str(v.type))
def test_conformance(values: pa.Array) -> None:
    for aggregate in (CountDistinct(), NUnique(), List(), TopK(k=2), ApproxCountDistinct()):
        check_aggregate(aggregate, values)
    if not pa.types.is_string(values.type):
        check_aggregate(Median(), values)
        check_aggregate(Quantile(0.3, "linear"), values)
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        check_aggregate(ApproxQuantile(0.3), values)


@pytest.mark.slow
@pytest.mark.parametrize("values", PAIRS, ids=lambda v: str(v.type.field(0).type))
def test_conformance_by_another_column(values: pa.Array) -> None:
    check_aggregate(TopKBy(2), values)
    if not pa.types.is_string(values.type.field(1).type):
        check_aggregate(MinBy(), values)
        check_aggregate(MaxBy(), values)


def test_top_values_are_all_that_is_kept() -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 10**9, 100_000)
    plan = AccumulatorPlan([(TopK(k=3), 0, pa.int64())], ["x"])
    batches = [([0] * 1_000, pa.array(values[i : i + 1_000])) for i in range(0, 100_000, 1_000)]
    store = made(plan, batches)
    assert store.nbytes < 300_000
    assert results(store)[0] == [sorted(values.tolist(), reverse=True)[:3]]
    plan = AccumulatorPlan([(TopK(k=500), 0, pa.int64())], ["x"])
    assert results(made(plan, batches))[0] == [sorted(values.tolist(), reverse=True)[:500]]


@given(
    st.lists(
        st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 9)), max_size=60), max_size=9
    ),
    st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from(["lower", "higher", "nearest"])), min_size=1, max_size=4
    ),
    st.booleans(),
    st.integers(0, 9),
)
def test_quantiles_of_lists_are_those_of_sorted_values(
    lists: list[list[int]], wanted: list[tuple[float, str]], floats: bool, cut: int
) -> None:
    def as_lists(some: list[list[int]]) -> tuple[Any, Any]:
        words = np.array([value for values in some for value in values], dtype=np.int64)
        return np.cumsum([0, *(len(values) for values in some)]), words

    found = quantiles_of([as_lists(lists[:cut]), as_lists(lists[cut:])], wanted, floats)
    assert found.shape == (len(wanted), len(lists))
    for row, values in enumerate(lists):
        words = np.array(values, dtype=np.int64)
        keys = sortable(pa.array(words.view(np.float64), from_pandas=False)) if floats else words
        ordered = np.sort(keys)
        for (quantile, rule), result in zip(wanted, found, strict=True):
            if not values:
                assert result[row] == 0
                continue
            place = (len(values) - 1) * quantile
            at = {"lower": int(place), "higher": math.ceil(place), "nearest": int(place + 0.5)}[rule]
            got = result[row : row + 1]
            if floats:
                got = sortable(pa.array(got.view(np.float64), from_pandas=False))
            assert got[0] == ordered[at]


@pytest.mark.parametrize("size", [17, 257, 5000])
@pytest.mark.parametrize("draw", ["normal", "standard_cauchy", "few", "equal"])
def test_quantiles_of_long_lists(size: int, draw: str) -> None:
    rng = np.random.default_rng(size)
    kinds = {"few": lambda n: rng.integers(0, 3, n) * 1.5, "equal": lambda n: np.full(n, -2.5)}
    values = kinds[draw](3 * size) if draw in kinds else getattr(rng, draw)(size=3 * size)
    offsets = np.array([0, size, 3 * size])
    wanted = [(0.5, "midpoint"), (0.9, "linear"), (0.0, "nearest"), (0.5, "linear"), (1.0, "linear")]
    found = quantiles_of([(offsets, values.view(np.int64))], wanted, True).view(np.float64)
    for row, part in enumerate(np.split(values, [size])):
        for (quantile, rule), result in zip(wanted, found, strict=True):
            assert result[row] == pytest.approx(np.quantile(part, quantile, method=rule), rel=1e-14)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_a_nan_that_signals_is_a_nan(kind: type[np.floating]) -> None:
    bits = {np.float64: np.array([0x7FF0000000000001]), np.float32: np.array([0x7F800001], np.int32)}[kind]
    keys = sortable(pa.array(bits.view(kind), from_pandas=False))
    assert keys.tolist() == sortable(pa.array([math.nan])).tolist()
