"""Fields of CSV text, and their values: numbers, times and text as programs write them.

One kernel finds where fields end, 64 characters at a time; one for each type then reads a column. They
take plain forms only and say so of anything else: who calls them then has a parser of all forms at hand.
What they give is what that gives, to the last bit: a number with a point is a quotient of two integers
that floats hold exactly (Clinger, "How to read floating point numbers accurately", 1990).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.hashing import copy_bytes
from streamlib.kernels.memory import (
    I64,
    count_bits,
    load_f64,
    load_i32,
    load_i64,
    load_u8,
    match_bytes,
    store_f64,
    store_i32,
    store_i64,
    store_u8,
)
from streamlib.kernels.quotes import parity_up_to

Int64s = npt.NDArray[np.int64]

POWERS = 10.0 ** np.arange(23)
"""The powers of ten that floats hold exactly."""

_LINE = 64
_FEED, _RETURN, _ZERO_DIGIT, _MINUS, _POINT = (np.int64(ord(c)) for c in "\n\r0-.")
_BLANK, _T, _COLON = np.int64(ord(" ")), np.int64(ord("T")), np.int64(ord(":"))
_ZERO, _ONE, _TOP = np.uint64(0), np.uint64(1), np.uint64(63)
_ALL = np.uint64(2**64 - 1)
_DIGITS_MAX = 18
_EXACT_MAX = np.int64(2**53)
_PREFIX = 16
"""Date, hour and minute: the times of neighbours have them in common."""


@kernel("int64(int64, int64, int64, int64, int64, int64, int64, int64)")
def split_fields(
    address: I64, size: I64, rest: I64, quote: I64, delimiter: I64, columns: I64, rows: I64, ends: I64
) -> I64:
    """Where fields end; returns how many rows there are, -1 where the text is not plain.

    Plain is text of lines that end with a line feed, with so many fields each; quotes stand around whole
    fields, and there are none within.

    Args:
        address: of the text.
        size: of the text; it ends with a line feed.
        rest: address of the last 64 bytes of the text, behind their whole multiples, and zeros.
        quote: -1 when there is none.
        delimiter: between fields.
        columns: fields of a row.
        rows: how many are expected.
        ends: address of int32 for `rows * columns` places of delimiters and line feeds.
    """
    whole = size // _LINE * _LINE
    odd, was_closed, may_open = _ZERO, _ZERO, _ONE
    wrong = _ZERO
    count, column = np.int64(0), np.int64(0)
    limit = rows * columns
    for begin in range(0, size, _LINE):
        at = address + begin if begin < whole else rest
        feeds = match_bytes(at, _FEED)
        separators = feeds | match_bytes(at, delimiter)
        wrong |= match_bytes(at, _RETURN)
        if quote >= 0:
            quotes = match_bytes(at, quote)
            inside = parity_up_to(quotes) ^ odd
            openers = separators
            separators &= ~inside
            feeds &= ~inside
            opened = quotes & inside
            closed = quotes & ~inside
            wrong |= opened & ~((openers << _ONE) | may_open)
            wrong |= ((closed << _ONE) | was_closed) & ~separators
            odd = _ALL if (inside >> _TOP) != _ZERO else _ZERO
            was_closed, may_open = closed >> _TOP, openers >> _TOP
        if wrong != _ZERO or count + count_bits(separators) > limit:
            return np.int64(-1)
        while separators != _ZERO:
            lowest = separators & (_ZERO - separators)
            separators ^= lowest
            store_i32(ends, count, begin + count_bits(lowest - _ONE))
            count += 1
            column += 1
            is_end = (feeds & lowest) != _ZERO
            wrong |= np.uint64(is_end != (column == columns))
            column = np.int64(0) if is_end else column
    if wrong != _ZERO or odd != _ZERO or column != 0:
        return np.int64(-1)
    return count // columns


@inline
def digit_at(address: I64) -> I64:
    """The value of the digit at `address`; more than 9, or less than 0, where there is none."""
    return np.int64(load_u8(address, 0)) - _ZERO_DIGIT


@inline
def bounds_of(address: I64, ends: I64, field: I64, quote: I64) -> tuple[I64, I64, bool]:
    """Where a field's text begins and ends, and whether it stands in quotes, which are left out."""
    begin = address + (load_i32(ends, field - 1) + 1 if field > 0 else 0)
    end = address + load_i32(ends, field)
    quoted = begin < end and np.int64(load_u8(begin, 0)) == quote
    return (begin + 1, end - 1, True) if quoted else (begin, end, False)


