"""Sets of pairs in open-addressing tables: (slot, code) in 8 bytes, perhaps with a count each, and in 16.

A word is slot + 1 above 36 bits of code; 0 is a free place. Of words that differ in their lowest
`shift` bits only, the largest is kept: so a register of a sketch keeps its largest rank.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import kernel
from streamlib.kernels.hashing import hash_word
from streamlib.kernels.memory import I64, prefetch
from streamlib.state.pane import address

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]

CODE_BITS = 36
CODE_MAX = 2**CODE_BITS - 1
SLOTS_MAX = 2 ** (64 - CODE_BITS) - 2

_PLACES_MIN = 64
PLACES_CACHED = 32_768
"""Places of a table that fits into the second-level cache."""
AHEAD = np.int64(16)
_NULL_BIT = 2**40
_SLOT_MASK = _NULL_BIT - 1
_HALF = np.uint64(32)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_BITS = np.uint64(CODE_BITS)
_CODE_MASK = np.uint64(CODE_MAX)


@kernel("int64(words, ints, int64, int64, int64, uint64[::1], int64, int64[::1], int64[::1], int64[::1])")
def insert_words(
    added: Uint64s,
    weights: Int64s,
    begin: I64,
    shift: I64,
    limit: I64,
    table: Uint64s,
    address: I64,
    counts: Int64s,
    sizes: Int64s,
    used: Int64s,
) -> I64:
    """Enters words from `begin` on; returns the row it stopped at for want of room.

    Args:
        weights: what each adds to its count; empty where there are no counts.
        limit: the most words in the table.
        address: of the table.
        sizes: the number of words of each slot; empty where it is not asked for.
        used: one item, the words in it.
    """
    mask = np.uint64(len(table) - 1)
    low = np.uint64(shift)
    counted, sized, large = len(weights) > 0, len(sizes) > 0, len(table) > PLACES_CACHED
    taken = used[0]
    for i in range(begin, len(added)):
        if large and i + AHEAD < len(added):
            prefetch(address + np.int64(8) * np.int64((hash_word(added[i + AHEAD] >> low) >> _HALF) & mask))
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
            if sized:
                sizes[np.int64(word >> _BITS) - 1] += 1
        elif word > entry:
            table[place] = word
        if counted:
            counts[place] += weights[i]
    used[0] = taken
    return len(added)


@kernel("int64(ints, ints, int64, int64, uint64[:,::1], int64, int64[::1], int64[::1])")
def insert_wide(
    owners: Int64s,
    values: Int64s,
    begin: I64,
    limit: I64,
    table: Uint64s,
    address: I64,
    sizes: Int64s,
    used: Int64s,
) -> I64:
    """As `insert_words`, of pairs of two words: an owner, which is not 0, and any value."""
    mask = np.uint64(len(table) - 1)
    large = len(table) > PLACES_CACHED
    taken = used[0]
    for i in range(begin, len(owners)):
        if large and i + AHEAD < len(owners):
            ahead = hash_word(np.uint64(values[i + AHEAD]) + hash_word(np.uint64(owners[i + AHEAD])))
            prefetch(address + np.int64(16) * np.int64((ahead >> _HALF) & mask))
        owner, value = np.uint64(owners[i]), np.uint64(values[i])
        place = (hash_word(value + hash_word(owner)) >> _HALF) & mask
        while table[place, 0] != _ZERO and (table[place, 0] != owner or table[place, 1] != value):
            place = (place + _ONE) & mask
        if table[place, 0] == _ZERO:
            if taken >= limit:
                used[0] = taken
                return i
            taken += 1
            table[place, 0] = owner
            table[place, 1] = value
            sizes[np.int64(owner & np.uint64(_SLOT_MASK)) - 1] += 1
    used[0] = taken
    return len(owners)


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


@kernel("UniTuple(int64, 2)(words)")
def code_range(table: Uint64s) -> tuple[I64, I64]:
    """The lowest and the highest code of a table's words."""
    low, high = _CODE_MASK, _ZERO
    for place in range(len(table)):
        code = table[place] & _CODE_MASK
        low = min(low, code - np.uint64(table[place] == _ZERO))  # of a free place the largest uint64
        high = max(high, code)
    return np.int64(low), np.int64(high)


def pair_words(slots: Int64s, codes: Int64s) -> Uint64s:
    """The words of pairs."""
    words: Uint64s = ((slots + 1) << CODE_BITS).view(np.uint64) | codes.view(np.uint64)
    return words


