"""Memory for columns that are made: memory that was used before, where there is some.

New memory comes from the system page by page, and costs more than most of what is written to it. What was freed is
therefore kept, up to a limit: `room` by the C library, which is right for what is needed for a moment; `lasting_room`
in slabs, for columns that go on to others, and are freed by whom and when nobody can tell.
"""

from __future__ import annotations

import sys
import threading
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bytes = npt.NDArray[np.uint8]

SLAB_BYTES = 1 << 22
"""Bytes of a slab: NumPy asks for large pages where an array has at least so many."""
SLABS_MAX = 64
"""A process knows so many slabs, at most, to use them again."""
CALLS_KEPT = 128
"""A slab that has not been taken for so many calls goes back to the system."""
PART_BYTES_MIN = 1 << 16
"""Fewer bytes are not taken from a slab, all of which they would keep in use."""
_LINE = 64
_HUGE_PAGE = 1 << 21


def room(count: int, kind: npt.DTypeLike = np.int64) -> npt.NDArray[Any]:
    """An array of no values yet.

    Its memory is that of the C library, which keeps what is freed: Arrow's own pools give it back to the
    system within milliseconds, and then each page costs a fault again.
    """
    size = max(1, count * np.dtype(kind).itemsize)
    return np.frombuffer(pa.allocate_buffer(size, memory_pool=_pool()), dtype=kind, count=count)


@cache
def _pool() -> pa.MemoryPool:
    return pa.system_memory_pool()


def lasting_room(count: int, kind: npt.DTypeLike = np.int64) -> npt.NDArray[Any]:
    """An array of no values yet, for a column that goes on to others: part of a slab, where it is large.

    >>> len(lasting_room(10_000)), lasting_room(3, np.int32).dtype
    (10000, dtype('int32'))
    """
    size = count * np.dtype(kind).itemsize
    if not PART_BYTES_MIN <= size <= SLAB_BYTES // 2:
        return room(count, kind)
    part: npt.NDArray[Any] = _part(-(-size // _LINE) * _LINE)[:size].view(kind)
    return part


class _Slabs:
    """The slabs of the process.

    A part of a slab refers to it, so that the count of its references says when nobody has one any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slabs: list[tuple[int, Bytes]] = []  # with the number of the call that took it last
        self._calls = 0

    def take(self) -> Bytes:
        """One of which nothing is in use: the last one that was taken.

        What is free for long goes back to the system.
        """
        with self._lock:
            self._calls += 1
            slabs, self._slabs = self._slabs, []
            free = [at for at in range(len(slabs)) if _references(slabs, at) <= _IDLE] if _COUNTED else []
            slab = slabs.pop(free.pop())[1] if free else _new_slab()
            if free and slabs[free[0]][0] < self._calls - CALLS_KEPT:
                del slabs[free[0]]
            self._slabs = [*slabs[1 - SLABS_MAX :], (self._calls, slab)]
            return slab


def _references(slabs: list[tuple[int, Bytes]], at: int) -> int:
    """How many there are to a slab."""
    return sys.getrefcount(slabs[at][1])


def _new_slab() -> Bytes:
    return _aligned(np.empty(SLAB_BYTES + _HUGE_PAGE, dtype=np.uint8))


def _aligned(memory: Bytes) -> Bytes:
    """The part of it that begins with a large page, as memory of its own."""
    begin = -int(memory.__array_interface__["data"][0]) % _HUGE_PAGE
    return np.frombuffer(memory.data[begin : begin + SLAB_BYTES], dtype=np.uint8)


class _Current(threading.local):
    """The slab that a thread takes parts of."""

    slab: Bytes | None = None
    used = SLAB_BYTES


_IDLE = _references([(0, np.empty(0, dtype=np.uint8))], 0)
"""References to a slab that nobody uses: what Python itself adds differs from version to version."""
_COUNTED = bool(getattr(sys, "_is_gil_enabled", lambda: True)())
"""Without the GIL a count is no proof, and slabs are used once."""
_slabs = _Slabs()
_current = _Current()


def _part(size: int) -> Bytes:
    """So many bytes: at most half a slab."""
    if _current.slab is None or _current.used + size > SLAB_BYTES:
        _current.slab = None
        _current.slab, _current.used = _slabs.take(), 0
    begin = _current.used
    _current.used += size
    return _current.slab[begin : begin + size]