@kernel("int64(int64, int64, int64, int64, int64, int64, int64, int64)")
def read_ints(
    address: I64, ends: I64, column: I64, columns: I64, rows: I64, quote: I64, values: I64, valid: I64
) -> I64:
    """Reads whole numbers of at most 18 digits to int64 at `values`; returns how many rows have none.

    An empty field is null: 0 in the bytes at `valid`. Returns -1 at any other form.
    """
    nulls = np.int64(0)
    for row in range(rows):
        begin, end, quoted = bounds_of(address, ends, row * columns + column, quote)
        store_u8(valid, row, np.uint64(begin < end))
        if begin == end:
            if quoted:
                return np.int64(-1)
            nulls += 1
            store_i64(values, row, 0)
            continue
        negative = np.int64(load_u8(begin, 0)) == _MINUS
        begin += np.int64(negative)
        if begin == end or end - begin > _DIGITS_MAX:
            return np.int64(-1)
        value = np.int64(0)
        wrong = False
        for at in range(begin, end):
            digit = digit_at(at)
            wrong |= (digit < 0) | (digit > 9)
            value = 10 * value + digit
        if wrong:
            return np.int64(-1)
        store_i64(values, row, -value if negative else value)
    return nulls


@kernel("int64(int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def read_floats(
    address: I64,
    ends: I64,
    column: I64,
    columns: I64,
    rows: I64,
    quote: I64,
    values: I64,
    valid: I64,
    powers: I64,
) -> I64:
    """Reads numbers with or without a point to float64 at `values`, else like `read_ints`.

    Args:
        powers: address of `POWERS`.
    """
    nulls = np.int64(0)
    for row in range(rows):
        begin, end, quoted = bounds_of(address, ends, row * columns + column, quote)
        store_u8(valid, row, np.uint64(begin < end))
        if begin == end:
            if quoted:
                return np.int64(-1)
            nulls += 1
            store_f64(values, row, 0.0)
            continue
        negative = np.int64(load_u8(begin, 0)) == _MINUS
        begin += np.int64(negative)
        if begin == end or end - begin > _DIGITS_MAX + 1:
            return np.int64(-1)
        value, point = np.int64(0), end
        wrong = False
        for at in range(begin, end):
            digit = digit_at(at)
            if digit == _POINT - _ZERO_DIGIT and point == end:
                point = at
            else:
                wrong |= (digit < 0) | (digit > 9)
                value = 10 * value + digit
        has_point = point < end
        if wrong or value > _EXACT_MAX or (has_point and (point == begin or point == end - 1)):
            return np.int64(-1)
        number = np.float64(value) / load_f64(powers, end - point - 1 if has_point else 0)
        store_f64(values, row, -number if negative else number)
    return nulls


@inline
def two_digits(address: I64) -> I64:
    """The number of two digits; less than 0, or 100 and more, where that is none."""
    tens, ones = digit_at(address), digit_at(address + 1)
    fine = (tens >= 0) & (tens <= 9) & (ones >= 0) & (ones <= 9)
    return 10 * tens + ones if fine else np.int64(-1)


