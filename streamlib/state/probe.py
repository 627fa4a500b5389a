"""The loop that finds each row's record: pane by window start, slot by key, a new slot where there is none.

The table of a pane is open addressing with linear probing over 8-byte entries; keys are compared
in the record, which the caller is about to change anyway.
"""

from __future__ import annotations

import numpy as np

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.columns import is_valid
from streamlib.kernels.hashing import LONG_TAG, copy_bytes, equal_bytes, half_hash
from streamlib.kernels.memory import I64, load_i32, load_i64, load_u64, prefetch, store_i64, store_u64
from streamlib.state.layout import (
    ARENA_FULL,
    NO_PANE,
    PANE_ARENA,
    PANE_ARENA_SIZE,
    PANE_ARENA_USED,
    PANE_COUNT,
    PANE_FULL,
    PANE_LIMIT,
    PANE_MASK,
    PANE_NULL_SLOT,
    PANE_NUMBER,
    PANE_RECORDS,
    PANE_START,
    PANE_TABLE,
    PANE_WORDS,
    RECORD_STATE,
    REPORT_NEED,
    REPORT_NOTES,
    REPORT_REASON,
    REPORT_START,
)
from streamlib.state.spare_probe import open_spare

_HALF = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_PANE_BYTES = np.int64(8 * PANE_WORDS)
_PANE_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

ENTRIES_AHEAD, RECORDS_AHEAD, BYTES_AHEAD, FETCHED = 16, 8, 4, 4
"""How many rows ahead table entries, records and bytes of keys are fetched, and of how many rows at a time."""

_ALONE = 32
"""How many rows are looked at one by one where the first of them has no record, or a long key: others may follow."""


@inline
def pane_place(start: I64, mask: I64) -> I64:
    """Where in the directory the search for a window start begins (Fibonacci hashing)."""
    return np.int64((np.uint64(start) * _PANE_MULTIPLIER) >> _HALF) & mask


@inline
def find_pane(directory: I64, mask: I64, start: I64) -> I64:
    """The address of a pane's descriptor; of a free place when there is no such pane."""
    place = pane_place(start, mask)
    pane = directory + place * _PANE_BYTES
    while load_i64(pane, PANE_START) != start and load_i64(pane, PANE_TABLE) != 0:
        place = (place + 1) & mask
        pane = directory + place * _PANE_BYTES
    return pane


@inline
def end_of_search(table: I64, mask: I64, half: I64) -> I64:
    """The place of the first entry with these bits of hash, or the free one before it.

    Four entries are looked at together, since no processor can foretell at which one a search ends.
    """
    place = np.int64(half) & mask
    ends = np.int64(0)
    while True:
        for k in range(4):
            entry = load_u64(table, (place + k) & mask)
            ends |= np.int64((entry == _ZERO) | (entry >> _HALF == half)) << k
        if ends != 0:
            break
        place += 4
    low = ends & -ends
    return (place + (low >> 1) - (low >> 3)) & mask


