"""The messages of a worker process: to and from the process that runs the job, and the other workers.

There is one thread. Messages are taken between units of work, and while it waits for one; what a peer does
not take yet is kept, so that nobody ever blocks another one. When the process that runs the job has gone,
or says so, this one leaves.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from streamlib.workers.wire import Connection, Message, Part

PARENT = -1
Handler = Callable[[int, Message], None]


class LeaveError(BaseException):
    """The worker is to end now. It passes through all that handles errors.

    Args:
        abort: whether what was staged is to be removed.
    """

    def __init__(self, abort: bool) -> None:
        super().__init__()
        self.abort = abort


class Link:
    """The connections of one worker process.

    Args:
        parent: to the process that runs the job.
    """

    def __init__(self, parent: Connection) -> None:
        self.parent = parent
        self.peers: dict[int, Connection] = {}
        self.handlers: dict[str, Handler] = {}
        self._by_fd: dict[int, int] = {}
        self._poll = select.poll()
        self._writing: set[int] = set()
        self._replies: list[Message] = []
        self._owner = threading.get_ident()
        self._woken, self._wakes = socket.socketpair()
        self._woken.setblocking(False)
        self._wakes.setblocking(False)
        self._poll.register(self._woken.fileno(), select.POLLIN)
        self._add(PARENT, parent)

    def add_peer(self, worker: int, connection: Connection) -> None:
        """A way to another worker."""
        self.peers[worker] = connection
        self._add(worker, connection)

    def _add(self, who: int, connection: Connection) -> None:
        fd = connection.socket.fileno()
        self._by_fd[fd] = who
        self._poll.register(fd, select.POLLIN)

    def send(self, values: Sequence[Any], parts: Sequence[Part] = (), to: int = PARENT) -> None:
        """Sends a message, now or as soon as it is taken."""
        connection = self._connection(to)
        connection.send(values, parts)
        if connection.pending and to not in self._writing:
            self._writing.add(to)
            self._poll.modify(connection.socket.fileno(), select.POLLIN | select.POLLOUT)

    def call(self, values: Sequence[Any]) -> Message:
        """Asks the parent and waits for its reply; handles what comes meanwhile."""
        self.send(values)
        while not self._replies:
            self.wait(None)
        return self._replies.pop()

    def replied(self, _: int, message: Message) -> None:
        """The handler of replies."""
        self._replies.append(message)

    def wait(self, seconds: float | None) -> None:
        """Handles what has come; waits for something, at most so long. None: without end.

        Raises:
            LeaveError: the worker is to end.
        """
        for fd, events in self._poll.poll(None if seconds is None else max(0, seconds * 1e3)):
            if fd == self._woken.fileno():
                self._woken.recv(4096)
                continue
            who = self._by_fd[fd]
            connection = self._connection(who)
            if events & select.POLLOUT and connection.flush() and who in self._writing:
                self._writing.discard(who)
                self._poll.modify(fd, select.POLLIN)
            if events & ~select.POLLOUT:
                for message in connection.receive():
                    self.handlers[message.values[0]](who, message)
            if connection.ended:
                self._gone(who, fd)

    def wake(self) -> None:
        """Ends a `wait`; called from any thread of this process."""
        if threading.get_ident() != self._owner:
            with suppress(BlockingIOError):  # full: it is woken already
                self._wakes.send(b"w")

    def _gone(self, who: int, fd: int) -> None:
        if who == PARENT:
            raise LeaveError(abort=True)
        self._poll.unregister(fd)  # it has left, or the parent will say what happened to it
        del self._by_fd[fd]

    def pause(self, seconds: float) -> bool:
        """Waits so long, handling what comes; false, since a run that is called off ends otherwise."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.wait(left)
        return False

    def finish(self) -> None:
        """Sends what the parent has not taken yet, and closes."""
        self.parent.socket.setblocking(True)
        self.parent.flush()
        for connection in (self.parent, *self.peers.values()):
            connection.close()
        self._woken.close()
        self._wakes.close()

    def _connection(self, who: int) -> Connection:
        return self.parent if who == PARENT else self.peers[who]
