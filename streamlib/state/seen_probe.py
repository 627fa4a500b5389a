"""The loops over rows of `seen`: which keys come again, and forgetting those that are over.

The table (`seen_buckets`) has an entry for each key, that names the record of its newest kept row.

Records lie in chunks, by arrival, so that a new key costs one random access, to the table. A chunk that is over
goes as a whole. Its entries are passed over; new ones take their places where a bucket is full, and those that are
left go when the table is made anew from the records. The kept rows of one key are linked in the order of time, newest
first: a row looks at those that are newer than itself by more than it may repeat, and at one more.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.columns import is_valid
from streamlib.kernels.hashing import LONG_TAG, copy_bytes, equal_bytes, half_hash
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
from streamlib.state.seen_buckets import (
    BUCKET_ENTRIES,
    FULL_BIT,
    bucket_after,
    bucket_of,
    enter,
    lowest_byte,
    tags_of,
    zero_bytes,
)

Int64s = npt.NDArray[np.int64]

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

HEAD_WORDS = 10
HEAD_CHUNK, HEAD_COUNT, HEAD_ROOM, HEAD_USED, HEAD_SIZE, HEAD_HIGH = range(6)
HEAD_KEYS, HEAD_REUSED, HEAD_FULL, HEAD_FULL_MAX = range(6, HEAD_WORDS)
"""The chunk that is being filled: its number, records in it and room for records, bytes used and size of its
bytes, the latest time in it. And of the table how many entries it has, how many of chunks that are over had to make
room for new ones, and how many buckets say that they have no room, and how many may."""

BLOCK = 256
"""Rows whose hashes are computed before the first of them is looked up."""
AHEAD = 24
"""How many rows before its own a bucket is fetched: with so few the processor works while they are on their way."""
UNLIMITED = 2**64 - 1
"""How far apart rows may be, where there is no limit."""

_HALF = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_CHUNK_BITS = np.int64(CHUNK_BITS)
_IN_CHUNK = np.int64((1 << CHUNK_BITS) - 1)
_BYTE = np.uint64(0xFF)


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
    half = half_hash(word)
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


@inline
def is_over(directory: I64, entry: I64) -> bool:
    """Whether the chunk is over that an entry's record was in."""
    number = np.int64(entry & _LOW_HALF) - np.int64(1)
    return bool(load_i64(chunk_of(directory, number), CHUNK_RECORDS) == 0)


@inline
def place_to_enter(directory: I64, bucket: I64) -> tuple[I64, bool]:
    """A place of a bucket that is free, else one whose entry is over, and whether it is that; -1 for none.

    All entries are looked at: which is the first that is over no processor can foretell.
    """
    tops = zero_bytes(load_u64(bucket, 0))
    if tops != _ZERO:
        return lowest_byte(tops), False
    for here in range(BUCKET_ENTRIES):
        over = np.uint64(is_over(directory, load_u64(bucket, here + 1)))
        tops |= over << np.uint64(8 * here + 7)
    if tops != _ZERO:
        return lowest_byte(tops), True
    return np.int64(-1), False


