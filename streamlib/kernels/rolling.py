"""Rows of rolling windows in a log: compacting it, following the rows of one key, dropping keys.

A row of the log is some int64 words: time, slot of its key (-1: in no window any more), the row of the same
key before it, the one after it if both are in the front (-1: none), then the state of `state.rings`. A slot
is as many: the oldest row of the front, the newest row of all, the oldest row of the back, how many rows
there are, and the state of the back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import kernel
from streamlib.kernels.memory import I64

Int64s = npt.NDArray[np.int64]

HEAD = 4
"""Words before the state, in a row and in a slot."""
TIME, SLOT, EARLIER, LATER = 0, 1, 2, 3
FRONT, NEWEST, BACK, COUNT = 0, 1, 2, 3


@kernel("int64(int64[:, ::1], int64, int64[:, ::1], int64, int64[::1])")
def compact_log(log: Int64s, used: I64, slots: Int64s, slot_count: I64, moved: Int64s) -> I64:
    """Moves the rows that are in a window to the beginning of the log, in their order; returns how many.

    Args:
        moved: becomes by row its new place, -1 of rows that are gone; as long as the log is used.
    """
    live = np.int64(0)
    for at in range(used):
        if log[at, 1] < 0:
            moved[at] = -1
            continue
        moved[at] = live
        if at != live:
            for word in range(log.shape[1]):
                log[live, word] = log[at, word]
        live += 1
    for at in range(live):
        for word in range(2, 4):
            if log[at, word] >= 0:
                log[at, word] = moved[log[at, word]]
    for slot in range(slot_count):
        for word in range(3):
            if slots[slot, word] >= 0:
                slots[slot, word] = moved[slots[slot, word]]
    return live


@kernel("void(int64[:, ::1], int64[:, ::1], ints, ints)")
def drop_keys(log: Int64s, slots: Int64s, dropped: Int64s, template: Int64s) -> None:
    """Takes the rows of some slots out of their windows, and the slots back to the state without rows."""
    for i in range(len(dropped)):
        slot = dropped[i]
        at = slots[slot, 1]
        for _ in range(slots[slot, 3]):
            log[at, 1] = -1
            at = log[at, 2]
        for word in range(len(template)):
            slots[slot, word] = template[word]


@kernel("void(int64[:, ::1], int64[:, ::1], int64, uint8[::1])")
def mark_front(log: Int64s, slots: Int64s, slot_count: I64, in_front: npt.NDArray[np.uint8]) -> None:
    """Sets, by row, whether it belongs to the front of its window."""
    for slot in range(slot_count):
        at = slots[slot, 0]
        while at >= 0:
            in_front[at] = 1
            at = log[at, 3]


@kernel("void(int64[:, ::1], int64, ints, int64[::1])")
def expand_windows(log: Int64s, first: I64, counts: Int64s, rows: Int64s) -> None:
    """Writes the rows of windows one after another: `counts[i]` of them, the last one row `first + i`."""
    filled = 0
    for i in range(len(counts)):
        at = first + i
        for k in range(counts[i] - 1, -1, -1):
            rows[filled + k] = at
            at = log[at, 2]
        filled += counts[i]
