"""Sums that do not depend on the order of addition: integers in 128 bits, floats in two doubles.

The float sum is TwoSum (Knuth, TAOCP 2, 4.2.2; Shewchuk 1997): the second double gathers exactly
what each addition to the first one rounds away. An infinite or NaN sum spoils the second double,
which is then left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators.base import Accumulator, Style, Word
from streamlib.errors import DataError
from streamlib.kernels._jit import inline
from streamlib.kernels.columns import lane
from streamlib.kernels.memory import (
    F64,
    I64,
    load_f64,
    load_i64,
    load_u64,
    store_f64,
    store_f64_pair,
    store_i64,
    store_u64,
)

Int64s = npt.NDArray[np.int64]


@inline
def add_float(record: I64, word: I64, value: F64) -> None:
    """Adds one float: words (sum, what rounding lost)."""
    before = load_f64(record, word)
    after = before + value
    part = after - before
    lost = (before - (after - part)) + (value - part)
    store_f64_pair(record, word, after, load_f64(record, word + 1) + lost)


@inline
def merge_float(record: I64, source: I64, word: I64) -> None:
    """Adds another sum."""
    add_float(record, word, load_f64(source, word))
    store_f64(record, word + 1, load_f64(record, word + 1) + load_f64(source, word + 1))


@inline
def add_int(record: I64, word: I64, value: I64) -> None:
    """Adds one signed integer: words (low, high) of a 128-bit sum."""
    low = load_u64(record, word) + np.uint64(value)
    carry = np.int64(low < np.uint64(value))
    store_u64(record, word, low)
    store_i64(record, word + 1, load_i64(record, word + 1) + carry + (np.int64(value) >> np.int64(63)))


@inline
def add_uint(record: I64, word: I64, value: I64) -> None:
    """Adds one unsigned integer: words (low, high) of a 128-bit sum."""
    low = load_u64(record, word) + np.uint64(value)
    carry = np.int64(low < np.uint64(value))
    store_u64(record, word, low)
    store_i64(record, word + 1, load_i64(record, word + 1) + carry)


@inline
def merge_int(record: I64, source: I64, word: I64) -> None:
    """Adds another sum."""
    add_uint(record, word, load_u64(source, word))
    store_i64(record, word + 1, load_i64(record, word + 1) + load_i64(source, word + 1))


_INTEGER_WORDS = (Word("low", "uint64"), Word("high", "int64"))
FLOAT_SUM = Accumulator(
    "float_sum",
    (Word("sum", "float64"), Word("lost", "float64")),
    "float64",
    Style.VALUE,
    add_float,
    merge_float,
)
INT_SUM = Accumulator("int_sum", _INTEGER_WORDS, "int64", Style.VALUE, add_int, merge_int)
UINT_SUM = Accumulator("uint_sum", _INTEGER_WORDS, "uint64", Style.VALUE, add_uint, merge_int)
_SUMS = {"float64": FLOAT_SUM, "int64": INT_SUM, "uint64": UINT_SUM}


def sum_of(data_type: pa.DataType) -> Accumulator:
    """The sum for values of a type."""
    return _SUMS[lane(data_type)]


def total(accumulator: Accumulator, words: Int64s) -> npt.NDArray[np.float64]:
    """Sums as float64, rounded once; shape (keys,).

    Args:
        words: shape (keys, 2), as int64.
    """
    if accumulator is FLOAT_SUM:
        sums = np.ascontiguousarray(words[:, 0]).view(np.float64)
        with np.errstate(invalid="ignore"):
            both: npt.NDArray[np.float64] = sums + words[:, 1].view(np.float64)
        finite = np.isfinite(both)
        return both if finite.all() else np.where(finite, both, sums)
    low, high = words[:, 0], words[:, 1]
    result = low.astype(np.float64)
    for row in np.flatnonzero(high != low >> 63):
        result[row] = float(_exact(low[row], high[row]))
    return result


def _exact(low: Any, high: Any) -> int:
    return (int(high) << 64) + (int(low) & (2**64 - 1))


def exact_integers(accumulator: Accumulator, words: Int64s, column: str) -> npt.NDArray[Any]:
    """Integer sums as int64, or uint64 for an unsigned input; shape (keys,).

    Raises:
        DataError: a sum that does not fit.
    """
    low, high = words[:, 0], words[:, 1]
    unsigned = accumulator is UINT_SUM
    wrong = high != 0 if unsigned else high != low >> 63
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        kind = "uint64" if unsigned else "int64"
        raise DataError(
            f"the sum of {column} does not fit into {kind}",
            expected="at most 18446744073709551615"
            if unsigned
            else "-9223372036854775808 to 9223372036854775807",
            got=str(_exact(low[row], high[row])),
            hint=f'{f"({column})" if " " in column else column}.cast("float64").sum() has no such limit',
        )
    return np.ascontiguousarray(low).view(np.uint64 if unsigned else np.int64)