@inline
def see(
    first_row: I64,
    rows: I64,
    is_bytes: bool,
    values: I64,
    offsets: I64,
    data: I64,
    end: I64,
    validity: I64,
    bit: I64,
    times: I64,
    within: I64,
    table: I64,
    mask: I64,
    directory: I64,
    head: Int64s,
    scratch: I64,
    new: I64,
) -> I64:
    """What `see_rows` does, for keys of one kind."""
    chunk = directory + head[HEAD_CHUNK] * np.int64(8 * CHUNK_WORDS)
    records, nulls = load_i64(chunk, CHUNK_RECORDS), load_i64(chunk, CHUNK_NULLS)
    ends, kept_bytes = load_i64(chunk, CHUNK_ENDS), load_i64(chunk, CHUNK_BYTES)
    room, size, full_max = head[HEAD_ROOM], head[HEAD_SIZE], head[HEAD_FULL_MAX]
    kept, used, high = head[HEAD_COUNT], head[HEAD_USED], head[HEAD_HIGH]
    keys, reused, full = head[HEAD_KEYS], head[HEAD_REUSED], head[HEAD_FULL]
    first_number = (head[HEAD_CHUNK] << _CHUNK_BITS) + np.int64(1)
    halves = scratch + np.int64(8 * BLOCK)
    row, stop = first_row, rows
    while row < stop:
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
            if i < AHEAD:
                prefetch(bucket_of(table, mask, half))
        for i in range(count):
            if i + AHEAD < count:
                prefetch(bucket_of(table, mask, load_u64(halves, i + AHEAD)))
            at, time = row + i, load_i64(times, row + i)
            is_null = not is_bytes and validity != 0 and not is_valid(validity, bit + at)
            word = _ZERO if is_null else load_u64(words, i)
            is_long = is_bytes and word >= LONG_TAG
            begin, length = np.int64(0), np.int64(0)
            if is_bytes:
                begin = load_i32(offsets, at)
                length = load_i32(offsets, at + 1) - begin
            half = load_u64(halves, i)
            tags = tags_of(half)
            bucket = bucket_of(table, mask, half)
            found, repeats, newer, older = False, False, np.int64(0), np.int64(0)
            target, place, over = np.int64(0), np.int64(0), False
            searches = True
            held = load_u64(bucket, 0)
            if zero_bytes(held ^ tags) | (held >> FULL_BIT) == _ZERO:
                place, over = place_to_enter(directory, bucket)
                if place >= 0:
                    target, searches = bucket, False
            while searches:
                held = load_u64(bucket, 0)
                tops = zero_bytes(held ^ tags)
                while tops != _ZERO:
                    here = lowest_byte(tops)
                    entry = load_u64(bucket, here + 1)
                    number = np.int64(entry & _LOW_HALF) - np.int64(1)
                    if (
                        entry >> _HALF == half
                        and not is_over(directory, entry)
                        and load_u64(record_of(directory, number), RECORD_WORD) == word
                        and (not is_long or has_bytes(directory, number, data + begin, length))
                    ):
                        found, target, place = True, bucket, here
                        repeats, newer, older = place_in_time(directory, number, time, within)
                        break
                    tops &= tops - _ONE
                if found:
                    break
                if target == 0:
                    place, over = place_to_enter(directory, bucket)
                    if place >= 0:
                        target = bucket
                if held >> FULL_BIT == _ZERO:
                    if target != 0 or full >= full_max:
                        break
                    store_u64(bucket, 0, held | (_ONE << FULL_BIT))
                    full += np.int64(1)
                bucket = bucket_after(table, mask, bucket)
            if repeats:
                store_u8(new, at, _ZERO)
                continue
            if target == 0 or kept >= room or (is_bytes and used + length > size):
                stop = at
                break
            if over:
                reused += np.int64(1)
            elif not found:
                keys += np.int64(1)
            record = records + kept * _RECORD
            store_u64(record, RECORD_WORD, word)
            store_i64(record, RECORD_TIME, time)
            link(record, older, newer)
            if is_bytes:
                copy_bytes(kept_bytes + used, data + begin, length)
                used += length
                store_i64(ends, kept + 1, used)
            elif is_null:
                store_u8(nulls, kept, _ONE)
            number = first_number + kept
            kept += np.int64(1)
            high = max(high, time)
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
                enter(target, place, half, number)
            store_u8(new, at, _ONE)
        row += count
    head[HEAD_COUNT], head[HEAD_USED], head[HEAD_HIGH] = kept, used, high
    head[HEAD_KEYS], head[HEAD_REUSED], head[HEAD_FULL] = keys, reused, full
    return stop


@kernel(
    "int64(int64, int64, boolean, int64, int64, int64, int64, int64, int64, int64, uint64, int64, int64, int64,"
    " int64[::1], int64, int64)"
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
    times: I64,
    within: I64,
    table: I64,
    mask: I64,
    directory: I64,
    head: Int64s,
    scratch: I64,
    new: I64,
) -> I64:
    """Says of rows [first_row, rows) which are new, and keeps these; returns the row it stopped at.

    It stops before the end where the chunk or the table has no room, and is called again from there.

    Args:
        is_bytes: keys are byte strings, at `offsets` and `data`, which may be read up to `end`; else they are
            words, at `values`, and `validity` and `bit` say which are null.
        times: address of those of all rows, ns.
        within: a row repeats one of its key that is no further away than this, ns.
        table, mask: address of the buckets, and one less than how many there are.
        directory: address of the chunks.
        head: see HEAD_CHUNK.
        scratch: address of two times BLOCK words.
        new: address of a byte a row, which becomes 1 where it is new, else 0.
    """
    if is_bytes:
        return see(
            first_row, rows, True, values, offsets, data, end, validity, bit,
            times, within, table, mask, directory, head, scratch, new,
        )  # fmt: skip
    return see(
        first_row, rows, False, values, offsets, data, end, validity, bit,
        times, within, table, mask, directory, head, scratch, new,
    )  # fmt: skip


@kernel("int64(int64, int64, int64, int64, int64)")
def forget_chunk(directory: I64, chunk: I64, count: I64, table: I64, mask: I64) -> I64:
    """Takes the records of a chunk out of the table one by one, and out of their links.

    Returns:
        How many keys are gone.
    """
    gone = np.int64(0)
    words = directory + chunk * np.int64(8 * CHUNK_WORDS)
    records, nulls = load_i64(words, CHUNK_RECORDS), load_i64(words, CHUNK_NULLS)
    for at in range(-AHEAD, count):
        ahead = at + np.int64(AHEAD)
        if ahead < count:
            half = half_of(load_u64(records + ahead * _RECORD, RECORD_WORD), load_u8(nulls, ahead) != _ZERO)
            prefetch(bucket_of(table, mask, half))
        if at < 0:
            continue
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
        bucket, place = bucket_of(table, mask, half), np.int64(0)
        while np.int64(load_u64(bucket, place + 1) & _LOW_HALF) != number:
            place += np.int64(1)
            if place == BUCKET_ENTRIES:
                bucket, place = bucket_after(table, mask, bucket), np.int64(0)
        if older != 0:
            store_u64(bucket, place + 1, (half << _HALF) | np.uint64(older))
        else:
            store_u64(bucket, 0, load_u64(bucket, 0) & ~(_BYTE << np.uint64(8 * place)))
            store_u64(bucket, place + 1, _ZERO)
            gone += np.int64(1)
    return gone
