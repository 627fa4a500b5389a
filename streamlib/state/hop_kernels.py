"""Windows of a key's last rows as its rows come, in order: each row's slice, and the windows that are over.

A window ends with every so many rows of a key and has its last rows; so windows overlap. Their starts and
ends cut a key's rows into slices, and a row is added to its slice only. A key's slices are a chain, oldest
first; those that no later window has go from its beginning. Nothing that goes is given out again in the same
call, so windows that ended in it can be walked afterwards.
"""

from __future__ import annotations

import numpy as np

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.memory import I64, load_i64, store_i64
from streamlib.state.bar_kernels import NONE, next_number

# A key.
KEY_WORDS = 8  # one cache line
KEY_BYTES = 8 * KEY_WORDS
OLDEST = 0  # the number of its oldest slice; NONE when it has none
NEWEST = 1  # the number of its newest slice; NONE when it has none
IS_OPEN = 2  # 1 when its next row belongs to the newest slice
ROWS = 3  # rows since the key began
PHASE = 4  # rows since a window ended, or since the key began
LAST = 5  # time of the key's last row

# A slice.
SLICE_WORDS = 4
SLICE_BYTES = 8 * SLICE_WORDS
NEXT = 0  # the number of the key's next slice
BEGIN = 1  # time of its first row
END = 2  # time of its last row
FROM = 3  # rows of the key before it; NONE when the number is free

# A window that is over.
OVER_WORDS = 7
OVER_KEY = 0  # the slot of its key
OVER_OLDEST = 1  # a slice of its key, not later than its first
OVER_NEWEST = 2  # its last slice
OVER_FROM = 3  # rows of the key before it; below 0 when it was over before the key had enough rows
OVER_ROWS = 4  # rows of the key before its end
OVER_TIME = 5  # its own time
OVER_KIND = 6

# Kinds of what is over.
ENDED, LEFT = 0, 1
"""A window whose last row came; a key that had none for long, with all windows that it is in."""

# What is counted from call to call: after those of `bar_kernels`.
STATE_WORDS = 5
GONE = 3  # slices that go with this call
SKIPPED = 4  # rows that were in no window


@inline
def let_go(record: I64, slices: I64, before: I64, gone: I64, state: I64) -> None:
    """Takes from a key its slices that begin before a row's number."""
    number = load_i64(record, OLDEST)
    count = load_i64(state, GONE)
    while number != NONE and load_i64(slices + SLICE_BYTES * number, FROM) < before:
        store_i64(gone, count, number)
        count += np.int64(1)
        number = load_i64(slices + SLICE_BYTES * number, NEXT)
    store_i64(state, GONE, count)
    store_i64(record, OLDEST, number)
    if number == NONE:
        store_i64(record, NEWEST, NONE)


@inline
def note(over: I64, at: I64, key: I64, record: I64, first: I64, time: I64, kind: I64) -> None:
    """Notes that a window of a key is over."""
    place = over + 8 * OVER_WORDS * at
    store_i64(place, OVER_KEY, key)
    store_i64(place, OVER_OLDEST, load_i64(record, OLDEST))
    store_i64(place, OVER_NEWEST, load_i64(record, NEWEST))
    store_i64(place, OVER_FROM, first)
    store_i64(place, OVER_ROWS, load_i64(record, ROWS))
    store_i64(place, OVER_TIME, time)
    store_i64(place, OVER_KIND, kind)


@inline
def forget(record: I64, slices: I64, gone: I64, state: I64) -> None:
    """Has a key begin anew."""
    let_go(record, slices, np.int64(2**63 - 1), gone, state)
    store_i64(record, IS_OPEN, 0)
    store_i64(record, ROWS, 0)
    store_i64(record, PHASE, 0)


