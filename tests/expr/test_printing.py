"""An expression prints as it was written: Python reads the text back into an equal expression."""

from __future__ import annotations

import ast
import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.expr import Expr, call, coalesce, col, count, from_epoch, lit

WRITTEN = [
    '(col("price") * col("volume")).sum()',
    '(col("price") * col("volume")).sum() / col("volume").sum()',
    "count()",
    '1 - col("a")',
    'col("a") - (col("b") - col("c"))',
    'col("a") - col("b") - col("c")',
    '(col("a") + 1) * 2',
    'col("a") ** col("b") ** 2',
    '(col("a") ** col("b")) ** 2',
    '-col("a") ** 2',
    '(-col("a")) ** 2',
    '(-col("a")).abs()',
    '(col("a") > 1) & ((col("b") < 2) | ~col("c"))',
    '(col("a") > 1) == col("c")',
    'col("a") == (col("b") == col("c"))',
    'col("a").is_between(1, col("b"), closed="left")',
    'col("a").cast("float64").alias("b").round(2)',
    'col("d").cast("date32")',
    'col("a").fill_null("none") == "x\\"y"',
    'coalesce(col("a"), col("b"), lit(0))',
    'from_epoch(col("t"), "ms")',
    'call("utf8_upper", col("s"))',
    'col("s").call("starts_with", pattern="a")',
    "lit(1) + 2",
    "lit(None).is_null()",
]
NAMES = {f.__name__: f for f in (col, lit, call, coalesce, count, from_epoch)}


def read(text: str) -> Expr:
    """The expression that `text` builds; only what expressions are made of is understood."""
    value = _read(ast.parse(text, mode="eval").body)
    assert isinstance(value, Expr)
    return value


_OPERATORS: dict[type, Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow, ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.USub: operator.neg, ast.Invert: operator.invert,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip


def _read(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_read(left), _read(right))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _OPERATORS[type(op)](_read(left), _read(right))
        case ast.UnaryOp(op=op, operand=operand):
            return _OPERATORS[type(op)](_read(operand))
        case ast.Call(func=func, args=args, keywords=keywords):
            function = NAMES[func.id] if isinstance(func, ast.Name) else _method(func)
            return function(*map(_read, args), **{str(k.arg): _read(k.value) for k in keywords})
    raise AssertionError(ast.dump(node))


def _method(func: ast.expr) -> Any:
    assert isinstance(func, ast.Attribute)
    return getattr(_read(func.value), func.attr)


@pytest.mark.parametrize("text", WRITTEN)
def test_prints_as_written(text: str) -> None:
    assert str(read(text)) == text


LEAVES = st.sampled_from([col("a"), col("b"), lit(1), lit(-2), lit(1.5), lit("x"), lit(None), lit(True)])


def _larger(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    binary = [op for kind, op in _OPERATORS.items() if kind not in (ast.USub, ast.Invert)]
    return st.one_of(
        st.builds(lambda op, a, b: op(a, b), st.sampled_from(binary), inner, inner),
        st.builds(lambda a: -a, inner),
        st.builds(lambda a: ~a, inner),
        st.builds(lambda a, b: a.fill_null(b), inner, inner),
        st.builds(lambda a: a.abs(), inner),
        st.builds(lambda a, b: a.is_between(b, 5), inner, inner),
    )


@given(st.recursive(LEAVES, _larger, max_leaves=12))
def test_every_tree_reads_back_to_itself(expr: Expr) -> None:
    assert read(str(expr)).key() == expr.key(), str(expr)
