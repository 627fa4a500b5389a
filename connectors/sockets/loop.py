"""One thread that waits for many sockets and for moments in time, and calls back.

All callbacks run on that thread, so what they share needs no lock; other threads hand in calls. A
callback that raises is a defect: the loop then stops and tells its owner, so that nobody waits for ever.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Handler(Protocol):
    """Who is called when a socket can be read or written."""

    def ready(self, events: int) -> None:
        """`events` is READ, WRITE or both."""


class Timer:
    """A call at a moment; `cancel` forgets it."""

    __slots__ = ("call", "cancelled")

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """It will not be called."""
        self.cancelled = True


class Loop:
    """A selector on a thread of its own.

    Args:
        name: of the thread.
        on_failure: told of an error that a callback raised, on the loop's thread.
    """

    def __init__(self, name: str, on_failure: Callable[[Exception], None]) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener, self._knocker = socket.socketpair()
        for end in (self._listener, self._knocker):
            end.setblocking(False)
        self._selector.register(self._listener, READ, None)
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = 0
        self._closing = False
        self._on_failure = on_failure
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    @property
    def closing(self) -> bool:
        """Whether it has been told to end."""
        return self._closing

    def start(self) -> None:
        """Begins to wait."""
        self._thread.start()

    def call(self, function: Callable[[], None]) -> None:
        """Has the loop's thread call `function` soon. From any thread."""
        self._calls.append(function)
        self._knock()

    def after(self, seconds: float, function: Callable[[], None]) -> Timer:
        """Calls `function` on the loop's thread when the time has passed."""
        timer = Timer(function)
        self._numbers += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._numbers, timer))
        return timer

    def watch(self, sock: socket.socket, events: int, handler: Handler) -> None:
        """Calls `handler.ready` when the socket is ready for one of `events`; 0 for none now."""
        known = self._selector.get_map().get(sock) if sock.fileno() >= 0 else None
        if known is None:
            if events:
                self._selector.register(sock, events, handler)
        elif not events:
            self._selector.unregister(sock)
        elif known.events != events or known.data is not handler:
            self._selector.modify(sock, events, handler)

    def close(self, release: Callable[[], None]) -> None:
        """Ends the thread, and has `release` close what it watched. From any other thread."""
        self._closing = True
        self._knock()
        if self._thread.ident is not None:
            self._thread.join()
        release()
        self._selector.close()
        self._listener.close()
        self._knocker.close()

    def _knock(self) -> None:
        with suppress(OSError):  # full: it will look anyway; closed: it has ended
            self._knocker.send(b"\0")

    def _work(self) -> None:
        try:
            while not self._closing:
                self._once()
        except Exception as error:  # a defect, or the system's: whoever waits has to know
            self._on_failure(error)

    def _once(self) -> None:
        wait = None
        if self._timers:
            wait = max(0.0, self._timers[0][0] - time.monotonic())
        for key, events in self._selector.select(wait):
            if key.data is None:
                with suppress(BlockingIOError):
                    while self._listener.recv(4096):
                        pass
            elif self._closing:
                return
            else:
                key.data.ready(events)
        while self._calls and not self._closing:
            self._calls.popleft()()
        while self._timers and self._timers[0][0] <= time.monotonic() and not self._closing:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled:
                timer.call()