@kernel(
    "int64(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)"
)
def fill_slices(
    rows: I64,
    slots: I64,
    times: I64,
    size: I64,
    every: I64,
    partial: I64,
    ttl: I64,
    keys: I64,
    slices: I64,
    free: I64,
    gone: I64,
    state: I64,
    found: I64,
    over: I64,
) -> I64:
    """Writes each row's slice to `found`, and what is over to `over`; returns how many these are.

    Rows come in order: those of a key by time.

    Args:
        slots: address of the slots of the rows' keys.
        times: address of the rows' times, ns.
        size: rows of a window.
        every: rows from one end to the next; at most `size`.
        partial: 1 to note windows that end before their key has `size` rows.
        ttl: a key begins anew with a row that comes later after its last one than this, ns; 0 for never.
        keys: address of the keys' records.
        slices: address of the slices, with room for one more for each row.
        free: address of the numbers that have come back.
        gone: address for the numbers of slices that go.
        state: address of what is counted.
        found: address of a word for each row.
        over: address of records, two for each row.
    """
    count = np.int64(0)
    cut = (every - size % every) % every  # rows after an end where a later window begins
    for i in range(rows):
        key = load_i64(slots, i)
        record = keys + KEY_BYTES * key
        time = load_i64(times, i)
        before = load_i64(record, ROWS)
        if before > 0 and ttl > 0:
            last = load_i64(record, LAST)
            if np.uint64(time) - np.uint64(last) > np.uint64(ttl):
                # The row is further away than `ttl`: so the sum has room.
                note(over, count, key, record, np.int64(0), last + ttl, np.int64(LEFT))
                count += np.int64(1)
                forget(record, slices, gone, state)
                before = np.int64(0)
        newest = load_i64(record, NEWEST)
        if load_i64(record, IS_OPEN) == 0:
            number = next_number(free, state)
            place = slices + SLICE_BYTES * number
            store_i64(place, NEXT, NONE)
            store_i64(place, BEGIN, time)
            store_i64(place, FROM, before)
            if newest == NONE:
                store_i64(record, OLDEST, number)
            else:
                store_i64(slices + SLICE_BYTES * newest, NEXT, number)
            store_i64(record, NEWEST, number)
            store_i64(record, IS_OPEN, 1)
            newest = number
        store_i64(slices + SLICE_BYTES * newest, END, time)
        store_i64(found, i, newest)
        store_i64(record, LAST, time)
        store_i64(record, ROWS, before + 1)
        phase = load_i64(record, PHASE) + 1
        if phase == every:
            first = before + 1 - size
            if first >= 0 or partial != 0:
                note(over, count, key, record, first, time, np.int64(ENDED))
                count += np.int64(1)
            if 0 <= first < every:
                store_i64(state, SKIPPED, load_i64(state, SKIPPED) + first)
            store_i64(record, IS_OPEN, 0)
            let_go(record, slices, first + every, gone, state)
            phase = np.int64(0)
        elif phase == cut:
            store_i64(record, IS_OPEN, 0)
        store_i64(record, PHASE, phase)
    return count


@kernel("int64(int64, int64, int64, int64, int64, int64)")
def walk_windows(windows: I64, over: I64, slices: I64, begins: I64, parts: I64, of: I64) -> I64:
    """Writes the slices of windows that are over, one after the other, oldest first; returns how many.

    Args:
        windows: how many.
        over: address of what was noted of them; a window begins with the first slice from `OVER_FROM` on.
        begins: address for the time of each window's first row.
        parts: address for the slices.
        of: address for the window of each of them.
    """
    count = np.int64(0)
    for window in range(windows):
        place = over + 8 * OVER_WORDS * window
        first = load_i64(place, OVER_FROM)
        newest = load_i64(place, OVER_NEWEST)
        number = load_i64(place, OVER_OLDEST)
        while load_i64(slices + SLICE_BYTES * number, FROM) < first:
            number = load_i64(slices + SLICE_BYTES * number, NEXT)
        store_i64(begins, window, load_i64(slices + SLICE_BYTES * number, BEGIN))
        while True:
            store_i64(parts, count, number)
            store_i64(of, count, window)
            count += np.int64(1)
            if number == newest:
                break
            number = load_i64(slices + SLICE_BYTES * number, NEXT)
    return count
