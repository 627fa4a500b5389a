"""Arrow types by name, as users write them in `cast("float64")`."""

from __future__ import annotations

import pyarrow as pa

from streamlib.elements.type_names import type_named
from streamlib.errors import BuildError, nearest_names

_UNITS = ("s", "ms", "us", "ns")
_NAMES = [
    *(
        "bool",
        "string",
        "large_string",
        "binary",
        "null",
        "float16",
        "float32",
        "float64",
        "date32",
        "date64",
    ),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *(f"{kind}[{unit}]" for kind in ("timestamp", "duration") for unit in _UNITS),
    *("time32[s]", "time32[ms]", "time64[us]", "time64[ns]"),
]
_PYTHON = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary()}


def parse_type(of: pa.DataType | str | type) -> pa.DataType:
    """A pyarrow type from itself, its name, or Python's bool, int, float, str, bytes.

    Raises:
        BuildError: there is no such type; the message gives the nearest names.

    >>> parse_type("timestamp[ms, tz=UTC]"), parse_type("decimal128(10, 2)"), parse_type(float)
    (TimestampType(timestamp[ms, tz=UTC]), Decimal128Type(decimal128(10, 2)), DataType(double))
    """
    if isinstance(of, pa.DataType):
        return of
    if isinstance(of, type) and of in _PYTHON:
        return _PYTHON[of]
    if isinstance(of, str):
        found = type_named(of)
        if found is not None:
            return found
    near = nearest_names(of, _NAMES) if isinstance(of, str) else []
    raise BuildError(
        "there is no such type",
        expected='a pyarrow type or its name, such as "int64", "float64", "string", "timestamp[us]"',
        got=repr(of),
        hint=f"did you mean {' or '.join(repr(n) for n in near)}?" if near else None,
    )
