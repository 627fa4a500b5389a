"""A running aggregate with all of its states: one row for each key and time, for those who look back.

A table yields a change for each key that rows have touched since the last watermark: what stood there in
between is not seen. Here it is. Where the states are words they are written down row by row in one
compiled loop; others are added time by time, all keys side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan
from streamlib.aggregates.accumulators import Style
from streamlib.contracts import Operator, Output
from streamlib.elements import Batch
from streamlib.graph import BuildContext
from streamlib.kernels.columns import word_column
from streamlib.kernels.rolling import HEAD
from streamlib.kernels.row_functions import begin_anew
from streamlib.operators.tables.running import RunningAggregateNode
from streamlib.operators.tables.running_operator import TableOperator
from streamlib.operators.tables.table_step import UPDATE
from streamlib.state import Order, OrderedBuffer, joined
from streamlib.state.pane import address
from streamlib.state.rolling import rolling_source

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class HistoryNode(RunningAggregateNode):
    """A running aggregate, with a change for each key and time."""

    kind: ClassVar[str] = "history"

    def timing_because(self) -> str | None:
        return None

    def build(self, context: BuildContext) -> Operator:
        return HistoryOperator(self, context)


def in_words(plan: AccumulatorPlan) -> bool:
    """Whether `add_up` of `rolling_source` can work on a plan."""
    styles = {place.accumulator.style for place in plan.placed}
    nested = any(place.by is not None for place in plan.placed)
    return not (plan.ordered or plan.kept or plan.collected or nested) and styles <= {
        Style.NULL,
        Style.VALUE,
    }


class HistoryOperator(TableOperator):
    """Rows that wait, and the state of each key as of what has been released."""

    def __init__(self, node: HistoryNode, context: BuildContext) -> None:
        super().__init__(node, context)
        kept = len(node.inputs[0].schema.names if node.sorts else self.keys)
        self.waiting = OrderedBuffer(Order.COLUMNS if node.sorts else Order.TIME, kept)
        plan = self.table.plan
        self.in_words = in_words(plan)
        self._template = plan.initial
        self._call = np.zeros(rolling_source.CALL_INPUTS + 3 * len(plan.input_types), dtype=np.int64)

    def _add_until(self, before: int | None) -> Iterator[Output]:
        released = self.waiting.release(before)
        if not released:
            return
        rows = joined(released)
        if self.in_words:
            yield from self._at_once(rows)
            return
        for part in self._moments(rows):
            yield from self._changes(self._add([part]))

    def _at_once(self, rows: Batch) -> Iterator[Batch]:
        """Adds rows in their order, and yields the last state of each key and time."""
        assert rows.time is not None
        times = np.ascontiguousarray(rows.time)
        slots = self.table.find(rows.rows.select(self.keys))
        count = self.table.count
        touched = self.table.touched(slots, times)
        places = np.empty(count, dtype=np.int64)
        places[touched.slots] = np.arange(len(touched.slots))
        state = self.table.read(touched.slots)
        words = np.ascontiguousarray(state.state)
        fresh = np.empty(len(slots), dtype=np.uint8)
        known, last = self.known.upto(count).view(np.uint8), self.last.upto(count)
        begin_anew(slots, times, known, last, self.node.ttl or 0, fresh)
        states = self._added(rows, places[slots], times, fresh, words)
        self.table.put_back(touched.slots, words)
        if self.expiry is not None:
            self.expiry.file(touched.slots, last)
        chosen = _last_of_each(slots, times)
        for begin in range(0, len(chosen), self.batch_rows):
            part = chosen[begin : begin + self.batch_rows]
            keys = state.keys.take(pa.array(places[slots[part]]))
            yield Batch(self._finished(keys, states[part]), times[part])

    def _added(
        self, rows: Batch, places: Int64s, times: Int64s, fresh: npt.NDArray[np.uint8], words: Int64s
    ) -> Int64s:
        """The state behind each row; `words` becomes the last one of each key."""
        plan, call, layout = self.table.plan, self._call, rolling_source
        out = np.empty((len(places), len(plan.words)), dtype=np.int64)
        call[layout.CALL_SLOTS], call[layout.CALL_OUT] = address(words), address(out)
        call[layout.CALL_ROW_SLOTS], call[layout.CALL_TIMES] = address(places), address(times)
        call[layout.CALL_FRESH] = address(fresh)
        call[layout.CALL_TEMPLATE] = address(self._template) - 8 * HEAD
        columns = [word_column(column) for column in plan.columns(self.inputs.inputs_of(rows.rows))]
        for index, column in enumerate(columns):
            at = layout.CALL_INPUTS + 3 * index
            call[at : at + 3] = column.values, column.validity, column.bit
        layout.cumulative_kernel(plan)(0, len(places), call)
        return out

    def _finished(self, keys: pa.RecordBatch, states: Int64s) -> pa.RecordBatch:
        """The table's rows of some states."""
        finished = self.table.plan.finish(states)
        given: Any = keys.select([])
        if finished:
            given = pa.RecordBatch.from_arrays(finished, schema=self.node.aggregation.intermediate)
        columns = dict(zip(self.node.expressions, self.finals.evaluate(given), strict=True))
        columns |= dict(zip(self.keys, keys.columns, strict=True))
        columns[self.node.added.name] = pa.repeat(pa.scalar(UPDATE), keys.num_rows)
        return pa.RecordBatch.from_arrays(
            [columns[name] for name in self.node.columns], schema=self.node.schema
        )

    def _moments(self, rows: Batch) -> Iterator[Batch]:
        """Rows in parts that have one time of each key: the first one of all keys, then their second, and so on."""
        assert rows.time is not None
        slots = self.table.find(rows.rows.select(self.keys))
        order = np.argsort(slots, kind="stable")
        slot, time = slots[order], rows.time[order]
        new_key = np.ones(len(order), dtype=np.bool_)
        new_key[1:] = slot[1:] != slot[:-1]
        begins = new_key.copy()
        begins[1:] |= time[1:] != time[:-1]
        number = np.cumsum(begins)
        moment: Int64s = number - np.maximum.accumulate(np.where(new_key, number, 0))
        parts = order[np.argsort(moment, kind="stable")]
        end = 0
        for size in np.bincount(moment).tolist():
            begin, end = end, end + size
            yield rows.take(np.sort(parts[begin:end]))


def _last_of_each(slots: Int64s, times: Int64s) -> Int64s:
    """The last row of each slot and time, of rows in the order of time."""
    order = np.argsort(slots, kind="stable")
    slot, time = slots[order], times[order]
    last = np.ones(len(order), dtype=np.bool_)
    last[:-1] = (slot[1:] != slot[:-1]) | (time[1:] != time[:-1])
    return np.sort(order[last])
