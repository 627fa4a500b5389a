"""Key columns as one word per row, exact, whatever their type.

Three kinds of key:

* NONE: no key columns; the word is 0.
* EXACT: one column of at most 64 bits; the word is its value. Floats are made equal first: -0.0 is
  0.0, and there is one NaN. A null is told apart by the column's validity, not by its word.
* BYTES: a byte string per row: a string or binary column where it lies, or several columns and
  decimals encoded row by row. Up to 7 bytes the word holds the string itself and its length; longer
  ones have a tag and 56 bits of hash, and tables compare the bytes. A null has a word of its own.

Encoding of several columns: for each column one byte, 0 for null or 1, then 8 bytes of value, or
4 bytes of length and the bytes. No two rows of different keys share an encoding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.errors import DataError, TypeMismatchError
from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.columns import (
    decoded,
    decoded_type,
    is_valid,
    is_word,
    validity_of,
    values_of,
    word_column,
)
from streamlib.kernels.hashing import NULL_WORD, bytes_word, copy_bytes, hash_word
from streamlib.kernels.memory import I64, load_i32, load_u64, store_u8, store_u64

Uint64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]

KEY_GROUPS = 256
_BYTES = frozenset((pa.string().id, pa.binary().id))
_BATCH_BYTES_MAX = 2**31 - 1
_GROUP_SHIFT = np.uint64(56)
_ENDLESS = np.int64(2**63 - 1)


class KeyKind(Enum):
    """How rows of a key become words; see the module."""

    NONE = 0
    EXACT = 1
    BYTES = 2


@dataclass(slots=True)
class EncodedKeys:
    """The keys of one batch in memory. Addresses are those of the batch's first row.

    Attributes:
        values: EXACT: 8-byte words.
        offsets: BYTES: int32 offsets into `data`, one more than rows.
        data: BYTES: address that offsets count from.
        end: BYTES: end of the readable memory.
        validity: address of the bitmap; 0 when no key is null.
        bit: the bit of the first row in it.
        kept: what owns the memory.
    """

    kind: KeyKind
    rows: int
    values: int = 0
    offsets: int = 0
    data: int = 0
    end: int = 0
    validity: int = 0
    bit: int = 0
    kept: Any = None


@inline
def write_bytes_words(
    offsets: I64, data: I64, end: I64, validity: I64, bit: I64, rows: I64, words: I64
) -> None:
    """Writes the words of `rows` byte strings to the address `words`."""
    done = np.int64(0)
    if validity == 0 and data + load_i32(offsets, rows) + 8 <= end:  # eight bytes are there for each string
        begin = load_i32(offsets, 0)
        for i in range(rows):
            after = load_i32(offsets, i + 1)
            store_u64(words, i, bytes_word(data + begin, after - begin, _ENDLESS))
            begin = after
        done = rows
    for i in range(done, rows):
        if validity == 0 or is_valid(validity, bit + i):
            begin = load_i32(offsets, i)
            length = load_i32(offsets, i + 1) - begin
            store_u64(words, i, bytes_word(data + begin, length, end))
        else:
            store_u64(words, i, NULL_WORD)


@kernel("void(int64, int64, int64, int64, int64, int64, int64)")
def bytes_words(offsets: I64, data: I64, end: I64, validity: I64, bit: I64, rows: I64, words: I64) -> None:
    """As `write_bytes_words`."""
    write_bytes_words(offsets, data, end, validity, bit, rows, words)


@kernel("void(words, uint64[::1])")
def hash_words(words: Uint64s, hashes: Uint64s) -> None:
    """Writes the hash of each word."""
    for i in range(len(words)):
        hashes[i] = hash_word(words[i])


@kernel("void(ints, int64[::1], int64[::1])")
def counting_sort(parts: Int64s, offsets: Int64s, order: Int64s) -> None:
    """Stable order of rows by part; `offsets` (parts + 1 zeros) becomes where each part begins."""
    count = len(offsets) - 1
    for i in range(len(parts)):
        offsets[parts[i] + 1] += 1
    for p in range(count):
        offsets[p + 1] += offsets[p]
    for i in range(len(parts)):
        part = parts[i]
        order[offsets[part]] = i
        offsets[part] += 1
    for p in range(count, 0, -1):
        offsets[p] = offsets[p - 1]
    offsets[0] = 0


@kernel("void(int64, int64, int64, int64, int64[::1])")
def put_words(rows: I64, values: I64, validity: I64, bit: I64, cursor: Int64s) -> None:
    """Appends a fixed-width column to the encoding of each row; `cursor` holds where each row stands."""
    for i in range(rows):
        place = cursor[i]
        if validity == 0 or is_valid(validity, bit + i):
            store_u8(place, 0, np.uint64(1))
            store_u64(place + 1, 0, load_u64(values, i))
            cursor[i] = place + 9
        else:
            store_u8(place, 0, np.uint64(0))
            cursor[i] = place + 1


@kernel("void(int64, int64, int64, int64, int64, int64[::1])")
def put_bytes(rows: I64, offsets: I64, data: I64, validity: I64, bit: I64, cursor: Int64s) -> None:
    """Appends a string column to the encoding of each row."""
    for i in range(rows):
        place = cursor[i]
        if validity == 0 or is_valid(validity, bit + i):
            begin = load_i32(offsets, i)
            length = load_i32(offsets, i + 1) - begin
            store_u8(place, 0, np.uint64(1))
            for k in range(4):
                store_u8(place, 1 + k, np.uint64(length >> (8 * k)))
            copy_bytes(place + 5, data + begin, length)
            cursor[i] = place + 5 + length
        else:
            store_u8(place, 0, np.uint64(0))
            cursor[i] = place + 1


class KeyEncoder:
    """Turns key columns into words.

    Args:
        key_types: the types of the key columns; none for one group of all rows.

    Raises:
        TypeMismatchError: a nested key column.
    """

    def __init__(self, key_types: Sequence[pa.DataType]) -> None:
        self.key_types = tuple(_decoded(kind) for kind in key_types)
        if not self.key_types:
            self.kind = KeyKind.NONE
        elif len(self.key_types) == 1 and is_word(self.key_types[0]):
            self.kind = KeyKind.EXACT
        else:
            self.kind = KeyKind.BYTES

    def encode(self, columns: Sequence[pa.Array], rows: int) -> EncodedKeys:
        """The keys of one batch.

        Args:
            columns: the key columns, of `key_types`.
            rows: their length.

        Raises:
            DataError: more than 2 GB of keys in one batch.
        """
        assert len(columns) == len(self.key_types), "one array per key column"
        if self.kind is KeyKind.NONE:
            return EncodedKeys(self.kind, rows)
        plain = [_plain(column) for column in columns]
        if self.kind is KeyKind.EXACT:
            words = word_column(_canonical(plain[0]))
            return EncodedKeys(
                self.kind, rows, values=words.values, validity=words.validity, bit=words.bit, kept=words
            )
        column = plain[0]
        if len(plain) == 1 and _is_bytes(column.type):
            return _bytes_keys(column)
        return self._encode_rows(plain, rows)

    def words(self, keys: EncodedKeys) -> Uint64s:
        """The word of each row; null keys have `NULL_WORD`, which an EXACT value may have too."""
        if keys.kind is KeyKind.NONE:
            return np.zeros(keys.rows, dtype=np.uint64)
        words = np.empty(keys.rows, dtype=np.uint64)
        address = words.__array_interface__["data"][0]
        if keys.kind is KeyKind.BYTES:
            bytes_words(keys.offsets, keys.data, keys.end, keys.validity, keys.bit, keys.rows, address)
            return words
        column = _words_at(keys)
        if keys.validity:
            return np.where(_valid_rows(keys), column, NULL_WORD)
        return column

    def hashes(self, keys: EncodedKeys) -> Uint64s:
        """The 64-bit hash of each row's key; equal keys have equal hashes in every batch."""
        words = self.words(keys)
        hashes = np.empty(keys.rows, dtype=np.uint64)
        hash_words(words, hashes)
        return hashes

    def _encode_rows(self, columns: list[pa.Array], rows: int) -> EncodedKeys:
        lengths = np.zeros(rows, dtype=np.int64)
        parts: list[tuple[Any, bool]] = []
        for column in columns:
            if _is_bytes(column.type):
                part: Any = _bytes_keys(column)
                offsets = _offsets(column)
                size: Any = np.diff(offsets).astype(np.int64) + 5
            elif is_word(column.type):
                part, size = word_column(_canonical(column)), 9
            else:
                column = _as_binary(column)
                part, size = _bytes_keys(column), np.diff(_offsets(column)).astype(np.int64) + 5
            if part.validity:
                size = np.where(np.asarray(column.is_valid()), size, 1)
            lengths += size
            parts.append((part, isinstance(part, EncodedKeys)))
        offsets64 = np.zeros(rows + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets64[1:])
        if offsets64[-1] > _BATCH_BYTES_MAX:
            raise DataError(
                "the keys of one batch are too large", expected="at most 2 GB", got=f"{offsets64[-1]:,} bytes"
            )
        data = np.empty(int(offsets64[-1]) + 8, dtype=np.uint8)
        base = data.__array_interface__["data"][0]
        cursor = offsets64[:-1] + base
        for part, is_bytes in parts:
            if is_bytes:
                put_bytes(rows, part.offsets, part.data, part.validity, part.bit, cursor)
            else:
                put_words(rows, part.values, part.validity, part.bit, cursor)
        offsets32 = offsets64.astype(np.int32)
        return EncodedKeys(
            self.kind,
            rows,
            offsets=offsets32.__array_interface__["data"][0],
            data=base,
            end=base + len(data),
            kept=(data, offsets32, columns),
        )


