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
SPARE = 8
"""So many more may be free than in use."""
PART_BYTES_MIN = 1 << 16
"""Fewer bytes are not taken from a slab, all of which they would keep in use."""
_LINE = 64
_HUGE_PAGE = 1 << 21
_REFERENCES = 2
"""To a slab that nobody uses: that of the list, and that of the question."""


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
        self._slabs: list[Bytes] = []

    def take(self) -> Bytes:
        """One of which nothing is in use.

        Those that are free beyond those that are in use, and a few, go back to the system, one with each call.
        """
        with self._lock:
            free = [at for at in range(len(self._slabs)) if sys.getrefcount(self._slabs[at]) <= _REFERENCES]
            slab = self._slabs.pop(free.pop()) if free else _new_slab()
            if free and 2 * len(free) > len(self._slabs) + SPARE:
                del self._slabs[free[0]]
            self._slabs = [*self._slabs[1 - SLABS_MAX :], slab]
            return slab


def _new_slab() -> Bytes:
    return _aligned(np.empty(SLAB_BYTES + _HUGE_PAGE, dtype=np.uint8))


def _aligned(memory: Bytes) -> Bytes:
    """The part of it that begins with a large page, as memory of its own."""
    begin = -int(memory.__array_interface__["data"][0]) % _HUGE_PAGE
    return np.frombuffer(memoryview(memory)[begin : begin + SLAB_BYTES], dtype=np.uint8)


class _Current(threading.local):
    """The slab that a thread takes parts of."""

    slab: Bytes | None = None
    used = SLAB_BYTES


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
