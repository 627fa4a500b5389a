"""Rows of several batches in a given order, column by column: each value is copied once.

Numbers, times, texts and bytes are gathered by kernels. Other types go through Arrow, batch by batch.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.kernels.columns import validity_of
from streamlib.kernels.sorting import (
    DIGIT_BITS,
    chunk_codes,
    gather_bytes,
    gather_validity,
    gather_values,
    merge_by_time,
    radix_sort,
)
from streamlib.state.slabs import lasting_room, room

Int64s = npt.NDArray[np.int64]

KERNEL_ROWS_MIN = 2_048
"""Below this NumPy and Arrow are as fast, and nothing has to be compiled."""
_APART_BITS = 6
"""So many more bits than a row's place has tell nearly all rows apart, where they are spread evenly."""
_WORDS_KEPT = 1 << 18
"""A thread keeps the words to sort so many rows with: 4 MB."""
OFFSETS_MAX = 2**31 - 1
_scratch = threading.local()
_NO_CODES: Int64s = np.empty(0, dtype=np.int64)


def sorted_by_time(
    times: Int64s, codes: Int64s | None = None, lasting: bool = False
) -> tuple[Int64s, Int64s]:
    """Times, rising, and the codes of their rows (their places where none are given).

    Rows of one time stay in their order. Times that are `lasting` go on to others.
    """
    rows = len(times)
    unit, low, high, place_bits = None, 0, 0, 0
    if rows >= KERNEL_ROWS_MIN:
        low, high = int(times.min()), int(times.max())
        place_bits = (rows - 1).bit_length()
        unit = _unit(times, low, high, 63 - place_bits)
    if unit is None:
        order = np.argsort(times, kind="stable")
        return times[order], order if codes is None else codes[order]
    times = np.ascontiguousarray(times)
    words = _words(rows)
    out_times, out_codes = (lasting_room if lasting else room)(rows), room(rows)
    codes = _NO_CODES if codes is None else codes
    bits = ((high - low) // unit).bit_length()
    wanted = min(bits, place_bits + _APART_BITS)  # the highest ones tell most rows apart
    for left_out in sorted({bits - wanted, 0}, reverse=True):
        passes = -(-(bits - left_out) // DIGIT_BITS)
        width = -(-(bits - left_out) // passes) if passes else 1
        done = radix_sort(
            times, codes, low, unit, left_out, width, passes, place_bits, words, out_times, out_codes
        )
        if done:
            break
    return out_times, out_codes


def merged_by_time(
    times: Sequence[Int64s], codes: Sequence[Int64s], lasting: bool = False
) -> tuple[Int64s, Int64s]:
    """Times, rising, and codes of the rows of two batches, each of which is in the order of time."""
    rows = sum(map(len, times))
    out_times, out_codes = (lasting_room if lasting else room)(rows), room(rows)
    one, other, code, other_code = map(np.ascontiguousarray, (*times, *codes))
    merge_by_time(one, code, other, other_code, out_times, out_codes)
    return out_times, out_codes


def _words(rows: int) -> npt.NDArray[np.uint64]:
    """Two rows of words to sort with; those of a thread are used again."""
    if rows > _WORDS_KEPT:
        return room(2 * rows, np.uint64).reshape(2, rows)
    kept: npt.NDArray[np.uint64] | None = getattr(_scratch, "words", None)
    if kept is None or len(kept) < 2 * rows:
        kept = _scratch.words = np.empty(2 << max(12, (rows - 1).bit_length()), dtype=np.uint64)
    return kept[: 2 * rows].reshape(2, rows)


def _unit(times: Int64s, low: int, high: int, bits: int) -> int | None:
    """What times are multiples of, so that the largest has at most so many bits; None where there is nothing."""
    for unit in (1, 10**3, 10**6, 10**9):
        if ((high - low) // unit).bit_length() <= bits:
            if unit == 1 or not ((times - low) % unit).any():
                return unit
            return None
    return None


def gathered(
    batches: Sequence[pa.RecordBatch],
    codes: Int64s,
    times: Sequence[Int64s],
    time: Int64s,
    made: Mapping[int, pa.Array] = MappingProxyType({}),
) -> pa.RecordBatch:
    """The rows named by `codes`: the number of the batch above 32 bits of the row in it.

    Args:
        times: of the rows of each batch. A column that lies where these lie is `time`, and is not gathered.
        time: of the rows that come out.
        made: columns that are there already, by their places.
    """
    schema, columns = batches[0].schema, []
    same = times_among(batches, times)
    for place, field in enumerate(schema):
        if place in made:
            columns.append(made[place])
        elif place in same:
            columns.append(pa.Array.from_buffers(field.type, len(codes), [None, pa.py_buffer(time)]))
        else:
            columns.append(_column([batch.column(place) for batch in batches], field.type, codes))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def times_among(batches: Sequence[pa.RecordBatch], times: Sequence[Int64s]) -> frozenset[int]:
    """The places of the columns that lie where the times of the rows lie."""
    fields = [place for place, field in enumerate(batches[0].schema) if _is_time(field.type)]
    if not fields:
        return frozenset()
    starts = [_address(one) for one in times]
    return frozenset(at for at in fields if _lies_at([batch.column(at) for batch in batches], starts))


def has_times(schema: pa.Schema) -> bool:
    """Whether a column may lie where the times of the rows lie."""
    return any(_is_time(field.type) for field in schema)


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) and kind.unit == "ns")


def _lies_at(parts: Sequence[pa.Array], starts: Sequence[int]) -> bool:
    """Whether the values of each part are the words at an address."""
    if any(part.null_count for part in parts):
        return False
    return all(_start(part, 1, part.offset * 8) == at for part, at in zip(parts, starts, strict=True))


def taken(
    chunks: Sequence[pa.Array], begins: Sequence[int], places: Int64s, bits: pa.Buffer | None = None
) -> pa.Array | None:
    """The values at `places` of chunks that follow one another; null where a place is negative.

    Args:
        begins: the place of the first value of each chunk; and behind them how many there are: at least one.
        bits: what `present_bits` says of the places, where it was asked before.

    Returns:
        None where no kernel does it, or kernels are not worth it.
    """
    kind = chunks[0].type
    if len(places) < KERNEL_ROWS_MIN or not (_is_fixed(kind) or _is_bytes(kind)):
        return None
    codes = places = np.ascontiguousarray(places)
    bits = present_bits(places) if bits is None else bits
    if len(chunks) > 1 or (bits is not None and _is_bytes(kind)):
        codes = room(len(places))
        chunk_codes(places, np.array(begins, dtype=np.int64), codes)
    found = _fixed(chunks, kind, codes) if _is_fixed(kind) else _variable(chunks, kind, codes)
    if found is None or bits is None:
        return found
    validity, *others = found.buffers()
    if validity is not None:
        both = np.frombuffer(bits, dtype=np.uint8) & np.frombuffer(validity, dtype=np.uint8, count=bits.size)
        bits = pa.py_buffer(both)
    return pa.Array.from_buffers(kind, len(places), [bits, *others])


def taken_of(column: pa.Array, places: Int64s) -> pa.Array:
    """The values at `places` of a column, none of which is negative."""
    found = taken([column], [0, len(column)], places) if len(column) else None
    return column.take(pa.array(places)) if found is None else found


def present_bits(places: Int64s) -> pa.Buffer | None:
    """A bit for each place, set where it is not negative; None where none is."""
    there = places >= 0
    return None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))


