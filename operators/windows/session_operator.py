"""What runs for session windows: rows in, in any order, and the sessions that the watermark closes out.

W is the watermark, L the allowed lateness. A row is refused by its mark alone: mark > t + L. A session
closes when W > last + gap + L. W is at most the mark of every row still to come, so no such row reaches
a session that has closed; that is asserted. Results have the time window_end - 1 ns, and what is sent on
is W - L - 1 ns.

Rows wait, until W > t + L, only where they have to come in order: with `max_length`, and where `first`
or `last` works on results, which carry no order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Operator, Output, State, Tagged
from streamlib.elements import MAX_TIME, Batch, add_time
from streamlib.expr import lit
from streamlib.graph import BuildContext
from streamlib.operators.aggregation import InputColumns, Late
from streamlib.operators.windows.results import ResultBuilder
from streamlib.state import ClosedSessions, Order, OrderedBuffer, SessionTable

if TYPE_CHECKING:
    from streamlib.operators.windows.session import SessionAggregateNode

Int64s = npt.NDArray[np.int64]


class SessionOperator(Operator):
    """The open sessions of one worker's keys, and the rows that wait to enter them."""

    def __init__(self, node: SessionAggregateNode, context: BuildContext) -> None:
        self.node = node
        self.gap = node.window.gap
        self.lateness = node.allowed_lateness
        self.keys = list(node.keys)
        self.late_read = context.late_read
        source = node.inputs[0].schema
        kept = source.names if node.sorts else self.keys if node.waits else ()
        inputs = node.aggregation.inputs
        self.input_count = len(inputs)
        if not (kept or inputs):
            inputs = {"True": lit(True)}  # rows without columns could not wait
        self.columns = InputColumns(kept, inputs, source)
        order = Order.COLUMNS if node.sorts else Order.TIME
        self.waiting = OrderedBuffer(order, len(source)) if node.waits else None
        plan = node.aggregation.plan(ordered=context.needs_order)
        self.sessions = SessionTable(node.key_fields, plan, self.gap, node.window.max_length)
        self.results = ResultBuilder(node, context.batch_rows)
        self.late = 0
        self.late_by_max = 0

    # Rows in.

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Adds rows to their sessions; yields those that are late, if somebody reads them."""
        late = self._late_rows(batch)
        if self.waiting is not None:
            self.waiting.add(self.columns.of(batch, late))
        else:
            inputs = self.columns.evaluate(batch, late) if self.input_count else []
            self._add(batch if late is None else batch.filter(~late), inputs)
        if late is not None:
            tagged = self._refuse_late(batch.filter(late))
            if tagged is not None:
                yield tagged

    def check(self, batch: Batch, side: int = 0) -> None:
        """Raises for a row whose inputs cannot be computed; those of late rows are not."""
        self.node.aggregation.try_rows(self.columns.evaluate(batch, self._late_rows(batch)))

    def _add(self, batch: Batch, inputs: list[pa.Array]) -> None:
        assert batch.time is not None
        self.sessions.add(batch.rows.select(self.keys), inputs, batch.time, batch.order)

    def release(self, before: int | None) -> None:
        """Rows that have waited long enough enter their sessions, in the order of time."""
        if self.waiting is not None:
            for batch in self.waiting.release(before):
                order = None if self.node.sorts else batch.order
                inputs = self.columns.inputs_of(batch.rows)[: self.input_count]
                self._add(Batch(batch.rows, batch.time, order=order), inputs)

    def _late_rows(self, batch: Batch) -> Late | None:
        """Which rows their mark refuses; None when it refuses none."""
        if batch.mark is None:
            return None
        assert batch.time is not None
        late: Late = batch.mark > self._taken_until(batch.time)
        return late if late.any() else None

    def _taken_until(self, times: Int64s) -> Int64s:
        """The last mark with which rows at `times` are taken."""
        return later(times, self.lateness)

    def _refuse_late(self, refused: Batch) -> Tagged | None:
        assert refused.time is not None and refused.mark is not None
        late_by = refused.mark - self._taken_until(refused.time)
        self.late += len(refused)
        self.late_by_max = max(self.late_by_max, int(late_by.max()))
        if not self.late_read:
            return None  # nor are all columns there
        kind = self.node.bounds_type
        columns = [
            *refused.rows.columns,
            pa.array(late_by, pa.duration("ns")),
            pa.array(np.ones(len(refused), dtype=np.int64)),
            self.results.bounds(refused.time, kind),
            self.results.bounds(later(refused.time, self.gap), kind),
        ]
        rows = pa.RecordBatch.from_arrays(columns, schema=self.node.late_schema)
        return Tagged("late", Batch(rows, refused.time, refused.mark, refused.order, refused.origin))

    # Sessions out.

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Closes the sessions that end before it; rows that waited enter them first."""
        before = add_time(time, -self.lateness)
        self.release(before)
        yield from self._emit(self.sessions.close(before, self.results.batch_rows))

    def on_end(self) -> Iterator[Output]:
        """Closes all sessions."""
        self.release(None)
        yield from self._emit(self.sessions.close_all(self.results.batch_rows))

    def forward(self, watermark: int) -> int:
        """A session that is open ends at W - lateness or later, and its result comes 1 ns before its end."""
        return add_time(watermark, -self.lateness - 1)

    def _emit(self, parts: Iterable[ClosedSessions]) -> Iterator[Batch]:
        for part in parts:
            yield self.result(part)

    def result(self, part: ClosedSessions) -> Batch:
        """The rows of some sessions."""
        node, kind = self.node, self.node.bounds_type
        ends = later(part.last, self.gap)
        values = pa.RecordBatch.from_arrays(part.closed.results(), schema=node.aggregation.intermediate)
        columns = [
            *part.closed.keys.columns,
            self.results.bounds(part.first, kind),
            self.results.bounds(ends, kind),
            *self.results.finals.evaluate(values),
        ]
        return Batch(pa.RecordBatch.from_arrays(columns, schema=node.result_schema), ends - 1)

    # Barriers and looks.

    def snapshot(self) -> State:
        """The open sessions, and the rows that wait."""
        waiting = {} if self.waiting is None else {"waiting": self.waiting.snapshot(self.columns.schema)}
        return {"sessions": self.sessions.snapshot(), **waiting}

    def restore(self, state: State) -> None:
        """Takes in this worker's sessions and waiting rows."""
        if "sessions" in state:
            self.sessions.restore(state["sessions"])
        if self.waiting is not None and "waiting" in state:
            self.waiting.restore(state["waiting"])

    def open_windows(self) -> tuple[int, int | None]:
        """Open sessions, and the end of the earliest, ns; rows that wait count as one."""
        count, ends = len(self.sessions), []
        earliest = self.sessions.earliest()
        if earliest is not None:
            ends.append(earliest)
        if self.waiting is not None and self.waiting.rows:
            count += 1
            ends.append(min(MAX_TIME, self.waiting.low + self.gap))
        return count, min(ends, default=None)

    def open_rows(self) -> int:
        """Rows in the open sessions, and those that wait to enter one."""
        return self.sessions.rows + (0 if self.waiting is None else self.waiting.rows)

    def counters(self) -> dict[str, int]:
        """Late rows, and by how much the mark of the latest was past what was taken, ns."""
        return {"late": self.late, "late_by_max": self.late_by_max} if self.late else {}


def later(times: Int64s, by: int) -> Int64s:
    """times + by, held at the end of time."""
    return np.where(times > MAX_TIME - by, MAX_TIME, times + np.int64(by))
