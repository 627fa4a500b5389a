"""Aggregation over windows by key: what the user asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import pyarrow as pa

from streamlib.contracts import Operator, OverlappingWindow, Window
from streamlib.elements import format_duration
from streamlib.errors import BuildError
from streamlib.expr import Expr
from streamlib.graph import BuildContext, Node
from streamlib.operators.aggregation import Aggregation
from streamlib.operators.input_rows import from_input
from streamlib.operators.windows.aggregate import MergeOperator, WindowOperator
from streamlib.operators.windows.results import BOUNDS, bounds_type
from streamlib.operators.windows.same_window import SameWindow, has_own_window
from streamlib.state import Owners


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowAggregateNode(Node):
    """Aggregates rows by key and window.

    Attributes:
        window: says which windows a row is in.
        allowed_lateness: how long after its end a window takes rows, ns.
        aggregates: expressions over aggregates, by column name.
    """

    kind: ClassVar[str] = "window"
    refuses = "checked"
    exchange_by: ClassVar[bool] = True
    makes_windows: ClassVar[bool] = True
    """Its rows have the bounds of their window, and the time that comes before its end."""
    window: Window | OverlappingWindow
    allowed_lateness: int
    aggregates: Mapping[str, Expr]

    def derive_schema(self) -> pa.Schema:
        self.require_time("a window")
        source = self.inputs[0]
        if self.allowed_lateness < 0:
            raise BuildError(
                "allowed_lateness must not be negative", got=format_duration(self.allowed_lateness)
            )
        if not self.aggregates:
            raise BuildError("agg() was given no aggregate", expected="such as n=sl.count()")
        taken = [key for key in source.keys if key in BOUNDS]
        if taken:
            raise BuildError(
                f"the name {taken[0]!r} is taken",
                hint=f"rename the key before the window: .key_by(w=col({taken[0]!r}))",
            )
        for name in self.aggregates:
            if name in source.keys or name in BOUNDS:
                raise BuildError(
                    f"the name {name!r} is taken",
                    hint="keys and window bounds are columns of the result: choose another",
                )
        self.aggregation.check("window")
        if isinstance(self.window, SameWindow):
            self._check_same_window()
            fields = [source.schema.field(k) for k in (*source.keys, *BOUNDS)]
        else:
            fields = [source.schema.field(k) for k in source.keys]
            fields += [pa.field(name, self.bounds_type) for name in BOUNDS]
        if self.sorts and isinstance(self.window, OverlappingWindow) and from_input(source)[1]:
            raise BuildError(
                "first() and last() have no order among rows of the input and results together",
                expected="overlapping windows over the one or the other",
                hint="aggregate each stream by itself before the union, or use windows that do not overlap",
            )
        finals = self.aggregation.results
        return pa.schema([*fields, *finals.schema])

    def _check_same_window(self) -> None:
        source = self.inputs[0]
        if self.allowed_lateness:
            raise BuildError(
                "same_window() needs no allowed_lateness: results are never late",
                got=format_duration(self.allowed_lateness),
            )
        missing = [name for name in BOUNDS if name not in source.schema.names]
        if missing or not has_own_window(source):
            raise BuildError(
                "same_window() needs results of a window step",
                expected="a stream that stems from .window(...).agg(...), with window_start and window_end",
                got=f"a stream without {missing[0]}" if missing else "rows that are in no window",
                hint="keep both columns" if missing and has_own_window(source) else None,
            )

    @property
    def result_schema(self) -> pa.Schema:
        """The columns of a window's result."""
        return self.schema

    @property
    def closes_after(self) -> int:
        """How long after a window's end its (first) result comes out, ns."""
        return self.allowed_lateness

    @property
    def emission(self) -> str:
        """The options that say when results come out, as the user wrote them."""
        return ""

    @cached_property
    def bounds_type(self) -> pa.DataType:
        """The type of ``window_start`` and ``window_end``: that of the time column where it is fine enough."""
        source = self.inputs[0]
        return bounds_type(
            None if source.time is None else source.schema.field(source.time).type, self.window
        )

    @cached_property
    def aggregation(self) -> Aggregation:
        """The expressions, taken apart."""
        return Aggregation(self.aggregates, self.inputs[0].schema)

    @cached_property
    def sorts(self) -> bool:
        """Whether `first` or `last` works on results: these carry no order, so that rows wait to be sorted."""
        return self.aggregation.reads_edges and not from_input(self.inputs[0])[0]

    @property
    def combines(self) -> bool:  # type: ignore[override]
        """Rows that have to be sorted first are not combined before they meet."""
        return not self.sorts

    def derive_time(self) -> None:
        return None

    def derive_keys(self) -> tuple[str, ...]:
        return self.inputs[0].keys

    @property
    def reads_order(self) -> bool:
        """Whether ties in event time matter to an aggregate, and rows carry what decides them."""
        return self.aggregation.reads_edges and not self.sorts

    @cached_property
    def late_schema(self) -> pa.Schema:
        """The columns of `.late`."""
        fields = [
            pa.field("late_by", pa.duration("ns")),
            pa.field("windows_late", pa.int64()),
            pa.field("window_start", self.bounds_type),
            pa.field("window_end", self.bounds_type),
        ]
        taken = [f.name for f in fields if f.name in self.inputs[0].schema.names]
        if taken:
            raise BuildError(f"column {taken[0]!r} of the input has the name of a column of .late")
        return pa.schema([*self.inputs[0].schema, *fields])

    @property
    def pane_keys(self) -> tuple[str, ...]:
        """What the state is kept by: the keys, and for `same_window` the bounds of the rows' own windows."""
        return (*self.keys, *BOUNDS) if isinstance(self.window, SameWindow) else self.keys

    def describe(self) -> str:
        lateness = (
            f", allowed_lateness={format_duration(self.allowed_lateness)!r}" if self.allowed_lateness else ""
        )
        named = ", ".join(f"{n}={e}" for n, e in self.aggregates.items())
        return f"{self.window.describe()}{lateness}{self.emission}: {named}"

    def state_bound(self) -> str:
        return "open windows"

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        if self.sorts:
            return [None]  # every column decides between rows of one time
        return [frozenset(self.aggregation.columns() | set(self.pane_keys))]

    def share(self) -> Owners:
        return Owners()

    def build(self, context: BuildContext) -> Operator:
        return WindowOperator(self, context, combine=False)

    def build_combiner(self, context: BuildContext) -> Operator:
        return WindowOperator(self, context, combine=True)

    def build_merger(self, context: BuildContext) -> Operator:
        return MergeOperator(self, context)
