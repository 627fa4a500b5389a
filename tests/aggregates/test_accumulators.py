"""Each accumulator on records in memory, in plain Python: exact, and the same in any order."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.aggregates.accumulators import (
    NULLS,
    Accumulator,
    Style,
    edge_of,
    exact_integers,
    extreme_of,
    sum_of,
    total,
)
from streamlib.errors import DataError

INT64 = st.integers(-(2**63), 2**63 - 1)
UINT64 = st.integers(0, 2**64 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e200, max_value=1e200)
PLACES = 2  # words before the accumulator's own, which it must not touch


def fresh(accumulator: Accumulator) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([-7] * PLACES + [w.initial for w in accumulator.words] + [-7], dtype=np.int64)


def fold(accumulator: Accumulator, values: list[Any], cut: int | None = None) -> Any:
    """The state after `values`, in one record or merged from two; shape (1, words)."""
    record = fresh(accumulator)
    parts = [values] if cut is None else [values[:cut], values[cut:]]
    for part in parts:
        state = fresh(accumulator)
        for value in part:
            with np.errstate(over="ignore", invalid="ignore"):
                arguments = value if isinstance(value, tuple) else (value,)
                accumulator.add(state.ctypes.data, PLACES, *arguments)
        with np.errstate(over="ignore", invalid="ignore"):
            accumulator.merge(record.ctypes.data, state.ctypes.data, PLACES)
    assert record[0] == record[1] == record[-1] == -7
    return record[PLACES:-1].reshape(1, -1)


@given(st.lists(INT64), st.integers(0, 10))
def test_integer_sums_are_exact(values: list[int], cut: int) -> None:
    accumulator = sum_of(pa.int64())
    words = fold(accumulator, [np.int64(v) for v in values], cut)
    want = sum(values)
    assert total(accumulator, words)[0] == float(want)
    if -(2**63) <= want < 2**63:
        assert exact_integers(accumulator, words, "x")[0] == want
    else:
        with pytest.raises(DataError, match="does not fit into int64") as raised:
            exact_integers(accumulator, words, "x")
        assert raised.value.got == str(want)


@given(st.lists(UINT64), st.integers(0, 10))
def test_unsigned_sums_are_exact(values: list[int], cut: int) -> None:
    accumulator = sum_of(pa.uint32())
    words = fold(accumulator, [np.uint64(v) for v in values], cut)
    want = sum(values)
    if want < 2**64:
        assert exact_integers(accumulator, words, "x").tolist() == [want]
    else:
        with pytest.raises(DataError, match="does not fit into uint64"):
            exact_integers(accumulator, words, "x")
    assert (total(accumulator, words)[0] == float(want)) or want < 2**64


@given(st.lists(FLOATS, max_size=30), st.integers(0, 10))
def test_float_sums_are_as_good_as_in_twice_the_digits(values: list[float], cut: int) -> None:
    accumulator = sum_of(pa.float64())
    got = total(accumulator, fold(accumulator, [np.float64(v) for v in values], cut))[0]
    exact = sum((Fraction(v) for v in values), Fraction(0))
    size = sum((abs(Fraction(v)) for v in values), Fraction(0))
    assert abs(Fraction(float(got)) - exact) <= abs(exact) / 2**52 + size * len(values) ** 2 / 2**104


def test_float_sums_do_not_depend_on_the_order() -> None:
    accumulator = sum_of(pa.float64())
    values = [np.float64(v) for v in (0.1, 0.2, 0.3, 1e9, -1e9, 0.7)]
    sums = {float(total(accumulator, fold(accumulator, list(p)))[0]) for p in itertools.permutations(values)}
    assert sums == {math.fsum(values)}
    assert len({sum(p) for p in itertools.permutations(values)}) > 1, "plain addition does depend on it"


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([math.inf, 1.0], math.inf),
        ([1.0, math.inf, -math.inf], math.nan),
        ([1.0, math.nan], math.nan),
        ([], 0.0),
    ],
)
def test_float_sums_of_infinite_parts(values: list[float], want: float) -> None:
    accumulator = sum_of(pa.float64())
    got = total(accumulator, fold(accumulator, [np.float64(v) for v in values]))[0]
    assert got == want or (math.isnan(got) and math.isnan(want))


@given(st.lists(st.floats(), min_size=1), st.integers(0, 10), st.sampled_from(["min", "max"]))
def test_float_extremes_pass_over_nan(values: list[float], cut: int, name: str) -> None:
    words = fold(extreme_of(name, pa.float64()), [np.float64(v) for v in values], cut)
    got = float(np.ascontiguousarray(words).view(np.float64)[0, 0])
    numbers = [v for v in values if not math.isnan(v)]
    if numbers:
        assert got == (min if name == "min" else max)(numbers)
    else:
        assert math.isnan(got)


@given(st.lists(INT64, min_size=1), st.integers(0, 10), st.sampled_from(["min", "max"]))
def test_integer_extremes(values: list[int], cut: int, name: str) -> None:
    words = fold(extreme_of(name, pa.int64()), values, cut)
    assert words.tolist() == [[(min if name == "min" else max)(values)]]
    shifted = [v + 2**63 for v in values]
    words = fold(extreme_of(name, pa.uint64()), shifted, cut)
    assert words.view(np.uint64).tolist() == [[(min if name == "min" else max)(shifted)]]


EVENTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=12)


@given(EVENTS, st.integers(0, 12), st.sampled_from(["first", "last"]), st.booleans())
def test_edges_by_time_and_then_order_or_arrival(
    events: list[tuple[int, int]], cut: int, name: str, ordered: bool
) -> None:
    accumulator = edge_of(name, pa.int64(), ordered)
    if ordered:
        events = sorted(set(events), key=events.index)
        rows = [(*event, value) for value, event in enumerate(events)]
        ranked = sorted(rows)
    else:
        rows = [(event[0], value) for value, event in enumerate(events)]
        ranked = sorted(rows, key=lambda row: row[0])
        ranked = ranked if name == "first" else sorted(rows, key=lambda row: (row[0], row[1]))
    words = fold(accumulator, rows, cut)
    assert tuple(words[0, :-1]) == ranked[0 if name == "first" else -1]


def test_edges_keep_whether_the_value_is_null() -> None:
    for ordered in (False, True):
        accumulator = edge_of("last", pa.int64(), ordered)
        assert accumulator.style is Style.EDGE and accumulator.add_nullable is not None
        record = fresh(accumulator)
        place = (0,) if ordered else ()
        accumulator.add_nullable(record.ctypes.data, PLACES, 5, *place, 1, True)
        assert record[-2] == 1
        accumulator.add_nullable(record.ctypes.data, PLACES, 6, *place, 1, False)
        assert record[-2] == 0


def test_nulls_are_counted() -> None:
    record = fresh(NULLS)
    NULLS.add(record.ctypes.data, PLACES)
    NULLS.merge(record.ctypes.data, record.ctypes.data, PLACES)
    assert record[PLACES] == 2
