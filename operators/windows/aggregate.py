"""Aggregation over fixed windows by key.

A row is refused by its mark alone: when the mark has reached its window's end and the allowed
lateness. A window closes when the watermark W has (W >= end + lateness); since W is at most the mark
of every row still to come, an accepted row always finds its window open. The result's time is its
window's end less 1 ns, and the watermark sent on is W less the lateness.

With several workers each one aggregates its own rows first (`combine`) and sends one partial result
per key and window to the key's worker (`merge`): a hot key costs no more than any other.

Where `first` or `last` works on results, which carry no order, rows go to the key's worker as they
are, and wait there until the watermark has passed them: sorted by (time, then all columns) they are
added, and what came first is a function of the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Operator, Output, State, Tagged, Window
from streamlib.elements import MAX_TIME, MIN_TIME, Batch, add_time, format_duration
from streamlib.errors import BuildError
from streamlib.expr import Expr, Program
from streamlib.graph import BuildContext, Node
from streamlib.operators.aggregation import Aggregation, InputColumns, from_input
from streamlib.operators.windows.results import ResultBuilder, bounds_type
from streamlib.operators.windows.tumbling import TumblingWindow
from streamlib.state import Order, OrderedBuffer, PaneStore, Tumbling

COMBINE_BYTES_MAX = 64 * 1024 * 1024
"""Size of a worker's partial results from which they are sent on before their windows close."""

Int64s = npt.NDArray[np.int64]
Late = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowAggregateNode(Node):
    """Aggregates rows by key and window.

    Attributes:
        window: assigns rows to windows.
        allowed_lateness: how long after its end a window takes rows, ns.
        aggregates: expressions over aggregates, by column name.
    """

    kind: ClassVar[str] = "window"
    refuses = "checked"
    exchange_by: ClassVar[bool] = True
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
        for name in self.aggregates:
            if name in source.keys or name in ("window_start", "window_end"):
                raise BuildError(
                    f"the name {name!r} is taken",
                    hint="keys and window bounds are columns of the result: choose another",
                )
        self.aggregation.check("window")
        bounds = self.bounds_type
        fields = [source.schema.field(k) for k in source.keys]
        fields += [pa.field("window_start", bounds), pa.field("window_end", bounds)]
        finals = Program(self.aggregation.finals, self.aggregation.intermediate)
        return pa.schema([*fields, *finals.schema])

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

    def describe(self) -> str:
        lateness = (
            f", allowed_lateness={format_duration(self.allowed_lateness)!r}" if self.allowed_lateness else ""
        )
        named = ", ".join(f"{n}={e}" for n, e in self.aggregates.items())
        return f"{self.window.describe()}{lateness}: {named}"

    def state_bound(self) -> str:
        return "open windows"

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        if self.sorts:
            return [None]  # every column decides between rows of one time
        return [frozenset(self.aggregation.columns() | set(self.inputs[0].keys))]

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
        plan = node.aggregation.plan(ordered=context.needs_order)
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
        if "panes" in state:
            self.store.restore(state["panes"])

    def open_windows(self) -> tuple[int, int | None]:
        """Open panes, and the end of the earliest, ns."""
        starts = self.store.starts()
        return len(starts), self.window.end(starts[0]) if starts else None

    def open_rows(self) -> int:
        """Rows in the open panes."""
        return int(np.sum(self.store.snapshot().column(len(self.keys) + 1).to_numpy()))


