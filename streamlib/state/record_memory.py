"""Result columns in the memory of the records that they were made of, which nobody needs any more.

A large window would else take new memory for its results while it still has all of its state; on most
systems giving it costs more than computing what goes into it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int64s = npt.NDArray[np.int64]

ROWS_MIN = 16_384
"""Results of fewer rows take memory that was used just before."""
_WORD = 8


def moved_into(memory: Int64s, rows: pa.RecordBatch, kept: Sequence[str]) -> pa.RecordBatch:
    """The rows, with those columns in `memory` that have room there, if they are many.

    Args:
        memory: whole records, which are overwritten: no column refers to them.
        kept: columns that stay where they are.
    """
    if rows.num_rows < ROWS_MIN:
        return rows
    room = memory.reshape(-1).view(np.uint8)
    columns, used = [], 0
    for field, column in zip(rows.schema, rows.columns, strict=True):
        buffers = column.buffers()[1:]
        plain = _is_plain(column.type) and column.null_count == 0 and column.offset == 0
        if not plain or field.name in kept or any(buffer is None for buffer in buffers):
            columns.append(column)
            continue
        sizes = [_padded(buffer.size) for buffer in buffers]
        if used + sum(sizes) > len(room):
            columns.append(column)
            continue
        placed: list[pa.Buffer | None] = [None]
        for buffer, size in zip(buffers, sizes, strict=True):
            part = room[used : used + buffer.size]
            part[:] = np.frombuffer(buffer, dtype=np.uint8)
            placed.append(pa.py_buffer(part))
            used += size
        columns.append(pa.Array.from_buffers(column.type, len(column), placed))
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return True
    return bool(pa.types.is_primitive(kind) and kind.bit_width == 8 * _WORD)


def _padded(size: int) -> int:
    return -(-size // _WORD) * _WORD
