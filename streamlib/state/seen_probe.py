"""The loops over rows of `seen`: which keys come again, and forgetting those that are over.

A table with open addressing has an entry of 8 bytes for each key: the upper half of its hash, and one more than
the number of the record of its newest kept row. Records lie in chunks, by arrival, so that a new key costs one
random access, to the table. A chunk that is over goes as a whole; its entries are passed over until `purge` takes
all such out at once. The kept rows of one key are linked in the order of time, newest first: a row looks at those
that are newer than itself by more than it may repeat, and at one more.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.columns import is_valid
from streamlib.kernels.hashing import LONG_TAG, copy_bytes, equal_bytes, hash_word
from streamlib.kernels.keys import write_bytes_words
from streamlib.kernels.memory import (
    I64,
    load_i32,
    load_i64,
    load_u8,
    load_u64,
    prefetch,
    store_i64,
    store_u8,
    store_u64,
)

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]

RECORD_WORDS = 3
"""The key's word, the row's time, and the records of the rows of its key before and after it (in the halves of a
word, one more than their numbers; 0: none)."""
_RECORD = np.int64(8 * RECORD_WORDS)
RECORD_WORD, RECORD_TIME, RECORD_LINKS = range(RECORD_WORDS)

CHUNK_WORDS = 5
CHUNK_RECORDS, CHUNK_NULLS, CHUNK_ENDS, CHUNK_BYTES, CHUNK_LINKED = range(CHUNK_WORDS)
"""Words of the directory for each chunk. Addresses: of its records (0: the chunk is over, and so are the entries
that name it), of a flag for each that says whether it is null, of where the bytes of each key end (behind a zero),
and of these bytes. And whether one of its records is linked to others."""
CHUNK_BITS = 16
"""A record's number is that of its chunk, and below so many bits its place in there."""

HEAD_WORDS = 8
HEAD_CHUNK, HEAD_COUNT, HEAD_ROOM, HEAD_USED, HEAD_SIZE, HEAD_HIGH, HEAD_KEYS, HEAD_LIMIT = range(HEAD_WORDS)
"""The chunk that is being filled: its number, records in it and room for records, bytes used and size of its
bytes, the latest time in it. And of the table how many keys it has, and how many it takes."""

BLOCK = 256
"""Rows whose table entries are fetched before the first of them is looked at."""
UNLIMITED = 2**64 - 1
"""How far apart rows may be, where there is no limit."""

_HALF = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_CHUNK_BITS = np.int64(CHUNK_BITS)
_IN_CHUNK = np.int64((1 << CHUNK_BITS) - 1)


@inline
def chunk_of(directory: I64, number: I64) -> I64:
    """The address of the words of a record's chunk."""
    return directory + (number >> _CHUNK_BITS) * np.int64(8 * CHUNK_WORDS)


@inline
def record_of(directory: I64, number: I64) -> I64:
    """The address of a record."""
    return load_i64(chunk_of(directory, number), CHUNK_RECORDS) + (number & _IN_CHUNK) * _RECORD


@inline
def half_of(word: I64, is_null: bool) -> I64:
    """What an entry has of a key's hash. That of null differs from that of its word, which other keys may have."""
    half = hash_word(word) >> _HALF
    return half ^ _LOW_HALF if is_null else half


@inline
def has_bytes(directory: I64, number: I64, address: I64, length: I64) -> bool:
    """Whether a record's key has these bytes."""
    chunk = chunk_of(directory, number)
    at = number & _IN_CHUNK
    ends = load_i64(chunk, CHUNK_ENDS)
    begin = load_i64(ends, at)
    if load_i64(ends, at + 1) - begin != length:
        return False
    return equal_bytes(load_i64(chunk, CHUNK_BYTES) + begin, address, length)


@inline
def older_of(record: I64) -> I64:
    """One more than the number of the record before one of its key, in time; 0 for none."""
    return np.int64(load_u64(record, RECORD_LINKS) & _LOW_HALF)


@inline
def newer_of(record: I64) -> I64:
    """The same of the one after it."""
    return np.int64(load_u64(record, RECORD_LINKS) >> _HALF)


@inline
def link(record: I64, older: I64, newer: I64) -> None:
    """Sets what stands before and after a record."""
    store_u64(record, RECORD_LINKS, (np.uint64(newer) << _HALF) | np.uint64(older))