class WindowOperator(PaneOperator):
    """Takes rows. As a combiner it yields partial results instead of final ones."""

    def __init__(self, node: WindowAggregateNode, context: BuildContext, combine: bool) -> None:
        super().__init__(node, context)
        self.combine = combine
        self.late_read = context.late_read
        source = node.inputs[0].schema
        self.columns = InputColumns(source.names if node.sorts else (), node.aggregation.inputs, source)
        self.waiting = OrderedBuffer(Order.COLUMNS, len(source)) if node.sorts else None
        self.all_results = not from_input(node.inputs[0])[1]
        self.late = 0
        self.late_by_max = 0
        tumbles = isinstance(self.window, TumblingWindow)
        self.rule = Tumbling(self.window.size, self.window.offset) if tumbles else None  # type: ignore[attr-defined]

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Adds rows to their windows; yields those that are late, if somebody reads them."""
        late = self._late_rows(batch)
        if late is not None:
            tagged = self._refuse_late(batch, late)
            if tagged is not None:
                yield tagged
        if self.waiting is not None:
            self.waiting.add(self.columns.of(batch, late))
            return
        inputs = self.columns.evaluate(batch, late)
        kept = batch if late is None else batch.filter(~late)
        if len(kept):
            self._add(kept, inputs)
            self.check_open()
            if self.combine and self.store.nbytes > COMBINE_BYTES_MAX:
                yield from self.emit(list(self.store.starts()))

    def _add(self, batch: Batch, inputs: list[pa.Array]) -> None:
        assert batch.time is not None
        starts = self.rule if self.rule is not None else self.window.starts(batch.time)
        self.store.add(batch.rows.select(self.keys), starts, inputs, batch.time, batch.order)

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Closes the windows that end by it; rows that waited enter them first."""
        if self.waiting is not None:
            self._add_waiting(self._complete(time))
        yield from super().on_watermark(time)

    def on_end(self) -> Iterator[Output]:
        """Closes all windows."""
        if self.waiting is not None:
            self._add_waiting(None)
        yield from super().on_end()

    def _complete(self, watermark: int) -> int:
        """The time before which all rows have come, ns.

        Results never lie before the watermark. A row of the input may, while its window is open.
        """
        if self.all_results or watermark <= MIN_TIME or watermark >= MAX_TIME:
            return watermark
        open_at = np.array([add_time(watermark, -self.lateness)], dtype=np.int64)
        return int(self.window.starts(open_at)[0])

    def _add_waiting(self, before: int | None) -> None:
        assert self.waiting is not None
        for batch in self.waiting.release(before):
            self._add(Batch(batch.rows, batch.time), self.columns.inputs_of(batch.rows))

    def check(self, batch: Batch, side: int = 0) -> None:
        """Raises for a row whose inputs cannot be computed; those of late rows are not."""
        self.columns.evaluate(batch, self._late_rows(batch))

    def _closing(self, starts: Int64s) -> Int64s:
        """The mark from which on the windows at `starts` take no row, ns."""
        ends = self.window.ends(starts)
        most = np.iinfo(np.int64).max
        return np.where(ends > most - self.lateness, most, ends + self.lateness)

    def _late_rows(self, batch: Batch) -> Late | None:
        """Which rows are late; None when none is."""
        assert batch.time is not None
        if batch.mark is None:
            return None
        closing = self._closing(self.window.starts(batch.time))
        late: Late = (batch.mark >= closing) & (closing < MAX_TIME)
        return late if late.any() else None

    def _refuse_late(self, batch: Batch, late: Late) -> Tagged | None:
        """Counts the late rows; gives them, if somebody reads them."""
        refused = batch.filter(late)
        assert refused.time is not None and refused.mark is not None
        starts = self.window.starts(refused.time)
        ends = self.window.ends(starts)
        over = refused.mark - self._closing(starts)
        count = len(refused)
        self.late += count
        self.late_by_max = max(self.late_by_max, int(over.max()))
        if not self.late_read:
            return None
        bounds = self.node.bounds_type
        columns = [
            *refused.rows.columns,
            pa.array(over, pa.duration("ns")),
            pa.array(np.ones(count, dtype=np.int64)),
            self.results.bounds(starts, bounds),
            self.results.bounds(ends, bounds),
        ]
        rows = pa.RecordBatch.from_arrays(columns, schema=self.node.late_schema)
        return Tagged("late", Batch(rows, refused.time, refused.mark, refused.order, refused.origin))

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
        if self.combine:
            return {}
        waiting = {} if self.waiting is None else {"waiting": self.waiting.snapshot(self.columns.schema)}
        return {**super().snapshot(), **waiting}

    def restore(self, state: State) -> None:
        """Panes and waiting rows, but for a combiner."""
        if not self.combine:
            super().restore(state)
        if self.waiting is not None and "waiting" in state:
            self.waiting.restore(state["waiting"])

    def open_windows(self) -> tuple[int, int | None]:
        """Those of a combiner are counted where they are merged."""
        if self.combine:
            return 0, None
        if self.waiting is None or not self.waiting.rows:
            return super().open_windows()
        starts = np.union1d(self.store.starts(), self.window.starts(self.waiting.times()))
        return len(starts), self.window.end(int(starts[0]))

    def open_rows(self) -> int:
        """Rows in the open panes, and those that wait to enter them."""
        return super().open_rows() + (0 if self.waiting is None else self.waiting.rows)

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
