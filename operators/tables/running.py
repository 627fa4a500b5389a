"""Running aggregation: one current row per key, and each change of it.

Rows wait until the watermark W has passed them (t < W); then they are added, and each key that they
touched gives one change with its new values. So the table at a watermark is a function of the input,
while how often W rises, and with it how many changes are seen between, is timing. A row is refused
by its mark alone, when the mark lies after it. A change has the time of its key's newest row: that
row came out now, so it is not before the watermark sent on last.

With `max_rate` rows are added span by span of event time, whole spans only: one change per key and
span, and then the changes too are a function of the input. With `ttl` a key goes when it had no row
for longer than that: a row that comes later begins anew, whatever was added in one step.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Operator
from streamlib.elements import format_duration
from streamlib.errors import BuildError
from streamlib.expr import Expr
from streamlib.graph import BuildContext, Node, SourceNode
from streamlib.graph.plan import topological
from streamlib.kernels.columns import decoded_type
from streamlib.operators.aggregation import Aggregation
from streamlib.operators.input_rows import from_input
from streamlib.operators.tables.table_step import CHANGE, TableStep

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class RunningNode(Node):
    """Keeps state over all rows of a key so far.

    Attributes:
        ttl: a key without rows for longer than this goes, ns; None for never.
        forever: the user said that keys are kept for ever.
        max_rate: at most one change per key in each span of this length, ns; None for no limit.
    """

    exchange_by: ClassVar[bool] = True
    refuses = "checked"
    ttl: int | None = None
    forever: bool = False
    max_rate: int | None = None
    span_name: ClassVar[str] = "max_rate"
    """What the user calls the length of the spans."""

    @property
    @abstractmethod
    def expressions(self) -> Mapping[str, Expr]:
        """The aggregates by column name."""

    @property
    @abstractmethod
    def columns(self) -> Sequence[str]:
        """The columns in order: keys, names of `expressions`, and that of `added`."""

    @property
    @abstractmethod
    def added(self) -> pa.Field:
        """The column that says what a row is, besides keys and aggregates."""

    def derive_schema(self) -> pa.Schema:
        source = self.inputs[0]
        if not source.keys:
            raise BuildError("a table has a row per key", hint='say which rows belong together: .key_by("k")')
        self.require_time(f"{self.kind} by key")
        self.check_names()
        self.aggregation.check("key")
        finals = self.aggregation.results.schema
        fields = {field.name: field for field in [*self.key_fields, *finals, self.added]}
        return pa.schema([fields[name] for name in self.columns])

    def check_names(self) -> None:
        """Raises BuildError where a column of the result has the name of another."""
        if len(set(self.columns)) < len(self.columns):
            raise BuildError(
                f"the name {self.added.name!r} is taken",
                hint=f"the result has a column {self.added.name!r} besides: choose another name",
            )

    def validate(self) -> None:
        for name, value in (("ttl", self.ttl), (self.span_name, self.max_rate)):
            if value is not None and value <= 0:
                raise BuildError(f"{name}= must be positive", got=format_duration(value))
        if self.ttl is not None and self.max_rate is not None and self.ttl < self.max_rate:
            raise BuildError(
                f"ttl= is shorter than {self.span_name}=",
                expected="a key that lives through a span at least",
                got=f"ttl={format_duration(self.ttl)!r}, {self.span_name}={format_duration(self.max_rate)!r}",
            )
        if self.ttl is None and not self.forever:
            for node in topological([self]):
                if isinstance(node, SourceNode) and not node.source.bounded:
                    raise BuildError(
                        "a table over a source without an end would keep every key for ever",
                        expected='ttl=, such as ttl="1h": a key goes when it had no row for so long',
                        got=f"no ttl=, and {node.describe() or node.label}",
                        hint="if the keys are few, say ttl=sl.FOREVER",
                    )

    @cached_property
    def key_fields(self) -> list[pa.Field]:
        """The key columns; dictionaries come out decoded."""
        source = self.inputs[0]
        return [pa.field(k, decoded_type(source.schema.field(k).type)) for k in source.keys]

    @cached_property
    def aggregation(self) -> Aggregation:
        """The expressions, taken apart."""
        return Aggregation(self.expressions, self.inputs[0].schema)

    @cached_property
    def sorts(self) -> bool:
        """Whether `first` or `last` works on results, which carry no order."""
        return self.aggregation.reads_edges and not from_input(self.inputs[0])[0]

    @property
    def reads_order(self) -> bool:
        """Whether ties in event time matter to an aggregate, and rows carry what decides them."""
        return self.aggregation.reads_edges and not self.sorts

    @cached_property
    def late_schema(self) -> pa.Schema:
        """The columns of `.late`."""
        source = self.inputs[0].schema
        if "late_by" in source.names:
            raise BuildError("column 'late_by' of the input has the name of a column of .late")
        return source.append(pa.field("late_by", pa.duration("ns")))

    def derive_time(self) -> str | None:
        return None

    def derive_keys(self) -> tuple[str, ...]:
        return self.inputs[0].keys

    def state_bound(self) -> str:
        return "keys" if self.ttl is None else "within x rate"

    def options(self) -> str:
        """The options, as the user wrote them."""
        parts = []
        if self.forever or self.ttl is not None:
            parts.append("ttl=" + ("FOREVER" if self.ttl is None else repr(format_duration(self.ttl))))
        if self.max_rate is not None:
            parts.append(f"{self.span_name}={format_duration(self.max_rate)!r}")
        return ", ".join(parts)

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        if self.sorts:
            return [None]  # every column decides between rows of one time
        return [frozenset(self.aggregation.columns() | set(self.inputs[0].keys))]

    def build(self, context: BuildContext) -> Operator:
        from streamlib.operators.tables.running_operator import TableOperator

        return TableOperator(self, context)


@dataclass(frozen=True, eq=False, kw_only=True)
class TableNode(RunningNode, TableStep):
    """A table of the state of each key: its rows are the changes."""

    @property
    def added(self) -> pa.Field:
        return pa.field(CHANGE, pa.string())

    def timing_because(self) -> str | None:
        if self.ttl is None:
            return None
        return f"{self.label}: which keys have outlived their ttl when the input ends"

    def history_because(self) -> str | None:
        return None if self.max_rate is not None else f"{self.label}: running updates, without max_rate="


@dataclass(frozen=True, eq=False, kw_only=True)
class AggregatingNode(RunningNode):
    """Aggregates all rows of a key so far.

    Attributes:
        aggregates: expressions over aggregates, by column name.
    """

    aggregates: Mapping[str, Expr]

    @property
    def expressions(self) -> Mapping[str, Expr]:
        return self.aggregates

    @property
    def columns(self) -> Sequence[str]:
        return [*self.inputs[0].keys, *self.aggregates, self.added.name]

    def check_names(self) -> None:
        if not self.aggregates:
            raise BuildError("agg() was given no aggregate", expected="such as n=sl.count()")
        for name in self.aggregates:
            if name in self.inputs[0].keys:
                raise BuildError(
                    f"the name {name!r} is taken", hint="keys are columns of the result: choose another"
                )
        super().check_names()

    def describe(self) -> str:
        named = ", ".join(f"{name}={expr}" for name, expr in self.aggregates.items())
        return f"{named}{', ' if self.options() else ''}{self.options()}"


@dataclass(frozen=True, eq=False, kw_only=True)
class RunningAggregateNode(AggregatingNode, TableNode):
    """A table of the aggregates of each key."""

    kind: ClassVar[str] = "running aggregate"