@inline
def fetch_ahead(
    begin: I64,
    rows: I64,
    starts: I64,
    words: I64,
    directory: I64,
    directory_mask: I64,
    record_words: I64,
    places: I64,
    panes: I64,
    long_keys: bool,
) -> None:
    """Brings what `find_records` will read into the cache, some rows ahead of those from `begin` on.

    Table entries first, then records, then bytes of long keys: each of these waits for what was asked for a few
    rows before, and the processor has work in between. When more is asked for at once, lines are lost on the
    way. Only for panes that do not fit into the cache.

    Args:
        begin: ENTRIES_AHEAD below 0 at first, where nothing is fetched yet.
        places, panes: addresses of `rows` words each. `places` becomes by row where its key's entry was seen, or
            the free place that ends the search; -1 where its pane is not open.
        long_keys: key words may stand for bytes in the arena (BYTES keys).
    """
    for i in range(max(begin + ENTRIES_AHEAD, np.int64(0)), min(begin + ENTRIES_AHEAD + FETCHED, rows)):
        pane = find_pane(directory, directory_mask, load_i64(starts, i))
        table = load_i64(pane, PANE_TABLE)
        home = np.int64(half_hash(load_u64(words, i))) & load_i64(pane, PANE_MASK)
        entry = table + 8 * home if table != 0 else directory
        prefetch(entry)
        prefetch(entry + 56)  # a search may go on in the next line
        store_i64(panes, i, pane)
    for i in range(max(begin + RECORDS_AHEAD, np.int64(0)), min(begin + RECORDS_AHEAD + FETCHED, rows)):
        pane = load_i64(panes, i)
        table = load_i64(pane, PANE_TABLE)
        place, record = np.int64(-1), np.int64(0)
        if table != 0:
            mask = load_i64(pane, PANE_MASK)
            place = end_of_search(table, mask, half_hash(load_u64(words, i)))
            known = np.int64(load_u64(table, place) & _LOW_HALF)
            slot = known - 1 + np.int64(known == 0) * (load_i64(pane, PANE_COUNT) + 1)  # without a branch
            at = load_i64(pane, PANE_RECORDS) + slot * (8 * record_words)
            prefetch(at)
            if record_words != 8:
                prefetch(at + (8 * record_words - 8))
            record = at if known != 0 else np.int64(0)
        store_i64(places, i, place)
        if long_keys:
            store_i64(panes, i, record)
    if long_keys:
        for i in range(max(begin + BYTES_AHEAD, np.int64(0)), min(begin + BYTES_AHEAD + FETCHED, rows)):
            record = load_i64(panes, i)
            word = load_u64(record, 0) if record != 0 else _ZERO
            if word >= LONG_TAG:
                pane = find_pane(directory, directory_mask, load_i64(starts, i))
                prefetch(load_i64(pane, PANE_ARENA) + np.int64(word - LONG_TAG))


@inline
def insert(
    pane: I64,
    word: I64,
    half: I64,
    place: I64,
    is_null: bool,
    long_keys: bool,
    offsets: I64,
    data: I64,
    row: I64,
    template: I64,
    record_words: I64,
    report: I64,
) -> I64:
    """Gives a new key the next slot and a record without rows; returns its address.

    Returns 0 where the pane has no room, and says so in `report`; nothing is changed then.

    Args:
        place: the free place in the table where the search ended.
    """
    count = load_i64(pane, PANE_COUNT)
    used = load_i64(pane, PANE_ARENA_USED)
    begin, length = np.int64(0), np.int64(0)
    is_long = long_keys and word >= LONG_TAG
    if is_long:
        begin = load_i32(offsets, row)
        length = load_i32(offsets, row + 1) - begin
    reason = np.int64(0)
    if count >= load_i64(pane, PANE_LIMIT):
        reason = np.int64(PANE_FULL)
    elif is_long and used + length + 16 > load_i64(pane, PANE_ARENA_SIZE):
        reason = np.int64(ARENA_FULL)
    if reason != 0:
        store_i64(report, REPORT_REASON, reason)
        store_i64(report, REPORT_START, load_i64(pane, PANE_START))
        store_i64(report, REPORT_NEED, length + 16)
        return np.int64(0)
    record = load_i64(pane, PANE_RECORDS) + count * (8 * record_words)
    store_u64(record, 0, LONG_TAG | np.uint64(used) if is_long else word)
    for k in range(RECORD_STATE, record_words):
        store_i64(record, k, load_i64(template, k))
    if is_long:
        kept = load_i64(pane, PANE_ARENA) + used
        store_i64(kept, 0, length)
        copy_bytes(kept + 8, data + begin, length)
        store_i64(pane, PANE_ARENA_USED, used + 8 + ((length + 7) & ~7))
    if is_null:
        store_i64(pane, PANE_NULL_SLOT, count + 1)
    else:
        store_u64(load_i64(pane, PANE_TABLE), place, (half << _HALF) | np.uint64(count + 1))
    store_i64(pane, PANE_COUNT, count + 1)
    return record


