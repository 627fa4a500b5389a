"""`when(...).then(...).otherwise(...)`: the steps in which such an expression is written."""

from __future__ import annotations

from streamlib.errors import BuildError
from streamlib.expr.conditions import When
from streamlib.expr.expression import Expr, column_or_value
from streamlib.expr.nodes import Node, text_of


class Then(Expr):
    """What `when(...).then(...)` gives: an expression, null where no condition is true, that can go on."""

    __slots__ = ()

    def when(self, *conditions: object) -> WhenThen:
        """A further condition, for rows where none before is true."""
        return WhenThen(self._branches(), conditions)

    def otherwise(self, value: object) -> Expr:
        """The value where no condition is true. A text names a column; a constant one is `lit("...")`.

        >>> from streamlib import col, when
        >>> when(col("price") > 100).then(2).when(col("price") > 10).then(1).otherwise(0)
        when(col("price") > 100).then(2).when(col("price") > 10).then(1).otherwise(0)
        """
        return Expr(When((*self._branches(), column_or_value(value).node)))

    def _branches(self) -> tuple[Node, ...]:
        assert isinstance(self._node, When)
        return self._node.operands


class WhenThen:
    """A condition that waits for its `then`."""

    __slots__ = ("_before", "_condition")

    def __init__(self, before: tuple[Node, ...], conditions: tuple[object, ...]) -> None:
        if not conditions:
            raise BuildError("when() needs a condition", expected='such as when(col("a") > 0)')
        both = column_or_value(conditions[0])
        for other in conditions[1:]:
            both = both & column_or_value(other)
        self._before, self._condition = before, both._node

    def then(self, value: object) -> Then:
        """The value where the condition is true and none before. A text names a column.

        >>> from streamlib import col, lit, when
        >>> when(col("price") > 10).then(lit("dear"))
        when(col("price") > 10).then(lit("dear"))
        """
        return Then(When((*self._before, self._condition, column_or_value(value).node)))

    def __repr__(self) -> str:
        return f"when({text_of(self._condition)})"
