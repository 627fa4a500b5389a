"""A processing clock that a test moves by hand, or that jumps when nothing else can happen."""

from __future__ import annotations

import heapq


class ManualClock:
    """Nanoseconds that pass only when told. Call it for the time, as `RunOptions.now_ns` does.

    Who waits for a moment says so with `wait_until`; when all is idle the run lets the clock `jump` to the
    earliest such moment, so that no test sleeps and none depends on how fast a machine is.

    Args:
        now_ns: where it starts.
        step_ns: how far it jumps when nobody has named a moment.

    >>> clock = ManualClock()
    >>> clock.advance(5)
    >>> clock.wait_until(100)
    >>> clock.jump(), clock()
    (100, 100)
    """

    def __init__(self, now_ns: int = 0, step_ns: int = 1_000_000_000) -> None:
        self.now_ns = now_ns
        self.step_ns = step_ns
        self._moments: list[int] = []

    def __call__(self) -> int:
        """The time, ns."""
        return self.now_ns

    def advance(self, ns: int) -> None:
        """Lets `ns` pass; it never goes back."""
        assert ns >= 0, "a clock does not go back"
        self.now_ns += ns

    def wait_until(self, ns: int) -> None:
        """Notes a moment that somebody waits for."""
        if ns > self.now_ns and ns not in self._moments:
            heapq.heappush(self._moments, ns)

    def jump(self) -> int:
        """Goes to the earliest moment that somebody waits for, or a step on; returns the time."""
        while self._moments and self._moments[0] <= self.now_ns:
            heapq.heappop(self._moments)
        self.now_ns = heapq.heappop(self._moments) if self._moments else self.now_ns + self.step_ns
        return self.now_ns