@inline
def same_bytes(pane: I64, kept_word: I64, address: I64, length: I64) -> bool:
    """Whether the key bytes in the arena, of a record with this word, are these."""
    kept = load_i64(pane, PANE_ARENA) + np.int64(kept_word - LONG_TAG)
    return load_i64(kept, 0) == length and equal_bytes(kept + 8, address, length)


@inline
def find_known(
    first: I64,
    rows: I64,
    one_start: bool,
    long_keys: bool,
    starts: I64,
    words: I64,
    directory: I64,
    directory_mask: I64,
    record_bytes: I64,
    found: I64,
) -> I64:
    """Writes the record addresses of rows from `first` on to `found`; returns the first row that is no such case.

    That is a row whose key has a record and stands in its word. Nothing but `found` is written, so that what does
    not change from row to row is read once.
    """
    i = first
    if one_start:
        pane = find_pane(directory, directory_mask, load_i64(starts, first))
        table, records = load_i64(pane, PANE_TABLE), load_i64(pane, PANE_RECORDS)
        mask = np.uint64(load_i64(pane, PANE_MASK))
        if table == 0:
            return first
        while i < rows:
            word = load_u64(words, i)
            slot = known_slot(table, mask, word)
            record = records + slot * record_bytes - record_bytes
            if slot == 0 or (long_keys and word >= LONG_TAG) or load_u64(record, 0) != word:
                break
            store_i64(found, i, record)
            i += 1
        return i
    while i < rows:
        pane = find_pane(directory, directory_mask, load_i64(starts, i))
        table, word = load_i64(pane, PANE_TABLE), load_u64(words, i)
        if table == 0:
            break
        slot = known_slot(table, np.uint64(load_i64(pane, PANE_MASK)), word)
        record = load_i64(pane, PANE_RECORDS) + slot * record_bytes - record_bytes
        if slot == 0 or (long_keys and word >= LONG_TAG) or load_u64(record, 0) != word:
            break
        store_i64(found, i, record)
        i += 1
    return i


@inline
def known_slot(table: I64, mask: I64, word: I64) -> I64:
    """The slot + 1 of the first entry with the half hash of a word; 0 where there is none."""
    half = half_hash(word)
    place = half & mask
    entry = load_u64(table, place)
    while entry >> _HALF != half and entry != _ZERO:
        place = (place + _ONE) & mask
        entry = load_u64(table, place)
    return np.int64(entry & _LOW_HALF)


