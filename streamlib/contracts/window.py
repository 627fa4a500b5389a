"""The window contract: which windows a row falls into, as a pure function of its event time.

A window is half-open, ``[start, end)``. `Window` is for windows that do not overlap: each row is in
one, and the window's start identifies it. A complete one::

    @dataclass(frozen=True)
    class Tumbling(Window):
        size: int                                  # ns

        def starts(self, times):
            return times - times % self.size

        def ends(self, starts):
            return starts + self.size

`OverlappingWindow` is for windows of which a row may be in several. They are numbered in the order of
time, and say of a time which is the first and which the last that holds it::

    @dataclass(frozen=True)
    class Hopping(OverlappingWindow):
        size: int
        every: int                                 # at most the size

        def first(self, times):
            return (times - self.size) // self.every + 1

        def last(self, times):
            return times // self.every

        def starts(self, numbers):
            return numbers * self.every

        def ends(self, numbers):
            return numbers * self.every + self.size
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]


class Window(ABC):
    """Assigns each row to one fixed window by its event time."""

    @abstractmethod
    def starts(self, times: Int64s) -> Int64s:
        """The start of the window of each event time; both in ns, same length."""

    @abstractmethod
    def ends(self, starts: Int64s) -> Int64s:
        """The end of each window that starts at `starts`, ns; larger for a larger start."""

    def end(self, start: int) -> int:
        """The end of the window that starts at `start`, ns."""
        return int(self.ends(np.array([start], dtype=np.int64))[0])

    def granularity(self) -> int:
        """A duration, ns, that divides all starts and ends: it decides the unit of the result's columns."""
        return 1

    def describe(self) -> str:
        """As the user wrote it, for `explain()`."""
        return repr(self)


class OverlappingWindow(ABC):
    """Assigns each row to one or more windows, which follow one another in their numbers.

    With a larger number neither start nor end is earlier, and one of them is later. Every time is in a
    window. A bound outside of int64 is held at its ends. The cost of a row does not grow with the
    number of its windows: rows are kept in the pieces into which all starts and ends cut time.
    """

    @abstractmethod
    def first(self, times: Int64s) -> Int64s:
        """The number of the first window that ends after each time (ns)."""

    @abstractmethod
    def last(self, times: Int64s) -> Int64s:
        """The number of the last window that starts at or before each time (ns)."""

    @abstractmethod
    def starts(self, numbers: Int64s) -> Int64s:
        """The starts of the windows with these numbers, ns."""

    @abstractmethod
    def ends(self, numbers: Int64s) -> Int64s:
        """The ends of the windows with these numbers, ns."""

    def bounds(self, number: int) -> tuple[int, int]:
        """The start and the end of one window, ns."""
        numbers = np.array([number], dtype=np.int64)
        return int(self.starts(numbers)[0]), int(self.ends(numbers)[0])

    def slices(self, times: Int64s) -> Int64s:
        """The start of the piece of time that each time is in: the last bound of a window at or before it."""
        return np.maximum(self.starts(self.last(times)), self.ends(self.first(times) - 1))

    def granularity(self) -> int:
        """A duration, ns, that divides all starts and ends: it decides the unit of the result's columns."""
        return 1

    def describe(self) -> str:
        """As the user wrote it, for `explain()`."""
        return repr(self)
