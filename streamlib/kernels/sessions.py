"""Sessions as their rows come, in any order: each row's session, those that it joins, and when they close.

A session is a record of eight words, its number is its place. The open sessions of a key are a
doubly linked list, the newest first: a row looks at those that are newer than itself, which are few
as long as rows are about in order. A session that turns out to be a part of another is absorbed.

Deadlines are kept in a hashed timing wheel (Varghese and Lauck 1987, scheme 6): a session is filed
once, by the deadline it has then. Rows that come later do not touch the wheel; when the bucket comes
up, the session is closed or filed anew. So a row costs the same however many sessions are open.

Differences of times are taken as uint64: those of any two int64 are exact there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.choosing import mask_of, store_where
from streamlib.kernels.memory import I64, load_i64, store_i64
from streamlib.kernels.session_order import ENTRY_KEY, ENTRY_ROW

Int64s = npt.NDArray[np.int64]

# A session.
RECORD_WORDS = 8  # one cache line
RECORD_BYTES = 8 * RECORD_WORDS
FIRST = 0  # time of its first row
LAST = 1  # time of its last row
KEY = 2  # slot of its key; GONE, or ABSORBED
OLDER = 3  # the neighbours in the list of its key; NONE at the ends
NEWER = 4
NEXT = 5  # the next one in its bucket
BORN = 6  # the batch that it began in
INTO = 7  # where it is to be found: itself, or what has absorbed it

NONE = -1
GONE = -1
ABSORBED = -2

# What is counted from call to call.
STATE_WORDS = 8
USED = 0  # numbers given out so far
FREE = 1  # numbers that have come back
OPEN = 2  # sessions that are open
BATCH = 3  # the number of this batch
TICK = 4  # the bucket of time that was looked at last
BEHIND = 5  # rows of this batch for which a session may have closed: there must be none

WHEEL = 4096
"""Buckets of a wheel."""
BUCKETS_PER_GAP = 1024
_SHIFT_MIN = 13  # so that the ticks of all times are far from the ends of int64
_MAX_TIME = np.int64(2**63 - 1)


def wheel_shift(gap: int) -> int:
    """The size of a bucket as a power of two, ns.

    >>> wheel_shift(500_000_000)
    18
    """
    return max(_SHIFT_MIN, (gap // BUCKETS_PER_GAP).bit_length() - 1)


@inline
def deadline(last: I64, gap: I64) -> I64:
    """last + gap, held at the end of time."""
    return last + gap if last <= _MAX_TIME - gap else _MAX_TIME


@inline
def apart(late: I64, early: I64) -> I64:
    """late - early, which is not negative, as uint64."""
    return np.uint64(late) - np.uint64(early)


@inline
def absorb(key: I64, older: I64, newer: I64, newest: I64, sessions: I64, batch: I64, absorbed: I64) -> I64:
    """Makes two neighbours one; returns the one that is left. The other remembers `absorbed`.

    One that began in this batch has no aggregates yet, so it is the one to go.
    """
    low, high = sessions + RECORD_BYTES * older, sessions + RECORD_BYTES * newer
    into, gone = older, newer
    if load_i64(low, BORN) == batch:
        into, gone = newer, older
    before, after = load_i64(low, OLDER), load_i64(high, NEWER)
    left, lost = sessions + RECORD_BYTES * into, sessions + RECORD_BYTES * gone
    store_i64(left, FIRST, load_i64(low, FIRST))
    store_i64(left, LAST, load_i64(high, LAST))
    store_i64(left, OLDER, before)
    store_i64(left, NEWER, after)
    if before != NONE:
        store_i64(sessions + RECORD_BYTES * before, NEWER, into)
    if after != NONE:
        store_i64(sessions + RECORD_BYTES * after, OLDER, into)
    else:
        store_i64(newest, key, into)
    store_i64(lost, KEY, ABSORBED)
    store_i64(lost, INTO, into)
    store_i64(lost, OLDER, absorbed)
    return into


@inline
def follow_absorbed(absorbed: I64, sessions: I64, batch: I64, joined: I64) -> I64:
    """Has each absorbed session, from the last on, know the open one; writes the pairs of older ones.

    What the last one went into is open. What another went into is open, or was absorbed after it.
    """
    count = np.int64(0)
    while absorbed != NONE:
        lost = sessions + RECORD_BYTES * absorbed
        into = load_i64(sessions + RECORD_BYTES * load_i64(lost, INTO), INTO)
        store_i64(lost, INTO, into)
        if load_i64(lost, BORN) != batch:
            store_i64(joined, 2 * count, absorbed)
            store_i64(joined, 2 * count + 1, into)
            count += np.int64(1)
        absorbed = load_i64(lost, OLDER)
    return count


@inline
def begin_session(
    key: I64,
    time: I64,
    older: I64,
    newer: I64,
    born: I64,
    newest: I64,
    sessions: I64,
    free: I64,
    state: I64,
) -> I64:
    """Puts a new session of one row between its neighbours; returns its number. It remembers `born`."""
    new = load_i64(state, USED)
    back = load_i64(state, FREE)
    if back > 0:
        new = load_i64(free, back - 1)
        store_i64(state, FREE, back - 1)
    else:
        store_i64(state, USED, new + 1)
    store_i64(state, OPEN, load_i64(state, OPEN) + 1)
    record = sessions + RECORD_BYTES * new
    store_i64(record, FIRST, time)
    store_i64(record, LAST, time)
    store_i64(record, KEY, key)
    store_i64(record, OLDER, older)
    store_i64(record, NEWER, newer)
    store_i64(record, BORN, load_i64(state, BATCH))
    store_i64(record, INTO, new)
    if older != NONE:
        store_i64(sessions + RECORD_BYTES * older, NEWER, new)
    if newer != NONE:
        store_i64(sessions + RECORD_BYTES * newer, OLDER, new)
    else:
        store_i64(newest, key, new)
    store_i64(record, NEXT, born)
    return new


@inline
def file_born(born: I64, gap: I64, shift: I64, sessions: I64, free: I64, wheel: I64, state: I64) -> None:
    """Files the sessions of a batch, from the last on; those that it has absorbed again are gone."""
    back = load_i64(state, FREE)
    while born != NONE:
        record = sessions + RECORD_BYTES * born
        following = load_i64(record, NEXT)
        if load_i64(record, KEY) == ABSORBED:
            store_i64(record, KEY, GONE)
            store_i64(free, back, born)
            back += 1
        else:
            bucket = (deadline(load_i64(record, LAST), gap) >> shift) & np.int64(WHEEL - 1)
            store_i64(record, NEXT, load_i64(wheel, bucket))
            store_i64(wheel, bucket, born)
        born = following
    store_i64(state, FREE, back)


@kernel("int64(int64, int64, int64, int64, uint64, int64, int64, int64, int64, int64, int64, int64, int64)")
def assign_sessions(
    rows: I64,
    entries: I64,
    floor: I64,
    gap: I64,
    longest: I64,
    shift: I64,
    newest: I64,
    sessions: I64,
    free: I64,
    wheel: I64,
    state: I64,
    found: I64,
    joined: I64,
) -> I64:
    """Writes each row's session to `found`; returns how many older sessions were absorbed.

    Args:
        entries: address of the rows as `order_rows` writes them, in the order to take them.
        floor: no session may have closed for rows from here on, ns.
        gap: ns.
        longest: of a session from its first to its last row, ns. Where it is not the largest uint64, the
            rows of a key come in the order of time.
        shift: the size of a bucket of the wheel, as a power of two.
        newest: address; by key slot the newest open session, or NONE.
        sessions: address of the records, with room for `rows` more.
        free: address of the numbers that have come back; `state` says how many.
        wheel: address of the first session of each bucket, or NONE.
        state: address of what is counted.
        found: address of a word for each row.
        joined: address of pairs (absorbed, into) of sessions that were there before this batch.
    """
    width = np.uint64(gap)
    batch = load_i64(state, BATCH) + 1
    store_i64(state, BATCH, batch)
    behind = np.int64(0)
    absorbed, born = np.int64(NONE), np.int64(NONE)  # lists, the last first, by words that are not in use
    for turn in range(rows):
        time, packed = load_i64(entries, 2 * turn), load_i64(entries, 2 * turn + 1)
        behind += np.int64(time < floor)
        key, i = packed >> ENTRY_KEY, packed & ENTRY_ROW
        newer = np.int64(NONE)
        at = load_i64(newest, key)
        while at != NONE:
            record = sessions + RECORD_BYTES * at
            first = load_i64(record, FIRST)
            if time >= first or apart(first, time) <= width:
                break
            newer = at
            at = load_i64(record, OLDER)
        if at != NONE:
            record = sessions + RECORD_BYTES * at
            first, last = load_i64(record, FIRST), load_i64(record, LAST)
            # Without branches: which of these it is cannot be predicted where rows are out of order.
            is_later = mask_of(time > last)
            is_near = (time <= last) | (apart(time, last) <= width)
            if (time >= first) & is_near & (apart(time, first) <= longest):
                store_where(is_later, record, LAST, time)
                store_i64(found, i, at)
                continue
            if time < first:
                store_i64(record, FIRST, time)
                older = load_i64(record, OLDER)
                if older != NONE and time <= deadline(load_i64(sessions + RECORD_BYTES * older, LAST), gap):
                    into = absorb(key, older, at, newest, sessions, batch, absorbed)
                    absorbed = at + older - into
                    at = into
                    store_i64(state, OPEN, load_i64(state, OPEN) - 1)
                store_i64(found, i, at)
                continue
        born = begin_session(key, time, at, newer, born, newest, sessions, free, state)
        store_i64(found, i, born)
    store_i64(state, BEHIND, behind)
    count = np.int64(0)
    if absorbed != NONE:
        count = follow_absorbed(absorbed, sessions, batch, joined)
        for i in range(rows):
            store_i64(found, i, load_i64(sessions + RECORD_BYTES * load_i64(found, i), INTO))
    file_born(born, gap, shift, sessions, free, wheel, state)
    return count


@kernel(
    "int64(int64, int64, int64, int64[::1], int64[:, ::1], int64[::1], int64[::1], int64[::1], int64[:, ::1])"
)
def close_sessions(
    before: I64,
    gap: I64,
    shift: I64,
    newest: Int64s,
    sessions: Int64s,
    free: Int64s,
    wheel: Int64s,
    state: Int64s,
    closed: Int64s,
) -> I64:
    """Closes the sessions whose last row and `gap` lie before a time; returns how many.

    First and last times stay readable until the next rows come.

    Args:
        before: ns.
        closed: three rows, with room for all open sessions: their numbers, the slots of their keys, and
            these again where no session of the key is left open, else NONE.
        gap, shift, newest, sessions, free, wheel, state: as for `assign_sessions`.
    """
    count = np.int64(0)
    tick = before >> shift
    begin = max(state[TICK], tick - np.int64(WHEEL - 1))
    for turn in range(begin, tick + 1):
        bucket = turn & np.int64(WHEEL - 1)
        at = wheel[bucket]
        if at == NONE:
            continue
        wheel[bucket] = NONE
        while at != NONE:
            following = sessions[at, NEXT]
            key = sessions[at, KEY]
            due = deadline(sessions[at, LAST], gap)
            if key == ABSORBED:
                sessions[at, KEY] = GONE
                free[state[FREE]] = at
                state[FREE] += np.int64(1)
            elif due < before:
                older, newer = sessions[at, OLDER], sessions[at, NEWER]
                if older != NONE:
                    sessions[older, NEWER] = newer
                if newer != NONE:
                    sessions[newer, OLDER] = older
                else:
                    newest[key] = older
                closed[0, count] = at
                closed[1, count] = key
                closed[2, count] = key if newest[key] == NONE else np.int64(NONE)
                count += np.int64(1)
                sessions[at, KEY] = GONE
                free[state[FREE]] = at
                state[FREE] += np.int64(1)
                state[OPEN] -= np.int64(1)
            else:
                place = (due >> shift) & np.int64(WHEEL - 1)
                sessions[at, NEXT] = wheel[place]
                wheel[place] = at
            at = following
    state[TICK] = tick
    return count


@kernel("void(int64, int64, int64[:, ::1], int64[::1])")
def file_sessions(gap: I64, shift: I64, sessions: Int64s, wheel: Int64s) -> None:
    """Files all sessions by their deadlines in a wheel that is empty."""
    for at in range(len(sessions)):
        bucket = (deadline(sessions[at, LAST], gap) >> shift) & np.int64(WHEEL - 1)
        sessions[at, NEXT] = wheel[bucket]
        wheel[bucket] = at
