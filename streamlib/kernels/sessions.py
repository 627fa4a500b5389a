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
from streamlib.kernels.memory import I64

Int64s = npt.NDArray[np.int64]

# A session.
RECORD_WORDS = 8  # one cache line
FIRST = 0  # time of its first row
LAST = 1  # time of its last row
KEY = 2  # slot of its key; GONE, or ABSORBED
OLDER = 3  # the neighbours in the list of its key; NONE at the ends
NEWER = 4
NEXT = 5  # the next one in its bucket
BORN = 6  # the batch that it began in
INTO = 7  # where an absorbed one is to be found

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


@kernel(
    "int64(ints, ints, int64, int64, uint64, int64, int64[::1], int64[:, ::1], int64[::1], int64[::1], int64[::1],"
    " int64[::1], int64[:, ::1])"
)
def assign_sessions(
    keys: Int64s,
    times: Int64s,
    floor: I64,
    gap: I64,
    longest: I64,
    shift: I64,
    newest: Int64s,
    sessions: Int64s,
    free: Int64s,
    wheel: Int64s,
    state: Int64s,
    found: Int64s,
    joined: Int64s,
) -> I64:
    """Writes each row's session to `found`; returns how many older sessions were absorbed.

    Args:
        keys: the slot of each row's key.
        times: ns.
        floor: no session may have closed for rows from here on, ns.
        gap: ns.
        longest: of a session from its first to its last row, ns. Where it is not the largest uint64, the
            rows of a key come in the order of time.
        shift: the size of a bucket of the wheel, as a power of two.
        newest: by key slot the newest open session, or NONE.
        sessions: records, with room for `len(keys)` more.
        free: numbers that have come back; `state` says how many.
        wheel: the first session of each bucket, or NONE.
        joined: pairs (absorbed, into) of sessions that were there before this batch.
    """
    width = np.uint64(gap)
    batch = state[BATCH] + np.int64(1)
    state[BATCH] = batch
    behind = np.int64(0)
    # Absorbed sessions form a list, the last first, by the word that is free in them.
    absorbed = np.int64(NONE)
    for i in range(len(keys)):
        time = times[i]
        behind += np.int64(time < floor)
        key = keys[i]
        newer = np.int64(NONE)
        at = newest[key]
        while at != NONE and time < sessions[at, FIRST] and apart(sessions[at, FIRST], time) > width:
            newer = at
            at = sessions[at, OLDER]
        if at != NONE:
            last = sessions[at, LAST]
            first = sessions[at, FIRST]
            if time > last:
                if apart(time, last) <= width and apart(time, first) <= longest:
                    sessions[at, LAST] = time
                    found[i] = at
                    continue
            elif time >= first:
                found[i] = at
                continue
            else:
                sessions[at, FIRST] = time
                older = sessions[at, OLDER]
                if older != NONE:
                    end = sessions[older, LAST]
                    if time <= end or apart(time, end) <= width:
                        # They are one. One of this batch has no aggregates yet: it is the one to go.
                        into, gone = older, at
                        if sessions[older, BORN] == batch:
                            into, gone = at, older
                        sessions[into, FIRST] = sessions[older, FIRST]
                        sessions[into, LAST] = sessions[at, LAST]
                        before, after = sessions[older, OLDER], sessions[at, NEWER]
                        sessions[into, OLDER] = before
                        sessions[into, NEWER] = after
                        if before != NONE:
                            sessions[before, NEWER] = into
                        if after != NONE:
                            sessions[after, OLDER] = into
                        else:
                            newest[key] = into
                        sessions[gone, KEY] = ABSORBED
                        sessions[gone, INTO] = into
                        sessions[gone, OLDER] = absorbed
                        absorbed = gone
                        state[OPEN] -= np.int64(1)
                        at = into
                found[i] = at
                continue
        if state[FREE] > 0:
            state[FREE] -= np.int64(1)
            new = free[state[FREE]]
        else:
            new = state[USED]
            state[USED] += np.int64(1)
        state[OPEN] += np.int64(1)
        sessions[new, FIRST] = time
        sessions[new, LAST] = time
        sessions[new, KEY] = key
        sessions[new, OLDER] = at
        sessions[new, NEWER] = newer
        sessions[new, BORN] = batch
        if at != NONE:
            sessions[at, NEWER] = new
        if newer != NONE:
            sessions[newer, OLDER] = new
        else:
            newest[key] = new
        bucket = (deadline(time, gap) >> shift) & np.int64(WHEEL - 1)
        sessions[new, NEXT] = wheel[bucket]
        wheel[bucket] = new
        found[i] = new
    state[BEHIND] = behind
    if absorbed == NONE:
        return np.int64(0)
    # The last to be absorbed is in an open one; those before it are in open ones or in later ones.
    count = np.int64(0)
    while absorbed != NONE:
        into = sessions[absorbed, INTO]
        if sessions[into, KEY] == ABSORBED:
            into = sessions[into, INTO]
            sessions[absorbed, INTO] = into
        if sessions[absorbed, BORN] != batch:
            joined[count, 0] = absorbed
            joined[count, 1] = into
            count += np.int64(1)
        absorbed = sessions[absorbed, OLDER]
    for i in range(len(keys)):
        at = found[i]
        if sessions[at, KEY] == ABSORBED:
            found[i] = sessions[at, INTO]
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
