"""The keys of a processor as open data, and back; and the rows that it refuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import numpy as np
import pyarrow as pa

from streamlib.elements import Batch
from streamlib.errors import UserFunctionError
from streamlib.operators.functions.arrays import Misfit, array_of
from streamlib.operators.functions.brief import brief
from streamlib.operators.process.node import ProcessNode
from streamlib.operators.process.states import Bound, Cells
from streamlib.operators.process.timers import KeyState, Timers
from streamlib.operators.process.waiting import COPY, TIME, keys_as_values
from streamlib.state import with_fields

TIMER = pa.struct([pa.field("name", pa.string(), False), pa.field("time", TIME, False)])


class SavedKeys:
    """Makes tables of keys.

    Args:
        node: the step.
        states: of the object, by name.
    """

    def __init__(self, node: ProcessNode, states: Mapping[str, Bound]) -> None:
        self.node = node
        self._own = [bound for bound in states.values() if not bound.shared]
        self._shared = [bound for bound in states.values() if bound.shared]
        self._copy: tuple[int, int] | None = None

    @cached_property
    def _schema(self) -> pa.Schema:
        fields = [pa.field("last_time", TIME), pa.field("timers", pa.list_(TIMER))]
        fields += [pa.field(bound.name, bound.spec.type) for bound in self._own]
        return with_fields(pa.schema(self.node.key_fields_of[0]), fields)

    @cached_property
    def _shared_schema(self) -> pa.Schema:
        return pa.schema([*COPY, *(pa.field(bound.name, bound.spec.type) for bound in self._shared)])

    def is_empty(self, state: KeyState) -> bool:
        """Whether a key that was never met would be no different."""
        return all(bound.spec.is_empty(state.cells) for bound in self._own) and not state.pending()

    def keys(self, states: Iterable[KeyState]) -> pa.Table:
        """The key columns, the time of the last row, timers, and a column for each state."""
        found = [state for state in states if not self.is_empty(state)]
        keys = [state.key if len(self.node.on[0]) > 1 else (state.key,) for state in found]
        columns = [
            array_of([key[place] for key in keys], field.type)
            for place, field in enumerate(self.node.key_fields_of[0])
        ]
        columns.append(_instants([state.last for state in found]))
        columns.append(_timers(found))
        columns += [self._column(bound, [state.cells for state in found], found) for bound in self._own]
        return pa.Table.from_arrays(columns, schema=self._schema)

    def shared(self, cells: Cells, reached: int, worker: int) -> pa.Table:
        """What all keys share, as one row, with whose copy it is."""
        columns = [_instants([reached]), pa.array([worker], pa.int64())]
        columns += [self._column(bound, [cells], []) for bound in self._shared]
        return pa.Table.from_arrays(columns, schema=self._shared_schema)

    def _column(self, bound: Bound, cells: list[Cells], states: list[KeyState]) -> pa.Array:
        try:
            return bound.spec.column(cells)
        except Misfit as error:
            key = f"key {brief(states[error.index].key)}" if states else None
            raise UserFunctionError(
                f"{self.node.processor.name}: {error.problem}",
                where=key,
                expected=error.expected,
                got=error.got,
                hint="a value that is changed in place is not checked: assign it again instead",
            ) from error

    def take(self, table: pa.Table, timers: Timers) -> Iterator[KeyState]:
        """The keys of a snapshot; sets their timers."""
        at = len(self.node.key_fields_of[0])
        for rows in table.to_batches():
            if not rows.num_rows:
                continue
            keys = pa.RecordBatch.from_arrays(rows.columns[:at], schema=pa.schema(self.node.key_fields_of[0]))
            states = [KeyState(key) for key in keys_as_values(keys)]
            for state, last in zip(states, rows.column(at).cast(pa.int64()).to_pylist(), strict=True):
                state.last = last
            for bound, column in zip(self._own, rows.columns[at + 2 :], strict=True):
                bound.spec.load(column, [state.cells for state in states], bound)
            _set(rows.column(at + 1), states, timers)
            yield from states

    def take_shared(self, table: pa.Table, cells: Cells) -> int | None:
        """Takes the copy that had come least far: rows that wait lead from it on. Gives the time it had reached."""
        for rows in table.to_batches():
            for place in range(rows.num_rows):
                row = rows.slice(place, 1)
                copy = (row.column(0).cast(pa.int64())[0].as_py(), row.column(1)[0].as_py())
                if self._copy is not None and self._copy <= copy:
                    continue
                self._copy = copy
                cells.clear()
                for bound, column in zip(self._shared, row.columns[2:], strict=True):
                    bound.spec.load(column, [cells], bound)
        return None if self._copy is None else self._copy[0]


def _instants(times: list[int]) -> pa.Array:
    return pa.array(np.array(times, dtype=np.int64)).view(TIME)


def _timers(states: list[KeyState]) -> pa.Array:
    """The timers of each key, the earliest first."""
    each = [sorted((due, name) for name, due in state.pending().items()) for state in states]
    flat = [timer for timers in each for timer in timers]
    offsets = np.cumsum([0, *map(len, each)])
    names, dues = pa.array([name for _, name in flat], pa.string()), _instants([due for due, _ in flat])
    items = pa.StructArray.from_arrays([names, dues], fields=list(TIMER))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items, type=pa.list_(TIMER))


def _set(column: pa.Array, states: list[KeyState], timers: Timers) -> None:
    flat = column.flatten()
    names, dues = flat.field(0).to_pylist(), flat.field(1).cast(pa.int64()).to_pylist()
    begin = 0
    for state, count in zip(states, column.value_lengths().to_pylist(), strict=True):
        for name, due in zip(names[begin : begin + count], dues[begin : begin + count], strict=True):
            timers.set(state, name, due)
        begin += count


def refused_rows(
    node: ProcessNode, place: tuple[Batch, int, int] | None, state: KeyState | None, time: int
) -> Batch:
    """The row of a dead letter: that of the first input; of others, and of timers, what there is of its columns.

    Args:
        node: the step.
        place: the batch, the row and the input; None for a timer.
        state: of the key; None for a row of a broadcast input.
        time: of the row or timer, ns.
    """
    known: dict[str, pa.Array] = {}
    if place is not None:
        batch, row, _ = place
        one = batch.rows.slice(row, 1)
        known = dict(zip(one.schema.names, one.columns, strict=True))
    if state is not None:
        keys = state.key if len(node.on[0]) > 1 else (state.key,)
        for field, name, key in zip(node.key_fields_of[0], node.on[0], keys, strict=True):
            known[name] = array_of([key], field.type)
    whole = place is None or place[2] != 0 or len(known) == len(node.refused_schema)
    columns, fields = [], []
    for field in node.refused_schema:
        found = known.get(field.name)
        if found is None and not whole:
            continue
        if found is None or (
            found.type != field.type and place is not None and place[2] != 0 and field.name not in node.on[0]
        ):
            found = pa.nulls(1, field.type)
        columns.append(found if found.type == field.type else found.cast(field.type))
        fields.append(field)
    rows = pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
    return Batch(rows, np.array([time], dtype=np.int64))
