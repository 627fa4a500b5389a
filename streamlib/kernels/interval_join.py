"""Rows of one side of a join: chains by key and a stretch of time, in pages of records.

A row has a number that only grows, and its record lies in the page of that number. A table has, for each
hash of a key and a stretch of time, the number of its newest row, and each record that of the row before
it. So a probe meets the rows of its key in one or two stretches, whatever else is kept. A page goes as a
whole, when no row of it can match any more; links to it are recognised by their age, so that nothing is
unlinked.

Numbers stand in the table and in links by their low 32 bits: what counts is how far they lie behind the
next number, which is less than 2^31 for all rows that are there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.hashing import half_hash
from streamlib.kernels.memory import I64, load_i32, load_i64, load_u64, prefetch, store_i64

Int64s = npt.NDArray[np.int64]
UInt32s = npt.NDArray[np.uint32]
UInt64s = npt.NDArray[np.uint64]

PAGE_BITS = 11
PAGE_ROWS = 1 << PAGE_BITS

TIME, WORD, LINK = range(3)
"""The first words of a record. LINK: in its low half the row before, in its high half flags."""
HEAD_WORDS = 3

BEGIN, END, STRETCH, PLACES, PAGES, WIDTH = range(6)
"""What kernels are told of a store: the first and the next number, the logarithm of a stretch (ns), how many
places table and list of pages have, less one, and the words of a record."""
STORE_WORDS = 6

ROW, CHAIN, AGE, STEPS = range(4)
"""Where a probe that had to stop goes on, and how many records it has looked at."""
RESUME_WORDS = 4
ALL_TIME = 63
"""The logarithm of a stretch that holds all times of a sign."""
TILE = 32
"""Rows whose chains are looked up at once."""

MARKED = np.int64(-(2**63))
"""The flag of a row that has matched, or has come out."""

_LOW = np.int64(0xFFFFFFFF)
_IN_PAGE = np.int64(PAGE_ROWS - 1)
_BITS = np.int64(PAGE_BITS)
_NONE = np.int64(-1)
_DEAD = np.int64(2**40)
"""An age that no row has."""
_ONE = np.int64(1)
_EIGHT = np.int64(8)
_MIN = np.int64(-(2**63))
_MAX = np.int64(2**63 - 1)
_FACTOR = np.uint64(0xD6E8FEB86659FD93)
_AHEAD = np.int64(12)


@inline
def place_of(word: I64, bucket: I64, places: I64) -> I64:
    """The place in the table of a key's word and a stretch of time."""
    mixed = np.uint64(word) + np.uint64(bucket) * _FACTOR
    return np.int64(half_hash(mixed)) & places


@inline
def record_of(store: Int64s, pages: Int64s, number: I64) -> I64:
    """The address of a row's record."""
    page = (number >> _BITS) & store[PAGES]
    return pages[page] + (number & _IN_PAGE) * store[WIDTH] * _EIGHT


@inline
def later(time: I64, delta: I64) -> I64:
    """`time + delta`, held at the ends of int64."""
    if delta >= 0:
        return time + delta if time <= _MAX - delta else _MAX
    return time + delta if time >= _MIN - delta else _MIN


