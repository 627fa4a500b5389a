"""The nodes of operators and methods: how each prints, and which kernels it becomes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from streamlib.expr import lowering
from streamlib.expr.calls import call_options
from streamlib.expr.nodes import (
    AND,
    ATOM,
    COMPARE,
    OR,
    POWER,
    PRODUCT,
    SIGN,
    SUM,
    XOR,
    Literal,
    Node,
    argument,
    quote,
    receiver,
    value_key,
    value_text,
)
from streamlib.expr.parse_times import cast_or_null
from streamlib.expr.program import Builder, Operand, UnsupportedError, type_name
from streamlib.expr.promote import adapt

_BINDING = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "//": PRODUCT, "%": PRODUCT, "**": POWER}
_BINDING |= {"&": AND, "^": XOR, "|": OR}
_BINDING |= dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), COMPARE)


@dataclass(frozen=True, eq=False)
class Binary(Node):
    """`left operator right`."""

    operator: str
    left: Node
    right: Node

    @property
    def children(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    @property
    def binding(self) -> int:
        return _BINDING[self.operator]

    def shape(self) -> Hashable:
        return self.operator

    def with_children(self, children: Sequence[Node]) -> Node:
        return replace(self, left=children[0], right=children[1])

    def write(self, texts: Sequence[str]) -> str:
        both_constant = isinstance(self.left, Literal) and isinstance(self.right, Literal)
        # Python turns 1 < column around and formats "x" % column: a constant there was a lit(...).
        as_lit = both_constant or self.binding == COMPARE or self.operator == "%"
        left = texts[0] if as_lit else argument(self.left, texts[0])
        right = argument(self.right, texts[1])
        # ** binds to the right, comparisons would chain, all others bind to the left.
        tight_left = self.operator == "**" or self.binding == COMPARE
        if self.left.binding < self.binding + tight_left or (self.operator == "**" and left.startswith("-")):
            left = f"({left})"
        if self.right.binding < self.binding + (self.operator != "**"):
            right = f"({right})"
        return f"{left} {self.operator} {right}"

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        left, right = inputs
        if self.binding == COMPARE:
            return lowering.compare(builder, self.operator, left, right)
        if self.operator in "&|^":
            return lowering.logic(builder, self.operator, left, right)
        return lowering.arithmetic(builder, self.operator, left, right)


@dataclass(frozen=True, eq=False)
class Unary(Node):
    """`-input` or `~input`."""

    operator: str
    input: Node

    @property
    def children(self) -> tuple[Node, ...]:
        return (self.input,)

    @property
    def binding(self) -> int:
        return SIGN

    def shape(self) -> Hashable:
        return self.operator

    def with_children(self, children: Sequence[Node]) -> Node:
        return replace(self, input=children[0])

    def write(self, texts: Sequence[str]) -> str:
        return f"{self.operator}({texts[0]})" if self.input.binding < SIGN else f"{self.operator}{texts[0]}"

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        return (lowering.negate if self.operator == "-" else lowering.invert)(builder, inputs[0])


@dataclass(frozen=True, eq=False)
class Method(Node):
    """Base of what prints as `input.name(arguments)`."""

    input: Node

    @property
    def children(self) -> tuple[Node, ...]:
        return (self.input,)

    def with_children(self, children: Sequence[Node]) -> Node:
        return replace(self, input=children[0])

    def method_text(self, name: str, texts: Sequence[str], *options: str) -> str:
        """`input.name(other operands, options)`."""
        operands = [argument(n, t) for n, t in zip(self.children[1:], texts[1:], strict=True)]
        return f"{receiver(self.input, texts[0])}.{name}({', '.join([*operands, *options])})"


@dataclass(frozen=True, eq=False)
class Simple(Method):
    """A method without arguments: `abs`, `is_null`, `is_not_null`, `is_nan`."""

    name: str

    def shape(self) -> Hashable:
        return self.name

    def write(self, texts: Sequence[str]) -> str:
        return self.method_text(self.name, texts)

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        if self.name == "abs":
            return lowering.absolute(builder, inputs[0])
        return builder.kernel(
            {"is_null": "is_null", "is_not_null": "is_valid", "is_nan": "is_nan"}[self.name], *inputs
        )


@dataclass(frozen=True, eq=False)
class Round(Method):
    """`input.round(decimals)`, halves to even."""

    decimals: int

    def shape(self) -> Hashable:
        return self.decimals

    def write(self, texts: Sequence[str]) -> str:
        return self.method_text("round", texts, *([str(self.decimals)] if self.decimals else []))

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        if pt.is_integer(inputs[0].type) and self.decimals >= 0:
            return inputs[0]
        return builder.kernel("round", inputs[0], options=pc.RoundOptions(self.decimals))


@dataclass(frozen=True, eq=False)
class FillNull(Method):
    """`input.fill_null(value)`."""

    value: Node

    @property
    def children(self) -> tuple[Node, ...]:
        return (self.input, self.value)

    def with_children(self, children: Sequence[Node]) -> Node:
        return FillNull(children[0], children[1])

    def write(self, texts: Sequence[str]) -> str:
        return self.method_text("fill_null", texts)

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        return lowering.first_valid(builder, list(inputs))


@dataclass(frozen=True, eq=False)
class Between(Method):
    """`input.is_between(low, high, closed)`."""

    low: Node
    high: Node
    closed: str

    @property
    def children(self) -> tuple[Node, ...]:
        return (self.input, self.low, self.high)

    def shape(self) -> Hashable:
        return self.closed

    def with_children(self, children: Sequence[Node]) -> Node:
        return Between(children[0], children[1], children[2], self.closed)

    def write(self, texts: Sequence[str]) -> str:
        return self.method_text(
            "is_between", texts, *([] if self.closed == "both" else [f'closed="{self.closed}"'])
        )

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        value, low, high = inputs
        above = lowering.compare(builder, ">=" if self.closed in ("both", "left") else ">", value, low)
        below = lowering.compare(builder, "<=" if self.closed in ("both", "right") else "<", value, high)
        return builder.kernel("and_kleene", above, below)


@dataclass(frozen=True, eq=False)
class Cast(Method):
    """`input.cast(type)`; where not `strict` a value that has no place in the type is null."""

    to: pa.DataType
    strict: bool = True

    def shape(self) -> Hashable:
        return str(self.to), self.strict

    def write(self, texts: Sequence[str]) -> str:
        more = [] if self.strict else ["strict=False"]
        return self.method_text("cast", texts, f'"{type_name(self.to)}"', *more)

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        (value,) = inputs
        own, to = value.type, self.to
        if pt.is_floating(own) and pt.is_integer(to):
            return self._cast(builder, builder.kernel("trunc", value))
        if pt.is_floating(to) and (pt.is_integer(own) or pt.is_floating(own)):
            return builder.cast(value, to, safe=False)
        if pt.is_timestamp(own) and (pt.is_timestamp(to) or pt.is_date(to)):
            return self._cast_time(builder, value)
        if pt.is_duration(own) and pt.is_duration(to):
            return builder.kernel("cast", value, options=pc.CastOptions(to, allow_time_truncate=True))
        return self._cast(builder, value)

    def _cast(self, builder: Builder, value: Operand) -> Operand:
        if value.type.equals(self.to) or (self.strict and not pt.is_nested(value.type)):
            return builder.cast(value, self.to)
        return builder.vector(partial(cast_or_null, self.to, self.strict), value)

    def _cast_time(self, builder: Builder, value: Operand) -> Operand:
        """To a coarser unit rounded down, also before 1970, where Arrow rounds towards it."""
        unit = getattr(self.to, "unit", "D")
        steps = {"s": "second", "ms": "millisecond", "us": "microsecond"}
        if pt.is_timestamp(self.to) and unit in steps and value.type.unit != unit:
            value = builder.kernel("floor_temporal", value, options=pc.RoundTemporalOptions(1, steps[unit]))
        return self._cast(builder, value)


@dataclass(frozen=True, eq=False)
class Coalesce(Node):
    """`coalesce(inputs)`."""

    inputs: tuple[Node, ...]

    @property
    def children(self) -> tuple[Node, ...]:
        return self.inputs

    def with_children(self, children: Sequence[Node]) -> Node:
        return Coalesce(tuple(children))

    def write(self, texts: Sequence[str]) -> str:
        return f"coalesce({', '.join(texts)})"

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        return lowering.first_valid(builder, list(inputs))


@dataclass(frozen=True, eq=False)
class FromEpoch(Node):
    """`from_epoch(input, unit)`."""

    input: Node
    unit: str

    @property
    def children(self) -> tuple[Node, ...]:
        return (self.input,)

    def shape(self) -> Hashable:
        return self.unit

    def with_children(self, children: Sequence[Node]) -> Node:
        return replace(self, input=children[0])

    def write(self, texts: Sequence[str]) -> str:
        return f'from_epoch({texts[0]}, "{self.unit}")'

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        (value,) = inputs
        if not (pt.is_integer(value.type) or pt.is_null(value.type)):
            hint = "round it to integers of a finer unit first" if pt.is_floating(value.type) else None
            raise UnsupportedError(hint or f"from_epoch takes integers, not {type_name(value.type)}")
        return builder.cast(builder.cast(value, pa.int64()), pa.timestamp(self.unit))


@dataclass(frozen=True, eq=False)
class Call(Node):
    """A pyarrow.compute function by name; its keyword arguments are the function's options."""

    function: str
    inputs: tuple[Node, ...]
    options: tuple[tuple[str, Any], ...]
    as_method: bool

    @property
    def children(self) -> tuple[Node, ...]:
        return self.inputs

    def shape(self) -> Hashable:
        return (self.function, tuple((name, value_key(value)) for name, value in self.options))

    def with_children(self, children: Sequence[Node]) -> Node:
        return replace(self, inputs=tuple(children))

    @property
    def binding(self) -> int:
        return ATOM

    def write(self, texts: Sequence[str]) -> str:
        operands = [argument(n, t) for n, t in zip(self.inputs, texts, strict=True)]
        options = [f"{name}={value_text(value)}" for name, value in self.options]
        if self.as_method:
            start = f"{receiver(self.inputs[0], texts[0])}.call"
            operands = operands[1:]
        else:
            start = "call"
        inside = ", ".join([quote(self.function), *operands, *options])
        return f"{start}({inside})"

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        typed = next((i.type for i in inputs if not i.free), None)
        if typed is not None:
            inputs = [adapt(builder, i, typed) if i.free else i for i in inputs]
        return builder.kernel(self.function, *inputs, options=call_options(self.function, dict(self.options)))
