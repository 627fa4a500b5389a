"""Starts of tumbling windows, exact for every int64 time."""

from __future__ import annotations

import numpy as np

from streamlib.kernels._jit import inline
from streamlib.kernels.memory import I64, load_i64, store_i64

_MIN = np.int64(-(2**63))
_MAX = np.int64(2**63 - 1)
_SPAN_MAX = np.uint64(2**62)
_WINDOWS_MAX = np.uint64(2**50)


@inline
def window_start(time: I64, size: I64, offset: I64) -> I64:
    """The largest offset + k * size that is <= time (0 <= offset < size), held at MIN_TIME."""
    back = time % size - offset
    if back < 0:
        back += size
    return time - back if time >= _MIN + back else _MIN


@inline
def write_starts(times: I64, rows: I64, size: I64, offset: I64, starts: I64) -> bool:
    """Writes the window start of each of `rows` times; both are addresses. Says whether all are one.

    Times are taken relative to the window of the smallest one and multiplied by 1 / size in floating
    point, which is off by at most one window while there are fewer than 2**50 (the product has a
    relative error of about 2**-52); one comparison on each side puts it right. Without branches it
    vectorises, where an integer division per row would not.
    """
    low, high = _MAX, _MIN
    for i in range(rows):
        time = load_i64(times, i)
        low = min(low, time)
        high = max(high, time)
    base = window_start(low, size, offset)
    span = np.uint64(high) - np.uint64(base)
    if span < np.uint64(size) and base != _MIN:
        for i in range(rows):
            store_i64(starts, i, base)
        return True
    if (
        span < _SPAN_MAX
        and span // np.uint64(size) < _WINDOWS_MAX
        and base != _MIN
        and size < np.int64(2**61)
    ):
        inverse = 1.0 / np.float64(size)
        for i in range(rows):
            past = load_i64(times, i) - base
            start = np.int64(np.float64(past) * inverse) * size
            start -= size if start > past else np.int64(0)
            start += size if start + size <= past else np.int64(0)
            store_i64(starts, i, base + start)
    else:
        for i in range(rows):
            store_i64(starts, i, window_start(load_i64(times, i), size, offset))
    return False
