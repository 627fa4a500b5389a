"""All values of each key of a pane, where they are machine words: 12 bytes a row, as they come."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import Rows, lengths, lists_of, own_values
from streamlib.kernels._jit import kernel
from streamlib.kernels.columns import lane, values_of
from streamlib.kernels.memory import I64, load_i32, load_i64, store_i64
from streamlib.state.pane import address

Int64s = npt.NDArray[np.int64]


@kernel("void(int64, int64, int64, int64, int64, int64)")
def group_words(rows: I64, slots: I64, words: I64, count: I64, ends: I64, out: I64) -> None:
    """Writes words by slot, in their order. All by address.

    Args:
        slots: of the words, int32.
        count: how many slots there are.
        ends: of `count + 1` zeros, which become where each slot's words begin.
    """
    for i in range(rows):
        slot = load_i32(slots, i) + 1
        store_i64(ends, slot, load_i64(ends, slot) + 1)
    for slot in range(count):
        store_i64(ends, slot + 1, load_i64(ends, slot + 1) + load_i64(ends, slot))
    for i in range(rows):
        slot = load_i32(slots, i)
        place = load_i64(ends, slot)
        store_i64(out, place, load_i64(words, i))
        store_i64(ends, slot, place + 1)
    for slot in range(count, 0, -1):
        store_i64(ends, slot, load_i64(ends, slot - 1))
    store_i64(ends, 0, 0)


class KeptWords:
    """Values by slot; nulls are passed over.

    Args:
        collected: what is kept: neither nulls nor places.
        kind: the type of the values.
        room: for how many.

    >>> rows = KeptWords(Rows(), pa.int64(), 64)
    >>> rows.add(np.array([1, 0, 1]), pa.array([5, 6, 7]))
    >>> rows.partial(2).to_pylist()
    [[6], [5, 7]]
    """

    __slots__ = ("_count", "_kind", "_slots", "_words")

    form = "words"

    def __init__(self, collected: Rows, kind: pa.DataType, room: int) -> None:
        assert not (collected.nulls or collected.placed or collected.shrink), "values alone"
        self._kind = kind
        self._count = 0
        self._slots = np.empty(room + 1, dtype=np.int32)  # `direct` writes behind the last one
        self._words = np.empty(room + 1, dtype=np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._slots.nbytes + self._words.nbytes

    @property
    def like(self) -> int:
        """For how many values the next pane may begin."""
        return max(64, self._count + self._count // 8)

    def card(self, slots: int) -> Int64s:
        """What `direct` adds to it by."""
        places = [address(self._words), address(self._slots), 0, 0, 0, 0]
        return np.array([self._count, len(self._slots) - 1, *places], dtype=np.int64)

    def used(self, count: int) -> None:
        """So many values are in it now."""
        self._count = count

    def grow(self) -> None:
        """Makes room for twice as many values."""
        self._reserve(2 * len(self._slots))

    def add(self, slots: Int64s, values: pa.Array) -> None:
        """Adds values."""
        if values.null_count:
            slots, values = slots[np.asarray(values.is_valid())], values.drop_null()
        count = self._count + len(slots)
        if count > len(self._slots):
            self._reserve(max(count, 2 * len(self._slots)))
        self._slots[self._count : count] = slots
        words = np.ascontiguousarray(values_of(values), dtype=lane(self._kind)).view(np.int64)
        self._words[self._count : count] = words
        self._count = count

    def merge(self, slots: Int64s, partial: pa.LargeListArray) -> None:
        """Adds what `partial` of another gave."""
        self.add(np.repeat(slots, lengths(partial)), partial.flatten())

    def partial(self, count: int, slots: Int64s | None = None) -> pa.LargeListArray:
        """The values of each of `count` slots, or of some, in the order they were added."""
        kept, words = self._slots[: self._count], self._words[: self._count]
        if slots is not None:
            place = np.full(count, -1, dtype=np.int32)
            place[slots] = np.arange(len(slots), dtype=np.int32)
            rows = np.flatnonzero(place[kept] >= 0)
            kept, words, count = place[kept[rows]], words[rows], len(slots)
        offsets, grouped = np.zeros(count + 1, dtype=np.int64), np.empty(len(kept), dtype=np.int64)
        group_words(len(kept), address(kept), address(words), count, address(offsets), address(grouped))
        return lists_of(offsets, own_values(grouped, None, self._kind))

    final = partial

    def drop(self, slots: Int64s) -> None:
        """Forgets the values of some slots."""
        stays = np.flatnonzero(~np.isin(self._slots[: self._count], slots))
        self._slots, self._words = self._slots[stays], self._words[stays]
        self._count = len(stays)

    def _reserve(self, room: int) -> None:
        room = max(64, room) + 1
        slots, words = np.empty(room, np.int32), np.empty(room, np.int64)
        slots[: self._count], words[: self._count] = self._slots[: self._count], self._words[: self._count]
        self._slots, self._words = slots, words
