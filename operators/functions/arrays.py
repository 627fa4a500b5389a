"""Python values as a column of a given type, and nothing bent to fit.

pyarrow's own conversion cuts 1.5 to 1 for an integer column, microseconds off a time in seconds, and
unknown keys off a dict. Here each of these is refused, with the index of the first value that does
not fit.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamlib.operators.functions.brief import brief

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_UNITS_NS = {
    "D": 86_400 * 10**9,
    "h": 3_600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
    "ns": 1,
}


class Misfit(Exception):
    """One of some values does not fit.

    Attributes:
        index: which one, from 0.
        expected: what would have been right.
        got: what came.
        problem: what is wrong, where it is not that the value has another type.
        hint: what to do.
    """

    def __init__(
        self, index: int, expected: str, got: str, problem: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(index)
        self.index, self.expected, self.got, self.problem, self.hint = index, expected, got, problem, hint


def array_of(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """A column of the values; None becomes null.

    Raises:
        Misfit: a value does not fit the type.

    >>> array_of([1, None], pa.float64()).to_pylist()
    [1.0, None]
    """
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _lists(values, kind)
    if pa.types.is_fixed_size_list(kind):
        for index, value in enumerate(values):
            if value is not None and (not hasattr(value, "__len__") or len(value) != kind.list_size):
                raise Misfit(index, str(kind), brief(value))
        return array_of(values, pa.list_(kind.value_type)).cast(kind)
    if pa.types.is_struct(kind):
        return _structs(values, kind)
    if pa.types.is_dictionary(kind):
        return array_of(values, kind.value_type).dictionary_encode().cast(kind)
    taken = _classes(kind)
    classes = set(map(type, values))
    if any(issubclass(c, enum.Enum) for c in classes):
        values = [value.value if isinstance(value, enum.Enum) else value for value in values]
        classes = set(map(type, values))
    if taken is not None:
        _refuse(classes, taken, values, kind)
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        return _times(values, kind, classes)
    if pa.types.is_time32(kind):
        return _tried(values, kind, lambda v: pa.array(v, pa.time64("us")).cast(kind))
    if pa.types.is_floating(kind) and kind != pa.float64():
        return _tried(values, kind, lambda v: _narrowed(v, kind))
    return _tried(values, kind, lambda v: pa.array(v, kind))


def _classes(kind: pa.DataType) -> tuple[type, ...] | None:
    """The Python classes whose values a type takes; None where only pyarrow knows."""
    is_ = pa.types
    if is_.is_integer(kind):
        return (numbers.Integral,)
    if is_.is_floating(kind):
        return (float, numbers.Integral, np.floating)
    if is_.is_boolean(kind):
        return (bool, np.bool_)
    if is_.is_string(kind) or is_.is_large_string(kind):
        return (str,)
    if is_.is_binary(kind) or is_.is_large_binary(kind) or is_.is_fixed_size_binary(kind):
        return (bytes, bytearray, memoryview)
    if is_.is_timestamp(kind):
        return (dt.datetime, np.datetime64)
    if is_.is_date(kind):
        return (dt.date,)
    if is_.is_time(kind):
        return (dt.time,)
    if is_.is_duration(kind):
        return (dt.timedelta, np.timedelta64)
    if is_.is_decimal(kind):
        return (decimal.Decimal, numbers.Integral)
    return None


def _refuse(classes: set[type], taken: tuple[type, ...], values: Sequence[Any], kind: pa.DataType) -> None:
    """Raises for the first value of another class. A bool is no number, a time of a day no date."""
    takes_bool, takes_datetime = bool in taken, dt.datetime in taken
    wrong = {
        c
        for c in classes
        if c is not type(None)
        and (
            not issubclass(c, taken)
            or (issubclass(c, bool) and not takes_bool)
            or (issubclass(c, dt.datetime) and not takes_datetime)
        )
    }
    if wrong:
        index = next(i for i, value in enumerate(values) if type(value) in wrong)
        raise Misfit(index, str(kind), brief(values[index]))


def _tried(values: Sequence[Any], kind: pa.DataType, make: Callable[[Sequence[Any]], pa.Array]) -> pa.Array:
    """`make(values)`; where it fails, the first single value that it fails for."""
    try:
        return make(values)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        for index, value in enumerate(values):
            try:
                make([value])
            except (pa.ArrowException, ValueError, TypeError, OverflowError):
                raise Misfit(index, str(kind), brief(value)) from error
        raise Misfit(0, str(kind), str(error)) from error


def _narrowed(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    wide = pa.array(values, pa.float64())
    narrow = wide.cast(kind)
    large = np.isinf(_doubles(narrow.cast(pa.float64()))) & ~np.isinf(_doubles(wide))
    if large.any():
        raise ValueError("too large")
    return narrow


def _doubles(column: pa.Array) -> Any:
    return column.fill_null(0.0).to_numpy(zero_copy_only=False)


def _times(values: Sequence[Any], kind: pa.DataType, classes: set[type]) -> pa.Array:
    plain = {dt.datetime, dt.timedelta, type(None)}
    if not classes <= plain:
        return _tried(values, kind, lambda v: _exact_times(v, kind))
    if kind.unit in ("us", "ns"):
        return _tried(values, kind, lambda v: pa.array(v, kind))
    fine = pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else pa.duration("us")
    return _tried(values, kind, lambda v: pa.array(v, fine).cast(kind))


def _exact_times(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Times of several classes, by whole nanoseconds: NumPy's, pandas' and Python's own."""
    unit = _UNITS_NS[kind.unit]
    counts: list[int | None] = []
    for value in values:
        count = None if value is None else _nanoseconds(value)
        if count is not None and count % unit:
            raise ValueError("finer than the unit of the column")
        counts.append(None if count is None else count // unit)
    return pa.array(counts, pa.int64()).cast(kind)


def _nanoseconds(value: Any) -> int | None:
    if not isinstance(value, (np.datetime64, np.timedelta64)) and hasattr(value, "to_numpy"):
        value = value.to_numpy()  # of pandas
    if isinstance(value, (np.datetime64, np.timedelta64)):
        if np.isnat(value):
            return None
        unit, count = np.datetime_data(value.dtype)
        return int(value.astype(np.int64)) * count * _UNITS_NS[unit]
    if isinstance(value, dt.datetime):
        value = (value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)) - EPOCH
    return ((value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds) * 1_000


def _lists(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    flat: list[Any] = []
    offsets = [0]
    for index, value in enumerate(values):
        if value is not None:
            if not isinstance(value, (list, tuple, np.ndarray)):
                raise Misfit(index, str(kind), brief(value))
            flat.extend(value)
        offsets.append(len(flat))
    try:
        items = array_of(flat, kind.value_type)
    except Misfit as error:
        error.index = int(np.searchsorted(offsets, error.index, side="right")) - 1
        raise
    width = pa.int64() if pa.types.is_large_list(kind) else pa.int32()
    made = pa.LargeListArray if pa.types.is_large_list(kind) else pa.ListArray
    nothing = pa.array([value is None for value in values], pa.bool_())
    return made.from_arrays(pa.array(offsets, width), items, type=kind, mask=nothing)


def _structs(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    names = [field.name for field in kind]
    rows: list[Mapping[str, Any]] = []
    for index, value in enumerate(values):
        row = dict.fromkeys(names) if value is None else _fields(value)
        if row is None or row.keys() != set(names):
            raise Misfit(index, f"{kind}: a dict or a dataclass with these fields", brief(value))
        rows.append(row)
    children = [array_of([row[field.name] for row in rows], field.type) for field in kind]
    nothing = pa.array([value is None for value in values], pa.bool_())
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=nothing)


def _fields(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None
