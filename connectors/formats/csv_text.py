"""CSV: text with a delimiter between fields and a line per record.

An empty field is null in every type; a quoted empty field ``""`` is an empty string (and an error in
a column of another type). A blank line is ignored, except in a file of one column, where it is a null
row. The first line names the columns unless ``header=False``; the header is line 1 in messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from streamlib.connectors.formats.csv_cut import CsvCutter
from streamlib.connectors.formats.text import (
    BLOCK_BYTES,
    RECORD_BYTES_MAX,
    Cut,
    TextBlock,
    TextReader,
    count_lines,
    shown,
)
from streamlib.contracts import Block, Format, FormatWriter
from streamlib.errors import BuildError, SourceError

if TYPE_CHECKING:
    import pyarrow.csv as pacsv


@dataclass(frozen=True)
class Csv(Format):
    """The CSV format. Use `csv(...)` to make one."""

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    header: bool = True
    column_names: tuple[str, ...] | None = None
    null_values: tuple[str, ...] = ("",)
    block_bytes: int = BLOCK_BYTES

    name = "csv"
    suffixes = (".csv",)

    def __post_init__(self) -> None:
        for option in ("delimiter", "quote", "escape"):
            char = getattr(self, option)
            if char is None and option != "delimiter":
                continue
            if not isinstance(char, str) or len(char) != 1 or not char.isascii() or char in "\r\n":
                raise BuildError(
                    f"{option}= of a CSV format is not usable",
                    expected="one ASCII character, not a line end",
                    got=repr(char),
                )
        if self.header and self.column_names is not None:
            raise BuildError(
                "a CSV format has both a header and column_names",
                hint="say header=False where the first line is data",
            )

    def infer_schema(self, file: BinaryIO, name: str) -> pa.Schema:
        from streamlib.connectors.formats.csv_infer import infer_csv_schema

        return infer_csv_schema(self, file, name)

    def open_reader(
        self,
        file: BinaryIO,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str] | None = None,
        position: Any = None,
        exact: bool = False,
    ) -> CsvReader:
        return CsvReader(self, file, name, schema, columns, position, exact)

    def open_writer(self, file: BinaryIO, schema: pa.Schema) -> FormatWriter:
        return CsvWriter(self, file, schema)

    def cutter(self, one_column: bool = False) -> CsvCutter:
        """What finds the records."""
        return CsvCutter(
            self.delimiter.encode(),
            None if self.quote is None else self.quote.encode(),
            None if self.escape is None else self.escape.encode(),
            one_column,
        )

    def parse_options(self, blank_is_row: bool, multiline: bool) -> pacsv.ParseOptions:
        """The parser's options for blocks with and without line ends inside records."""
        import pyarrow.csv as pacsv

        return pacsv.ParseOptions(
            delimiter=self.delimiter,
            quote_char=self.quote or False,
            escape_char=self.escape or False,
            newlines_in_values=multiline,
            ignore_empty_lines=not blank_is_row,
        )


def csv(
    *,
    delimiter: str = ",",
    quote: str | None = '"',
    escape: str | None = None,
    header: bool = True,
    column_names: Sequence[str] | None = None,
    null_values: Sequence[str] = ("",),
) -> Csv:
    """CSV with options.

    Args:
        delimiter: what stands between fields.
        quote: what encloses fields that hold delimiters or line ends; doubled inside. None for none.
        escape: what makes the next character a plain one; None for none.
        header: whether the first line names the columns.
        column_names: the names where there is no header; else taken from the schema by position.
        null_values: unquoted fields that are null, in columns of every type.

    Raises:
        BuildError: an option that cannot work.

    >>> csv(delimiter=";").delimiter
    ';'
    """
    names = None if column_names is None else tuple(column_names)
    return Csv(delimiter, quote, escape, header and names is None, names, tuple(null_values))