@inline
def find_records(
    first: I64,
    rows: I64,
    one_start: bool,
    fetched: bool,
    starts: I64,
    words: I64,
    long_keys: bool,
    offsets: I64,
    data: I64,
    null_keys: bool,
    validity: I64,
    bit: I64,
    directory: I64,
    directory_mask: I64,
    template: I64,
    record_words: I64,
    notes: I64,
    first_row: I64,
    report: I64,
    found: I64,
    spares: I64,
) -> I64:
    """Writes the record addresses of rows [first, rows) to `found`; returns the row it stopped at.

    Stops at a row whose pane is missing or full, and says so in `report`.

    Args:
        fetched: `found` has the places that `fetch_ahead` has seen.
        one_start: all rows have the same window start.
        starts, words: addresses of window starts and key words of the rows.
        long_keys: key words may stand for bytes in the arena (BYTES keys).
        offsets, data: the bytes of the keys, where long.
        null_keys: keys may be null by `validity` from bit number `bit` (EXACT keys).
        notes: address of pairs (pane number, batch row) of new slots, which `report` counts; 0: not wanted.
        first_row: the batch row of row 0.
        spares: address of the words of spare panes.
    """
    plain = not fetched and (not null_keys or validity == 0)
    i, alone = first, first
    while i < rows:
        if plain and i >= alone:
            known = find_known(
                i,
                rows,
                one_start,
                long_keys,
                starts,
                words,
                directory,
                directory_mask,
                8 * record_words,
                found,
            )
            alone = known + (1 if known > i else _ALONE)
            i = known
            if i == rows:
                break
        start = load_i64(starts, i)
        pane = find_pane(directory, directory_mask, start)
        if load_i64(pane, PANE_TABLE) == 0 and not open_spare(pane, start, spares):
            store_i64(report, REPORT_REASON, NO_PANE)
            store_i64(report, REPORT_START, start)
            return i
        table = load_i64(pane, PANE_TABLE)
        word = load_u64(words, i)
        is_null = null_keys and validity != 0 and not is_valid(validity, bit + i)
        mask = np.uint64(load_i64(pane, PANE_MASK))
        records = load_i64(pane, PANE_RECORDS)
        half = half_hash(word)
        place = np.int64(half & mask)
        if fetched:
            seen = load_i64(found, i)
            place = seen if seen >= 0 else place
        record = np.int64(0)
        if is_null:
            slot = load_i64(pane, PANE_NULL_SLOT)
            if slot != 0:
                record = records + (slot - 1) * (8 * record_words)
        else:
            entry = load_u64(table, place)
            while entry != _ZERO:
                if entry >> _HALF == half:
                    kept = records + np.int64((entry & _LOW_HALF) - _ONE) * (8 * record_words)
                    kept_word = load_u64(kept, 0)
                    if not long_keys or word < LONG_TAG:
                        if kept_word == word:
                            record = kept
                            break
                    elif kept_word >= LONG_TAG:
                        begin = load_i32(offsets, i)
                        if same_bytes(pane, kept_word, data + begin, load_i32(offsets, i + 1) - begin):
                            record = kept
                            break
                place = np.int64((np.uint64(place) + _ONE) & mask)
                entry = load_u64(table, place)
        if record == 0:
            record = insert(
                pane,
                word,
                half,
                place,
                is_null,
                long_keys,
                offsets,
                data,
                i,
                template,
                record_words,
                report,
            )
            if record == 0:
                return i
            if notes != 0:
                note = load_i64(report, REPORT_NOTES)
                store_i64(notes, 2 * note, load_i64(pane, PANE_NUMBER))
                store_i64(notes, 2 * note + 1, first_row + i)
                store_i64(report, REPORT_NOTES, note + 1)
        store_i64(found, i, record)
        i += 1
    return rows


@inline
def note_winner(record: I64, word: I64, best: I64, idle: I64, start: I64, notes: I64, noted: I64) -> I64:
    """Notes a record whose winner is the first of this batch; returns how many notes there are.

    Args:
        word: of the record, the one that holds the winner; `idle` without one.
        best: that word before the row.
        start: of the record's window.
        notes: address of pairs (record, window start), with room for one more.
    """
    store_i64(notes, 2 * noted, record)
    store_i64(notes, 2 * noted + 1, start)
    is_first = (best == idle) & (load_i64(record, word) != idle)
    return noted + np.int64(is_first)


@kernel("void(int64, int64, int64, int64)")
def move_entries(old: I64, old_places: I64, new: I64, new_mask: I64) -> None:
    """Enters all entries of a table into a larger, empty one; keys are not needed for it."""
    for i in range(old_places):
        entry = load_u64(old, i)
        if entry != _ZERO:
            place = np.int64(entry >> _HALF) & new_mask
            while load_u64(new, place) != _ZERO:
                place = (place + 1) & new_mask
            store_u64(new, place, entry)


@kernel("void(int64, int64)")
def split_entries(table: I64, places: I64) -> None:
    """Spreads the entries of a table over twice its places: as many follow it, and are free.

    In the order of places, so that an entry finds only such before it as stay: those in front of its place
    have moved already, and none lies before its home. For that the first entries, some of which may have
    their homes at the end of the table, are taken out until the others have moved.
    """
    first = np.int64(0)
    while load_u64(table, first) != _ZERO:
        first += 1
    taken = np.empty(first, dtype=np.uint64)
    for i in range(first):
        taken[i] = load_u64(table, i)
        store_u64(table, i, _ZERO)
    mask = 2 * places - 1
    for i in range(first, places + first):
        entry = load_u64(table, i) if i < places else taken[i - places]
        if entry != _ZERO:
            if i < places:
                store_u64(table, i, _ZERO)
            place = np.int64(entry >> _HALF) & mask
            while load_u64(table, place) != _ZERO:
                place = (place + 1) & mask
            store_u64(table, place, entry)
