"""The methods that make an aggregate of an expression, for use in `.agg(...)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamlib.aggregates import Aggregate, Count, First, Last, Max, Mean, Min, Sum
from streamlib.expr.nodes import Filtered, Node

if TYPE_CHECKING:
    from streamlib.expr.expression import AggExpr, Expr


class Aggregating:
    """Aggregates over a window or key."""

    __slots__ = ()

    _node: Node

    def _aggregate(self, aggregate: Aggregate) -> AggExpr:
        """The aggregate over this expression's values."""
        raise NotImplementedError

    def filter(self, predicate: object) -> Expr:
        """Of the rows of a window or key, those for which `predicate` is true; an aggregate follows.

        Stands directly before `sum`, `mean`, `min`, `max` or `count`; `count().filter(predicate)` counts rows.

        Raises:
            BuildError: another aggregate, or something between the filter and the aggregate.

        >>> from streamlib import col
        >>> col("volume").filter(col("side") == "buy").sum()
        col("volume").filter(col("side") == "buy").sum()
        """
        from streamlib.expr.expression import Expr, to_expr

        return Expr(Filtered(self._node, to_expr(predicate).node))

    def sum(self) -> AggExpr:
        """The sum over a window or key; for use in `.agg(...)`."""
        return self._aggregate(Sum())

    def mean(self) -> AggExpr:
        """The mean over a window or key; for use in `.agg(...)`."""
        return self._aggregate(Mean())

    def min(self) -> AggExpr:
        """The least value of a window or key; for use in `.agg(...)`."""
        return self._aggregate(Min())

    def max(self) -> AggExpr:
        """The greatest value of a window or key; for use in `.agg(...)`."""
        return self._aggregate(Max())

    def first(self) -> AggExpr:
        """The first value by event time of a window or key; for use in `.agg(...)`."""
        return self._aggregate(First())

    def last(self) -> AggExpr:
        """The last value by event time of a window or key; for use in `.agg(...)`."""
        return self._aggregate(Last())

    def count(self) -> AggExpr:
        """How many values are not null in a window or key; `streamlib.count()` counts rows."""
        return self._aggregate(Count())
