"""What runs for state by key: rows that wait for the watermark, the state of each key, and what it gives.

`streamlib.operators.tables.running` says when rows are added and what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Operator, Output, State, Tagged
from streamlib.elements import MAX_TIME, MIN_TIME, Batch
from streamlib.graph import BuildContext
from streamlib.operators.aggregation import InputColumns, Late
from streamlib.operators.tables.table_step import DELETE, INSERT, UPDATE
from streamlib.state import Expiry, Order, OrderedBuffer, SlotColumn, SlotTable, Touched, joined, with_fields

if TYPE_CHECKING:
    from streamlib.operators.tables.running import RunningNode

Int64s = npt.NDArray[np.int64]
_UNUSED_TIME = MIN_TIME


class TableOperator(Operator):
    """Rows that wait, and the state of each key."""

    def __init__(self, node: RunningNode, context: BuildContext) -> None:
        self.node = node
        self.batch_rows = context.batch_rows
        self.late_read = context.late_read
        source = node.inputs[0].schema
        self.keys = list(node.keys)
        kept = source.names if node.sorts else self.keys
        self.inputs = InputColumns(kept, node.aggregation.inputs, source)
        self.in_spans = node.max_rate is not None or node.ttl is not None
        order = Order.COLUMNS if node.sorts else Order.TIME if self.in_spans else Order.ARRIVAL
        self.waiting = OrderedBuffer(order, len(kept))
        self.table = SlotTable(node.key_fields, node.aggregation.plan(ordered=context.needs_order))
        self.finals = node.aggregation.results
        self.known = SlotColumn(np.bool_, False)
        self.last = SlotColumn(np.int64, _UNUSED_TIME)
        self.expiry = None if node.ttl is None else Expiry(node.ttl)
        self.late = 0
        self.late_by_max = 0

    # Rows in.

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Has rows wait; yields those that are late, if somebody reads them."""
        late = late_rows(batch)
        self.waiting.add(self.inputs.of(batch, late))
        if late is not None:
            tagged = self._refuse_late(batch.filter(late))
            if tagged is not None:
                yield tagged

    def check(self, batch: Batch, side: int = 0) -> None:
        """Raises for a row whose inputs cannot be computed, or added; those of late rows are not."""
        self.node.aggregation.try_rows(self.inputs.evaluate(batch, late_rows(batch)))

    def _refuse_late(self, refused: Batch) -> Tagged | None:
        assert refused.time is not None and refused.mark is not None
        over = refused.mark - refused.time
        self.late += len(refused)
        self.late_by_max = max(self.late_by_max, int(over.max()))
        if not self.late_read:
            return None  # nor are all columns there
        rows = pa.RecordBatch.from_arrays(
            [*refused.rows.columns, pa.array(over, pa.duration("ns"))], schema=self.node.late_schema
        )
        return Tagged("late", Batch(rows, refused.time, refused.mark, refused.order, refused.origin))

    # Changes out.

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Adds the rows before it, and lets go of keys that had none for long."""
        before = self.forward(time)
        yield from self._add_until(before)
        yield from self._expire(before)

    def on_end(self) -> Iterator[Output]:
        """Adds all rows. Keys stay: how far event time came in the whole input is not known here."""
        yield from self._add_until(None)

    def forward(self, watermark: int) -> int:
        """W; with `max_rate` the beginning of the span that it has come to."""
        span = self.node.max_rate
        if span is None or watermark <= MIN_TIME or watermark >= MAX_TIME:
            return watermark
        return max(MIN_TIME, watermark // span * span)

    def _add_until(self, before: int | None) -> Iterator[Output]:
        released = self.waiting.release(before)
        if not released:
            return
        if not self.in_spans:
            yield from self._changes(self._add(released))
            return
        for begin, part in self._spans(joined(released)):
            if before is not None:
                yield from self._expire(begin)
            yield from self._changes(self._add([part]))

    def _spans(self, rows: Batch) -> Iterator[tuple[int, Batch]]:
        """Rows in the order of time, cut into spans; and the beginning of each.

        The rows of one key in a span are no further apart than `ttl`.
        """
        assert rows.time is not None
        begin, time = 0, rows.time
        while begin < len(rows):
            low = int(time[begin])
            if self.node.max_rate is not None:
                low = max(MIN_TIME, low // self.node.max_rate * self.node.max_rate)
                high = low + self.node.max_rate
            else:
                assert self.node.ttl is not None
                high = low + self.node.ttl
            end = len(rows) if high >= MAX_TIME else int(np.searchsorted(time, high))
            yield low, rows.slice(begin, end - begin)
            begin = end

    def _add(self, batches: list[Batch]) -> Touched:
        slots, times = [], []
        for batch in batches:
            assert batch.time is not None
            keys = batch.rows.select(self.keys)
            if self.expiry is not None:
                self._begin_anew(keys, batch.time, self.expiry)
            slots.append(self.table.put(keys, self.inputs.inputs_of(batch.rows), batch.time, batch.order))
            times.append(batch.time)
        touched = self.table.touched(np.concatenate(slots), np.concatenate(times))
        if self.expiry is not None:
            last = self.last.upto(self.table.count)
            last[touched.slots] = touched.high
            self.expiry.file(touched.slots, last)
        return touched

    def _begin_anew(self, keys: pa.RecordBatch, times: Int64s, expiry: Expiry) -> None:
        """Empties the state of keys whose first row of this span comes after their time to live."""
        touched = self.table.touched(self.table.find(keys), times)
        known = self.known.upto(self.table.count)[touched.slots]
        over = touched.low > expiry.deadlines(touched.slots, self.last.upto(self.table.count))
        self._reset(touched.slots[known & over])

    def _reset(self, slots: Int64s) -> None:
        """Takes these keys back to the state without rows."""
        self.table.reset(slots)

    def _changes(self, touched: Touched) -> Iterator[Batch]:
        known = self.known.upto(self.table.count)
        change = np.where(known[touched.slots], UPDATE, INSERT)
        known[touched.slots] = True
        yield from self._rows(touched.slots, change, touched.high)

    def _expire(self, before: int) -> Iterator[Output]:
        if self.expiry is None:
            return
        slots = self.expiry.due(before, self.last.upto(self.table.count))
        if not len(slots):
            return
        yield from self._gone(slots, self.expiry)
        self.known.upto(self.table.count)[slots] = False
        self.last.upto(self.table.count)[slots] = _UNUSED_TIME
        self._free(slots)

    def _free(self, slots: Int64s) -> Int64s | None:
        """Forgets these keys; the slots that live, where they got new numbers by that."""
        live = self.table.free(slots)
        if live is not None:
            self.known.keep(live)
            self.last.keep(live)
            if self.expiry is not None:
                self.expiry.renumbered(np.arange(len(live)), self.last.upto(len(live)))
        return live

    def _gone(self, slots: Int64s, expiry: Expiry) -> Iterator[Batch]:
        # A deadline that is due lies before the watermark: the next nanosecond is a time.
        times = expiry.deadlines(slots, self.last.upto(self.table.count)) + np.int64(1)
        yield from self._rows(slots, np.full(len(slots), DELETE), times)

    def _rows(self, slots: Int64s, change: npt.NDArray[np.str_], times: Int64s) -> Iterator[Batch]:
        for begin in range(0, len(slots), self.batch_rows):
            part = slice(begin, begin + self.batch_rows)
            yield self._batch(slots[part], pa.array(change[part].tolist(), pa.string()), times[part])

    def _batch(self, slots: Int64s, added: pa.Array, times: Int64s) -> Batch:
        columns = self._columns(slots)
        columns[self.node.added.name] = added
        rows = [columns[name] for name in self.node.columns]
        return Batch(pa.RecordBatch.from_arrays(rows, schema=self.node.schema), times)

    def _columns(self, slots: Int64s) -> dict[str, pa.Array]:
        """Keys and values of some slots, by name."""
        state = self.table.read(slots)
        finished = state.results()
        values = self.finals.evaluate(
            pa.RecordBatch.from_arrays(finished, schema=self.node.aggregation.intermediate)
            if finished
            else state.keys.select([])
        )
        columns = dict(zip(self.node.expressions, values, strict=True))
        return columns | dict(zip(self.keys, state.keys.columns, strict=True))

    # Barriers and looks.

    def snapshot(self) -> State:
        """The keys with their named state and the time of their last row; and the rows that wait."""
        live = self.table.snapshot()
        state = {"waiting": self.waiting.snapshot(self.inputs.schema)}
        if self.expiry is not None:
            last = self.last.upto(self.table.count)[self.table.live()]
            field = pa.field("last_time", pa.timestamp("ns", "UTC"))
            whole = with_fields(live.schema, [field])
            live = pa.Table.from_arrays([*live.columns, pa.array(last).view(field.type)], schema=whole)
        return {"keys": live, **state}

    def restore(self, state: State) -> None:
        """Takes in this worker's keys and waiting rows."""
        if "waiting" in state:
            self.waiting.restore(state["waiting"])
        if "keys" not in state:
            return
        keys, times = state["keys"], None
        if self.expiry is not None:
            times = keys.column(-1).cast(pa.int64()).to_numpy()
            keys = keys.remove_column(keys.num_columns - 1)
        begin = 0
        for slots in self.table.take_in(keys):
            self.known.upto(self.table.count)[slots] = True
            if self.expiry is not None and times is not None:
                last = self.last.upto(self.table.count)
                last[slots] = times[begin : begin + len(slots)]
                self.expiry.file(slots, last)
            begin += len(slots)

    def open_windows(self) -> tuple[int, int | None]:
        """1 while rows wait: what they will change is not out yet."""
        return (1, self.waiting.low) if self.waiting.rows else (0, None)

    def open_rows(self) -> int:
        """Rows that wait."""
        return self.waiting.rows

    def counters(self) -> dict[str, int]:
        """Late rows, and by how much the latest missed its turn, ns."""
        return {"late": self.late, "late_by_max": self.late_by_max} if self.late else {}


def late_rows(batch: Batch) -> Late | None:
    """Which rows their mark refuses; None when it refuses none."""
    if batch.mark is None:
        return None
    assert batch.time is not None
    late: Late = batch.mark > batch.time
    return late if late.any() else None