@kernel(
    "void(words, ints, ints, ints, int64, int64[::1], int64[::1], uint32[::1], int64, int64[::1], int64[::1])"
)
def put_records(
    words: UInt64s,
    times: Int64s,
    flags: Int64s,
    columns: Int64s,
    begin: I64,
    store: Int64s,
    pages: Int64s,
    table: UInt32s,
    table_at: I64,
    lows: Int64s,
    highs: Int64s,
) -> None:
    """Appends rows, whose pages are there.

    Args:
        words, times: of the rows.
        flags: of the rows, in place of LINK; none where no row has any.
        columns: the addresses of the words that follow in a record, one after the other for all rows.
        begin: the number of the first row.
        lows, highs: by page, the earliest time of a row that is not marked, and the latest of all, ns.
    """
    places, stretch, width, rows = store[PLACES], store[STRETCH], len(columns), len(words)
    page_mask, record_bytes = store[PAGES], store[WIDTH] * _EIGHT
    for i in range(rows):
        if i + _AHEAD < rows:
            ahead = place_of(words[i + _AHEAD], times[i + _AHEAD] >> stretch, places)
            prefetch(table_at + ahead * 4)
        number, time = begin + i, times[i]
        flag = flags[i] if len(flags) > 0 else np.int64(0)
        place = place_of(words[i], time >> stretch, places)
        page = (number >> _BITS) & page_mask
        record = pages[page] + (number & _IN_PAGE) * record_bytes
        store_i64(record, TIME, time)
        store_i64(record, WORD, np.int64(words[i]))
        store_i64(record, LINK, flag | np.int64(table[place]))
        for w in range(width):
            store_i64(record, HEAD_WORDS + w, load_i64(columns[w], i))
        table[place] = np.uint32(number & _LOW)
        if flag >= 0:
            lows[page] = min(lows[page], time)
        highs[page] = max(highs[page], time)
    store[END] = begin + rows


@kernel("void(int64[::1], int64[::1], uint32[::1])")
def link_records(store: Int64s, pages: Int64s, table: UInt32s) -> None:
    """Links all rows anew, into a table without any."""
    for number in range(store[BEGIN], store[END]):
        record = record_of(store, pages, number)
        time, flags = load_i64(record, TIME), load_i64(record, LINK) & ~_LOW
        place = place_of(load_i64(record, WORD), time >> store[STRETCH], store[PLACES])
        store_i64(record, LINK, flags | np.int64(table[place]))
        table[place] = np.uint32(number & _LOW)


@kernel(
    "int64(int64, int64, int64, int64, int64, int64[::1], int64, int64, boolean,"
    " int64[::1], int64, ints, int64, int64, int64)"
)
def probe_records(
    words: I64,
    times: I64,
    rows: I64,
    low: I64,
    high: I64,
    store: Int64s,
    pages: I64,
    table: I64,
    first_only: bool,
    resume: Int64s,
    ages: I64,
    which: Int64s,
    pairs: I64,
    out: I64,
    room: I64,
) -> I64:
    """Writes the pairs of a row given and a row kept, of one word and `low` to `high` ns apart.

    An interval lies in one stretch or in two. The heads of their chains are looked up for `TILE` rows at
    once, so that the records they lead to are on their way when the first is walked.

    Args:
        words, times: addresses, of the rows given.
        rows: how many these are.
        pages, table: addresses.
        first_only: whether one row kept is enough for each row given.
        resume: where to begin; where to go on when there was no room for all.
        ages: address of room to work in, 2 * TILE words.
        which: words of the records that are wanted.
        pairs: an address, for the rows given and then the numbers of the rows kept.
        out: an address, for the later time of each pair, and then those words.
        room: for how many pairs there is room.

    Returns:
        How many; fewer than there is room for when these are all.
    """
    end, count, places, stretch = store[END], store[END] - store[BEGIN], store[PLACES], store[STRETCH]
    page_mask, record_bytes = store[PAGES], store[WIDTH] * _EIGHT
    wanted, found, steps = len(which), np.int64(0), np.int64(0)
    first, chain, goes_on = resume[ROW], resume[CHAIN], resume[AGE]
    for begin in range(first, rows, TILE):
        until_row = min(rows, begin + TILE)
        for i in range(begin, until_row):
            time, word = load_i64(times, i), load_u64(words, i)
            bucket, last = later(time, low) >> stretch, later(time, high) >> stretch
            place = place_of(word, bucket, places)
            prefetch(table + place * 4)
            store_i64(ages, 2 * (i - begin), place)
            second = _NONE
            if last != bucket:
                second = place_of(word, last, places)
                prefetch(table + second * 4)
            store_i64(ages, 2 * (i - begin) + 1, second)
        for k in range(2 * (until_row - begin)):
            place, age = load_i64(ages, k), _DEAD
            if place >= 0:
                head = (end - load_i32(table, place)) & _LOW
                if head > 0 and head <= count:
                    age = head
                    number = end - age
                    prefetch(
                        load_i64(pages, (number >> _BITS) & page_mask) + (number & _IN_PAGE) * record_bytes
                    )
            store_i64(ages, k, age)
        for i in range(begin, until_row):
            time, word = load_i64(times, i), load_u64(words, i)
            since, until = later(time, low), later(time, high)
            while chain < 2:
                age = load_i64(ages, 2 * (i - begin) + chain) if goes_on == 0 else goes_on
                goes_on = np.int64(0)
                bucket = (since if chain == 0 else until) >> stretch
                while age <= count:
                    steps += _ONE
                    number = end - age
                    record = (
                        load_i64(pages, (number >> _BITS) & page_mask) + (number & _IN_PAGE) * record_bytes
                    )
                    other = load_i64(record, TIME)
                    if load_u64(record, WORD) == word and other >> stretch == bucket:
                        if other >= since and other <= until:
                            if found == room:
                                resume[ROW], resume[CHAIN], resume[AGE] = i, chain, age
                                resume[STEPS] += steps
                                return found
                            store_i64(pairs, found, i)
                            store_i64(pairs, room + found, number)
                            store_i64(out, found, max(time, other))
                            for w in range(wanted):
                                store_i64(out, (1 + w) * room + found, load_i64(record, which[w]))
                            found += _ONE
                            if first_only:
                                chain = np.int64(2)
                                break
                    before = (end - (load_i64(record, LINK) & _LOW)) & _LOW
                    age = before if before > age else _DEAD
                chain += _ONE
            chain = np.int64(0)
    resume[ROW] = rows
    resume[STEPS] += steps
    return found


