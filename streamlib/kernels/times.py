"""Event times in ns, from columns of any unit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.elements import MAX_TIME, times_ns
from streamlib.kernels._jit import kernel
from streamlib.kernels.marks import lowered
from streamlib.kernels.memory import I64, load_i64

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


def glance(column: pa.Array, max_delay: int) -> Glance | None:
    """Looks at event times and makes none; None where only `event_times` can tell.

    Args:
        column: the event times.
        max_delay: ns, not negative.

    >>> glance(pa.array([5, 9, 2], pa.timestamp("us")), 3_000)
    Glance(low=2000, high=9000, behind=1)
    """
    factor = _UNITS_NS.get(column.type.unit) if column.type.id == _TIMESTAMP else None
    if factor is None or column.null_count or not len(column):
        return None
    values = column.buffers()[1].address + 8 * column.offset
    low, high, behind = look(values, len(column), max_delay // factor)
    if low < -(MAX_TIME // factor) or high > MAX_TIME // factor:
        return None
    return Glance(low * factor, high * factor, behind)


def event_times(column: pa.Array, name: str) -> Int64s:
    """As `times_ns`, in one call without the GIL.

    >>> event_times(pa.array([1, -2], pa.timestamp("ms")), "ts").tolist()
    [1000000, -2000000]
    """
    kind = column.type
    factor = _UNITS_NS.get(kind.unit) if kind.id == _TIMESTAMP else None
    if factor is None or column.null_count or not len(column):
        return times_ns(column, name)
    times = np.empty(len(column), dtype=np.int64)
    if not scale(column.buffers()[1].address + 8 * column.offset, factor, MAX_TIME // factor, times):
        return times_ns(column, name)  # which says what does not fit
    return times


@kernel("boolean(int64, int64, int64, int64[::1])")
def scale(values: I64, factor: I64, most: I64, times: Int64s) -> bool:
    """Writes the values at an address times `factor`; false where one is not from `-most` to `most`."""
    low, high = np.int64(0), np.int64(0)
    for i in range(len(times)):
        value = load_i64(values, i)
        low, high = min(low, value), max(high, value)
        times[i] = value * factor
    return bool((low >= -most) & (high <= most))


@kernel("UniTuple(int64, 3)(int64, int64, int64)")
def look(values: I64, rows: I64, delay: I64) -> tuple[I64, I64, I64]:
    """The smallest and largest of the values at an address, and how many are more than `delay` below one before.

    As in `marks.scan`, rows are looked at one by one only where some may be.
    """
    low, high, behind = _MAX, _MIN, np.int64(0)
    for begin in range(0, rows, _BLOCK):
        end = min(begin + _BLOCK, rows)
        block_low, block_high = _MAX, _MIN
        for i in range(begin, end):
            value = load_i64(values, i)
            block_low, block_high = min(block_low, value), max(block_high, value)
        if block_low < lowered(max(high, block_high), delay):
            top = high
            for i in range(begin, end):
                value = load_i64(values, i)
                top = max(top, value)
                behind += np.int64(np.uint64(top) - np.uint64(value) > np.uint64(delay))
        low, high = min(low, block_low), max(high, block_high)
    return low, high, behind
