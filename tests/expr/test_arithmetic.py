"""Arithmetic: against Polars where nothing overflows, against Python's exact integers where something does."""

from __future__ import annotations

import decimal
import math
import operator
from collections.abc import Callable
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.errors import DataError, TypeMismatchError
from streamlib.expr import col, lit
from tests.expr.columns import INT64, assert_same, batches, one, polars_values

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
SIDES = st.sampled_from(["f", "g", "n", "x"])


@pytest.mark.parametrize("symbol", OPERATORS)
@given(batch=batches("fgnx"), names=st.tuples(st.sampled_from("fg"), SIDES))
def test_floats_agree_with_polars(symbol: str, batch: pa.RecordBatch, names: tuple[str, str]) -> None:
    apply, (left, right) = OPERATORS[symbol], names
    expected = polars_values(batch, apply(pl.col(left), pl.col(right).cast(pl.Float64)))
    assert_same(apply(col(left), col(right)).evaluate(batch), expected)


@pytest.mark.parametrize("symbol", OPERATORS)
@given(batch=batches("f"), constant=st.sampled_from([0.0, 1.5, -2.0, math.inf, 3, -1]), swapped=st.booleans())
def test_floats_and_a_constant_agree_with_polars(
    symbol: str, batch: pa.RecordBatch, constant: float, swapped: bool
) -> None:
    apply = OPERATORS[symbol]
    repeated = pl.lit(pl.Series([float(constant)] * batch.num_rows))  # Polars divides by 1.5 inexactly
    theirs = apply(repeated, pl.col("f")) if swapped else apply(pl.col("f"), repeated)
    ours = apply(constant, col("f")) if swapped else apply(col("f"), constant)
    assert_same(ours.evaluate(batch), polars_values(batch, theirs))


def _exact(symbol: str, left: int | None, right: int | None) -> int | None:
    if left is None or right is None or (right == 0 and symbol in ("//", "%")):
        return None
    result = OPERATORS[symbol](left, right)
    assert isinstance(result, int)
    return result


@pytest.mark.parametrize("symbol", ["+", "-", "*", "//", "%"])
@given(batch=batches("ij"), constant=st.none() | INT64)
def test_integers_are_exact_or_an_error_at_the_first_row_that_overflows(
    symbol: str, batch: pa.RecordBatch, constant: int | None
) -> None:
    left = batch["i"].to_pylist()
    right = batch["j"].to_pylist() if constant is None else [constant] * len(left)
    expr = OPERATORS[symbol](col("i"), col("j") if constant is None else constant)
    exact = [_exact(symbol, a, b) for a, b in zip(left, right, strict=True)]
    bad = [row for row, value in enumerate(exact) if value is not None and not -(2**63) <= value < 2**63]
    if not bad:
        assert_same(expr.evaluate(batch), exact)
        return
    with pytest.raises(DataError) as caught:
        expr.evaluate(batch)
    assert caught.value.where == f"row {bad[0]} of the batch"
    assert f'col("i") = {left[bad[0]]}' in str(caught.value)
    assert f"cannot compute {expr}: overflow" in str(caught.value)


@given(batch=batches("ij"))
def test_dividing_integers_gives_floats_as_polars(batch: pa.RecordBatch) -> None:
    expr = col("i") / col("j")
    assert expr.type_in(batch.schema) == pa.float64()
    assert_same(expr.evaluate(batch), polars_values(batch, pl.col("i") / pl.col("j")))


def test_dividing_by_zero() -> None:
    batch = pa.record_batch({"a": [1, -1, 0, None]})
    assert_same((col("a") / 0).evaluate(batch), [math.inf, -math.inf, math.nan, None])
    assert (col("a") // 0).evaluate(batch).to_pylist() == [None] * 4
    assert (col("a") % 0).evaluate(batch).to_pylist() == [None] * 4


@pytest.mark.parametrize("symbol", ["//", "%"])
@pytest.mark.parametrize("data_type", [pa.uint8(), pa.uint64(), pa.int8()])
def test_every_integer_type_divides_down(symbol: str, data_type: pa.DataType) -> None:
    values = [(7, 3), (0, 5), (100, 7), (3, 7)]
    if pa.types.is_signed_integer(data_type):
        values += [(-7, 3), (7, -3), (-7, -3), (-128, 3), (127, -2)]
    a, b = (pa.array(column, data_type) for column in zip(*values, strict=True))
    result = OPERATORS[symbol](col("a"), col("b")).evaluate(pa.record_batch({"a": a, "b": b}))
    assert result.type == data_type
    assert result.to_pylist() == [OPERATORS[symbol](x, y) for x, y in values]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (pa.int8(), pa.int32(), pa.int32()),
        (pa.uint8(), pa.int8(), pa.int16()),
        (pa.uint32(), pa.int64(), pa.int64()),
        (pa.int16(), pa.float32(), pa.float32()),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.bool_(), pa.int32(), pa.int32()),
        (pa.null(), pa.int32(), pa.int32()),
    ],
)
def test_types_meet_as_in_polars(left: pa.DataType, right: pa.DataType, expected: pa.DataType) -> None:
    empty = pa.schema({"a": left, "b": right}).empty_table()
    frame = pl.DataFrame(empty)
    for apply in (operator.add, operator.mul):
        assert apply(col("a"), col("b")).type_in(empty.schema) == expected
        assert apply(col("b"), col("a")).type_in(empty.schema) == expected
        theirs = frame.select(apply(pl.col("a"), pl.col("b"))).to_arrow().schema.field(0).type
        assert theirs == expected


