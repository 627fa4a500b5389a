"""Aggregation over fixed windows by key.

A row is refused by its mark alone: when the mark has reached its window's end and the allowed
lateness. A window closes when the watermark W has (W >= end + lateness); since W is at most the mark
of every row still to come, an accepted row always finds its window open. The result's time is its
window's end less 1 ns, and the watermark sent on is W less the lateness.

With several workers each one aggregates its own rows first (`combine`) and sends one partial result
per key and window to the key's worker (`merge`): a hot key costs no more than any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan
from streamlib.contracts import Operator, Output, State, Tagged, Window
from streamlib.elements import MAX_TIME, Batch, add_time, format_duration
from streamlib.errors import BuildError
from streamlib.expr import Expr, Program, col
from streamlib.graph import BuildContext, Node
from streamlib.operators.windows.results import ResultBuilder, bounds_type
from streamlib.operators.windows.tumbling import TumblingWindow
from streamlib.state import PaneStore, Tumbling

COMBINE_BYTES_MAX = 64 * 1024 * 1024
"""Size of a worker's partial results from which they are sent on before their windows close."""

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowAggregateNode(Node):
    """Aggregates rows by key and window.

    Attributes:
        window: assigns rows to windows.
        allowed_lateness: how long after its end a window takes rows, ns.
        aggregates: expressions over aggregates, by column name.
    """

    kind: ClassVar[str] = "window"
    exchange_by: ClassVar[bool] = True
    combines: ClassVar[bool] = True
    window: Window
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
        taken = [key for key in source.keys if key in ("window_start", "window_end")]
        if taken:
            raise BuildError(
                f"the name {taken[0]!r} is taken",
                hint=f"rename the key before the window: .key_by(w=col({taken[0]!r}))",
            )
        for name, expr in self.aggregates.items():
            if name in source.keys or name in ("window_start", "window_end"):
                raise BuildError(
                    f"the name {name!r} is taken",
                    hint="keys and window bounds are columns of the result: choose another",
                )
            if not expr.contains_aggregate:
                raise BuildError(
                    f"{name}={expr} is no aggregate",
                    expected="one value per window",
                    hint=f"such as {expr}.last()",
                )
            loose = expr.columns_outside_aggregates()
            if loose:
                raise BuildError(
                    f"{name}={expr} uses column {loose[0]!r} outside an aggregate",
                    hint=f'say which row it is taken from, such as col("{loose[0]}").last()',
                )
        bounds = self.bounds_type
        fields = [source.schema.field(k) for k in source.keys]
        fields += [pa.field("window_start", bounds), pa.field("window_end", bounds)]
        finals = Program(self.finals, self.intermediate_schema)
        return pa.schema([*fields, *finals.schema])

    @cached_property
    def bounds_type(self) -> pa.DataType:
        """The type of ``window_start`` and ``window_end``: that of the time column where it is fine enough."""
        source = self.inputs[0]
        return bounds_type(
            None if source.time is None else source.schema.field(source.time).type, self.window
        )

    @cached_property
    def parts(self) -> list[Expr]:
        """The distinct aggregates in all expressions."""
        found: dict[Any, Expr] = {}
        for expr in self.aggregates.values():
            for part in expr.aggregates():
                found.setdefault(part.key(), part)
        return list(found.values())

    @cached_property
    def inputs_of_parts(self) -> dict[str, Expr]:
        """The distinct expressions that the aggregates read, by a name for messages and snapshots."""
        found: dict[Any, tuple[str, Expr]] = {}
        for part in self._agg_parts():
            if part.input is not None:
                found.setdefault(part.input.key(), (str(part.input), part.input))
        return dict(found.values())

    def _agg_parts(self) -> list[Any]:
        return list(self.parts)

    def plan(self, ordered: bool) -> AccumulatorPlan:
        """The state that the aggregates need."""
        source = self.inputs[0].schema
        inputs = self.inputs_of_parts
        names = list(inputs)
        aggregates = []
        for part in self._agg_parts():
            index = None if part.input is None else names.index(str(part.input))
            kind = None if part.input is None else part.input.type_in(source)
            aggregates.append((part.aggregate, index, kind))
        return AccumulatorPlan(aggregates, names, ordered)

    @cached_property
    def intermediate_schema(self) -> pa.Schema:
        """One column per distinct aggregate, which the final expressions read."""
        kinds = self.plan(False).result_types
        return pa.schema([(f"aggregate_{i}", kind) for i, kind in enumerate(kinds)])

    @cached_property
    def finals(self) -> dict[str, Expr]:
        """The expressions over columns of `intermediate_schema`."""
        pairs = [(part, col(f"aggregate_{i}")) for i, part in enumerate(self.parts)]
        return {name: expr.replace(pairs) for name, expr in self.aggregates.items()}

    def derive_time(self) -> None:
        return None

    def derive_keys(self) -> tuple[str, ...]:
        return self.inputs[0].keys

    @property
    def reads_order(self) -> bool:
        """Whether ties in event time matter to an aggregate."""
        return any(part.aggregate.name in ("first", "last") for part in self._agg_parts())

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

    def describe(self) -> str:
        lateness = (
            f", allowed_lateness={format_duration(self.allowed_lateness)!r}" if self.allowed_lateness else ""
        )
        named = ", ".join(f"{n}={e}" for n, e in self.aggregates.items())
        return f"{self.window.describe()}{lateness}: {named}"

    def state_bound(self) -> str:
        return "open windows"

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        read = set(self.inputs[0].keys)
        for expr in self.inputs_of_parts.values():
            read.update(expr.columns())
        return [frozenset(read)]

    def build(self, context: BuildContext) -> Operator:
        return WindowOperator(self, context, combine=False)

    def build_combiner(self, context: BuildContext) -> Operator:
        return WindowOperator(self, context, combine=True)

    def build_merger(self, context: BuildContext) -> Operator:
        return MergeOperator(self, context)


