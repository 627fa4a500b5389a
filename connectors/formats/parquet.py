"""Parquet: a block is a row group, decoded batch by batch with only the columns that are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.connectors.formats.binary import (
    BATCH_ROWS_MAX,
    Gather,
    arrow_file,
    check_fits,
    check_names,
    reading,
    shaped,
    wanted_schema,
)
from streamlib.contracts import Block, Format, FormatReader, FormatWriter
from streamlib.errors import BuildError, SourceError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

ROW_GROUP_ROWS = 131_072
"""Rows of a row group that is written."""
CODECS = ("zstd", "snappy", "gzip", "lz4", "brotli", "none")


@dataclass(frozen=True)
class Parquet(Format):
    """The Parquet format. Use `parquet(...)` to make one."""

    compression: str = "zstd"
    row_group_rows: int = ROW_GROUP_ROWS
    batch_rows: int = BATCH_ROWS_MAX

    name = "parquet"
    suffixes = (".parquet", ".pq")
    compresses = True

    def __post_init__(self) -> None:
        if self.compression not in CODECS:
            raise BuildError(
                "compression= of a Parquet format is unknown",
                expected=f"one of {', '.join(map(repr, CODECS))}",
                got=repr(self.compression),
            )
        if self.row_group_rows < 1:
            raise BuildError("row_group_rows= must be at least 1", got=repr(self.row_group_rows))

    def infer_schema(self, file: BinaryIO, name: str) -> pa.Schema:
        schema = _open(file, name).schema_arrow
        if not len(schema):
            raise SourceError("the file has no columns", where=name)
        return wanted_schema(schema, None)

    def open_reader(
        self,
        file: BinaryIO,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str] | None = None,
        position: Any = None,
        exact: bool = False,
    ) -> ParquetReader:
        return ParquetReader(self, file, name, schema, columns, position, exact)

    def open_writer(self, file: BinaryIO, schema: pa.Schema) -> ParquetWriter:
        return ParquetWriter(self, file, schema)


def parquet(*, compression: str = "zstd", row_group_rows: int = ROW_GROUP_ROWS) -> Parquet:
    """Parquet with options. Both matter for writing only.

    Columns are written with a dictionary where values repeat: where at least half of the first row group's do.

    Args:
        compression: one of ``zstd``, ``snappy``, ``gzip``, ``lz4``, ``brotli``, ``none``.
        row_group_rows: rows of a row group; small result batches are gathered to it.

    Raises:
        BuildError: an option that cannot work.

    >>> parquet(compression="snappy").compression
    'snappy'
    """
    return Parquet(compression, row_group_rows)


def _open(file: BinaryIO, name: str, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    import pyarrow.parquet as pq

    with reading(name):
        opened = pq.ParquetFile(arrow_file(file), metadata=metadata, pre_buffer=False)
        check_names(opened.schema_arrow)
        return opened


class ParquetReader(FormatReader):
    """Reads one Parquet file.

    The position is ``{"group": number of the next row group, "row": rows before it}``.
    """

    def __init__(
        self,
        fmt: Parquet,
        file: BinaryIO,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str] | None = None,
        position: Any = None,
        exact: bool = False,
    ) -> None:
        self._format, self._file, self._name = fmt, file, name
        first = _open(file, name)
        self._metadata = first.metadata
        check_fits(first.schema_arrow, schema, name, exact)
        self._schema = wanted_schema(schema, columns)
        self._idle = [first]  # handles that no thread is decoding with
        self._group = 0 if position is None else int(position["group"])
        self._row = 0 if position is None else int(position["row"])
        self._closed = False

    def read(self) -> Block | None:
        while self._group < self._metadata.num_row_groups:
            group, first_row = self._group, self._row
            about = self._metadata.row_group(group)
            self._group, self._row = group + 1, first_row + about.num_rows
            if about.num_rows:
                position = {"group": self._group, "row": self._row}
                return Block(group, position, first_row, nbytes=about.total_byte_size)
        return None

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        yield from self._batches(block.data, self._format.batch_rows)

    def peek(self) -> pa.RecordBatch | None:
        for group in range(self._group, self._metadata.num_row_groups):
            if self._metadata.row_group(group).num_rows:
                return next(self._batches(group, 1), None)
        return None

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close(force=True)
        self._file.close()

    def _batches(self, group: int, batch_rows: int) -> Iterator[pa.RecordBatch]:
        try:
            handle = self._idle.pop()
        except IndexError:
            handle = _open(self._file, self._name, self._metadata)
        names = list(self._schema.names)
        where = f"{self._name}, row group {group}"
        read = 0
        try:
            with reading(where):
                batches = handle.iter_batches(
                    batch_rows, row_groups=[group], columns=names, use_threads=False
                )
            while True:
                with reading(where):
                    rows = next(batches, None)
                    if rows is None:
                        _all_read(self._metadata.row_group(group).num_rows, read)
                        return
                    read += rows.num_rows
                    rows.validate(full=True)  # a damaged page may hold text that is not UTF-8
                yield shaped(rows, self._schema, where)
        finally:
            if self._closed:
                handle.close(force=True)
            else:
                self._idle.append(handle)


def _all_read(announced: int, read: int) -> None:
    """Refuses a row group that gives more or fewer rows than its file's footer says."""
    if read != announced:
        raise pa.ArrowInvalid(f"{announced:,} rows are announced, {read:,} were read")


class ParquetWriter(FormatWriter):
    """Writes one Parquet file; small batches are gathered to row groups.

    The first group decides which columns have a dictionary: those whose values repeat. One of values that
    do not, such as times, costs more than all else, and room besides.
    """

    def __init__(self, fmt: Parquet, file: BinaryIO, schema: pa.Schema) -> None:
        self._file, self._schema, self._compression = file, schema, fmt.compression
        self._gather = Gather(fmt.row_group_rows)
        self._writer: pq.ParquetWriter | None = None
        self._opened(pa.BufferOutputStream(), True).close()  # a type that Parquet does not have fails here

    def write(self, rows: pa.RecordBatch) -> None:
        for group in self._gather.add(rows):
            self._write(group)

    def close(self) -> None:
        for group in self._gather.rest():
            self._write(group)
        if self._writer is None:
            self._writer = self._opened(self._file, True)
        self._writer.close()

    def _write(self, group: pa.Table) -> None:
        if self._writer is None:
            self._writer = self._opened(self._file, _repeating(group))
        self._writer.write_table(group, row_group_size=group.num_rows)

    def _opened(self, file: Any, dictionary: bool | list[str]) -> pq.ParquetWriter:
        import pyarrow.parquet as pq

        return pq.ParquetWriter(file, self._schema, compression=self._compression, use_dictionary=dictionary)


def _repeating(group: pa.Table) -> bool | list[str]:
    """The columns in which at least every second value has been there before; True for all."""
    if any(pa.types.is_nested(kind) for kind in group.schema.types):
        return True  # dictionaries of their leaves are named by paths
    found = [name for name in group.schema.names if _repeats(group.column(name))]
    return True if len(found) == len(group.schema.names) else found


def _repeats(column: pa.ChunkedArray) -> bool:
    try:
        return bool(2 * pc.count_distinct(column).as_py() <= len(column) + 1)
    except pa.ArrowNotImplementedError:
        return True
