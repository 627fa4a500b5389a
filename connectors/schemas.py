"""What `schema=` takes: a pyarrow.Schema, a dict of names and types, or a dataclass."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from streamlib.errors import BuildError, nearest_names

PYTHON_TYPES: dict[Any, pa.DataType] = {
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    dt.datetime: pa.timestamp("us"),
    dt.date: pa.date32(),
    dt.time: pa.time64("us"),
    dt.timedelta: pa.duration("us"),
}
"""The Arrow type of each Python type."""

_ALIASES = {
    "str": pa.string(),
    "bytes": pa.binary(),
    "datetime": pa.timestamp("us"),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
}
_TIMESTAMP = re.compile(r"timestamp[\[(](s|ms|us|ns)(?:,\s*(?:tz=)?([\w/+:-]+))?[\])]")
_DECIMAL = re.compile(r"decimal(?:128)?\((\d+),\s*(-?\d+)\)")
_LIST = re.compile(r"list[<\[](?:item:\s*)?(.+)[>\]]")
_KNOWN = (
    "int64",
    "int32",
    "float64",
    "string",
    "bool",
    "binary",
    "date32",
    "timestamp[us]",
    "timestamp[us, UTC]",
)


def schema_of(declared: Any) -> pa.Schema:
    """The Arrow schema that a declaration means.

    Args:
        declared: a `pyarrow.Schema`; a dict from name to type; or a dataclass, by its annotations. A type
            is Arrow's, a name of one (``"timestamp[us, UTC]"``), or Python's (``int``, ``float``, ``str``,
            ``bool``, ``bytes``, ``datetime``, ``date``, ``list[int]``, a dataclass, each also ``| None``).

    Raises:
        BuildError: not one of these, no columns, or an unknown type.

    >>> print(schema_of({"ts": "timestamp[us]", "price": float}))
    ts: timestamp[us]
    price: double
    """
    if isinstance(declared, pa.Schema):
        schema = declared
    elif isinstance(declared, Mapping):
        schema = pa.schema([pa.field(str(n), type_of(t, str(n))) for n, t in declared.items()])
    elif isinstance(declared, type) and dataclasses.is_dataclass(declared):
        schema = pa.schema(_fields_of(declared))
    else:
        raise BuildError(
            "schema= is not a schema",
            expected="a pyarrow.Schema, a dict such as {'price': float}, or a dataclass",
            got=repr(declared),
        )
    if not len(schema):
        raise BuildError("schema= names no columns", got=repr(declared))
    twice = sorted({n for n in schema.names if schema.names.count(n) > 1})
    if twice:
        raise BuildError("schema= names a column twice", got=", ".join(map(repr, twice)))
    return schema.remove_metadata()


def type_of(declared: Any, column: str) -> pa.DataType:
    """The Arrow type that a declaration of one column means.

    >>> type_of("decimal128(10, 2)", "price")
    Decimal128Type(decimal128(10, 2))
    """
    if isinstance(declared, pa.DataType):
        return declared
    found = _from_name(declared.strip()) if isinstance(declared, str) else _from_python(declared, column)
    if found is None:
        near = nearest_names(declared, _KNOWN) if isinstance(declared, str) else []
        raise BuildError(
            f"the type of column {column!r} is unknown",
            expected=f"a type such as {', '.join(_KNOWN)}, or int, float, str, bool, datetime",
            got=repr(declared),
            hint=f"did you mean {near[0]!r}?" if near else None,
        )
    return found


def _from_name(name: str) -> pa.DataType | None:
    if name in _ALIASES:
        return _ALIASES[name]
    if match := _TIMESTAMP.fullmatch(name):
        return pa.timestamp(match[1], tz=match[2])
    if match := _DECIMAL.fullmatch(name):
        return pa.decimal128(int(match[1]), int(match[2]))
    if match := _LIST.fullmatch(name):
        inner = _from_name(match[1].strip())
        return None if inner is None else pa.list_(inner)
    try:
        return pa.type_for_alias(name)
    except ValueError:
        return None


def _from_python(declared: Any, column: str) -> pa.DataType | None:
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Union, types.UnionType):
        rest = [a for a in arguments if a is not type(None)]
        return type_of(rest[0], column) if len(rest) == 1 else None
    if origin is typing.Annotated:
        return type_of(arguments[1] if isinstance(arguments[1], pa.DataType | str) else arguments[0], column)
    if origin is list and arguments:
        return pa.list_(type_of(arguments[0], column))
    if isinstance(declared, type) and dataclasses.is_dataclass(declared):
        return pa.struct(_fields_of(declared))
    try:
        return PYTHON_TYPES.get(declared)
    except TypeError:
        return None


def _fields_of(declared: type) -> list[pa.Field]:
    hints = typing.get_type_hints(declared, include_extras=True)
    return [pa.field(f.name, type_of(hints[f.name], f.name)) for f in dataclasses.fields(declared)]