class PaneOperator(Operator):
    """What aggregation and merge share: a store of open panes, and when they close."""

    def __init__(self, node: WindowAggregateNode, context: BuildContext) -> None:
        self.node = node
        self.window = node.window
        self.lateness = node.allowed_lateness
        self.keys = list(node.keys)
        schema = node.inputs[0].schema
        plan = node.plan(ordered=context.needs_order)
        self.store = PaneStore([schema.field(k) for k in self.keys], plan)
        self.results = ResultBuilder(node, context.batch_rows)
        self.watermark: int | None = None
        self.checked: int | None = None
        self.closed = 0

    def due(self, watermark: int) -> Iterator[int]:
        """The starts of the panes that `watermark` closes, in order."""
        for start in list(self.store.starts()):
            if add_time(self.window.end(start), self.lateness) > watermark:
                return
            yield start

    def check_open(self) -> None:
        """An accepted row always finds its window open."""
        if self.watermark is None or not len(self.store):
            return
        first = self.store.starts()[0]
        if first != self.checked:
            closes = add_time(self.window.end(first), self.lateness)
            assert closes > self.watermark, "a row came for a window that has closed"
            self.checked = first

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Closes the windows that end by it."""
        self.watermark = time
        self.checked = None
        yield from self.emit(list(self.due(time)))

    def on_end(self) -> Iterator[Output]:
        """Closes all windows."""
        yield from self.emit(list(self.store.starts()))

    def emit(self, starts: list[int]) -> Iterator[Output]:
        """The results of the panes at `starts`, which are freed."""
        self.closed += len(starts)
        yield from self.results.batches(self.store.pop(start) for start in starts)

    def forward(self, watermark: int) -> int:
        """Results of windows that still take late rows lie at or after W - lateness."""
        return add_time(watermark, -self.lateness)

    def snapshot(self) -> State:
        """The open panes, as rows of keys, window start and named state."""
        return {"panes": self.store.snapshot()}

    def restore(self, state: State) -> None:
        """Takes in the panes of this worker's keys."""
        self.store.restore(state["panes"])

    def open_windows(self) -> tuple[int, int | None]:
        """Open panes, and the end of the earliest, ns."""
        starts = self.store.starts()
        return len(starts), self.window.end(starts[0]) if starts else None

    def open_rows(self) -> int:
        """Rows in the open panes."""
        return int(np.sum(self.store.snapshot().column("rows").to_numpy()))


