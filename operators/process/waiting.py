"""The rows of several inputs as they wait, and as they come out: in one order, as Python values.

Rows of one time come in the order of the inputs, the broadcast ones first: what a rule says holds from its
own time on. Within an input it is (time, order), or all columns where the rows are results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Tagged
from streamlib.elements import MAX_TIME, MIN_TIME, Batch
from streamlib.graph import BuildContext
from streamlib.operators.functions.values import python_values
from streamlib.operators.joins.sides import keys_of, plain
from streamlib.operators.process.node import ProcessNode
from streamlib.state import Order, OrderedBuffer, joined, with_fields
from streamlib.state.key_columns import canonical_floats

TIME = pa.timestamp("ns", "UTC")
COPY = [pa.field("reached", TIME), pa.field("worker", pa.int64())]
"""Of what all workers have alike, which copy a row of a snapshot is of: of a worker that had reached that time."""

Turned = tuple[int, Any, dict[str, Any], int]
"""Event time, key, row and input."""
NAN = float("nan")
"""The one NaN among keys: a dict finds an object that is itself."""


def keys_as_values(keys: pa.RecordBatch) -> list[Any]:
    """The key of each row: a value, or a tuple of several."""
    columns = []
    for column in canonical_floats(keys).columns:
        values = python_values(column)
        if pa.types.is_floating(column.type):
            values = [NAN if value != value else value for value in values]
        columns.append(values)
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


class Released:
    """Some rows of several inputs, in their order.

    Args:
        node: the step.
        batches: by input, its rows.
        sides: of each row, its input.
    """

    def __init__(self, node: ProcessNode, batches: dict[int, Batch], sides: npt.NDArray[np.int64]) -> None:
        self._node, self.batches, self._sides = node, batches, sides

    def turns(self) -> Iterator[Turned]:
        """The rows. Those of one input alone are not touched one by one."""
        assert sum(map(len, self.batches.values())) == len(self._sides), "each row has its turn"
        if len(self.batches) == 1:
            ((side, batch),) = self.batches.items()
            return zip(*self._columns(batch, side), repeat(side))
        return self._merged()

    def _merged(self) -> Iterator[Turned]:
        found = {side: zip(*self._columns(batch, side), repeat(side)) for side, batch in self.batches.items()}
        for side in self._sides.tolist():
            yield next(found[side])

    def _columns(
        self, batch: Batch, side: int
    ) -> tuple[Iterable[int], Iterable[Any], Iterable[dict[str, Any]]]:
        assert batch.time is not None
        node = self._node
        keys: Iterable[Any] = repeat(None)
        if not node.broadcasts(side):
            keys = keys_as_values(keys_of(batch.rows, node.on[side], node.key_fields_of[side]))
        return batch.time.tolist(), keys, rows_as_dicts(batch.rows, columns_read(node, side))


def columns_read(node: ProcessNode, side: int) -> list[str]:
    """The columns that a row has as it is handed over."""
    arguments = node.processor.methods[side].arguments
    assert arguments is not None
    return node.inputs[side].schema.names if arguments.columns is None else list(arguments.columns)


def rows_as_dicts(rows: pa.RecordBatch, names: list[str]) -> Iterable[dict[str, Any]]:
    """Each row as a dict, made one by one."""
    if not names:
        return ({} for _ in range(rows.num_rows))
    values = [python_values(rows.column(name)) for name in names]
    if len(names) == 1:
        (a,), (column,) = names, values
        return ({a: x} for x in column)
    if len(names) == 2:
        a, b = names
        return ({a: x, b: y} for x, y in zip(*values, strict=True))
    if len(names) == 3:
        a, b, c = names
        return ({a: x, b: y, c: z} for x, y, z in zip(*values, strict=True))
    return map(dict, map(zip, repeat(names), zip(*values, strict=True)))  # twice the time of these


def _first(batches: deque[Batch], rows: int) -> Batch:
    """Takes so many rows, the first ones, out of batches that follow one another."""
    found = []
    while rows:
        batch = batches.popleft()
        if len(batch) > rows:
            batches.appendleft(batch.slice(rows, len(batch) - rows))
            batch = batch.slice(0, rows)
        found.append(batch)
        rows -= len(batch)
    return joined(found)


class Waiting:
    """The rows of all inputs that nothing has passed yet.

    Attributes:
        late: how many rows of each input were refused.
        late_by_max: by how much the latest had missed its turn, ns.
    """

    def __init__(self, node: ProcessNode, context: BuildContext) -> None:
        self.node = node
        self.batch_rows = context.batch_rows
        self.late = [0] * len(node.inputs)
        self.late_by_max = 0
        self._late_read = context.late_read
        self._worker = context.worker
        self._keeps_all = context.refuse
        self._schemas: list[pa.Schema | None] = [None] * len(node.inputs)
        self._buffers = [
            OrderedBuffer(Order.COLUMNS if sorts else Order.TIME, len(source.schema))
            for sorts, source in zip(node.sorts_side, node.inputs, strict=True)
        ]
        self._copies: dict[int, tuple[int, int]] = {}  # by input, the copy that was taken in
        broadcast = range(node.keyed, len(node.inputs))
        self._precedence = [*broadcast, *range(node.keyed)]

    @property
    def rows(self) -> int:
        """How many wait."""
        return sum(buffer.rows for buffer in self._buffers)

    @property
    def low(self) -> int:
        """The earliest time of those, ns; MAX_TIME when there are none."""
        return min((buffer.low for buffer in self._buffers), default=MAX_TIME)

    def add(self, batch: Batch, side: int) -> Tagged | None:
        """Has rows wait; gives those that are late, if somebody reads them."""
        assert batch.time is not None
        tagged = None
        if batch.mark is not None:
            lateness = self.node.allowed_lateness
            due = np.maximum(batch.mark, MIN_TIME + lateness) - np.int64(lateness)
            late = due > batch.time
            if late.any():
                tagged = self._refused(batch.filter(late), due[late] - batch.time[late], side)
                batch = batch.filter(~late)
        schema = self._schema(side, batch.rows.schema)
        columns = [plain(batch.rows.column(name)) for name in schema.names]
        self._buffers[side].add(batch.with_rows(pa.RecordBatch.from_arrays(columns, schema=schema)))
        return tagged

    def _schema(self, side: int, given: pa.Schema) -> pa.Schema:
        """The columns that are kept: those that are needed, or all where a refused row goes out whole."""
        schema = self._schemas[side]
        if schema is None:
            names = given.names if self._keeps_all else self.node.columns_of(side)
            plain_schema = self.node.plain_schemas[side]
            schema = self._schemas[side] = pa.schema([plain_schema.field(name) for name in names])
        return schema

    def _refused(self, refused: Batch, over: npt.NDArray[np.int64], side: int) -> Tagged | None:
        if self.node.broadcasts(side) and self._worker:
            return None  # each worker has them, the first one says so
        self.late[side] += len(refused)
        self.late_by_max = max(self.late_by_max, int(over.max()))
        schema = self.node.late_schema_of(side) if self._late_read else None
        if schema is None or refused.rows.num_columns < len(schema) - 1:
            return None
        columns = [*refused.rows.columns, pa.array(over, pa.duration("ns"))]
        rows = pa.RecordBatch.from_arrays(columns, schema=schema)
        batch = Batch(rows, refused.time, refused.mark, refused.order, refused.origin)
        return Tagged(self.node.late_tag(side), batch)

    def check(self, batch: Batch, side: int) -> None:
        """Raises DataError for a value that Python has none for."""
        for name in columns_read(self.node, side):
            python_values(plain(batch.rows.column(name)))

    def release(self, before: int | None) -> Iterator[Released]:
        """Takes out the rows with a time below `before`, ns, or all; at most `batch_rows` at a time."""
        taken = {side: deque(self._buffers[side].release(before)) for side in self._precedence}
        found = [(side, batch) for side, batches in taken.items() for batch in batches]
        if not found:
            return
        sides = np.repeat([side for side, _ in found], [len(batch) for _, batch in found])
        if any(side != found[0][0] for side, _ in found):
            times = np.concatenate([batch.time for _, batch in found if batch.time is not None])
            sides = sides[np.argsort(times, kind="stable")]
        for begin in range(0, len(sides), self.batch_rows):
            part = sides[begin : begin + self.batch_rows]
            counts = np.bincount(part).tolist()
            rows = {side: _first(taken[side], count) for side, count in enumerate(counts) if count}
            yield Released(self.node, rows, part)

    def snapshot(self, reached: int) -> dict[str, pa.Table]:
        """The rows that wait, by the name of their input; of broadcast ones with whose copy it is."""
        found = {}
        for side, buffer in enumerate(self._buffers):
            schema = self._schemas[side]
            if schema is None:
                continue
            table = buffer.snapshot(schema)
            if self.node.broadcasts(side):
                count = table.num_rows
                copy = [
                    pa.array([reached] * count, pa.int64()).view(TIME),
                    pa.array([self._worker] * count, pa.int64()),
                ]
                whole = with_fields(table.schema, COPY)
                table = pa.Table.from_arrays([*table.columns, *copy], schema=whole)
            found[f"waiting_{self._name(side)}"] = table
        return found

    def restore(self, name: str, table: pa.Table) -> None:
        """Takes in rows that wait. Of several copies the one that had come least far has all rows of the others."""
        side = self.node.side_of(name)
        if self.node.broadcasts(side):
            if not table.num_rows:
                return
            copies = list(
                zip(
                    *(c.to_pylist() for c in (table.column(-2).cast(pa.int64()), table.column(-1))),
                    strict=True,
                )
            )
            chosen = min(copies)
            known = self._copies.get(side, chosen)
            if known < chosen:
                return
            if known > chosen:
                self._buffers[side].release(None)
            self._copies[side] = chosen
            table = table.filter(pa.array([copy == chosen for copy in copies]))
            table = table.select(list(range(table.num_columns - 2)))
        self._schemas[side] = pa.schema(list(table.schema)[:-2])
        self._buffers[side].restore(table)

    def _name(self, side: int) -> str:
        from streamlib.operators.process.methods import FIRST

        return FIRST if side == 0 else self.node.names[side - 1]
