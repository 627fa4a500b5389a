"""What `schema=` takes, as sources use it, and a schema as text to paste into a script."""

from __future__ import annotations

import keyword

import pyarrow as pa

from streamlib.elements.schemas import PYTHON_TYPES, schema_of, type_of
from streamlib.elements.type_names import name_of
from streamlib.errors import BuildError

__all__ = ["PYTHON_TYPES", "print_schema", "schema_of", "type_of"]

_PYTHON = {
    pa.int64(): "int",
    pa.float64(): "float",
    pa.string(): "str",
    pa.bool_(): "bool",
    pa.binary(): "bytes",
    pa.timestamp("us"): "datetime",
    pa.date32(): "date",
    pa.time64("us"): "time",
    pa.duration("us"): "timedelta",
}
_FROM_DATETIME = ("date", "datetime", "time", "timedelta")


def print_schema(schema: pa.Schema, dataclass: str | None = None) -> str:
    """A schema as Python text to paste: a dict for `schema=`, or the source of a dataclass.

    Args:
        schema: the columns.
        dataclass: the name of the class; None for a dict.

    Returns:
        Text whose value, given to `schema=`, is this schema without its metadata.

    Raises:
        BuildError: a column's name cannot be a field of a dataclass.

    >>> schema = pa.schema({"ts": pa.timestamp("us"), "price": pa.float64()})
    >>> print(print_schema(schema))
    schema={
        "ts": "timestamp[us]",
        "price": "float64",
    }
    >>> print(print_schema(schema, dataclass="Tick"))
    from dataclasses import dataclass
    from datetime import datetime
    <BLANKLINE>
    <BLANKLINE>
    @dataclass
    class Tick:
        ts: datetime
        price: float
    """
    if dataclass is None:
        lines = [f"    {_quoted(f.name)}: {_quoted(name_of(f.type))}," for f in schema]
        return "\n".join(["schema={", *lines, "}"])
    for name in (dataclass, *schema.names):
        if not name.isidentifier() or keyword.iskeyword(name):
            raise BuildError(
                f"a dataclass cannot have the name {name!r}", expected="a Python name", hint="print a dict"
            )
    annotations = [_annotation(field.type) for field in schema]
    used = " ".join(annotations)
    times = [name for name in _FROM_DATETIME if name in annotations or f"[{name}]" in used]
    head = ["from dataclasses import dataclass"]
    head += [f"from datetime import {', '.join(times)}"] if times else []
    head += ["from typing import Annotated"] if "Annotated[" in used else []
    fields = [f"    {f.name}: {text}" for f, text in zip(schema, annotations, strict=True)]
    return "\n".join([*head, "", "", "@dataclass", f"class {dataclass}:", *fields])


def _annotation(kind: pa.DataType) -> str:
    """Python's name of a type where there is one, else Arrow's in `Annotated`."""
    known = _PYTHON.get(kind)
    if known is not None:
        return known
    if pa.types.is_list(kind):
        return f"list[{_annotation(kind.value_type)}]"
    return f"Annotated[object, {_quoted(name_of(kind))}]"


def _quoted(text: str) -> str:
    """A Python literal in double quotes where that is plain."""
    return f'"{text}"' if text.isprintable() and '"' not in text and "\\" not in text else repr(text)