class WindowOperator(PaneOperator):
    """Takes rows. As a combiner it yields partial results instead of final ones."""

    def __init__(self, node: WindowAggregateNode, context: BuildContext, combine: bool) -> None:
        super().__init__(node, context)
        self.combine = combine
        self.late_read = context.late_read
        self.inputs = node.inputs_of_parts
        self.program: Program | None = None
        self.late = 0
        self.late_by_max = 0
        tumbles = isinstance(self.window, TumblingWindow)
        self.rule = Tumbling(self.window.size, self.window.offset) if tumbles else None  # type: ignore[attr-defined]

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Adds rows to their windows; yields those that are late, if somebody reads them."""
        assert batch.time is not None
        if batch.mark is not None:
            kept, late = self._part_late(batch)
            if late is not None:
                yield late
            batch = kept
        if len(batch):
            rows = batch.rows
            if self.program is None:
                self.program = Program(self.inputs, rows.schema)
            inputs = self.program.evaluate(rows)
            assert batch.time is not None
            starts = self.rule if self.rule is not None else self.window.starts(batch.time)
            self.store.add(rows.select(self.keys), starts, inputs, batch.time, batch.order)
            self.check_open()
            if self.combine and self.store.nbytes > COMBINE_BYTES_MAX:
                yield from self.emit(list(self.store.starts()))

    def _part_late(self, batch: Batch) -> tuple[Batch, Tagged | None]:
        assert batch.time is not None and batch.mark is not None
        starts = self.window.starts(batch.time)
        ends = self.window.ends(starts)
        closing = np.where(
            ends > np.iinfo(np.int64).max - self.lateness, np.iinfo(np.int64).max, ends + self.lateness
        )
        late = (batch.mark >= closing) & (closing < MAX_TIME)
        count = int(late.sum())
        if count == 0:
            return batch, None
        self.late += count
        over = (batch.mark - closing)[late]
        self.late_by_max = max(self.late_by_max, int(over.max()))
        kept = batch.filter(~late)
        if not self.late_read:
            return kept, None
        refused = batch.filter(late)
        bounds = self.node.bounds_type
        columns = [
            *refused.rows.columns,
            pa.array(over, pa.duration("ns")),
            pa.array(np.ones(count, dtype=np.int64)),
            self.results.bounds(starts[late], bounds),
            self.results.bounds(ends[late], bounds),
        ]
        rows = pa.RecordBatch.from_arrays(columns, schema=self.node.late_schema)
        return kept, Tagged("late", Batch(rows, refused.time, refused.mark, refused.order, refused.origin))

    def emit(self, starts: list[int]) -> Iterator[Output]:
        """Final results, or partial ones for the merge: those of small windows go together."""
        if not self.combine:
            yield from super().emit(starts)
            return
        limit = self.results.batch_rows
        gathered: list[pa.RecordBatch] = []
        rows = 0
        for start in starts:
            gathered.append(self.store.partials(start))
            rows += gathered[-1].num_rows
            if rows >= limit or start == starts[-1]:
                together = gathered[0] if len(gathered) == 1 else pa.concat_batches(gathered)
                for offset in range(0, rows, limit):
                    yield Batch(together.slice(offset, limit))
                gathered, rows = [], 0

    def on_barrier(self) -> Iterator[Output]:
        """Partial results go out before a barrier: a combiner has no state of its own."""
        if self.combine:
            yield from self.emit(list(self.store.starts()))

    def forward(self, watermark: int) -> int:
        """A combiner leaves the lateness to the merge, and sends only what closes a window there."""
        if not self.combine:
            return super().forward(watermark)
        if not isinstance(self.window, TumblingWindow):
            return watermark
        return add_time(self.window.start_of(add_time(watermark, -self.lateness)), self.lateness)

    def snapshot(self) -> State:
        """None for a combiner: it has sent everything on."""
        return {} if self.combine else super().snapshot()

    def restore(self, state: State) -> None:
        """Panes, but for a combiner."""
        if not self.combine:
            super().restore(state)

    def open_windows(self) -> tuple[int, int | None]:
        """Those of a combiner are counted where they are merged."""
        return (0, None) if self.combine else super().open_windows()

    def counters(self) -> dict[str, int]:
        """Late rows, and by how much the latest missed its window, ns."""
        if not self.late:
            return {}
        return {"late": self.late, "late_by_max": self.late_by_max}


class MergeOperator(PaneOperator):
    """Takes partial results of all workers for its own keys."""

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Merges partial results."""
        self.store.merge(batch.rows)
        self.check_open()
        return iter(())
