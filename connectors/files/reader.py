"""Reading the files of one split, one after another, and the columns that say which file and row it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.connectors.formats.lenient import RefusedRecord
from streamlib.contracts import Block, FormatReader, Pending, Refused, SplitReader
from streamlib.errors import SourceError

if TYPE_CHECKING:
    from streamlib.connectors.files.source import FileSource

FILE_COLUMNS = pa.schema({"file_path": pa.string(), "file_row": pa.int64()})
"""What `metadata=True` adds: the file's path, and the row's number within the file, from 0."""


class FilesReader(SplitReader):
    """Reads the files of one split, one after another.

    The position is ``{"file": path, "at": position in it, "row": rows of the split before that file}``.
    """

    def __init__(self, source: FileSource, files: Sequence[str], position: Any) -> None:
        self._source, self._files, self._schema = source, list(files), source.schema()
        self._index, self._row, at = 0, 0, None
        if position is not None:
            if position["file"] not in self._files:
                raise SourceError(
                    "a file that was being read is gone",
                    where=position["file"],
                    hint="a job goes on only over the files it began with",
                )
            self._index, self._row = self._files.index(position["file"]), int(position["row"])
            at = position["at"]
        self._rows_here = 0
        self._reader: FormatReader | None = source.open_file(self._files[self._index], at)

    def read(self) -> Block | Pending | None:
        while self._reader is not None:
            inner = self._reader.read()
            if isinstance(inner, Pending):
                return inner
            if inner is not None:
                return self._outer(inner)
            self._next_file()
        return None

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        reader, path, inner = block.data
        if not self._source.metadata:
            yield from reader.decode(inner)
            return
        row = inner.first_row
        for rows in reader.decode(inner):
            yield with_metadata(self._schema, rows, path, np.arange(row, row + rows.num_rows))
            row += rows.num_rows

    def decode_leniently(self, block: Block, refused: list[Refused]) -> Iterator[pa.RecordBatch]:
        reader, path, inner = block.data
        if not self._source.metadata:
            yield from reader.decode_leniently(inner, refused)
            return
        found: list[Refused] = []
        batches = list(reader.decode_leniently(inner, found))
        refused += found
        row = 0
        numbers = kept_rows(sum(rows.num_rows for rows in batches), inner, found)
        for rows in batches:
            yield with_metadata(self._schema, rows, path, numbers[row : row + rows.num_rows])
            row += rows.num_rows

    def peek(self) -> pa.RecordBatch | None:
        rows = None if self._reader is None else self._reader.peek()
        if rows is not None and self._source.metadata:
            rows = with_metadata(self._schema, rows, self._files[self._index], np.arange(rows.num_rows))
        return rows

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _next_file(self) -> None:
        assert self._reader is not None
        self._reader.close()
        self._reader = None
        self._index += 1
        self._row, self._rows_here = self._row + self._rows_here, 0
        if self._index < len(self._files):
            self._reader = self._source.open_file(self._files[self._index], None)

    def _outer(self, inner: Block) -> Block:
        return self._outer_of(inner, self._files[self._index])

    def _outer_of(self, inner: Block, path: str) -> Block:
        """A block of the split, of a block of one of its files."""
        position = {"file": path, "at": inner.position, "row": self._row}
        if isinstance(inner.position, dict):
            self._rows_here = int(inner.position.get("row", 0))
        first_row = None if inner.first_row is None else self._row + inner.first_row
        return Block((self._reader, path, inner), position, first_row, inner.first_line, inner.nbytes)


def kept_rows(rows: int, block: Block, refused: Sequence[Refused]) -> npt.NDArray[np.int64]:
    """The numbers within the file of a block's rows, those of refused records left out."""
    first = block.first_row or 0
    out = [_record(one, block) for one in refused]
    numbers = np.setdiff1d(np.arange(rows + len(out)), [n for n in out if n is not None])
    return first + numbers[:rows]


def _record(refused: Refused, block: Block) -> int | None:
    """The number of a refused record within its block, from 0; None where it does not say."""
    if isinstance(refused, RefusedRecord):
        return refused.record
    if refused.number is None or block.first_line is None:
        return None
    return refused.number - block.first_line


def with_metadata(
    schema: pa.Schema, rows: pa.RecordBatch, path: str, numbers: npt.NDArray[np.int64] | range
) -> pa.RecordBatch:
    """Rows with the columns `file_path` and `file_row`, where the schema has them."""
    columns = []
    for field in schema:
        if field.name == "file_path":
            columns.append(pa.repeat(pa.scalar(path, pa.string()), rows.num_rows))
        elif field.name == "file_row":
            columns.append(pa.array(numbers, pa.int64()))
        else:
            columns.append(rows.column(field.name))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
