"""The window contract: which fixed windows a row falls into.

A window is a pure function of event time. Fixed windows are half-open, ``[start, end)``; the start
identifies the window.

A complete window::

    @dataclass(frozen=True)
    class Tumbling(Window):
        size: int                                  # ns

        def starts(self, times):
            return times - times % self.size

        def ends(self, starts):
            return starts + self.size
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt


class Window(ABC):
    """Assigns each row to one fixed window by its event time."""

    @abstractmethod
    def starts(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The start of the window of each event time; both in ns, same length."""

    @abstractmethod
    def ends(self, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
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
