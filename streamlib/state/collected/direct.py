"""The fast way into what is collected: one loop over a batch that serves all its panes.

Where values are machine words, a kernel writes each row straight to its pane's buffers or table. A pane
is known to it by a *card*, a row of 8 words (addresses, room, what is used); it stops at a row whose
pane has no room, and goes on from there when Python has made some.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import Kernel, kernel
from streamlib.kernels.columns import WordColumn, is_valid
from streamlib.kernels.hashing import hash_word
from streamlib.kernels.memory import I64, load_i64, load_u64, prefetch, store_i32, store_i64, store_u64
from streamlib.state.collected.grouping import Located
from streamlib.state.collected.pair_table import AHEAD, CODE_BITS, CODE_MAX, PLACES_CACHED

Int64s = npt.NDArray[np.int64]

CARD_WORDS = 8
USED = 0
ROOM = 1
VALUES = 2
"""Rows: address of the values; sets: of the table."""
SLOTS = 3
"""Rows: address of the slots; sets: of how many values each slot has."""
MASK = 4
BASE = 5

_SPAN_MAX = 4096
_HALF = np.uint64(32)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_SHIFT = np.uint64(CODE_BITS)
_NULL_CODE = np.uint64(CODE_MAX)
_LARGE = PLACES_CACHED
_FAR = np.int64(AHEAD)


class Direct(Protocol):
    """What takes rows directly."""

    def card(self, slots: int) -> Int64s | None:
        """Its card, for so many slots; None where it takes no rows directly."""

    def used(self, count: int) -> None:
        """So many rows or pairs are in it now."""

    def grow(self) -> None:
        """Makes room for more."""


@kernel("int64(int64, ints, ints, int64, int64[:,::1], int64, int64, int64)")
def append_words(
    begin: I64, slots: Int64s, numbers: Int64s, low: I64, cards: Int64s, values: I64, validity: I64, bit: I64
) -> I64:
    """Appends slots and values, where these are not null; returns the row it stopped at.

    Args:
        numbers: of the rows' panes; empty where all are of one.
        low: the number of the first card's pane.
        values, validity, bit: of a column of words.
    """
    single = len(numbers) == 0
    for i in range(begin, len(slots)):
        if validity != 0 and not is_valid(validity, bit + i):
            continue
        at = np.int64(0) if single else numbers[i] - low
        count = cards[at, USED]
        if count == cards[at, ROOM]:
            return i
        store_i64(cards[at, VALUES], count, load_i64(values, i))
        store_i32(cards[at, SLOTS], count, slots[i])
        cards[at, USED] = count + 1
    return len(slots)


@kernel("int64(int64, ints, ints, int64, int64[:,::1], int64, int64, int64)")
def insert_near(
    begin: I64, slots: Int64s, numbers: Int64s, low: I64, cards: Int64s, values: I64, validity: I64, bit: I64
) -> I64:
    """As `append_words`, into sets of values less a base; stops too at a value that is too far from it."""
    single = len(numbers) == 0
    for i in range(begin, len(slots)):
        if i + _FAR < len(slots):
            at = np.int64(0) if single else numbers[i + _FAR] - low
            if cards[at, MASK] >= _LARGE:
                code = load_u64(values, i + _FAR) - np.uint64(cards[at, BASE])
                word = (np.uint64(slots[i + _FAR] + 1) << _SHIFT) | code
                place = np.int64((hash_word(word) >> _HALF) & np.uint64(cards[at, MASK]))
                prefetch(cards[at, VALUES] + 8 * place)
        if validity != 0 and not is_valid(validity, bit + i):
            continue
        at = np.int64(0) if single else numbers[i] - low
        code = load_u64(values, i) - np.uint64(cards[at, BASE])
        if code >= _NULL_CODE:
            return i
        word = (np.uint64(slots[i] + 1) << _SHIFT) | code
        mask, table = np.uint64(cards[at, MASK]), cards[at, VALUES]
        place = (hash_word(word) >> _HALF) & mask
        entry = load_u64(table, np.int64(place))
        while entry != _ZERO and entry != word:
            place = (place + _ONE) & mask
            entry = load_u64(table, np.int64(place))
        if entry == _ZERO:
            if cards[at, USED] == cards[at, ROOM]:
                return i
            cards[at, USED] += 1
            store_u64(table, np.int64(place), word)
            sizes = cards[at, SLOTS]
            store_i64(sizes, slots[i], load_i64(sizes, slots[i]) + 1)
    return len(slots)


@kernel("int64(int64, ints, ints, int64, int64[:,::1], int64, int64, int64)")
def insert_wide_words(
    begin: I64, slots: Int64s, numbers: Int64s, low: I64, cards: Int64s, values: I64, validity: I64, bit: I64
) -> I64:
    """As `insert_near`, into sets of pairs of two words."""
    single = len(numbers) == 0
    for i in range(begin, len(slots)):
        if i + _FAR < len(slots):
            at = np.int64(0) if single else numbers[i + _FAR] - low
            if cards[at, MASK] >= _LARGE:
                ahead = hash_word(load_u64(values, i + _FAR) + hash_word(np.uint64(slots[i + _FAR] + 1)))
                prefetch(cards[at, VALUES] + 16 * np.int64((ahead >> _HALF) & np.uint64(cards[at, MASK])))
        if validity != 0 and not is_valid(validity, bit + i):
            continue
        at = np.int64(0) if single else numbers[i] - low
        owner, value = np.uint64(slots[i] + 1), load_u64(values, i)
        mask, table = np.uint64(cards[at, MASK]), cards[at, VALUES]
        place = (hash_word(value + hash_word(owner)) >> _HALF) & mask
        entry = load_u64(table, np.int64(place) * 2)
        while entry != _ZERO and (entry != owner or load_u64(table, np.int64(place) * 2 + 1) != value):
            place = (place + _ONE) & mask
            entry = load_u64(table, np.int64(place) * 2)
        if entry == _ZERO:
            if cards[at, USED] == cards[at, ROOM]:
                return i
            cards[at, USED] += 1
            store_u64(table, np.int64(place) * 2, owner)
            store_u64(table, np.int64(place) * 2 + 1, value)
            sizes = cards[at, SLOTS]
            store_i64(sizes, slots[i], load_i64(sizes, slots[i]) + 1)
    return len(slots)


def add_directly(
    function: Kernel[..., int], kept: Mapping[int, tuple[Direct, int]], located: Located, words: WordColumn
) -> int:
    """Has a kernel add the rows of a batch; returns the row from which on it could not.

    Args:
        kept: by number of the pane: what takes rows, and how many slots it has.
        located: where the rows belong.
        words: their values.
    """
    slots = located.slots
    numbers = slots[:0] if located.numbers is None else located.numbers
    low = min(kept)
    if max(kept) - low >= _SPAN_MAX:
        return 0
    cards = np.zeros((max(kept) - low + 1, CARD_WORDS), dtype=np.int64)
    for number, (item, count) in kept.items():
        card = item.card(count)
        if card is None:
            return 0
        cards[number - low] = card
    row = 0
    while True:
        row = function(row, slots, numbers, low, cards, words.values, words.validity, words.bit)
        for number, (item, _) in kept.items():
            item.used(int(cards[number - low, USED]))
        if row == len(slots):
            return row
        number = low if located.numbers is None else int(numbers[row])
        item, count = kept[number]
        if cards[number - low, USED] < cards[number - low, ROOM]:
            return row
        item.grow()
        card = item.card(count)
        assert card is not None, "what took rows takes more"
        cards[number - low] = card