def key_groups(hashes: Uint64s) -> npt.NDArray[np.uint8]:
    """The key group of each hash, 0 to 255: its top 8 bits. State is ordered by it."""
    return (hashes >> _GROUP_SHIFT).astype(np.uint8)


def partition(hashes: Uint64s, workers: int) -> Int64s:
    """The worker of each hash: whole key groups, in order, spread evenly.

    >>> partition(np.array([0, 2**64 - 1], dtype=np.uint64), 3).tolist()
    [0, 2]
    """
    assert 1 <= workers <= KEY_GROUPS, "a worker has at least one key group"
    return (key_groups(hashes).astype(np.int64) * workers) >> 8


def exchange_order(workers_of_rows: Int64s, workers: int) -> tuple[Int64s, Int64s]:
    """The rows sorted by worker, stably, for one `take` and a slice per worker.

    Returns:
        Row indices, shape (rows,), and where each worker's begin among them, shape (workers + 1,).
    """
    offsets = np.zeros(workers + 1, dtype=np.int64)
    order = np.empty(len(workers_of_rows), dtype=np.int64)
    counting_sort(workers_of_rows, offsets, order)
    return order, offsets


def _decoded(kind: pa.DataType) -> pa.DataType:
    """The type without its dictionary."""
    kind = decoded_type(kind)
    if pa.types.is_nested(kind):
        raise TypeMismatchError(
            f"a column of {kind} cannot be a key",
            expected="numbers, strings, binary, booleans, dates, times, decimals",
            got=str(kind),
        )
    return kind


