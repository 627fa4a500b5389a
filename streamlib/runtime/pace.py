"""How often a step acts on watermarks while there is more to do: windows that close together cost little more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamlib.contracts import Operator
from streamlib.graph import Step

SHARE = 16
"""Acting on watermarks takes at most about this part of the time: 1/16."""
EVERY_MAX = 5
"""The longest that this may hold a watermark back, in units of `every`."""


class Pace:
    """When the steps of one worker may next act on a watermark.

    A watermark that closes much may cost more than the rows that came with it. So where windows close, the
    more it costs, the longer the next one waits, and with it what it closes. What waits is let go when
    there is nothing else to do.

    Args:
        every: a step acts no more often than this, ns; as often as it likes for 0.
        now_ns: the processing clock.
        may_wait: for each step, whether what it leads to may wait for longer.

    >>> now = iter([0, 2_000_000, 30_000_000, 40_000_000])
    >>> pace = Pace(10_000_000, lambda: next(now), [True])
    >>> pace.begin(0)
    >>> pace.end(0)  # it took 2 ms: the next one is due 32 ms later
    >>> pace.due(0), pace.due(0)
    (False, True)
    """

    def __init__(self, every: int, now_ns: Callable[[], int], may_wait: Sequence[bool]) -> None:
        self._every = every
        self._now_ns = now_ns
        self._shares = [SHARE if waits else 0 for waits in may_wait]
        self._began = [0] * len(may_wait)
        self._due = [0] * len(may_wait)

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
            rest = min(self._shares[step] * (now - began), EVERY_MAX * self._every)
            self._due[step] = max(began + self._every, now + rest)


def may_wait(steps: Sequence[Step], operators: Sequence[Operator]) -> list[bool]:
    """For each step, whether it, or else the next ones that act on watermarks, may do so less often."""
    found = [True] * len(steps)
    for step, operator in reversed(list(zip(steps, operators, strict=True))):
        if type(operator).on_watermark is not Operator.on_watermark:
            found[step.index] = operator.may_wait
        else:
            found[step.index] = all(found[edge.target] for edge in step.edges)
    return found
