"""Columns as Python values: the types one expects, and nothing lost.

A time finer than a microsecond does not fit Python's datetime; that one value comes as
numpy.datetime64 (a duration as numpy.timedelta64), so that what a function hands on is what it was
given. What a value becomes depends on that value alone, never on the others of its batch or on which
libraries are installed.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.errors import DataError


def python_values(column: pa.Array) -> list[Any]:
    """The values of a column, None for nulls.

    Raises:
        DataError: a time that Python has no value for; `row` says which.

    >>> python_values(pa.array([1, None, 3]))
    [1, None, 3]
    >>> python_values(pa.array([1_000, 1_001], pa.timestamp("ns")))
    [datetime.datetime(1970, 1, 1, 0, 0, 0, 1), np.datetime64('1970-01-01T00:00:00.000001001')]
    """
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _instants(column)
    if pa.types.is_duration(kind):
        return _durations(column)
    if pa.types.is_time64(kind) and kind.unit == "ns":
        _refuse_fine(column)
    if pa.types.is_dictionary(kind):
        return python_values(column.dictionary_decode())
    if pa.types.is_struct(kind):
        return _structs(column)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _lists(column)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _numbers(column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
        return column.to_numpy(zero_copy_only=False).tolist()
    return column.to_pylist()


def _numbers(column: pa.Array) -> list[Any]:
    if not column.null_count:
        return column.to_numpy(zero_copy_only=False).tolist()
    nothing = column.is_null()
    values = column.fill_null(0).to_numpy(zero_copy_only=False).tolist()
    return _without(values, nothing)


def _without(values: list[Any], nothing: pa.Array) -> list[Any]:
    for row in np.flatnonzero(nothing.to_numpy(zero_copy_only=False)).tolist():
        values[row] = None
    return values


def _instants(column: pa.Array) -> list[Any]:
    values = _coarse(column, "datetime64")
    for row, value in enumerate(values):
        if type(value) is int:
            raise _misfit(column, row, "years 1 to 9999")
    zone = column.type.tz
    if zone is None:
        return values
    info = zone_of(zone)
    if info is dt.UTC:
        return [v.replace(tzinfo=info) if type(v) is dt.datetime else v for v in values]
    return [v.replace(tzinfo=dt.UTC).astimezone(info) if type(v) is dt.datetime else v for v in values]


@lru_cache(maxsize=64)
def zone_of(name: str) -> dt.tzinfo:
    """The time zone of an Arrow type, by its name or its offset."""
    if name.upper() in ("UTC", "Z", "ETC/UTC", "+00:00"):
        return dt.UTC
    if name[:1] in "+-":
        sign = -1 if name[0] == "-" else 1
        hours, _, minutes = name[1:].partition(":")
        return dt.timezone(sign * dt.timedelta(hours=int(hours), minutes=int(minutes or 0)))
    return zoneinfo.ZoneInfo(name)


def _durations(column: pa.Array) -> list[Any]:
    values = _coarse(column, "timedelta64")
    for row, value in enumerate(values):
        if type(value) is int:
            raise _misfit(column, row, "at most 999,999,999 days")
    return values


def _coarse(column: pa.Array, kind: str) -> list[Any]:
    """Times in microseconds or coarser as Python has them; the finer ones as NumPy has them."""
    numbers = column.cast(pa.int64())
    nothing = numbers.is_null()
    counts = numbers.fill_null(0).to_numpy(zero_copy_only=False)
    unit = column.type.unit
    if unit != "ns":
        return _without(counts.view(f"{kind}[{unit}]").tolist(), nothing)
    values = (counts // 1_000).view(f"{kind}[us]").tolist()
    for row in np.flatnonzero(counts % 1_000).tolist():
        values[row] = counts[row : row + 1].view(f"{kind}[ns]")[0]
    return _without(values, nothing)


def _refuse_fine(column: pa.Array) -> None:
    counts = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    fine = np.flatnonzero(counts % 1_000)
    if len(fine):
        raise _misfit(column, int(fine[0]), "microseconds")


def _misfit(column: pa.Array, row: int, expected: str) -> DataError:
    number = column.cast(pa.int64())[row].as_py()
    error = DataError(
        "a time does not fit into Python's own types",
        where=f"row {row} of the batch",
        expected=expected,
        got=f"{number} {column.type.unit} as {column.type}",
        hint="cast the column before, or use map_batches",
    )
    error.row = row
    return error


def _lists(column: pa.Array) -> list[Any]:
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    lengths = pc.list_value_length(column).to_pylist()
    try:
        values = python_values(column.flatten())
    except DataError as error:
        ends = np.cumsum([length or 0 for length in lengths])
        error.row = int(np.searchsorted(ends, error.row or 0, side="right"))
        error.where = f"row {error.row} of the batch"
        raise
    found: list[Any] = []
    begin = 0
    for length in lengths:
        if length is None:
            found.append(None)
            continue
        found.append(values[begin : begin + length])
        begin += length
    return found


def _structs(column: pa.Array) -> list[Any]:
    names = [field.name for field in column.type]
    if not names:
        return column.to_pylist()
    children = [python_values(child) for child in column.flatten()]
    values = [dict(zip(names, row, strict=True)) for row in zip(*children, strict=True)]
    return _without(values, column.is_null()) if column.null_count else values
