"""Variance and its relatives: right to the last place where they cancel, and the same in any order."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.aggregates import AccumulatorPlan, Aggregate, Corr, Cov, Std, Var, WeightedMean
from streamlib.aggregates.accumulators import product_error, sum_error
from streamlib.state import PaneStore

FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e140, max_value=1e140)
NASTY = {
    "small noise on 1e9": [1e9 + n * 1e-3 for n in range(50)],
    "noise of one ulp on 1e15": [1e15 + n * 0.125 for n in range(64)],
    "both signs": [(-1) ** n * (1e8 + n / 7) for n in range(60)],
    "all magnitudes": [10.0**n for n in range(-30, 30)],
    "equal": [0.1] * 40,
    "tenths": [n / 10 for n in range(99)],
}


def store(plan: AccumulatorPlan, column: pa.Array) -> PaneStore:
    made = PaneStore([], plan)
    add(made, column)
    return made


def add(made: PaneStore, column: pa.Array) -> None:
    if len(column):
        keys = pa.RecordBatch.from_struct_array(pa.array([{}] * len(column), pa.struct([])))
        times = np.zeros(len(column), dtype=np.int64)
        made.add(keys, times, [column], times)


def result(
    aggregate: Aggregate, column: pa.Array, cuts: list[int] | None = None, merged: bool = False
) -> Any:
    """The aggregate over a column, added in pieces or merged from them."""
    plan = AccumulatorPlan([(aggregate, 0, column.type)], ["x"])
    made = PaneStore([], plan)
    bounds = [0, *sorted(cuts or []), len(column)]
    for begin, end in pairwise(bounds):
        part = column.slice(begin, end - begin)
        if not merged:
            add(made, part)
        elif len(part):
            made.merge(store(plan, part).partials(0))
    return made.pop(0).results()[0][0].as_py()


def exact_comoment(x: list[float], y: list[float]) -> Fraction:
    xs, ys = [Fraction(v) for v in x], [Fraction(v) for v in y]
    return sum((a * b for a, b in zip(xs, ys, strict=True)), Fraction(0)) - sum(xs) * sum(ys) / len(xs)


def close(got: float, want: Fraction, ulps: int = 2) -> bool:
    nearest = float(want)
    return abs(Fraction(got) - want) <= ulps * Fraction(math.ulp(nearest))


@given(FINITE, FINITE)
def test_products_and_sums_lose_nothing(a: float, b: float) -> None:
    product, total = a * b, a + b
    if abs(product) > 1e-200 and abs(product) < 1e290:
        assert Fraction(product) + Fraction(product_error(a, b, product)) == Fraction(a) * Fraction(b)
    assert Fraction(total) + Fraction(sum_error(a, b, total)) == Fraction(a) + Fraction(b)


@pytest.mark.slow
@pytest.mark.parametrize("name", NASTY)
def test_variance_is_exact_where_it_cancels(name: str) -> None:
    values = NASTY[name]
    exact = exact_comoment(values, values)
    got = result(Var(), pa.array(values))
    assert close(got, exact / (len(values) - 1)), (got, float(exact / (len(values) - 1)))
    assert result(Std(ddof=0), pa.array(values)) == pytest.approx(math.sqrt(exact / len(values)), rel=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("name", NASTY)
def test_results_do_not_depend_on_order_cut_or_merge(name: str) -> None:
    rng = random.Random(name)
    rows = [{"0": x, "1": x * 3 - 2 * (n % 5)} for n, x in enumerate(NASTY[name])]
    for aggregate in (Cov(), Corr(), WeightedMean(), Var()):
        found = set()
        for _ in range(6):
            rng.shuffle(rows)
            column: pa.Array = pa.array(rows, pa.struct([("0", pa.float64()), ("1", pa.float64())]))
            column = column.field(0) if isinstance(aggregate, Var) else column
            cuts = [rng.randrange(len(rows)) for _ in range(rng.randrange(4))]
            found.add(repr(result(aggregate, column, cuts, merged=rng.random() < 0.5)))
        assert len(found) == 1, (aggregate.name, found)


@given(st.lists(st.tuples(st.integers(-999, 999), st.integers(-999, 999)), min_size=2, max_size=20))
def test_covariance_is_exact(pairs: list[tuple[int, int]]) -> None:
    x, y = [1e9 + a / 8 for a, _ in pairs], [b / 16 - 5e8 for _, b in pairs]
    column = pa.StructArray.from_arrays([pa.array(x), pa.array(y)], ["0", "1"])
    assert close(result(Cov(), column), exact_comoment(x, y) / (len(x) - 1))
    assert close(result(Cov(ddof=0), column), exact_comoment(x, y) / len(x))
    spread = exact_comoment(x, x) * exact_comoment(y, y)
    got = result(Corr(), column)
    if spread == 0:
        assert math.isnan(got)
    else:
        assert got == pytest.approx(float(exact_comoment(x, y)) / math.sqrt(spread), rel=1e-14, abs=1e-300)
        assert -1 <= got <= 1


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([], None),
        ([1.0], None),
        ([None, 2.0], None),
        ([1.0, math.inf], math.nan),
        ([1.0, math.nan, 2.0], math.nan),
        ([1e200, -1e200], math.inf),
        ([5.0, None, 5.0], 0.0),
    ],
)
def test_edges(values: list[float | None], want: float | None) -> None:
    got = result(Var(), pa.array([*values, None], pa.float64()))
    assert got == want or (want is not None and math.isnan(want) and math.isnan(got))


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.float32(), pa.float16(), pa.bool_()], ids=str)
def test_every_number_enters_as_a_float(kind: pa.DataType) -> None:
    values = pa.array([1, 0, 1, None, 1]).cast(pa.float32()).cast(kind)
    assert result(Var(), values) == pytest.approx(0.25)
    assert result(Var(), values.dictionary_encode()) == pytest.approx(0.25)


def test_weighted_mean() -> None:
    rows = pa.array([{"0": 0.1, "1": 3}, {"0": None, "1": 9}, {"0": 0.7, "1": None}, {"0": -2.0, "1": 1}])
    assert result(WeightedMean(), rows) == pytest.approx((0.1 * 3 - 2.0) / 4, rel=1e-15)
    assert math.isnan(result(WeightedMean(), pa.array([{"0": 1.0, "1": 0}])))
    assert result(WeightedMean(), pa.array([{"0": 1.0, "1": None}], rows.type)) is None
