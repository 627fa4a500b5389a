"""Bytes as they are, in one binary column: records of a fixed size, between delimiters, or whole files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from streamlib.connectors.formats import text as text_files
from streamlib.connectors.formats.lenient import RefusedRecord
from streamlib.connectors.formats.text import BLOCK_BYTES, Cut, Cutter, TextBlock, TextReader, shown
from streamlib.contracts import Block, Format, FormatReader, FormatWriter, Refused
from streamlib.errors import BuildError, DataError


@dataclass(frozen=True)
class RawBytes(Format):
    """The format of raw bytes. Use `sl.raw_bytes(...)` to make one."""

    delimiter: bytes | None = None
    size: int | None = None
    block_bytes: int = BLOCK_BYTES

    name = "bytes"
    suffixes = (".bin", ".dat")

    def __post_init__(self) -> None:
        if self.delimiter is not None and self.size is not None:
            raise BuildError("records of bytes have a delimiter or a size, not both")
        if self.delimiter is not None and not self.delimiter:
            raise BuildError(
                "delimiter= of bytes is not usable", expected="at least one byte", got=repr(self.delimiter)
            )
        if self.size is not None and not 1 <= self.size <= text_files.RECORD_BYTES_MAX:
            raise BuildError(
                "size= of bytes is not usable",
                expected=f"1 to {text_files.RECORD_BYTES_MAX:,} bytes",
                got=repr(self.size),
            )

    def infer_schema(self, file: BinaryIO, name: str) -> pa.Schema:
        return pa.schema({"data": pa.binary()})

    def open_reader(
        self,
        file: BinaryIO,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str] | None = None,
        position: Any = None,
        exact: bool = False,
    ) -> FormatReader:
        if len(schema) != 1 or not pa.types.is_binary(schema.field(0).type):
            raise BuildError(
                "schema= of bytes names one binary column",
                expected="such as {'data': 'binary'}",
                got=", ".join(f"{f.name}: {f.type}" for f in schema),
            )
        return RawReader(self, file, name, schema, position)

    def open_writer(self, file: BinaryIO, schema: pa.Schema) -> FormatWriter:
        return RawWriter(self, file, schema)


def raw_bytes(*, delimiter: bytes | None = None, size: int | None = None) -> RawBytes:
    """Bytes with options, in one binary column: ``data``, or the one that `schema=` names.

    Args:
        delimiter: what ends each record; not part of it. Two in a row have an empty record between them.
        size: the bytes of each record. A last one with fewer is a bad record.

    With neither, each file is one row, of at most 64 MB.

    Raises:
        BuildError: options that cannot work.

    >>> raw_bytes(size=16).name
    'bytes'
    """
    return RawBytes(delimiter, size)


@dataclass(frozen=True)
class DelimitedCutter:
    """Cuts behind delimiters."""

    delimiter: bytes

    def cut(self, data: bytes, ended: bool) -> Cut | None:
        found = self.ends(data)
        nbytes = len(data) if ended else (found[-1] if found else 0)
        if not nbytes:
            return None
        rows = len(found) + int(not found or found[-1] < nbytes)
        return Cut(nbytes, rows, rows, multiline=True)

    def ends(self, data: bytes) -> list[int]:
        """Where delimiters end, found from the left."""
        ends, at, size = [], data.find(self.delimiter), len(self.delimiter)
        while at >= 0:
            ends.append(at + size)
            at = data.find(self.delimiter, at + size)
        return ends


@dataclass(frozen=True)
class SizedCutter:
    """Cuts after every `size` bytes."""

    size: int

    def cut(self, data: bytes, ended: bool) -> Cut | None:
        nbytes = len(data) if ended else len(data) // self.size * self.size
        rows = -(-nbytes // self.size)
        return Cut(nbytes, rows, rows, multiline=True) if nbytes else None


class WholeCutter:
    """Takes a file as one record."""

    def cut(self, data: bytes, ended: bool) -> Cut | None:
        return Cut(len(data), 1, 1, multiline=True) if ended else None


class RawReader(TextReader):
    """Reads one file of raw bytes."""

    endless_hint = "say delimiter= or size= for files of several records"

    def __init__(self, fmt: RawBytes, file: BinaryIO, name: str, schema: pa.Schema, position: Any) -> None:
        super().__init__(file, name, _cutter(fmt), fmt.block_bytes, encoding=None)
        self._format, self._schema = fmt, schema
        if position is not None:
            self._go_to(position)

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        records, rest = self._records(block.data)
        if rest is not None:
            raise self._too_short(rest, block.data)
        yield self._rows(records)

    def decode_leniently(self, block: Block, refused: list[Refused]) -> Iterator[pa.RecordBatch]:
        records, rest = self._records(block.data)
        if rest is not None:
            number = block.data.line - 1 + len(records)
            refused.append(RefusedRecord(rest, self._too_short(rest, block.data), number, len(records)))
        if len(records):
            yield self._rows(records)

    def _rows(self, records: pa.Array) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([records], schema=self._schema)

    def _records(self, text: TextBlock) -> tuple[pa.Array, bytes | None]:
        """The records, and what is left over at the end of the file."""
        size, delimiter = self._format.size, self._format.delimiter
        if size is not None:
            whole = text.data.size // size
            fixed = pa.Array.from_buffers(pa.binary(size), whole, [None, text.data.slice(0, whole * size)])
            rest = bytes(text.data[whole * size :])
            return fixed.cast(pa.binary()), rest or None
        data = bytes(text.data)
        if delimiter is None:
            return pa.array([data], pa.binary()), None
        return pa.array(data.removesuffix(delimiter).split(delimiter), pa.binary()), None

    def _too_short(self, rest: bytes, text: TextBlock) -> DataError:
        return DataError(
            "the last record is too short",
            where=f"{self._name}, record {text.line - 1 + text.rows - 1:,}",
            expected=f"{self._format.size:,} bytes",
            got=f"{len(rest):,} bytes: {shown(rest)}",
        )


def _cutter(fmt: RawBytes) -> Cutter:
    if fmt.delimiter is not None:
        return DelimitedCutter(fmt.delimiter)
    return WholeCutter() if fmt.size is None else SizedCutter(fmt.size)


class RawWriter(FormatWriter):
    """Writes one binary column: records of the format's size, or each with the delimiter behind it."""

    def __init__(self, fmt: RawBytes, file: BinaryIO, schema: pa.Schema) -> None:
        if len(schema) != 1 or not pa.types.is_binary(schema.field(0).type):
            raise BuildError(
                "bytes are written from one binary column",
                expected="such as .select('data')",
                got=", ".join(f"{f.name}: {f.type}" for f in schema),
            )
        if fmt.size is None and fmt.delimiter is None:
            raise BuildError(
                "bytes of several records need something that tells them apart",
                expected="sl.raw_bytes(delimiter=...) or sl.raw_bytes(size=...)",
            )
        self._format, self._file = fmt, file

    def write(self, rows: pa.RecordBatch) -> None:
        size, delimiter = self._format.size, self._format.delimiter
        for record in rows.column(0).to_pylist():
            if (
                record is None
                or (size is not None and len(record) != size)
                or (delimiter or b"\0") in (record if delimiter else b"")
            ):
                raise DataError(
                    "the value cannot be written as a record",
                    expected=f"{size} bytes" if size is not None else f"bytes without {delimiter!r}",
                    got="null" if record is None else shown(record),
                )
        self._file.write(b"".join(record + (delimiter or b"") for record in rows.column(0).to_pylist()))

    def close(self) -> None:
        """Nothing ends a file of records."""
