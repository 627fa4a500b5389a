"""Memory of large panes: room to grow where they are, and what closed windows leave is used again.

A window of a million keys takes its memory page by page as keys come, and the system clears each page first:
a third of the time it takes to add the rows. So the first part of what a closed window had is kept for the next
one, of whatever store. The system may take it back when it is short of memory (MADV_FREE).
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections import deque

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

BLOCKS_KEPT = 2
"""So many blocks wait to be used again, in the whole process,"""
BYTES_KEPT = 1 << 27
"""and each keeps so much memory, at most."""
_LINE = 64
_ROOM = 2
"""A block that waits is used where it has room for so many times what is needed."""

_kept: deque[mmap.mmap] = deque(maxlen=BLOCKS_KEPT)  # its calls are atomic: finalizers run in any thread


def block(need: int, ahead: int) -> Bytes:
    """Bytes of no values yet: `ahead` times what is needed, or a block that was used before.

    What is not touched takes no memory, on POSIX.

    Args:
        need: bytes that will be used.

    Raises:
        MemoryError: there is no room for so many.

    >>> len(block(1 << 20, 4))
    4194304
    """
    if os.name != "posix":
        return np.empty(ahead * need, dtype=np.uint8)
    need = -(-need // _LINE) * _LINE
    memory = _used_before(_ROOM * need)
    if memory is None:
        try:
            memory = mmap.mmap(-1, ahead * need, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError(f"no room for {ahead * need:,} bytes") from error
        _advise(memory, "MADV_HUGEPAGE", 0)
    whole = np.frombuffer(memory, dtype=np.uint8)
    weakref.finalize(
        whole, _keep, memory
    ).atexit = False  # all parts of it refer to it, and so do their parts
    return whole


def _used_before(size: int) -> mmap.mmap | None:
    for _ in range(BLOCKS_KEPT):
        try:
            memory = _kept.popleft()
        except IndexError:
            return None
        if len(memory) >= size:
            return memory
        _kept.append(memory)
    return None


def _keep(memory: mmap.mmap) -> None:
    """Nobody has a part of it any more."""
    if len(memory) > BYTES_KEPT:
        _advise(memory, "MADV_DONTNEED", BYTES_KEPT)
    _advise(memory, "MADV_FREE", 0)
    _kept.append(memory)


def _advise(memory: mmap.mmap, what: str, begin: int) -> None:
    """Says what becomes of the memory from `begin` on, where the system knows such advice."""
    advice = getattr(mmap, what, None)
    if advice is not None:
        try:
            memory.madvise(advice, begin)
        except OSError:
            pass  # a system without it
