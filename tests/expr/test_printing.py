"""An expression prints as it was written: Python reads the text back into an equal expression."""

from __future__ import annotations

import ast
import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.expr import Expr, call, coalesce, col, concat_str, count, from_epoch, lit, struct, when

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
    'when(col("a") > 1).then(col("b")).otherwise(0)',
    'when(col("a") > 1).then(1).when(col("b")).then(lit("x"))',
    '(when(col("a")).then(1).otherwise(2) + 1).alias("c")',
    'when(col("a").sum() > 0).then(col("b").mean()).otherwise(None)',
    'col("v").filter(col("p")).sum()',
    '(col("v") * 2).filter((col("p") > 1) & col("q")).mean()',
    "count()",
    'count().filter(col("p") == 1) / count()',
    'col("a").is_in([1, 2.5, None])',
    'col("a").is_in(["x", "y"])',
    '(col("a") + col("b")).str.len_chars()',
    'col("s").str.replace_all("a|b", "$1", literal=True)',
    'col("s").str.replace("a", "b", n=2)',
    'col("s").str.slice(-3)',
    'col("s").str.extract("(a)(b)", 2)',
    'col("s").str.to_integer(base=16, strict=False)',
    'col("s").str.to_datetime("%d/%b/%Y", time_unit="ms", time_zone="Europe/Berlin")',
    'col("s").str.split(",").list.get(0).str.to_uppercase()',
    'col("t").dt.truncate("10s").dt.epoch("ms")',
    'col("t").dt.replace_time_zone("Europe/Berlin", ambiguous="earliest")',
    'col("t").dt.replace_time_zone(None).dt.hour() % 12',
    'col("t").dt.to_string("%H:%M")',
    'col("v").list.contains(col("a"))',
    'col("v").list.get(col("i"), null_on_oob=True)',
    'col("o").struct.field("price") * 2',
    'struct("a", col("b").abs(), c=col("a") + 1).struct.field("c")',
    'concat_str(col("a"), lit("-"), col("b"), separator="/", ignore_nulls=True)',
]
NAMES = {f.__name__: f for f in (col, lit, call, coalesce, concat_str, count, from_epoch, struct, when)}


def read(text: str) -> Expr:
    """The expression that `text` builds; only what expressions are made of is understood."""
    value = _read(ast.parse(text, mode="eval").body)
    assert isinstance(value, Expr), value
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
        case ast.List(elts=items):
            return [_read(item) for item in items]
        case ast.Attribute():
            return _method(node)
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


CONSTANTS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
METHODS: list[Any] = [
    lambda a: a.str.len_chars(),
    lambda a: a.str.contains("a.b", literal=True),
    lambda a: a.str.slice(-3, 2),
    lambda a: a.str.to_datetime("%Y", time_unit="ns", strict=False),
    lambda a: a.dt.hour(),
    lambda a: a.dt.truncate("1h30m"),
    lambda a: a.dt.convert_time_zone("Asia/Tokyo"),
    lambda a: a.list.get(-1),
    lambda a: a.list.join('"'),
    lambda a: a.struct.field("x y"),
]
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
        st.builds(lambda a, values: a.is_in(values), inner, st.lists(CONSTANTS, max_size=3)),
        st.builds(lambda p, a, b: when(p).then(a).otherwise(b), inner, inner, inner),
        st.builds(lambda p, a, q, b: when(p).then(a).when(q).then(b), inner, inner, inner, inner),
        st.builds(lambda a, b: struct(a.alias("x"), y=b), inner, inner),
        st.builds(lambda a, b: concat_str(a, b, separator="-"), inner, inner),
        st.builds(lambda a, apply: apply(a), inner, st.sampled_from(METHODS)),
        st.builds(lambda a, b: a.list.contains(b), inner, inner),
    )


AGGREGATES: list[Any] = [
    lambda a, p: a.sum(),
    lambda a, p: a.filter(p).mean(),
    lambda a, p: count().filter(p),
    lambda a, p: count(),
]


@given(
    make=st.sampled_from(AGGREGATES),
    over=st.recursive(LEAVES, _larger, max_leaves=4),
    where=st.recursive(LEAVES, _larger, max_leaves=4),
)
def test_every_aggregate_reads_back_to_itself(make: Any, over: Expr, where: Expr) -> None:
    expr = when(make(over, where) > 0).then(make(where, over)).otherwise(None)
    assert read(str(expr)).key() == expr.key(), str(expr)


@given(st.recursive(LEAVES, _larger, max_leaves=12))
def test_every_tree_reads_back_to_itself(expr: Expr) -> None:
    assert read(str(expr)).key() == expr.key(), str(expr)
