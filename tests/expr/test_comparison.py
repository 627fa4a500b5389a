"""Comparison and logic: against DuckDB for Kleene's rules, against Python for IEEE, with nulls everywhere."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.errors import TypeMismatchError
from streamlib.expr import col
from tests.expr.columns import assert_same, batches, one, polars_values

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _python(symbol: str, left: list[Any], right: list[Any]) -> list[bool | None]:
    apply = OPERATORS[symbol]
    return [None if a is None or b is None else apply(a, b) for a, b in zip(left, right, strict=True)]


@pytest.mark.parametrize("symbol", OPERATORS)
@given(batch=batches("ijnfgxyst"), names=st.sampled_from(["ij", "fg", "st", "xy", "in", "fn"]))
def test_columns_compare_as_in_python(symbol: str, batch: pa.RecordBatch, names: str) -> None:
    left, right = names
    expected = _python(symbol, batch[left].to_pylist(), batch[right].to_pylist())
    assert_same(OPERATORS[symbol](col(left), col(right)).evaluate(batch), expected)


@pytest.mark.parametrize("symbol", OPERATORS)
@given(batch=batches("infxs"), swapped=st.booleans())
def test_constants_compare_as_in_python(symbol: str, batch: pa.RecordBatch, swapped: bool) -> None:
    constants = {"i": 3, "n": 70_000, "f": -2.5, "s": "b", "x": True}
    for name, constant in constants.items():
        values = batch[name].to_pylist()
        sides = ([constant] * len(values), values) if swapped else (values, [constant] * len(values))
        apply = OPERATORS[symbol]
        expr = apply(constant, col(name)) if swapped else apply(col(name), constant)
        assert_same(expr.evaluate(batch), _python(symbol, *sides))


@given(batch=batches("ixy"), operators=st.tuples(*[st.sampled_from(["&", "|"])] * 2), negated=st.booleans())
def test_logic_follows_kleene_as_duckdb(
    batch: pa.RecordBatch, operators: tuple[str, str], negated: bool
) -> None:
    functions: dict[str, Callable[[Any, Any], Any]] = {"&": operator.and_, "|": operator.or_}
    words = {"&": "and", "|": "or"}
    first, second = operators
    expr = functions[second](functions[first](col("x"), ~col("y") if negated else col("y")), col("i") > 0)
    sql = f"((x {words[first]} {'not y' if negated else 'y'}) {words[second]} (i > 0))"
    table = pa.table(batch)
    rows = duckdb.connect().from_arrow(table).project(f"{sql} as result").fetchall()
    assert_same(expr.evaluate(batch), [row[0] for row in rows])


@given(batch=batches("ijxy"))
def test_exclusive_or_and_bits_agree_with_polars(batch: pa.RecordBatch) -> None:
    assert_same((col("x") ^ col("y")).evaluate(batch), polars_values(batch, pl.col("x") ^ pl.col("y")))
    for apply in (operator.and_, operator.or_, operator.xor):
        ours, theirs = apply(col("i"), col("j")), apply(pl.col("i"), pl.col("j"))
        assert_same(ours.evaluate(batch), polars_values(batch, theirs))
    assert_same((~col("i")).evaluate(batch), polars_values(batch, ~pl.col("i")))


@pytest.mark.parametrize("closed", ["both", "left", "right", "none"])
@given(batch=batches("ij"))
def test_is_between_agrees_with_polars(closed: Any, batch: pa.RecordBatch) -> None:
    expected = polars_values(batch, pl.col("i").is_between(-3, pl.col("j"), closed=closed))
    assert_same(col("i").is_between(-3, col("j"), closed=closed).evaluate(batch), expected)


def test_the_whole_range_of_unsigned_integers_compares() -> None:
    unsigned = pa.array([2**64 - 1], pa.uint64())
    assert one(col("u") > -1, u=unsigned) is True
    assert one(col("u") > col("i"), u=unsigned, i=2**63 - 1) is True
    assert one(col("u") == 2**64 - 1, u=unsigned) is True


def test_a_number_and_a_truth_value_compare() -> None:
    assert one(col("x") == 1, x=True) is True
    assert one(col("x") + 1, x=True) == 2


def test_a_dictionary_of_texts_compares() -> None:
    assert one(col("s") == "a", s=pa.array(["a"]).dictionary_encode()) is True


@pytest.mark.parametrize("constant", [1, 1.5, b"x"])
def test_a_text_never_compares_with_a_number(constant: object) -> None:
    with pytest.raises(TypeMismatchError, match=r'cannot compute col\("s"\) == '):
        (col("s") == constant).type_in(pa.schema({"s": pa.string()}))


def test_logic_over_numbers_hints_at_the_missing_parentheses() -> None:
    with pytest.raises(TypeMismatchError, match="parentheses"):
        (col("a") & col("b")).type_in(pa.schema({"a": pa.float64(), "b": pa.bool_()}))
