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


@kernel(
    "boolean(ints, ints, int64, int64, int64, int64, int64, int64, uint64[:, ::1], int64[::1], int64[::1])"
)
def radix_sort(
    times: Int64s,
    codes: Int64s,
    low: I64,
    unit: I64,
    left_out: I64,
    bits: I64,
    passes: I64,
    place_bits: I64,
    words: Any,
    out_times: Int64s,
    out_codes: Int64s,
) -> bool:
    """Sorts by time, keeping the order of equal ones.

    What is moved is one word a row: its time above its place. A pass counts the digits of the next.

    Args:
        codes: of the rows; none where they are the places of the rows.
        low: the least time.
        unit: times are `low` and whole multiples of it.
        left_out: so many of the lowest bits are no part of a digit: rows that differ in them only, which
            should be few, are put in order one by one.
        bits: of a digit; `passes` digits hold the other bits of every time less `low`, in units.
        place_bits: how many bits hold a place.
        words: two rows of as many words as there are times.

    Returns:
        False where the rows that differ in the lowest bits only are many: then nothing is sorted.
    """
    rows = len(times)
    digit_bits, above, one = np.uint64(bits), np.uint64(place_bits), np.uint64(1)
    mask, lowest = (one << digit_bits) - one, np.uint64(left_out)
    counts = np.zeros((passes + 1, np.int64(mask) + 1), dtype=np.int64)
    count = counts[0]
    for i in range(rows):
        rest = np.uint64(times[i] - low)
        if unit != 1:
            rest //= np.uint64(unit)
        words[0, i] = (rest << above) | np.uint64(i)
        count[np.int64((rest >> lowest) & mask)] += 1
    for number in range(passes):
        shift = above + lowest + digit_bits * np.uint64(number)
        source, target = words[number & 1], words[1 - (number & 1)]
        count, following = counts[number], counts[number + 1]
        begin = np.int64(0)
        for digit in range(len(count)):
            found = count[digit]
            count[digit] = begin
            begin += found
        for i in range(rows):
            word = source[i]
            rest = word >> shift
            here = np.int64(rest & mask)
            place = count[here]
            count[here] = place + 1
            target[place] = word
            following[np.int64((rest >> digit_bits) & mask)] += 1
    ordered, places = words[passes & 1], (one << above) - one
    if left_out > 0:
        moves = np.int64(0)
        for i in range(1, rows):
            word, at = ordered[i], np.int64(i)
            if word >= ordered[i - 1]:
                continue
            while at > 0 and ordered[at - 1] > word:
                ordered[at] = ordered[at - 1]
                at -= np.int64(1)
            ordered[at] = word
            moves += i - at
            if moves > rows:
                return False
    for i in range(rows):
        word = ordered[i]
        out_times[i] = low + np.int64(word >> above) * unit
        out_codes[i] = np.int64(word & places)
    if len(codes) > 0:
        for i in range(rows):
            out_codes[i] = codes[out_codes[i]]
    return True


@kernel("void(ints, ints, ints, ints, int64[::1], int64[::1])")
def merge_by_time(
    times: Int64s, codes: Int64s, others: Int64s, other_codes: Int64s, out_times: Int64s, out_codes: Int64s
) -> None:
    """Merges rows of two batches, each in the order of time; of one time those of the first stand first.

    Which row is next is hard to foretell, so there is no branch for it.

    Args:
        times, codes: of the first batch, 0.
        others, other_codes: of the second, whose codes become those of batch 1.
    """
    one, two, at, second = np.int64(0), np.int64(0), np.int64(0), np.int64(1) << 32
    while one < len(times) and two < len(others):
        time, other, code, other_code = times[one], others[two], codes[one], other_codes[two] | second
        takes = np.int64(other < time)
        out_times[at] = time ^ ((time ^ other) & -takes)
        out_codes[at] = code ^ ((code ^ other_code) & -takes)
        two += takes
        one += np.int64(1) - takes
        at += np.int64(1)
    for i in range(one, len(times)):
        out_times[at + i - one], out_codes[at + i - one] = times[i], codes[i]
    for i in range(two, len(others)):
        out_times[at + i - two], out_codes[at + i - two] = others[i], other_codes[i] | second


