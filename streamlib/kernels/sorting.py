"""Rows by time: a radix sort of int64, and rows gathered from several batches at once.

A row is named by a code: the number of its batch above 32 bits of its place in it. `radix_sort` is the
least-significant-digit sort of Knuth (TAOCP 3, 5.2.5) with digits of at most 11 bits, over the range that the
times have.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import kernel
from streamlib.kernels.columns import is_valid
from streamlib.kernels.hashing import copy_bytes
from streamlib.kernels.memory import I64, load_i32, load_i64, load_u8, store_i64, store_u8

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.uint8]

DIGIT_BITS = 11
TIES_MAX = 64
"""Rows of one time that are put into order one by one."""


@kernel("void(ints, ints, int64, int64, int64, int64, int64, uint64[:, ::1], int64[::1], int64[::1])")
def radix_sort(
    times: Int64s,
    codes: Int64s,
    low: I64,
    unit: I64,
    bits: I64,
    passes: I64,
    place_bits: I64,
    words: Any,
    out_times: Int64s,
    out_codes: Int64s,
) -> None:
    """Sorts by time, keeping the order of equal ones.

    What is moved is one word a row: its time above its place.

    Args:
        low: the least time.
        unit: times are `low` and whole multiples of it.
        bits: of a digit; `passes` digits hold every time less `low`, in units.
        place_bits: how many bits hold a place.
        words: two rows of as many words as there are times.
    """
    rows = len(times)
    digit_bits, above, one = np.uint64(bits), np.uint64(place_bits), np.uint64(1)
    mask = (one << digit_bits) - one
    counts = np.zeros((passes + 1, np.int64(mask) + 1), dtype=np.uint64)
    for i in range(rows):
        rest = np.uint64(times[i] - low)
        if unit != 1:
            rest //= np.uint64(unit)
        words[0, i] = (rest << above) | np.uint64(i)
    for number in range(passes):
        shift = above + digit_bits * np.uint64(number)
        source, target, count = words[number & 1], words[1 - (number & 1)], counts[number]
        for i in range(rows):
            count[(source[i] >> shift) & mask] += one
        begin = np.uint64(0)
        for digit in range(len(count)):
            found = count[digit]
            count[digit] = begin
            begin += found
        for i in range(rows):
            word = source[i]
            digit = (word >> shift) & mask
            place = count[digit]
            count[digit] = place + one
            target[place] = word
    sorted_words, places = words[passes & 1], (one << above) - one
    for i in range(rows):
        place = sorted_words[i] & places
        out_times[i] = times[place]
        out_codes[i] = codes[place]


@kernel("boolean(ints, int64[::1], int64[::1])")
def order_ties(times: Int64s, codes: Int64s, orders: Int64s) -> bool:
    """Puts rows of one time, which stand together, in the order of `orders`.

    Returns:
        False where more than `TIES_MAX` of one time are out of order: then somebody else has to sort.
    """
    begin = np.int64(0)
    for i in range(1, len(times)):
        if times[i] != times[i - 1]:
            begin = np.int64(i)
            continue
        if orders[i] >= orders[i - 1]:
            continue
        if i - begin >= TIES_MAX:
            return False
        order, code, at = orders[i], codes[i], np.int64(i)
        while at > begin and orders[at - 1] > order:
            orders[at] = orders[at - 1]
            codes[at] = codes[at - 1]
            at -= np.int64(1)
        orders[at] = order
        codes[at] = code
    return True


@kernel("void(ints, ints, int64, int64)")
def gather_values(values: Int64s, codes: Int64s, width: I64, out: I64) -> None:
    """Values of `width` bytes of the rows named by `codes`, to the address `out`.

    Args:
        values: by batch, the address of its first row's value.
    """
    if width == 8:
        for i in range(len(codes)):
            code = codes[i]
            store_i64(out, i, load_i64(values[code >> 32], code & 0xFFFFFFFF))
        return
    for i in range(len(codes)):
        code = codes[i]
        source, target = values[code >> 32] + (code & 0xFFFFFFFF) * width, out + i * width
        for byte in range(width):
            store_u8(target, byte, load_u8(source, byte))


@kernel("void(ints, ints, ints, uint8[::1])")
def gather_validity(validity: Int64s, bits: Int64s, codes: Int64s, out: Bools) -> None:
    """A 1 for each row that is not null.

    Args:
        validity, bits: by batch, the address of its bitmap (0: no nulls) and its first row's bit.
    """
    for i in range(len(codes)):
        code = codes[i]
        batch = code >> 32
        out[i] = np.uint8(
            validity[batch] == 0 or is_valid(validity[batch], bits[batch] + (code & 0xFFFFFFFF))
        )


@kernel("int64(ints, ints, int64[::1])")
def gather_lengths(offsets: Int64s, codes: Int64s, out: Int64s) -> I64:
    """Where the bytes of each row begin in the result, and behind them where they end, which is returned.

    Args:
        offsets: by batch, the address of its first row's offset, an int32.
    """
    total = np.int64(0)
    for i in range(len(codes)):
        code = codes[i]
        base, row = offsets[code >> 32], code & 0xFFFFFFFF
        out[i] = total
        total += load_i32(base, row + 1) - load_i32(base, row)
    out[len(codes)] = total
    return total


@kernel("void(ints, ints, ints, ints, ints, int64)")
def gather_bytes(
    offsets: Int64s, data: Int64s, ends: Int64s, codes: Int64s, places: Int64s, out: I64
) -> None:
    """The bytes of the rows named by `codes`, to the address `out`, which has 8 bytes to spare.

    Args:
        data, ends: by batch, the address that its offsets count from, and the end of the readable memory.
        places: where the bytes of each row go, as `gather_lengths` found.
    """
    for i in range(len(codes)):
        code = codes[i]
        batch = code >> 32
        begin = load_i32(offsets[batch], code & 0xFFFFFFFF)
        length = places[i + 1] - places[i]
        source, target = data[batch] + begin, out + places[i]
        if length <= 8 and source + 8 <= ends[batch]:
            store_i64(target, 0, load_i64(source, 0))  # what is too much is overwritten by the next row
        elif length >= 8:
            copy_bytes(target, source, length)
        else:
            for byte in range(length):
                store_u8(target, byte, load_u8(source, byte))
