"""Values sorted within the lists of each key: keys as integers that compare as the values do, and kernels on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.columns import decoded, is_word, values_of
from streamlib.kernels.memory import I64

Int64s = npt.NDArray[np.int64]

LAST = 2**63 - 1
"""The key of a value that comes after all others, such as NaN."""
_INSERT_MAX = 256
_RUN = 16


def sortable(values: pa.Array) -> Int64s:
    """Integers that compare as values of one machine word do; NaN is the largest, those of nulls are arbitrary.

    >>> keys = sortable(pa.array([2.5, -1.0, float("nan"), -0.0, 0.0]))
    >>> np.argsort(keys, kind="stable").tolist()
    [1, 3, 4, 0, 2]
    """
    numbers = values_of(values)
    if numbers.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # a NaN that signals is a NaN
            floats = numbers.astype(np.float64) + 0.0
        nan = np.isnan(floats)
        words: Int64s = floats.view(np.int64)
        words = words ^ ((words >> 63) & np.int64(LAST))
        words[nan] = LAST
        return words
    if numbers.dtype == np.uint64:
        return (numbers ^ np.uint64(2**63)).view(np.int64)
    return np.ascontiguousarray(numbers, dtype=np.int64)


def descending(values: pa.Array) -> Int64s:
    """Integers that are smaller for larger values; null comes last. Equal values have equal keys."""
    values = decoded(values)
    if is_word(values.type):
        keys = ~sortable(values)
    elif pa.types.is_null(values.type):
        keys = np.full(len(values), LAST, dtype=np.int64)
    else:
        ranks: Any = pc.rank(values, "descending", tiebreaker="dense")
        keys = np.asarray(ranks).astype(np.int64)
    if values.null_count:
        keys[np.asarray(values.is_null())] = LAST
    return keys


def ascending(values: pa.Array) -> Int64s:
    """Integers that are larger for larger values; there are no nulls. NaN is the largest."""
    values = decoded(values)
    if is_word(values.type):
        return sortable(values)
    return np.asarray(pc.rank(values, "ascending", tiebreaker="dense")).astype(np.int64)


def in_order(offsets: Int64s, keys: Sequence[Int64s]) -> Int64s:
    """The rows of each list in the order of their keys, the first key deciding first. Stable.

    Args:
        offsets: where each list begins, and the end.
    """
    rows = np.ascontiguousarray(np.stack(keys, axis=1)) if keys else np.zeros((int(offsets[-1]), 1), np.int64)
    order = np.arange(len(rows), dtype=np.int64)
    sort_lists(offsets, rows, order, np.empty(len(rows), dtype=np.int64))
    return order


def heads(offsets: Int64s, keys: Sequence[Int64s], count: int) -> tuple[Int64s, Int64s]:
    """The first `count` rows of each list in the order of their keys, and where those of each list begin."""
    sizes = np.minimum(np.diff(offsets), count)
    begins = np.concatenate([[0], np.cumsum(sizes)])
    if count > _INSERT_MAX:
        order = in_order(offsets, keys)
        place = np.arange(len(order)) - np.repeat(offsets[:-1], np.diff(offsets))
        return order[place < count], begins
    out = np.empty(int(begins[-1]), dtype=np.int64)
    first_of_lists(offsets, np.ascontiguousarray(np.stack(keys, axis=1)), begins, out)
    return out, begins


@inline
def is_after(keys: Int64s, a: I64, b: I64) -> bool:
    """Whether row `a` comes after row `b`; not if they are equal."""
    for k in range(keys.shape[1]):
        if keys[a, k] != keys[b, k]:
            return bool(keys[a, k] > keys[b, k])
    return False


@kernel("void(ints, int64[:,::1], int64[::1], int64[::1])")
def sort_lists(offsets: Int64s, keys: Int64s, order: Int64s, room: Int64s) -> None:
    """Sorts the rows of each list by a merge sort, which is fast where they nearly are in order.

    Args:
        order: the rows; sorted in place.
        room: as long.
    """
    for row in range(len(offsets) - 1):
        low, high = offsets[row], offsets[row + 1]
        for begin in range(low, high, _RUN):
            for i in range(begin + 1, min(begin + _RUN, high)):
                item = order[i]
                j = i - 1
                while j >= begin and is_after(keys, order[j], item):
                    order[j + 1] = order[j]
                    j -= 1
                order[j + 1] = item
        width = np.int64(_RUN)
        while width < high - low:
            for begin in range(low, high - width, 2 * width):
                middle, end = begin + width, min(begin + 2 * width, high)
                if not is_after(keys, order[middle - 1], order[middle]):
                    continue
                for i in range(begin, middle):
                    room[i] = order[i]
                i, j, at = begin, middle, begin  # type: ignore[assignment]
                while i < middle:
                    if j < end and is_after(keys, room[i], order[j]):
                        order[at] = order[j]
                        j += 1
                    else:
                        order[at] = room[i]
                        i += 1
                    at += 1
            width *= 2


@kernel("void(ints, int64[:,::1], ints, int64[::1])")
def first_of_lists(offsets: Int64s, keys: Int64s, begins: Int64s, out: Int64s) -> None:
    """Writes the first rows of each list, in order, from its place in `begins` on to that of the next one."""
    for row in range(len(offsets) - 1):
        begin, end = begins[row], begins[row + 1]
        filled = begin
        for item in range(offsets[row], offsets[row + 1]):
            if filled == end:
                if not is_after(keys, out[end - 1], item):
                    continue
                j = end - 2
            else:
                j = filled - 1
                filled += 1
            while j >= begin and is_after(keys, out[j], item):
                out[j + 1] = out[j]
                j -= 1
            out[j + 1] = item
