"""What runs for `fill_gaps`: results of windows in, the same results and rows for empty windows out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan
from streamlib.contracts import Operator, Output, State
from streamlib.elements import MAX_TIME, MIN_TIME, Batch
from streamlib.graph import BuildContext
from streamlib.kernels.columns import decoded
from streamlib.operators.windows.gaps import Gaps, Grid
from streamlib.operators.windows.results import BOUNDS, as_times
from streamlib.state import Order, OrderedBuffer, SlotTable, joined, with_fields

if TYPE_CHECKING:
    from streamlib.operators.windows.fill_gaps import FillGapsNode

Int64s = npt.NDArray[np.int64]
_TIME = pa.timestamp("ns", "UTC")


class FillGapsOperator(Operator):
    """The last row of each of one worker's keys, and the rows that wait for the watermark.

    A row's time is the last instant of its window. `reached` is that of the last window of the key that has
    come out, with a row or filled.
    """

    def __init__(self, node: FillGapsNode, context: BuildContext) -> None:
        self.node = node
        self.batch_rows = context.batch_rows
        self.keys = list(node.inputs[0].keys)
        self.key_fields = [node.schema.field(key) for key in self.keys]
        self.bounds_type = node.schema.field(BOUNDS[0]).type
        self.grid = Grid(node.window, context.batch_rows)
        self.table = SlotTable(self.key_fields, AccumulatorPlan([])) if self.keys else None
        self.waiting = OrderedBuffer(Order.ARRIVAL)
        self.last = _no_rows(node.schema)
        self.reached: Int64s = np.empty(0, dtype=np.int64)
        self.next_end = MIN_TIME
        """No window of `last` is known to be empty before the watermark gets here."""

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Has results wait: their gaps are filled in the order of time."""
        columns = [decoded(column) for column in batch.rows.columns]
        rows = pa.RecordBatch.from_arrays(columns, schema=self.node.schema)
        self.waiting.add(Batch(rows, batch.time))
        return iter(())

    def on_watermark(self, time: int) -> Iterator[Output]:
        """The results before it, and rows for the windows that are empty up to it."""
        released = self.waiting.release(time)
        if released or (len(self.last) and time >= self.next_end):
            yield from self._fill(released, time)
            self.next_end = self.grid.next_end(time)

    def on_end(self) -> Iterator[Output]:
        """All results, and rows for all windows up to `up_to` after them."""
        yield from self._fill(self.waiting.release(None), MAX_TIME)

    def _fill(self, released: list[Batch], until: int) -> Iterator[Output]:
        for batch in released:
            for begin in range(0, len(batch), self.batch_rows):
                yield batch.slice(begin, min(self.batch_rows, len(batch) - begin))
        rows = joined([self.last, *released])
        times = rows.time
        assert times is not None
        reached = np.concatenate([self.reached, times[len(self.last) :]])
        slots = self._slots(rows)
        order = np.lexsort((times, slots))
        rows, times, reached, slots = rows.take(order), times[order], reached[order], slots[order]
        lasting = _later(times + 1, self.node.up_to)
        limits = np.minimum(lasting, until)
        followed = slots[1:] == slots[:-1]
        # Up to the next row of the key: windows that end by its last instant end before it does.
        limits[:-1][followed] = np.minimum(limits[:-1], times[1:])[followed]
        for gaps in self.grid.following(reached, limits):
            yield self._filled(rows.rows, gaps)
        kept = np.flatnonzero(np.append(~followed, True)[: len(slots)] & (lasting > until))
        self.last, self.reached = rows.take(kept), reached[kept]
        self._forget(slots, slots[kept])

    def _filled(self, rows: pa.RecordBatch, gaps: Gaps) -> Batch:
        after = pa.array(gaps.after)
        bounds = [as_times(times, self.bounds_type) for times in (gaps.starts, gaps.ends)]
        columns = [column.take(after) for column in rows.columns[: len(self.keys)]] + bounds
        for column, value in zip(rows.columns[len(columns) :], self.node.values, strict=True):
            if value is None:
                columns.append(column.take(after))
            else:
                columns.append(value.take(pa.array(np.zeros(len(after), dtype=np.int64))))
        return Batch(pa.RecordBatch.from_arrays(columns, schema=self.node.schema), gaps.ends - 1)

    def _slots(self, rows: Batch) -> Int64s:
        assert rows.time is not None
        if self.table is None:
            return np.zeros(len(rows), dtype=np.int64)
        return self.table.put(rows.rows.select(self.keys), [], rows.time)

    def _forget(self, seen: Int64s, kept: Int64s) -> None:
        """Lets go of the keys of which no row is kept."""
        if self.table is not None:
            gone = np.setdiff1d(seen, kept)
            if len(gone):
                self.table.free(gone)  # the rows that are kept say their keys themselves

    # Barriers and looks.

    def snapshot(self) -> State:
        """The rows that wait, and the last row of each key."""
        schema = with_fields(self.node.schema, [pa.field("event_time", _TIME), pa.field("reached", _TIME)])
        times = [pa.array(times).view(_TIME) for times in (self.last.time, self.reached)]
        last = pa.Table.from_arrays([*self.last.rows.columns, *times], schema=schema)
        return {"waiting": self.waiting.snapshot(self.node.schema), "last": last}

    def restore(self, state: State) -> None:
        """Takes in this worker's rows."""
        if "waiting" in state:
            self.waiting.restore(state["waiting"])
        if "last" in state:
            for batch in state["last"].combine_chunks().to_batches():
                *columns, times, reached = batch.columns
                rows = pa.RecordBatch.from_arrays(columns, schema=self.node.schema)
                self.last = joined([self.last, Batch(rows, np.asarray(times.view(pa.int64())))])
                self.reached = np.concatenate([self.reached, np.asarray(reached.view(pa.int64()))])
        self.next_end = MIN_TIME

    def open_windows(self) -> tuple[int, int | None]:
        """1 while results wait."""
        return (1, self.waiting.low) if self.waiting.rows else (0, None)

    def open_rows(self) -> int:
        """Results that wait."""
        return self.waiting.rows


def _no_rows(schema: pa.Schema) -> Batch:
    rows = pa.RecordBatch.from_arrays([pa.nulls(0, kind) for kind in schema.types], schema=schema)
    return Batch(rows, np.empty(0, dtype=np.int64))


def _later(times: Int64s, by: int) -> Int64s:
    """times + by, held at the end of time."""
    return np.where(times > MAX_TIME - by, MAX_TIME, times + np.int64(by))