class CsvReader(TextReader):
    """Reads one CSV file. Columns are matched by name where there is a header, else by position."""

    def __init__(
        self,
        fmt: Csv,
        file: BinaryIO,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str] | None = None,
        position: Any = None,
        exact: bool = False,
    ) -> None:
        super().__init__(file, name, fmt.cutter(), fmt.block_bytes)
        self._format = fmt
        if self._empty:
            raise SourceError(
                "the file is empty",
                where=name,
                expected="a header line" if fmt.header else "at least one record",
                got="0 bytes",
            )
        self._names = self._read_header() if fmt.header else self._given_names(schema)
        if len(self._names) == 1:
            self._cutter = fmt.cutter(one_column=True)
        wanted = list(schema.names) if columns is None else [n for n in schema.names if n in set(columns)]
        self._schema = pa.schema([schema.field(n).remove_metadata() for n in wanted])
        self._check_names(schema, exact)
        self._parser = CsvParser(fmt, self._names, self._schema)
        if position is not None:
            self._go_to(position)

    @property
    def names(self) -> list[str]:
        """The file's columns."""
        return self._names

    @property
    def cutter(self) -> CsvCutter:
        """What finds this file's records."""
        assert isinstance(self._cutter, CsvCutter)
        return self._cutter

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        text: TextBlock = block.data
        if text.rows:
            yield self.decode_text(text)

    def decode_text(self, text: TextBlock) -> pa.RecordBatch:
        """The rows of whole records. Pure.

        Raises:
            DataError: a record that cannot be read, with its line, column and value.
        """
        error: Exception
        try:
            rows = self._parser.parse(text)
            if rows.num_rows == text.rows and not text.cut.unclosed:
                return rows
            error = ValueError(f"{text.rows} records were counted, {rows.num_rows} were read")
        except (pa.ArrowException, UnicodeDecodeError) as refused:
            error = refused
        from streamlib.connectors.formats.csv_diagnose import diagnose_csv

        raise diagnose_csv(self._parser, self.cutter, text, self._name, error) from None

    def _read_header(self) -> list[str]:
        line, found = self._line, self._take_line()
        while found is not None and not found.strip(b"\r\n"):
            line, found = self._line, self._take_line()
        if found is None:
            raise SourceError("the file has no header", where=self._name, expected="a line of column names")
        try:
            fields = CsvParser(self._format, ["x", "y"], pa.schema([])).fields_of(found)
            names = None if fields is None else [f.decode("utf-8") for f in fields]
        except UnicodeDecodeError:
            names = None
        if names is None:
            raise SourceError(
                "the header cannot be read",
                where=f"{self._name}, line {line:,}",
                expected="column names as UTF-8 text",
                got=shown(found),
            )
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise SourceError(
                "the header names a column twice",
                where=f"{self._name}, line {line:,}",
                expected="different names",
                got=", ".join(map(repr, twice)),
            )
        return names

    def _take_line(self) -> bytes | None:
        """The next record of the file, blank or not."""
        size = 1 << 12
        while size <= RECORD_BYTES_MAX:
            data = self._bytes_ahead(size)
            if not data:
                return None
            end = self.cutter.first_end(data, ended=len(data) < size)
            if end:
                self._advance(Cut(end, 0, count_lines(data, end)[0]))
                return data[:end]
            size *= 2
        raise SourceError("the header does not end", where=self._name, expected="a line of column names")

    def _given_names(self, schema: pa.Schema) -> list[str]:
        given = self._format.column_names
        return list(schema.names) if given is None else list(given)

    def _check_names(self, schema: pa.Schema, exact: bool) -> None:
        missing = [n for n in schema.names if n not in self._names]
        extra = [n for n in self._names if n not in schema.names]
        if missing:
            raise SourceError(
                f"the file has no column {missing[0]!r}",
                where=self._name,
                expected=f"the columns {', '.join(schema.names)}",
                got=f"the columns {', '.join(self._names)}",
                hint=_header_hint(self._names, schema),
            )
        if exact and extra:
            raise SourceError(
                f"the file has a column {extra[0]!r} that the first file has not",
                where=self._name,
                expected=f"the columns {', '.join(schema.names)}",
                got=f"the columns {', '.join(self._names)}",
                hint="declare schema= to read only the columns it names",
            )


