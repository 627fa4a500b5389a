"""The row in which a second column is least: words by, time, [order,] row, place.

Rows are compared by (by, time, order), or (by, time) and arrival; `by` is an integer that puts
the wanted row first. `latest` is the last row by (time, order) of those where `by` is not null.
Values lie beside the records, whatever their type.
"""

from __future__ import annotations

from collections.abc import Callable

from streamlib.aggregates.accumulators.base import Accumulator, Style, Word
from streamlib.aggregates.accumulators.edge import is_before
from streamlib.kernels._jit import inline
from streamlib.kernels.memory import I64, load_i64, store_i64

_MIN, _MAX = -(2**63), 2**63 - 1


@inline
def add_least(record: I64, word: I64, by: I64, time: I64, row: I64) -> None:
    """Replaces when (by, time) is strictly before."""
    kept = load_i64(record, word)
    if by < kept or (by == kept and time < load_i64(record, word + 1)):
        store_i64(record, word, by)
        store_i64(record, word + 1, time)
        store_i64(record, word + 2, row)


@inline
def add_least_ordered(record: I64, word: I64, by: I64, time: I64, order: I64, row: I64) -> None:
    """Replaces when (by, time, order) is strictly before."""
    kept = load_i64(record, word)
    if by < kept or (by == kept and is_before(record, word + 1, time, order)):
        store_i64(record, word, by)
        store_i64(record, word + 1, time)
        store_i64(record, word + 2, order)
        store_i64(record, word + 3, row)


@inline
def add_latest(record: I64, word: I64, by: I64, time: I64, row: I64) -> None:
    """Replaces when not earlier."""
    if time >= load_i64(record, word + 1):
        store_i64(record, word + 1, time)
        store_i64(record, word + 2, row)


@inline
def add_latest_ordered(record: I64, word: I64, by: I64, time: I64, order: I64, row: I64) -> None:
    """Replaces when not before."""
    if not is_before(record, word + 1, time, order):
        store_i64(record, word + 1, time)
        store_i64(record, word + 2, order)
        store_i64(record, word + 3, row)


_ADD: dict[tuple[str, bool], Callable[..., None]] = {
    ("least", False): add_least,
    ("least", True): add_least_ordered,
    ("latest", False): add_latest,
    ("latest", True): add_latest_ordered,
}


def _make(name: str, ordered: bool) -> Accumulator:
    start = _MAX if name == "least" else _MIN
    place = ("time", "order") if ordered else ("time",)
    words = (
        Word("by", "int64", start),
        *(Word(part, "int64", start) for part in place),
        Word("row", "int64", -1, saved=False),
        Word("place", "int64", -1, saved=False),
    )
    add = _ADD[name, ordered]
    suffix = "_ordered" if ordered else ""
    return Accumulator(f"{name}_by{suffix}", words, "int64", Style.BY, add, add)


_BEST = {(name, ordered): _make(name, ordered) for name in ("least", "latest") for ordered in (False, True)}


def best_by(name: str, ordered: bool) -> Accumulator:
    """The accumulator of the ``least`` row by another column, or the ``latest`` where that is not null.

    Args:
        ordered: rows carry `order`.
    """
    return _BEST[name, ordered]
