"""The parser of CSV blocks: Arrow's, with the options of one format and the columns of one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from streamlib.connectors.formats.csv_plain import PlainCsv
from streamlib.connectors.formats.text import Cut, TextBlock
from streamlib.errors import BuildError

if TYPE_CHECKING:
    from streamlib.connectors.formats.csv_text import Csv


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
        self._fast = PlainCsv(fmt, self.names, schema)
        self._has_decimals = any(pa.types.is_decimal(field.type) for field in schema)
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
            decimal_point=fmt.decimal,
        )

    def parse(self, text: TextBlock) -> pa.RecordBatch:
        """The rows of a block. Raises Arrow's own errors."""
        rows = self._fast.parse(text)
        return self.parse_any(text) if rows is None else rows

    def parse_any(self, text: TextBlock) -> pa.RecordBatch:
        """The same, by Arrow whatever the text is."""
        import pyarrow.csv as pacsv

        table = pacsv.read_csv(
            pa.BufferReader(self._ended(text.data)),
            read_options=self._read,
            parse_options=self._multiline if text.cut.multiline else self._plain,
            convert_options=self._convert,
        )
        if self._has_decimals:  # the parser lets 1e3 pass as a decimal of two digits
            table.validate(full=True)
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

    def odd_lengths(self, data: bytes) -> dict[int, int] | None:
        """How many fields those records have that have not one for each column, by their number from 0.

        None where the records cannot be told apart.
        """
        import pyarrow.csv as pacsv

        found: dict[int, int] = {}

        def left_out(row: Any) -> str:
            found[row.number - 1] = row.actual_columns
            return "skip"

        parse = self.format.parse_options(self.blank_is_row, multiline=True)
        parse.invalid_row_handler = left_out
        text = self._ended(pa.py_buffer(data.translate(_PLAIN)))  # Arrow makes a string of an odd record
        convert = pacsv.ConvertOptions(
            include_columns=self.names[:1], column_types={self.names[0]: pa.binary()}
        )
        try:
            pacsv.read_csv(
                pa.BufferReader(text), read_options=self._read, parse_options=parse, convert_options=convert
            )
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        return found

    def as_bytes(self, data: bytes) -> pa.Table | None:
        """The columns as bytes, unquoted nulls as nulls; None where that cannot be done."""
        import pyarrow.csv as pacsv

        convert = pacsv.ConvertOptions(
            column_types={name: pa.binary() for name in self.names},
            include_columns=self.schema.names,
            null_values=list(self.format.null_values),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        try:
            return pacsv.read_csv(
                pa.BufferReader(self._ended(pa.py_buffer(data))),
                read_options=self._read,
                parse_options=self.format.parse_options(self.blank_is_row, multiline=True),
                convert_options=convert,
            )
        except (pa.ArrowException, UnicodeDecodeError):
            return None

    def quoted(self, field: pa.Field) -> Callable[[bytes, int], bool]:
        """A test whether values, each in double quotes on a line of its own, are all of a field's type."""
        from streamlib.connectors.formats.csv_text import Csv

        options = Csv(delimiter=";", null_values=self.format.null_values, decimal=self.format.decimal)
        plain = CsvParser(options, [field.name], pa.schema([field]))

        def fits(data: bytes, rows: int) -> bool:
            text = TextBlock(pa.py_buffer(data), 1, Cut(len(data), rows, 0, multiline=True))
            try:
                return int(plain.parse(text).num_rows) == rows
            except (pa.ArrowException, UnicodeDecodeError):
                return False

        return fits

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


_PLAIN = bytes(i if i < 128 else ord("x") for i in range(256))
_WHOLE_BLOCK = 1 << 30
"""Larger than any block: one block is parsed to one chunk."""


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)
