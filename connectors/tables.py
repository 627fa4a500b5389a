"""Places for tables: of all changes only the last state of each key is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.aggregates import AccumulatorPlan
from streamlib.connectors.console import PrintSink
from streamlib.contracts import Sink, SinkWriter
from streamlib.errors import SinkError
from streamlib.state import SlotTable

GATHERED_ROWS_MIN = 65_536
"""Changes that are gathered before those that are out of date are dropped."""


class LastState:
    """The current rows of a table, made from its changes.

    Memory is that of about twice the rows of the table.

    Args:
        schema: of the changes: the table's columns, and ``change`` as the last.
        keys: the key columns.

    >>> schema = pa.schema({"k": pa.string(), "n": pa.int64(), "change": pa.string()})
    >>> state = LastState(schema, ["k"])
    >>> state.apply(pa.record_batch([["a", "b"], [1, 1], ["insert", "insert"]], schema=schema))
    >>> state.apply(pa.record_batch([["a", "b"], [2, 1], ["update", "delete"]], schema=schema))
    >>> state.table().to_pylist()
    [{'k': 'a', 'n': 2}]
    """

    def __init__(self, schema: pa.Schema, keys: Sequence[str]) -> None:
        self._schema = schema
        self._keys = list(keys)
        self._current = schema.empty_table()
        self._gathered: list[pa.RecordBatch] = []
        self._rows = 0

    def apply(self, changes: pa.RecordBatch) -> None:
        """Takes changes, the later ones of a key behind the earlier."""
        self._gathered.append(changes)
        self._rows += changes.num_rows
        if self._rows > max(GATHERED_ROWS_MIN, self._current.num_rows):
            self._settle()

    def table(self) -> pa.Table:
        """The current rows, without ``change``, in no particular order."""
        self._settle()
        return self._current.drop_columns([self._schema.names[-1]])

    def _settle(self) -> None:
        if not self._gathered:
            return
        gathered = pa.Table.from_batches(self._gathered, self._schema)
        changes = pa.concat_tables([self._current, gathered]).combine_chunks()
        self._gathered, self._rows = [], 0
        if not changes.num_rows:
            return
        rows = changes.to_batches()[0].select(self._keys)
        slots = SlotTable(list(rows.schema), AccumulatorPlan([])).find(rows)
        newest = np.zeros(int(slots.max()) + 1, dtype=np.int64)
        newest[slots] = np.arange(len(slots))  # of equal slots the last one stays
        changes = changes.take(pa.array(np.sort(newest)))
        self._current = changes.filter(pc.not_equal(changes.column(-1), "delete"))


class TableSink(Sink):
    """Keeps the last state of a table in memory; `table()` gives it after the run, sorted by key.

    >>> import streamlib as sl
    >>> rows = pa.table({"ts": pa.array([1, 2], pa.timestamp("s")), "k": ["a", "a"]})
    >>> counts = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k").agg(n=sl.count())
    >>> sink = TableSink()
    >>> _ = sl.run(counts.write(sink))
    >>> sink.table().to_pylist()
    [{'k': 'a', 'n': 2}]
    """

    guarantee = "exactly_once"
    accepts_upserts = True

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._schema: pa.Schema | None = None
        self._states: dict[int, LastState] = {}
        self._visible: list[LastState] | None = None

    def for_table(self, keys: Sequence[str]) -> Sink:
        self._keys = list(keys)
        return self

    def prepare(self, schema: pa.Schema) -> None:
        assert self._keys, "for_table comes first"
        self._schema, self._states, self._visible = schema, {}, None

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        self._states[worker] = LastState(schema, self._keys)
        return TableWriter(self._states[worker], worker)

    def commit(self, staged: Sequence[Any]) -> None:
        self._visible = [self._states[worker] for worker in sorted(staged)]

    def table(self) -> pa.Table:
        """The table's rows.

        Raises:
            SinkError: the run has not ended well.
        """
        if self._visible is None or self._schema is None:
            raise SinkError("there are no rows yet", hint="they are here when the run has ended")
        rows = pa.concat_tables([state.table() for state in self._visible])
        by = {key: _sortable(rows[key]) for key in self._keys if not pa.types.is_null(rows[key].type)}
        if not by:
            return rows
        return rows.take(pc.sort_indices(pa.table(by), [(key, "ascending") for key in by]))

    def describe(self) -> str:
        return "the last state"


def _sortable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column; half floats, which Arrow does not sort, as wider ones."""
    return column.cast(pa.float32()) if pa.types.is_float16(column.type) else column


class TableWriter(SinkWriter):
    """Takes the changes of one worker's keys."""

    def __init__(self, state: LastState, worker: int) -> None:
        self._state, self._worker = state, worker

    def write(self, rows: pa.RecordBatch) -> None:
        self._state.apply(rows)

    def finish(self) -> int:
        return self._worker


class PrintTableSink(TableSink):
    """Prints the last state of a table when the run has ended well, sorted by key.

    Args:
        rows: how many rows are printed.
        file: where to; standard output when None.
    """

    def __init__(self, rows: int = 20, file: TextIO | None = None) -> None:
        super().__init__()
        self._printed = PrintSink(rows=rows, file=file)
        self._rows = rows

    def commit(self, staged: Sequence[Any]) -> None:
        super().commit(staged)
        table = self.table()
        self._printed.prepare(table.schema)
        writer = self._printed.open(table.schema, 0)
        for batch in table.to_batches():
            writer.write(batch)
        self._printed.commit([writer.finish()])

    def describe(self) -> str:
        return f"print {self._rows} rows of the last state"
