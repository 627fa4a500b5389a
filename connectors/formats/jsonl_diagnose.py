"""Blocks of JSON Lines that need care: blank lines, lines that are no objects, and what exactly is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from streamlib.connectors.formats.csv_diagnose import expected_value
from streamlib.connectors.formats.text import TextBlock, first_bad_record, shown
from streamlib.errors import DataError

if TYPE_CHECKING:
    from streamlib.connectors.formats.jsonl import JsonlParser

_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a truth value", type(None): "null"}


def decode_carefully(parser: JsonlParser, text: TextBlock, name: str) -> Iterator[pa.RecordBatch]:
    """The rows of a block that is not plainly one object on each line.

    Raises:
        DataError: a line that cannot be read, with its number, key and value.
    """
    lines = bytes(text.data).split(b"\n")
    kept = [(number, line) for number, line in enumerate(lines) if line.strip()]

    def fails(count: int) -> bool:
        return parsed(parser, [line for _, line in kept[:count]]) is None

    strange = next((i for i, (_, line) in enumerate(kept) if line.lstrip()[:1] != b"{"), len(kept))
    good = kept[:strange]  # a line `null` would crash the parser, so no such line comes near it
    rows = parsed(parser, [line for _, line in good]) if good else None
    if rows is not None and strange == len(kept):
        yield rows
        return
    bad = first_bad_record(len(good), fails) if good and rows is None else strange
    if bad is None or bad == len(kept):
        return
    number, line = kept[bad]
    raise about_line(parser, line, f"{name}, line {text.line + number:,}")


def parsed(parser: JsonlParser, lines: list[bytes]) -> pa.RecordBatch | None:
    """The rows of lines that begin with ``{``; None when one of them is bad."""
    try:
        rows = parser.parse(pa.py_buffer(b"\n".join(lines)))
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    return rows if rows.num_rows == len(lines) else None


def about_line(parser: JsonlParser, line: bytes, where: str) -> DataError:
    """The error for a line that the parser refuses."""
    import orjson

    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return DataError(
            "the line is not JSON",
            where=where,
            expected="one JSON object",
            got=shown(line.strip()),
            hint=re.sub(r": line 1 column", " at column", str(error)),
        )
    if not isinstance(value, dict):
        return DataError(
            "the line is no JSON object",
            where=where,
            expected="an object such as {...}",
            got=f"{_kind(value)}: {shown(line.strip())}",
        )
    for field in parser.schema:
        if field.name in value and not _fits(parser, field, value[field.name]):
            return about_field(field, value[field.name], where)
    return _about_keys(parser, line, value, where)


def about_field(field: pa.Field, value: Any, where: str) -> DataError:
    """The error for a value that is not of its column's type."""
    import orjson

    integer = pa.types.is_integer(field.type) and isinstance(value, float)
    return DataError(
        f"the value is no {field.type}",
        where=f"{where}, column {field.name!r}",
        expected=expected_value(field.type),
        got=f"{_kind(value)}: {shown(orjson.dumps(value))}",
        hint="declare the column as float64 in schema=" if integer else None,
    )


def _about_keys(parser: JsonlParser, line: bytes, value: dict[str, Any], where: str) -> DataError:
    extra = [key for key in value if key not in parser.schema.names]
    if parser.exact and extra:
        return DataError(
            f"there is a key {extra[0]!r} that the first megabyte of the first file has not",
            where=where,
            expected=f"the keys {', '.join(parser.schema.names)}",
            got=shown(line.strip()),
            hint="declare schema=, with this key to read it or without to pass over it",
        )
    return DataError(
        "the line cannot be read",
        where=where,
        expected="one JSON object with each key once",
        got=shown(line.strip()),
    )


def _fits(parser: JsonlParser, field: pa.Field, value: Any) -> bool:
    import orjson

    one = parser.only(field.name)
    return parsed(one, [orjson.dumps({field.name: value})]) is not None


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")
