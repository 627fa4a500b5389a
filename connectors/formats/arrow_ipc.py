"""Arrow IPC, as a file (``.arrow``, ``.feather``, ``.ipc``) or a stream (``.arrows``).

A block is a record batch. Real files are mapped into memory: rows without compression are never copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

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
from streamlib.connectors.plain import without_views
from streamlib.contracts import Block, Format, FormatReader, FormatWriter
from streamlib.errors import BuildError, SourceError

FILE_MAGIC = b"ARROW1"
BATCH_ROWS = 131_072
"""Rows of a record batch that is written."""
CODECS = ("none", "zstd", "lz4")


@dataclass(frozen=True)
class ArrowIpc(Format):
    """The Arrow IPC format. Use `arrow(...)` to make one. Both forms are read whatever the options."""

    stream: bool = False
    compression: str = "none"
    record_batch_rows: int = BATCH_ROWS
    batch_rows: int = BATCH_ROWS_MAX

    name = "arrow"
    suffixes = (".arrow", ".feather", ".ipc", ".arrows")
    compresses = True

    def __post_init__(self) -> None:
        if self.compression not in CODECS:
            raise BuildError(
                "compression= of an Arrow format is unknown",
                expected=f"one of {', '.join(map(repr, CODECS))}",
                got=repr(self.compression),
            )
        if self.record_batch_rows < 1:
            raise BuildError("record_batch_rows= must be at least 1", got=repr(self.record_batch_rows))

    def infer_schema(self, file: BinaryIO, name: str) -> pa.Schema:
        with reading(name):
            schema = _opened(file, name, None)[0].schema
        if not len(schema):
            raise SourceError("the file has no columns", where=name)
        plain = [field.with_type(without_views(field.type)) for field in schema]
        return wanted_schema(pa.schema(plain), None)

    def open_reader(
        self,
        file: BinaryIO,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str] | None = None,
        position: Any = None,
        exact: bool = False,
    ) -> FormatReader:
        opened, is_file = _opened(file, name, None)
        check_fits(opened.schema, schema, name, exact)
        kind = IpcFileReader if is_file else IpcStreamReader
        return kind(self, file, name, opened.schema, wanted_schema(schema, columns), position)

    def open_writer(self, file: BinaryIO, schema: pa.Schema) -> ArrowIpcWriter:
        return ArrowIpcWriter(self, file, schema)


def arrow(
    *, stream: bool = False, compression: str = "none", record_batch_rows: int = BATCH_ROWS
) -> ArrowIpc:
    """Arrow IPC with options. They matter for writing only: both forms are recognised when read.

    Args:
        stream: write the stream form, which needs no seeking, instead of the file form.
        compression: of the buffers: ``none``, ``zstd`` or ``lz4``.
        record_batch_rows: rows of a record batch; small result batches are gathered to it.

    Raises:
        BuildError: an option that cannot work.

    >>> arrow(compression="lz4").name
    'arrow'
    """
    return ArrowIpc(stream, compression, record_batch_rows)


def _opened(file: BinaryIO, name: str, fields: list[int] | None) -> tuple[Any, bool]:
    """The reader that the file's first bytes ask for, and whether it is the file form."""
    options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
    with reading(name):
        if not file.seekable():
            return _readable(pa.ipc.open_stream(file, options=options)), False
        file.seek(0)
        is_file = file.read(len(FILE_MAGIC)) == FILE_MAGIC
        file.seek(0)
        source = arrow_file(file, mapped=True)
        if is_file:
            return _readable(pa.ipc.open_file(source, options=options)), True
        return _readable(pa.ipc.open_stream(source, options=options)), False


def _readable(opened: Any) -> Any:
    """The same reader, once all names of its schema have been read: a damaged one may be no text."""
    check_names(opened.schema)
    return opened


class _IpcReader(FormatReader):
    """What both forms share. The position is ``{"batch": number of the next one, "row": rows before}``."""

    def __init__(
        self,
        fmt: ArrowIpc,
        file: BinaryIO,
        name: str,
        found: pa.Schema,
        schema: pa.Schema,
        position: Any,
    ) -> None:
        self._format, self._file, self._name, self._schema = fmt, file, name, schema
        wanted = set(schema.names)
        self._fields = [i for i, n in enumerate(found.names) if n in wanted]
        self._batch, self._row = 0, 0

    def _slices(self, rows: pa.RecordBatch, where: str) -> Iterator[pa.RecordBatch]:
        with reading(where):
            rows.validate(full=True)  # offsets that point elsewhere would crash whoever follows them
        rows = shaped(rows, self._schema, where)
        for start in range(0, rows.num_rows, self._format.batch_rows):
            yield rows.slice(start, self._format.batch_rows)


