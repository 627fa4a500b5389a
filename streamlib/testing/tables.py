"""Tables written as text or as lists of rows: what a test reads best."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from streamlib.errors import BuildError

_CLOCK = re.compile(r"-?\d{1,2}:\d{2}(:\d{2}(\.\d{1,9})?)?")
_DATED = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T_](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?))?Z?")
_WHOLE = re.compile(r"-?\d{1,18}")
_REAL = re.compile(r"-?(\d+\.\d*|\.\d+|\d+)(e-?\d+)?|nan|-?inf")

NULL = "-"


def table(text: str) -> pa.Table:
    """A table from aligned text: a line of names, then a line a row; ``-`` is null.

    A name may carry its type, ``price:float64``. Without one a column is what all its values look
    like: times (``12:00:01.5`` on 1970-01-01, or ``2024-05-01T12:00``) are timestamp("ns"), then
    int64, float64, bool, else string. Text in double quotes may hold blanks, and is never null.

    Raises:
        BuildError: a row with more or fewer values than names, or a value that its type does not take.

    >>> ticks = table('''
    ...     ts          symbol  price
    ...     12:00:01.5  A       10.5
    ...     12:00:03    -       11
    ... ''')
    >>> ticks.schema.types
    [TimestampType(timestamp[ns]), DataType(string), DataType(double)]
    >>> ticks["symbol"].to_pylist()
    ['A', None]
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise BuildError("the text has no line of names", got=repr(text))
    heads = [head.partition(":") for head in lines[0].split()]
    rows = [re.findall(r'"[^"]*"|\S+', line) for line in lines[1:]]
    for row in rows:
        if len(row) != len(heads):
            raise BuildError(
                "a row has not as many values as there are names",
                expected=f"{len(heads)} values for {', '.join(h[0] for h in heads)}",
                got=" ".join(row),
                hint=f"write {NULL} for null, and text with blanks in double quotes",
            )
    arrays = []
    for index, (name, _, kind) in enumerate(heads):
        arrays.append(_column(name, kind, [row[index] for row in rows]))
    return pa.Table.from_arrays(arrays, names=[name for name, _, _ in heads])


def _column(name: str, kind: str, texts: list[str]) -> pa.Array:
    present = [t for t in texts if t != NULL]
    data_type = _type_of(kind) if kind else _looks_like(present)
    try:
        return pa.array([None if t == NULL else _value(t, data_type) for t in texts], data_type)
    except (ValueError, pa.ArrowInvalid) as error:
        raise BuildError(
            f"column {name!r} is no {data_type}", got=", ".join(present), hint=str(error)
        ) from error


def _type_of(name: str) -> pa.DataType:
    short = {"time": pa.timestamp("ns"), "str": pa.string(), "int": pa.int64(), "float": pa.float64()}
    if name in short:
        return short[name]
    timestamp = re.fullmatch(r"timestamp\[(s|ms|us|ns)\]", name)
    if timestamp is not None:
        return pa.timestamp(timestamp[1])
    try:
        return pa.type_for_alias(name)
    except ValueError as error:
        raise BuildError(
            f"there is no type {name!r}", expected="such as int64, float64, string, timestamp[us]"
        ) from error


def _looks_like(texts: list[str]) -> pa.DataType:
    if texts and all(_CLOCK.fullmatch(t) or _DATED.fullmatch(t) for t in texts):
        return pa.timestamp("ns")
    if texts and all(_WHOLE.fullmatch(t) for t in texts):
        return pa.int64()
    if texts and all(_REAL.fullmatch(t) for t in texts):
        return pa.float64()
    if texts and all(t in ("true", "false") for t in texts):
        return pa.bool_()
    return pa.string()


def _value(text: str, data_type: pa.DataType) -> Any:
    if pa.types.is_timestamp(data_type):
        unit = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}[data_type.unit]
        return int(text) // unit if _WHOLE.fullmatch(text) else time_ns(text) // unit
    if pa.types.is_boolean(data_type):
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text == "true"
    if pa.types.is_integer(data_type):
        return int(text)
    if pa.types.is_floating(data_type):
        return float(text)
    if pa.types.is_string(data_type) or pa.types.is_large_string(data_type):
        return text[1:-1] if text.startswith('"') else text
    return pa.array([text]).cast(data_type)[0].as_py()


def time_ns(text: str) -> int:
    """``12:00:01.5`` (on 1970-01-01), ``-00:00:01`` or ``2024-05-01T12:00:00.25`` as ns since 1970, UTC.

    >>> time_ns("00:00:01.5"), time_ns("-00:00:01")
    (1500000000, -1000000000)
    """
    dated = _DATED.fullmatch(text)
    days = 0
    if dated is not None:
        days = (dt.date.fromisoformat(dated[1]) - dt.date(1970, 1, 1)).days
        text = dated[2] or "00:00"
    if not _CLOCK.fullmatch(text):
        raise ValueError(f"{text!r} is no time such as 12:00:01.5 or 2024-05-01T12:00:01.5")
    sign = -1 if text.startswith("-") else 1
    hours, minutes, *rest = text.lstrip("-").split(":")
    seconds, _, fraction = (rest[0] if rest else "0").partition(".")
    whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
    return days * 86_400_000_000_000 + sign * (whole * 1_000_000_000 + int(fraction.ljust(9, "0")))


def rows_to_table(rows: Sequence[Any], schema: pa.Schema | Mapping[str, Any] | None = None) -> pa.Table:
    """Rows as dicts, or as tuples in the order of `schema`, as a table.

    Times of a row may be strings, as in `table`, where `schema` says timestamp.

    >>> rows_to_table([(1, "a")], {"n": "int64", "s": "string"}).to_pylist()
    [{'n': 1, 's': 'a'}]
    """
    fields = (
        None if schema is None else pa.schema(schema if isinstance(schema, pa.Schema) else _fields(schema))
    )
    names = (
        fields.names
        if fields is not None
        else list(dict.fromkeys(n for r in rows if isinstance(r, Mapping) for n in r))
    )
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for row in rows:
        if isinstance(row, Mapping):
            values = [row.get(name) for name in names]
            strange = [n for n in row if n not in columns]
        else:
            values, strange = list(row), []
        if len(values) != len(names) or strange:
            raise BuildError("a row does not fit the schema", expected=", ".join(names), got=repr(row))
        for name, value in zip(names, values, strict=True):
            columns[name].append(value)
    if fields is None:
        return pa.table({n: pa.array(_times(v)) for n, v in columns.items()}) if names else pa.table({})
    return pa.Table.from_arrays([_array(columns[f.name], f.type) for f in fields], schema=fields)


def _fields(schema: Mapping[str, Any]) -> list[tuple[str, pa.DataType]]:
    return [(name, _type_of(kind) if isinstance(kind, str) else kind) for name, kind in schema.items()]


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(kind):
        values = [_value(v, kind) if isinstance(v, str) else v for v in values]
    return pa.array(values, kind)


def _times(values: list[Any]) -> Any:
    """Strings that all look like times become times."""
    texts = [v for v in values if v is not None]
    if texts and all(isinstance(t, str) and (_CLOCK.fullmatch(t) or _DATED.fullmatch(t)) for t in texts):
        return pa.array([None if v is None else time_ns(v) for v in values], pa.timestamp("ns"))
    return values
