"""Memory that two processes share: written once, handed over as a file descriptor, gone with its last user.

A segment never has a name (``memfd_create``; where there is none, a temporary file that is unlinked before
it is written), so that nothing is left of it however a process ends.
"""

from __future__ import annotations

import mmap
import os
import tempfile

SEGMENT_BYTES_MAX = 1 << 40
_FLAGS = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)


class Segment:
    """Shared memory of this process that is to be handed over.

    Args:
        nbytes: its size, at least 1.

    >>> made = Segment(4)
    >>> made.memory[:4] = b"rows"
    >>> taken = mapped(made.detach(), 4)
    >>> bytes(taken[:4])
    b'rows'
    """

    __slots__ = ("fd", "memory", "nbytes")

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.fd = _nameless()
        try:
            os.ftruncate(self.fd, nbytes)
            self.memory = mmap.mmap(self.fd, nbytes, _FLAGS)
        except BaseException:
            os.close(self.fd)
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


def mapped(fd: int, nbytes: int) -> mmap.mmap:
    """The memory behind a descriptor that came from another process; closes the descriptor.

    Raises:
        ValueError: there is less of it than was said.
    """
    try:
        if os.fstat(fd).st_size < nbytes:
            raise ValueError("a segment is shorter than its sender said")
        return mmap.mmap(fd, nbytes, _FLAGS)
    finally:
        os.close(fd)


def _nameless() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("streamlib", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile(prefix="streamlib-") as file:
        return os.dup(file.fileno())
