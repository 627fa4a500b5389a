"""What runs for an aggregation over windows by key: rows or partial results in, results of closed windows out.

The result's time is its window's end less 1 ns, and the watermark sent on is W less the lateness.

With several workers each one aggregates its own rows first (`combine`) and sends one partial result
per key and window (or slice of one) to the key's worker (`merge`): a hot key costs no more than any other.

Where `first` or `last` works on results, which carry no order, rows go to the key's worker as they
are, and wait there until the watermark has passed them: sorted by (time, then all columns) they are
added, and what came first is a function of the input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from streamlib.contracts import Operator, Output, State, Tagged, Window
from streamlib.elements import Batch, Handed, add_time
from streamlib.graph import BuildContext
from streamlib.kernels.columns import Product
from streamlib.operators.aggregation import InputColumns, Late
from streamlib.operators.input_rows import from_input
from streamlib.operators.windows.panes import FixedPanes, Missed, Panes
from streamlib.operators.windows.results import ResultBuilder
from streamlib.operators.windows.slices import SlicedPanes
from streamlib.state import Order, OrderedBuffer, Owners

if TYPE_CHECKING:
    from streamlib.operators.windows.node import WindowAggregateNode

COMBINE_BYTES_MAX = 64 * 1024 * 1024
"""Size of a worker's partial results from which they are sent on before their windows close."""
_BATCHES_A_LOOK = 4
"""After how many batches that size is looked up."""


class PaneOperator(Operator):
    """What aggregation and merge share: the open windows, and when they close."""

    may_wait = True

    def __init__(self, node: WindowAggregateNode, context: BuildContext) -> None:
        self.node = node
        self.lateness = node.allowed_lateness
        self.keys = list(node.pane_keys)
        self.panes = open_panes(node, context.needs_order, self.lateness, context.shared)
        self.store = self.panes.store
        self.results = ResultBuilder(node, context.batch_rows)
        self.watermark: int | None = None

    def check_open(self) -> None:
        """An accepted row always finds its window open."""
        if self.watermark is not None:
            self.panes.check_open(self.watermark)

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Closes the windows that end by it."""
        self.watermark = time
        yield from self.emit(time)

    def on_end(self) -> Iterator[Output]:
        """Closes all windows."""
        yield from self.emit(None)

    def emit(self, watermark: int | None) -> Iterator[Output]:
        """The results of the windows that a watermark closes, or of all: they are freed."""
        yield from self.results.batches(self.panes.close_in_parts(watermark))

    def forward(self, watermark: int) -> int:
        """Results of windows that still take late rows lie at or after W - lateness."""
        return add_time(watermark, -self.lateness)

    def snapshot(self) -> State:
        """The open windows, as rows of keys, window start and named state."""
        return self.panes.snapshot()

    def restore(self, state: State) -> None:
        """Takes in the windows of this worker's keys."""
        self.panes.restore(state)

    def open_windows(self) -> tuple[int, int | None]:
        """Open windows, and the end of the earliest, ns."""
        ranges = self.open_ranges()
        end = self.panes.end_of(min(ranges)[0]) if ranges else None
        return count_numbers(ranges), end

    def open_ranges(self) -> list[tuple[int, int]]:
        """Numbers of open windows, from and to; those of several workers are the same windows."""
        return self.panes.open_ranges(np.empty(0, dtype=np.int64))

    def open_rows(self) -> int:
        """Rows in the open windows."""
        return self.panes.rows()


