"""The reader of one followed path: growth, rotation, new files, and files that are no longer what they were."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from streamlib.connectors.files.open_files import identity, unreadable
from streamlib.connectors.files.reader import FilesReader, with_metadata
from streamlib.connectors.formats.csv_text import Csv
from streamlib.connectors.formats.names import compression_of
from streamlib.connectors.formats.text import TextBlock, TextReader
from streamlib.contracts import PENDING, Block, FormatReader, Pending
from streamlib.errors import SourceError

if TYPE_CHECKING:
    from streamlib.connectors.files.follow import FollowedFiles

BEFORE_BYTES = 1024
"""How much text before a position is hashed."""
HEAD_BYTES = 1 << 20
"""How much of a file is looked at for its header."""
SEEN_MAX = 20
"""How many files that are done a position remembers, to know them under another name."""


_ROTATED = re.compile(r"[.\-_]\d[\dT.\-_:]*")
"""What follows the name of a file that was renamed to make room for a new one: ``.1``, ``-20240809``."""


@dataclass(frozen=True, slots=True)
class _Done:
    """The file that was done last."""

    path: str
    id: list[int]
    size: int
    changed_ns: int


class FollowReader(FilesReader):
    """Reads one followed path.

    The position is ``{"file": path, "id": [device, inode], "at": position in it, "row": rows before the
    file, "before": {"bytes", "hash"}, "seen": marks of files that are done, "begun": number of files begun}``.
    """

    def __init__(self, source: FollowedFiles, path: str, position: Any) -> None:
        self._source: FollowedFiles = source
        self._listing = source.listings[path]
        self._schema = source.schema()
        self._file: BinaryIO | None = None
        self._reader: FormatReader | None = None
        self._path: str | None = None  # of the file being read, or read last
        self._id: list[int] | None = None
        self._row = self._rows_here = self._offset = 0
        self._before = b""
        self._waited = False
        self._seen: list[list[Any]] = []  # device, number, size, and a hash of the end of files that are done
        self._begun: set[str] = set()
        self._last: _Done | None = None
        if position is not None:
            self._resume(position)

    def read(self) -> Block | Pending | None:
        while True:
            if self._reader is None and not self._begin_next():
                return PENDING
            assert self._reader is not None
            if self._waited and not self._is_what_it_was():
                continue
            inner = self._reader.read()
            if isinstance(inner, Block):
                self._waited = False
                return self._following(inner)
            if inner is PENDING:
                self._waited = True
                if not self._is_done():
                    return PENDING
                assert isinstance(self._reader, TextReader)
                self._reader.growing = False
                inner = self._reader.read()  # what was written meanwhile, and a last record without its end
                if isinstance(inner, Block):
                    return self._following(inner)
            self._finish()

    def peek(self) -> pa.RecordBatch | None:
        if self._reader is None and not self._begin_next():
            return None
        assert self._reader is not None and self._path is not None
        rows = self._reader.peek()
        if rows is not None and self._source.metadata:
            rows = with_metadata(self._schema, rows, self._path, range(rows.num_rows))
        return rows

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin_next(self) -> bool:
        """Opens the next file that has something to read; False when there is none."""
        for path in self._candidates():
            if not self._is_seen(path) and self._open(path):
                if self._listing.single:
                    self._path = self._listing.path
                self._begun.add(path)
                return True
        return False

    def _candidates(self) -> Sequence[str]:
        """Files that are not done, in order: the last one's name under which another file stands, later names."""
        files = self._listing.files()
        if self._listing.single:
            return files if self._last is None else [*self._rotated(self._last.changed_ns), *files]
        if self._path is None:
            return files
        self._check_order(files)
        self._check_done()
        return [f for f in files if f >= self._path]

    def _rotated(self, since_ns: int) -> list[str]:
        """Files with a name as rotation gives it that were written since a time, in the order they were."""
        folder, name = os.path.split(self._listing.path)
        found = []
        with suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in entries:
                if entry.name.startswith(name) and _ROTATED.fullmatch(entry.name[len(name) :]):
                    changed = entry.stat().st_mtime_ns
                    if changed >= since_ns:
                        found.append((changed, os.path.join(folder, entry.name)))
        return [path for _, path in sorted(found)]

    def _check_order(self, files: Sequence[str]) -> None:
        assert self._path is not None
        for file in files:
            if file < self._path and file not in self._begun and _size(file) and not self._is_seen(file):
                raise SourceError(
                    "a file appeared that sorts before one that was begun already",
                    where=file,
                    expected=f"a name after {self._path!r}",
                    hint="names with a date or a number of fixed width sort in the order of time",
                )

    def _check_done(self) -> None:
        if self._last is None:
            return
        last = self._last
        try:
            about = os.stat(last.path)
        except OSError:
            return
        if [about.st_dev, about.st_ino] == last.id and about.st_size > last.size:
            raise SourceError(
                "a file has grown after a later one was begun",
                where=last.path,
                expected=f"{last.size:,} bytes, as when it was done",
                got=f"{about.st_size:,} bytes",
                hint="files are read one after another: to follow several at once, give each path by itself",
            )

    def _open(self, path: str, position: Any = None) -> bool:
        """Opens a file; False while nothing can be read of it: it is empty, or its header is not whole."""
        try:
            file = open(path, "rb", buffering=0)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            later = not self._listing.single and any(f > path for f in self._listing.files())
            if position is None and not self._is_ready(file, path, later):
                file.close()
                return False
            self._reader = self._source.reader_of(file, path, position)
        except BaseException:
            file.close()
            raise
        if isinstance(self._reader, TextReader) and compression_of(path) is None:
            self._reader.growing = True
        about = os.fstat(file.fileno())
        self._file, self._path, self._id = file, path, [about.st_dev, about.st_ino]
        self._offset, self._before, self._rows_here, self._waited = 0, b"", 0, False
        return True

    def _is_ready(self, file: BinaryIO, path: str, later: bool) -> bool:
        size = os.fstat(file.fileno()).st_size
        fmt = self._source.chosen
        if size == 0:
            return False
        if not isinstance(fmt, Csv) or compression_of(path) is not None or later:
            return True
        head = file.read(HEAD_BYTES)
        file.seek(0)
        return len(head) == HEAD_BYTES or fmt.has_header(head)

    def _following(self, inner: Block) -> Block:
        assert self._path is not None
        block = self._outer_of(inner, self._path)
        text = inner.data
        position: dict[str, Any] = {
            "file": self._path,
            "id": self._id,
            "at": inner.position,
            "row": self._row,
            "seen": list(self._seen),
            "begun": len(self._begun),
        }
        if isinstance(text, TextBlock):
            self._offset = int(inner.position["offset"])
            self._before = (self._before + bytes(text.data[-BEFORE_BYTES:]))[-BEFORE_BYTES:]
            position["before"] = {"bytes": len(self._before), "hash": _hash(self._before)}
        return Block(block.data, position, block.first_row, block.first_line, block.nbytes)

    def _is_done(self) -> bool:
        """Whether nothing more is written to the file: another has its name, or a later one has begun."""
        assert self._path is not None
        own = identity(self._path)
        if own is not None and own != self._id:
            return _size(self._path) > 0 or self._has_newer()
        if self._listing.single:
            return False
        files = self._listing.files()
        self._check_order(files)
        self._check_done()
        return any(f > self._path and _size(f) and not self._is_seen(f) for f in files)

    def _has_newer(self) -> bool:
        """Whether a file that took this one's place has been renamed already."""
        assert self._file is not None
        since = os.fstat(self._file.fileno()).st_mtime_ns
        return any(
            _size(f) and identity(f) != self._id and not self._is_seen(f) for f in self._rotated(since)
        )

    def _is_seen(self, path: str) -> bool:
        """Whether a file is one that is done, perhaps under another name. Numbers of files are used again."""
        own = identity(path)
        for device, number, size, ending in self._seen:
            if own == [device, number] and _size(path) >= size:
                with suppress(OSError), open(path, "rb") as file:
                    return _hash(_bytes_before(file, size, min(size, BEFORE_BYTES))) == ending
        return False

    def _is_what_it_was(self) -> bool:
        """Whether the file is as it was up to where it has been read; if not, by policy it begins anew."""
        if not isinstance(self._reader, TextReader) or self._file is None or not self._reader.growing:
            return True
        size = os.fstat(self._file.fileno()).st_size
        if size == self._offset:
            return True  # nothing new
        if size > self._offset:
            if _bytes_before(self._file, self._offset, len(self._before)) == self._before:
                return True
            got = "other text before what was read last"
        else:
            got = f"{size:,} bytes"
        self._changed(got)
        return False

    def _changed(self, got: str) -> None:
        """The file is not what it was: an error, or read anew."""
        assert self._path is not None
        if self._source.on_truncate == "fail":
            raise SourceError(
                "a followed file was cut short or written anew",
                where=self._path,
                expected=f"the {self._offset:,} bytes that were read, and what is added to them",
                got=got,
                hint="rotate by renaming; or say on_truncate='restart' to read it from its beginning",
            )
        self._row += self._rows_here
        self.close()

    def _finish(self) -> None:
        assert self._file is not None and self._path is not None and self._id is not None
        text = isinstance(self._reader, TextReader) and compression_of(self._path) is None
        about = os.fstat(self._file.fileno())
        with open(self._file.fileno(), "rb", closefd=False) as file:
            size = self._offset if text else about.st_size
            ending = _hash(_bytes_before(file, size, min(size, BEFORE_BYTES)))
        self._last = _Done(self._path, self._id, size, about.st_mtime_ns)
        self._seen = [*self._seen, [*self._id, size, ending]][-SEEN_MAX:]
        self._row += self._rows_here
        self.close()

    def _resume(self, position: Any) -> None:
        """Finds the file of a position again, by its number where it has another name now."""
        path, wanted = position["file"], list(position["id"])
        self._seen = [list(one) for one in position["seen"]]
        self._row = int(position["row"])
        self._begun = {f for f in self._listing.files() if f <= path}
        if not self._listing.single and len(self._begun - {path}) >= max(1, int(position["begun"])):
            raise SourceError(
                "a file appeared that sorts before one that was begun already",
                where=path,
                expected=f"{position['begun']} files up to this one, as when it was read last",
                got=", ".join(sorted(self._begun)),
            )
        found = path if identity(path) == wanted else _by_identity(os.path.dirname(path) or ".", wanted)
        if found is None:
            raise SourceError(
                "a file that was being read is gone",
                where=path,
                hint="a rotated file must stay in its folder, unpacked, until it has been read",
            )
        before = position.get("before")
        at = position["at"]
        if before is not None:
            with open(found, "rb") as file:
                text = _bytes_before(file, int(at["offset"]), int(before["bytes"]))
            if _hash(text) != before["hash"]:
                self._path, self._offset = found, int(at["offset"])
                self._rows_here = int(at["row"])
                self._changed(f"{_size(found):,} bytes, or other text before what was read last")
                return
        if not self._open(found, at):
            raise SourceError("a file that was being read is gone", where=found)
        self._path, self._rows_here = path, int(at["row"])
        if before is not None:
            self._offset, self._before, self._waited = int(at["offset"]), text, True


def _by_identity(folder: str, wanted: list[int]) -> str | None:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file() and identity(entry.path) == wanted:
                return entry.path
    return None


def _bytes_before(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset - count)
    data = file.read(count)
    return data or b""


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