def _header_hint(names: Sequence[str], schema: pa.Schema) -> str | None:
    for name in names:
        try:
            float(name)
        except ValueError:
            continue
        return f"{name!r} is no name: is there no header? Then say format=sl.csv(header=False)"
    return None


def _all_binary(count: int) -> dict[str, pa.DataType]:
    return {f"f{i}": pa.binary() for i in range(count)}


class CsvParser:
    """Parses blocks of one file. Holds only options, so that several threads may use it."""

    def __init__(self, fmt: Csv, names: Sequence[str], schema: pa.Schema) -> None:
        import pyarrow.csv as pacsv

        for field in schema:
            if pa.types.is_nested(field.type):
                raise BuildError(
                    f"CSV cannot hold column {field.name!r}",
                    expected="a type without parts",
                    got=str(field.type),
                )
        self.format, self.names, self.schema = fmt, list(names), schema
        self.blank_is_row = len(self.names) == 1
        self._read = pacsv.ReadOptions(use_threads=False, block_size=_WHOLE_BLOCK, column_names=self.names)
        self._escape = -1 if fmt.escape is None else ord(fmt.escape)
        self._plain = fmt.parse_options(self.blank_is_row, multiline=False)
        self._multiline = fmt.parse_options(self.blank_is_row, multiline=True)
        self._convert = pacsv.ConvertOptions(
            column_types=schema,
            include_columns=schema.names,
            null_values=list(fmt.null_values),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            timestamp_parsers=[pacsv.ISO8601],
        )

    def parse(self, text: TextBlock) -> pa.RecordBatch:
        """The rows of a block. Raises Arrow's own errors."""
        import pyarrow.csv as pacsv

        table = pacsv.read_csv(
            pa.BufferReader(self._ended(text.data)),
            read_options=self._read,
            parse_options=self._multiline if text.cut.multiline else self._plain,
            convert_options=self._convert,
        )
        batches = table.to_batches()
        if len(batches) != 1:
            return table.combine_chunks().to_batches()[0] if batches else _no_rows(self.schema)
        return batches[0]

    def _ended(self, data: pa.Buffer) -> pa.Buffer | bytes:
        """The text with a line end after its last record: without, a last empty field may pass for quoted."""
        last = data[data.size - 1]
        if last in (10, 13) or last == self._escape:
            return data
        return data.to_pybytes() + b"\n"

    def only(self, column: str) -> CsvParser:
        """The same parser for one column."""
        return CsvParser(self.format, self.names, pa.schema([self.schema.field(column)]))

    def fields_of(self, record: bytes) -> list[bytes] | None:
        """The fields of one record as bytes; None where that is not one record."""
        import pyarrow.csv as pacsv

        count = record.count(self.format.delimiter.encode()) + 1
        record = record if record.endswith((b"\n", b"\r")) else record + b"\n"
        try:
            table = pacsv.read_csv(
                pa.BufferReader(record),
                read_options=pacsv.ReadOptions(use_threads=False, autogenerate_column_names=True),
                parse_options=self.format.parse_options(self.blank_is_row, multiline=True),
                convert_options=pacsv.ConvertOptions(column_types=_all_binary(count), null_values=[]),
            )
        except pa.ArrowException:
            return None
        return [bytes(column[0].as_py()) for column in table.columns] if table.num_rows == 1 else None


_WHOLE_BLOCK = 1 << 30
"""Larger than any block: one block is parsed to one chunk."""


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)


class CsvWriter(FormatWriter):
    """Writes CSV: strings quoted, null as an empty field, the header first."""

    def __init__(self, fmt: Csv, file: BinaryIO, schema: pa.Schema) -> None:
        import pyarrow.csv as pacsv

        if fmt.quote != '"' or fmt.escape is not None:
            raise BuildError("CSV is written with quote='\"' and no escape only", got=repr(fmt))
        options = pacsv.WriteOptions(include_header=fmt.header, delimiter=fmt.delimiter)
        self._writer = pacsv.CSVWriter(file, schema, write_options=options)

    def write(self, rows: pa.RecordBatch) -> None:
        self._writer.write_batch(rows)

    def close(self) -> None:
        self._writer.close()
