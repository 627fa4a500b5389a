"""Previews of open windows: which results have changed since they were last shown, and whether it is time.

It is time when the watermark has come into another span of event time than the one before. A preview
has all rows that have come so far, so which previews are seen is timing; the results that follow are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan
from streamlib.contracts import State
from streamlib.elements import MAX_TIME, MIN_TIME
from streamlib.kernels.columns import decoded, decoded_type
from streamlib.operators.tables.table_step import INSERT, UPDATE
from streamlib.operators.windows.corrections import taken
from streamlib.operators.windows.panes import FixedPanes, Panes, Ripe
from streamlib.state import PaneStore, SlotColumn, SlotTable, with_fields

Int64s = npt.NDArray[np.int64]
Kinds = npt.NDArray[np.str_]


class Previews:
    """What has been shown of open windows.

    Args:
        panes: the open windows.
        every: the length of the spans, ns.
        key_fields: the key columns.
        plan: what is aggregated.
    """

    def __init__(
        self, panes: Panes, every: int, key_fields: Sequence[pa.Field], plan: AccumulatorPlan
    ) -> None:
        self._panes = panes
        self._pace = Pace(every)
        self._fields = [field.with_type(decoded_type(field.type)) for field in key_fields]
        self._scratch = PaneStore(key_fields, plan)
        self._shown: dict[int, _Shown] = {}

    def due(self, watermark: int) -> Iterator[tuple[Ripe, Kinds]]:
        """The open windows with the keys that changed, and what their rows do to the table; nothing between spans."""
        if not self._pace.has_come(watermark):
            return
        for window in self._open():
            shown = self._shown.setdefault(window.number, _Shown(self._fields))
            slots, before = shown.counts(window.closed.keys)
            now = window.closed.state[:, 0]
            which = np.flatnonzero(now != before)
            if len(which):
                shown.rows.upto(shown.size)[slots] = now
                changed = Ripe(window.number, window.start, window.end, taken(window.closed, which))
                yield changed, np.where(before[which] > 0, UPDATE, INSERT)

    def first_results(self, window: Ripe) -> Kinds:
        """What the first results of a window do to the table. Nothing more is shown of it."""
        shown = self._shown.pop(window.number, None)
        if shown is None:
            return np.full(len(window.closed.state), INSERT)
        return np.where(shown.counts(window.closed.keys)[1] > 0, UPDATE, INSERT)

    def _open(self) -> Iterator[Ripe]:
        panes = self._panes
        if isinstance(panes, FixedPanes):
            for start in list(panes.store.starts()):
                yield Ripe(start, start, panes.end_of(start), panes.store.peek(start))
            return
        numbers: set[int] = set()
        for first, last in panes.open_ranges(np.empty(0, dtype=np.int64)):
            numbers.update(range(first, last + 1))
        table = panes.snapshot()["panes"].combine_chunks()
        at = len(self._fields)
        slices, begins = (np.asarray(table.column(n).cast(pa.int64())) for n in (at, table.num_columns - 1))
        kept = table.remove_column(table.num_columns - 1)
        for number in sorted(numbers):
            start, end = panes.bounds_of(number)
            rows = kept.filter(pa.array((slices >= start) & (slices < end) & (begins <= number)))
            if rows.num_rows:
                named = pa.array(np.full(rows.num_rows, number, dtype=np.int64))
                field = rows.schema.field(at)
                self._scratch.restore(rows.set_column(at, field, named.cast(field.type)))
                yield Ripe(number, start, end, self._scratch.pop(number))

    # Barriers.

    @property
    def _schema(self) -> pa.Schema:
        more = [pa.field("window_number", pa.int64()), pa.field("rows_shown", pa.int64())]
        return with_fields(pa.schema(self._fields), more)

    def snapshot(self) -> State:
        """Of each key and window the row count that was shown."""
        parts = []
        for number, shown in self._shown.items():
            keys, rows = shown.all()
            numbers = np.full(len(rows), number, dtype=np.int64)
            columns = [*keys.columns, pa.array(numbers), pa.array(rows)]
            parts.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        return {"previews": pa.Table.from_batches(parts, self._schema)}

    def restore(self, state: State) -> None:
        """Takes in what was shown of this worker's keys."""
        if "previews" not in state:
            return
        for batch in state["previews"].combine_chunks().to_batches():
            numbers, rows = np.asarray(batch.column(-2)), np.asarray(batch.column(-1))
            keys = batch.select(range(len(self._fields)))
            for number in np.unique(numbers).tolist():
                which = numbers == number
                shown = self._shown.setdefault(number, _Shown(self._fields))
                slots, _ = shown.counts(keys.filter(pa.array(which)))
                shown.rows.upto(shown.size)[slots] = rows[which]


class Pace:
    """Whether a watermark has come into another span of event time.

    Args:
        every: the length of the spans, ns.

    >>> pace = Pace(10)
    >>> [pace.has_come(watermark) for watermark in (4, 9, 10, 35, 39)]
    [True, False, True, True, False]
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._last: int | None = None

    def has_come(self, watermark: int) -> bool:
        """Whether it is in another span than the last one."""
        if not MIN_TIME < watermark < MAX_TIME:
            return False
        span = watermark // self._every
        if span == self._last:
            return False
        self._last = span
        return True


class _Shown:
    """The keys of one window, and how many rows their result had when it was shown."""

    def __init__(self, fields: Sequence[pa.Field]) -> None:
        self._schema = pa.schema(list(fields))
        self._table = SlotTable(list(fields), AccumulatorPlan([])) if fields else None
        self.rows = SlotColumn(np.int64, 0)

    @property
    def size(self) -> int:
        """How many keys there are."""
        return 1 if self._table is None else self._table.count

    def counts(self, keys: pa.RecordBatch) -> tuple[Int64s, Int64s]:
        """The place of each key, and the row count that was shown; 0 where none was."""
        if self._table is None:
            slots = np.zeros(keys.num_rows, dtype=np.int64)
        else:
            columns = [decoded(column) for column in keys.columns]
            slots = self._table.find(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        return slots, self.rows.upto(self.size)[slots]

    def all(self) -> tuple[pa.RecordBatch, Int64s]:
        """The keys with their row counts."""
        rows = self.rows.upto(self.size)
        if self._table is None:
            return pa.RecordBatch.from_struct_array(pa.array([{}], pa.struct([]))), rows
        return self._table.read(np.arange(self.size)).keys, rows
