"""The rows of a batch, put into a rough order of time before they go into their sessions.

A row that comes early begins a session that the rows between make part of the one before, and until then each
row looks at both. Most of that is spared when the rows of a batch come in some order.
"""

from __future__ import annotations

import numpy as np

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.memory import I64, load_i64, store_i64

ENTRY_BYTES = 16
"""Of a row: its time, then the slot of its key above its number."""
ENTRY_KEY = np.int64(32)
ENTRY_ROW = np.int64(2**32 - 1)

STRETCHES = 4096
"""The most stretches of time that rows are put in order by."""
FINER = np.uint64(2)
"""A stretch is a gap halved so often at least, or longer where that would be too many."""
_MAX_TIME = np.int64(2**63 - 1)
_ONE = np.uint64(1)


@inline
def entry(place: I64, time: I64, key: I64, row: I64) -> None:
    """Writes a row to a place."""
    store_i64(place, 0, time)
    store_i64(place, 1, (key << ENTRY_KEY) | row)


@kernel("boolean(int64, int64, int64, int64, int64, int64)")
def order_rows(rows: I64, keys: I64, times: I64, gap: I64, places: I64, entries: I64) -> bool:
    """Writes rows by time, exactly but for less than a gap; as they come, and False, where they come about so.

    Args:
        rows: how many, below 2**32.
        keys: address of the slots of the rows' keys, below 2**31.
        times: address of the rows' times, ns.
        gap: ns.
        places: address of `STRETCHES` words to work with.
        entries: address of `ENTRY_BYTES` for each row.
    """
    low, high, lag = _MAX_TIME, ~_MAX_TIME, np.uint64(0)
    for i in range(rows):
        time = load_i64(times, i)
        high = max(high, time)
        low = min(low, time)
        lag = max(lag, np.uint64(high) - np.uint64(time))
    bits = np.uint64(0)  # of the longest stretch, which is more than half a gap
    while np.uint64(gap) >> bits > _ONE:
        bits += _ONE
    span = np.uint64(high) - np.uint64(low)
    if lag <= np.uint64(gap) >> _ONE or span >> bits >= np.uint64(STRETCHES):
        for i in range(rows):
            entry(entries + ENTRY_BYTES * i, load_i64(times, i), load_i64(keys, i), np.int64(i))
        return False
    shift = bits - min(bits, FINER)
    while span >> shift >= np.uint64(STRETCHES):
        shift += _ONE
    stretches = np.int64(span >> shift) + 1
    for stretch in range(stretches):
        store_i64(places, stretch, 0)
    for i in range(rows):
        at = np.int64((np.uint64(load_i64(times, i)) - np.uint64(low)) >> shift)
        store_i64(places, at, load_i64(places, at) + 1)
    end: I64 = entries
    for stretch in range(stretches):
        count = load_i64(places, stretch)
        store_i64(places, stretch, end)
        end += ENTRY_BYTES * count
    for i in range(rows):
        time = load_i64(times, i)
        at = np.int64((np.uint64(time) - np.uint64(low)) >> shift)
        place = load_i64(places, at)
        entry(place, time, load_i64(keys, i), np.int64(i))
        store_i64(places, at, place + ENTRY_BYTES)
    return True
