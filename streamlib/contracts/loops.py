"""What `async` functions run on: an event loop beside a worker, or one that a test moves by hand.

A step hands calls over and is told of what has come by its `wake`; it never blocks on the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeAlias


class CallLoop(Protocol):
    """An asyncio event loop, seen from the worker that uses it."""

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Has `function` called on the loop, soon."""

    def turn(self) -> None:
        """Lets the loop go on a little, where it has no thread of its own."""

    def close(self, last: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Cancels what is still under way, awaits `last()` and ends the loop. Called once."""


NewLoop: TypeAlias = Callable[[], CallLoop]
