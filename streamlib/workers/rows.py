"""Rows between processes: Arrow IPC in shared memory, with the hidden columns in front of it. Nothing is pickled.

The receiver reads them where they lie; the memory goes when the last array over it has gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamlib.elements import Batch, Origin
from streamlib.workers.segments import Segment
from streamlib.workers.wire import INLINE_BYTES_MAX, Part

_ALIGNED = 64


def write_rows(batches: Sequence[pa.RecordBatch], schema: pa.Schema, hidden: Sequence[Any] = ()) -> Part:
    """A part that holds `hidden`, int64 columns of one length, and then the batches as an Arrow stream."""
    front = _front(hidden)
    counted = pa.MockOutputStream()
    _stream_to(counted, batches, schema)
    total = front + counted.size()
    if total <= INLINE_BYTES_MAX:
        memory: Any = bytearray(total)
        part: Part = memory
    else:
        part = Segment(total)
        memory = part.memory
    at = 0
    for column in hidden:
        np.frombuffer(memory, np.int64, len(column), at)[:] = column
        at += column.nbytes
    rest = pa.py_buffer(memoryview(memory)[front:])
    _stream_to(pa.FixedSizeBufferWriter(rest), batches, schema)
    return part


def read_rows(part: Any, hidden: int = 0, rows: int = 0) -> tuple[list[Any], list[pa.RecordBatch]]:
    """The hidden columns of a part, `hidden` of them with `rows` values each, and its batches."""
    columns = [np.frombuffer(part, np.int64, rows, i * rows * 8) for i in range(hidden)]
    stream = pa.ipc.open_stream(pa.py_buffer(part).slice(_front(columns)))
    return columns, list(stream)


def _front(hidden: Sequence[Any]) -> int:
    return -(-sum(column.nbytes for column in hidden) // _ALIGNED) * _ALIGNED


def _stream_to(sink: Any, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def write_batch(batch: Batch) -> tuple[list[Any], Part]:
    """A batch as values for a message, and its part."""
    order = batch.order
    columns = [batch.time, batch.mark, None if isinstance(order, int) else order]
    there = [column for column in columns if column is not None]
    about = [
        len(batch),
        [column is not None for column in columns],
        int(order) if isinstance(order, int) else None,
        _origin_values(batch.origin),
    ]
    return about, write_rows([batch.rows], batch.rows.schema, there)


def read_batch(about: Sequence[Any], part: Any) -> Batch:
    """The batch of `write_batch`."""
    rows, there, first, origin = about
    columns, batches = read_rows(part, sum(there), rows)
    found = iter(columns)
    time, mark, order = (next(found) if one else None for one in there)
    return Batch(
        batches[0], time, mark, order if first is None else first, None if origin is None else Origin(*origin)
    )


def _origin_values(origin: Origin | None) -> list[Any] | None:
    if origin is None:
        return None
    return [
        origin.split,
        origin.block,
        origin.name,
        origin.first_row,
        origin.first_line,
        origin.among,
    ]


def write_table(table: pa.Table) -> Part:
    """A table as a part."""
    return write_rows(table.to_batches(), table.schema)


def read_table(part: Any) -> pa.Table:
    """The table of `write_table`."""
    return pa.ipc.open_stream(pa.py_buffer(part)).read_all()
