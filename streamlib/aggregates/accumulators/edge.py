"""The value of the first or last row by event time: words time, [order,] value, null.

Values that are no words are kept beside the records: time, [order,] row, place.

With `order` rows are compared by (time, order), and the result does not depend on arrival. Without, a
tie in time goes to the row that came first (first) or last (last); with it a tie in both, which only rows
made of one row have.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from streamlib.aggregates.accumulators.base import Accumulator, Style, Word
from streamlib.kernels._jit import inline
from streamlib.kernels.choosing import mask_of, store_where
from streamlib.kernels.columns import decoded_type, is_word, lane
from streamlib.kernels.memory import (
    I64,
    load_i64,
    store_pair_if_less,
    store_pair_unless_less,
    store_row_if_before,
    store_row_unless_before,
)

_MIN, _MAX = -(2**63), 2**63 - 1


@inline
def add_first(record: I64, word: I64, time: I64, value: I64) -> None:
    """Replaces when strictly earlier."""
    store_pair_if_less(record, word, time, value)


@inline
def add_first_nullable(record: I64, word: I64, time: I64, value: I64, null: bool) -> None:
    """Replaces when strictly earlier, by a value that may be null."""
    mask = mask_of(time < load_i64(record, word))
    store_where(mask, record, word, time)
    store_where(mask, record, word + 1, value)
    store_where(mask, record, word + 2, np.int64(null))


@inline
def merge_first(record: I64, source: I64, word: I64) -> None:
    """Replaces when strictly earlier."""
    mask = mask_of(load_i64(source, word) < load_i64(record, word))
    for k in range(3):
        store_where(mask, record, word + k, load_i64(source, word + k))


@inline
def add_last(record: I64, word: I64, time: I64, value: I64) -> None:
    """Replaces when not earlier."""
    store_pair_unless_less(record, word, time, value)


@inline
def add_last_nullable(record: I64, word: I64, time: I64, value: I64, null: bool) -> None:
    """Replaces when not earlier, by a value that may be null."""
    mask = mask_of(time >= load_i64(record, word))
    store_where(mask, record, word, time)
    store_where(mask, record, word + 1, value)
    store_where(mask, record, word + 2, np.int64(null))


@inline
def merge_last(record: I64, source: I64, word: I64) -> None:
    """Replaces when not earlier."""
    mask = mask_of(load_i64(source, word) >= load_i64(record, word))
    for k in range(3):
        store_where(mask, record, word + k, load_i64(source, word + k))


@inline
def is_before(record: I64, word: I64, time: I64, order: I64) -> bool:
    """Whether (time, order) is strictly before the two words at `word`."""
    kept = load_i64(record, word)
    if time != kept:
        return bool(time < kept)
    return bool(order < load_i64(record, word + 1))


@inline
def add_first_ordered(record: I64, word: I64, time: I64, order: I64, value: I64) -> None:
    """Replaces when strictly before; the value is not null."""
    store_row_if_before(record, word, time, order, value)


@inline
def add_last_ordered(record: I64, word: I64, time: I64, order: I64, value: I64) -> None:
    """Replaces when not before; the value is not null."""
    store_row_unless_before(record, word, time, order, value)


@inline
def put_ordered(mask: I64, record: I64, word: I64, time: I64, order: I64, value: I64) -> None:
    """Writes the words of a row, but for null, where `mask` is -1."""
    store_where(mask, record, word, time)
    store_where(mask, record, word + 1, order)
    store_where(mask, record, word + 2, value)


@inline
def put_first_ordered(record: I64, word: I64, time: I64, order: I64, value: I64) -> None:
    """Replaces when strictly before; the word behind the value stays."""
    mask = mask_of(is_before(record, word, time, order))
    put_ordered(mask, record, word, time, order, value)


@inline
def add_first_ordered_nullable(record: I64, word: I64, time: I64, order: I64, value: I64, null: bool) -> None:
    """Replaces when strictly before, by a value that may be null."""
    mask = mask_of(is_before(record, word, time, order))
    put_ordered(mask, record, word, time, order, value)
    store_where(mask, record, word + 3, np.int64(null))


@inline
def merge_first_ordered(record: I64, source: I64, word: I64) -> None:
    """Replaces when strictly before."""
    time, order = load_i64(source, word), load_i64(source, word + 1)
    mask = mask_of(is_before(record, word, time, order))
    for k in range(4):
        store_where(mask, record, word + k, load_i64(source, word + k))


@inline
def put_last_ordered(record: I64, word: I64, time: I64, order: I64, value: I64) -> None:
    """Replaces when not before; the word behind the value stays."""
    mask = mask_of(not is_before(record, word, time, order))
    put_ordered(mask, record, word, time, order, value)


@inline
def add_last_ordered_nullable(record: I64, word: I64, time: I64, order: I64, value: I64, null: bool) -> None:
    """Replaces when not before, by a value that may be null."""
    mask = mask_of(not is_before(record, word, time, order))
    put_ordered(mask, record, word, time, order, value)
    store_where(mask, record, word + 3, np.int64(null))


@inline
def merge_last_ordered(record: I64, source: I64, word: I64) -> None:
    """Replaces when not before."""
    time, order = load_i64(source, word), load_i64(source, word + 1)
    mask = mask_of(not is_before(record, word, time, order))
    for k in range(4):
        store_where(mask, record, word + k, load_i64(source, word + k))


_FUNCTIONS: dict[tuple[str, bool], tuple[Callable[..., None], ...]] = {
    ("first", False): (add_first, merge_first, add_first_nullable),
    ("first", True): (add_first_ordered, merge_first_ordered, add_first_ordered_nullable),
    ("last", False): (add_last, merge_last, add_last_nullable),
    ("last", True): (add_last_ordered, merge_last_ordered, add_last_ordered_nullable),
}
_PUT: dict[str, Callable[..., None]] = {"first": put_first_ordered, "last": put_last_ordered}


def _make(name: str, kind: str, ordered: bool) -> Accumulator:
    start = _MAX if name == "first" else _MIN
    place = ("time", "order") if ordered else ("time",)
    words = (*(Word(part, "int64", start) for part in place), Word("value", kind), Word("null", "int64"))
    suffix = "_ordered" if ordered else ""
    add, merge, add_nullable = _FUNCTIONS[name, ordered]
    return Accumulator(f"{name}_{kind}{suffix}", words, kind, Style.EDGE, add, merge, add_nullable)


def _make_kept(name: str, ordered: bool) -> Accumulator:
    plain = _make(name, "int64", ordered)
    words = (
        *plain.words[:-2],
        Word("row", "int64", -1, saved=False),
        Word("place", "int64", -1, saved=False),
    )
    suffix = "_ordered" if ordered else ""
    add = _PUT[name] if ordered else plain.add
    return Accumulator(f"{name}_any{suffix}", words, "int64", Style.ROW, add, add)


_EDGES = {
    (name, kind, ordered): _make(name, kind, ordered)
    for name in ("first", "last")
    for kind in ("int64", "uint64", "float64")
    for ordered in (False, True)
}


_KEPT_EDGES = {
    (name, ordered): _make_kept(name, ordered) for name in ("first", "last") for ordered in (False, True)
}


def edge_of(name: str, data_type: pa.DataType, ordered: bool) -> Accumulator:
    """The accumulator of ``first`` or ``last`` for values of a type.

    Args:
        ordered: rows carry `order`.
    """
    kind = decoded_type(data_type)
    return _EDGES[name, lane(kind), ordered] if is_word(kind) else _KEPT_EDGES[name, ordered]