@inline
def minute_of(address: I64) -> I64:
    """Minutes since 1970 of ``YYYY-MM-DD HH:MM``; -2**62 where that is none, or before 1700 or after 2200."""
    none = np.int64(-(2**62))
    century, years = two_digits(address), two_digits(address + 2)
    month, day = two_digits(address + 5), two_digits(address + 8)
    hour, minute = two_digits(address + 11), two_digits(address + 14)
    between = np.int64(load_u8(address, 10))
    fine = (np.int64(load_u8(address, 4)) == _MINUS) & (np.int64(load_u8(address, 7)) == _MINUS)
    fine &= ((between == _BLANK) | (between == _T)) & (np.int64(load_u8(address, 13)) == _COLON)
    fine &= (century >= 17) & (century <= 21) & (years >= 0) & (month >= 1) & (month <= 12) & (day >= 1)
    fine &= (hour >= 0) & (hour < 24) & (minute >= 0) & (minute < 60)
    if not fine:
        return none
    year = 100 * century + years
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    longest = np.int64(31)
    if month == 2:
        longest = np.int64(29) if leap else np.int64(28)
    elif month == 4 or month == 6 or month == 9 or month == 11:
        longest = np.int64(30)
    if day > longest:
        return none
    # days from civil, by H. Hinnant: years begin with March
    shifted = year - np.int64(month <= 2)
    of_era = shifted % 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    days = (shifted // 400) * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    return (days * 24 + hour) * 60 + minute


@kernel("int64(int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def read_times(
    address: I64,
    ends: I64,
    column: I64,
    columns: I64,
    rows: I64,
    quote: I64,
    values: I64,
    valid: I64,
    fraction: I64,
) -> I64:
    """Reads ``YYYY-MM-DD HH:MM:SS``, with or without a fraction, to int64 at `values`, else like `read_ints`.

    Args:
        fraction: how many digits of a second a unit has: 0, 3, 6 or 9. More are no plain form.
    """
    nulls = np.int64(0)
    units = np.int64(1)
    for _ in range(fraction):
        units *= 10
    last_a = last_b = last_minute = np.int64(0)
    known = False
    for row in range(rows):
        begin, end, quoted = bounds_of(address, ends, row * columns + column, quote)
        store_u8(valid, row, np.uint64(begin < end))
        if begin == end:
            if quoted:
                return np.int64(-1)
            nulls += 1
            store_i64(values, row, 0)
            continue
        length = end - begin
        if length != 19 and (length < 21 or length > 20 + fraction):
            return np.int64(-1)
        a, b = load_i64(begin, 0), load_i64(begin, 1)
        if not known or a != last_a or b != last_b:
            last_minute = minute_of(begin)
            if last_minute == -(2**62):
                return np.int64(-1)
            last_a, last_b, known = a, b, True
        second = two_digits(begin + _PREFIX + 1)
        wrong = (np.int64(load_u8(begin, _PREFIX)) != _COLON) | (second < 0) | (second > 59)
        value = last_minute * 60 + second
        if length > 19:
            wrong |= np.int64(load_u8(begin, 19)) != _POINT
            for at in range(begin + 20, end):
                digit = digit_at(at)
                wrong |= (digit < 0) | (digit > 9)
                value = 10 * value + digit
            for _ in range(length - 20, fraction):
                value *= 10
        else:
            value *= units
        if wrong:
            return np.int64(-1)
        store_i64(values, row, value)
    return nulls


@kernel("int64(int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def read_texts(
    address: I64,
    ends: I64,
    column: I64,
    columns: I64,
    rows: I64,
    quote: I64,
    offsets: I64,
    data: I64,
    valid: I64,
) -> I64:
    """Copies text to `data`, with int32 at `offsets`; returns how many rows have none.

    An empty field is null; an empty one in quotes is an empty text.
    """
    nulls, place = np.int64(0), np.int64(0)
    store_i32(offsets, 0, 0)
    for row in range(rows):
        begin, end, quoted = bounds_of(address, ends, row * columns + column, quote)
        there = (begin < end) | quoted
        store_u8(valid, row, np.uint64(there))
        nulls += np.int64(not there)
        copy_bytes(data + place, begin, end - begin)
        place += end - begin
        store_i32(offsets, row + 1, place)
    return nulls
