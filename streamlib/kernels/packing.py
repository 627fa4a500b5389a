"""Rows side by side: columns of a batch as records of words, from which rows are taken in any order.

To take a row from columns is a miss of the cache for each of them, two more for a text. Records are written from
columns in their order, which the processor reads ahead, and a row is then one miss.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.memory import (
    I64,
    load_i32,
    load_i64,
    load_u8,
    load_u64,
    prefetch,
    store_i32,
    store_i64,
    store_u64,
)

Int64s = npt.NDArray[np.int64]

WORD, HALF, SHORT, LONGER = range(4)
"""How a column stands in a record: 8 bytes; 4 bytes as a word; a text of up to 7 bytes below its length; one of up
to 15 bytes in two words."""
SHORT_MAX, LONGER_MAX = 7, 15
"""Bytes of a text, at most."""
WORDS = (1, 1, 1, 2)
"""Words of each."""

COLUMN = 6
"""Numbers that say of a column: how it stands there, at which word, and for `pack_rows` the address of the first
row's value, or of its offset, the address that offsets count from, and the end of the readable memory. For
`unpack_rows` the address of the values that come out, or of their offsets; the address of the bytes, how many
there is room for (and 16 to spare), and how many there are: 0 at first."""
KIND, PLACE, VALUES, BYTES, END, TOTAL = range(COLUMN)

_BLOCK = 64
_ONE = np.uint64(1)
_BYTE = np.uint64(8)
_TOP = np.uint64(56)
_EIGHT = np.int64(8)
_LOW_HALF = np.int64(0xFFFFFFFF)


@kernel("int64(int64, int64)")
def longest(offsets: I64, rows: I64) -> I64:
    """The most bytes that one of some texts has.

    Args:
        offsets: address of the first row's offset, an int32.
    """
    found = np.int64(0)
    for row in range(rows):
        found = max(found, load_i32(offsets, row + 1) - load_i32(offsets, row))
    return found


@inline
def short_word(address: I64, length: I64, end: I64) -> I64:
    """Up to 7 bytes as a word; what lies behind `end` is not read."""
    raw = np.uint64(0)
    if address + _EIGHT <= end:
        raw = load_u64(address, 0) & ((_ONE << (np.uint64(length) * _BYTE)) - _ONE)
    else:
        for k in range(length):
            raw |= load_u8(address, k) << (np.uint64(k) * _BYTE)
    return raw


@kernel("void(ints, int64, int64, int64)")
def pack_rows(columns: Int64s, rows: I64, stride: I64, records: I64) -> None:
    """Writes columns as records.

    Args:
        columns: `COLUMN` numbers for each.
        stride: bytes of a record.
        records: the address of the first one.
    """
    for begin in range(0, rows, _BLOCK):
        end = min(begin + _BLOCK, rows)
        for at in range(0, len(columns), COLUMN):
            kind, values = columns[at + KIND], columns[at + VALUES]
            data, data_end = columns[at + BYTES], columns[at + END]
            target = records + begin * stride + _EIGHT * columns[at + PLACE]
            if kind == WORD:
                for row in range(begin, end):
                    store_i64(target, 0, load_i64(values, row))
                    target += stride
            elif kind == HALF:
                for row in range(begin, end):
                    store_i64(target, 0, load_i32(values, row))
                    target += stride
            else:
                place = load_i32(values, begin)
                for row in range(begin, end):
                    following = load_i32(values, row + 1)
                    length, source = following - place, data + place
                    place = following
                    tag = np.uint64(length) << _TOP
                    if kind == SHORT:
                        store_u64(target, 0, short_word(source, length, data_end) | tag)
                    elif length >= _EIGHT:
                        store_u64(target, 0, load_u64(source, 0))
                        rest = short_word(source + _EIGHT, length - _EIGHT, data_end)
                        store_u64(target, 1, rest | tag)
                    else:
                        store_u64(target, 0, short_word(source, length, data_end))
                        store_u64(target, 1, tag)
                    target += stride


@kernel("void(ints, ints, int64, int64[::1])")
def unpack_rows(codes: Int64s, records: Int64s, stride: I64, columns: Int64s) -> None:
    """Writes the rows named by `codes`, each the number of a batch above 32 bits of a row in it, as columns.

    Args:
        records: by batch, the address of its first record.
        stride: bytes of a record.
        columns: `COLUMN` numbers for each. Where a text has more bytes than there is room for they have not all
            been written.
    """
    rows = np.int64(len(codes))
    sources = np.empty(_BLOCK, dtype=np.int64)
    for begin in range(0, rows, _BLOCK):
        count = min(np.int64(_BLOCK), rows - begin)
        for i in range(count):
            code = codes[begin + i]
            source = records[code >> 32] + (code & _LOW_HALF) * stride
            prefetch(source)
            sources[i] = source
        for at in range(0, len(columns), COLUMN):
            kind, word, values = columns[at + KIND], columns[at + PLACE], columns[at + VALUES]
            if kind == WORD:
                for i in range(count):
                    store_i64(values, begin + i, load_i64(sources[i], word))
            elif kind == HALF:
                for i in range(count):
                    store_i32(values, begin + i, load_i64(sources[i], word))
            else:
                data, limit, total = columns[at + BYTES], columns[at + END], columns[at + TOTAL]
                for i in range(count):
                    store_i32(values, begin + i, total)
                    if total <= limit:
                        store_i64(data + total, 0, load_i64(sources[i], word))
                    if kind == SHORT:
                        total += np.int64(load_u64(sources[i], word) >> _TOP)
                    else:
                        if total <= limit:
                            store_i64(data + total, 1, load_i64(sources[i], word + 1))
                        total += np.int64(load_u64(sources[i], word + 1) >> _TOP)
                columns[at + TOTAL] = total
    for at in range(0, len(columns), COLUMN):
        if columns[at + KIND] >= SHORT:
            store_i32(columns[at + VALUES], rows, min(columns[at + END], columns[at + TOTAL]))


@kernel("void(ints, int64, int64, ints)")
def take_words(places: Int64s, words: I64, count: I64, outs: Int64s) -> None:
    """Writes the words of rows, which have `count` each, as columns.

    Args:
        places: of the rows; negative ones name the first.
        words: the address of the first row's.
        outs: for each column the address of the values that come out.
    """
    stride = _EIGHT * count
    for column in range(0, count - 1, 2):
        first, second, source = outs[column], outs[column + 1], words + _EIGHT * column
        for i in range(len(places)):
            place = places[i]
            at = source + (place & ~(place >> 63)) * stride
            store_i64(first, i, load_i64(at, 0))
            store_i64(second, i, load_i64(at, 1))
    if count & 1:
        last, source = outs[count - 1], words + _EIGHT * (count - 1)
        for i in range(len(places)):
            place = places[i]
            store_i64(last, i, load_i64(source + (place & ~(place >> 63)) * stride, 0))
