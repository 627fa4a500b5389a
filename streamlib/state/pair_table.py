"""A set of pairs (slot, code) as 8-byte words in an open-addressing table, perhaps with a count each.

A word is slot + 1 above 36 bits of code; 0 is a free place. Of words that differ in their lowest
`shift` bits only, the largest is kept: so a register of a sketch keeps its largest rank.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import kernel
from streamlib.kernels.hashing import hash_word
from streamlib.kernels.memory import I64

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]

CODE_BITS = 36
CODE_MAX = 2**CODE_BITS - 1
SLOTS_MAX = 2 ** (64 - CODE_BITS) - 2

_PLACES_MIN = 64
_HALF = np.uint64(32)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_BITS = np.uint64(CODE_BITS)
_CODE_MASK = np.uint64(CODE_MAX)


@kernel("int64(words, ints, int64, int64, int64, uint64[::1], int64[::1], int64[::1])")
def insert_words(
    added: Uint64s,
    weights: Int64s,
    begin: I64,
    shift: I64,
    limit: I64,
    table: Uint64s,
    counts: Int64s,
    used: Int64s,
) -> I64:
    """Enters words from `begin` on; returns the row it stopped at for want of room.

    Args:
        weights: what each adds to its count; empty where there are no counts.
        limit: the most words in the table.
        used: one item, the words in it.
    """
    mask = np.uint64(len(table) - 1)
    low = np.uint64(shift)
    counted = len(weights) > 0
    taken = used[0]
    for i in range(begin, len(added)):
        word = added[i]
        place = (hash_word(word >> low) >> _HALF) & mask
        entry = table[place]
        while entry != _ZERO and (entry ^ word) >> low != _ZERO:
            place = (place + _ONE) & mask
            entry = table[place]
        if entry == _ZERO:
            if taken >= limit:
                used[0] = taken
                return i
            taken += 1
            table[place] = word
        elif word > entry:
            table[place] = word
        if counted:
            counts[place] += weights[i]
    used[0] = taken
    return len(added)


@kernel("int64(words, uint64[::1], int64[::1])")
def compact_words(table: Uint64s, found: Uint64s, places: Int64s) -> I64:
    """Writes the words in a table and their places; returns how many."""
    count = np.int64(0)
    for place in range(len(table)):
        if table[place] != _ZERO:
            found[count] = table[place]
            places[count] = place
            count += 1
    return count


@kernel("void(words, int64[::1])")
def count_slots(table: Uint64s, counts: Int64s) -> None:
    """Adds to `counts` how many words each slot has."""
    for place in range(len(table)):
        word = table[place]
        if word != _ZERO:
            counts[np.int64(word >> _BITS) - 1] += 1


def pair_words(slots: Int64s, codes: Int64s) -> Uint64s:
    """The words of pairs."""
    words: Uint64s = ((slots + 1) << CODE_BITS).view(np.uint64) | codes.view(np.uint64)
    return words


class PairTable:
    """The pairs of one pane.

    Args:
        shift: pairs whose codes differ in their lowest `shift` bits only are one, with the largest code.
        counted: each pair has a count.

    >>> pairs = PairTable()
    >>> pairs.add(pair_words(np.array([0, 1, 0]), np.array([7, 7, 7])))
    >>> len(pairs), pairs.per_slot(3).tolist()
    (2, [1, 1, 0])
    """

    __slots__ = ("_counts", "_shift", "_table", "_used", "counted")

    def __init__(self, shift: int = 0, counted: bool = False) -> None:
        self._shift = shift
        self.counted = counted
        self._used = np.zeros(1, dtype=np.int64)
        self._table = np.zeros(_PLACES_MIN, dtype=np.uint64)
        self._counts = np.zeros(_PLACES_MIN if counted else 0, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._used[0])

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._table.nbytes + self._counts.nbytes

    def add(self, words: Uint64s, weights: Int64s | None = None) -> None:
        """Enters words, each with what it adds to its count (1 where not said)."""
        if weights is None:
            weights = np.ones(len(words) if self.counted else 0, dtype=np.int64)
        row = 0
        while True:
            limit = len(self._table) // 2
            row = insert_words(
                words, weights, row, self._shift, limit, self._table, self._counts, self._used
            )
            if row == len(words):
                return
            self._grow()

    def empty(self) -> PairTable:
        """A table of the same kind without pairs."""
        return PairTable(self._shift, self.counted)

    def words(self) -> tuple[Uint64s, Int64s]:
        """All words, and their counts (empty without)."""
        found, places = np.empty(len(self), np.uint64), np.empty(len(self), np.int64)
        count = compact_words(self._table, found, places)
        assert count == len(self), "every word is counted"
        return found, self._counts[places] if self.counted else self._counts

    def pairs(self) -> tuple[Int64s, Int64s, Int64s]:
        """Slots, codes and counts."""
        words, counts = self.words()
        slots = (words >> _BITS).view(np.int64) - 1
        return slots, (words & _CODE_MASK).view(np.int64), counts

    def per_slot(self, slots: int) -> Int64s:
        """How many pairs each of the slots has."""
        counts = np.zeros(slots, dtype=np.int64)
        count_slots(self._table, counts)
        return counts

    def _grow(self) -> None:
        words, counts = self.words()
        places = len(self._table) * (4 if len(self._table) < 65_536 else 2)
        self._table = np.zeros(places, dtype=np.uint64)
        self._counts = np.zeros(places if self.counted else 0, dtype=np.int64)
        self._used[0] = 0
        insert_words(words, counts, 0, self._shift, places, self._table, self._counts, self._used)
