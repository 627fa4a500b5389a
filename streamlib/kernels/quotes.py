"""Where records of quoted text end: 64 characters at a time, or, where quotes are not regular, one by one.

Each step makes a word with a bit for each character: which are quotes, which line ends, and, by the
parity of the quotes before, which lie within quotes (as simdjson does: Langdale and Lemire, "Parsing
gigabytes of JSON per second"). What is counted is counted in these words, so that no branch depends
on the text but one that asks whether a record ends within them. This needs quotes to stand only around
fields, and doubled within them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.memory import I64, count_bits, load_u8, match_bytes

_FEED, _RETURN = np.int64(10), np.int64(13)
_LINE = 64
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_TOP = np.uint64(63)
_ALL = np.uint64(2**64 - 1)


class QuotedCut(NamedTuple):
    """The whole records at the front of some text.

    Attributes:
        nbytes: how much of the text they take.
        records: line ends outside quotes.
        lines: line ends.
        blank: line ends outside quotes right behind another, or at the front of the text.
        inside: whether the text ends within quotes.
        open: whether the text ends with a record that has no line end.
    """

    nbytes: int
    records: int
    lines: int
    blank: int
    inside: bool
    open: bool


def cut_regular(data: bytes, quote: int, delimiter: int, ended: bool) -> QuotedCut | None:
    """The records up to the last line feed outside quotes, or when `ended` all of the text.

    None where a quote that opens neither stands at the beginning of a field nor is the second of two.
    A line ends with a line feed, a carriage return, or both.

    >>> cut_regular(b'a,"x\\n"\\nb,"', ord('"'), ord(","), ended=False)
    QuotedCut(nbytes=7, records=1, lines=2, blank=0, inside=True, open=True)
    """
    chars = np.frombuffer(data, np.uint8)
    whole = len(chars) // _LINE * _LINE
    rest = np.zeros(_LINE, np.uint8)
    rest[: len(chars) - whole] = chars[whole:]
    found = np.zeros(6, np.int64)
    regular = count_regular(
        chars.ctypes.data, whole, rest.ctypes.data, len(chars), quote, delimiter, ended, found
    )
    return _cut_of(found) if regular else None


def cut_any(data: bytes, quote: int, delimiter: int, escape: int, ended: bool) -> QuotedCut:
    """The same for any text: a quote opens only at the beginning of a field, elsewhere it is a plain character.

    Args:
        data: the text.
        quote: -1 when there is none.
        delimiter: between fields.
        escape: the character behind which any other is plain; -1 when there is none.
        ended: whether nothing follows.
    """
    found = np.zeros(6, np.int64)
    address = np.frombuffer(data, np.uint8).ctypes.data
    count_any(address, len(data), quote, delimiter, escape, ended, found)
    return _cut_of(found)


def _cut_of(found: npt.NDArray[np.int64]) -> QuotedCut:
    nbytes, records, lines, blank, inside, is_open = found.tolist()
    return QuotedCut(nbytes, records, lines, blank, bool(inside), bool(is_open))


@inline
def parity_up_to(word: I64) -> I64:
    """For each bit, whether the bits up to it, and itself, are an odd number.

    >>> bin(int(parity_up_to(np.uint64(0b1000100))) & 0b11111111)
    '0b111100'
    """
    for shift in (1, 2, 4, 8, 16, 32):
        word ^= word << np.uint64(shift)
    return word


@kernel("boolean(int64, int64, int64, int64, int64, int64, boolean, int64[::1])")
def count_regular(
    address: I64,
    whole: I64,
    rest: I64,
    size: I64,
    quote: I64,
    delimiter: I64,
    ended: bool,
    found: npt.NDArray[np.int64],
) -> bool:
    """Writes the values of a `QuotedCut` to `found`; returns whether the quotes are regular.

    Args:
        address: of the text.
        whole: how much of it are whole lines of 64 bytes.
        rest: address of the line with what remains, and zeros behind it.
        size: of the text.
    """
    odd, was_return = _ZERO, _ZERO  # of the character before: all bits, one bit
    was_break, may_open = _ONE, _ONE
    wrong = _ZERO
    records = lines = blank = nbytes = np.int64(0)
    all_records = all_lines = all_blank = np.int64(0)
    for begin in range(0, size, _LINE):
        at = address + begin if begin < whole else rest
        quotes = match_bytes(at, quote)
        feeds = match_bytes(at, _FEED)
        returns = match_bytes(at, _RETURN)
        breaks = feeds | returns
        openers = breaks | quotes | match_bytes(at, delimiter)
        inside = parity_up_to(quotes) ^ odd
        wrong |= quotes & inside & ~((openers << _ONE) | may_open)
        first = breaks & ~(feeds & ((returns << _ONE) | was_return))
        outside = first & ~inside
        empty = outside & ((breaks << _ONE) | was_break)
        ends = feeds & ~inside
        if ends != _ZERO and not ended:
            for shift in (1, 2, 4, 8, 16, 32):
                ends |= ends >> np.uint64(shift)  # up to the highest bit
            nbytes = begin + count_bits(ends)
            records = all_records + count_bits(outside & ends)
            lines = all_lines + count_bits(first & ends)
            blank = all_blank + count_bits(empty & ends)
        all_records += count_bits(outside)
        all_lines += count_bits(first)
        all_blank += count_bits(empty)
        odd = _ALL if (inside >> _TOP) != _ZERO else _ZERO
        was_return, was_break, may_open = returns >> _TOP, breaks >> _TOP, openers >> _TOP
    if ended:
        nbytes, records, lines, blank = size, all_records, all_lines, all_blank
    found[0], found[1], found[2], found[3] = nbytes, records, lines, blank
    last = np.int64(load_u8(rest, size - whole - 1) if size > whole else load_u8(address, size - 1))
    found[4] = np.int64(odd != _ZERO)
    found[5] = np.int64(odd != _ZERO or (last != _FEED and last != _RETURN))
    return wrong == _ZERO


_START, _PLAIN, _QUOTED, _CLOSING = np.int64(0), np.int64(1), np.int64(2), np.int64(3)


@kernel("void(int64, int64, int64, int64, int64, boolean, int64[::1])")
def count_any(
    address: I64,
    size: I64,
    quote: I64,
    delimiter: I64,
    escape: I64,
    ended: bool,
    found: npt.NDArray[np.int64],
) -> None:
    """Writes the values of a `QuotedCut` to `found`. Where a quote has come within quotes, it may be doubled."""
    state, before, record = _START, np.int64(-1), np.int64(0)
    is_escaped = is_return = False  # of this character, and of a return before it that has ended a record
    records = lines = blank = np.int64(0)
    for i in range(size):
        char = np.int64(load_u8(address, i))
        is_break = (char == _FEED) | (char == _RETURN)
        if not (is_break | (char == quote) | (char == delimiter) | (char == escape) | is_escaped):
            state, is_return, before = state if state == _QUOTED else _PLAIN, False, char
            continue
        lines += np.int64(is_break and not (char == _FEED and before == _RETURN))
        before = char
        if is_escaped:
            is_escaped = is_return = False
        elif char == escape and escape != quote:
            is_escaped, is_return = True, False
            state = _QUOTED if state == _QUOTED else _PLAIN
        elif state == _QUOTED:
            state = _CLOSING if char == quote else _QUOTED
        elif char == quote and ((state == _CLOSING) | (state == _START)):
            state, is_return = _QUOTED, False
        elif is_break:
            if not (is_return and char == _FEED):
                records += 1
                blank += np.int64(i == record)
            is_return = char == _RETURN
            state, record = _START, np.int64(i + 1)
            if char == _FEED and not ended:
                found[0], found[1], found[2], found[3] = i + 1, records, lines, blank
        else:
            state, is_return = _START if char == delimiter else _PLAIN, False
    if ended:
        found[0], found[1], found[2], found[3] = size, records, lines, blank
    found[4], found[5] = np.int64(state == _QUOTED), np.int64(record < size)
