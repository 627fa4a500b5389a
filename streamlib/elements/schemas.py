"""What `schema=` takes: a pyarrow.Schema, a dict of names and types, or a dataclass.

Sources and row functions declare their columns in the same way, so this stands below both. The names
of types are read and written in `streamlib.elements.type_names`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from streamlib.elements.type_names import type_named
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
    decimal.Decimal: pa.decimal128(38, 18),
}
"""The Arrow type of each Python type. A Decimal has 18 digits before the point and after it at least."""

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
            is Arrow's; a name of one (``"timestamp[us, UTC]"``); or Python's: ``int``, ``float``, ``str``,
            ``bool``, ``bytes``, ``datetime``, ``date``, ``time``, ``timedelta``, ``Decimal``, an Enum of
            texts or whole numbers, ``Literal``, ``list[int]``, a dataclass, each also ``| None``, or
            ``Annotated[Decimal, pa.decimal128(12, 4)]`` where another Arrow type is meant.

    Raises:
        BuildError: not one of these, no columns, or a type that is unknown, with the column's name.

    >>> print(schema_of({"ts": "timestamp[us]", "price": float}))
    ts: timestamp[us]
    price: double
    """
    if isinstance(declared, pa.Schema):
        schema = declared
    elif isinstance(declared, Mapping):
        schema = pa.schema([pa.field(str(n), type_of(t, str(n))) for n, t in declared.items()])
    elif isinstance(declared, type) and dataclasses.is_dataclass(declared):
        schema = pa.schema(_fields_of(declared, "", ()))
    else:
        raise BuildError(
            "schema= is not a schema",
            expected="a pyarrow.Schema, a dict such as {'price': float}, or a dataclass",
            got=repr(declared),
            hint=f"did you mean {type(declared).__name__}, without its values?"
            if dataclasses.is_dataclass(declared)
            else None,
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
    return _type(declared, column, ())


def _type(declared: Any, column: str, within: tuple[type, ...]) -> pa.DataType:
    if isinstance(declared, pa.DataType):
        return declared
    found = type_named(declared) if isinstance(declared, str) else _from_python(declared, column, within)
    if found is None:
        near = nearest_names(declared, _KNOWN) if isinstance(declared, str) else []
        raise BuildError(
            f"the type of column {column!r} is unknown",
            expected=f"a type such as {', '.join(_KNOWN)}, or int, float, str, bool, datetime",
            got=repr(declared),
            hint=f"did you mean {near[0]!r}?" if near else None,
        )
    return found


def _from_python(declared: Any, column: str, within: tuple[type, ...]) -> pa.DataType | None:
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Union, types.UnionType):
        rest = [a for a in arguments if a is not type(None)]
        return _type(rest[0], column, within) if len(rest) == 1 else None
    if origin is typing.Annotated:
        notes = [type_named(a) if isinstance(a, str) else a for a in arguments[1:]]
        meant = next((note for note in notes if isinstance(note, pa.DataType)), arguments[0])
        return _type(meant, column, within)
    if origin is typing.Literal:
        return _type_of_values(arguments)
    if origin is list and arguments:
        return pa.list_(_type(arguments[0], f"{column}[]", within))
    if not isinstance(declared, type):
        return None
    if dataclasses.is_dataclass(declared):
        return pa.struct(_fields_of(declared, f"{column}.", within))
    if issubclass(declared, enum.Enum):
        return _type_of_values([member.value for member in declared])
    return PYTHON_TYPES.get(declared)


def _type_of_values(values: typing.Sequence[Any]) -> pa.DataType | None:
    """Text where all values are, whole numbers where all are, else nothing."""
    for kind in (str, bool, int):
        if values and all(type(value) is kind for value in values):
            return PYTHON_TYPES[kind]
    return None


def _fields_of(declared: type, prefix: str, within: tuple[type, ...]) -> list[pa.Field]:
    if declared in within:
        raise BuildError(
            f"the type of column {prefix.rstrip('.')!r} holds itself",
            expected="columns of a fixed depth",
            got=declared.__name__,
        )
    try:
        hints = typing.get_type_hints(declared, include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        raise BuildError(
            f"an annotation of {declared.__name__} cannot be read",
            expected="names that the module of the dataclass knows",
            got=str(error),
            hint="a class defined inside a function is not seen by annotations in quotes",
        ) from None
    return [
        pa.field(f.name, _type(hints[f.name], prefix + f.name, (*within, declared)))
        for f in dataclasses.fields(declared)
    ]
