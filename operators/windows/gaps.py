"""The windows that follow one another: those that end after a window and by a time.

Windows that have numbers are counted, so that a gap costs what comes of it. Others, such as those of a
calendar, are walked from end to end, for all gaps at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamlib.contracts import OverlappingWindow, Window
from streamlib.operators.windows.hopping import HoppingWindow
from streamlib.operators.windows.tumbling import TumblingWindow

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Gaps:
    """Windows without rows.

    Attributes:
        after: of each, the index of the window that it comes after.
        starts, ends: ns.
    """

    after: Int64s
    starts: Int64s
    ends: Int64s


class Grid:
    """Which windows follow one another.

    Args:
        window: of an aggregation by fixed windows.
        rows_max: how many windows to give at a time.

    >>> grid = Grid(TumblingWindow(10), 100)
    >>> reached = np.array([9, 19])  # the last instants of [0, 10) and [10, 20)
    >>> [(gaps.after.tolist(), gaps.ends.tolist()) for gaps in grid.following(reached, np.array([35, 29]))]
    [([0, 0], [20, 30])]
    >>> reached.tolist()
    [29, 19]
    """

    def __init__(self, window: Window | OverlappingWindow, rows_max: int) -> None:
        if isinstance(window, TumblingWindow):
            window = HoppingWindow(window.size, window.size, window.offset)
        self.window = window
        self.rows_max = rows_max

    def next_end(self, time: int) -> int:
        """The end of the first window that ends after a time, ns."""
        times = np.array([time], dtype=np.int64)
        window = self.window
        if isinstance(window, OverlappingWindow):
            return int(window.ends(window.first(times))[0])
        return int(window.ends(window.starts(times))[0])

    def following(self, reached: Int64s, limits: Int64s) -> Iterator[Gaps]:
        """The windows behind some windows, up to those that end at `limits`.

        Args:
            reached: the last instant of each window, ns; becomes that of the last window behind it.
            limits: no window behind it ends after this, ns.
        """
        if isinstance(self.window, OverlappingWindow):
            return self._counted(self.window, reached, limits)
        return self._walked(self.window, reached, limits)

    def _counted(self, window: OverlappingWindow, reached: Int64s, limits: Int64s) -> Iterator[Gaps]:
        # A number before the first window that ends later: that is the last one that ends by then.
        begin = window.first(reached + 1) - 1
        end = window.first(limits) - 1
        counts = np.maximum(end - begin, 0)
        some = counts > 0
        reached[some] = window.ends(end[some]) - 1
        totals = np.cumsum(counts)
        whole = int(totals[-1]) if len(totals) else 0
        for at in range(0, whole, self.rows_max):
            nth = np.arange(at, min(whole, at + self.rows_max))
            after = np.searchsorted(totals, nth, side="right")
            numbers = begin[after] + 1 + nth - (totals - counts)[after]
            yield Gaps(after, window.starts(numbers), window.ends(numbers))

    def _walked(self, window: Window, reached: Int64s, limits: Int64s) -> Iterator[Gaps]:
        after = np.flatnonzero(reached + 1 < limits)
        while len(after):
            before = reached[after] + 1
            starts = window.starts(before)
            ends = window.ends(starts)
            within = (ends <= limits[after]) & (ends > before)
            after, starts, ends = after[within], starts[within], ends[within]
            reached[after] = ends - 1
            for at in range(0, len(after), self.rows_max):
                part = slice(at, at + self.rows_max)
                yield Gaps(after[part], starts[part], ends[part])
