"""The tree below an expression: immutable nodes that compare by structure, print and plan themselves.

`Expr.__eq__` builds an expression, so expressions cannot be compared or looked up; nodes can. Each
kind of node is one class with its printing (`write`) and its lowering to kernels (`plan`) together,
so a new kind is one class here or in a file beside, plus the method of `Expr` that builds it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.errors import BuildError
from streamlib.expr.mistakes import no_constant

if TYPE_CHECKING:
    from streamlib.aggregates.base import Aggregate
    from streamlib.expr.program import Builder, Operand

# How tightly the text of a node holds together, as in Python's grammar.
ATOM, POWER, SIGN, PRODUCT, SUM, AND, XOR, OR, COMPARE = 20, 14, 13, 12, 11, 9, 8, 7, 6


@dataclass(frozen=True, eq=False)
class Node(ABC):
    """One operation of an expression. Equal when written the same; usable as a key of a dict."""

    @property
    def children(self) -> tuple[Node, ...]:
        """The operands, in the order they were written."""
        return ()

    @property
    def naming(self) -> tuple[Node, ...]:
        """The operands that may give the result its name, the first that has one."""
        return self.children

    @property
    def takes_names(self) -> bool:
        """Whether a text among its operands was the name of a column."""
        return False

    @property
    def binding(self) -> int:
        """How tightly the text holds together: ATOM for names and calls."""
        return ATOM

    def shape(self) -> Hashable:
        """What tells this node from another of its class with equal children."""
        return None

    def with_children(self, children: Sequence[Node]) -> Node:
        """The same operation on other operands."""
        return self

    @abstractmethod
    def write(self, texts: Sequence[str]) -> str:
        """The node as the user wrote it, given the texts of its children."""

    @abstractmethod
    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        """Emits the kernels that compute this node from `inputs`, which stand for its children.

        Raises:
            UnsupportedError: the types do not go together.
        """

    def __post_init__(self) -> None:
        hash(self)  # while the children have theirs, so that no depth of tree recurses

    def __eq__(self, other: object) -> bool:
        pairs: list[tuple[object, object]] = [(self, other)]
        done: set[tuple[int, int]] = set()
        while pairs:
            one, two = pairs.pop()
            if one is two or (id(one), id(two)) in done:
                continue
            done.add((id(one), id(two)))
            if not (isinstance(one, Node) and isinstance(two, Node) and type(one) is type(two)):
                return False
            if hash(one) != hash(two) or one.shape() != two.shape():
                return False
            if len(one.children) != len(two.children):
                return False
            pairs.extend(zip(one.children, two.children, strict=True))
        return True

    def __hash__(self) -> int:
        cached: int | None = self.__dict__.get("_hash")
        if cached is None:
            cached = hash((type(self).__name__, self.shape(), self.children))
            object.__setattr__(self, "_hash", cached)
        return cached

    def __getstate__(self) -> dict[str, object]:
        # Hashes of strings differ from process to process.
        return {name: value for name, value in self.__dict__.items() if name != "_hash"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)


@dataclass(frozen=True, eq=False)
class Column(Node):
    """A column of the input."""

    name: str

    def shape(self) -> Hashable:
        return self.name

    def write(self, texts: Sequence[str]) -> str:
        return f"col({quote(self.name)})"

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        return builder.column(self.name)


@dataclass(frozen=True, eq=False)
class Literal(Node):
    """A constant. A Python value takes the type of what it meets, an Arrow or NumPy scalar keeps its own."""

    value: Any

    def shape(self) -> Hashable:
        return value_key(self.value)

    def write(self, texts: Sequence[str]) -> str:
        return f"lit({value_text(self.value)})"

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        return builder.constant(as_scalar(self.value), free=is_plain(self.value))


@dataclass(frozen=True, eq=False)
class Alias(Node):
    """Another name for the result."""

    input: Node
    name: str

    @property
    def children(self) -> tuple[Node, ...]:
        return (self.input,)

    def shape(self) -> Hashable:
        return self.name

    def with_children(self, children: Sequence[Node]) -> Node:
        return replace(self, input=children[0])

    def write(self, texts: Sequence[str]) -> str:
        return f"{receiver(self.input, texts[0])}.alias({quote(self.name)})"

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Filtered(Node):
    """`input.filter(predicate)`: the values of some rows, for an aggregate. Others become null."""

    input: Node
    predicate: Node

    @property
    def children(self) -> tuple[Node, ...]:
        return (self.input, self.predicate)

    @property
    def naming(self) -> tuple[Node, ...]:
        return (self.input,)

    @property
    def of_rows(self) -> bool:
        """Whether it is what `count().filter(predicate)` counts: rows, not values."""
        return isinstance(self.input, Literal) and self.input.value is True

    def with_children(self, children: Sequence[Node]) -> Node:
        return replace(self, input=children[0], predicate=children[1])

    def write(self, texts: Sequence[str]) -> str:
        return f"{receiver(self.input, texts[0])}.filter({argument(self.predicate, texts[1])})"

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        return builder.null_unless(inputs[1], inputs[0])


@dataclass(frozen=True, eq=False)
class Masked(Filtered):
    """What an aggregate reads of `Filtered`: a column as long as its rows, null where the predicate is not true."""


@dataclass(frozen=True, eq=False)
class Operands(Node):
    """The columns of an aggregate over several: a struct of them.

    Attributes:
        call: how the aggregate is written: "{0}.min_by({1})", with the texts of the columns.
    """

    inputs: tuple[Node, ...]
    call: str

    @property
    def children(self) -> tuple[Node, ...]:
        return self.inputs

    @property
    def takes_names(self) -> bool:
        return True

    def shape(self) -> Hashable:
        return self.call

    def with_children(self, children: Sequence[Node]) -> Node:
        return replace(self, inputs=tuple(children))

    def write(self, texts: Sequence[str]) -> str:
        is_method = self.call.startswith("{0}.")
        first = [receiver(self.inputs[0], texts[0])] if is_method else []
        return self.call.format(*first, *texts[len(first) :])

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        names = [str(number) for number in range(len(inputs))]
        return builder.kernel("make_struct", *inputs, options=pc.MakeStructOptions(names))


@dataclass(frozen=True, eq=False)
class Aggregated(Node):
    """An aggregate over its input, or over rows. Its value comes from a window or a running state."""

    aggregate: Aggregate
    input: Node | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input is None:
            return
        for node in post_order(self.input):
            if isinstance(node, Aggregated):
                raise BuildError(
                    f"{text_of(node)} is an aggregate already and cannot be aggregated again",
                    got=text_of(self),
                    hint="aggregate in two steps: .agg(...) on a window, then another on its result",
                )
            if isinstance(node, Filtered) and node is not self.input:
                raise BuildError(
                    f"{text_of(node)} must be the whole input of an aggregate",
                    expected="such as (a * b).filter(condition).sum()",
                    got=text_of(self),
                    hint="compute first, filter last; two conditions are joined by &",
                )

    @property
    def children(self) -> tuple[Node, ...]:
        return () if self.input is None else (self.input,)

    @property
    def counts_rows(self) -> bool:
        """Whether it is `count()`, perhaps with a filter."""
        return self.input is None or (
            isinstance(self.input, Filtered) and self.input.of_rows and self.aggregate.name == "count"
        )

    @property
    def is_of_operands(self) -> bool:
        """Whether it is over several columns, perhaps with a filter."""
        inside = self.input.input if isinstance(self.input, Filtered) else self.input
        return isinstance(inside, Operands)

    def shape(self) -> Hashable:
        return self.aggregate

    def with_children(self, children: Sequence[Node]) -> Node:
        return replace(self, input=children[0]) if children else self

    def write(self, texts: Sequence[str]) -> str:
        if self.input is None:
            return f"{self.aggregate.name}()"
        if self.counts_rows:
            return texts[0].replace("lit(True)", "count()", 1)
        if self.is_of_operands:
            return texts[0]
        return f"{receiver(self.input, texts[0])}.{self.aggregate.name}({self.aggregate.arguments()})"

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        input_type = inputs[0].type if inputs else None
        return builder.aggregate(self, self.aggregate.result_type(input_type))


def post_order(root: Node, *, into_aggregates: bool = True) -> list[Node]:
    """The distinct nodes below `root` and itself, operands before what uses them. Does not recurse."""
    seen: dict[Node, None] = {}
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, opened = stack.pop()
        if node in seen:
            continue
        inside = node.children if into_aggregates or not isinstance(node, Aggregated) else ()
        if opened or not inside:
            seen[node] = None
            continue
        stack.append((node, True))
        stack.extend((child, False) for child in reversed(inside))
    return list(seen)


def replace_nodes(root: Node, mapping: Mapping[Node, Node]) -> Node:
    """The tree with each node that is in `mapping` exchanged, the outermost first."""
    made: dict[Node, Node] = {}
    for node in post_order(root):
        exchanged = mapping.get(node)
        if exchanged is None:
            children = tuple(made[child] for child in node.children)
            same = all(new is old for new, old in zip(children, node.children, strict=True))
            exchanged = node if same else node.with_children(children)
        made[node] = exchanged
    return made[root]


def text_of(root: Node) -> str:
    """The tree as the user wrote it."""
    texts: dict[Node, str] = {}
    for node in post_order(root):
        texts[node] = node.write([texts[child] for child in node.children])
    return texts[root]


def receiver(node: Node, text: str) -> str:
    """The text of what stands before a method's dot."""
    return text if node.binding == ATOM else f"({text})"


