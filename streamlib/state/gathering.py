"""Rows of several batches in a given order, column by column: each value is copied once.

Numbers, times, texts and bytes are gathered by kernels. Other types go through Arrow, batch by batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.kernels.columns import validity_of
from streamlib.kernels.sorting import (
    DIGIT_BITS,
    gather_bytes,
    gather_lengths,
    gather_validity,
    gather_values,
    radix_sort,
)
from streamlib.state.pane import address

Int64s = npt.NDArray[np.int64]

KERNEL_ROWS_MIN = 2_048
"""Below this NumPy and Arrow are as fast, and nothing has to be compiled."""
_OFFSETS_MAX = 2**31 - 1


def sorted_by_time(times: Int64s, codes: Int64s) -> tuple[Int64s, Int64s]:
    """Times, rising, and the codes of their rows; rows of one time stay in their order."""
    rows = len(times)
    if rows < KERNEL_ROWS_MIN:
        order = np.argsort(times, kind="stable")
        return times[order], codes[order]
    low, high = int(times.min()), int(times.max())
    place_bits = (rows - 1).bit_length()
    unit = _unit(times, low, high, 63 - place_bits)
    if unit is None:
        order = np.argsort(times, kind="stable")
        return times[order], codes[order]
    bits = ((high - low) // unit).bit_length()
    passes = -(-bits // DIGIT_BITS)
    width = -(-bits // passes) if passes else 1
    words = room(2 * rows, np.uint64).reshape(2, rows)
    out_times, out_codes = room(rows), room(rows)
    times = np.ascontiguousarray(times)
    radix_sort(times, codes, low, unit, width, passes, place_bits, words, out_times, out_codes)
    return out_times, out_codes


def room(count: int, kind: npt.DTypeLike = np.int64) -> npt.NDArray[Any]:
    """An array of no values yet, in memory of Arrow's pool, which was used before and needs no new pages."""
    item = np.dtype(kind).itemsize
    return np.frombuffer(pa.allocate_buffer(max(1, count * item)), dtype=kind, count=count)


def _unit(times: Int64s, low: int, high: int, bits: int) -> int | None:
    """What times are multiples of, so that the largest has at most so many bits; None where there is nothing."""
    for unit in (1, 10**3, 10**6, 10**9):
        if ((high - low) // unit).bit_length() <= bits:
            if unit == 1 or not ((times - low) % unit).any():
                return unit
            return None
    return None


def gathered(batches: Sequence[pa.RecordBatch], codes: Int64s) -> pa.RecordBatch:
    """The rows named by `codes`: the number of the batch above 32 bits of the row in it."""
    schema = batches[0].schema
    columns = [
        _column([batch.column(place) for batch in batches], field.type, codes)
        for place, field in enumerate(schema)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(parts: Sequence[pa.Array], kind: pa.DataType, codes: Int64s) -> pa.Array:
    if pa.types.is_primitive(kind) and not pa.types.is_boolean(kind) and kind.bit_width % 8 == 0:
        return _fixed(parts, kind, codes, kind.bit_width // 8)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        made = _variable(parts, kind, codes)
        if made is not None:
            return made
    return _by_arrow(parts, codes)


def _fixed(parts: Sequence[pa.Array], kind: pa.DataType, codes: Int64s, width: int) -> pa.Array:
    values = np.array([_start(part, 1, part.offset * width) for part in parts], dtype=np.int64)
    out = room(len(codes) * width, np.uint8)
    gather_values(values, codes, width, address(out))
    return pa.Array.from_buffers(kind, len(codes), [_validity(parts, codes), pa.py_buffer(out)])


def _variable(parts: Sequence[pa.Array], kind: pa.DataType, codes: Int64s) -> pa.Array | None:
    """Texts or bytes; None where they are too many for offsets of 32 bits."""
    offsets = np.array([_start(part, 1, part.offset * 4) for part in parts], dtype=np.int64)
    data = np.array([_start(part, 2, 0) for part in parts], dtype=np.int64)
    sizes = [0 if part.buffers()[2] is None else part.buffers()[2].size for part in parts]
    places = room(len(codes) + 1)
    total = gather_lengths(offsets, codes, places)
    if total > _OFFSETS_MAX:
        return None
    out = room(total + 8, np.uint8)
    gather_bytes(offsets, data, data + np.array(sizes, dtype=np.int64), codes, places, address(out))
    buffers = [
        _validity(parts, codes),
        pa.py_buffer(places.astype(np.int32)),
        pa.py_buffer(out[:total]),
    ]
    return pa.Array.from_buffers(kind, len(codes), buffers)


def _start(part: pa.Array, buffer: int, offset: int) -> int:
    found = part.buffers()[buffer]
    return 0 if found is None else int(found.address) + offset


def _validity(parts: Sequence[pa.Array], codes: Int64s) -> pa.Buffer | None:
    found = [validity_of(part) for part in parts]
    if not any(bitmap for bitmap, _ in found):
        return None
    flags = room(len(codes), np.uint8)
    bitmaps, bits = (np.array(values, dtype=np.int64) for values in zip(*found, strict=True))
    gather_validity(bitmaps, bits, codes, flags)
    return None if flags.all() else pa.py_buffer(np.packbits(flags, bitorder="little"))


def _by_arrow(parts: Sequence[pa.Array], codes: Int64s) -> pa.Array:
    numbers, rows = codes >> 32, codes & 0xFFFFFFFF
    taken, places = [], []
    for number, part in enumerate(parts):
        where = np.flatnonzero(numbers == number)
        if len(where):
            taken.append(part.take(pa.array(rows[where])))
            places.append(where)
    order = np.empty(len(codes), dtype=np.int64)
    order[np.concatenate(places)] = np.arange(len(codes))
    return pa.concat_arrays(taken).take(pa.array(order))
