"""Rows to JSON Lines: times as ISO 8601 text, NaN as null, decimals as text, binary as base64."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.contracts import FormatWriter

CHUNK_ROWS = 8_192
"""Rows that are Python objects at one time."""


class JsonlWriter(FormatWriter):
    """Writes one JSON object per row, keys in the order of the schema."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._file, self._names = file, list(schema.names)
        self._plain = [plain_values(f.type) for f in schema]

    def write(self, rows: pa.RecordBatch) -> None:
        import orjson

        dumps, names = orjson.dumps, self._names
        for start in range(0, rows.num_rows, CHUNK_ROWS):
            part = rows.slice(start, CHUNK_ROWS)
            columns = [plain(c) for plain, c in zip(self._plain, part.columns, strict=True)]
            lines = [
                dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE)
                for row in zip(*columns, strict=True)
            ]
            self._file.write(b"".join(lines))

    def close(self) -> None:
        """Nothing ends a file of lines."""


def plain_values(kind: pa.DataType) -> Callable[[pa.Array], list[Any]]:
    """A function from arrays of a type to lists of values that JSON has."""
    types = pa.types
    if types.is_timestamp(kind):
        return _times
    if types.is_dictionary(kind):
        inner = plain_values(kind.value_type)
        return lambda column: inner(column.dictionary_decode())
    if types.is_float16(kind):
        return lambda column: column.cast(pa.float32()).to_pylist()
    if types.is_decimal(kind) or types.is_date(kind) or types.is_time(kind):
        return lambda column: column.cast(pa.string()).to_pylist()
    if types.is_duration(kind):
        return lambda column: column.cast(pa.int64()).to_pylist()
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return lambda column: [
            None if v is None else base64.b64encode(v).decode() for v in column.to_pylist()
        ]
    if types.is_struct(kind):
        return _structs
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _lists
    if types.is_map(kind):
        raise NotImplementedError("a map column: JSON keys are strings; unnest it first")
    return _as_they_are


def _as_they_are(column: pa.Array) -> list[Any]:
    if not column.null_count and pa.types.is_primitive(column.type) and not pa.types.is_boolean(column.type):
        return column.to_numpy().tolist()
    return column.to_pylist()


def _times(column: pa.Array) -> list[Any]:
    """ISO 8601 with as many digits as the type has; a Z where it has a zone."""
    kind = column.type
    if kind.tz is not None:
        column = column.cast(pa.timestamp(kind.unit, tz="UTC")).cast(pa.timestamp(kind.unit))
    text = pc.replace_substring(column.cast(pa.string()), " ", "T", max_replacements=1)
    if kind.tz is not None:
        text = pc.binary_join_element_wise(text, "Z", "")
    return text.to_pylist()


def _structs(column: pa.StructArray) -> list[Any]:
    names = [field.name for field in column.type]
    columns = [plain_values(child.type)(child) for child in column.flatten()]
    valid = column.is_valid().to_pylist()
    rows = zip(*columns, strict=True) if columns else ((),) * len(column)
    return [dict(zip(names, row, strict=True)) if ok else None for ok, row in zip(valid, rows, strict=True)]


def _lists(column: pa.Array) -> list[Any]:
    values = column.flatten()
    plain = plain_values(values.type)(values)
    lengths = pc.list_value_length(column).to_pylist()
    lists, start = [], 0
    for length in lengths:
        lists.append(None if length is None else plain[start : start + length])
        start += length or 0
    return lists