def _is_fixed(kind: pa.DataType) -> bool:
    """Whether values are whole bytes, as many for each."""
    return bool(pa.types.is_primitive(kind) and not pa.types.is_boolean(kind) and kind.bit_width % 8 == 0)


def _is_bytes(kind: pa.DataType) -> bool:
    """Whether values are texts or bytes with offsets of 32 bits."""
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _column(parts: Sequence[pa.Array], kind: pa.DataType, codes: Int64s) -> pa.Array:
    if _is_fixed(kind):
        return _fixed(parts, kind, codes)
    made = _variable(parts, kind, codes) if _is_bytes(kind) else None
    return _by_arrow(parts, codes) if made is None else made


def _fixed(parts: Sequence[pa.Array], kind: pa.DataType, codes: Int64s) -> pa.Array:
    width = kind.bit_width // 8
    values = np.array([_start(part, 1, part.offset * width) for part in parts], dtype=np.int64)
    out = lasting_room(len(codes) * width, np.uint8)
    gather_values(values, codes, width, _address(out))
    return pa.Array.from_buffers(kind, len(codes), [_validity(parts, codes), pa.py_buffer(out)])


def _variable(parts: Sequence[pa.Array], kind: pa.DataType, codes: Int64s) -> pa.Array | None:
    """Texts or bytes; None where they are too many for offsets of 32 bits."""
    offsets = np.array([_start(part, 1, part.offset * 4) for part in parts], dtype=np.int64)
    data = np.array([_start(part, 2, 0) for part in parts], dtype=np.int64)
    sizes = [0 if part.buffers()[2] is None else part.buffers()[2].size for part in parts]
    ends = data + np.array(sizes, dtype=np.int64)
    places = lasting_room(len(codes) + 1, np.int32)
    limit = likely_bytes(parts, len(codes))
    while True:
        out = lasting_room(limit + 8, np.uint8)
        total = gather_bytes(offsets, data, ends, codes, places, _address(out), limit)
        if total <= limit:
            break
        if total > OFFSETS_MAX:
            return None
        limit = total
    buffers = [_validity(parts, codes), pa.py_buffer(places), pa.py_buffer(out[:total])]
    return pa.Array.from_buffers(kind, len(codes), buffers)


def likely_bytes(parts: Sequence[pa.Array], rows: int) -> int:
    """How many bytes so many of the rows have, and an eighth more."""
    bytes_, count = 0, 0
    for part in parts:
        if len(part) and part.buffers()[1] is not None:
            ends = np.frombuffer(part.buffers()[1], dtype=np.int32, count=part.offset + len(part) + 1)
            bytes_ += int(ends[-1]) - int(ends[part.offset])
            count += len(part)
    return min(OFFSETS_MAX, rows * bytes_ * 9 // (8 * max(1, count)) + 64)


def _address(array: npt.NDArray[Any]) -> int:
    """Where its values begin in memory."""
    return int(array.__array_interface__["data"][0])


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
