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
from streamlib.connectors.formats.csv_parse import CsvParser
from streamlib.connectors.formats.encoding import checked_encoding
from streamlib.connectors.formats.text import (
    BLOCK_BYTES,
    BOM,
    RECORD_BYTES_MAX,
    Cut,
    TextBlock,
    TextReader,
    count_lines,
    shown,
)
from streamlib.contracts import Block, Format, FormatWriter, Refused
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
    skip_rows: int = 0
    decimal: str = "."
    encoding: str = "utf-8"
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
        if self.decimal not in (".", ",") or self.decimal == self.delimiter:
            raise BuildError(
                "decimal= of a CSV format is not usable",
                expected="'.' or ',', and not the delimiter",
                got=repr(self.decimal),
            )
        if self.skip_rows < 0:
            raise BuildError("skip_rows= of a CSV format is below 0", got=repr(self.skip_rows))
        checked_encoding(self.encoding)
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
        from streamlib.connectors.formats.csv_write import CsvWriter

        return CsvWriter(self, file, schema)

    def cutter(self, one_column: bool = False) -> CsvCutter:
        """What finds the records."""
        return CsvCutter(
            self.delimiter.encode(),
            None if self.quote is None else self.quote.encode(),
            None if self.escape is None else self.escape.encode(),
            one_column,
        )

    def has_header(self, head: bytes) -> bool:
        """Whether the front of a file that is still being written holds its whole header."""
        for _ in range(self.skip_rows):
            head = head[head.find(b"\n") + 1 :] if b"\n" in head else b""
        head = head.removeprefix(BOM).lstrip(b"\r\n")
        return not self.header or self.cutter().first_end(head, ended=False) is not None

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
    skip_rows: int = 0,
    decimal: str = ".",
    encoding: str = "utf-8",
) -> Csv:
    """CSV with options.

    Args:
        delimiter: what stands between fields.
        quote: what encloses fields that hold delimiters or line ends; doubled inside. None for none.
        escape: what makes the next character a plain one; None for none.
        header: whether the first line names the columns.
        column_names: the names where there is no header; else taken from the schema by position.
        null_values: unquoted fields that are null, in columns of every type.
        skip_rows: lines to pass over before the header, whatever is in them.
        decimal: what stands before the fraction of a number: ``.`` or ``,``.
        encoding: such as ``latin-1``, ``cp1252`` or ``utf-16``; everything but UTF-8 is read slower and
            not written.

    Raises:
        BuildError: an option that cannot work.

    >>> csv(delimiter=";").delimiter
    ';'
    """
    names = None if column_names is None else tuple(column_names)
    nulls = (null_values,) if isinstance(null_values, str) else tuple(null_values)
    return Csv(delimiter, quote, escape, header and names is None, names, nulls, skip_rows, decimal, encoding)


class CsvReader(TextReader):
    """Reads one CSV file. Columns are matched by name where there is a header, else by position."""

    endless_hint = "most likely a quote is opened and never closed"

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
        super().__init__(file, name, fmt.cutter(), fmt.block_bytes, fmt.encoding)
        self._format = fmt
        if self._empty:
            raise SourceError(
                "the file is empty",
                where=name,
                expected="a header line" if fmt.header else "at least one record",
                got="0 bytes",
            )
        self._skip_lines(fmt.skip_rows)
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

    def decode_leniently(self, block: Block, refused: list[Refused]) -> Iterator[pa.RecordBatch]:
        text: TextBlock = block.data
        if not text.rows:
            return
        found = self._try(text)
        if isinstance(found, pa.RecordBatch):
            yield found
            return
        from streamlib.connectors.formats.csv_lenient import sift_csv

        yield from sift_csv(self._parser, self.cutter, text, self._name, refused)

    def decode_text(self, text: TextBlock) -> pa.RecordBatch:
        """The rows of whole records. Pure.

        Raises:
            DataError: a record that cannot be read, with its line, column and value.
        """
        found = self._try(text)
        if isinstance(found, pa.RecordBatch):
            return found
        from streamlib.connectors.formats.csv_diagnose import diagnose_csv

        raise diagnose_csv(self._parser, self.cutter, text, self._name, found) from None

    def _try(self, text: TextBlock) -> pa.RecordBatch | Exception:
        """The rows, or why they cannot be read."""
        try:
            rows = self._parser.parse(text)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            return error
        if rows.num_rows == text.rows and not text.cut.unclosed:
            return rows
        return ValueError(f"{text.rows} records were counted, {rows.num_rows} were read")

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
