"""The functions that begin an expression, and `named_exprs` for the arguments of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal as OneOf

from streamlib.aggregates import Count
from streamlib.errors import BuildError
from streamlib.expr.expression import AggExpr, Expr, call_node, to_expr
from streamlib.expr.nodes import Column
from streamlib.expr.operations import Coalesce, FromEpoch

_UNITS = ("s", "ms", "us", "ns")


def col(name: str) -> Expr:
    """A column of the input.

    >>> from streamlib import col
    >>> col("price") > 0
    col("price") > 0
    """
    if not isinstance(name, str):
        raise BuildError("a column is named by a string", expected='such as col("price")', got=repr(name))
    return Expr(Column(name))


def lit(value: object) -> Expr:
    """A constant. A Python number takes the type of the column it meets, a pyarrow scalar keeps its own.

    Raises:
        BuildError: Arrow has no type for it.

    >>> from streamlib import col, lit
    >>> lit("buy").alias("side")
    lit("buy").alias("side")
    """
    return to_expr(value)


def count() -> AggExpr:
    """How many rows are in a window or key; for use in `.agg(...)`.

    >>> from streamlib import count
    >>> count()
    count()
    """
    return AggExpr(Count(), None)


def coalesce(*exprs: Expr | object) -> Expr:
    """The first of them that is not null. A string names a column; a constant text is `lit("...")`.

    >>> import pyarrow as pa
    >>> from streamlib import coalesce
    >>> coalesce("a", "b", 0).evaluate(pa.record_batch({"a": [1, None, None], "b": [5, 6, None]})).to_pylist()
    [1, 6, 0]
    """
    if not exprs:
        raise BuildError("coalesce() needs at least one expression")
    return Expr(Coalesce(tuple(_column_or_value(e).node for e in exprs)))


def from_epoch(column: Expr | str, unit: OneOf["s", "ms", "us", "ns"]) -> Expr:
    """Integers since 1970 as timestamps of that unit, UTC.

    >>> import pyarrow as pa
    >>> from streamlib import from_epoch
    >>> from_epoch("t", "ms").evaluate(pa.record_batch({"t": [1500]}))[0]
    <pyarrow.TimestampScalar: '1970-01-01T00:00:01.500'>
    """
    if unit not in _UNITS:
        raise BuildError(
            "the unit of from_epoch is unknown", expected=" or ".join(map(repr, _UNITS)), got=repr(unit)
        )
    return Expr(FromEpoch(_column_or_value(column).node, unit))


def call(function: str, *inputs: object, **options: object) -> Expr:
    """A pyarrow.compute function by name, with its options as keyword arguments.

    The function must work row by row: the sum of a batch would depend on how the stream is cut.

    Args:
        function: its name in https://arrow.apache.org/docs/cpp/compute.html, such as "utf8_upper".
        inputs: expressions, or constants.
        options: the function's options, such as `pattern=`.

    Raises:
        BuildError: an unknown function, one that does not work row by row, or unknown options.

    >>> import pyarrow as pa
    >>> from streamlib import call, col
    >>> call("utf8_upper", col("s")).evaluate(pa.record_batch({"s": ["btc"]})).to_pylist()
    ['BTC']
    """
    return call_node(function, inputs, options, as_method=False)


def named_exprs(args: Sequence[Expr | str], kwargs: Mapping[str, object]) -> dict[str, Expr]:
    """The expressions of a step by output name, from its positional and named arguments, in that order.

    A string names a column, as in Polars; any other value is a constant.

    Raises:
        BuildError: a name that comes twice, or an expression without one.

    >>> from streamlib import col
    >>> named_exprs(("symbol", col("price").abs()), {"twice": col("price") * 2})
    {'symbol': col("symbol"), 'price': col("price").abs(), 'twice': col("price") * 2}
    """
    named: dict[str, Expr] = {}
    for given in args:
        if not isinstance(given, (Expr, str)):
            raise BuildError(
                "a positional argument is no expression",
                expected="a column name or an expression",
                got=repr(given),
                hint="give a constant a name: name=value",
            )
        expr = _column_or_value(given)
        _add(named, expr.output_name(), expr)
    for name, value in kwargs.items():
        _add(named, name, _column_or_value(value))
    return named


def _add(named: dict[str, Expr], name: str, expr: Expr) -> None:
    if name in named:
        raise BuildError(
            f"two expressions are named {name!r}",
            got=f"{named[name]} and {expr}",
            hint='give one another name: name=expression, or .alias("name")',
        )
    named[name] = expr


def _column_or_value(value: object) -> Expr:
    return col(value) if isinstance(value, str) else to_expr(value)
