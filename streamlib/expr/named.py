"""The node of the methods in `.str`, `.dt`, `.list` and `.struct`, and the base of those namespaces.

A method is one line that names its lowering; what a lowering needs besides its operands is bound to
it by `functools.partial`, so that nodes can be copied and sent to other processes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from streamlib.errors import BuildError
from streamlib.expr.nodes import Node, argument, receiver, value_key, value_text
from streamlib.expr.program import Builder, Operand

if TYPE_CHECKING:
    from streamlib.expr.expression import Expr

Lowering = Callable[[Builder, Sequence[Operand]], Operand]


@dataclass(frozen=True, eq=False)
class Named(Node):
    """`input.space.name(other operands, arguments, options)`."""

    operands: tuple[Node, ...]
    space: str
    name: str
    lower: Lowering
    arguments: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def children(self) -> tuple[Node, ...]:
        return self.operands

    def shape(self) -> Hashable:
        return (self.space, self.name, value_key(self.arguments), value_key(self.options))

    def with_children(self, children: Sequence[Node]) -> Node:
        return replace(self, operands=tuple(children))

    def write(self, texts: Sequence[str]) -> str:
        inside = [argument(n, t) for n, t in zip(self.operands[1:], texts[1:], strict=True)]
        inside += [value_text(value) for value in self.arguments]
        inside += [f"{name}={value_text(value)}" for name, value in self.options]
        return f"{receiver(self.operands[0], texts[0])}.{self.space}.{self.name}({', '.join(inside)})"

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        return self.lower(builder, inputs)


class Namespace:
    """Methods that belong to one kind of column.

    Args:
        expr: the column.
    """

    __slots__ = ("_expr",)

    space = ""

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def _call(self, name: str, lower: Lowering, *arguments: object, **options: object) -> Expr:
        """A method without operands beside the column; options are those that differ from their default."""
        return self._with((), name, lower, *arguments, **options)

    def _with(
        self, others: Sequence[object], name: str, lower: Lowering, *arguments: object, **options: object
    ) -> Expr:
        """A method with further operands, which may be expressions."""
        from streamlib.expr.expression import Expr, to_expr

        operands = (self._expr.node, *(to_expr(other).node for other in others))
        return Expr(Named(operands, self.space, name, lower, arguments, tuple(options.items())))

    def __repr__(self) -> str:
        return f"{receiver(self._expr.node, str(self._expr))}.{self.space}"


def changed(**options: tuple[object, object]) -> dict[str, object]:
    """The options whose value, the first of each pair, is not the default, the second.

    >>> changed(literal=(True, False), n=(1, 1))
    {'literal': True}
    """
    return {name: value for name, (value, default) in options.items() if value != default}


def kernel(function: str, options: pc.FunctionOptions | None = None) -> Lowering:
    """The lowering to one kernel of pyarrow.compute."""
    return partial(_kernel, function, options)


def _kernel(
    function: str, options: pc.FunctionOptions | None, builder: Builder, inputs: Sequence[Operand]
) -> Operand:
    return builder.kernel(function, *inputs, options=options)


def check_int(value: object, what: str, least: int | None = None) -> int:
    """An integer argument.

    Raises:
        BuildError: it is none, or less than `least`.
    """
    if isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least):
        return value
    expected = "an integer" if least is None else f"an integer of at least {least}"
    raise BuildError(f"{what} is no number that it takes", expected=expected, got=repr(value))


def check_text(value: object, what: str) -> str:
    """A constant text argument.

    Raises:
        BuildError: it is none.
    """
    if isinstance(value, str):
        return value
    hint = 'it is the same for all rows: write it as "..."' if hasattr(value, "node") else None
    raise BuildError(f"{what} must be a text", expected='such as "a"', got=repr(value), hint=hint)


def check_choice(value: object, what: str, choices: Sequence[str]) -> str:
    """One of some words.

    Raises:
        BuildError: it is another one.
    """
    if isinstance(value, str) and value in choices:
        return value
    raise BuildError(f"{what} is unknown", expected=" or ".join(map(repr, choices)), got=repr(value))
