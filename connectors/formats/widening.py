"""Columns of files that say the same in another type: what may stand in a column, and how it becomes that.

Only what loses nothing: text is text whatever its offsets, a dictionary is its values, a narrow integer has its
place in a wider one, and a column of nulls only is one of any type. What Arrow would have to round is refused.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

_TEXTS = (pt.is_string, pt.is_large_string, pt.is_string_view)
_BYTES = (pt.is_binary, pt.is_large_binary, pt.is_binary_view)
_UNITS = ("s", "ms", "us", "ns")


def holds(wanted: pa.DataType, found: pa.DataType) -> bool:
    """Whether all values of type `found` are values of `wanted`, times that lie too far off excepted.

    >>> holds(pa.large_string(), pa.dictionary(pa.int8(), pa.string())), holds(pa.int32(), pa.int64())
    (True, False)
    """
    if found.equals(wanted) or pt.is_null(found):
        return True
    if pt.is_dictionary(found) or pt.is_run_end_encoded(found):
        return holds(wanted, found.value_type)
    if pt.is_dictionary(wanted):
        return holds(wanted.value_type, found)
    if _is(_TEXTS, found):
        return _is(_TEXTS, wanted)
    if _is(_BYTES, found) or pt.is_fixed_size_binary(found):
        return _is(_BYTES, wanted)
    if pt.is_nested(found) or pt.is_nested(wanted):
        return _holds_nested(wanted, found)
    if pt.is_decimal(found) and pt.is_decimal(wanted):
        return bool(wanted.scale == found.scale and wanted.precision >= found.precision)
    if (pt.is_timestamp(found) and pt.is_timestamp(wanted)) or (
        pt.is_duration(found) and pt.is_duration(wanted)
    ):
        same_zone = getattr(found, "tz", None) == getattr(wanted, "tz", None)
        return same_zone and _UNITS.index(wanted.unit) > _UNITS.index(found.unit)
    return _holds_number(wanted, found)


def converted(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    """A column as a type that `holds` its own.

    Raises:
        ArrowException: a time that lies too far off, or more values than a dictionary has places.
    """
    if column.type.equals(wanted):
        return column
    if pt.is_run_end_encoded(column.type):
        return converted(pc.run_end_decode(column), wanted)
    if pt.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pt.is_dictionary(wanted):
        column = column.cast(wanted.value_type).dictionary_encode()
    return column if column.type.equals(wanted) else column.cast(wanted)


def _is(kinds: tuple[object, ...], kind: pa.DataType) -> bool:
    return any(check(kind) for check in kinds)  # type: ignore[operator]


def _is_list(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_large_list(kind))


def _holds_nested(wanted: pa.DataType, found: pa.DataType) -> bool:
    if _is_list(wanted) and _is_list(found):
        return holds(wanted.value_type, found.value_type)
    if not (pt.is_struct(wanted) and pt.is_struct(found)) or wanted.num_fields != found.num_fields:
        return False
    pairs = [(wanted.field(n), found.field(n)) for n in range(found.num_fields)]
    return all(mine.name == other.name and holds(mine.type, other.type) for mine, other in pairs)


def _holds_number(wanted: pa.DataType, found: pa.DataType) -> bool:
    if pt.is_floating(found):
        return bool(pt.is_floating(wanted) and wanted.bit_width > found.bit_width)
    if not pt.is_integer(found):
        return False
    if pt.is_floating(wanted):
        digits = {16: 11, 32: 24, 64: 53}[wanted.bit_width]
        return bool(found.bit_width <= digits)
    if not pt.is_integer(wanted) or wanted.bit_width <= found.bit_width:
        return False
    return pt.is_signed_integer(wanted) or pt.is_unsigned_integer(found)
