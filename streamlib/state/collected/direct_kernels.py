"""The loops that put the rows of a batch into what its panes have collected, all panes in one call.

A pane is known to them by a *card*, a row of 8 words (addresses, room, what is used). They look at rows in
chunks: where a chunk has few panes, each pane's rows are done together, so that its card stays in registers.
They return the row they stopped at, for want of room or of a place for a value.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.columns import is_valid
from streamlib.kernels.hashing import hash_word
from streamlib.kernels.memory import I64, load_i64, load_u64, prefetch, store_i32, store_i64, store_u64
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

_CHUNK = 256
"""Rows that are looked at together. Numba must know it when it compiles."""
_PANES = 4
"""From how many panes on a chunk is served row by row: else what a card says stays in registers for a pane's rows."""
_HALF = np.uint64(32)
_ZERO = np.uint64(0)
_SHIFT = np.uint64(CODE_BITS)
_NULL_CODE = np.uint64(CODE_MAX)
_MAX = np.int64(2**63 - 1)


@inline
def chunk_of(row: I64, numbers: Int64s, rows: I64) -> tuple[I64, I64, I64]:
    """How far the chunk from `row` on goes, and the lowest and highest number of its panes."""
    stop = min(row + _CHUNK, rows)
    lowest, highest = numbers[row], numbers[row]
    part = numbers[row:stop]  # whose indices are not looked at for being negative
    for i in range(len(part)):
        lowest = min(lowest, part[i])
        highest = max(highest, part[i])
    return stop, lowest, highest


@inline
def append_one(i: I64, at: I64, slots: Int64s, cards: Int64s, values: I64) -> bool:
    """Appends one row; False where there is no room."""
    count = cards[at, USED]
    if count == cards[at, ROOM]:
        cards[at, FULL] = 1
        return False
    store_i64(cards[at, VALUES], count, load_i64(values, i))
    store_i32(cards[at, SLOTS], count, slots[i])
    cards[at, USED] = count + 1
    return True


@inline
def enter_near(i: I64, at: I64, slots: Int64s, cards: Int64s, values: I64) -> bool:
    """Enters the value of one row into a set of values less a base; False where that cannot be."""
    table, mask = cards[at, VALUES], cards[at, MASK]
    if table == 0:
        return True
    code = load_u64(values, i) - np.uint64(cards[at, BASE])
    if code >= _NULL_CODE:
        return False
    word = (np.uint64(slots[i] + 1) << _SHIFT) | code
    place = np.int64(hash_word(word) >> _HALF) & mask
    entry = load_u64(table, place)
    while entry != _ZERO and entry != word:
        place = (place + 1) & mask
        entry = load_u64(table, place)
    if entry == _ZERO:
        if cards[at, USED] == cards[at, ROOM]:
            cards[at, FULL] = 1
            return False
        cards[at, USED] += 1
        store_u64(table, place, word)
        sizes = cards[at, SLOTS]
        store_i64(sizes, slots[i], load_i64(sizes, slots[i]) + 1)
    return True


@inline
def enter_wide(i: I64, at: I64, slots: Int64s, cards: Int64s, values: I64) -> bool:
    """Enters the value of one row into a set of pairs of two words; False where there is no room."""
    table, mask = cards[at, VALUES], cards[at, MASK]
    if table == 0:
        return True
    owner, word = np.uint64(slots[i] + 1), load_u64(values, i)
    place = np.int64(hash_word(word + hash_word(owner)) >> _HALF) & mask
    entry = load_u64(table, 2 * place)
    while entry != _ZERO and (entry != owner or load_u64(table, 2 * place + 1) != word):
        place = (place + 1) & mask
        entry = load_u64(table, 2 * place)
    if entry == _ZERO:
        if cards[at, USED] == cards[at, ROOM]:
            cards[at, FULL] = 1
            return False
        cards[at, USED] += 1
        store_u64(table, 2 * place, owner)
        store_u64(table, 2 * place + 1, word)
        sizes = cards[at, SLOTS]
        store_i64(sizes, slots[i], load_i64(sizes, slots[i]) + 1)
    return True


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
        if last - first >= _PANES:
            for i in range(row, stop):
                if validity != 0 and not is_valid(validity, bit + i):
                    continue
                if not append_one(i, numbers[i] - low, slots, cards, values):
                    return i
            row = stop
            continue
        owned, panes, given = slots[row:stop], numbers[row:stop], values + 8 * row
        lacking = False
        for number in range(first, last + 1):
            need = stop - row
            if first != last:
                need = np.int64(0)
                for i in range(len(panes)):
                    need += np.int64(panes[i] == number)
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
                for i in range(len(owned)):
                    store_i64(to, count + i, load_i64(given, i))
                for i in range(len(owned)):
                    store_i32(owners, count + i, owned[i])
                count += len(owned)
            else:
                for i in range(len(owned)):
                    # Written whether it stays or not: there is a place behind the last one.
                    store_i64(to, count, load_i64(given, i))
                    store_i32(owners, count, owned[i])
                    stays = first == last or panes[i] == number
                    count += np.int64(stays and (validity == 0 or is_valid(validity, bit + row + i)))
            cards[at, USED] = count
        row = stop
    return rows


@kernel("int64(int64, ints, ints, int64, int64[:,::1], int64, int64, int64)")
def set_bits(
    begin: I64, slots: Int64s, numbers: Int64s, low: I64, cards: Int64s, values: I64, validity: I64, bit: I64
) -> I64:
    """As `append_words`, into sets with a bit for each slot and value; stops where one has no bit."""
    single, rows, row = len(numbers) == 0, len(slots), begin
    while row < rows:
        stop, first, last = min(row + _CHUNK, rows), low, low
        if not single:
            stop, first, last = chunk_of(row, numbers, rows)
        at = first - low
        table, codes, base = cards[at, VALUES], cards[at, MASK], np.uint64(cards[at, BASE])
        for i in range(row, stop):
            if first != last:
                at = numbers[i] - low
                table, codes, base = cards[at, VALUES], cards[at, MASK], np.uint64(cards[at, BASE])
            if table == 0 or (validity != 0 and not is_valid(validity, bit + i)):
                continue
            code = load_u64(values, i) - base
            if code >= np.uint64(codes):
                return i
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
        if last - first >= _PANES:
            for i in range(row, stop):
                if validity != 0 and not is_valid(validity, bit + i):
                    continue
                if not enter_near(i, numbers[i] - low, slots, cards, values):
                    return i
            row = stop
            continue
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
        if last - first >= _PANES:
            for i in range(row, stop):
                if validity != 0 and not is_valid(validity, bit + i):
                    continue
                if not enter_wide(i, numbers[i] - low, slots, cards, values):
                    return i
            row = stop
            continue
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
