"""Hopping windows: one begins every so often, each row is in as many as are as long as that."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from streamlib.contracts import OverlappingWindow
from streamlib.elements import MAX_TIME, MIN_TIME, duration_ns, format_duration
from streamlib.errors import BuildError, user_location
from streamlib.operators.windows.rows import RowHops, hops_of_rows

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HoppingWindow(OverlappingWindow):
    """Windows ``[offset + k * every, offset + k * every + size)`` for all whole k, also below 1970.

    Attributes:
        size: ns.
        every: from one start to the next, ns; at most the size.
        offset: of the origin from 1970-01-01 UTC, ns, at least 0 and less than `every`.
    """

    size: int
    every: int
    offset: int = 0

    def first(self, times: Int64s) -> Int64s:
        """The first window that ends after each time."""
        whole, rest = divmod(self.size, self.every)
        phases = (times % self.every - self.offset) % self.every
        return self.last(times) - whole + (phases >= rest)

    def last(self, times: Int64s) -> Int64s:
        """The last window that starts at or before each time."""
        return times // self.every - (times % self.every < self.offset)

    def starts(self, numbers: Int64s) -> Int64s:
        """Window starts, held at the earliest and the latest time."""
        return self._bounds(numbers, self.offset)

    def ends(self, numbers: Int64s) -> Int64s:
        """Window ends, held at the earliest and the latest time."""
        return self._bounds(numbers, self.offset + self.size)

    def bounds(self, number: int) -> tuple[int, int]:
        """The start and the end of one window."""
        start = self.offset + number * self.every
        return max(MIN_TIME, min(MAX_TIME, start)), max(MIN_TIME, min(MAX_TIME, start + self.size))

    def _bounds(self, numbers: Int64s, past: int) -> Int64s:
        """`past` + number * `every`, in exact arithmetic."""
        first, last = -((past - MIN_TIME) // self.every), (MAX_TIME - past) // self.every
        fitting = np.clip(numbers, first, last)
        # `past` may be too large for int64 with a number far below zero: part of it goes into the number.
        whole, rest = divmod(past, self.every)
        bounds = (fitting + whole) * self.every + rest
        return np.where(numbers < first, MIN_TIME, np.where(numbers > last, MAX_TIME, bounds))

    def granularity(self) -> int:
        """The greatest duration that divides size, hop and offset."""
        return math.gcd(self.size, self.every, self.offset)

    def describe(self) -> str:
        """As the user wrote it."""
        offset = f", offset={format_duration(self.offset)!r}" if self.offset else ""
        return f"hopping({format_duration(self.size)!r}, every={format_duration(self.every)!r}{offset})"


@overload
def hopping(
    size: str | dt.timedelta, every: str | dt.timedelta, offset: str | dt.timedelta = ...
) -> HoppingWindow: ...
@overload
def hopping(*, rows: int, every: int, partial: bool = ...) -> RowHops: ...
def hopping(
    size: str | dt.timedelta | None = None,
    every: str | dt.timedelta | int | None = None,
    offset: str | dt.timedelta | None = None,
    *,
    rows: int | None = None,
    partial: bool | None = None,
) -> HoppingWindow | RowHops:
    """Windows of one size that overlap: one begins every `every`, and a row is in all that hold its time.

    What a row costs does not depend on how many windows it is in. The size is a length of time, or a number
    of rows: then each key has a window with every so many of its rows, in the order of event time, and that
    has its last rows.

    Args:
        size: such as ``"1m"``; windows are half-open, ``[start, end)``.
        every: from one start to the next; at most the size, which need not be a multiple of it. With `rows`
            a number of rows, from the last row of a window to that of the next.
        offset: moves the origin of windows by time, which is 1970-01-01 00:00 UTC.
        rows: how many rows of a key a window has.
        partial: with `rows`: windows with fewer rows come out too, and a column ``window_complete`` says which
            have all: the first ones of a key, and those that are open when the input ends or ``ttl=`` drops
            their key. Otherwise rows that are in no window are counted in the report, as dropped.

    Raises:
        BuildError: a size or hop of zero or less, a hop longer than the size, a bare number as a length of
            time, or options that do not fit.

    >>> import pyarrow as pa, streamlib as sl
    >>> rows = pa.table({"ts": pa.array([1, 6, 12], pa.timestamp("s"))})
    >>> windows = sl.read_arrow(rows).event_time("ts", max_delay="0s").window(sl.hopping("10s", every="5s"))
    >>> windows.agg(n=sl.count()).collect()["n"].to_pylist()
    [1, 2, 2, 1]
    >>> sl.hopping(rows=100, every=20).describe()
    'hopping(rows=100, every=20)'
    """
    at = user_location()
    try:
        if rows is not None or partial is not None:
            return hops_of_rows(size, every, offset, rows, partial)
        offset = "0s" if offset is None else offset
        size_ns = duration_ns(size, "size")  # type: ignore[arg-type]
        every_ns = duration_ns(every, "every")  # type: ignore[arg-type]
        offset_ns = duration_ns(offset, "offset")
        if size_ns <= 0:
            raise BuildError("a window must be longer than zero", expected='such as "1m"', got=repr(size))
        if every_ns <= 0:
            raise BuildError(
                "windows must begin some time apart", expected='such as every="5s"', got=repr(every)
            )
        if every_ns > size_ns:
            raise BuildError(
                "the hop is longer than the window: rows between two windows would be in none",
                expected=f"every at most {format_duration(size_ns)!r}",
                got=f"every={format_duration(every_ns)!r}",
                hint="filter the rows that do not count, then use tumbling windows",
            )
    except BuildError as error:
        raise error.in_step("hopping", at) from None
    return HoppingWindow(size_ns, every_ns, offset_ns % every_ns)
