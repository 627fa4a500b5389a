"""Opening, making durable and renaming files: the few calls to the system that sources and sinks share."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, cast

import pyarrow as pa

from streamlib.connectors.formats.names import compression_of
from streamlib.errors import SinkError, SourceError, nearest_names

_EXCHANGE = 2
_AT_FDCWD = -100


def open_input(path: str) -> BinaryIO:
    """Opens a file for reading, unpacked by its ending; not seekable when it is compressed.

    Raises:
        SourceError: missing, empty, a folder, or not readable.
    """
    try:
        file = open(path, "rb", buffering=0)
        if os.fstat(file.fileno()).st_size == 0 and os.path.isfile(path):
            file.close()
            raise SourceError("the file is empty", where=path, expected="at least one byte", got="0 bytes")
    except OSError as error:
        raise unreadable(path, error) from error
    codec = compression_of(path)
    if codec is None:
        return cast(BinaryIO, file)
    file.close()
    return cast(BinaryIO, pa.CompressedInputStream(pa.OSFile(path), codec))


def open_output(path: str, compression: str | None = None) -> BinaryIO:
    """Opens a file for writing that does not exist yet. The caller closes and syncs it."""
    file = open_plain(path)
    return file if compression is None else cast(BinaryIO, Packed(file, compression))


def open_plain(path: str) -> BinaryIO:
    """Opens a new file for bytes as they are. Tests put a disk that is full in its place."""
    return open(path, "xb")


class Packed:
    """A file that compresses what is written to it. Closing it closes the file below."""

    def __init__(self, file: BinaryIO, compression: str) -> None:
        self._file = file
        self._packer = pa.CompressedOutputStream(pa.PythonFile(file, "w"), compression)
        self.closed = False

    def write(self, data: Any) -> int:
        return int(self._packer.write(data))

    def flush(self) -> None:
        """What is still in the compressor stays there: a flush would cost size."""

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            try:
                self._packer.close()
            finally:
                self._file.close()


def unreadable(path: str, error: OSError) -> SourceError:
    """The error for a file that cannot be opened, with the nearest names if it does not exist."""
    if isinstance(error, FileNotFoundError):
        return missing(path)
    return SourceError(
        "the file cannot be read", where=path, got=error.strerror or str(error), hint=_permission_hint(error)
    )


def missing(path: str) -> SourceError:
    """The error for a file that does not exist."""
    folder = os.path.dirname(path) or "."
    name = os.path.basename(path)
    if not os.path.isdir(folder):
        return SourceError(
            "there is no such file", where=path, got=f"no folder {folder!r}", hint=_working_folder()
        )
    try:
        names = sorted(n for n in os.listdir(folder) if not n.startswith("."))
    except OSError:
        names = []
    near = nearest_names(name, names)
    if near:
        hint = f"did you mean {' or '.join(repr(os.path.join(os.path.dirname(path), n)) for n in near)}?"
    else:
        hint = _working_folder()
    return SourceError("there is no such file", where=path, hint=hint)


def _working_folder() -> str:
    return f"paths are relative to {os.getcwd()}"


def _permission_hint(error: OSError) -> str | None:
    return "who runs this has no permission" if isinstance(error, PermissionError) else None


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Turns the system's and Arrow's errors into a SinkError: the file, the cause and the free space."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise unwritable(path, error) from error


def unwritable(path: str, error: BaseException) -> SinkError:
    """The error for a file that cannot be written."""
    number = getattr(error, "errno", None)
    cause = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
    hint = None
    if number in (errno.ENOSPC, errno.EDQUOT):
        hint = "make room, or write to another disk; the output so far is not visible"
    elif isinstance(error, PermissionError):
        hint = "who runs this has no permission to write there"
    return SinkError("the file cannot be written", where=path, got=f"{cause}; {_free(path)}", hint=hint)


def _free(path: str) -> str:
    folder = os.path.abspath(path)
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    try:
        return f"{shutil.disk_usage(folder).free:,} bytes free"
    except OSError:
        return "free space not known"


def sync_file(path: str) -> None:
    """Waits until a file's bytes are on the disk."""
    descriptor = os.open(path, os.O_RDONLY if sys.platform != "win32" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: str) -> None:
    """Waits until a folder's names are on the disk, where the system can do that."""
    if sys.platform == "win32":
        return
    sync_file(path or ".")


def sync_tree(folder: str) -> None:
    """Syncs a folder and all folders below it; their files were synced when they were closed."""
    for path, _, _ in os.walk(folder, topdown=False):
        sync_folder(path)


def exchange(a: str, b: str) -> bool:
    """Swaps two names in one step. False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return int(call(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _EXCHANGE)) == 0


def identity(path: str) -> list[int] | None:
    """What stays with a file or folder when it is renamed; None when it does not exist."""
    try:
        about = os.stat(path)
    except FileNotFoundError:
        return None
    return [about.st_dev, about.st_ino]


def remove_tree(path: str) -> None:
    """Removes a folder and all in it; silent when that fails, as there is nothing to be done then."""
    with suppress(OSError):
        shutil.rmtree(path)


def hold_lock(path: str) -> BinaryIO | None:
    """Locks a file for as long as the answer is open; None when another process holds it."""
    file = open(path, "ab")
    try:
        _lock(file.fileno())
    except OSError:
        file.close()
        return None
    return cast(BinaryIO, file)


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
