"""Cumulative windows: a period from its beginning to now, seen again and again until it is over."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamlib.contracts import OverlappingWindow
from streamlib.elements import MAX_TIME, MIN_TIME, duration_ns, format_duration
from streamlib.errors import BuildError, user_location

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CumulativeWindow(OverlappingWindow):
    """Windows ``[p, p + k * every)`` of each period p, for k from 1 to `size / every`.

    Attributes:
        size: of a period, ns; a multiple of `every`.
        every: from one end to the next, ns.
        offset: of the origin from 1970-01-01 UTC, ns, at least 0 and less than `size`.
    """

    size: int
    every: int
    offset: int = 0

    def first(self, times: Int64s) -> Int64s:
        """The first window that ends after each time: they end every `every`."""
        return times // self.every - (times % self.every < self.offset % self.every)

    def last(self, times: Int64s) -> Int64s:
        """The last window of the period of each time."""
        first = self.first(times)
        return first - self._step(first) + self._steps - 1

    def starts(self, numbers: Int64s) -> Int64s:
        """The start of the period of each window, held at the earliest and the latest time."""
        return self._bounds(numbers - self._step(numbers))

    def ends(self, numbers: Int64s) -> Int64s:
        """Window ends, held at the earliest and the latest time."""
        return self._bounds(numbers + 1)

    @property
    def _steps(self) -> int:
        return self.size // self.every

    def _step(self, numbers: Int64s) -> Int64s:
        """Which step of its period each window is, from 0."""
        return (numbers % self._steps - self.offset // self.every) % self._steps

    def _bounds(self, numbers: Int64s) -> Int64s:
        """Number * `every`, moved by the offset."""
        past = self.offset % self.every
        first, last = -((past - MIN_TIME) // self.every), (MAX_TIME - past) // self.every
        bounds = np.clip(numbers, first, last) * self.every + past
        return np.where(numbers < first, MIN_TIME, np.where(numbers > last, MAX_TIME, bounds))

    def granularity(self) -> int:
        """The greatest duration that divides step and offset."""
        return math.gcd(self.every, self.offset)

    def describe(self) -> str:
        """As the user wrote it."""
        offset = f", offset={format_duration(self.offset)!r}" if self.offset else ""
        return f"cumulative({format_duration(self.size)!r}, every={format_duration(self.every)!r}{offset})"


def cumulative(
    size: str | dt.timedelta, every: str | dt.timedelta, offset: str | dt.timedelta = "0s"
) -> CumulativeWindow:
    """Windows that grow: each begins with its period, and one ends every `every` until the period is over.

    Such as the sum of a day so far, every hour. A step in which no row came gives the row of the step
    before again, as long as the period has rows.

    Args:
        size: the length of a period, such as ``"1d"``.
        every: from one end to the next; the size must be a multiple of it.
        offset: moves the origin, which is 1970-01-01 00:00 UTC.

    Raises:
        BuildError: a size or step of zero or less, a size that is no multiple of the step, or a bare number.

    >>> import pyarrow as pa, streamlib as sl
    >>> rows = pa.table({"ts": pa.array([1, 6, 12], pa.timestamp("s"))})
    >>> windows = sl.read_arrow(rows).event_time("ts", max_delay="0s").window(sl.cumulative("10s", every="5s"))
    >>> windows.agg(n=sl.count()).collect()["n"].to_pylist()
    [1, 2, 1, 1]
    """
    at = user_location()
    try:
        size_ns, every_ns = duration_ns(size, "size"), duration_ns(every, "every")
        offset_ns = duration_ns(offset, "offset")
        if size_ns <= 0 or every_ns <= 0:
            short = repr(size if size_ns <= 0 else every)
            raise BuildError("a window must be longer than zero", expected='such as "1h"', got=short)
        if size_ns % every_ns:
            raise BuildError(
                "the steps do not fill the period",
                expected="a size that is a multiple of every",
                got=f"size={format_duration(size_ns)!r}, every={format_duration(every_ns)!r}",
            )
    except BuildError as error:
        raise error.in_step("cumulative", at) from None
    return CumulativeWindow(size_ns, every_ns, offset_ns % size_ns)
