"""The methods that make an aggregate of an expression, for use in `.agg(...)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from streamlib import aggregates as known
from streamlib.aggregates import Aggregate
from streamlib.expr.nodes import Filtered, Node, Operands

if TYPE_CHECKING:
    from streamlib.expr.expression import AggExpr, Expr

Interpolation = Literal["nearest", "lower", "higher", "midpoint", "linear"]


class Aggregating:
    """Aggregates over a window or key. Nulls are passed over, unless said otherwise."""

    __slots__ = ()

    _node: Node

    def _aggregate(self, aggregate: Aggregate) -> AggExpr:
        """The aggregate over this expression's values."""
        raise NotImplementedError

    def filter(self, predicate: object) -> Expr:
        """Of the rows of a window or key, those for which `predicate` is true; an aggregate follows.

        Stands directly before the aggregate; `count().filter(predicate)` counts rows.

        Raises:
            BuildError: something stands between the filter and the aggregate.

        >>> from streamlib import col
        >>> col("volume").filter(col("side") == "buy").sum()
        col("volume").filter(col("side") == "buy").sum()
        """
        from streamlib.expr.expression import Expr, to_expr

        return Expr(Filtered(self._node, to_expr(predicate).node))

    # One value.

    def sum(self) -> AggExpr:
        """The sum over a window or key; for use in `.agg(...)`."""
        return self._aggregate(known.Sum())

    def mean(self) -> AggExpr:
        """The mean over a window or key; for use in `.agg(...)`."""
        return self._aggregate(known.Mean())

    def min(self) -> AggExpr:
        """The least value of a window or key; for use in `.agg(...)`."""
        return self._aggregate(known.Min())

    def max(self) -> AggExpr:
        """The greatest value of a window or key; for use in `.agg(...)`."""
        return self._aggregate(known.Max())

    def first(self) -> AggExpr:
        """The first value by event time of a window or key; for use in `.agg(...)`."""
        return self._aggregate(known.First())

    def last(self) -> AggExpr:
        """The last value by event time of a window or key; for use in `.agg(...)`."""
        return self._aggregate(known.Last())

    def count(self) -> AggExpr:
        """How many values are not null in a window or key; `streamlib.count()` counts rows."""
        return self._aggregate(known.Count())

    def any(self) -> AggExpr:
        """Whether a value of a window or key is true; false where all are null. For use in `.agg(...)`.

        >>> from streamlib import col
        >>> (col("price") > 100).any()
        (col("price") > 100).any()
        """
        return self._aggregate(known.Any())

    def all(self) -> AggExpr:
        """Whether no value of a window or key is false; true where all are null. For use in `.agg(...)`."""
        return self._aggregate(known.All())

    # Spread.

    def var(self, ddof: int = 1) -> AggExpr:
        """The variance over a window or key; for use in `.agg(...)`. Null where there are too few values.

        It does not depend on the order of rows, and is right for values that differ little, far from zero.

        Args:
            ddof: the divisor is the number of values less this: 1 for a sample, 0 for all there is.
        """
        return self._aggregate(known.Var(ddof))

    def std(self, ddof: int = 1) -> AggExpr:
        """The standard deviation over a window or key: the root of `var`; for use in `.agg(...)`."""
        return self._aggregate(known.Std(ddof))

    def median(self) -> AggExpr:
        """The value in the middle of a window or key, or half-way between two; for use in `.agg(...)`.

        Exact: the values of open windows are kept. NaN is the largest value.
        """
        return self._aggregate(known.Median())

    def quantile(self, quantile: float, interpolation: Interpolation = "nearest") -> AggExpr:
        """The value below which a part of a window's or key's values lies; for use in `.agg(...)`.

        Exact: the values of open windows are kept. NaN is the largest value.

        Args:
            quantile: the part, 0 to 1.
            interpolation: what is taken between two values.

        >>> from streamlib import col
        >>> col("delay").quantile(0.99)
        col("delay").quantile(0.99)
        """
        return self._aggregate(known.Quantile(quantile, interpolation))

    def approx_quantile(self, quantile: float, error: float = 0.01) -> AggExpr:
        """About a quantile, in little memory: within `error` of the value at its rank; for use in `.agg(...)`.

        Args:
            quantile: the part, 0 to 1.
            error: relative to the value, 0.0001 to 0.5.
        """
        return self._aggregate(known.ApproxQuantile(quantile, error))

    # Distinct values.

    def count_distinct(self) -> AggExpr:
        """How many distinct values a window or key has, nulls left out; for use in `.agg(...)`. Exact."""
        return self._aggregate(known.CountDistinct())

    def n_unique(self) -> AggExpr:
        """How many distinct values a window or key has, null being one; for use in `.agg(...)`. Exact."""
        return self._aggregate(known.NUnique())

    def approx_count_distinct(self, error: float = 0.01) -> AggExpr:
        """About how many distinct values a window or key has, in bounded memory; for use in `.agg(...)`.

        Nulls are left out.

        Args:
            error: the standard error, relative, 0.0021 to 0.26.
        """
        return self._aggregate(known.ApproxCountDistinct(error))

    # Several values, several columns.

    def top_k(self, k: int, by: Expr | str | None = None) -> AggExpr:
        """The `k` largest values of a window or key as a list, the largest first; for use in `.agg(...)`.

        With `by` the values of the rows in which that is largest, where it is not null; ties go to the
        first row by event time.

        >>> from streamlib import col
        >>> col("symbol").top_k(3, by="volume")
        col("symbol").top_k(3, by=col("volume"))
        """
        if by is None:
            return self._aggregate(known.TopK(k=k))
        return self._with(known.TopKBy(k), by, f"top_k({k!r}, by={{1}})")

    def min_by(self, by: Expr | str) -> AggExpr:
        """The value in the row of a window or key where `by` is least; for use in `.agg(...)`.

        Rows where `by` is null are passed over. Ties go to the first row by event time.

        >>> from streamlib import col
        >>> col("venue").min_by("price")
        col("venue").min_by(col("price"))
        """
        return self._with(known.MinBy(), by, "min_by({1})")

    def max_by(self, by: Expr | str) -> AggExpr:
        """The value in the row of a window or key where `by` is greatest; see `min_by`."""
        return self._with(known.MaxBy(), by, "max_by({1})")

    def arg_min(self, by: Expr | str) -> AggExpr:
        """Another name of `min_by`, as DuckDB has it: the value in the row where `by` is least."""
        return self.min_by(by)

    def arg_max(self, by: Expr | str) -> AggExpr:
        """Another name of `max_by`, as DuckDB has it: the value in the row where `by` is greatest."""
        return self.max_by(by)

    def weighted_mean(self, weights: Expr | str) -> AggExpr:
        """The mean over a window or key, each value by its weight; for use in `.agg(...)`.

        Rows where the value or the weight is null are passed over. NaN where the weights add up to 0.

        >>> from streamlib import col
        >>> col("price").weighted_mean("volume")
        col("price").weighted_mean(col("volume"))
        """
        return self._with(known.WeightedMean(), weights, "weighted_mean({1})")

    def _with(self, aggregate: Aggregate, other: Expr | str, call: str) -> AggExpr:
        """An aggregate over this column and another; a filter of this one is one of both."""
        node = self._node
        inside = node.input if isinstance(node, Filtered) else node
        return over_columns(
            aggregate,
            (inside, other),
            f"{{0}}.{call}",
            node.predicate if isinstance(node, Filtered) else None,
        )


def over_columns(
    aggregate: Aggregate, columns: tuple[Node | Expr | str, ...], call: str, predicate: Node | None = None
) -> AggExpr:
    """An aggregate over several columns.

    Args:
        aggregate: over a struct of them.
        columns: a text names one.
        call: how it is written; see `Operands`.
        predicate: which rows it is over.
    """
    from streamlib.expr.expression import AggExpr, Expr, column_or_value

    nodes = tuple(column if isinstance(column, Node) else column_or_value(column).node for column in columns)
    node: Node = Operands(nodes, call)
    return AggExpr(aggregate, Expr(node if predicate is None else Filtered(node, predicate)))