class IpcFileReader(_IpcReader):
    """Reads the file form: its footer says where the batches are."""

    def __init__(
        self, fmt: ArrowIpc, file: BinaryIO, name: str, found: pa.Schema, schema: pa.Schema, position: Any
    ) -> None:
        super().__init__(fmt, file, name, found, schema, position)
        self._reader, _ = _opened(file, name, self._fields)
        self._idle: list[Any] = []  # handles that no thread is decoding with
        if position is not None:
            self._batch, self._row = int(position["batch"]), int(position["row"])

    def read(self) -> Block | None:
        while self._batch < self._reader.num_record_batches:
            number, first_row = self._batch, self._row
            with reading(f"{self._name}, record batch {number}"):
                rows = self._reader.get_batch(number)
            self._batch, self._row = number + 1, first_row + rows.num_rows
            if rows.num_rows:
                position = {"batch": self._batch, "row": self._row}
                return Block((number, rows), position, first_row, nbytes=rows.nbytes)
        return None

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        number, rows = block.data
        yield from self._slices(rows, f"{self._name}, record batch {number}")

    def peek(self) -> pa.RecordBatch | None:
        for number in range(self._batch, self._reader.num_record_batches):
            where = f"{self._name}, record batch {number}"
            with reading(where):
                rows = self._reader.get_batch(number)
            if rows.num_rows:
                return next(self._slices(rows.slice(0, 1), where))
        return None

    def close(self) -> None:
        self._file.close()


class IpcStreamReader(_IpcReader):
    """Reads the stream form, one batch after another; a position is reached by reading up to it."""

    def __init__(
        self, fmt: ArrowIpc, file: BinaryIO, name: str, found: pa.Schema, schema: pa.Schema, position: Any
    ) -> None:
        super().__init__(fmt, file, name, found, schema, position)
        self._reader, _ = _opened(file, name, self._fields)
        self._ahead: pa.RecordBatch | None = None
        while position is not None and self._batch < int(position["batch"]):
            if self._look() is None:
                break
            self._take()

    def read(self) -> Block | None:
        rows = self._look()
        if rows is None:
            return None
        first_row = self._row
        self._take()
        position = {"batch": self._batch, "row": self._row}
        return Block((self._batch - 1, rows), position, first_row, nbytes=rows.nbytes)

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        number, rows = block.data
        yield from self._slices(rows, f"{self._name}, record batch {number}")

    def peek(self) -> pa.RecordBatch | None:
        rows = self._look()
        return None if rows is None else next(self._slices(rows.slice(0, 1), self._name))

    def close(self) -> None:
        self._file.close()

    def _look(self) -> pa.RecordBatch | None:
        """The next batch that has rows, which stays unread."""
        while True:
            if self._ahead is None:
                with reading(f"{self._name}, record batch {self._batch}"):
                    try:
                        self._ahead = self._reader.read_next_batch()
                    except StopIteration:
                        return None
            if self._ahead.num_rows:
                return self._ahead
            self._take()

    def _take(self) -> None:
        assert self._ahead is not None, "look first"
        self._batch, self._row = self._batch + 1, self._row + self._ahead.num_rows
        self._ahead = None


class ArrowIpcWriter(FormatWriter):
    """Writes one Arrow IPC file or stream; small batches are gathered."""

    def __init__(self, fmt: ArrowIpc, file: BinaryIO, schema: pa.Schema) -> None:
        options = pa.ipc.IpcWriteOptions(
            compression=None if fmt.compression == "none" else fmt.compression, use_threads=False
        )
        self._gather = Gather(fmt.record_batch_rows)
        make = pa.ipc.new_stream if fmt.stream else pa.ipc.new_file
        self._writer = make(file, schema, options=options)

    def write(self, rows: pa.RecordBatch) -> None:
        for group in self._gather.add(rows):
            self._writer.write_table(group.combine_chunks())

    def close(self) -> None:
        for group in self._gather.rest():
            self._writer.write_table(group.combine_chunks())
        self._writer.close()
