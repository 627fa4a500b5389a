"""The marks of rows: how far the event time of a split had come before each row (SEMANTICS 2).

The mark of row i is the largest time of the rows before it in its split, less `max_delay`, and at
least the split's entry mark (`floor`); before the first row of a split only `floor` holds. A row
is behind when its time is below its mark. Nearly all rows are not, and only a batch with such a
row needs its marks: so the first pass only looks, block by block, and marks are written when asked.

Nothing wraps: a mark below the earliest time is MIN_TIME.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.memory import I64

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

_MIN = np.int64(-(2**63))
_MAX = np.int64(2**63 - 1)
_BLOCK = np.int64(128)


class Progress(NamedTuple):
    """What one batch did to its split.

    Attributes:
        running_max: the largest time so far, ns; MIN_TIME while there is none.
        low: the smallest time of the batch, MAX_TIME when it is empty.
        high: the largest time of the batch, MIN_TIME when it is empty.
        behind: how many rows are behind their mark.
        marks: the mark of each row, ns; None when no row is behind.
    """

    running_max: int
    low: int
    high: int
    behind: int
    marks: Int64s | None


@inline
def lowered(time: I64, delay: I64) -> I64:
    """`time - delay` (delay >= 0), held at MIN_TIME."""
    return time - delay if time >= _MIN + delay else _MIN


@kernel("UniTuple(int64, 4)(ints, int64, int64, int64)")
def scan(times: Int64s, running_max: I64, floor: I64, max_delay: I64) -> tuple[I64, I64, I64, I64]:
    """The new running maximum, the smallest and largest time, and the number of rows behind.

    A block of rows is looked at one by one only when its smallest time is below what the mark can
    be at its end.
    """
    top, low, high, behind = running_max, _MAX, _MIN, np.int64(0)
    rows = len(times)
    for begin in range(0, rows, _BLOCK):
        block = times[begin : begin + _BLOCK]
        block_low, block_high = _MAX, _MIN
        for i in range(len(block)):
            block_low = min(block_low, block[i])
            block_high = max(block_high, block[i])
        if block_low < max(floor, lowered(max(top, block_high), max_delay)):
            for i in range(len(block)):
                time = block[i]
                top = max(top, time)  # a row that raises the maximum is not behind by it
                lag = np.uint64(top) - np.uint64(time)
                behind += np.int64((lag > np.uint64(max_delay)) | (time < floor))
        top = max(top, block_high)
        low, high = min(low, block_low), max(high, block_high)
    return top, low, high, behind


@kernel("void(ints, int64, int64, int64, int64[::1])")
def write_marks(times: Int64s, running_max: I64, floor: I64, max_delay: I64, marks: Int64s) -> None:
    """Writes the mark of each row to `marks`."""
    top = running_max
    for i in range(len(times)):
        marks[i] = max(floor, lowered(top, max_delay))
        top = max(top, times[i])


@kernel("UniTuple(int64, 3)(ints, codes, int64[::1], ints, int64, int64[::1])")
def scan_splits(
    times: Int64s, splits: Int32s, running_max: Int64s, floor: Int64s, max_delay: I64, marks: Int64s
) -> tuple[I64, I64, I64]:
    """As `scan` and `write_marks` at once, with a split for each row; `running_max` is brought up to date.

    Args:
        splits: per row, the index of its split in `running_max` and `floor`.

    Returns:
        The smallest and largest time and the number of rows behind.
    """
    low, high, behind = _MAX, _MIN, np.int64(0)
    for i in range(len(times)):
        time, split = times[i], splits[i]
        top = running_max[split]
        mark = max(floor[split], lowered(top, max_delay))
        marks[i] = mark
        behind += np.int64(time < mark)
        running_max[split] = max(top, time)
        low, high = min(low, time), max(high, time)
    return low, high, behind


def advance(times: Int64s, running_max: int, floor: int, max_delay: int) -> Progress:
    """Looks at one batch of one split.

    Args:
        times: event times in the split's order, ns.
        running_max: the largest time of the split before the batch; MIN_TIME if there is none.
        floor: the split's entry mark; MIN_TIME if there is none.
        max_delay: ns, not negative.
    """
    top, low, high, behind = scan(times, running_max, floor, max_delay)
    marks = None
    if behind:
        marks = np.empty(len(times), dtype=np.int64)
        write_marks(times, running_max, floor, max_delay, marks)
    return Progress(top, low, high, behind, marks)


def advance_splits(
    times: Int64s, splits: Int32s, running_max: Int64s, floor: Int64s, max_delay: int
) -> Progress:
    """Looks at one batch whose rows belong to several splits; changes `running_max` in place.

    The result's `running_max` is the largest over the splits met so far.
    """
    marks = np.empty(len(times), dtype=np.int64)
    low, high, behind = scan_splits(times, splits, running_max, floor, max_delay, marks)
    top = int(running_max.max()) if len(running_max) else int(_MIN)
    return Progress(top, low, high, behind, marks if behind else None)
