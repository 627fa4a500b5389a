"""Which line, column and value of a CSV block cannot be read. Runs only when decoding has failed.

The block is decoded again and again, always the first n records, until the first bad one is known;
then that one record is looked at column by column. So the messages follow from the same parser.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa

from streamlib.connectors.formats.csv_cut import CsvCutter
from streamlib.connectors.formats.text import Cut, TextBlock, count_lines, first_bad_record, shown
from streamlib.errors import DataError

if TYPE_CHECKING:
    from streamlib.connectors.formats.csv_parse import CsvParser

EXAMPLES = {
    "int": "a whole number such as 42",
    "uint": "a whole number from 0",
    "floating": "a number such as 1.5",
    "timestamp": "a time such as 2024-08-09 12:00:00.123456",
    "zoned": "a time with its zone, such as 2024-08-09 12:00:00Z",
    "date": "a date such as 2024-08-09",
    "bool": "true or false",
    "string": "UTF-8 text",
}


def diagnose_csv(
    parser: CsvParser, cutter: CsvCutter, text: TextBlock, name: str, error: Exception
) -> DataError:
    """The error for a block that `parser` refused with `error`."""
    data = bytes(text.data)
    records = cutter.records(data)

    def fails(count: int) -> bool:
        if count == len(records) and text.cut.unclosed:
            return True
        return _refused(parser, data[: records[count - 1][1]], count)

    bad = first_bad_record(len(records), fails) if records else None
    if bad is None:
        return DataError(
            "the text cannot be read as CSV",
            where=f"{name}, from line {text.line:,}",
            got=str(error).splitlines()[0],
        )
    start, end = records[bad]
    record = data[start:end]
    lead = len(record) - len(record.lstrip(b"\r\n")) if not cutter.blank_is_row else 0
    line = text.line + count_lines(data, start + lead)[0]
    if text.cut.unclosed and bad == len(records) - 1:
        return unclosed_quote(record[lead:], name, line)
    return about_record(parser, record[lead:], name, line, str(error))


def unclosed_quote(record: bytes, name: str, line: int) -> DataError:
    """The error for a record that ends within a quote."""
    return DataError(
        "a quote is opened and never closed",
        where=f"{name}, line {line:,}",
        expected="a closing quote",
        got=shown(record),
    )


def wrong_fields(parser: CsvParser, record: bytes, fields: int, name: str, line: int) -> DataError:
    """The error for a record with more or fewer fields than there are columns."""
    return DataError(
        "the line has the wrong number of fields",
        where=f"{name}, line {line:,}",
        expected=f"{len(parser.names)} fields: {', '.join(parser.names)}",
        got=f"{fields} fields: {shown(record.rstrip())}",
    )


def _refused(parser: CsvParser, data: bytes, rows: int) -> bool:
    try:
        return int(parser.parse(_block(data, rows)).num_rows) != rows
    except (pa.ArrowException, UnicodeDecodeError):
        return True


def _block(data: bytes, rows: int = 1) -> TextBlock:
    return TextBlock(pa.py_buffer(data), 1, Cut(len(data), rows, 0, multiline=True))


def about_record(parser: CsvParser, record: bytes, name: str, line: int, cause: str) -> DataError:
    """The error for one record that the parser refuses for the reason `cause`."""
    fields = parser.fields_of(record)
    if fields is not None and len(fields) != len(parser.names):
        return wrong_fields(parser, record, len(fields), name, line)
    for field in parser.schema:
        if fields is not None and _refused(parser.only(field.name), record, 1):
            return about_value(name, line, field, fields[parser.names.index(field.name)])
    cause = re.sub(r"Row #\d+: ", "", cause.splitlines()[0])  # a number within the block
    return DataError(
        "the line cannot be read as CSV", where=f"{name}, line {line:,}", got=shown(record), hint=cause
    )


def about_value(name: str, line: int, field: pa.Field, value: bytes) -> DataError:
    """The error for one value that is not of its column's type."""
    text_like = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    return DataError(
        "the value is no UTF-8 text" if text_like else f"the value is no {field.type}",
        where=f"{name}, line {line:,}, column {field.name!r}",
        expected=expected_value(field.type),
        got=shown(value),
        hint=_hint(field.type, value),
    )


def expected_value(kind: pa.DataType) -> str:
    """What a value of a type looks like in text."""
    if pa.types.is_timestamp(kind):
        return f"{kind}: {EXAMPLES['zoned' if kind.tz else 'timestamp']}"
    for test, key in (
        (pa.types.is_unsigned_integer, "uint"),
        (pa.types.is_integer, "int"),
        (pa.types.is_floating, "floating"),
        (pa.types.is_date, "date"),
        (pa.types.is_boolean, "bool"),
        (pa.types.is_string, "string"),
        (pa.types.is_large_string, "string"),
    ):
        if test(kind):
            return f"{kind}: {EXAMPLES[key]}"
    return str(kind)


def _hint(kind: pa.DataType, value: bytes) -> str | None:
    if value.strip().lower() in (b"null", b"none", b"na", b"n/a", b"nan", b"-", b"\\n"):
        return f"if this means null: format=sl.csv(null_values=['', {value.decode()!r}])"
    if pa.types.is_timestamp(kind):
        return _time_hint(kind, value)
    if pa.types.is_integer(kind):
        try:
            float(value)
        except ValueError:
            return None
        return "declare the column as float64 in schema="
    return None


def _time_hint(kind: pa.TimestampType, value: bytes) -> str | None:
    if re.fullmatch(rb"\d{9,}", value.strip()):
        return "numbers since 1970 are read as int64; then .with_columns(sl.from_epoch(...))"
    zoned = re.search(rb"(Z|[+-]\d\d:?\d\d)$", value.strip()) is not None
    if zoned != (kind.tz is not None):
        return f"declare the column as timestamp[{kind.unit}{', UTC' if zoned else ''}] in schema="
    fraction = re.search(rb"\.(\d+)", value)
    if fraction is not None and len(fraction[1]) > {"s": 0, "ms": 3, "us": 6, "ns": 9}[kind.unit]:
        return "declare the column as timestamp[ns] in schema="
    return None