def argument(node: Node, text: str) -> str:
    """The text of a method's argument: a constant stands there bare."""
    return value_text(node.value) if isinstance(node, Literal) else text


def quote(text: str) -> str:
    """A text in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def value_text(value: object) -> str:
    """A constant as it is written in Python."""
    if isinstance(value, pa.Array):
        return f"pa.array({value.to_pylist()})" if len(value) <= 5 else f"<{len(value)} values>"
    return quote(value) if isinstance(value, str) else repr(value)


def value_key(value: object) -> Hashable:
    """Equal for constants of one type and value; `1`, `1.0` and `True` are three."""
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, *(value_key(item) for item in value))
    if isinstance(value, (pa.Array, pa.ChunkedArray, np.ndarray)):
        return (
            "array",
            str(getattr(value, "type", value.dtype if isinstance(value, np.ndarray) else "")),
            id(value),
        )
    kind = str(value.type) if isinstance(value, pa.Scalar) else type(value).__name__
    return (kind, scalar_text(value) if isinstance(value, pa.Scalar) else repr(value))


def scalar_text(value: pa.Scalar) -> str:
    """An Arrow value as Python writes it; in Arrow's own way where Python has no such value: ns, year 0."""
    try:
        return repr(value.as_py())
    except (ValueError, OverflowError):
        return repr(value)


def is_plain(value: object) -> bool:
    """A Python value, which has no Arrow type of its own."""
    return not isinstance(value, (pa.Scalar, np.generic))


def as_scalar(value: object) -> pa.Scalar:
    """The constant as Arrow holds it.

    Raises:
        BuildError: Arrow has no type for it.
    """
    if isinstance(value, pa.Scalar):
        return value
    try:
        return pa.scalar(value)
    except (OverflowError, pa.ArrowException, TypeError, ValueError):
        pass
    if isinstance(value, int) and 0 <= value < 2**64:
        return pa.scalar(value, pa.uint64())
    raise no_constant(value, value_text(value))
