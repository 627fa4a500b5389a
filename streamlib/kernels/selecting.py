"""The rows of a batch that a condition keeps. Where they stand is found once, and each column is copied once.

Rows are found without a branch, so it costs the same whatever is kept. Columns of fixed width and of
text without nulls are copied by kernels; all others by Arrow.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.elements import Batch
from streamlib.kernels._jit import kernel
from streamlib.kernels.hashing import copy_bytes
from streamlib.kernels.memory import (
    I64,
    load_i32,
    load_i64,
    load_u8,
    load_u64,
    store_i32,
    store_i64,
    store_u8,
)

Int64s = npt.NDArray[np.int64]

ROWS_MIN = 2_048
"""Below this Arrow is as fast, and nothing has to be compiled."""
_BYTES_MAX = 2**31 - 1
_ONE = np.uint64(1)
_SEVEN = np.uint64(7)
_ROW_BITS = np.int64(64)


def filtered(batch: Batch, keep: pa.BooleanArray) -> Batch:
    """The rows where `keep`, which has no nulls, is true; as `Batch.filter`."""
    if len(batch) < ROWS_MIN:
        return batch.filter(keep)
    room = np.empty(len(batch) + 1, dtype=np.int64)
    which = room[: choose_rows(keep.buffers()[1].address, keep.offset, len(keep), room)]
    columns = [_gathered(column, which, keep) for column in batch.rows.columns]
    return batch.chosen(pa.RecordBatch.from_arrays(columns, schema=batch.rows.schema), which)


def _gathered(column: pa.Array, which: Int64s, keep: pa.BooleanArray) -> pa.Array:
    kind, count = column.type, len(which)
    if column.null_count:
        return column.filter(keep)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return _gathered_texts(column, which)
    if not pa.types.is_primitive(kind) or pa.types.is_boolean(kind):
        return column.filter(keep)
    width = kind.bit_width // 8
    out = pa.allocate_buffer(count * width)
    gather_rows(column.buffers()[1].address + column.offset * width, width, which, out.address)
    return pa.Array.from_buffers(kind, count, [None, out])


def _gathered_texts(column: pa.Array, which: Int64s) -> pa.Array:
    _, offsets, data = column.buffers()
    places = pa.allocate_buffer(4 * (len(which) + 1))
    begins = offsets.address + 4 * column.offset
    total = gather_offsets(begins, which, places.address)
    assert total <= _BYTES_MAX, "some of the rows of a column have no more bytes than all"
    out = pa.allocate_buffer(total + 8)
    if data is not None:
        gather_texts(begins, data.address, data.address + data.size, which, places.address, out.address)
    return pa.Array.from_buffers(column.type, len(which), [None, places, out])


@kernel("int64(int64, int64, int64, int64[::1])")
def choose_rows(mask: I64, bit: I64, rows: I64, which: Int64s) -> I64:
    """Writes the rows whose bits are set, ascending; returns how many there are.

    Args:
        mask: address of a bitmap, in which the first row has the bit number `bit`.
        which: with room for one more than `rows`.
    """
    count, row = np.int64(0), np.int64(0)
    if bit & 7 == 0:
        words = mask + (bit >> 3)
        while row + _ROW_BITS <= rows:
            word = load_u64(words, row >> 6)
            for i in range(_ROW_BITS):
                which[count] = row + i
                count += np.int64((word >> np.uint64(i)) & _ONE)
            row += _ROW_BITS
    for i in range(row, rows):
        byte = load_u8(mask, (bit + i) >> 3)
        which[count] = i
        count += np.int64((byte >> (np.uint64(bit + i) & _SEVEN)) & _ONE)
    return count


@kernel("void(int64, int64, ints, int64)")
def gather_rows(source: I64, width: I64, which: Int64s, out: I64) -> None:
    """Copies the values of `width` bytes that belong to some rows."""
    if width == 8:
        for i in range(len(which)):
            store_i64(out, i, load_i64(source, which[i]))
    elif width == 4:
        for i in range(len(which)):
            store_i32(out, i, load_i32(source, which[i]))
    else:
        for i in range(len(which)):
            for byte in range(width):
                store_u8(out, i * width + byte, load_u8(source, which[i] * width + byte))


@kernel("int64(int64, ints, int64)")
def gather_offsets(offsets: I64, which: Int64s, places: I64) -> I64:
    """Writes where the bytes of each row begin in the result, as int32, and behind them where they end.

    Args:
        offsets: address of the first row's offset, an int32.
    """
    total = np.int64(0)
    for i in range(len(which)):
        store_i32(places, i, total)
        total += load_i32(offsets, which[i] + 1) - load_i32(offsets, which[i])
    store_i32(places, len(which), total)
    return total


@kernel("void(int64, int64, int64, ints, int64, int64)")
def gather_texts(offsets: I64, data: I64, end: I64, which: Int64s, places: I64, out: I64) -> None:
    """The bytes of some rows, to the address `out`, which has 8 bytes to spare.

    Args:
        data, end: the address that offsets count from, and the end of the readable memory.
        places: as `gather_offsets` wrote them.
    """
    for i in range(len(which)):
        begin = load_i32(offsets, which[i])
        length = load_i32(offsets, which[i] + 1) - begin
        source, target = data + begin, out + load_i32(places, i)
        if length <= 8 and source + 8 <= end:
            store_i64(target, 0, load_i64(source, 0))  # what is too much is overwritten by the next row
        elif length >= 8:
            copy_bytes(target, source, length)
        else:
            for byte in range(length):
                store_u8(target, byte, load_u8(source, byte))
