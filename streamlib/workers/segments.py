"""Memory that two processes share: written once, handed over as a file descriptor, gone with its last user.

A segment never has a name (``memfd_create``; where there is none, a temporary file that is unlinked before
it is written), so that nothing is left of it however a process ends. What is mapped holds memory, but no
open file: a worker may keep any number of batches.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
from functools import cache
from typing import Any

import numpy as np

SEGMENT_BYTES_MAX = 1 << 40
_FLAGS = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)


class Segment:
    """Shared memory of this process that is to be handed over.

    Args:
        nbytes: its size, at least 1.

    >>> made = Segment(4)
    >>> made.memory[:4] = b"rows"
    >>> bytes(mapped(made.detach(), 4))
    b'rows'
    """

    __slots__ = ("fd", "memory", "nbytes")

    def __init__(self, nbytes: int) -> None:
        self.nbytes, self.fd = nbytes, -1
        self.fd = _nameless()
        try:
            os.ftruncate(self.fd, nbytes)
            self.memory = _map(self.fd, nbytes)
        except BaseException:
            self.close()
            raise

    def detach(self) -> int:
        """The descriptor, which is the caller's to close."""
        fd, self.fd = self.fd, -1
        return fd

    def close(self) -> None:
        """Closes the descriptor, where it is still this object's."""
        if self.fd >= 0:
            os.close(self.detach())

    def __del__(self) -> None:
        self.close()


def mapped(fd: int, nbytes: int) -> memoryview:
    """The memory behind a descriptor that came from another process; closes the descriptor.

    Raises:
        ValueError: there is less of it than was said.
    """
    try:
        if os.fstat(fd).st_size < nbytes:
            raise ValueError("a segment is shorter than its sender said")
        return _map(fd, nbytes)
    finally:
        os.close(fd)


class _Mapping:
    """Mapped memory, until nothing refers to it. `mmap.mmap` would keep a descriptor open for each."""

    __slots__ = ("__array_interface__", "_unmap", "_where")

    def __init__(self, address: int, nbytes: int) -> None:
        self._where = address, nbytes
        self._unmap = _libc().munmap  # also when modules are taken apart
        self.__array_interface__ = {
            "data": (address, False),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }

    def __del__(self) -> None:
        self._unmap(*self._where)


def _map(fd: int, nbytes: int) -> memoryview:
    address = _libc().mmap(None, nbytes, mmap.PROT_READ | mmap.PROT_WRITE, _FLAGS, fd, 0)
    if address == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return memoryview(np.asarray(_Mapping(address, nbytes)))  # type: ignore[arg-type]


@cache
def _libc() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    size, number = ctypes.c_size_t, ctypes.c_int
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = (ctypes.c_void_p, size, number, number, number, ctypes.c_long)
    library.munmap.argtypes = (ctypes.c_void_p, size)
    return library


def _nameless() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("streamlib", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile(prefix="streamlib-") as file:
        return os.dup(file.fileno())
