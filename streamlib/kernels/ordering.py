"""The order of rows by time: a radix sort, which costs a batch whose rows are out of order a few passes.

Least significant digit first (Knuth, TAOCP 3, 5.2.5), so that rows of one time keep their order. A word holds the
time after the earliest one and, in its low bits, the row: one word moves, and the sorted words are the order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import kernel
from streamlib.kernels.memory import I64

Int64s = npt.NDArray[np.int64]

DIGIT_BITS = 11
DIGITS_MAX = 5
"""Above so many passes, which times of more than a year take, comparing is as fast."""
ROWS_MIN = 512
"""Below so many rows the histograms cost more than comparing."""


def time_order(times: Int64s) -> Int64s:
    """The rows by time; those of one time stay in their order.

    Args:
        times: ns.

    >>> time_order(np.array([30, 10, 20, 10])).tolist()
    [1, 3, 2, 0]
    """
    rows = len(times)
    if rows < ROWS_MIN:
        return np.argsort(times, kind="stable")
    low = int(times.min())
    bits, shift = (int(times.max()) - low).bit_length(), rows.bit_length()
    if bits > DIGIT_BITS * DIGITS_MAX or bits + shift > 63:
        return np.argsort(times, kind="stable")
    order = np.empty(rows, dtype=np.int64)
    digits = -(-bits // DIGIT_BITS)
    counts = np.zeros((max(1, digits), 1 << DIGIT_BITS), dtype=np.int64)
    words, spare = np.empty(rows, dtype=np.int64), np.empty(rows, dtype=np.int64)
    sort_words(np.ascontiguousarray(times), low, shift, digits, counts, words, spare, order)
    return order


@kernel("void(ints, int64, int64, int64, int64[:, ::1], int64[::1], int64[::1], int64[::1])")
def sort_words(
    times: Int64s,
    low: I64,
    shift: I64,
    digits: I64,
    counts: Int64s,
    words: Int64s,
    spare: Int64s,
    order: Int64s,
) -> None:
    """Writes the rows by time to `order`.

    Args:
        low: the earliest time, ns.
        shift: bits for the row's number.
        digits: how many hold the time after `low`.
        counts: zeros, for each digit.
        words, spare: room.
    """
    rows = len(times)
    mask = np.int64((1 << DIGIT_BITS) - 1)
    for i in range(rows):
        after = times[i] - low
        words[i] = (after << shift) | np.int64(i)
        for digit in range(digits):
            counts[digit, (after >> np.int64(DIGIT_BITS * digit)) & mask] += 1
    one, other = words, spare
    for digit in range(digits):
        place = shift + np.int64(DIGIT_BITS * digit)
        total = np.int64(0)
        for value in range(mask + 1):
            here = counts[digit, value]
            counts[digit, value] = total
            total += here
        for i in range(rows):
            word = one[i]
            value = (word >> place) & mask
            other[counts[digit, value]] = word
            counts[digit, value] += 1
        one, other = other, one
    row = np.int64((np.int64(1) << shift) - 1)
    for i in range(rows):
        order[i] = one[i] & row
