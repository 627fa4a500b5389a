"""Tumbling windows: time cut into pieces of one size, each row in exactly one."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from streamlib.contracts import Window
from streamlib.elements import MAX_TIME, MIN_TIME, duration_ns, format_duration
from streamlib.errors import BuildError, user_location
from streamlib.expr import Expr
from streamlib.operators.windows.rows import RowWindow, SumWindow, row_window, sum_window


@dataclass(frozen=True)
class TumblingWindow(Window):
    """Windows ``[offset + k * size, offset + (k + 1) * size)`` for all whole k, also below 1970.

    Attributes:
        size: ns.
        offset: of the origin from 1970-01-01 UTC, ns, at least 0 and less than `size`.
    """

    size: int
    offset: int = 0

    def starts(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Window starts; a window that begins before the earliest time starts at that time."""
        back = (times % self.size - self.offset) % self.size
        return np.where(times >= MIN_TIME + back, times - back, MIN_TIME)

    def ends(self, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Window ends; a window that would end after the latest time ends at that time."""
        size = (
            self.size - (starts % self.size - self.offset) % self.size
        )  # the first of all is cut at its start
        return np.where(starts <= MAX_TIME - size, starts + size, MAX_TIME)

    def start_of(self, time: int) -> int:
        """The start of the window that holds `time`: no window that ends by `time` ends after it."""
        return max(MIN_TIME, time - (time - self.offset) % self.size)

    def end(self, start: int) -> int:
        """The end of one window, ns."""
        return min(MAX_TIME, start + self.size - (start - self.offset) % self.size)

    def granularity(self) -> int:
        """The greatest duration that divides both size and offset."""
        return math.gcd(self.size, self.offset)

    def describe(self) -> str:
        """As the user wrote it."""
        offset = f", offset={format_duration(self.offset)!r}" if self.offset else ""
        return f"tumbling({format_duration(self.size)!r}{offset})"


@overload
def tumbling(size: str | dt.timedelta, offset: str | dt.timedelta = ...) -> TumblingWindow: ...
@overload
def tumbling(*, rows: int, partial: bool = ...) -> RowWindow: ...
@overload
def tumbling(*, sum: str | Expr, size: float | Decimal, partial: bool = ...) -> SumWindow: ...
def tumbling(
    size: str | dt.timedelta | float | Decimal | None = None,
    offset: str | dt.timedelta | None = None,
    *,
    rows: int | None = None,
    sum: str | Expr | None = None,
    partial: bool | None = None,
) -> TumblingWindow | RowWindow | SumWindow:
    """Windows of one size, end to end: every row falls into exactly one.

    The size is a length of time, a number of rows, or a sum. Windows by rows and sums are those of each
    key, in the order of event time: one begins with the first row after the one before it, and the row
    that fills it is its last.

    Args:
        size: such as ``"10s"``; windows are half-open, ``[start, end)``. With `sum`, the number above zero
            that the sum has to reach.
        offset: moves the origin of windows by time, which is 1970-01-01 00:00 UTC.
        rows: how many rows of a key a window has.
        sum: a column, or an expression such as ``col("price") * col("volume")``, whose sum fills a window.
        partial: with `rows` or `sum`: windows that are not full when the input ends, or when ``ttl=`` drops
            their key, come out too, and a column ``window_complete`` says which are. Otherwise their rows
            are counted in the report, as dropped.

    Raises:
        BuildError: a size of zero or less, a bare number as a length of time, or options that do not fit.

    >>> import streamlib as sl
    >>> sl.tumbling("1d", offset="6h").describe()
    "tumbling('1d', offset='6h')"
    >>> sl.tumbling(sum="volume", size=10_000).describe()
    "tumbling(sum='volume', size=10000)"
    """
    at = user_location()
    try:
        if rows is not None or sum is not None:
            return _by_rows(size, offset, rows, sum, partial)
        if partial is not None:
            raise BuildError(
                "windows by time need no partial=",
                expected="partial= with rows= or sum=",
                got=f"partial={partial!r}",
                hint="windows by time that are open when the input ends come out anyway",
            )
        size_ns = duration_ns(size, "size")  # type: ignore[arg-type]
        offset_ns = duration_ns("0s" if offset is None else offset, "offset")
        if size_ns <= 0:
            raise BuildError("a window must be longer than zero", expected='such as "10s"', got=repr(size))
    except BuildError as error:
        raise error.in_step("tumbling", at) from None
    return TumblingWindow(size_ns, offset_ns % size_ns)


def _by_rows(size: Any, offset: Any, rows: Any, sum: Any, partial: Any) -> RowWindow | SumWindow:
    wrong = [f"{name}={value!r}" for name, value in (("offset", offset), ("size", size)) if value is not None]
    if rows is not None and sum is not None:
        wrong = [f"rows={rows!r}", f"sum={sum!r}"]
    elif sum is not None:
        wrong = [text for text in wrong if text.startswith("offset=")]
    if wrong:
        raise BuildError(
            "a window has one size: a length of time, a number of rows, or a sum",
            expected='tumbling("10s"), tumbling(rows=100) or tumbling(sum="volume", size=10_000)',
            got=" and ".join(wrong if len(wrong) > 1 or rows is None else [f"rows={rows!r}", *wrong]),
        )
    partial = False if partial is None else partial
    return row_window(rows, partial) if rows is not None else sum_window(sum, size, partial)