class WindowOperator(PaneOperator):
    """Takes rows. As a combiner it yields partial results instead of final ones."""

    def __init__(self, node: WindowAggregateNode, context: BuildContext, combine: bool) -> None:
        super().__init__(node, context)
        self.combine = combine
        self.late_read = context.late_read
        self.sharing = context.shares_memory
        self.worker, self.workers = context.worker, context.workers
        source = node.inputs[0].schema
        self.columns = InputColumns(source.names if node.sorts else (), node.aggregation.inputs, source)
        self.waiting = OrderedBuffer(Order.COLUMNS, len(source)) if node.sorts else None
        self.all_results = not from_input(node.inputs[0])[1]
        self.late = self.late_by_max = self._taken = 0

    def on_batch(self, batch: Batch, side: int = 0) -> Iterable[Output]:
        """Adds rows to their windows; yields those that are late, if somebody reads them."""
        missed = self.missed(batch)
        refused: Late | None = None
        late: tuple[Output, ...] = ()
        if missed is not None:
            refused = missed.refused
            self.late += len(missed.windows)
            self.late_by_max = max(self.late_by_max, int(missed.late_by.max()))
            if self.late_read:
                late = (self._late_rows(batch, missed),)
        if self.waiting is not None:
            self.waiting.add(self.columns.of(batch, refused))
            return late
        inputs = self.inputs(batch, refused)
        kept = batch if refused is None else batch.filter(~refused)
        if len(kept):
            self.take(batch, kept, inputs, missed)
            self.check_open()
            if self.combine and self._holds_much():
                return chain(late, self.emit(None))
        return late

    def _holds_much(self) -> bool:
        """Whether the open windows should be sent on as they are; looked up after some batches."""
        self._taken = (self._taken + 1) % _BATCHES_A_LOOK
        return self._taken == 0 and self.held_bytes > COMBINE_BYTES_MAX

    def inputs(self, batch: Batch, refused: Late | None) -> Sequence[pa.Array | Product]:
        """What the aggregates read of the rows that are not refused, as `panes` takes it."""
        return self.columns.multiplied(batch, refused, self.panes.multiplied())

    def missed(self, batch: Batch) -> Missed | None:
        """The rows that are late for a window; None when none is."""
        return self.panes.missed(batch)

    def take(self, batch: Batch, kept: Batch, inputs: Sequence[pa.Array], missed: Missed | None) -> None:
        """Adds the rows that are `kept` of a batch, with their inputs, to their windows."""
        self.panes.add(kept.rows.select(self.keys), inputs, kept, missed)

    @property
    def held_bytes(self) -> int:
        """Bytes of the open windows."""
        return self.store.nbytes

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Closes the windows that end by it; rows that waited enter them first."""
        if self.waiting is not None:
            self._add_waiting(time if self.all_results else self.panes.complete(time))
        yield from super().on_watermark(time)

    def on_end(self) -> Iterator[Output]:
        """Closes all windows."""
        if self.waiting is not None:
            self._add_waiting(None)
        yield from super().on_end()

    def _add_waiting(self, before: int | None) -> None:
        assert self.waiting is not None
        for batch in self.waiting.release(before):
            inputs = self.columns.inputs_of(batch.rows)
            self.panes.add(batch.rows.select(self.keys), inputs, Batch(batch.rows, batch.time), None)

    def check(self, batch: Batch, side: int = 0) -> None:
        """Raises for a row whose inputs cannot be computed, or added; those of late rows are not."""
        missed = self.missed(batch)
        self.node.aggregation.try_rows(
            self.columns.evaluate(batch, None if missed is None else missed.refused)
        )

    def _late_rows(self, batch: Batch, missed: Missed) -> Tagged:
        rows = batch.filter(missed.rows)
        bounds = self.node.bounds_type
        columns = [
            *rows.rows.columns,
            pa.array(missed.late_by, pa.duration("ns")),
            pa.array(missed.windows),
            self.results.bounds(missed.starts, bounds),
            self.results.bounds(missed.ends, bounds),
        ]
        late = pa.RecordBatch.from_arrays(columns, schema=self.node.late_schema)
        return Tagged("late", Batch(late, rows.time, rows.mark, rows.order, rows.origin))

    def emit(self, watermark: int | None) -> Iterator[Output]:
        """Final results, or partial ones for the merge: those of small windows go together."""
        if not self.combine:
            yield from super().emit(watermark)
            return
        limit = self.results.batch_rows
        gathered: list[pa.RecordBatch] = []
        rows = 0
        for part in chain(self.partials(watermark), (None,)):
            if isinstance(part, Handed):
                yield part
                continue
            if part is not None:
                gathered.append(part)
                rows += part.num_rows
            if rows >= limit or (rows and part is None):
                together = gathered[0] if len(gathered) == 1 else pa.concat_batches(gathered)
                for offset in range(0, rows, limit):
                    yield Batch(together.slice(offset, limit))
                gathered, rows = [], 0

    def partials(self, watermark: int | None) -> Iterator[Handed | pa.RecordBatch]:
        """Takes out, as partial results, what a watermark closes."""
        if self.sharing:
            yield from self.panes.handed(watermark, self.worker, self.workers)
        else:
            yield from self.panes.partials(watermark)

    def on_barrier(self) -> Iterator[Output]:
        """Partial results go out before a barrier: a combiner has no state of its own."""
        if self.combine:
            yield from self.emit(None)

    def forward(self, watermark: int) -> int:
        """A combiner leaves the lateness to the merge, and sends only what closes a window there."""
        return self.panes.closing_watermark(watermark) if self.combine else super().forward(watermark)

    def snapshot(self) -> State:
        """None for a combiner: it has sent everything on."""
        if self.combine:
            return {}
        waiting = {} if self.waiting is None else {"waiting": self.waiting.snapshot(self.columns.schema)}
        return {**super().snapshot(), **waiting}

    def restore(self, state: State) -> None:
        """Windows and waiting rows, but for a combiner."""
        if not self.combine:
            super().restore(state)
        if self.waiting is not None and "waiting" in state:
            self.waiting.restore(state["waiting"])

    def open_windows(self) -> tuple[int, int | None]:
        """Those of a combiner are counted where they are merged; the end of the earliest is known here."""
        count, end = super().open_windows()
        return (0 if self.combine else count), end

    def open_ranges(self) -> list[tuple[int, int]]:
        """Also those of rows that wait."""
        if self.waiting is None or not self.waiting.rows:
            return super().open_ranges()
        return self.panes.open_ranges(self.waiting.times())

    def open_rows(self) -> int:
        """Rows in the open windows, and those that wait to enter them."""
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
        self.panes.merge(batch.rows)
        self.check_open()
        return iter(())

    def on_handed(self, handed: Handed) -> Iterator[Output]:
        """Merges what a worker of this process has handed over."""
        self.panes.take_in(handed.state)
        self.check_open()
        return iter(())


def open_panes(
    node: WindowAggregateNode, ordered: bool, lateness: int, owners: Owners | None = None
) -> Panes:
    """The open windows of a step, which take late rows for so long, ns."""
    schema = node.inputs[0].schema
    fields = [schema.field(name) for name in node.pane_keys]
    plan = node.aggregation.plan(ordered=ordered)
    if isinstance(node.window, Window):
        return FixedPanes(node.window, lateness, fields, plan, owners)
    return SlicedPanes(node.window, lateness, fields, plan)


def count_numbers(ranges: list[tuple[int, int]]) -> int:
    """How many numbers lie in ranges that may overlap, both ends included.

    >>> count_numbers([(1, 3), (2, 4), (9, 9)])
    5
    """
    count, beyond = 0, None
    for first, last in sorted(ranges):
        first = first if beyond is None else max(first, beyond)
        count += max(0, last - first + 1)
        beyond = last + 1 if beyond is None else max(beyond, last + 1)
    return count
