"""The fast way into what is collected: one loop over a batch that serves all its panes.

Where values are machine words, a kernel writes each row straight to its pane's buffers or table. A pane
is known to it by a *card*, a row of 8 words (addresses, room, what is used); it stops at a row whose
pane has no room, and goes on from there when Python has made some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import Kernel, inline, kernel
from streamlib.kernels.columns import WordColumn, is_valid
from streamlib.kernels.hashing import hash_word
from streamlib.kernels.memory import I64, load_i64, load_u64, prefetch, store_i32, store_i64, store_u64
from streamlib.state.collected.grouping import Located
from streamlib.state.collected.pair_table import CODE_BITS, CODE_MAX

Int64s = npt.NDArray[np.int64]

CARD_WORDS = 8
USED = 0
ROOM = 1
VALUES = 2
"""Rows: address of the values; sets: of the table. 0 for a pane whose rows are left out."""
SLOTS = 3
"""Rows: address of the slots; sets: of how many values each slot has."""
MASK = 4
"""Bits: how many a slot has."""
BASE = 5
FULL = 6
"""Set where there was no room."""

_SPAN_MAX = 4096
_CHUNK = 256
"""Rows that are looked at together. Numba must know it when it compiles."""
_PANES = 4
"""Panes of a chunk that are served one by one: what a card says stays in registers meanwhile."""
_HALF = np.uint64(32)
_ZERO = np.uint64(0)
_SHIFT = np.uint64(CODE_BITS)
_NULL_CODE = np.uint64(CODE_MAX)
_MAX = np.int64(2**63 - 1)


class Near(Protocol):
    """A set of values less a base."""

    @property
    def has_base(self) -> bool:
        """Whether it has had a value."""

    def begin(self, low: int) -> None:
        """Chooses a base for values from about `low` on."""


class Direct(Protocol):
    """What takes rows directly."""

    def card(self, slots: int) -> Int64s | None:
        """Its card, for so many slots; None where it takes no rows directly."""

    def used(self, count: int) -> None:
        """So many rows or pairs are in it now."""

    def grow(self) -> None:
        """Makes room for more."""


@inline
def chunk_of(row: I64, numbers: Int64s, rows: I64) -> tuple[I64, I64, I64]:
    """How far the chunk from `row` on goes, and the lowest and highest number of its panes, which are few.

    Where a chunk's panes would be many, it is a run of rows of one pane.
    """
    stop = min(row + _CHUNK, rows)
    lowest, highest = numbers[row], numbers[row]
    for i in range(row, stop):
        lowest = min(lowest, numbers[i])
        highest = max(highest, numbers[i])
    if highest - lowest >= _PANES:
        lowest, highest, last = numbers[row], numbers[row], stop
        stop = row + 1
        while stop < last and numbers[stop] == lowest:
            stop += 1
    return stop, lowest, highest


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
    single, rows, row = len(numbers) == 0, len(slots), begin
    while row < rows:
        stop, first, last = min(row + _CHUNK, rows), low, low
        if not single:
            stop, first, last = chunk_of(row, numbers, rows)
        lacking = False
        for number in range(first, last + 1):
            need = stop - row
            if first != last:
                need = np.int64(0)
                for i in range(row, stop):
                    need += np.int64(numbers[i] == number)
            if cards[number - low, ROOM] - cards[number - low, USED] < need:
                cards[number - low, FULL] = 1
                lacking = True
        if lacking:
            return row
        for number in range(first, last + 1):
            at = number - low
            to, owners, count = cards[at, VALUES], cards[at, SLOTS], cards[at, USED]
            if to == 0:
                continue
            if first == last and validity == 0:
                for i in range(stop - row):
                    store_i64(to, count + i, load_i64(values, row + i))
                    store_i32(owners, count + i, slots[row + i])
                count += stop - row
            else:
                for i in range(row, stop):
                    # Written whether it stays or not: there is a place behind the last one.
                    store_i64(to, count, load_i64(values, i))
                    store_i32(owners, count, slots[i])
                    stays = first == last or numbers[i] == number
                    count += np.int64(stays and (validity == 0 or is_valid(validity, bit + i)))
            cards[at, USED] = count
        row = stop
    return rows


@kernel("int64(int64, ints, ints, int64, int64[:,::1], int64, int64, int64)")
def set_bits(
    begin: I64, slots: Int64s, numbers: Int64s, low: I64, cards: Int64s, values: I64, validity: I64, bit: I64
) -> I64:
    """As `append_words`, into sets with a bit for each slot and value; stops where one has no bit.

    Rows from where it stops on may have been added.
    """
    single, rows, row = len(numbers) == 0, len(slots), begin
    while row < rows:
        stop, first, last = min(row + _CHUNK, rows), low, low
        if not single:
            stop, first, last = chunk_of(row, numbers, rows)
        for number in range(first, last + 1):
            at = number - low
            table, codes, base = cards[at, VALUES], cards[at, MASK], np.uint64(cards[at, BASE])
            if table == 0:
                continue
            for i in range(row, stop):
                if first != last and numbers[i] != number:
                    continue
                if validity != 0 and not is_valid(validity, bit + i):
                    continue
                code = load_u64(values, i) - base
                if code >= np.uint64(codes):
                    return row
                place = slots[i] * codes + np.int64(code)
                word = load_i64(table, place >> 6)
                store_i64(table, place >> 6, word | (np.int64(1) << (place & 63)))
        row = stop
    return rows


@kernel("int64(int64, ints, ints, int64, int64[:,::1], int64, int64, int64)")
def insert_near(
    begin: I64, slots: Int64s, numbers: Int64s, low: I64, cards: Int64s, values: I64, validity: I64, bit: I64
) -> I64:
    """As `append_words`, into sets of values less a base; stops too where one is too far from it.

    The rows of a chunk are done pane by pane: first their places are found and asked for, so that many
    misses are under way at once. What a place holds cannot be foreseen, so no branch depends on it: it is
    written again if it stays, and rows whose place is another's go on to the next one in a further turn.
    Rows from where it stops on may have been added.
    """
    single, rows, row = len(numbers) == 0, len(slots), begin
    places, words = np.empty(_CHUNK, dtype=np.int64), np.empty(_CHUNK, dtype=np.uint64)
    owners = np.empty(_CHUNK, dtype=np.int64)
    while row < rows:
        stop, first, last = min(row + _CHUNK, rows), low, low
        if not single:
            stop, first, last = chunk_of(row, numbers, rows)
        for number in range(first, last + 1):
            at = number - low
            if cards[at, VALUES] == 0:
                continue
            table, mask, base = cards[at, VALUES], cards[at, MASK], np.uint64(cards[at, BASE])
            count, far = np.int64(0), False
            for i in range(row, stop):
                code = load_u64(values, i) - base
                stays = first == last or numbers[i] == number
                if validity != 0:
                    stays = stays and is_valid(validity, bit + i)
                far |= stays and code >= _NULL_CODE
                word = (np.uint64(slots[i] + 1) << _SHIFT) | code
                place = np.int64(hash_word(word) >> _HALF) & mask
                prefetch(table + 8 * place)
                places[count], words[count], owners[count] = place, word, slots[i]
                count += np.int64(stays)
            if far:
                return row
            used, room, sizes = cards[at, USED], cards[at, ROOM], cards[at, SLOTS]
            while count > 0:
                left = np.int64(0)
                for k in range(count):
                    if used == room:
                        cards[at, USED], cards[at, FULL] = used, 1
                        return row
                    place, word, owner = places[k], words[k], owners[k]
                    entry = load_u64(table, place)
                    is_new = np.int64(entry == _ZERO)
                    is_other = (entry != _ZERO) & (entry != word)
                    store_u64(table, place, entry if is_other else word)
                    used += is_new
                    store_i64(sizes, owner, load_i64(sizes, owner) + is_new)
                    places[left], words[left], owners[left] = (place + 1) & mask, word, owner
                    left += np.int64(is_other)
                count = left
            cards[at, USED] = used
        row = stop
    return rows


@kernel("int64(int64, ints, ints, int64, int64[:,::1], int64, int64, int64)")
def insert_wide_words(
    begin: I64, slots: Int64s, numbers: Int64s, low: I64, cards: Int64s, values: I64, validity: I64, bit: I64
) -> I64:
    """As `insert_near`, into sets of pairs of two words."""
    single, rows, row = len(numbers) == 0, len(slots), begin
    places, words = np.empty(_CHUNK, dtype=np.int64), np.empty(_CHUNK, dtype=np.uint64)
    owners = np.empty(_CHUNK, dtype=np.int64)
    while row < rows:
        stop, first, last = min(row + _CHUNK, rows), low, low
        if not single:
            stop, first, last = chunk_of(row, numbers, rows)
        for number in range(first, last + 1):
            at = number - low
            if cards[at, VALUES] == 0:
                continue
            table, mask = cards[at, VALUES], cards[at, MASK]
            count = np.int64(0)
            for i in range(row, stop):
                stays = first == last or numbers[i] == number
                if validity != 0:
                    stays = stays and is_valid(validity, bit + i)
                word = load_u64(values, i)
                place = np.int64(hash_word(word + hash_word(np.uint64(slots[i] + 1))) >> _HALF) & mask
                prefetch(table + 16 * place)
                places[count], words[count], owners[count] = place, word, slots[i]
                count += np.int64(stays)
            used, room, sizes = cards[at, USED], cards[at, ROOM], cards[at, SLOTS]
            while count > 0:
                left = np.int64(0)
                for k in range(count):
                    if used == room:
                        cards[at, USED], cards[at, FULL] = used, 1
                        return row
                    place, word, owner = places[k], words[k], owners[k]
                    pair = table + 16 * place
                    first_word, second_word = load_u64(pair, 0), load_u64(pair, 1)
                    is_new = np.int64(first_word == _ZERO)
                    is_same = (first_word == np.uint64(owner + 1)) & (second_word == word)
                    is_other = (first_word != _ZERO) & (not is_same)
                    store_u64(pair, 0, first_word if is_other else np.uint64(owner + 1))
                    store_u64(pair, 1, second_word if is_other else word)
                    used += is_new
                    store_i64(sizes, owner, load_i64(sizes, owner) + is_new)
                    places[left], words[left], owners[left] = (place + 1) & mask, word, owner
                    left += np.int64(is_other)
                count = left
            cards[at, USED] = used
        row = stop
    return rows


@kernel("UniTuple(int64, 2)(int64, int64, int64, int64)")
def lowest_word(rows: I64, values: I64, validity: I64, bit: I64) -> tuple[I64, I64]:
    """The smallest of a column of words that are not null, as int64, and how many are not null."""
    low, count = _MAX, np.int64(0)
    for i in range(rows):
        if validity == 0 or is_valid(validity, bit + i):
            low = min(low, load_i64(values, i))
            count += 1
    return low, count


def begin_near(sets: Sequence[Near], words: WordColumn, rows: int) -> bool:
    """Readies the sets among these that are new for `rows` words; False where all of them are null."""
    new = [one for one in sets if not one.has_base]
    if not new:
        return True
    low, count = lowest_word(rows, words.values, words.validity, words.bit)
    for one in new if count else ():
        one.begin(int(low))
    return bool(count)


def add_directly(
    function: Kernel[..., int],
    kept: Mapping[int, tuple[Direct, int]],
    touched: Sequence[int],
    located: Located,
    words: WordColumn,
) -> int:
    """Has a kernel add the rows of a batch; returns the row from which on it could not.

    Args:
        kept: by number of the pane: what takes rows, and how many slots it has. Rows of others are left out.
        touched: the numbers of all panes that have rows here.
        located: where the rows belong.
        words: their values.
    """
    slots = located.slots
    numbers = slots[:0] if located.numbers is None else located.numbers
    low, high = min(touched), max(touched)
    if high - low >= _SPAN_MAX:
        return 0
    cards = np.zeros((high - low + 1, CARD_WORDS), dtype=np.int64)
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
        full = (np.flatnonzero(cards[:, FULL]) + low).tolist()
        if row == len(slots) or not full:
            return row
        for number in full:
            item, count = kept[number]
            item.grow()
            card = item.card(count)
            assert card is not None, "what took rows takes more"
            cards[number - low] = card