class PairTable:
    """The pairs of one pane.

    Args:
        shift: pairs whose codes differ in their lowest `shift` bits only are one, with the largest code.
        counted: each pair has a count.
        places: how large to begin.

    >>> pairs = PairTable()
    >>> pairs.add(pair_words(np.array([0, 1, 0]), np.array([7, 7, 7])))
    >>> len(pairs), pairs.per_slot(3).tolist()
    (2, [1, 1, 0])
    """

    __slots__ = ("_counts", "_shift", "_sizes", "_table", "_used", "counted")

    def __init__(self, shift: int = 0, counted: bool = False, places: int = _PLACES_MIN) -> None:
        self._shift = shift
        self.counted = counted
        self._sizes = np.zeros(0, dtype=np.int64)
        self._reset(places)

    def __len__(self) -> int:
        return int(self._used[0])

    @property
    def places(self) -> int:
        """Its size: what a table for as many pairs may begin with."""
        return len(self._table)

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._table.nbytes + self._counts.nbytes + self._sizes.nbytes

    def add(self, words: Uint64s, weights: Int64s | None = None) -> None:
        """Enters words, each with what it adds to its count (1 where not said)."""
        if len(words) == 0:
            return
        if weights is None:
            weights = np.ones(len(words) if self.counted else 0, dtype=np.int64)
        if self._shift == 0 and not self.counted:
            self._sizes = slots_upto(self._sizes, int(words.max() >> _BITS))
        row = 0
        while True:
            row = self._enter(words, weights, row, len(self._table) // 2)
            if row == len(words):
                return
            self.grow()

    def _enter(self, words: Uint64s, weights: Int64s, row: int, limit: int) -> int:
        table = self._table
        return insert_words(
            words,
            weights,
            row,
            self._shift,
            limit,
            table,
            address(table),
            self._counts,
            self._sizes,
            self._used,
        )

    def card(self, slots: int, base: int) -> Int64s:
        """What `direct` adds to it by."""
        self._sizes = slots_upto(self._sizes, slots)
        table = self._table
        words = [len(self), len(table) // 2, address(table), address(self._sizes), len(table) - 1, base, 0, 0]
        return np.array(words, dtype=np.int64)

    def used(self, count: int) -> None:
        """So many pairs are in it, as others added them."""
        self._used[0] = count

    def grow(self) -> None:
        """Makes room for at least twice as many pairs."""
        words_kept, counts, sizes = *self.words(), self._sizes
        self._reset(len(self._table) * (4 if len(self._table) < PLACES_CACHED else 2))
        self._sizes = np.zeros(0, dtype=np.int64)  # known already
        self._enter(words_kept, counts, 0, len(self._table))
        self._sizes = sizes

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

    def code_range(self) -> tuple[int, int]:
        """The lowest and the highest code; there are pairs."""
        return code_range(self._table)

    def per_slot(self, slots: int) -> Int64s:
        """How many pairs each of the slots has; not of a table with a shift or counts."""
        return slots_upto(self._sizes, slots)[:slots]

    def _reset(self, places: int) -> None:
        self._used = np.zeros(1, dtype=np.int64)
        self._table = np.zeros(places, dtype=np.uint64)
        self._counts = np.zeros(places if self.counted else 0, dtype=np.int64)


class WideTable:
    """A set of pairs (slot, word), for words of all 64 bits; a pair may have null in place of a word.

    Args:
        places: how large to begin.
    """

    __slots__ = ("_sizes", "_table", "_used")

    def __init__(self, places: int = _PLACES_MIN) -> None:
        self._sizes = np.zeros(0, dtype=np.int64)
        self._reset(places)

    def __len__(self) -> int:
        return int(self._used[0])

    @property
    def places(self) -> int:
        """Its size: what a table for as many pairs may begin with."""
        return len(self._table)

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._table.nbytes + self._sizes.nbytes

    def add(self, slots: Int64s, words: Int64s, null: npt.NDArray[np.bool_] | None = None) -> None:
        """Enters pairs.

        Args:
            null: which pairs have null in place of their word.
        """
        if len(slots) == 0:
            return
        owners = slots + 1
        self._sizes = slots_upto(self._sizes, int(owners.max()))
        if null is not None:
            owners, words = owners | (null * _NULL_BIT), np.where(null, 0, words)
        row = 0
        while True:
            row = self._enter(owners, words, row, len(self._table) // 2)
            if row == len(owners):
                return
            self.grow()

    def card(self, slots: int, base: int = 0) -> Int64s:
        """What `direct` adds to it by."""
        self._sizes = slots_upto(self._sizes, slots)
        table = self._table
        words = [len(self), len(table) // 2, address(table), address(self._sizes), len(table) - 1, base, 0, 0]
        return np.array(words, dtype=np.int64)

    def used(self, count: int) -> None:
        """So many pairs are in it, as others added them."""
        self._used[0] = count

    def grow(self) -> None:
        """Makes room for at least twice as many pairs."""
        (kept, words), sizes = self._entries(), self._sizes
        self._reset(len(self._table) * (4 if len(self._table) < PLACES_CACHED else 2))
        self._sizes = np.zeros_like(sizes)
        self._enter(kept, words, 0, len(self._table))

    def pairs(self) -> tuple[Int64s, Int64s, npt.NDArray[np.bool_]]:
        """Slots, words, and which are null."""
        owners, words = self._entries()
        return (owners & _SLOT_MASK) - 1, words, owners >= _NULL_BIT

    def per_slot(self, slots: int) -> Int64s:
        """How many pairs each of the slots has."""
        return slots_upto(self._sizes, slots)[:slots]

    def _entries(self) -> tuple[Int64s, Int64s]:
        used = self._table[self._table[:, 0] != 0].view(np.int64)
        return np.ascontiguousarray(used[:, 0]), np.ascontiguousarray(used[:, 1])

    def _enter(self, owners: Int64s, words: Int64s, row: int, limit: int) -> int:
        table = self._table
        return insert_wide(owners, words, row, limit, table, address(table), self._sizes, self._used)

    def _reset(self, places: int) -> None:
        self._used = np.zeros(1, dtype=np.int64)
        self._table = np.zeros((places, 2), dtype=np.uint64)


def slots_upto(column: Int64s, slots: int) -> Int64s:
    """The column, with room for that many slots at least; new ones are 0."""
    if slots <= len(column):
        return column
    grown = np.zeros(max(slots, 2 * len(column)), dtype=np.int64)
    grown[: len(column)] = column
    return grown
