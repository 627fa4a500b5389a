"""The slots of keys that come often, found in half the time that the table of all keys takes.

Sets of four keys, a cache line each, by a hash of the key's word; a key that finds its set full takes the last
place. Keys that do not fit into a word, and null, are not here. What is here is right, or is cleared: the table
says so whenever a key gives up its slot.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.columns import is_valid
from streamlib.kernels.hashing import K0, bytes_word
from streamlib.kernels.keys import EncodedKeys, KeyKind
from streamlib.kernels.memory import I64, load_i32, load_i64, load_u64, store_i64, store_u64

Int64s = npt.NDArray[np.int64]

SET_BITS = 12
_WAYS = 4
_SET_BYTES = np.int64(16 * _WAYS)
_SET_SHIFT = np.uint64(64 - SET_BITS)
_NO_WORD = np.int64(-1)
_THREE = np.uint64(3)
_TOP = np.uint64(56)

ROWS_MIN = 1024
"""With fewer rows the table is asked at once."""
_MISSES_MAX = 4
"""Where one row of so many is not here, the table is asked for all."""
_PAUSE_MAX = 64
"""So many calls go to the table alone, before it is tried again whether keys come often."""


@inline
def set_of(cache: I64, word: I64) -> I64:
    """The address of the set of a key's word."""
    return cache + np.int64((np.uint64(word) * K0) >> _SET_SHIFT) * _SET_BYTES


@inline
def short_length(is_bytes: bool, offsets: I64, validity: I64, bit: I64, row: I64) -> I64:
    """How many bytes a row's key has, 0 where it is a word; -1 where it is null or does not fit into one."""
    if validity != 0 and not is_valid(validity, bit + row):
        return _NO_WORD
    length = np.int64(0)
    if is_bytes:
        length = load_i32(offsets, row + 1) - load_i32(offsets, row)
    return length if length < 8 else _NO_WORD


@inline
def kept_slot(cache: I64, word: I64) -> I64:
    """The slot of a key's word plus one; 0 where it is not here."""
    place = set_of(cache, word)
    if load_u64(place, 0) == word:
        return load_i64(place, _WAYS)
    for way in range(1, _WAYS):
        if load_u64(place, way) == word:
            return load_i64(place, _WAYS + way)
    return np.int64(0)


@inline
def cached_texts(rows: I64, offsets: I64, data: I64, end: I64, cache: I64, found: I64, misses: I64) -> I64:
    """As `cached_slots`, for texts or bytes without nulls."""
    count, begin, within = np.int64(0), load_i32(offsets, 0), rows
    while within > 0 and data + load_i32(offsets, within - 1) + 8 > end:
        within -= 1
    for row in range(within):  # eight bytes from where they begin can be read
        following, slot = load_i32(offsets, row + 1), np.int64(0)
        length = following - begin
        if length < 8:
            high = ~np.uint64(0) << (np.uint64(length) << _THREE)
            word = (load_u64(data + begin, 0) & ~high) | (np.uint64(length) << _TOP)
            slot = kept_slot(cache, word)
        begin = following
        store_i64(found, row, slot - 1)
        if slot == 0:
            store_i64(misses, count, row)
            count += np.int64(1)
    for row in range(within, rows):
        following, slot = load_i32(offsets, row + 1), np.int64(0)
        if following - begin < 8:
            slot = kept_slot(cache, bytes_word(data + begin, following - begin, end))
        begin = following
        store_i64(found, row, slot - 1)
        if slot == 0:
            store_i64(misses, count, row)
            count += np.int64(1)
    return count


@kernel("int64(int64, boolean, int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def cached_slots(
    rows: I64,
    is_bytes: bool,
    values: I64,
    offsets: I64,
    data: I64,
    end: I64,
    validity: I64,
    bit: I64,
    cache: I64,
    found: I64,
    misses: I64,
) -> I64:
    """Writes the slots of rows to `found`, and the rows whose keys are not here to `misses`; returns their number.

    Args:
        is_bytes, values, offsets, data, end, validity, bit: the keys, as `EncodedKeys` has them.
        cache: address of the sets.
        found, misses: addresses, with room for all rows.
    """
    if is_bytes and validity == 0:
        return cached_texts(rows, offsets, data, end, cache, found, misses)
    count = np.int64(0)
    for row in range(rows):
        length, slot = short_length(is_bytes, offsets, validity, bit, row), np.int64(0)
        if length >= 0:
            word = (
                bytes_word(data + load_i32(offsets, row), length, end) if is_bytes else load_u64(values, row)
            )
            slot = kept_slot(cache, word)
        store_i64(found, row, slot - 1)
        if slot == 0:
            store_i64(misses, count, row)
            count += np.int64(1)
    return count


