"""The functions that begin an expression, and `named_exprs` for the arguments of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal as OneOf

from streamlib.aggregates import Corr, Count, Cov, Custom
from streamlib.aggregates.custom import Foldable
from streamlib.errors import BuildError
from streamlib.expr.aggregating import over_columns
from streamlib.expr.branching import WhenThen
from streamlib.expr.conditions import ConcatText, MakeStruct
from streamlib.expr.expression import AggExpr, Expr, call_node, column_or_value, to_expr
from streamlib.expr.named import check_text
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


def cov(a: Expr | str, b: Expr | str, ddof: int = 1) -> AggExpr:
    """The covariance of two columns over a window or key, of rows where neither is null; for use in `.agg(...)`.

    Args:
        a, b: columns of numbers; a text names one.
        ddof: the divisor is the number of such rows less this.

    >>> from streamlib import cov
    >>> cov("price", "volume")
    cov(col("price"), col("volume"))
    """
    aggregate = Cov(ddof)
    more = f", {aggregate.arguments()}" if aggregate.arguments() else ""
    return over_columns(aggregate, (a, b), f"cov({{}}, {{}}{more})")


def corr(a: Expr | str, b: Expr | str) -> AggExpr:
    """Pearson's correlation of two columns over a window or key; for use in `.agg(...)`.

    Over rows where neither is null. NaN where a column does not vary.

    >>> from streamlib import corr
    >>> corr("price", "volume")
    corr(col("price"), col("volume"))
    """
    return over_columns(Corr(), (a, b), "corr({}, {})")


def agg(aggregate: Foldable, *columns: Expr | str) -> AggExpr:
    """An aggregate of your own over columns of a window or key; for use in `.agg(...)`.

    Args:
        aggregate: implements `streamlib.contracts.Aggregate`.
        columns: what its `add` is given; a text names a column.

    Raises:
        BuildError: it is no aggregate, or there is no column.

    >>> from streamlib import agg, col
    >>> from streamlib.contracts import Aggregate
    >>> class Range(Aggregate):
    ...     def result_type(self, values):
    ...         return pa.float64()
    ...     def init(self):
    ...         return {"low": np.inf, "high": -np.inf}
    ...     def add(self, state, slots, values):
    ...         np.minimum.at(state["low"], slots, values)
    ...         np.maximum.at(state["high"], slots, values)
    ...     def merge(self, state, slots, other):
    ...         state["low"][slots] = np.minimum(state["low"][slots], other["low"])
    ...         state["high"][slots] = np.maximum(state["high"][slots], other["high"])
    ...     def finish(self, state):
    ...         return pa.array(state["high"] - state["low"])
    >>> agg(Range(), col("price"))
    agg(Range(), col("price"))
    """
    if not columns:
        raise BuildError("agg() needs a column", expected='such as agg(MyAggregate(), col("price"))')
    own = Custom(aggregate)
    places = ", ".join(["{}"] * len(columns))
    return over_columns(own, columns, f"agg({own.arguments()}, {places})")


def coalesce(*exprs: Expr | object) -> Expr:
    """The first of them that is not null. A string names a column; a constant text is `lit("...")`.

    >>> import pyarrow as pa
    >>> from streamlib import coalesce
    >>> coalesce("a", "b", 0).evaluate(pa.record_batch({"a": [1, None, None], "b": [5, 6, None]})).to_pylist()
    [1, 6, 0]
    """
    if not exprs:
        raise BuildError("coalesce() needs at least one expression")
    return Expr(Coalesce(tuple(column_or_value(e).node for e in exprs)))


def when(*conditions: Expr | str) -> WhenThen:
    """Begins a choice: the value behind the first condition that is true, null where none is.

    Several conditions in one `when` must all be true. A text in `then` or `otherwise` names a column,
    as in Polars; a constant text is `lit("...")`. Aggregates may stand in all places.

    >>> import pyarrow as pa
    >>> from streamlib import col, lit, when
    >>> size = when(col("n") > 99).then(lit("large")).when(col("n") > 9).then(lit("middle")).otherwise(lit("small"))
    >>> size.evaluate(pa.record_batch({"n": [5, 50, 500, None]})).to_pylist()
    ['small', 'middle', 'large', 'small']
    """
    return WhenThen((), conditions)


def struct(*exprs: Expr | str, **named: object) -> Expr:
    """A struct whose fields are the given columns. A text names a column.

    >>> import pyarrow as pa
    >>> from streamlib import col, struct
    >>> both = struct("a", twice=col("a") * 2)
    >>> both.evaluate(pa.record_batch({"a": [1, None]})).to_pylist()
    [{'a': 1, 'twice': 2}, {'a': None, 'twice': None}]
    """
    fields = named_exprs(exprs, named)
    if not fields:
        raise BuildError("struct() needs at least one field")
    return Expr(MakeStruct(tuple(e.node for e in fields.values()), tuple(fields), len(exprs)))


def concat_str(*exprs: Expr | str, separator: str = "", ignore_nulls: bool = False) -> Expr:
    """Texts joined; numbers and times are written as texts. A text names a column.

    Args:
        exprs: what is joined.
        separator: what stands between them.
        ignore_nulls: leave nulls out; otherwise one null makes the result null.

    >>> import pyarrow as pa
    >>> from streamlib import concat_str
    >>> rows = pa.record_batch({"base": ["BTC", "ETH"], "quote": ["EUR", None]})
    >>> concat_str("base", "quote", separator="-").evaluate(rows).to_pylist()
    ['BTC-EUR', None]
    """
    if not exprs:
        raise BuildError("concat_str() needs at least one expression")
    nodes = tuple(column_or_value(e).node for e in exprs)
    return Expr(ConcatText(nodes, check_text(separator, "separator="), ignore_nulls))


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
    return Expr(FromEpoch(column_or_value(column).node, unit))


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
                hint="give them one by one, or as *names"
                if isinstance(given, list | tuple)
                else "give a constant a name: name=value",
            )
        expr = column_or_value(given)
        _add(named, expr.output_name(), expr)
    for name, value in kwargs.items():
        _add(named, name, column_or_value(value))
    return named


def _add(named: dict[str, Expr], name: str, expr: Expr) -> None:
    if name in named:
        raise BuildError(
            f"two expressions are named {name!r}",
            got=f"{named[name]} and {expr}",
            hint='give one another name: name=expression, or .alias("name")',
        )
    named[name] = expr
