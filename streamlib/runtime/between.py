"""The steps of one worker that work between the calls, such as those that wait for the answers of a service."""

from __future__ import annotations

from collections.abc import Callable

from streamlib.contracts import Operator


class Between:
    """Which steps these are, and which of them has something to yield.

    Args:
        wake: called, from any thread, when one of them has.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._steps: list[tuple[int, Operator]] = []

    def add(self, step: int, operator: Operator) -> None:
        """Binds an operator; most work in the calls alone."""
        if operator.bind(self._wake):
            self._steps.append((step, operator))

    @property
    def is_busy(self) -> bool:
        """Whether one of them waits for something outside, which will come though no input does."""
        return any(operator.is_busy() for _, operator in self._steps)

    def ready(self, may_go: Callable[[int], bool]) -> int | None:
        """The step nearest to the sinks that has something to yield, of those that `may_go`."""
        for step, operator in reversed(self._steps):
            if may_go(step) and operator.is_ready():
                return step
        return None
