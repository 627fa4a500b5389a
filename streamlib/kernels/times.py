"""Event times in ns, from columns of any unit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.elements import MAX_TIME, times_ns
from streamlib.kernels._jit import kernel
from streamlib.kernels.marks import lowered
from streamlib.kernels.memory import I64, load_i64, store_i64

Int64s = npt.NDArray[np.int64]

_TIMESTAMP = pa.timestamp("us").id
_UNITS_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000}
_MIN, _MAX = np.int64(-(2**63)), np.int64(2**63 - 1)
_BLOCK = np.int64(128)


class Glance(NamedTuple):
    """What the event times of a batch come to.

    Attributes:
        low: the smallest, ns.
        high: the largest, ns.
        behind: how many rows are behind a row before them in the batch by more than the delay.
    """

    low: int
    high: int
    behind: int


def glance(column: pa.Array, max_delay: int, times: Int64s | None = None) -> Glance | None:
    """Looks at event times; None where only `event_times` can tell.

    Args:
        column: the event times.
        max_delay: ns, not negative.
        times: where to write them, ns; they are not written when None.

    >>> glance(pa.array([5, 9, 2], pa.timestamp("us")), 3_000)
    Glance(low=2000, high=9000, behind=1)
    """
    factor = _UNITS_NS.get(column.type.unit) if column.type.id == _TIMESTAMP else None
    if factor is None or column.null_count or not len(column):
        return None
    values = column.buffers()[1].address + 8 * column.offset
    into = 0 if times is None else pa.py_buffer(times).address
    low, high, behind = look(values, len(column), factor, max_delay // factor, into)
    if low < -(MAX_TIME // factor) or high > MAX_TIME // factor:
        return None
    return Glance(low * factor, high * factor, behind)


def event_times(column: pa.Array, name: str) -> Int64s:
    """Event times in nanoseconds; shape (rows,). The column may be shared with it.

    Args:
        column: timestamps or dates, without nulls.
        name: of the column, for messages.

    Raises:
        DataError: a time is null, or beyond `MAX_TIME`.
    """
    times = np.empty(len(column), dtype=np.int64)
    return times_ns(column, name) if glance(column, MAX_TIME, times) is None else times


@kernel("UniTuple(int64, 3)(int64, int64, int64, int64, int64)")
def look(values: I64, rows: I64, factor: I64, delay: I64, times: I64) -> tuple[I64, I64, I64]:
    """The smallest and largest of the values at an address, and how many are more than `delay` below one before.

    As in `marks.scan`, rows are looked at one by one only where some may be. Where `times` is an address the
    values are written there, multiplied by `factor`; where it is 0 they are not.
    """
    low, high, behind = _MAX, _MIN, np.int64(0)
    for begin in range(0, rows, _BLOCK):
        end = min(begin + _BLOCK, rows)
        block_low, block_high = _MAX, _MIN
        for i in range(begin, end):
            value = load_i64(values, i)
            block_low, block_high = min(block_low, value), max(block_high, value)
        if times != 0:
            for i in range(begin, end):
                store_i64(times, i, load_i64(values, i) * factor)
        if block_low < lowered(max(high, block_high), delay):
            top = high
            for i in range(begin, end):
                value = load_i64(values, i)
                top = max(top, value)
                behind += np.int64(np.uint64(top) - np.uint64(value) > np.uint64(delay))
        low, high = min(low, block_low), max(high, block_high)
    return low, high, behind
