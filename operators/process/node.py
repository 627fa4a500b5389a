"""`process`: a class of the user's that has state by key, timers, and rows of several inputs (SEMANTICS 3).

All rows of a key, of whatever input, are taken in the order of (event time, input, split, position), once the
watermark W of all inputs has passed them and the allowed lateness L: t + L < W. A timer at T comes behind all
rows with t <= T and before any later one; at the end of the input the timers that are left come, in their
order, and those that they set. Results have the time of the row or timer they stem from; W - L is sent on. Rows
are refused by their own mark: mark > t + L.

Broadcast inputs reach every worker, and their rows stand before those of the other inputs of the same time.
They change what is shared by all keys; each worker has the whole of it. Results of a worker depend on its
share of the keys and the shared state as of each row's time, so not on how many workers there are.

A key that had no row for longer than `ttl` begins anew: its states are empty, its timers gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa

from streamlib.contracts import Operator
from streamlib.errors import BuildError, TypeMismatchError
from streamlib.expr import Expr
from streamlib.graph import BuildContext, Node
from streamlib.operators.input_rows import from_input
from streamlib.operators.joins.sides import key_fields, paired_keys, plain_schema
from streamlib.operators.ordered import OrderedNode
from streamlib.operators.process.methods import FIRST, ProcessorClass

RESERVED = ("late", "dead_letters")


@dataclass(frozen=True, eq=False, kw_only=True)
class ProcessNode(OrderedNode):
    """Calls a processor.

    Attributes:
        processor: the class.
        given: the columns of the main output.
        outputs: those of the side outputs, by name.
        names: of the further inputs, the broadcast ones last.
        broadcast: how many of them are broadcast.
    """

    kind: ClassVar[str] = "process"
    processor: ProcessorClass
    given: pa.Schema
    outputs: Mapping[str, pa.Schema] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    broadcast: int = 0

    @property
    def what(self) -> str:
        return "process"

    @property
    def inputs_of_rows(self) -> Mapping[str, Expr]:
        return {}

    def derive_schema(self) -> pa.Schema:
        self.require_keys()
        for name, node in zip(self.names, self.inputs[1:], strict=True):
            if not node.timed:
                raise BuildError(
                    f"the input {name!r} of process needs event time",
                    expected=f"{name}= a stream with .event_time(...) before",
                    got="a stream without event time",
                    hint='add .event_time("ts", max_delay="2s") after its source',
                )
        for name in self.outputs:
            if name in RESERVED or name.startswith("late_"):
                raise BuildError(f"an output cannot be named {name!r}: that is a side output of every step")
        for side in range(1, self.keyed):
            _ = self.key_fields_of[side]
        return self.given

    def derive_time(self) -> None:
        """None: rows have the time of their row or timer, whatever their columns say."""
        return

    @property
    def keyed(self) -> int:
        """How many inputs are keyed: they stand before the others."""
        return len(self.inputs) - self.broadcast

    @cached_property
    def on(self) -> tuple[tuple[str, ...], ...]:
        """The key columns of each input; none of those that are broadcast."""
        first, further = self.inputs[0], []
        for name, node in zip(self.names, self.inputs[1 : self.keyed], strict=False):
            try:
                further.append(paired_keys(first, node, None, None)[1])
            except BuildError as error:
                error.problem = f"{error.problem} in the input {name!r} of process"
                error.hint = (
                    f"say its keys, as many and in the order of the first input: {name}=other.key_by(...)"
                )
                raise
        return (first.keys, *further, *((),) * self.broadcast)

    @cached_property
    def key_fields_of(self) -> list[list[pa.Field]]:
        """The keys of each keyed input, in the types that it is compared in with the first."""
        first = self.inputs[0]
        found = []
        for name, node, on in zip((FIRST, *self.names), self.inputs[: self.keyed], self.on, strict=False):
            try:
                found.append(key_fields(first, node, first.keys, on))
            except TypeMismatchError as error:
                if node is not first:
                    error.problem = (
                        f"the keys of the input {name!r} of process have other types than the first input's"
                    )
                    error.expected, error.hint = "the same types", "cast them before: .cast({...})"
                raise
        return found

    @cached_property
    def plain_schemas(self) -> list[pa.Schema]:
        """The columns of each input as they wait."""
        return [plain_schema(node.schema) for node in self.inputs]

    @cached_property
    def sorts_side(self) -> list[bool]:
        """For each input, whether its rows are results, which carry no order: all their columns decide."""
        return [not from_input(node)[0] for node in self.inputs]

    @property
    def reads_order(self) -> bool:
        return not all(self.sorts_side)

    def late_schema_of(self, side: int) -> pa.Schema:
        """The columns of the late rows of an input."""
        source = self.inputs[side].schema
        if "late_by" in source.names:
            raise BuildError(
                "column 'late_by' of the input has the name of a column of its late rows",
                hint='rename it before: .rename({"late_by": ...})',
            )
        return source.append(pa.field("late_by", pa.duration("ns")))

    def late_tag(self, side: int) -> str:
        """The side output of the late rows of an input."""
        return "late" if side == 0 else f"late_{self.names[side - 1]}"

    def side_of(self, name: str) -> int:
        """The number of an input, by its name."""
        return 0 if name == FIRST else self.names.index(name) + 1

    @property
    def refused_schema(self) -> pa.Schema:
        """The columns of rows that it refuses: those of the first input, of which others may lack some."""
        return pa.schema([column.with_nullable(True) for column in self.inputs[0].schema])

    def exchange_keys(self, side: int) -> tuple[str, ...]:
        return self.on[side]

    def broadcasts(self, side: int) -> bool:
        return side >= self.keyed

    def state_keys(self, table: str) -> tuple[str, ...] | None:
        if table == "shared":
            return None
        if not table.startswith("waiting_"):
            return self.on[0]
        side = self.side_of(table.removeprefix("waiting_"))
        return None if self.broadcasts(side) else self.on[side]

    def columns_of(self, side: int) -> list[str]:
        """The columns that are needed of an input: at least one, so that rows can be counted."""
        names = self.inputs[side].schema.names
        arguments = self.processor.methods[side].arguments
        assert arguments is not None
        if self.sorts_side[side] or arguments.columns is None:
            return names
        needed = {*arguments.columns, *self.on[side]}
        return [name for name in names if name in needed] or names[:1]

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        return [frozenset(self.columns_of(side)) for side in range(len(self.inputs))]

    def describe(self) -> str:
        inputs = [f"{name}={_named(node)}" for name, node in zip(self.names, self.inputs[1:], strict=True)]
        keyed, broadcast = inputs[: self.keyed - 1], inputs[self.keyed - 1 :]
        if broadcast:
            keyed.append(f"broadcast: {', '.join(broadcast)}")
        return ", ".join([self.processor.name, *keyed, *self.options()])

    def build(self, context: BuildContext) -> Operator:
        from streamlib.operators.process.process_operator import ProcessOperator

        return ProcessOperator(self, context)


def _named(node: Node) -> str:
    return node.label


def output_schemas(outputs: Any, declared: Callable[[Any], pa.Schema]) -> dict[str, pa.Schema]:
    """`outputs=` with each schema read.

    Raises:
        BuildError: it is no dict of names, or a schema cannot be read.
    """
    if outputs is None:
        return {}
    if not isinstance(outputs, Mapping) or not all(isinstance(name, str) for name in outputs):
        raise BuildError(
            "outputs= is no dict of names and schemas",
            expected='such as outputs={"unserved": {"rider": str}}',
            got=repr(outputs),
        )
    return {name: declared(schema) for name, schema in outputs.items()}
