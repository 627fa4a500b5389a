"""The tree: names, columns, aggregates, identity, replacing."""

from __future__ import annotations

import copy
import functools
import operator

import numpy as np
import pyarrow as pa
import pytest

from streamlib.aggregates import Count, Sum
from streamlib.errors import BuildError
from streamlib.expr import AggExpr, Expr, coalesce, col, count, lit, named_exprs, to_expr
from tests.expr.columns import one


def test_columns_come_in_the_order_of_first_use() -> None:
    assert (col("b") * col("a") + col("b").fill_null(col("c"))).columns() == ["b", "a", "c"]
    assert lit(1).columns() == []


@pytest.mark.parametrize(
    ("expr", "name"),
    [
        (col("a"), "a"),
        (col("a") + col("b"), "a"),
        (1 - col("b"), "b"),
        ((col("a") + 1).alias("x"), "x"),
        (col("a").alias("x") + col("b"), "x"),
        (col("a").sum() / count(), "a"),
        (count(), "count"),
    ],
)
def test_the_output_is_named_as_in_polars(expr: Expr, name: str) -> None:
    assert expr.output_name() == name


def test_a_constant_has_no_name() -> None:
    with pytest.raises(BuildError, match=r"alias"):
        (lit(1) + 2).output_name()


def test_a_truth_value_is_refused() -> None:
    with pytest.raises(BuildError, match="write & for and"):
        bool(col("a") > 1)
    with pytest.raises(BuildError, match="truth value"):
        assert 1 < col("a") < 3
    with pytest.raises(BuildError, match="truth value"):
        assert col("a") > 1 and col("a") < 3
    with pytest.raises(BuildError, match="iterated"):
        list(col("a"))


def test_identity_is_structure_and_type() -> None:
    assert (col("a") + 1).key() == (col("a") + 1).key()
    keys = {(col("a") + value).key() for value in (1, 1.0, True, "1", None, pa.scalar(1, pa.int8()), 1)}
    assert len(keys) == 6
    assert (col("a") - col("b")).key() != (col("b") - col("a")).key()
    assert col("a").sum().key() != col("a").mean().key()
    assert col("a").sum().key() == AggExpr(Sum(), col("a")).key()


def test_a_copy_is_equal() -> None:
    expr = (col("a") * 2).sum() / count()
    twin = copy.deepcopy(expr)
    assert twin.key() == expr.key()
    assert hash(twin) == hash(expr)
    assert isinstance(copy.deepcopy(col("a").sum()), AggExpr)


def test_aggregates_come_once_each() -> None:
    expr = (col("p") * col("v")).sum() / col("v").sum() + col("v").sum() / count()
    aggregates = expr.aggregates()
    assert [str(a) for a in aggregates] == ['(col("p") * col("v")).sum()', 'col("v").sum()', "count()"]
    assert expr.contains_aggregate
    assert not col("p").contains_aggregate
    first, _, rows = aggregates
    assert first.aggregate == Sum()
    assert str(first.input) == 'col("p") * col("v")'
    assert rows.aggregate == Count()
    assert rows.input is None


def test_replacing_aggregates_by_columns() -> None:
    expr = (col("p").sum() / col("v").sum()).alias("vwap") + col("p").sum()
    replaced = expr.replace([(a, col(f"#{i}")) for i, a in enumerate(expr.aggregates())])
    assert str(replaced) == '(col("#0") / col("#1")).alias("vwap") + col("#0")'
    assert not replaced.contains_aggregate
    assert expr.replace([]).key() == expr.key()


def test_columns_beside_an_aggregate_are_seen() -> None:
    assert (col("a").sum() + col("b")).columns_outside_aggregates() == ["b"]
    assert (col("a") * col("a").sum()).columns_outside_aggregates() == ["a"]


def test_an_aggregate_has_a_type_and_no_value_per_row() -> None:
    batch = pa.record_batch({"v": [1.5], "n": [1]})
    assert (col("v").sum() / col("n").sum()).type_in(batch.schema) == pa.float64()
    assert count().type_in(batch.schema) == pa.int64()
    with pytest.raises(BuildError) as caught:
        (col("v") / col("v").sum()).evaluate(batch)
    assert 'col("v").sum() is an aggregate: use it in .agg(...)' in str(caught.value)


def test_an_aggregate_of_an_aggregate_is_refused() -> None:
    with pytest.raises(BuildError, match="cannot be aggregated again"):
        (col("a").sum() + 1).max()


def test_deep_trees_are_no_problem() -> None:
    deep, twin = (functools.reduce(operator.or_, [col("a") == i for i in range(3_000)]) for _ in range(2))
    assert deep.key() == twin.key()
    assert one(deep, a=2_999) is True
    assert deep.columns() == ["a"]
    assert str(deep).startswith('(col("a") == 0) | (col("a") == 1)')


def test_a_numpy_number_on_the_left_leaves_the_work_to_the_expression() -> None:
    assert one(np.float64(2) * col("a"), a=3) == 6.0
    assert one(np.int64(2) < col("a"), a=3) is True


def test_what_is_no_constant_is_refused() -> None:
    assert to_expr(pa.scalar(3, pa.int8())).type_in(pa.schema({})) == pa.int8()
    for value in (object(), 2**64):
        with pytest.raises(BuildError, match="no Arrow type"):
            lit(value)


def test_expressions_are_named_for_a_step() -> None:
    named = named_exprs(("a", col("b") + 1), {"c": 5, "d": "a", "e": col("a").sum()})
    assert {name: str(expr) for name, expr in named.items()} == {
        "a": 'col("a")',
        "b": 'col("b") + 1',
        "c": "lit(5)",
        "d": 'col("a")',
        "e": 'col("a").sum()',
    }


def test_two_expressions_of_one_name_are_refused() -> None:
    with pytest.raises(BuildError, match="two expressions are named 'a'"):
        named_exprs(("a", col("a") + 1), {})
    with pytest.raises(BuildError, match="two expressions are named 'a'"):
        named_exprs(("a",), {"a": 1})


def test_a_positional_constant_is_refused() -> None:
    with pytest.raises(BuildError, match="give a constant a name"):
        named_exprs((5,), {})  # type: ignore[arg-type]


def test_coalesce_is_named_by_its_first_column() -> None:
    assert coalesce(0, "b", "a").output_name() == "b"
