"""What runs for windows by rows and sums: rows in order in, and the windows that they fill out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.contracts import Output, State
from streamlib.elements import Batch
from streamlib.errors import DataError
from streamlib.expr import Program
from streamlib.graph import BuildContext
from streamlib.operators.aggregation import Late
from streamlib.operators.ordered import OrderedOperator, WaitingColumns
from streamlib.operators.windows.results import as_times
from streamlib.operators.windows.rows import RowHops
from streamlib.state import BarTable, HopTable, OverBars

Int64s = npt.NDArray[np.int64]

if TYPE_CHECKING:
    from streamlib.operators.windows.rows_node import RowWindowNode


class MeasuredColumns(WaitingColumns):
    """Rows as they wait, of which those are refused whose sum would be no number."""

    def __init__(self, node: RowWindowNode) -> None:
        super().__init__(node.inputs_of_rows, node.inputs[0].schema)
        self.measure = node.measure
        self._which: Program | None = None

    def evaluate(self, batch: Batch, late: Late | None) -> list[pa.Array]:
        values = super().evaluate(batch, late)
        if self.measure is not None:
            name, measure = self.measure
            if measure.is_column:
                column = batch.rows.column(measure.columns()[0])
                column = column if late is None else column.filter(pa.array(~late))
            else:
                column = values[list(self._computed).index(name)]
            if pa.types.is_floating(column.type) or pa.types.is_dictionary(column.type):
                self._refuse(column, measure, late)
        return values

    def _refuse(self, column: pa.Array, measure: object, late: Late | None) -> None:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
            if not pa.types.is_floating(column.type):
                return
        finite = pc.fill_null(pc.is_finite(column), True)
        wrong = np.flatnonzero(~np.asarray(finite))
        if len(wrong):
            error = DataError(
                f"{measure} is {column[int(wrong[0])]}: a window's sum with it would never be a number again",
                expected="finite numbers; a null adds nothing",
                hint="filter such rows before the window",
            )
            row = int(wrong[0])
            error.row = row if late is None else int(np.flatnonzero(~late)[row])
            raise error


class RowWindowOperator(OrderedOperator):
    """The open window of each of one worker's keys, and the rows that wait to enter them."""

    def __init__(self, node: RowWindowNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self.node = node
        self.columns = MeasuredColumns(node)
        self.keys = list(node.inputs[0].keys)
        self.input_count = len(node.aggregation.inputs)
        self.measure_at = None if node.measure is None else list(node.inputs_of_rows).index(node.measure[0])
        self.table = self._new_table(node.aggregation.plan(ordered=False))  # rows are added in order
        self.finals = Program(node.aggregation.finals, node.aggregation.intermediate)
        self.unfinished = 0

    def _new_table(self, plan: AccumulatorPlan) -> Any:
        return BarTable(self.node.key_fields, plan, self.node.bar_size, self.node.ttl)

    # Rows in.

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Has rows wait; yields those that are late, if somebody reads them."""
        late = self._late_rows(batch)
        self.waiting.add(self.columns.of(self._narrow(batch), late))
        if late is not None:
            tagged = self._refuse_late(batch.filter(late))
            if tagged is not None:
                yield tagged

    def check(self, batch: Batch, side: int = 0) -> None:
        """Raises for a row whose inputs cannot be computed, or added; those of late rows are not."""
        late = self._late_rows(batch)
        taken = self.columns.of(self._narrow(batch), late)
        self.node.aggregation.try_rows(self.columns.inputs_of(taken.rows)[: self.input_count])

    def _narrow(self, batch: Batch) -> Batch:
        """The columns that are read: all where results are brought into order."""
        if self.node.sorts:
            return batch
        return batch.with_rows(
            batch.rows.select([n for n in batch.rows.schema.names if n in self.node.reads])
        )

    def work(self, rows: Batch) -> Iterator[Output]:
        """Adds rows to the windows of their keys; yields those that are over."""
        assert rows.time is not None
        inputs = self.columns.inputs_of(rows.rows)
        measure = None if self.measure_at is None else inputs[self.measure_at]
        keys = rows.rows.select(self.keys)
        yield from self._emit_all(self._add(keys, inputs[: self.input_count], rows.time, measure))

    def _add(
        self, keys: pa.RecordBatch, inputs: Sequence[pa.Array], time: Int64s, measure: pa.Array | None
    ) -> Iterable[OverBars]:
        return [self.table.add(keys, inputs, time, measure)]

    # Windows out.

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Takes the rows that nothing can come before any more, and drops keys that had none for long."""
        yield from super().on_watermark(time)
        yield from self._emit_all(self._expire(self.forward(time)))

    def _expire(self, before: int) -> Iterable[OverBars]:
        over = self.table.expire(before)
        return [] if over is None else [over]

    def on_end(self) -> Iterator[Output]:
        """Takes all rows, and gives up the windows that are not full."""
        yield from super().on_end()
        yield from self._emit_all(self._close_all())

    def _close_all(self) -> Iterable[OverBars]:
        return [self.table.close_all()]

    def tidy(self, before: int) -> None:
        """Keys that go may have results: `on_watermark` lets go of them."""

    def _emit_all(self, windows: Iterable[OverBars]) -> Iterator[Batch]:
        for over in windows:
            yield from self._emit(over)

    def _emit(self, over: OverBars) -> Iterator[Batch]:
        node = self.node
        if not node.window.partial and not over.full.all():
            self.unfinished += int(over.rows[~over.full].sum())
            over = over.only(over.full)
        if not len(over):
            return
        values = pa.RecordBatch.from_arrays(over.closed.results(), schema=node.aggregation.intermediate)
        bounds = [as_times(times, node.bounds_type) for times in (over.first, over.last)]
        complete = [pa.array(over.full)] if node.window.partial else []
        columns = [*over.closed.keys.columns, *bounds, *complete, *self.finals.evaluate(values)]
        result = Batch(pa.RecordBatch.from_arrays(columns, schema=node.schema), over.time)
        for begin in range(0, len(result), self.batch_rows):
            yield result.slice(begin, min(self.batch_rows, len(result) - begin))

    # Barriers and looks.

    def snapshot(self) -> State:
        """The open windows, and the rows that wait."""
        return {**super().snapshot(), "windows": self.table.snapshot()}

    def restore(self, state: State) -> None:
        """Takes in this worker's windows and waiting rows."""
        super().restore(state)
        if "windows" in state:
            self.table.restore(state["windows"])

    def open_windows(self) -> tuple[int, int | None]:
        """Open windows, whose end nobody knows; rows that wait count as one."""
        count, earliest = super().open_windows()
        return len(self.table) + count, earliest

    def open_rows(self) -> int:
        """Rows in the open windows, and those that wait to enter one."""
        return self.table.rows + super().open_rows()

    def counters(self) -> dict[str, int]:
        """Late rows, and rows of windows that were never full."""
        unfinished = self._count_unfinished()
        return {**super().counters(), **({"dropped": unfinished} if unfinished else {})}

    def _count_unfinished(self) -> int:
        return self.unfinished


class RowHopsOperator(RowWindowOperator):
    """The last rows of each of one worker's keys, in slices, and the rows that wait to enter them."""

    def _new_table(self, plan: AccumulatorPlan) -> Any:
        node, window = self.node, self.node.window
        assert isinstance(window, RowHops), "windows that overlap"
        return HopTable(node.key_fields, plan, window.rows, window.every, window.partial, node.ttl)

    def _add(
        self, keys: pa.RecordBatch, inputs: Sequence[pa.Array], time: Int64s, measure: pa.Array | None
    ) -> Iterable[OverBars]:
        over: list[OverBars] = self.table.add(keys, inputs, time)
        return over

    def _expire(self, before: int) -> Iterable[OverBars]:
        over: list[OverBars] = self.table.expire(before)
        return over

    def _close_all(self) -> Iterable[OverBars]:
        over: list[OverBars] = self.table.close_all()
        return over

    def _count_unfinished(self) -> int:
        count: int = self.table.unfinished
        return count
