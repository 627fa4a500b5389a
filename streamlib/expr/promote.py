"""Which type two operands meet in.

As in Polars: a plain constant takes the column's type where that loses nothing, the wider type wins
among columns, an int meets a float as float. A timestamp without a zone is UTC.
"""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from streamlib.elements.times import duration_ns
from streamlib.errors import BuildError
from streamlib.expr.program import Builder, Operand, UnsupportedError, type_name

_SIGNED = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}


def meet(builder: Builder, left: Operand, right: Operand) -> tuple[Operand, Operand]:
    """Both operands, in types that a kernel for two of a kind takes."""
    if left.free and not right.free:
        left = adapt(builder, left, right.type)
    elif right.free and not left.free:
        right = adapt(builder, right, left.type)
    return to_common(builder, left, right)


def to_common(builder: Builder, left: Operand, right: Operand) -> tuple[Operand, Operand]:
    """Casts to the common type, if there is one; otherwise leaves the pair to the kernel."""
    common = common_type(left.type, right.type)
    if common is None:
        return left, right
    return builder.cast(left, common, safe=False), builder.cast(right, common, safe=False)


def common_type(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """The type that both are cast to without a check, or None to let the kernel decide.

    Lossy only from integers above 2**53 to float64, as everywhere.

    >>> import pyarrow as pa
    >>> common_type(pa.int32(), pa.int64()), common_type(pa.int64(), pa.float32())
    (DataType(int64), DataType(double))
    """
    if left.equals(right):
        return left
    if pt.is_null(left) or pt.is_null(right):
        return right if pt.is_null(left) else left
    if is_number(left) and is_number(right):
        return _common_number(left, right)
    if pt.is_timestamp(left) and pt.is_timestamp(right) and left.unit == right.unit:
        return left if right.tz is None else right if left.tz is None else left
    return None


def _common_number(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    if pt.is_decimal(left) or pt.is_decimal(right):
        return pa.float64() if pt.is_floating(left) or pt.is_floating(right) else None
    if pt.is_floating(left) and pt.is_floating(right):
        return left if left.bit_width > right.bit_width else right
    if pt.is_floating(left) or pt.is_floating(right):
        floating, integer = (left, right) if pt.is_floating(left) else (right, left)
        return pa.float32() if integer.bit_width <= 16 and floating.bit_width <= 32 else pa.float64()
    if pt.is_signed_integer(left) == pt.is_signed_integer(right):
        return left if left.bit_width > right.bit_width else right
    signed, unsigned = (left, right) if pt.is_signed_integer(left) else (right, left)
    if unsigned.bit_width == 64:
        return None
    return _SIGNED[max(signed.bit_width, 2 * unsigned.bit_width)]


def same_zone(builder: Builder, left: Operand, right: Operand) -> tuple[Operand, Operand]:
    """Makes two times comparable: one without a zone is UTC, a date is its midnight."""
    zone = getattr(left.type, "tz", None) or getattr(right.type, "tz", None)
    if zone is None:
        return left, right
    return _in_zone(builder, left, zone), _in_zone(builder, right, zone)


def _in_zone(builder: Builder, time: Operand, zone: str) -> Operand:
    if not is_time(time.type):
        return time
    unit = time.type.unit if pt.is_timestamp(time.type) else "s"
    return builder.cast(time, pa.timestamp(unit, zone))


def adapt(builder: Builder, constant: Operand, to: pa.DataType) -> Operand:
    """A plain constant in the type of what it meets, where that loses nothing; otherwise in its own.

    Raises:
        UnsupportedError: a text that is no time or duration where one is needed.
    """
    assert constant.constant is not None
    value = constant.constant.as_py()
    if pt.is_dictionary(to):
        to = to.value_type
    if value is None:
        return builder.cast(constant, to)
    if isinstance(value, bool):
        return constant
    if isinstance(value, int):
        return _adapt_int(builder, constant, value, to)
    if isinstance(value, float):
        return _adapt_float(builder, constant, value, to)
    if isinstance(value, str):
        return _adapt_text(builder, constant, value, to)
    if isinstance(value, (dt.datetime, dt.timedelta)) and (pt.is_timestamp(to) or pt.is_duration(to)):
        return _in_unit(builder, constant, to.unit)
    return constant


def _adapt_int(builder: Builder, constant: Operand, value: int, to: pa.DataType) -> Operand:
    if pt.is_floating(to):
        return builder.cast(constant, to, safe=False)
    if pt.is_decimal(to):
        return builder.constant(pa.scalar(decimal.Decimal(value)))
    if pt.is_integer(to):
        candidates = [to, *_SIGNED.values()]
        fitting = next((t for t in candidates if _fits(value, t)), None)
        return constant if fitting is None else builder.cast(constant, fitting)
    return constant


def _fits(value: int, to: pa.DataType) -> bool:
    bits = to.bit_width
    if pt.is_signed_integer(to):
        return bool(-(2 ** (bits - 1)) <= value < 2 ** (bits - 1))
    return bool(0 <= value < 2**bits)


def _adapt_float(builder: Builder, constant: Operand, value: float, to: pa.DataType) -> Operand:
    if pt.is_floating(to):
        return builder.cast(constant, to, safe=False)
    return constant


def _adapt_text(builder: Builder, constant: Operand, value: str, to: pa.DataType) -> Operand:
    if pt.is_large_string(to):
        return builder.cast(constant, to)
    if is_time(to):
        return builder.constant(_parse_time(value, to))
    if pt.is_duration(to):
        return builder.constant(_parse_duration(value, to.unit))
    if pt.is_time(to):
        return builder.cast(constant, to)
    return constant


def _parse_time(text: str, to: pa.DataType) -> pa.Scalar:
    """An ISO date or time in the type of the column, or finer where the column's unit cannot hold it."""
    written = pa.scalar(text)
    finer = [pa.timestamp(unit, zone) for unit in ("us", "ns") for zone in (None, "UTC")]
    for as_type in (to, *finer):
        try:
            return written.cast(as_type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    raise UnsupportedError(f'{text!r} is no {type_name(to)}: write a time as "2024-01-31T12:00:00"')


def _parse_duration(text: str, unit: str) -> pa.Scalar:
    try:
        span = pa.scalar(duration_ns(text), pa.int64()).cast(pa.duration("ns"))
    except BuildError as error:
        raise UnsupportedError(f'{error.problem}; write a duration as "10s" or "1h30m"') from None
    return _lossless(span, pa.duration(unit))


def _in_unit(builder: Builder, constant: Operand, unit: str) -> Operand:
    own = constant.type
    wanted = pa.timestamp(unit, own.tz) if pt.is_timestamp(own) else pa.duration(unit)
    return builder.constant(_lossless(constant.constant, wanted))


def _lossless(value: Any, to: pa.DataType) -> pa.Scalar:
    try:
        return value.cast(to)
    except pa.ArrowInvalid:
        return value


def duration_operand(builder: Builder, constant: Operand, unit: str) -> Operand:
    """A text such as "10s" beside a time, as a duration."""
    assert constant.constant is not None
    return builder.constant(_parse_duration(constant.constant.as_py(), unit))


def is_number(data_type: pa.DataType) -> bool:
    """An integer, float or decimal."""
    return bool(pt.is_integer(data_type) or pt.is_floating(data_type) or pt.is_decimal(data_type))


def is_text(data_type: pa.DataType) -> bool:
    """A string of any layout, or a dictionary of strings."""
    if pt.is_dictionary(data_type):
        data_type = data_type.value_type
    return bool(pt.is_string(data_type) or pt.is_large_string(data_type) or pt.is_string_view(data_type))


def is_time(data_type: pa.DataType) -> bool:
    """A timestamp or date."""
    return bool(pt.is_timestamp(data_type) or pt.is_date(data_type))
