"""Windows that are full after so many rows, or when a sum is reached: tick bars, volume bars, dollar bars.

Such a bar has no place in time before its rows come. It begins with the first row of a key after the bar
before it, and the row that fills it is its last one: no row is split between two bars. Those that overlap
end with every so many rows of a key, and have its last rows.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa

from streamlib.errors import BuildError, TypeMismatchError
from streamlib.expr import Expr, col
from streamlib.state import BarSize

WIDEST = 38
"""Digits of decimals that have room in 128 bits."""


@dataclass(frozen=True)
class RowWindow:
    """Bars of so many rows of a key.

    Attributes:
        rows: how many.
        partial: whether bars that are not full come out too.
    """

    rows: int
    partial: bool = False

    @property
    def measure(self) -> Expr | None:
        """What is added up; None where rows are counted."""
        return None

    def bar_size(self, kind: pa.DataType | None) -> BarSize:
        """When a bar is full."""
        return BarSize.of_rows(self.rows)

    def describe(self) -> str:
        """As the user wrote it."""
        return f"tumbling(rows={self.rows}{', partial=True' if self.partial else ''})"


@dataclass(frozen=True)
class RowHops(RowWindow):
    """The last rows of a key, with every so many rows of it.

    Attributes:
        every: rows from the end of one to that of the next; at most `rows`.
    """

    every: int = field(kw_only=True)

    def describe(self) -> str:
        """As the user wrote it."""
        return f"hopping(rows={self.rows}, every={self.every}{', partial=True' if self.partial else ''})"


@dataclass(frozen=True, eq=False)
class SumWindow:
    """Bars that are full when the sum of an expression over their rows reaches a size.

    Attributes:
        measure: what is added up.
        size: larger than zero.
        partial: whether bars that are not full come out too.
    """

    measure: Expr
    size: Fraction
    partial: bool = False

    def bar_size(self, kind: pa.DataType) -> BarSize:
        """When a bar is full, where the expression has this type.

        Raises:
            TypeMismatchError: it is no number.
            BuildError: no bar could become full.
        """
        if pa.types.is_floating(kind):
            return BarSize.of_floats(float(self.size))
        if pa.types.is_decimal(kind) and kind.precision <= WIDEST:
            size, limit = math.ceil(self.size * Fraction(10) ** kind.scale), 10**WIDEST
            size_of = BarSize.of_decimals
        elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
            size, limit = math.ceil(self.size), 2**127 - 1
            unsigned = pa.types.is_unsigned_integer(kind)
            size_of = BarSize.of_unsigned if unsigned else BarSize.of_integers
        else:
            raise TypeMismatchError(
                f"sum={self._text} is no number that a bar can add up",
                expected=f"integers, floats, booleans, or decimals of at most {WIDEST} digits",
                got=str(kind),
            )
        if size > limit:
            raise BuildError(
                "the size of a bar is larger than any sum can be", expected=f"at most {limit}", got=str(size)
            )
        return size_of(size)

    @property
    def _text(self) -> str:
        return repr(self.measure.columns()[0]) if self.measure.is_column else str(self.measure)

    def describe(self) -> str:
        """As the user wrote it."""
        size = str(self.size) if self.size.denominator == 1 else repr(float(self.size))
        return f"tumbling(sum={self._text}, size={size}{', partial=True' if self.partial else ''})"


def row_window(rows: Any, partial: Any) -> RowWindow:
    """Checks the options of a window by rows.

    Raises:
        BuildError: rows= is no number of rows, or partial= neither True nor False.
    """
    if type(rows) is bool or not isinstance(rows, numbers.Integral) or int(rows) < 1:
        raise BuildError("rows= is the number of rows of a window", expected="1 or more", got=repr(rows))
    return RowWindow(int(rows), _is_partial(partial))


def hops_of_rows(size: Any, every: Any, offset: Any, rows: Any, partial: Any) -> RowHops:
    """Checks the options of `hopping` with rows= or partial=.

    Raises:
        BuildError: rows= or every= is no number of rows, more rows lie between windows than in one, or there
            are options of windows by time.
    """
    if rows is None:
        raise BuildError(
            "windows by time need no partial=",
            expected="partial= with rows=",
            got=f"partial={partial!r}",
            hint="windows by time that are open when the input ends come out anyway",
        )
    wrong = [f"{name}={value!r}" for name, value in (("size", size), ("offset", offset)) if value is not None]
    if wrong:
        raise BuildError(
            "a window has one size: a length of time, or a number of rows",
            expected='hopping("1m", every="10s") or hopping(rows=100, every=20)',
            got=" and ".join([*wrong, f"rows={rows!r}"]),
        )
    window = row_window(rows, False if partial is None else partial)
    if type(every) is bool or not isinstance(every, numbers.Integral) or int(every) < 1:
        raise BuildError(
            "every= is the number of rows from the end of one window to that of the next",
            expected="1 or more",
            got="no every=" if every is None else f"every={every!r}",
        )
    if int(every) > window.rows:
        raise BuildError(
            "the hop is longer than the window: rows between two windows would be in none",
            expected=f"every at most {window.rows}",
            got=f"every={every!r}",
        )
    return RowHops(window.rows, window.partial, every=int(every))


def sum_window(measure: Any, size: Any, partial: Any) -> SumWindow:
    """Checks the options of a window by a sum.

    Raises:
        BuildError: what is added up is no expression over rows, or the size is no number above zero.
    """
    measure = col(measure) if isinstance(measure, str) else measure
    if not isinstance(measure, Expr):
        raise BuildError(
            "sum= is what is added up",
            expected='a column\'s name, or an expression such as col("price") * col("volume")',
            got=repr(measure),
        )
    if measure.contains_aggregate:
        raise BuildError(
            f"sum={measure} is an aggregate", expected="a value of each row: it is added up by the window"
        )
    return SumWindow(measure, _size(size), _is_partial(partial))


def _size(size: Any) -> Fraction:
    is_number = isinstance(size, numbers.Real | Decimal) and not isinstance(size, bool)
    if not is_number or not math.isfinite(size) or size <= 0:
        raise BuildError(
            "size= is the sum with which a window is full",
            expected="a number above zero, such as size=10_000",
            got="no size=" if size is None else f"size={size!r}",
        )
    # A float is what it is written as, so that 0.1 is a tenth of a decimal too.
    return Fraction(str(size)) if isinstance(size, float) else Fraction(size)


def _is_partial(partial: Any) -> bool:
    if not isinstance(partial, bool):
        raise BuildError(
            "partial= says whether windows that are not full come out",
            expected="True or False",
            got=repr(partial),
        )
    return partial
