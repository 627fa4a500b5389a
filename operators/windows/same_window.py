"""`same_window`: results grouped by the window that they are of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamlib.contracts import Window
from streamlib.elements import MAX_TIME
from streamlib.graph import Node, SideNode


@dataclass(frozen=True)
class SameWindow(Window):
    """The window of each result, by its columns ``window_start`` and ``window_end``, which are keys of the state.

    A result's time is the last nanosecond of its window. So time is cut into nanoseconds, and one is over
    as soon as the watermark says that all results of windows that end there have come.
    """

    def starts(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The last nanosecond of each result's window."""
        return times

    def ends(self, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The end of each result's window."""
        return np.where(starts < MAX_TIME, starts + 1, MAX_TIME)

    def describe(self) -> str:
        """As the user wrote it."""
        return "same_window()"


def has_own_window(node: Node) -> bool:
    """Whether all rows of a step are results of windows, on which no step with a state worked since."""
    if getattr(node, "makes_windows", False):
        return True
    if isinstance(node, SideNode) or node.state_bound() != "none" or not node.inputs:
        return False
    return all(has_own_window(source) for source in node.inputs)


def same_window() -> SameWindow:
    """The window that each result is of: for what compares results of one window with one another.

    Such as the busiest symbol of each window. It works on what a window step gave, while the rows keep
    their ``window_start`` and ``window_end``; after overlapping windows no other window would do. The
    result comes out as soon as those of the window before it are complete.

    >>> import pyarrow as pa, streamlib as sl
    >>> rows = pa.table({"ts": pa.array([1, 2, 3, 12], pa.timestamp("s")), "k": ["a", "a", "b", "b"]})
    >>> ticks = sl.read_arrow(rows).event_time("ts", max_delay="0s")
    >>> counts = ticks.key_by("k").window(sl.hopping("10s", every="5s")).agg(n=sl.count())
    >>> counts.key_by().window(sl.same_window()).agg(n=sl.col("n").max()).collect().select(["n"]).to_pydict()
    {'n': [2, 2, 1, 1]}
    """
    return SameWindow()
