"""What the C library does with memory that a batch leaves: it is kept for the next batch.

Columns and scratch of a batch are half a megabyte to a few, and go when the next batch comes. By default
glibc gives such memory back to the system at once and takes it anew, page by page, each cleared by the
system: up to a fifth of the time of a job. It ceases to do so by itself once a block of some size has
been freed ("dynamic mmap threshold", mallopt(3)). Here it is told so from the start, up to the size where
it would end: speed does not depend on what the process did before.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

KEPT_MAX = 64 << 20
"""Free bytes at the end of a heap from which on they go back to the system."""
HEAP_BLOCK_MAX = 32 << 20
"""Blocks from this size on are always the system's own: they go back when they are freed."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
_USERS_OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")


@cache
def keep_freed_memory() -> bool:
    """Has glibc's malloc keep what this process frees for its next blocks; false where that is not its malloc.

    What the environment says about malloc (``MALLOC_TRIM_THRESHOLD_``, ``GLIBC_TUNABLES`` and so on)
    stands: then nothing is changed.
    """
    if any(name in os.environ for name in _USERS_OWN) or "glibc.malloc" in os.environ.get(
        "GLIBC_TUNABLES", ""
    ):
        return False
    if "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, HEAP_BLOCK_MAX)) and bool(mallopt(_TRIM_THRESHOLD, KEPT_MAX))
