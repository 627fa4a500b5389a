"""`drop_nulls` and `split`: filters under the name of what they do."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from streamlib.errors import BuildError
from streamlib.expr import Expr, col
from streamlib.graph import Node
from streamlib.operators.filter import FilterNode


@dataclass(frozen=True, eq=False, kw_only=True)
class PartNode(FilterNode):
    """A filter that a verb made.

    Attributes:
        verb: the method's name.
        shown: its arguments, as the user wrote them.
    """

    kind: ClassVar[str] = "part"
    verb: str
    shown: str

    @property
    def label(self) -> str:
        return self.name or self.verb

    def describe(self) -> str:
        return self.shown


def drop_nulls(node: Node, names: Sequence[str], at: Any) -> Node:
    """The rows without a null in the columns `names`, or in any."""
    columns = list(names) or node.schema.names
    for name in columns:
        if not isinstance(name, str):
            raise BuildError("a column is named by a string", expected='such as "price"', got=repr(name))
    predicate = functools.reduce(operator.and_, [col(name).is_not_null() for name in columns])
    return PartNode(
        inputs=(node,), at=at, predicate=predicate, verb="drop_nulls", shown=", ".join(names) or "any column"
    )


def split(node: Node, predicate: Expr, at: Any) -> tuple[Node, Node]:
    """The rows for which `predicate` is true, and all others: a null counts as false."""
    rest = ~predicate.fill_null(False)
    return (
        PartNode(inputs=(node,), at=at, predicate=predicate, verb="split", shown=str(predicate)),
        PartNode(inputs=(node,), at=at, predicate=rest, verb="split", shown=f"not {predicate}"),
    )
