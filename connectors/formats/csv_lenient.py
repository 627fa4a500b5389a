"""The good rows of a CSV block in which something is bad, and each bad record with what is wrong with it.

Columns are read as bytes first: records with the wrong number of fields are out. Then each column's
distinct values are tried, so that a word that stands for null a million times costs as much as once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.connectors.formats.csv_diagnose import about_record, about_value, unclosed_quote, wrong_fields
from streamlib.connectors.formats.lenient import RefusedRecord, odd_ones, sift
from streamlib.connectors.formats.text import Cut, TextBlock, count_lines
from streamlib.contracts import Refused
from streamlib.errors import DataError

if TYPE_CHECKING:
    from streamlib.connectors.formats.csv_cut import CsvCutter
    from streamlib.connectors.formats.csv_parse import CsvParser

UNCLOSED_MAX = 100
"""How often in one block reading goes on after a quote that is never closed, before lines are taken as they are."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a record is refused: a field and its value; or a number of fields; or neither, a quote left open."""

    field: pa.Field | None = None
    value: bytes = b""
    fields: int | None = None


def sift_csv(
    parser: CsvParser, cutter: CsvCutter, text: TextBlock, name: str, refused: list[Refused]
) -> Iterator[pa.RecordBatch]:
    """The rows of a block that `parser` refused as a whole; appends what is bad to `refused`."""
    data = bytes(text.data)
    spans, faults = _spans(cutter, data, text.cut.unclosed)

    def joined(records: Sequence[int]) -> bytes:
        return b"".join(data[spans[i][0] : spans[i][1]] for i in records)

    def parse(records: Sequence[int]) -> pa.RecordBatch | None:
        try:
            rows = parser.parse(_block(joined(records), len(records)))
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        return rows if rows.num_rows == len(records) else None

    readable = [i for i in range(len(spans)) if i not in faults]
    lengths = parser.odd_lengths(joined(readable)) if readable else {}
    if lengths is not None:
        faults |= {readable[i]: _Fault(fields=fields) for i, fields in lengths.items()}
        readable = [i for i in readable if i not in faults]
        faults |= _value_faults(parser, joined(readable), readable)
    rows, bad = sift(len(spans), parse, known=faults)
    line, at = text.line, 0
    for number in bad:
        start, end = spans[number]
        record = data[start:end]
        lead = 0 if cutter.blank_is_row else len(record) - len(record.lstrip(b"\r\n"))
        line, at = line + count_lines(data[at : start + lead], start + lead - at)[0], start + lead
        error = _error(parser, faults.get(number), record[lead:], name, line)
        refused.append(RefusedRecord(record, error, line, number))
    yield from rows


def _block(data: bytes, rows: int) -> TextBlock:
    return TextBlock(pa.py_buffer(data), 1, Cut(len(data), rows, 0, multiline=True))


def _spans(cutter: CsvCutter, data: bytes, unclosed: bool) -> tuple[list[tuple[int, int]], dict[int, _Fault]]:
    """Where records begin and end; of one whose quote is never closed only the first line is given up."""
    spans: list[tuple[int, int]] = []
    faults: dict[int, _Fault] = {}
    start = 0
    for _ in range(UNCLOSED_MAX):
        rest = data[start:]
        found = cutter.records(rest)
        spans += [(start + a, start + b) for a, b in found]
        if not unclosed or not found:
            return spans, faults
        a, _ = spans.pop()
        start = a + _first_line(data[a:])
        faults[len(spans)] = _Fault()
        spans.append((a, start))
        cut = cutter.cut(data[start:], True) if start < len(data) else None
        if cut is None:
            return spans, faults
        unclosed = cut.unclosed
    for line in data[start:].splitlines(keepends=True):
        if cutter.blank_is_row or line.strip(b"\r\n"):
            spans.append((start, start + len(line)))
        start += len(line)
    return spans, faults


def _first_line(record: bytes) -> int:
    lead = len(record) - len(record.lstrip(b"\r\n"))
    return lead + len(record[lead:].splitlines(keepends=True)[0])


def _value_faults(parser: CsvParser, data: bytes, records: list[int]) -> dict[int, _Fault]:
    """The first value of each record, whose texts are `data`, that is not of its column's type."""
    faults: dict[int, _Fault] = {}
    columns = parser.as_bytes(data) if records else None
    if columns is None or columns.num_rows != len(records):
        return faults
    for field in parser.schema:
        values = columns.column(field.name).combine_chunks()
        bad = _bad_values(parser, field, values)
        if not bad:
            continue
        rows = pc.indices_nonzero(pc.fill_null(pc.is_in(values, pa.array(bad, pa.binary())), False))
        for row in rows.to_pylist():
            faults.setdefault(records[row], _Fault(field, values[row].as_py()))
    return faults


def _bad_values(parser: CsvParser, field: pa.Field, values: pa.Array) -> list[bytes]:
    """The distinct values that are not of the field's type."""
    kind = field.type
    distinct = values.unique().drop_null()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return []
    try:
        text = distinct.cast(pa.string())
        broken: list[bytes] = []
    except pa.ArrowInvalid:
        every = distinct.to_pylist()
        broken = [v for v in every if not _is_utf8(v)]
        text = pa.array([v.decode() for v in every if _is_utf8(v)], pa.string())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return broken
    return broken + [text[i].as_py().encode() for i in _odd_text(parser, field, text)]


def _odd_text(parser: CsvParser, field: pa.Field, text: pa.Array) -> list[int]:
    def castable(a: int, b: int) -> bool:
        try:
            text.slice(a, b - a).cast(field.type)
        except (pa.ArrowException, NotImplementedError):
            return False
        return True

    if castable(0, len(text)):  # by the parser's own converters, which do not strip white space
        return []
    suspects = list(range(len(text)))
    odd: list[int] = []
    if _casts_alike(parser, field.type):
        suspects = odd_ones(len(text), castable)
        bare = pc.equal(text, pc.ascii_trim(text, " \t")).to_pylist()
        odd, suspects = [i for i in suspects if bare[i]], [i for i in suspects if not bare[i]]
    quoted = [b'"%b"\n' % text[i].as_py().encode().replace(b'"', b'""') for i in suspects]
    fits = parser.quoted(field)
    return odd + [suspects[i] for i in odd_ones(len(quoted), lambda a, b: fits(b"".join(quoted[a:b]), b - a))]


def _casts_alike(parser: CsvParser, kind: pa.DataType) -> bool:
    """Whether a cast from text refuses what the CSV parser refuses, white space around it apart."""
    types = pa.types
    if types.is_floating(kind):
        return parser.format.decimal == "."
    return types.is_integer(kind) or types.is_timestamp(kind) or types.is_date(kind)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _error(parser: CsvParser, fault: _Fault | None, record: bytes, name: str, line: int) -> DataError:
    if fault is None:
        return about_record(parser, record, name, line, "the parser refuses the line")
    if fault.field is not None:
        return about_value(name, line, fault.field, fault.value)
    if fault.fields is not None:
        return wrong_fields(parser, record, fault.fields, name, line)
    return unclosed_quote(record, name, line)
