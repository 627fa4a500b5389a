"""An asyncio event loop on a thread of its own, beside the worker whose calls it makes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

CLOSE_SECONDS_MAX = 5.0
"""How long calls that are cancelled, and threads that they use, may take to end."""


class LoopThread:
    """An event loop that runs until it is closed. The thread begins with the first call.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str = "streamlib-async") -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Has `function` called on the loop's thread, soon."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run, args=(self._loop,), name=self._name, daemon=True)
            self._thread.start()
        self._loop.call_soon_threadsafe(function, *arguments)

    def turn(self) -> None:
        """Nothing: the thread goes on by itself."""

    def close(self, last: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Cancels what is under way, awaits `last()`, ends the loop and waits for its thread.

        A call that does not end when it is cancelled is left behind after some seconds, with its thread.
        """
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        loop.call_soon_threadsafe(lambda: loop.create_task(_leave(loop, last)))
        thread.join(3 * CLOSE_SECONDS_MAX)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _leave(loop: asyncio.AbstractEventLoop, last: Callable[[], Coroutine[Any, Any, object]]) -> None:
    try:
        await cancel_all(CLOSE_SECONDS_MAX)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(last(), CLOSE_SECONDS_MAX)
        await loop.shutdown_asyncgens()
        if sys.version_info >= (3, 12):
            await loop.shutdown_default_executor(CLOSE_SECONDS_MAX)
        else:
            await loop.shutdown_default_executor()
    finally:
        loop.stop()


async def cancel_all(seconds_max: float | None = None) -> None:
    """Cancels all other tasks of the running loop, and waits until they have ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=seconds_max)