@kernel("void(ints, ints, boolean, int64, int64, int64, int64, int64, int64, int64)")
def keep_slots(
    rows: Int64s,
    slots: Int64s,
    is_bytes: bool,
    values: I64,
    offsets: I64,
    data: I64,
    end: I64,
    validity: I64,
    bit: I64,
    cache: I64,
) -> None:
    """Takes in the slots of the keys of some rows: as `cached_slots`."""
    for i in range(len(rows)):
        row = rows[i]
        length = short_length(is_bytes, offsets, validity, bit, row)
        if length >= 0:
            word = (
                bytes_word(data + load_i32(offsets, row), length, end) if is_bytes else load_u64(values, row)
            )
            place, way = set_of(cache, word), np.int64(0)
            while way < _WAYS - 1 and load_i64(place, _WAYS + way) != 0 and load_u64(place, way) != word:
                way += np.int64(1)
            store_u64(place, way, word)
            store_i64(place, _WAYS + way, slots[i] + 1)


class SlotCache:
    """Slots by key.

    >>> import pyarrow as pa
    >>> from streamlib.kernels.keys import KeyEncoder
    >>> encoded = KeyEncoder([pa.string()]).encode([pa.array([None, *(["a", "b"] * 600)])], 1201)
    >>> cache, slots = SlotCache(), np.arange(1201) % 2
    >>> cache.find(encoded) is None, cache.keep(encoded, slots)
    (True, None)
    >>> found, misses = cache.find(encoded)
    >>> found[:3].tolist(), misses[:2].tolist()
    ([-1, 1, 0], [0])
    """

    def __init__(self) -> None:
        self._sets: Int64s | None = None
        self._at = 0
        self._pause = 0
        self._vain = 0
        self._misses: Int64s = np.empty(0, dtype=np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return (0 if self._sets is None else self._sets.nbytes) + self._misses.nbytes

    def clear(self) -> None:
        """Forgets all keys."""
        self._sets = None

    def serves(self, kind: KeyKind, rows: int) -> bool:
        """Whether it is worth asking, as far as is known."""
        if kind is KeyKind.NONE or rows < ROWS_MIN:
            return False
        self._pause -= 1
        return self._pause < 0

    def find(self, keys: EncodedKeys) -> tuple[Int64s, Int64s] | None:
        """The slots of rows, -1 for those that are not here, and which rows these are; None where they are many."""
        if self._sets is None:
            line = int(_SET_BYTES)
            self._sets = np.zeros((line << SET_BITS) // 8 + 8, dtype=np.int64)
            self._at = -(-self._sets.__array_interface__["data"][0] // line) * line
        if len(self._misses) < keys.rows:
            self._misses = np.empty(keys.rows, dtype=np.int64)
        found = np.empty(keys.rows, dtype=np.int64)
        places = [array.__array_interface__["data"][0] for array in (found, self._misses)]
        count = cached_slots(keys.rows, *_memory(keys), self._at, *places)
        if _MISSES_MAX * count > keys.rows:
            self._vain += 1
            self._pause = 0 if self._vain < 2 else min(1 << self._vain, _PAUSE_MAX)
            return None
        self._vain = 0
        return found, self._misses[:count]

    def keep(self, keys: EncodedKeys, slots: Int64s, rows: Int64s | None = None) -> None:
        """Takes in the slots of the keys of some rows, or all."""
        if self._sets is None:
            return  # cleared since it was asked
        if rows is None:
            rows = np.arange(keys.rows)
        keep_slots(rows, np.ascontiguousarray(slots), *_memory(keys), self._at)


def _memory(keys: EncodedKeys) -> tuple[bool, int, int, int, int, int, int]:
    is_bytes = keys.kind is KeyKind.BYTES
    return is_bytes, keys.values, keys.offsets, keys.data, keys.end, keys.validity, keys.bit