def _is_bytes(kind: pa.DataType) -> bool:
    return kind.id in _BYTES


_PLAIN = frozenset(kind.id for kind in (pa.string(), pa.binary(), pa.int64(), pa.uint64(), pa.float64()))
"""Types of keys that are read where they lie."""


def _plain(column: pa.Array) -> pa.Array:
    """The column as utf8, binary or fixed width, one contiguous array."""
    if column.type.id in _PLAIN and not isinstance(column, pa.ChunkedArray):
        return column
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    column = decoded(column)
    kind = column.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return column.cast(pa.binary())
    if pa.types.is_null(kind):
        return column.cast(pa.int64())
    return column if is_word(kind) or _is_bytes(kind) else _as_binary(column)


def _as_binary(column: pa.Array) -> pa.Array:
    """Fixed-width values of other than 8 bytes (decimals, uuids) as binary."""
    if _is_bytes(column.type):
        return column
    width = column.type.bit_width // 8
    data = column.buffers()[1]
    storage = pa.Array.from_buffers(
        pa.binary(width), len(column), [column.buffers()[0], data], offset=column.offset
    )
    return storage.cast(pa.binary())


def _canonical(column: pa.Array) -> pa.Array:
    """Floats with one zero and one NaN."""
    if not pa.types.is_floating(column.type):
        return column
    values = values_of(column).astype(np.float64) + 0.0
    values[np.isnan(values)] = np.nan
    mask = None if column.null_count == 0 else np.asarray(column.is_null())
    return pa.array(values, mask=mask, from_pandas=False)


def _offsets(column: pa.Array) -> npt.NDArray[np.int32]:
    buffer = column.buffers()[1]
    if buffer is None or len(column) == 0:
        return np.zeros(len(column) + 1, dtype=np.int32)
    return np.frombuffer(buffer, dtype=np.int32, count=column.offset + len(column) + 1)[column.offset :]


def _bytes_keys(column: pa.Array) -> EncodedKeys:
    validity, bit = validity_of(column)
    _, offsets, data = column.buffers()
    rows = len(column)
    kept: Any = column
    if offsets is None or rows == 0:
        zeros = np.zeros(rows + 1, dtype=np.int32)
        place, kept = zeros.__array_interface__["data"][0], (column, zeros)
    else:
        place = offsets.address + 4 * column.offset
    base = 0 if data is None else data.address
    end = 0 if data is None else data.address + data.size
    return EncodedKeys(
        KeyKind.BYTES, rows, offsets=place, data=base, end=end, validity=validity, bit=bit, kept=kept
    )


def _words_at(keys: EncodedKeys) -> Uint64s:
    if keys.rows == 0:
        return np.empty(0, dtype=np.uint64)
    raw: Any = (ctypes.c_uint64 * keys.rows).from_address(keys.values)
    words: Uint64s = np.frombuffer(raw, dtype=np.uint64).copy()
    return words


def _valid_rows(keys: EncodedKeys) -> npt.NDArray[np.bool_]:
    first = keys.bit // 8
    size = (keys.bit + keys.rows + 7) // 8 - first
    raw: Any = (ctypes.c_uint8 * size).from_address(keys.validity + first)
    bitmap: npt.NDArray[np.uint8] = np.frombuffer(raw, dtype=np.uint8)
    start = keys.bit - 8 * first
    valid: npt.NDArray[np.bool_] = np.unpackbits(bitmap, bitorder="little").astype(np.bool_)
    return valid[start : start + keys.rows]