@pytest.mark.parametrize(
    ("data_type", "constant", "expected"),
    [
        (pa.int8(), 1, pa.int8()),
        (pa.int8(), 1000, pa.int16()),
        (pa.uint64(), 1, pa.uint64()),
        (pa.float32(), 1.5, pa.float32()),
        (pa.float32(), 1, pa.float32()),
        (pa.int32(), 1.5, pa.float64()),
        (pa.int32(), None, pa.int32()),
        (pa.int8(), pa.scalar(1, pa.int32()), pa.int32()),
    ],
)
def test_a_constant_takes_the_type_of_the_column(
    data_type: pa.DataType, constant: Any, expected: pa.DataType
) -> None:
    assert (col("a") + constant).type_in(pa.schema({"a": data_type})) == expected


def test_an_integer_above_2_to_the_53_meets_a_float_without_an_error() -> None:
    assert one(col("a") + 0.5, a=2**53 + 1) == float(2**53 + 1) + 0.5


@given(batch=batches("n"), exponent=st.sampled_from([0, 1, 2, 0.5, 2.0]))
def test_powers_of_small_numbers_agree_with_polars(batch: pa.RecordBatch, exponent: float) -> None:
    ours, theirs = col("n").cast("int64") ** exponent, pl.col("n").cast(pl.Int64) ** exponent
    expected = polars_values(batch, theirs)
    got = ours.evaluate(batch).to_pylist()
    assert got == pytest.approx(expected, nan_ok=True)


def test_power() -> None:
    assert one(2 ** col("a"), a=10) == 1024
    assert one(col("a") ** -1, a=4) == 0.25
    with pytest.raises(DataError, match="overflow"):
        one(col("a") ** 64, a=2)
    with pytest.raises(DataError, match="negative integer powers"):
        one(col("a") ** col("b"), a=2, b=-1)


@given(batch=batches("if"))
def test_signs_agree_with_python(batch: pa.RecordBatch) -> None:
    least = -(2**63)
    for expr, apply in ((-col("i"), operator.neg), (abs(col("i")), abs)):
        values = batch["i"].to_pylist()
        if least in values:
            with pytest.raises(DataError, match="overflow"):
                expr.evaluate(batch)
        else:
            assert_same(expr.evaluate(batch), [None if v is None else apply(v) for v in values])
    floats = batch["f"].to_pylist()
    assert_same((-col("f")).evaluate(batch), [None if v is None else -v for v in floats])
    assert_same(col("f").abs().evaluate(batch), [None if v is None else abs(v) for v in floats])


def test_an_unsigned_integer_has_no_negative() -> None:
    with pytest.raises(TypeMismatchError, match='cannot compute -col\\("a"\\)'):
        (-col("a")).type_in(pa.schema({"a": pa.uint8()}))


def test_round_takes_halves_to_even() -> None:
    batch = pa.record_batch({"a": [0.5, 1.5, 2.5, -0.5, 12.25, None]})
    assert col("a").round().evaluate(batch).to_pylist() == [0.0, 2.0, 2.0, -0.0, 12.0, None]
    assert col("a").round(1).evaluate(batch).to_pylist() == [0.5, 1.5, 2.5, -0.5, 12.2, None]
    assert one(col("a").round(2), a=7) == 7


@given(batch=batches("st"))
def test_texts_are_joined(batch: pa.RecordBatch) -> None:
    assert_same((col("s") + col("t")).evaluate(batch), polars_values(batch, pl.col("s") + pl.col("t")))
    assert_same(("<" + col("s")).evaluate(batch), polars_values(batch, "<" + pl.col("s")))


def test_texts_of_a_dictionary_are_joined() -> None:
    assert one(col("s") + "!", s=pa.array(["a"]).dictionary_encode()) == "a!"


def test_decimals_stay_exact_and_divide_as_floats() -> None:
    price = pa.array([decimal.Decimal("1.10")], pa.decimal128(10, 2))
    assert one(col("p") * 3, p=price) == decimal.Decimal("3.30")
    assert one(col("p") + col("p"), p=price) == decimal.Decimal("2.20")
    assert one(col("p") / 2, p=price) == 0.55
    assert one(col("p") * 0.5, p=price) == 0.55


def test_constants_are_computed_once_and_repeated() -> None:
    batch = pa.record_batch({"a": [1, 2, 3]})
    assert (lit(1) + 2).evaluate(batch).to_pylist() == [3, 3, 3]
    assert lit(None).evaluate(batch).to_pylist() == [None] * 3
    assert lit("x").evaluate(batch.slice(0, 0)).to_pylist() == []
