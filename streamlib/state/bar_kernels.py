"""Bars as their rows come, in order: each row's bar, and the bars that are full.

A key is a record of eight words: the number of its open bar, the times of that bar's first and last row, and
what has been counted or added up in it. Where rows come in the order of time nothing is looked for: a row
costs one record, and one more word where a bar begins.
"""

from __future__ import annotations

import numpy as np

from streamlib.aggregates.accumulators.sums import add_float, add_int, add_uint
from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.columns import is_valid
from streamlib.kernels.memory import F64, I64, load_f64, load_i64, load_u64, store_i64, store_u64

# A key.
KEY_WORDS = 8  # one cache line
KEY_BYTES = 8 * KEY_WORDS
NUMBER = 0  # of its open bar; NONE when it has none
FIRST = 1  # time of that bar's first row
LAST = 2  # time of the key's last row
LOW = 3  # the rows, or the sum: 128 bits, or a float
HIGH = 4  # the rest of the sum: its high word, or what rounding lost

# What is being added up.
ROWS, SIGNED, UNSIGNED, FLOAT, DECIMAL = 0, 1, 2, 3, 4

# A bar that is over.
OVER_WORDS = 6
OVER_NUMBER = 0
OVER_KEY = 1  # the slot of its key
OVER_FIRST = 2  # time of its first row
OVER_LAST = 3  # time of its last row
OVER_TIME = 4  # its own time
OVER_FULL = 5  # 1 when it is full, 0 when its key had no row for too long

# What is counted from call to call.
STATE_WORDS = 4
USED = 0  # numbers given out so far
FREE = 1  # numbers that have come back
OPEN = 2  # bars that are open
BROKEN = 3  # 1 after a sum that has become too small for its type

NONE = -1
_MAX_TIME = np.int64(2**63 - 1)


@inline
def write_over(over: I64, at: I64, record: I64, key: I64, time: I64, full: I64) -> None:
    """Notes that the open bar of a key is over, and takes it from the key."""
    place = over + 8 * OVER_WORDS * at
    store_i64(place, OVER_NUMBER, load_i64(record, NUMBER))
    store_i64(place, OVER_KEY, key)
    store_i64(place, OVER_FIRST, load_i64(record, FIRST))
    store_i64(place, OVER_LAST, load_i64(record, LAST))
    store_i64(place, OVER_TIME, time)
    store_i64(place, OVER_FULL, full)
    store_i64(record, NUMBER, NONE)


@inline
def next_number(free: I64, state: I64) -> I64:
    """A number for a bar that begins: one that has come back, or a new one."""
    new = load_i64(state, USED)
    back = load_i64(state, FREE)
    if back > 0:
        new = load_i64(free, back - 1)
        store_i64(state, FREE, back - 1)
    else:
        store_i64(state, USED, new + 1)
    store_i64(state, OPEN, load_i64(state, OPEN) + 1)
    return new


@inline
def reaches(record: I64, low: I64, high: I64) -> bool:
    """Whether a 128-bit sum is at least `high` * 2**64 + `low`, of which `low` is uint64."""
    mine = load_i64(record, HIGH)
    return bool(mine > high or (mine == high and load_u64(record, LOW) >= low))


@inline
def add_decimal(record: I64, low: I64, high: I64) -> I64:
    """Adds a decimal of two words; returns 1 when the sum has no room above, -1 below, else 0."""
    before = load_i64(record, HIGH)
    sum_low = load_u64(record, LOW) + low
    after = before + high + np.int64(sum_low < low)
    store_u64(record, LOW, sum_low)
    store_i64(record, HIGH, after)
    if before >= 0 and high >= 0 and after < 0:
        return np.int64(1)
    if before < 0 and high < 0 and after >= 0:
        return np.int64(-1)
    return np.int64(0)


@kernel(
    "int64(int64, int64, int64, int64, int64, int64, int64, uint64, int64, float64, int64,"
    " int64, int64, int64, int64, int64)"
)
def fill_bars(
    rows: I64,
    slots: I64,
    times: I64,
    kind: I64,
    values: I64,
    validity: I64,
    bit: I64,
    low: I64,
    high: I64,
    size: F64,
    ttl: I64,
    keys: I64,
    free: I64,
    state: I64,
    found: I64,
    over: I64,
) -> I64:
    """Writes each row's bar to `found`, and the bars that are over to `over`; returns how many these are.

    Rows come in order: those of a key by time. A null adds nothing. A number that is over is not given out
    again in this call.

    Args:
        slots: address of the slots of the rows' keys.
        times: address of the rows' times, ns.
        kind: what is added up.
        values: address of its words, two each of decimals.
        validity, bit: of `values`, see `WordColumn`.
        low, high: the size as 128 bits: of rows, integers and decimals.
        size: the size for floats.
        ttl: a key begins anew with a row that comes later after its last one than this, ns; 0 for never.
        keys: address of the keys' records.
        free: address of the numbers that have come back.
        state: address of what is counted.
        found: address of a word for each row.
        over: address of records, two for each row.
    """
    count = np.int64(0)
    for i in range(rows):
        key = load_i64(slots, i)
        record = keys + KEY_BYTES * key
        time = load_i64(times, i)
        number = load_i64(record, NUMBER)
        if number != NONE and ttl > 0:
            last = load_i64(record, LAST)
            if np.uint64(time) - np.uint64(last) > np.uint64(ttl):
                # The row is further away than `ttl`: so the sum has room.
                write_over(over, count, record, key, last + ttl, np.int64(0))
                count += np.int64(1)
                number = np.int64(NONE)
        if number == NONE:
            number = next_number(free, state)
            store_i64(record, NUMBER, number)
            store_i64(record, FIRST, time)
            store_i64(record, LOW, 0)
            store_i64(record, HIGH, 0)
        store_i64(record, LAST, time)
        store_i64(found, i, number)
        full = False
        if kind == ROWS:
            store_i64(record, LOW, load_i64(record, LOW) + 1)
            full = load_u64(record, LOW) >= low
        elif validity == 0 or is_valid(validity, bit + i):
            if kind == FLOAT:
                add_float(record, np.int64(LOW), load_f64(values, i))
                total = load_f64(record, LOW)
                if total == np.inf:
                    full = True
                elif total == -np.inf:
                    store_i64(state, BROKEN, 1)
                else:
                    full = total + load_f64(record, HIGH) >= size
            elif kind == SIGNED:
                add_int(record, np.int64(LOW), load_i64(values, i))
                full = reaches(record, low, high)
            elif kind == UNSIGNED:
                add_uint(record, np.int64(LOW), load_u64(values, i))
                full = reaches(record, low, high)
            else:
                past = add_decimal(record, load_u64(values, 2 * i), load_i64(values, 2 * i + 1))
                if past < 0:
                    store_i64(state, BROKEN, 1)
                full = past > 0 or reaches(record, low, high)
        if full:
            write_over(over, count, record, key, time, np.int64(1))
            count += np.int64(1)
    return count
