"""An event loop that goes on only when it is told, by a clock that is moved by hand.

It runs on the worker's own thread, one iteration at a time, so that `map_async` gives the same
interleaving for the same seed; time-outs and waits pass when the clock jumps to them.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from streamlib.operators.map_async.loop import cancel_all
from streamlib.testing.manual_clock import ManualClock


class _Looking(selectors.BaseSelector):
    """Looks for what has come without ever waiting, and tells how long the loop would have waited."""

    def __init__(self, clock: ManualClock) -> None:
        self._inner = selectors.DefaultSelector()
        self._clock = clock
        self.loop: asyncio.AbstractEventLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert self.loop is not None
        if timeout is not None:
            self._clock.wait_until(self._clock.now_ns + int(timeout * 1e9) + 1)
        self.loop.stop()  # after this iteration
        return self._inner.select(0)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose time is that of the clock."""

    def __init__(self, selector: _Looking, clock: ManualClock) -> None:
        super().__init__(selector)
        selector.loop = self
        self._manual_clock = clock

    def time(self) -> float:
        """Seconds on the clock."""
        return self._manual_clock.now_ns / 1e9


class SteppedLoop:
    """What `RunOptions.new_loop` makes in the simulation and in `t.run` and `t.check`.

    Args:
        clock: whose jumps let waits and time-outs pass.

    >>> clock, found = ManualClock(), []
    >>> async def late():
    ...     await asyncio.sleep(5)
    ...     found.append(clock())
    >>> loop = SteppedLoop(clock)
    >>> loop.call(lambda: asyncio.get_running_loop().create_task(late()))
    >>> while not found:
    ...     loop.turn()
    ...     _ = clock.jump()
    >>> loop.close(lambda: asyncio.sleep(0))
    >>> found[0] // 1_000_000_000
    5
    """

    def __init__(self, clock: ManualClock) -> None:
        self._loop = _Loop(_Looking(clock), clock)

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Has `function` called in the next turn."""
        self._loop.call_soon(function, *arguments)

    def turn(self) -> None:
        """Runs one iteration of the loop."""
        if not self._loop.is_closed():
            self._loop.run_forever()

    def close(self, last: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Cancels what is under way, awaits `last()` and ends the loop."""
        if self._loop.is_closed():
            return

        async def leave() -> None:
            await cancel_all()
            await last()
            await self._loop.shutdown_asyncgens()
            await self._loop.shutdown_default_executor()

        leaving = self._loop.create_task(leave())
        while not leaving.done():
            self.turn()
        self._loop.close()
        leaving.result()