@kernel("int64(ints, int64[::1])")
def spread(times: Int64s, out: Int64s) -> I64:
    """How often times fall, of which there is one at least; the least and the largest are written to `out`."""
    low, high, falls = times[0], times[0], np.int64(0)
    for i in range(1, len(times)):
        falls += np.int64(times[i] < times[i - 1])
        low, high = min(low, times[i]), max(high, times[i])
    out[0], out[1] = low, high
    return falls


@kernel("int64(ints, int64[::1], int64[::1], boolean, int64, int64[::1])")
def part_rows(times: Int64s, codes: Int64s, work: Int64s, first: bool, before: I64, low: Int64s) -> I64:
    """Puts the rows with a time below `before` to the front of `codes`; both parts stay in their order.

    Args:
        times: of all rows.
        codes: places of some of them.
        work: as many words, to work with.
        first: whether the rows are all, and `codes` has yet to be written.
        low: the least time of the others is written there; what stood there where there are none.

    Returns:
        How many stand in front.
    """
    going, staying, least = np.int64(0), np.int64(0), np.int64(2**63 - 1)
    for i in range(len(codes)):
        code = np.int64(i) if first else codes[i]
        time = times[code]
        stays = np.int64(time >= before)
        codes[going] = code
        work[staying] = code
        going += np.int64(1) - stays
        staying += stays
        if time >= before:
            least = min(least, time)
    if staying > 0:
        low[0] = least
    for i in range(staying):
        codes[going + i] = work[i]
    return going


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
        codes: negative ones name the first row.
    """
    if width == 8 and len(values) == 1:
        for i in range(len(codes)):
            code = codes[i]
            store_i64(out, i, load_i64(values[0], code & ~(code >> 63)))
        return
    if width == 8:
        for i in range(len(codes)):
            code = codes[i]
            code &= ~(code >> 63)
            store_i64(out, i, load_i64(values[code >> 32], code & 0xFFFFFFFF))
        return
    for i in range(len(codes)):
        code = codes[i]
        code &= ~(code >> 63)
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
        code &= ~(code >> 63)
        batch = code >> 32
        out[i] = np.uint8(
            validity[batch] == 0 or is_valid(validity[batch], bits[batch] + (code & 0xFFFFFFFF))
        )


@kernel("int64(ints, ints, ints, ints, int32[::1], int64, int64)")
def gather_bytes(
    offsets: Int64s, data: Int64s, ends: Int64s, codes: Int64s, places: Any, out: I64, limit: I64
) -> I64:
    """The bytes of the rows named by `codes`, one behind the other, to the address `out`.

    Args:
        offsets: by batch, the address of its first row's offset, an int32.
        data, ends: by batch, the address that its offsets count from, and the end of the readable memory.
        places: where the bytes of each row begin in the result, and where the last one's end.
        out: of `limit` bytes, and 8 to spare.

    Returns:
        How many bytes there are; more than `limit` where they have not all been written.
    """
    total = np.int64(0)
    for i in range(len(codes)):
        code = codes[i]
        batch, row = code >> 32, code & 0xFFFFFFFF
        base = offsets[batch]
        begin = load_i32(base, row)
        length = load_i32(base, row + 1) - begin
        places[i] = total
        target = out + total
        total += length
        if total > limit:
            continue
        source = data[batch] + begin
        if length <= 8 and source + 8 <= ends[batch]:
            store_i64(target, 0, load_i64(source, 0))  # what is too much is overwritten by the next row
        elif length >= 8:
            copy_bytes(target, source, length)
        else:
            for byte in range(length):
                store_u8(target, byte, load_u8(source, byte))
    places[len(codes)] = min(total, limit)
    return total


@kernel("void(ints, ints, int64[::1])")
def chunk_codes(places: Int64s, begins: Int64s, out: Int64s) -> None:
    """The codes of rows by their places in batches that follow one another; 0 for negative places.

    Args:
        begins: by batch, the place of its first row; and behind them where the last one ends.
    """
    batch = np.int64(0)
    for i in range(len(places)):
        place = places[i]
        if place < 0:
            out[i] = 0
            continue
        while place < begins[batch]:
            batch -= np.int64(1)
        while place >= begins[batch + 1]:
            batch += np.int64(1)
        out[i] = (batch << 32) | (place - begins[batch])