@kernel("void(ints, int64[::1], int64[::1], ints, int64[:, ::1])")
def read_records(numbers: Int64s, store: Int64s, pages: Int64s, which: Int64s, out: Int64s) -> None:
    """Writes some words of the records of some rows, one of all rows after the other: shape (words, rows)."""
    rows, width = len(numbers), len(which)
    for i in range(rows):
        if i + _AHEAD < rows:
            prefetch(record_of(store, pages, numbers[i + _AHEAD]))
        record = record_of(store, pages, numbers[i])
        for w in range(width):
            out[w, i] = load_i64(record, which[w])


@kernel("int64(ints, int64[::1], int64[::1], int64[::1])")
def mark_records(numbers: Int64s, store: Int64s, pages: Int64s, fresh: Int64s) -> I64:
    """Marks rows; writes those that were not marked to `fresh`, once each, and returns how many."""
    found = np.int64(0)
    for i in range(len(numbers)):
        record = record_of(store, pages, numbers[i])
        link = load_i64(record, LINK)
        if link >= 0:
            store_i64(record, LINK, link | MARKED)
            fresh[found] = numbers[i]
            found += _ONE
    return found


@kernel("int64(int64[::1], int64[::1], int64[::1], int64, boolean, int64[::1])")
def take_due(store: Int64s, pages: Int64s, lows: Int64s, limit: I64, everything: bool, due: Int64s) -> I64:
    """Marks the rows before a time, or all; writes those that were not marked and returns how many."""
    found, number = np.int64(0), store[BEGIN]
    while number < store[END]:
        page = (number >> _BITS) & store[PAGES]
        until = min(store[END], ((number >> _BITS) + _ONE) << _BITS)
        if lows[page] < limit or everything:
            low = _MAX
            while number < until:
                record = record_of(store, pages, number)
                link = load_i64(record, LINK)
                if link >= 0:
                    time = load_i64(record, TIME)
                    if time < limit or everything:
                        store_i64(record, LINK, link | MARKED)
                        due[found] = number
                        found += _ONE
                    else:
                        low = min(low, time)
                number += _ONE
            lows[page] = low
        number = until
    return found


@kernel("int64(int64[::1], int64[::1], int64, int64[::1])")
def living_records(store: Int64s, pages: Int64s, limit: I64, living: Int64s) -> I64:
    """Writes the rows that are not before a time; returns how many."""
    found = np.int64(0)
    for number in range(store[BEGIN], store[END]):
        if load_i64(record_of(store, pages, number), TIME) >= limit:
            living[found] = number
            found += _ONE
    return found
