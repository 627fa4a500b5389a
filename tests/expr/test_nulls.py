"""Nulls: tests for them and fillings, against Polars."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given

from streamlib.errors import BuildError, TypeMismatchError
from streamlib.expr import coalesce, col, lit
from tests.expr.columns import assert_same, batches, one, polars_values


@given(batch=batches("ijnfgxyst"))
def test_tests_agree_with_polars(batch: pa.RecordBatch) -> None:
    for name in batch.schema.names:
        assert_same(col(name).is_null().evaluate(batch), polars_values(batch, pl.col(name).is_null()))
        assert_same(col(name).is_not_null().evaluate(batch), polars_values(batch, pl.col(name).is_not_null()))
    for name in "fin":
        assert_same(col(name).is_nan().evaluate(batch), polars_values(batch, pl.col(name).is_nan()))


@given(batch=batches("infgxs"))
def test_fillings_agree_with_polars(batch: pa.RecordBatch) -> None:
    for name, value in {"i": 7, "n": 7, "f": 0.5, "x": False, "s": "none"}.items():
        assert_same(
            col(name).fill_null(value).evaluate(batch), polars_values(batch, pl.col(name).fill_null(value))
        )
        assert col(name).fill_null(value).type_in(batch.schema) == batch.schema.field(name).type
    assert_same(
        col("f").fill_null(col("g")).evaluate(batch), polars_values(batch, pl.col("f").fill_null(pl.col("g")))
    )


@given(batch=batches("ijst"))
def test_coalesce_agrees_with_polars(batch: pa.RecordBatch) -> None:
    assert_same(coalesce("i", "j", 0).evaluate(batch), polars_values(batch, pl.coalesce("i", "j", 0)))
    assert_same(
        coalesce("s", "t", lit("-")).evaluate(batch), polars_values(batch, pl.coalesce("s", "t", pl.lit("-")))
    )


def test_a_filling_of_a_wider_type_widens() -> None:
    schema = pa.schema({"i": pa.int64(), "n": pa.int8(), "f": pa.float64()})
    assert col("i").fill_null(1.5).type_in(schema) == pa.float64()
    assert col("n").fill_null(1000).type_in(schema) == pa.int16()
    assert coalesce("n", "f").type_in(schema) == pa.float64()
    assert one(coalesce("n", 2.5), n=pa.nulls(1, pa.int8())) == 2.5


def test_coalesce_of_a_column_without_a_type() -> None:
    assert one(coalesce("a", "b"), a=None, b=3) == 3


def test_kinds_do_not_mix() -> None:
    with pytest.raises(TypeMismatchError, match="cannot compute coalesce"):
        coalesce("i", "s").type_in(pa.schema({"i": pa.int64(), "s": pa.string()}))
    with pytest.raises(BuildError, match="at least one"):
        coalesce()
