"""The receiving end: one thread fills a buffer for each connection, and stops reading where one is full.

So memory is bounded whatever peers send: the system's own buffers fill, and the peer has to wait. The
thread moves bytes only; it never looks at them.
"""

from __future__ import annotations

import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from streamlib.connectors.sockets.address import Address
from streamlib.connectors.sockets.dial import Dialer, Listener
from streamlib.connectors.sockets.loop import Loop
from streamlib.connectors.sockets.transport import Transport, peer_name
from streamlib.contracts import Wake
from streamlib.errors import Retry, SourceError

BUFFER_BYTES_MAX = 1 << 20
"""What one connection may have received and nobody has taken yet."""
RECEIVES_MAX = 16
"""How often in a row one connection is read before others are looked at."""


@dataclass(frozen=True, slots=True)
class InletOptions:
    """How connections are made.

    Attributes:
        address: where to listen, or whom to connect to.
        tls: its context; None for plain connections.
        retry: attempts in a row of a client, also after a connection has ended; None for one connection.
        connections_max: how many clients a server has at one time.
        connections: how many clients a server has in all; None for no end.
        on_listen: gets the real address of a server once it listens.
    """

    address: Address
    tls: ssl.SSLContext | None
    retry: Retry | None
    connections_max: int
    connections: int | None
    on_listen: Callable[[str], object] | None


class Connection:
    """What one peer has sent.

    Attributes:
        number: of the connection, from 1.
        peer: its address.
        name: the split whose data it carries.
    """

    def __init__(self, inlet: Inlet, transport: Transport, number: int, name: str) -> None:
        self.number, self.peer, self.name = number, peer_name(transport.sock), name
        self.got_bytes = False
        self._inlet, self._transport = inlet, transport
        self._lock = threading.Lock()
        self._parts: list[bytes] = []
        self._size = 0
        self._ended = self._paused = self._closed = False

    def take(self) -> tuple[bytes, bool]:
        """All bytes that are there, and whether none will follow them. From any thread."""
        with self._lock:
            data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts, self._size = [], 0
            paused, self._paused = self._paused, False
            ended = self._ended
        if paused:
            self._inlet.loop.call(self._go_on)
        return data, ended

    def give_up(self) -> None:
        """Closes the connection; nothing more is taken from it. From any thread."""
        self._inlet.loop.call(self.close)

    def ready(self, events: int) -> None:
        """Reads as much as there is room for. On the loop's thread, like all that follows."""
        if self._closed:
            return
        came = False
        for _ in range(RECEIVES_MAX):
            with self._lock:
                self._paused = self._size >= BUFFER_BYTES_MAX
                if self._paused:
                    break
            try:
                data = self._transport.receive()
            except OSError:
                data = b""  # what has come counts
                self._inlet.count("connections_lost")
            if data is None:
                break
            came = True
            if not data:
                self.close()
                break
            with self._lock:
                self._parts.append(data)
                self._size += len(data)
                self.got_bytes = True
        else:
            if self._transport.buffered:
                self._inlet.loop.call(self._go_on)  # TLS holds bytes that the system does not know of
        if not self._closed:
            self._inlet.loop.watch(self._transport.sock, 0 if self._paused else self._transport.wants, self)
        if came:
            self._inlet.wake(self.name)

    def _go_on(self) -> None:
        self.ready(0)

    def close(self) -> None:
        """Ends it: also what has been received is handed out first."""
        if self._closed:
            return
        self._closed = True
        if self._transport.sock.fileno() >= 0:
            self._inlet.loop.watch(self._transport.sock, 0, self)
        self._transport.close()
        with self._lock:
            self._ended = True
        self._inlet.gone(self)
        self._inlet.wake(self.name)


class Inlet:
    """The connections of one source in one run.

    Args:
        options: how they are made.
        wake: tells the run that a split has something.
    """

    def __init__(self, options: InletOptions, wake: Wake) -> None:
        self.options = options
        self.address = options.address
        self._wake = wake
        self.loop = Loop(f"streamlib-read-{options.address}", self._broken)
        self._lock = threading.Lock()
        self._new: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._error: Exception | None = None
        self._begun = self._established = 0
        self._complete = False
        self._counts = {"connections": 0, "connections_refused": 0, "handshakes_failed": 0}
        self._listener: Listener | None = None
        self._dialer: Dialer | None = None

    def start(self) -> None:
        """Listens, or begins to connect.

        Raises:
            SourceError: it cannot listen.
        """
        options = self.options
        if options.address.listens:
            self._listener = Listener(
                self.loop,
                options.address,
                options.tls,
                SourceError,
                self._welcome,
                self._accepted,
                self._not_accepted,
            )
            self.address = self._listener.address
            self.loop.call(self._listener.open)
        else:
            self._dialer = Dialer(
                self.loop,
                options.address,
                options.tls,
                options.retry,
                SourceError,
                self._connected,
                self._broken,
            )
            self.loop.call(self._dialer.dial)
        self.loop.start()
        if self._listener is not None and options.on_listen is not None:
            options.on_listen(str(self.address))

    def arrived(self) -> tuple[list[Connection], bool]:
        """The connections made since the last call, and whether no more will be. From any thread.

        Raises:
            StreamlibError: there can be no connection.
        """
        with self._lock:
            found = list(self._new)
            self._new.clear()
            if self._error is not None and not found:
                raise self._error
            return found, self._complete

    def count(self, what: str) -> None:
        """Counts something for the report."""
        with self._lock:
            self._counts[what] = self._counts.get(what, 0) + 1

    def counters(self) -> dict[str, int]:
        """What was counted; without what did not happen."""
        with self._lock:
            return {name: count for name, count in self._counts.items() if count}

    def wake(self, name: str | None) -> None:
        """Tells the run, under no lock."""
        self._wake(name)

    def close(self) -> None:
        """Ends the thread and all connections."""
        self.loop.close(self._release)

    def _release(self) -> None:
        for one in (self._listener, self._dialer):
            if one is not None:
                one.close()
        for connection in list(self._open):
            connection.close()

    def _broken(self, error: Exception) -> None:
        with self._lock:
            self._error = error
        self.wake(None)

    # A server's.

    def _welcome(self) -> bool:
        limit = self.options.connections
        with self._lock:
            if self._begun - self._established + len(self._open) >= self.options.connections_max or (
                limit is not None and self._begun >= limit
            ):
                self._counts["connections_refused"] += 1
                return False
            self._begun += 1
            return True

    def _not_accepted(self) -> None:
        with self._lock:
            self._begun -= 1
            self._counts["handshakes_failed"] += 1

    def _accepted(self, transport: Transport) -> None:
        number = self._established + 1
        name = f"{self.address}, client {number} ({peer_name(transport.sock)})"
        self._add(Connection(self, transport, number, name))
        if self.options.connections == number and self._listener is not None:
            self._listener.close()
            with self._lock:
                self._complete = True
        self.wake(None)

    # A client's.

    def _connected(self, transport: Transport) -> None:
        self._add(Connection(self, transport, self._established + 1, str(self.options.address)))
        if self.options.retry is None:
            with self._lock:
                self._complete = True

    def _add(self, connection: Connection) -> None:
        with self._lock:
            self._established += 1
            self._counts["connections"] += 1
            self._open.add(connection)
            self._new.append(connection)
        connection.ready(0)
        self.wake(connection.name)

    def gone(self, connection: Connection) -> None:
        """A connection has ended."""
        with self._lock:
            self._open.discard(connection)
        if self._dialer is not None and self.options.retry is not None and not self.loop.closing:
            self._dialer.again(connection.got_bytes)