@inline
def place_in_time(directory: I64, newest: I64, time: I64, within: I64) -> tuple[bool, I64, I64]:
    """Whether a row repeats one of its key; if not, one more than the records it would stand before and after.

    Args:
        newest: the number of the newest record of the key.

    Returns:
        Whether it repeats one; the record newer than the row, and the older one; 0 for none.
    """
    newer, older = np.int64(0), newest + np.int64(1)
    while older != 0:
        record = record_of(directory, older - np.int64(1))
        kept = load_i64(record, RECORD_TIME)
        if time >= kept:
            return bool(np.uint64(time) - np.uint64(kept) <= np.uint64(within)), newer, older
        if np.uint64(kept) - np.uint64(time) <= np.uint64(within):
            return True, newer, older
        newer, older = older, older_of(record)
    return False, newer, older


@kernel(
    "int64(int64, int64, boolean, int64, int64, int64, int64, int64, int64, ints, uint64, int64, int64, int64,"
    " int64[::1], int64, uint8[::1])"
)
def see_rows(
    first_row: I64,
    rows: I64,
    is_bytes: bool,
    values: I64,
    offsets: I64,
    data: I64,
    end: I64,
    validity: I64,
    bit: I64,
    times: Int64s,
    within: I64,
    table: I64,
    mask: I64,
    directory: I64,
    head: Int64s,
    scratch: I64,
    new: Flags,
) -> I64:
    """Says of rows [first_row, rows) which are new, and keeps these; returns the row it stopped at.

    It stops before the end where the chunk or the table has no room, and is called again from there.

    Args:
        is_bytes: keys are byte strings, at `offsets` and `data`, which may be read up to `end`; else they are
            words, at `values`, and `validity` and `bit` say which are null.
        times: of all rows, ns.
        within: a row repeats one of its key that is no further away than this, ns.
        table, mask: address of the entries, and one less than how many there are.
        directory: address of the chunks.
        head: see HEAD_CHUNK.
        scratch: address of two times BLOCK words.
        new: becomes by row 1 where it is new, else 0.
    """
    chunk = directory + head[HEAD_CHUNK] * np.int64(8 * CHUNK_WORDS)
    records, nulls = load_i64(chunk, CHUNK_RECORDS), load_i64(chunk, CHUNK_NULLS)
    ends, kept_bytes = load_i64(chunk, CHUNK_ENDS), load_i64(chunk, CHUNK_BYTES)
    halves = scratch + np.int64(8 * BLOCK)
    row = first_row
    while row < rows:
        count = min(rows - row, np.int64(BLOCK))
        words = scratch
        if is_bytes:
            write_bytes_words(offsets + 4 * row, data, end, validity, bit + row, count, words)
        else:
            words = values + 8 * row
        for i in range(count):
            is_null = not is_bytes and validity != 0 and not is_valid(validity, bit + row + i)
            half = half_of(_ZERO if is_null else load_u64(words, i), is_null)
            store_u64(halves, i, half)
            prefetch(table + 8 * (np.int64(half) & mask))
        for i in range(count):
            at, time = row + i, times[row + i]
            is_null = not is_bytes and validity != 0 and not is_valid(validity, bit + at)
            word = _ZERO if is_null else load_u64(words, i)
            is_long = is_bytes and word >= LONG_TAG
            begin, length = np.int64(0), np.int64(0)
            if is_bytes:
                begin = load_i32(offsets, at)
                length = load_i32(offsets, at + 1) - begin
            half = load_u64(halves, i)
            place = np.int64(half) & mask
            repeats, newer, older = False, np.int64(0), np.int64(0)
            entry = load_u64(table, place)
            while entry != _ZERO:
                if entry >> _HALF == half:
                    number = np.int64(entry & _LOW_HALF) - np.int64(1)
                    if (
                        load_i64(chunk_of(directory, number), CHUNK_RECORDS) != 0
                        and load_u64(record_of(directory, number), RECORD_WORD) == word
                        and (not is_long or has_bytes(directory, number, data + begin, length))
                    ):
                        repeats, newer, older = place_in_time(directory, number, time, within)
                        break
                place = (place + 1) & mask
                entry = load_u64(table, place)
            if repeats:
                new[at] = 0
                continue
            used, number = head[HEAD_USED], head[HEAD_COUNT]
            if number >= head[HEAD_ROOM] or (is_bytes and used + length > head[HEAD_SIZE]):
                return at
            if entry == _ZERO:
                if head[HEAD_KEYS] >= head[HEAD_LIMIT]:
                    return at
                head[HEAD_KEYS] += 1
            record = records + number * _RECORD
            store_u64(record, RECORD_WORD, word)
            store_i64(record, RECORD_TIME, time)
            link(record, older, newer)
            if is_bytes:
                copy_bytes(kept_bytes + used, data + begin, length)
                store_i64(ends, number + 1, used + length)
                head[HEAD_USED] = used + length
            elif is_null:
                store_u8(nulls, number, _ONE)
            head[HEAD_COUNT] = number + 1
            head[HEAD_HIGH] = max(head[HEAD_HIGH], time)
            number = (head[HEAD_CHUNK] << _CHUNK_BITS) + number + np.int64(1)
            if older != 0:
                before = record_of(directory, older - np.int64(1))
                link(before, older_of(before), number)
                store_i64(chunk, CHUNK_LINKED, 1)
                store_i64(chunk_of(directory, older - np.int64(1)), CHUNK_LINKED, 1)
            if newer != 0:
                after = record_of(directory, newer - np.int64(1))
                link(after, number, newer_of(after))
                store_i64(chunk, CHUNK_LINKED, 1)
                store_i64(chunk_of(directory, newer - np.int64(1)), CHUNK_LINKED, 1)
            else:
                store_u64(table, place, (half << _HALF) | np.uint64(number))
            new[at] = 1
        row += count
    return row


