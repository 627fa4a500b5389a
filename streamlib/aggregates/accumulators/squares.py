"""The sum of squares in three doubles: exact where a variance is about to cancel nearly all of it.

The square of a double has up to 106 bits: the product rounded, and what rounding lost (Dekker 1971).
Both are added by TwoSum; what that loses goes into the second double, what is lost there into the
third. Together they hold 159 bits, so that for values of 1e9 that differ by 1e-3 the variance is
right to the last place, whatever the order of addition.
"""

from __future__ import annotations

from streamlib.aggregates.accumulators.base import Accumulator, Style, Word
from streamlib.kernels._jit import inline
from streamlib.kernels.memory import F64, I64, load_f64, store_f64

_SPLITTER = 134217729.0  # 2**27 + 1
_SPLIT_MAX = 6.69692879491417e299  # 2**996: from here on splitting overflows


@inline
def product_error(a: F64, b: F64, product: F64) -> F64:
    """`a * b - product`, exactly, for `product` = `a * b` rounded; 0 where it cannot be told."""
    if not (abs(a) < _SPLIT_MAX and abs(b) < _SPLIT_MAX and abs(product) < _SPLIT_MAX):
        return 0.0
    wide = _SPLITTER * a
    a_high = wide - (wide - a)
    a_low = a - a_high
    wide = _SPLITTER * b
    b_high = wide - (wide - b)
    b_low = b - b_high
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


@inline
def sum_error(a: F64, b: F64, total: F64) -> F64:
    """`a + b - total`, exactly, for `total` = `a + b` rounded (Knuth)."""
    part = total - a
    return (a - (total - part)) + (b - part)


@inline
def add_term(record: I64, word: I64, value: F64) -> None:
    """Adds one double to the three at `word`."""
    before = load_f64(record, word)
    after = before + value
    lost = sum_error(before, value, after)
    store_f64(record, word, after)
    before = load_f64(record, word + 1)
    after = before + lost
    store_f64(record, word + 1, after)
    store_f64(record, word + 2, load_f64(record, word + 2) + sum_error(before, lost, after))


@inline
def add_low_term(record: I64, word: I64, value: F64) -> None:
    """Adds one double to the second and third at `word`."""
    before = load_f64(record, word + 1)
    after = before + value
    store_f64(record, word + 1, after)
    store_f64(record, word + 2, load_f64(record, word + 2) + sum_error(before, value, after))


@inline
def add_square(record: I64, word: I64, value: F64) -> None:
    """Adds the square of one float."""
    square = value * value
    add_term(record, word, square)
    add_low_term(record, word, product_error(value, value, square))


@inline
def merge_squares(record: I64, source: I64, word: I64) -> None:
    """Adds another sum of squares."""
    add_term(record, word, load_f64(source, word))
    add_low_term(record, word, load_f64(source, word + 1))
    store_f64(record, word + 2, load_f64(record, word + 2) + load_f64(source, word + 2))


SQUARES = Accumulator(
    "squares",
    (Word("sum", "float64"), Word("lost", "float64"), Word("rest", "float64")),
    "float64",
    Style.VALUE,
    add_square,
    merge_squares,
)
