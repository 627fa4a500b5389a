"""Which keys came before: an exact set of keys, each with the time of the rows that were kept of it.

A row is new when no row of its key that was kept is within a given time of it; then it is kept. Kept rows are
forgotten chunk by chunk, in the order of arrival, once all of a chunk are over: at most one row of sixteen, or
256, is kept for longer than it is needed. Equality of keys is exact. Null is a key, NaN is one key.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.elements import MIN_TIME
from streamlib.kernels.columns import decoded_type, is_word, storage_dtype
from streamlib.kernels.hashing import NULL_WORD
from streamlib.kernels.keys import KeyEncoder, KeyKind
from streamlib.state.key_columns import canonical_floats, keys_without_views
from streamlib.state.pane import address
from streamlib.state.seen_buckets import BUCKET_WORDS
from streamlib.state.seen_probe import (
    BLOCK,
    CHUNK_BITS,
    CHUNK_BYTES,
    CHUNK_ENDS,
    CHUNK_LINKED,
    CHUNK_NULLS,
    CHUNK_RECORDS,
    CHUNK_WORDS,
    HEAD_CHUNK,
    HEAD_COUNT,
    HEAD_FULL,
    HEAD_FULL_MAX,
    HEAD_HIGH,
    HEAD_KEYS,
    HEAD_REUSED,
    HEAD_ROOM,
    HEAD_SIZE,
    HEAD_USED,
    HEAD_WORDS,
    RECORD_TIME,
    RECORD_WORD,
    RECORD_WORDS,
    UNLIMITED,
    forget_chunk,
    see_rows,
)
from streamlib.state.seen_table import move_entries, sweep_entries

Int64s = npt.NDArray[np.int64]

CHUNK_MIN = 256
"""Records of the smallest chunk."""
CHUNK_MAX = 1 << CHUNK_BITS
_CHUNKS_PER_ALL = 16
_CHUNKS_MAX = 1 << (32 - CHUNK_BITS)
_BYTES_MAX = 2**31 - 1
_SPARE_MAX = 4
"""Chunks that are over and wait to be filled again: new memory costs more than what is written to it."""
_SHRINK = 8
"""A table is made smaller when it could be so many times smaller."""
_BUCKETS_MIN = 8
_KEYS_PER_BUCKET = 2.8
"""With fewer keys a table without room for more has been so for long, and is made anew as large as it is."""
_NAMED_MAX = 4
"""Chunks that are over while entries may still name them, for each that is not."""


class _Chunk:
    """Records that came one after another."""

    __slots__ = ("bytes", "count", "ends", "high", "keys", "nulls", "records")

    def __init__(self, room: int, is_bytes: bool, size: int) -> None:
        self.records = np.empty((room, RECORD_WORDS), dtype=np.int64)
        self.nulls = np.zeros(room, dtype=np.uint8)
        self.ends = np.zeros(room + 1 if is_bytes else 0, dtype=np.int64)
        self.bytes = np.empty(size if is_bytes else 0, dtype=np.uint8)
        self.keys: list[pa.RecordBatch] = []
        self.count = 0
        self.high = MIN_TIME

    def clear(self) -> None:
        """Takes back all records."""
        self.nulls.fill(0)
        self.keys = []
        self.count, self.high = 0, MIN_TIME

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        arrays = self.records.nbytes + self.nulls.nbytes + self.ends.nbytes + self.bytes.nbytes
        return int(arrays + sum(keys.nbytes for keys in self.keys))


class SeenKeys:
    """Keys with the times of their kept rows.

    A key takes 25 bytes, its bytes where it is no single number, and 13 to 40 bytes of table. A key of several
    columns is held twice: encoded, and as it came.

    Args:
        key_fields: the key columns, of plain types.
        within: a row repeats one of its key that is no further away than this, ns; None: however far.

    Attributes:
        rows: kept rows, those included that are over and not forgotten yet.

    >>> seen = SeenKeys([pa.field("id", pa.int64())], within=10)
    >>> seen.add(pa.record_batch({"id": [7, 8, 7, 7]}), np.array([1, 2, 11, 12])).tolist()
    [True, True, False, True]
    >>> seen.forget(30), seen.rows
    (None, 0)
    """

    def __init__(self, key_fields: Sequence[pa.Field], within: int | None) -> None:
        assert key_fields, "without a key there is nothing to tell rows apart by"
        self.schema = pa.schema(list(key_fields))
        self.within = within
        self._encoder = KeyEncoder(self.schema.types)
        self._is_bytes = self._encoder.kind is KeyKind.BYTES
        kinds = self.schema.types
        self._is_text = len(kinds) == 1 and (_is_string(kinds[0]) or _is_binary(kinds[0]))
        self._keeps_columns = self._is_bytes and not self._is_text
        self._scratch = np.empty(2 * BLOCK, dtype=np.uint64)
        self._mean_bytes = 32
        self._begin()

    def _begin(self) -> None:
        self.rows = 0
        self._chunks: dict[int, _Chunk] = {}
        self._free: list[int] = []
        self._over = 0
        """Entries whose chunk is over,"""
        self._named: list[int] = []
        """and the numbers of these chunks."""
        self._spare: list[_Chunk] = []
        self._directory = np.zeros((16, CHUNK_WORDS), dtype=np.int64)
        self._head = np.zeros(HEAD_WORDS, dtype=np.int64)
        self._set_table(_BUCKETS_MIN)
        self._open_chunk()

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        chunks = sum(chunk.nbytes for chunk in [*self._chunks.values(), *self._spare])
        return int(self._table.nbytes + chunks)

    def add(self, keys: pa.RecordBatch, times: Int64s) -> npt.NDArray[np.bool_]:
        """Which rows are new; these are kept. Of rows of one key an earlier one of the batch counts first.

        Args:
            keys: the key columns.
            times: of the rows, ns.
        """
        count = keys.num_rows
        encoded = self._encoder.encode(keys.columns, count)
        times = np.ascontiguousarray(times)
        new = np.empty(count, dtype=np.uint8)
        within = np.uint64(UNLIMITED if self.within is None else self.within)
        row = 0
        while True:
            begin = row
            row = see_rows(
                begin,
                count,
                self._is_bytes,
                encoded.values,
                encoded.offsets,
                encoded.data,
                encoded.end,
                encoded.validity,
                encoded.bit,
                address(times),
                within,
                self._table_at,
                self._buckets - 1,
                address(self._directory),
                self._head,
                address(self._scratch),
                address(new),
            )
            self._note(keys, new, begin, row)
            if row == count:
                return new.view(np.bool_)
            length = 0
            if self._is_bytes:
                ends = np.frombuffer(_memory(encoded.offsets + 4 * row, 8), dtype=np.int32)
                length = int(ends[1]) - int(ends[0])
            self._make_room(length)

    def forget(self, before: int) -> None:
        """No row earlier than `before`, ns, comes any more: forgets what none can repeat."""
        if self.within is None:
            return
        over = [n for n, chunk in self._chunks.items() if chunk.count and chunk.high + self.within < before]
        if len(over) == len(self._chunks) - (self._current.count == 0):
            if over:
                self._begin()
            return
        for number in over:
            self._let_go(number)
        keys = int(self._head[HEAD_KEYS]) - self._over
        if over and _buckets_for(2 * keys + 1) * _SHRINK <= self._buckets:
            self._make_table(_buckets_for(2 * keys + 1))
        elif len(self._named) > _NAMED_MAX * (len(self._chunks) + _CHUNKS_PER_ALL):
            self._make_table(self._buckets)

    def _let_go(self, number: int) -> None:
        """A chunk is over. Where nothing but the table names its records, its entries stay for now."""
        chunk, words = self._chunks.pop(number), self._directory[number]
        self.rows -= chunk.count
        if words[CHUNK_LINKED]:
            self._head[HEAD_KEYS] -= forget_chunk(
                address(self._directory), number, chunk.count, self._table_at, self._buckets - 1
            )
            self._free.append(number)
        else:
            self._over += chunk.count
            self._named.append(number)
        words[:] = 0
        self._spare = [*self._spare, chunk][-_SPARE_MAX:]
        if number == self._head[HEAD_CHUNK]:
            self._open_chunk()

    def _make_table(self, buckets: int) -> None:
        """Makes the table anew, without the entries of chunks that are over, whose numbers are free then."""
        directory, keys = address(self._directory), int(self._head[HEAD_KEYS]) - self._over
        if buckets == self._buckets:
            strays = np.empty(max(1, keys), dtype=np.uint64)
            found = sweep_entries(directory, self._table_at, buckets - 1, strays)
        else:
            before, at, mask = self._table, self._table_at, self._buckets - 1
            self._set_table(buckets)
            found = move_entries(directory, at, mask, self._table_at, buckets - 1)
            del before
        entered, full = found & 0xFFFFFFFF, found >> 32
        assert entered == self._head[HEAD_KEYS] - self._over, "each key has an entry"
        self._head[HEAD_KEYS], self._head[HEAD_FULL] = entered, full
        self._head[HEAD_FULL_MAX] = full + max(1, buckets // 8)
        self._over = 0
        self._free += self._named
        self._named = []
        if 2 * full > buckets:
            self._make_table(2 * buckets)

    def snapshot(self) -> Iterator[tuple[pa.RecordBatch, Int64s]]:
        """The keys of kept rows and their times, ns, part by part."""
        for chunk in self._chunks.values():
            if chunk.count:
                yield self._keys_of(chunk), chunk.records[: chunk.count, RECORD_TIME].copy()

    @property
    def _current(self) -> _Chunk:
        return self._chunks[int(self._head[HEAD_CHUNK])]

    def _note(self, keys: pa.RecordBatch, new: npt.NDArray[np.uint8], begin: int, end: int) -> None:
        """Takes over what the kernel says of the chunk, and the key columns of rows that it has kept."""
        chunk, head = self._current, self._head
        added = int(head[HEAD_COUNT]) - chunk.count
        self.rows += added
        chunk.count, chunk.high = int(head[HEAD_COUNT]), int(head[HEAD_HIGH])
        self._over -= int(head[HEAD_REUSED])
        head[HEAD_REUSED] = 0
        if added and self._keeps_columns:
            which = pa.array(begin + np.flatnonzero(new[begin:end]))
            chunk.keys.append(keys_without_views(keys).take(which))

    def _make_room(self, length: int) -> None:
        """A further row has no room in the chunk, or in the table.

        Args:
            length: of its key's bytes.
        """
        chunk, head = self._current, self._head
        if head[HEAD_COUNT] >= head[HEAD_ROOM]:
            self._mean_bytes = max(8, int(head[HEAD_USED]) // chunk.count)
            self._open_chunk()
        elif self._is_bytes and head[HEAD_USED] + length > head[HEAD_SIZE]:
            size = max(2 * len(chunk.bytes), int(head[HEAD_USED]) + length)
            grown = np.empty(size, dtype=np.uint8)
            grown[: head[HEAD_USED]] = chunk.bytes[: head[HEAD_USED]]
            chunk.bytes = grown
            self._describe(int(head[HEAD_CHUNK]))
        elif head[HEAD_KEYS] - self._over < _KEYS_PER_BUCKET * self._buckets:
            self._make_table(self._buckets)
        else:
            self._make_table(self._buckets * (4 if self._buckets < 1024 else 2))

    def _open_chunk(self) -> None:
        room = min(max(self.rows // _CHUNKS_PER_ALL, CHUNK_MIN), CHUNK_MAX)
        room = 1 << (room.bit_length() - 1)  # few sizes, so that chunks are used again
        if self._free:
            number = self._free.pop()
        else:
            number = len(self._chunks) + len(self._named)
            if number == _CHUNKS_MAX:
                raise MemoryError("there are more than 2**32 keys")
            if number == len(self._directory):
                self._directory = np.concatenate([self._directory, np.zeros_like(self._directory)])
        size = room * (self._mean_bytes + self._mean_bytes // 4 + 8)
        fits = [c for c in self._spare if len(c.nulls) == room and len(c.bytes) >= size * self._is_bytes]
        if fits:
            chunk = self._chunks[number] = fits[0]
            self._spare.remove(chunk)
            chunk.clear()
        else:
            self._chunks[number] = _Chunk(room, self._is_bytes, size)
        head = self._head
        head[HEAD_CHUNK], head[HEAD_ROOM], head[HEAD_HIGH] = number, room, MIN_TIME
        head[HEAD_COUNT] = head[HEAD_USED] = 0
        self._describe(number)

    def _describe(self, number: int) -> None:
        chunk, words = self._chunks[number], self._directory[number]
        words[CHUNK_RECORDS], words[CHUNK_NULLS] = address(chunk.records), address(chunk.nulls)
        words[CHUNK_ENDS], words[CHUNK_BYTES] = address(chunk.ends), address(chunk.bytes)
        self._head[HEAD_SIZE] = len(chunk.bytes)

    def _set_table(self, buckets: int) -> None:
        """An empty table, whose buckets begin with a cache line."""
        self._buckets = buckets
        self._table = np.zeros((buckets + 1) * BUCKET_WORDS, dtype=np.uint64)
        line = 8 * BUCKET_WORDS
        self._table_at = -(-address(self._table) // line) * line
        self._head[HEAD_FULL], self._head[HEAD_FULL_MAX] = 0, max(1, buckets // 8)

    def _keys_of(self, chunk: _Chunk) -> pa.RecordBatch:
        """The key columns of a chunk's records."""
        if self._keeps_columns:
            chunk.keys = [pa.concat_batches(chunk.keys)]
            keys = chunk.keys[0]
            return canonical_floats(
                keys if keys.schema.types == self.schema.types else keys.cast(self.schema)
            )
        kind = self.schema.types[0]
        words = np.ascontiguousarray(chunk.records[: chunk.count, RECORD_WORD]).view(np.uint64)
        if not self._is_text:
            return pa.RecordBatch.from_arrays([_column(words, chunk.nulls, kind)], schema=self.schema)
        missing = words == NULL_WORD
        column = pa.LargeBinaryArray.from_buffers(
            pa.large_string() if _is_string(kind) else pa.large_binary(),
            chunk.count,
            [
                pa.array(~missing).buffers()[1] if missing.any() else None,
                pa.py_buffer(chunk.ends[: chunk.count + 1].copy()),
                pa.py_buffer(chunk.bytes[: chunk.ends[chunk.count]].copy()),
            ],
        )
        return pa.RecordBatch.from_arrays([column.cast(kind)], schema=self.schema)


def _buckets_for(keys: int) -> int:
    """How many buckets are enough for so many keys."""
    return max(_BUCKETS_MIN, 1 << int(keys / _KEYS_PER_BUCKET).bit_length())


def _column(words: npt.NDArray[np.uint64], nulls: npt.NDArray[np.uint8], kind: pa.DataType) -> pa.Array:
    """Words as the column that they were made of."""
    assert is_word(kind)
    missing = nulls[: len(words)].view(np.bool_)
    mask = missing if missing.any() else None
    if pa.types.is_boolean(kind):
        return pa.array(words != 0, mask=mask)
    if pa.types.is_floating(kind):
        values = words.view(np.float64).astype(kind.to_pandas_dtype())
        return pa.array(values, mask=mask, from_pandas=False)
    return pa.array(words.astype(storage_dtype(kind)), mask=mask).view(kind)


def _is_string(kind: pa.DataType) -> bool:
    kind = decoded_type(kind)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    kind = decoded_type(kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _memory(place: int, size: int) -> memoryview:
    """Some bytes of memory that something else owns."""
    return memoryview((ctypes.c_uint8 * size).from_address(place))