@inline
def place_of(table: I64, mask: I64, half: I64, number: I64) -> I64:
    """The place of the entry that names a record."""
    place = np.int64(half) & mask
    while np.int64(load_u64(table, place) & _LOW_HALF) != number:
        place = (place + 1) & mask
    return place


@inline
def take_out(table: I64, mask: I64, place: I64) -> None:
    """Empties a place, and moves up the entries behind it that would not be found any more."""
    hole, next_place = place, (place + 1) & mask
    entry = load_u64(table, next_place)
    while entry != _ZERO:
        first = np.int64(entry >> _HALF) & mask
        if ((next_place - first) & mask) >= ((next_place - hole) & mask):
            store_u64(table, hole, entry)
            hole = next_place
        next_place = (next_place + 1) & mask
        entry = load_u64(table, next_place)
    store_u64(table, hole, _ZERO)


@kernel("int64(int64, int64, int64)")
def purge(directory: I64, table: I64, mask: I64) -> I64:
    """Takes out the entries whose chunk is over; returns how many. The table has a free place."""
    gone, begin = np.int64(0), np.int64(0)
    while load_u64(table, begin) != _ZERO:
        begin += np.int64(1)
    for offset in range(1, mask + 1):
        place = (begin + offset) & mask
        entry = load_u64(table, place)
        if entry == _ZERO:
            continue
        number = np.int64(entry & _LOW_HALF) - np.int64(1)
        store_u64(table, place, _ZERO)
        if load_i64(chunk_of(directory, number), CHUNK_RECORDS) == 0:
            gone += np.int64(1)
            continue
        # What stood between its first place and here has been dealt with: it moves up, or stays.
        place = np.int64(entry >> _HALF) & mask
        while load_u64(table, place) != _ZERO:
            place = (place + 1) & mask
        store_u64(table, place, entry)
    return gone


@kernel("int64(int64, int64, int64, int64, int64)")
def forget_chunk(directory: I64, chunk: I64, count: I64, table: I64, mask: I64) -> I64:
    """Takes the records of a chunk out of the table one by one, and out of their links.

    Returns:
        How many keys are gone.
    """
    gone = np.int64(0)
    words = directory + chunk * np.int64(8 * CHUNK_WORDS)
    records, nulls = load_i64(words, CHUNK_RECORDS), load_i64(words, CHUNK_NULLS)
    for begin in range(0, count, BLOCK):
        end = min(begin + np.int64(BLOCK), count)
        for at in range(begin, end):
            half = half_of(load_u64(records + at * _RECORD, RECORD_WORD), load_u8(nulls, at) != _ZERO)
            prefetch(table + 8 * (np.int64(half) & mask))
        for at in range(begin, end):
            record = records + at * _RECORD
            number = (chunk << _CHUNK_BITS) + at + np.int64(1)
            older, newer = older_of(record), newer_of(record)
            if older != 0:
                before = record_of(directory, older - np.int64(1))
                link(before, older_of(before), newer)
            if newer != 0:
                after = record_of(directory, newer - np.int64(1))
                link(after, older, newer_of(after))
                continue
            half = half_of(load_u64(record, RECORD_WORD), load_u8(nulls, at) != _ZERO)
            place = place_of(table, mask, half, number)
            if older != 0:
                store_u64(table, place, (half << _HALF) | np.uint64(older))
            else:
                take_out(table, mask, place)
                gone += np.int64(1)
    return gone
