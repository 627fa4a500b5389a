"""Tumbling windows: time cut into pieces of one size, each row in exactly one."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamlib.contracts import Window
from streamlib.elements import MAX_TIME, MIN_TIME, duration_ns, format_duration
from streamlib.errors import BuildError, user_location


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


def tumbling(size: str | dt.timedelta, offset: str | dt.timedelta = "0s") -> TumblingWindow:
    """Windows of one size, end to end: every row falls into exactly one.

    Args:
        size: such as ``"10s"``; windows are half-open, ``[start, end)``.
        offset: moves the origin, which is 1970-01-01 00:00 UTC.

    Raises:
        BuildError: a size of zero or less, or a bare number.

    >>> import streamlib as sl
    >>> sl.tumbling("1d", offset="6h").describe()
    "tumbling('1d', offset='6h')"
    """
    at = user_location()
    try:
        size_ns, offset_ns = duration_ns(size, "size"), duration_ns(offset, "offset")
        if size_ns <= 0:
            raise BuildError("a window must be longer than zero", expected='such as "10s"', got=repr(size))
    except BuildError as error:
        raise error.in_step("tumbling", at) from None
    return TumblingWindow(size_ns, offset_ns % size_ns)
