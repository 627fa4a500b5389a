"""How often a step acts on watermarks while there is more to do: windows that close together cost little more."""

from __future__ import annotations

from collections.abc import Callable

SHARE = 16
"""Acting on watermarks takes at most about this part of the time: 1/16."""
EVERY_MAX = 5
"""The longest that this may hold a watermark back, in units of `every`."""


class Pace:
    """When the steps of one worker may next act on a watermark.

    A watermark that closes much may cost more than the rows that came with it. So the more it costs, the
    longer the next one waits, and with it what it closes. What waits is let go when there is nothing else
    to do.

    Args:
        every: a step acts no more often than this, ns; as often as it likes for 0.
        now_ns: the processing clock.
        steps: how many there are.

    >>> now = iter([0, 2_000_000, 30_000_000, 40_000_000])
    >>> pace = Pace(10_000_000, lambda: next(now), 1)
    >>> pace.begin(0)
    >>> pace.end(0)  # it took 2 ms: the next one is due 32 ms later
    >>> pace.due(0), pace.due(0)
    (False, True)
    """

    def __init__(self, every: int, now_ns: Callable[[], int], steps: int) -> None:
        self._every = every
        self._now_ns = now_ns
        self._began = [0] * steps
        self._due = [0] * steps

    def due(self, step: int) -> bool:
        """Whether the step may act on a watermark now."""
        return self._every == 0 or self._now_ns() >= self._due[step]

    def begin(self, step: int) -> None:
        """The step acts on a watermark."""
        if self._every != 0:
            self._began[step] = self._now_ns()

    def end(self, step: int) -> None:
        """It has, and what it sent on has been delivered."""
        if self._every != 0:
            now, began = self._now_ns(), self._began[step]
            rest = min(SHARE * (now - began), EVERY_MAX * self._every)
            self._due[step] = max(began + self._every, now + rest)
