"""Arrow columns as 8-byte words for kernels: an address, and where the validity bits lie.

64-bit columns are used where they lie; narrower ones and booleans are widened once per batch.
Dictionary and run-end encoded columns are decoded.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.kernels._jit import inline
from streamlib.kernels.memory import I64, load_u8

_ONE = np.uint64(1)
_SEVEN = np.uint64(7)


class WordColumn(NamedTuple):
    """A column of 8-byte words in memory.

    Attributes:
        values: address of the first row's word, 0 where values are no words, such as strings; nothing
            is known of the words of null rows.
        validity: address of the bitmap, 0 when there is no null.
        bit: the bit of the first row in that bitmap.
        kept: what owns the memory.
    """

    values: int
    validity: int
    bit: int
    kept: Any


@inline
def is_valid(validity: I64, bit: I64) -> bool:
    """Whether bit number `bit` of the bitmap at address `validity` is set."""
    byte = load_u8(validity, bit >> 3)
    return bool((byte >> (np.uint64(bit) & _SEVEN)) & _ONE != np.uint64(0))


def decoded_type(data_type: pa.DataType) -> pa.DataType:
    """The type without its dictionary or runs.

    >>> decoded_type(pa.dictionary(pa.int8(), pa.string()))
    DataType(string)
    """
    if pa.types.is_dictionary(data_type) or pa.types.is_run_end_encoded(data_type):
        return decoded_type(data_type.value_type)
    return data_type


def decoded(column: pa.Array) -> pa.Array:
    """The column without its dictionary or runs; a dictionary of views gives large strings or binary."""
    if pa.types.is_dictionary(column.type):
        return decoded(without_views(column.dictionary).take(column.indices))
    if pa.types.is_run_end_encoded(column.type):
        return decoded(pc.run_end_decode(column))
    return column


def without_views(column: pa.Array) -> pa.Array:
    """Views as large strings or binary: Arrow takes no rows of views."""
    if pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    if pa.types.is_binary_view(column.type):
        return column.cast(pa.large_binary())
    return column


class Product(NamedTuple):
    """The product of two columns without nulls, one of them float64, which nobody has computed yet."""

    left: pa.Array
    right: pa.Array


def is_word(data_type: pa.DataType) -> bool:
    """Whether a value is one machine word: numbers, booleans, dates, times and durations, but no decimals."""
    return bool(pa.types.is_primitive(data_type) and data_type.bit_width <= 64)


def storage_dtype(data_type: pa.DataType) -> np.dtype[Any]:
    """The NumPy type of the values as Arrow stores them (booleans excepted, which are bits).

    >>> storage_dtype(pa.date32())
    dtype('int32')
    """
    if pa.types.is_integer(data_type) or pa.types.is_floating(data_type):
        named: np.dtype[Any] = np.dtype(data_type.to_pandas_dtype())
        return named
    signed: np.dtype[Any] = np.dtype(f"int{data_type.bit_width}")
    return signed


_PLAIN_WORDS = {
    kind.id: str(np.dtype(kind.to_pandas_dtype())) for kind in (pa.int64(), pa.uint64(), pa.float64())
}
"""Types whose values are words where they lie, and how these are read."""


def lane(data_type: pa.DataType) -> str:
    """How the words of a column are read: ``int64``, ``uint64`` or ``float64``."""
    known = _PLAIN_WORDS.get(data_type.id)
    if known is not None:
        return known
    if pa.types.is_floating(data_type):
        return "float64"
    return "uint64" if pa.types.is_unsigned_integer(data_type) else "int64"


def plain_words(column: pa.Array) -> int | None:
    """Where the words of a column of such words lie; None where some are null, or it is of another type."""
    if column.null_count or column.type.id not in _PLAIN_WORDS:
        return None
    data = column.buffers()[1]
    return 0 if data is None else data.address + 8 * column.offset


def values_of(column: pa.Array) -> npt.NDArray[Any]:
    """The stored values of a plain column, without copying; those of null rows are arbitrary."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    dtype = storage_dtype(column.type)
    data = column.buffers()[1]
    if data is None:
        return np.zeros(len(column), dtype=dtype)
    values: npt.NDArray[Any] = np.frombuffer(data, dtype=dtype, count=column.offset + len(column))
    return values[column.offset :]


def word_column(column: pa.Array) -> WordColumn:
    """A column of numbers, booleans, dates, times or durations as words: int64, uint64 or float64.

    Of columns of other types only which rows are null.
    """
    plain = plain_words(column)
    if plain is not None:
        return WordColumn(plain, 0, 0, column)
    if not is_word(column.type):
        column = decoded(column)
        if pa.types.is_null(column.type):
            column = column.cast(pa.int64())
        elif not is_word(column.type):
            return WordColumn(0, *validity_of(column), column)
    validity, bit = validity_of(column)
    if column.type.bit_width == 64:
        data = column.buffers()[1]
        address = 0 if data is None else data.address + 8 * column.offset
        return WordColumn(address, validity, bit, column)
    words = np.ascontiguousarray(values_of(column), dtype=lane(column.type))
    return WordColumn(words.__array_interface__["data"][0], validity, bit, (words, column))


def validity_of(column: pa.Array) -> tuple[int, int]:
    """Address of the validity bitmap (0 when no row is null) and the bit of the first row."""
    if column.null_count == 0:
        return 0, 0
    bits = column.buffers()[0]
    if bits is None:  # a column of type null has no memory at all
        return address_of_nothing(len(column)), 0
    return bits.address, column.offset


_nothing: list[npt.NDArray[np.uint8]] = [np.zeros(8_192, dtype=np.uint8)]


def address_of_nothing(rows: int) -> int:
    """Address of a validity bitmap in which none of so many rows has a value; it stays for ever."""
    if rows > 8 * len(_nothing[-1]):
        _nothing.append(np.zeros(max(rows // 8 + 1, 2 * len(_nothing[-1])), dtype=np.uint8))
    address: int = _nothing[-1].__array_interface__["data"][0]
    return address
