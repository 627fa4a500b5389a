"""Column expressions: what a user writes, typed when the graph is built, evaluated per batch.

An `Expr` is an immutable handle on a tree of nodes (`streamlib.expr.nodes`). Its operators build
larger trees; nothing is computed until `evaluate`. Names and meanings follow Polars.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any
from typing import Literal as OneOf

import pyarrow as pa

from streamlib.aggregates import Aggregate
from streamlib.errors import BuildError
from streamlib.expr.accessors import Accessors
from streamlib.expr.aggregating import Aggregating
from streamlib.expr.calls import check_call
from streamlib.expr.conditions import IsIn, MakeStruct, constants
from streamlib.expr.keyed import RowFunctions
from streamlib.expr.nodes import (
    Aggregated,
    Alias,
    Column,
    Filtered,
    Literal,
    Masked,
    Node,
    Operands,
    as_scalar,
    post_order,
    replace_nodes,
    text_of,
)
from streamlib.expr.operations import Between, Binary, Call, Cast, FillNull, Round, Simple, Unary
from streamlib.expr.operators import Operators
from streamlib.expr.program import Program
from streamlib.expr.type_names import parse_type

_CLOSED = ("both", "left", "right", "none")


class Expr(Accessors, Aggregating, RowFunctions, Operators):
    """A column expression, made by `col`, `lit` and the like, and by operators on expressions.

    Operators build expressions and compute nothing; so `==` has no truth value, and `&`, `|`, `~`
    stand for and, or, not. Integers overflow with an error, never silently; `/` gives a float,
    dividing integers with `//` and `%` by zero gives null; a comparison with null is null.

    >>> from streamlib import col
    >>> (col("price") * col("volume")).sum() / col("volume").sum()
    (col("price") * col("volume")).sum() / col("volume").sum()
    """

    __slots__ = ("_node", "_planned")
    __array_ufunc__ = None  # NumPy scalars on the left hand leave the operation to us

    def __init__(self, node: Node) -> None:
        self._node = node
        self._planned: tuple[pa.Schema, Program] | None = None

    # What it is

    @property
    def node(self) -> Node:
        """The tree: hashable, equal for expressions that are written the same."""
        return self._node

    def key(self) -> Hashable:
        """Equal for expressions written the same; for sets and dicts, since `==` builds an expression.

        >>> from streamlib import col
        >>> (col("a") + 1).key() == (col("a") + 1).key(), (col("a") + 1).key() == (col("a") + 1.0).key()
        (True, False)
        """
        return self._node

    def columns(self) -> list[str]:
        """The input columns it reads, in the order of first use.

        >>> from streamlib import col
        >>> (col("b") + col("a") * col("b")).columns()
        ['b', 'a']
        """
        return [node.name for node in post_order(self._node) if isinstance(node, Column)]

    def columns_outside_aggregates(self) -> list[str]:
        """The columns it reads row by row; an expression for `.agg(...)` has none.

        >>> from streamlib import col
        >>> (col("a").sum() / col("b")).columns_outside_aggregates()
        ['b']
        """
        return [n.name for n in post_order(self._node, into_aggregates=False) if isinstance(n, Column)]

    def aggregates(self) -> list[AggExpr]:
        """The distinct aggregates in it, in the order of first use."""
        return [AggExpr._of(node) for node in post_order(self._node) if isinstance(node, Aggregated)]

    @property
    def is_column(self) -> bool:
        """Whether it is a column as it stands, perhaps under another name.

        >>> from streamlib.expr import col
        >>> col("a").is_column, col("a").alias("b").is_column, (col("a") + 1).is_column
        (True, True, False)
        """
        node = self._node
        while isinstance(node, Alias):
            node = node.children[0]
        return isinstance(node, Column)

    @property
    def contains_aggregate(self) -> bool:
        """Whether it needs rows of a window or key together."""
        return any(isinstance(node, Aggregated) for node in post_order(self._node))

    def output_name(self) -> str:
        """The name of its column: the alias, else the leftmost column's name; `count()` is "count".

        Raises:
            BuildError: it has neither, such as a constant.

        >>> from streamlib import col
        >>> (1 - col("price").abs()).output_name()
        'price'
        """
        pending: list[Node] = [self._node]
        while pending:
            node = pending.pop()
            if isinstance(node, (Alias, Column)):
                return node.name
            if isinstance(node, Aggregated) and node.counts_rows:
                return node.aggregate.name
            pending.extend(reversed(node.naming))
        raise BuildError(f"{self} has no name", hint='say one: name=expression, or .alias("name")')

    def replace(self, pairs: Iterable[tuple[Expr, Expr]]) -> Expr:
        """The expression with the first of each pair exchanged for the second, outermost first.

        Pairs, not a dict: two expressions of one hash would be compared by `==`, which builds another.

        >>> from streamlib import col
        >>> ratio = col("pv").sum() / col("v").sum()
        >>> ratio.replace([(a, col(f"_{i}")) for i, a in enumerate(ratio.aggregates())])
        col("_0") / col("_1")
        """
        return Expr(replace_nodes(self._node, {old._node: new._node for old, new in pairs}))

    def type_in(self, schema: pa.Schema) -> pa.DataType:
        """Its type over rows of `schema`.

        Raises:
            ColumnNotFoundError: it reads a column that is not there.
            TypeMismatchError: an operation on types that it does not work on.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> (col("n") / 2).type_in(pa.schema({"n": pa.int32()}))
        DataType(double)
        """
        return self._program(schema).schema.field(0).type

    def evaluate(self, batch: pa.RecordBatch) -> pa.Array:
        """Its value for each row of `batch`.

        Raises:
            BuildError: it holds an aggregate, an unknown column, or types that do not go together.
            DataError: a value that cannot be computed, such as an integer overflow or a failed cast.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> (col("a") // 2).evaluate(pa.record_batch({"a": [7, -7, None]})).to_pylist()
        [3, -4, None]
        """
        return self._program(batch.schema).evaluate(batch)[0]

    def _program(self, schema: pa.Schema) -> Program:
        planned = self._planned
        if planned is None or not planned[0].equals(schema):
            self._planned = planned = (schema, Program({"": self}, schema))
        return planned[1]

    def __repr__(self) -> str:
        return text_of(self._node)

    def __bool__(self) -> bool:
        raise BuildError(
            f"{self} has no truth value: it is computed per row, later",
            hint="write & for and, | for or, ~ for not, each comparison in parentheses: (a > 1) & (b > 2); "
            "for `in` .is_in([...]), for a < x < b .is_between(a, b), for if and else sl.when(...)",
        )

    def __iter__(self) -> Any:
        raise BuildError(f"{self} cannot be iterated over: it is a column, computed later")

    def __hash__(self) -> int:
        return hash(self._node)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self)._of, (self._node,))

    @classmethod
    def _of(cls, node: Node) -> Any:
        return cls(node)

    def _combine(self, operator: str, left: object, right: object) -> Expr:
        return Expr(Binary(operator, to_expr(left)._node, to_expr(right)._node))

    def _prefix(self, operator: str) -> Expr:
        return Expr(Unary(operator, self._node))

    def __abs__(self) -> Expr:
        return self.abs()

    # Methods

    def alias(self, name: str) -> Expr:
        """The same values under another name.

        >>> from streamlib import col
        >>> (col("price") * 2).alias("double").output_name()
        'double'
        """
        return Expr(Alias(self._node, name))

    def cast(self, to: pa.DataType | str | type, *, strict: bool = True) -> Expr:
        """The values as another type: a pyarrow type, its name, or Python's int, float, str, bool.

        A float becomes an integer by dropping its fraction, a time a coarser one by rounding down;
        a value that has no place in the new type is a DataError, or null where not `strict`.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").cast("int64").evaluate(pa.record_batch({"s": ["7", None]})).to_pylist()
        [7, None]
        >>> col("s").cast("int64", strict=False).evaluate(pa.record_batch({"s": ["7", "n/a"]})).to_pylist()
        [7, None]
        """
        return Expr(Cast(self._node, parse_type(to), strict))

    def abs(self) -> Expr:
        """The absolute value.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("a").abs().evaluate(pa.record_batch({"a": [-2, 3]})).to_pylist()
        [2, 3]
        """
        return Expr(Simple(self._node, "abs"))

    def round(self, decimals: int = 0) -> Expr:
        """Rounded to so many decimals, halves to even; a negative number rounds to tens, hundreds, ...

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("a").round(1).evaluate(pa.record_batch({"a": [1.26, -0.44]})).to_pylist()
        [1.3, -0.4]
        """
        return Expr(Round(self._node, decimals))

    def is_null(self) -> Expr:
        """Whether there is no value. NaN is a value.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("a").is_null().evaluate(pa.record_batch({"a": [1.0, None]})).to_pylist()
        [False, True]
        """
        return Expr(Simple(self._node, "is_null"))

    def is_not_null(self) -> Expr:
        """Whether there is a value.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("a").is_not_null().evaluate(pa.record_batch({"a": [1.0, None]})).to_pylist()
        [True, False]
        """
        return Expr(Simple(self._node, "is_not_null"))

    def is_nan(self) -> Expr:
        """Whether a float is NaN; null where it is null.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("a").is_nan().evaluate(pa.record_batch({"a": [float("nan"), None]})).to_pylist()
        [True, None]
        """
        return Expr(Simple(self._node, "is_nan"))

    def fill_null(self, value: object) -> Expr:
        """`value`, a constant or an expression, where there is none.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("a").fill_null(0).evaluate(pa.record_batch({"a": [5, None]})).to_pylist()
        [5, 0]
        """
        return Expr(FillNull(self._node, to_expr(value)._node))

    def is_between(
        self, low: object, high: object, closed: OneOf["both", "left", "right", "none"] = "both"
    ) -> Expr:
        """Whether the value lies between two bounds; `closed` says which of them belong to it.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("a").is_between(2, 3).evaluate(pa.record_batch({"a": [1, 2, 3, None]})).to_pylist()
        [False, True, True, None]
        """
        if closed not in _CLOSED:
            raise BuildError("closed= is unknown", expected=" or ".join(map(repr, _CLOSED)), got=repr(closed))
        return Expr(Between(self._node, to_expr(low)._node, to_expr(high)._node, closed))

    def is_in(self, values: Iterable[object]) -> Expr:
        """Whether the value is one of `values`; null where it is null. NaN equals NaN here.

        Args:
            values: a list, tuple, set or Arrow array of constants; a null in it matches nothing.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").is_in(["BTC", "ETH"]).evaluate(pa.record_batch({"s": ["ETH", "XRP", None]})).to_pylist()
        [True, False, None]
        """
        return Expr(IsIn(self._node, constants(values)))

    def call(self, function: str, *others: object, **options: object) -> Expr:
        """A pyarrow.compute function by name, with this as its first argument; see `streamlib.call`.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> begins = col("s").call("starts_with", pattern="a")
        >>> begins.evaluate(pa.record_batch({"s": ["ab", "b"]})).to_pylist()
        [True, False]
        """
        return call_node(function, (self, *others), options, as_method=True)

    def _aggregate(self, aggregate: Aggregate) -> AggExpr:
        return AggExpr(aggregate, self)


class AggExpr(Expr):
    """An aggregate over a window or key: what `.agg(...)` computes, alone or inside a larger expression.

    Args:
        aggregate: what is computed.
        input: over which values; None for rows, as in `count()`.
    """

    __slots__ = ()

    def __init__(self, aggregate: Aggregate, input: Expr | None) -> None:
        super().__init__(Aggregated(aggregate, None if input is None else input.node))

    @property
    def aggregate(self) -> Aggregate:
        """What is computed of `input`."""
        assert isinstance(self._node, Aggregated)
        known = self._node.aggregate
        return known.among() if self._is_among else known

    @property
    def input(self) -> Expr | None:
        """Over which values; None for rows.

        Rows that a filter leaves out are null; where a null is a value too, values are in a struct.
        """
        assert isinstance(self._node, Aggregated)
        node = self._node.input
        if isinstance(node, Filtered):
            value = MakeStruct((node.input,), ("value",), 1) if self._is_among else node.input
            node = Masked(value, node.predicate)
        return None if node is None else Expr(node)

    @property
    def _is_among(self) -> bool:
        """Whether rows that are left out must be told from nulls."""
        node = self._node
        return (
            isinstance(node, Aggregated)
            and isinstance(node.input, Filtered)
            and not node.aggregate.passes_nulls
        )

    def filter(self, predicate: object) -> AggExpr:
        """Over the rows that `predicate` is true for: of `count()`, and of aggregates over several columns.

        Of others their input is filtered.

        >>> from streamlib import col, count
        >>> count().filter(col("price") > 0)
        count().filter(col("price") > 0)
        >>> col("price").weighted_mean("volume").filter(col("side") == "buy")
        col("price").weighted_mean(col("volume")).filter(col("side") == "buy")
        """
        node = self._node
        assert isinstance(node, Aggregated)
        if isinstance(node.input, Operands):
            return AggExpr(node.aggregate, Expr(node.input).filter(predicate))
        if node.input is not None:
            raise BuildError(
                f"{self} is one value already and cannot be filtered",
                expected="filter(...) before the aggregate",
                got=f"{self}.filter({predicate})",
                hint=f"such as {Expr(node.input)}.filter({predicate})"
                f".{node.aggregate.name}({node.aggregate.arguments()})",
            )
        return AggExpr(node.aggregate, to_expr(True).filter(predicate))

    @classmethod
    def _of(cls, node: Node) -> Any:
        assert isinstance(node, Aggregated)
        return cls(node.aggregate, None if node.input is None else Expr(node.input))


def column_or_value(value: object) -> Expr:
    """An expression as it is, a text as the name of a column, anything else as a constant."""
    return Expr(Column(value)) if isinstance(value, str) else to_expr(value)


def to_expr(value: object) -> Expr:
    """An expression as it is, anything else as a constant.

    >>> to_expr(3)
    lit(3)
    """
    if isinstance(value, Expr):
        return value
    as_scalar(value)
    return Expr(Literal(value))


def call_node(
    function: str, inputs: tuple[object, ...], options: Mapping[str, object], *, as_method: bool
) -> Expr:
    """A checked call of a pyarrow.compute function.

    Raises:
        BuildError: no such function, one that does not work row by row, or options it does not take.
    """
    check_call(function, len(inputs), options)
    nodes = tuple(to_expr(value)._node for value in inputs)
    return Expr(Call(function, nodes, tuple(options.items()), as_method))
