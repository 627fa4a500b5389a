"""The smallest or largest value. Of floats every number replaces NaN: as Polars does.

Floats start at a NaN of its own, which no value has, and so need no count of nulls to tell that there was
none: a word less in every record.

Values that are no words are compared by their ranks within a batch, and kept beside the records:
words best (the rank and row of the batch's best value) and place.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from streamlib.aggregates.accumulators.base import Accumulator, Style, Word
from streamlib.kernels._jit import inline
from streamlib.kernels.choosing import mask_of, store_where
from streamlib.kernels.columns import decoded_type, is_word, lane
from streamlib.kernels.memory import F64, I64, load_f64, load_i64, load_u64, store_f64, store_u64

NO_FLOAT = 0x7FF8_0000_6E6F_6E65
"""The bits of the NaN that says that there was no value. NaN among the values becomes the usual one."""
_NAN = float("nan")


@inline
def min_int(record: I64, word: I64, value: I64) -> None:
    """Keeps the smaller one."""
    store_where(mask_of(value < load_i64(record, word)), record, word, value)


@inline
def max_int(record: I64, word: I64, value: I64) -> None:
    """Keeps the larger one."""
    store_where(mask_of(value > load_i64(record, word)), record, word, value)


@inline
def min_uint(record: I64, word: I64, value: I64) -> None:
    """Keeps the smaller one."""
    if value < load_u64(record, word):
        store_u64(record, word, value)


@inline
def max_uint(record: I64, word: I64, value: I64) -> None:
    """Keeps the larger one."""
    if value > load_u64(record, word):
        store_u64(record, word, value)


@inline
def min_float(record: I64, word: I64, value: F64) -> None:
    """Keeps the smaller one; NaN never replaces a number, a number always replaces NaN."""
    kept = load_f64(record, word)
    if value == value:
        stays = kept <= value  # never when it is NaN
        store_f64(record, word, kept if stays else value)
    elif kept != kept:
        store_f64(record, word, _NAN)


@inline
def max_float(record: I64, word: I64, value: F64) -> None:
    """Keeps the larger one; NaN never replaces a number, a number always replaces NaN."""
    kept = load_f64(record, word)
    if value == value:
        stays = kept >= value  # never when it is NaN
        store_f64(record, word, kept if stays else value)
    elif kept != kept:
        store_f64(record, word, _NAN)


@inline
def merge_min_int(record: I64, source: I64, word: I64) -> None:
    """Keeps the smaller one."""
    min_int(record, word, load_i64(source, word))


@inline
def merge_max_int(record: I64, source: I64, word: I64) -> None:
    """Keeps the larger one."""
    max_int(record, word, load_i64(source, word))


@inline
def merge_min_uint(record: I64, source: I64, word: I64) -> None:
    """Keeps the smaller one."""
    min_uint(record, word, load_u64(source, word))


@inline
def merge_max_uint(record: I64, source: I64, word: I64) -> None:
    """Keeps the larger one."""
    max_uint(record, word, load_u64(source, word))


@inline
def merge_min_float(record: I64, source: I64, word: I64) -> None:
    """Keeps the smaller one."""
    if load_i64(source, word) != NO_FLOAT:
        min_float(record, word, load_f64(source, word))


@inline
def merge_max_float(record: I64, source: I64, word: I64) -> None:
    """Keeps the larger one."""
    if load_i64(source, word) != NO_FLOAT:
        max_float(record, word, load_f64(source, word))


def _make(
    name: str, kind: str, initial: int, add: Callable[..., None], merge: Callable[..., None]
) -> Accumulator:
    return Accumulator(f"{name}_{kind}", (Word(name, kind, initial),), kind, Style.VALUE, add, merge)


_EXTREMES = {
    ("min", "int64"): _make("min", "int64", 2**63 - 1, min_int, merge_min_int),
    ("max", "int64"): _make("max", "int64", -(2**63), max_int, merge_max_int),
    ("min", "uint64"): _make("min", "uint64", -1, min_uint, merge_min_uint),
    ("max", "uint64"): _make("max", "uint64", 0, max_uint, merge_max_uint),
    ("min", "float64"): _make("min", "float64", NO_FLOAT, min_float, merge_min_float),
    ("max", "float64"): _make("max", "float64", NO_FLOAT, max_float, merge_max_float),
}


def _make_kept(name: str, initial: int, add: Callable[..., None]) -> Accumulator:
    words = (Word("best", "int64", initial, saved=False), Word("place", "int64", -1, saved=False))
    return Accumulator(f"{name}_any", words, "int64", Style.RANK, add, add)


_KEPT_EXTREMES = {"min": _make_kept("min", 2**63 - 1, min_int), "max": _make_kept("max", -1, max_int)}


def extreme_of(name: str, data_type: pa.DataType) -> Accumulator:
    """The accumulator of ``min`` or ``max`` for values of a type."""
    kind = decoded_type(data_type)
    return _EXTREMES[name, lane(kind)] if is_word(kind) else _KEPT_EXTREMES[name]
