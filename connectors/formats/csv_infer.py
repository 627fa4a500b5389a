"""The schema of a CSV file without a declared one, from its first megabyte."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.connectors.formats.text import first_rows, shown
from streamlib.contracts.format import TEXT_BECAUSE
from streamlib.errors import SourceError

if TYPE_CHECKING:
    from streamlib.connectors.formats.csv_text import Csv

NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
TIME = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?$"
ODD_SHARE_MAX = 0.5
"""A column of which at least half the values fit a number or time was meant to be one."""
INFER_BYTES = 1 << 20
"""How much of a file is looked at."""


def infer_csv_schema(fmt: Csv, file: BinaryIO, name: str) -> pa.Schema:
    """The columns of a CSV file, with the narrowest types that its first megabyte fits.

    Timestamps have microseconds, or nanoseconds where digits say so; a column without any value is a
    string.

    Raises:
        SourceError: there are no columns, or no types can be told.
    """
    import pyarrow.csv as pacsv

    reader = fmt.open_reader(file, name, pa.schema([]))
    names = list(fmt.column_names or ()) if not fmt.header else reader.names
    text = first_rows(reader, INFER_BYTES)
    if text is None:
        none = {TEXT_BECAUSE: b"because the file has no rows"}
        return pa.schema([pa.field(n, pa.string(), metadata=none) for n in names])
    read = pacsv.ReadOptions(
        use_threads=False,
        block_size=1 << 30,
        column_names=names or None,
        autogenerate_column_names=not names,
    )
    convert = pacsv.ConvertOptions(
        null_values=list(fmt.null_values),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        timestamp_parsers=[pacsv.ISO8601],
        decimal_point=fmt.decimal,
    )
    try:
        table = pacsv.read_csv(
            pa.BufferReader(text.data),
            read_options=read,
            parse_options=fmt.parse_options(len(names) == 1, text.cut.multiline),
            convert_options=convert,
        )
    except (pa.ArrowException, UnicodeDecodeError) as error:
        if names:  # the reader of strings knows the line
            as_strings = pa.schema({n: pa.string() for n in names})
            file.seek(0) if file.seekable() else None
            _raise_with_line(fmt, file, name, as_strings)
        raise SourceError(
            "the file's types cannot be told",
            where=name,
            expected="CSV",
            got=str(error).splitlines()[0],
            hint=f"it begins {shown(bytes(text.data[:60]))}",
        ) from None
    first_line = None if text.cut.multiline else 1 + fmt.skip_rows + int(fmt.header)
    return pa.schema([_field(n, table.column(i), first_line) for i, n in enumerate(table.column_names)])


def _field(name: str, column: pa.ChunkedArray, first_line: int | None) -> pa.Field:
    """The field of an inferred column; one that is text because of a few values says which came first."""
    kind = settled_type(column)
    if pa.types.is_string(kind) and pa.types.is_string(column.type):
        for pattern in (NUMBER, TIME):
            fits = pc.fill_null(pc.match_substring_regex(column, pattern), True).combine_chunks()
            odd = len(fits) - fits.true_count
            if 0 < odd <= len(fits) * ODD_SHARE_MAX:
                row = pc.index(fits, False).as_py()
                line = "" if first_line is None else f" in line {first_line + row:,}"
                text = f"because of {shown(str(column[row]).encode())}{line}"
                return pa.field(name, kind, metadata={TEXT_BECAUSE: text.encode()})
    return pa.field(name, kind)


def _raise_with_line(fmt: Csv, file: BinaryIO, name: str, schema: pa.Schema) -> None:
    if not file.seekable():
        return
    reader = fmt.open_reader(file, name, schema)
    text = first_rows(reader, INFER_BYTES)
    if text is not None:
        reader.decode_text(text)


def settled_type(column: pa.ChunkedArray) -> pa.DataType:
    """The type that later values of an inferred column will fit, too."""
    kind = column.type
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_timestamp(kind):
        if kind.unit == "ns":
            numbers = column.cast(pa.int64())
            whole = pc.all(pc.equal(pc.multiply(pc.divide(numbers, 1000), 1000), numbers)).as_py()
            return pa.timestamp("us" if whole or whole is None else "ns", tz=kind.tz)
        return pa.timestamp("us", tz=kind.tz)
    if pa.types.is_time(kind):
        return pa.time64("us") if kind.unit in ("s", "ms", "us") else kind
    return kind
