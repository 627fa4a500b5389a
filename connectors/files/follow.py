"""Followed files: a file that grows, a folder that gets new files, for ever.

Each path that is given is one split, a log: its files are read one after another in the order of their
names, and a file is done when the next one has something in it. So a new file must sort after those
begun. A file that is renamed away (rotated) is read to its end, then the one that took its place.
A record whose line end is not there yet waits; the last one of a file that is done counts as whole.

The position names the file by device and number (inode), so that it is found again under another name,
and holds a hash of what stands before it, so that a file that was cut short or written anew is noticed.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO, cast

import pyarrow as pa

from streamlib.connectors.files.follow_reader import FollowReader
from streamlib.connectors.files.listing import Listing
from streamlib.connectors.files.open_files import missing, open_input
from streamlib.connectors.files.source import FileSource, Paths
from streamlib.connectors.formats.csv_infer import INFER_BYTES
from streamlib.connectors.formats.names import (
    ANY_FILE,
    compression_of,
    format_of,
    format_suffix,
    has_format_suffix,
)
from streamlib.contracts import Format, FormatReader, Split, SplitReader
from streamlib.errors import BuildError, SourceError

ON_TRUNCATE = ("fail", "restart")


class FollowedFiles(FileSource):
    """Rows of files that grow. Ends only when the run is stopped.

    Args:
        path: a file, a pattern or a folder, each a split; or a list of these. With a schema they need not
            exist yet. Packed files and those of formats with an end (Parquet, Arrow) are read when they
            appear, whole: rename them into place.
        format: as for FileSource.
        schema: as for FileSource.
        metadata: as for FileSource.
        on_truncate: what to do when a file is shorter than what was read of it, or differs: ``"fail"``, or
            ``"restart"`` to read it from its beginning, as logs are that are copied and emptied in place.
        columns: as for FileSource.

    Raises:
        BuildError: an option that cannot work.
        SourceError: as for FileSource; while running: a file was cut short or is gone, a file appeared that
            sorts before one already read, or one that was done has grown.
    """

    bounded = False

    def __init__(
        self,
        path: Paths,
        format: str | Format | None = None,
        schema: Any = None,
        *,
        metadata: bool = False,
        on_truncate: str = "fail",
        columns: Any = None,
    ) -> None:
        super().__init__(path, format, schema, order="name", metadata=metadata, columns=columns)
        if on_truncate not in ON_TRUNCATE:
            raise BuildError(
                "on_truncate= is unknown",
                expected=" or ".join(map(repr, ON_TRUNCATE)),
                got=repr(on_truncate),
            )
        encoding = getattr(self._format, "encoding", "utf-8")
        if encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
            raise BuildError(
                "only UTF-8 files can be followed", expected="encoding='utf-8'", got=f"encoding={encoding!r}"
            )
        if not self._paths:
            raise SourceError("no files are given", got=repr(self._paths))
        self.on_truncate = on_truncate
        self.listings = {p: Listing(p, self._fits) for p in self._paths}

    def splits(self) -> list[Split]:
        return [Split(path, path) for path in dict.fromkeys(self._paths)]

    def open(self, split: Split, position: Any = None) -> SplitReader:
        return FollowReader(self, split.detail, position)

    def total_bytes(self) -> int | None:
        return None

    def describe(self) -> str:
        return f"followed files {', '.join(self._paths)}"

    def reader_of(self, file: BinaryIO, path: str, position: Any) -> FormatReader:
        if compression_of(path) is not None:
            return super().reader_of(_unpacked(path, file), path, position)
        return super().reader_of(file, path, position)

    @property
    def chosen(self) -> Format:
        """The format of the files."""
        return self._chosen_format()

    def _chosen_format(self) -> Format:
        if self._format is None:
            found = self._files()
            self._format = format_of(None, found[0] if found else self._paths[0])
        return self._format

    def _fits(self, path: str) -> bool:
        """Whether a file of a folder is read."""
        if self._given is None:
            return has_format_suffix(path)
        given = format_of(self._given)
        return given.name in ANY_FILE or format_suffix(path) in given.suffixes

    def _files(self) -> list[str]:
        """The files there are now; none is no error where a schema was declared."""
        found = sorted({f for path in self._paths for f in self.listings[path].files()})
        if not found and self._declared is None:
            error = missing(self._paths[0])
            error.hint = "declare schema= to wait for files that do not exist yet"
            raise error
        return found

    def _schema_of_files(self) -> pa.Schema:
        if self._declared is not None:
            return self._declared
        for path in self._files():
            whole = _whole_lines(path) if compression_of(path) is None else None
            if whole == b"":
                continue
            file: BinaryIO = open_input(path) if whole is None else io.BytesIO(whole)
            with file:
                return self._chosen_format().infer_schema(file, path)
        raise SourceError(
            "there is no whole line yet to tell the columns from",
            where=", ".join(self._paths),
            hint="declare schema=",
        )


def _whole_lines(path: str) -> bytes | None:
    """The whole lines at the front of a file that may be growing; None where it is not text."""
    with open(path, "rb") as file:
        head = file.read(INFER_BYTES)
    if b"\0" in head[:4096] or head.startswith((b"PAR1", b"ARROW1")):
        return None
    return head[: head.rfind(b"\n") + 1]


def _unpacked(path: str, file: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, pa.CompressedInputStream(pa.PythonFile(file, "r"), compression_of(path)))
