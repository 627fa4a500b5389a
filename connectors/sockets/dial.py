"""The two ways to get connections: to accept them, or to connect, again and again with growing waits.

Waits grow as `Retry` says and are shortened by chance to between half and all of their length, so
that many clients of a server that comes back do not return at once.
"""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from streamlib.connectors.sockets.address import Address, listen, refused
from streamlib.connectors.sockets.loop import READ, Loop, Timer
from streamlib.connectors.sockets.transport import Transport
from streamlib.errors import Retry, StreamlibError

CONNECT_SECONDS_MAX = 10.0
"""How long connecting, and a handshake, may take."""
ACCEPT_PAUSE_SECONDS = 0.1
"""How long nobody is accepted after the system had no room for one more connection."""

Established = Callable[[Transport], None]


class Handshake:
    """Brings a transport to the point where bytes can be moved, in limited time."""

    def __init__(
        self, loop: Loop, transport: Transport, done: Established, failed: Callable[[OSError], None]
    ) -> None:
        self._loop, self._transport, self._done, self._failed = loop, transport, done, failed
        self._watched: socket.socket | None = None
        self._timer = loop.after(CONNECT_SECONDS_MAX, self._too_long)
        self.over = False

    def ready(self, events: int) -> None:
        """Goes on; called first without any event."""
        if self.over:
            return
        try:
            if self._transport.established():
                self._stop()
                self._done(self._transport)
                return
        except (OSError, ValueError) as error:  # ValueError: a name that no certificate can have
            self._give_up(error if isinstance(error, OSError) else OSError(str(error)))
            return
        sock = self._transport.sock
        if self._watched is not None and self._watched is not sock:
            self._loop.watch(self._watched, 0, self)
        self._watched = sock
        self._loop.watch(sock, self._transport.wants, self)

    def close(self) -> None:
        """Gives up without telling anybody."""
        self._stop()
        self._transport.close()

    def _stop(self) -> None:
        self.over = True
        self._timer.cancel()
        if self._watched is not None and self._watched.fileno() >= 0:
            self._loop.watch(self._watched, 0, self)

    def _too_long(self) -> None:
        if not self.over:
            self._give_up(TimeoutError(f"no answer within {CONNECT_SECONDS_MAX:.0f} s"))

    def _give_up(self, error: OSError) -> None:
        self.close()
        self._failed(error)


class Dialer:
    """Connects to a server, and again when told to.

    Args:
        loop: where it works.
        address: of the server.
        tls: its context; None for a plain connection.
        retry: attempts in a row and the waits between them; None for a single attempt.
        kind: the class of the error.
        done: gets each connection.
        failed: told when all attempts have failed; the dialer then stops.
    """

    def __init__(
        self,
        loop: Loop,
        address: Address,
        tls: ssl.SSLContext | None,
        retry: Retry | None,
        kind: type[StreamlibError],
        done: Established,
        failed: Callable[[StreamlibError], None],
    ) -> None:
        self._loop, self._address, self._tls, self._kind = loop, address, tls, kind
        self._done, self._failed = done, failed
        self._waits = [] if retry is None else retry.waits()
        self._attempt = 0
        self._ever = False
        self._candidates: list[tuple[int, object]] = []
        self._dice = random.Random()
        self._pending: Handshake | None = None
        self._timer: Timer | None = None

    def dial(self) -> None:
        """Begins the first attempt in a row. On the loop's thread, like all that follows."""
        self._attempt = 0
        self._try()

    def again(self, useful: bool) -> None:
        """The connection has ended. One that brought nothing counts as an attempt that failed."""
        if useful:
            self._attempt = 0
        self._candidates = []
        self._lost(ConnectionError("the peer closes without sending anything"))

    def close(self) -> None:
        """Gives up."""
        if self._timer is not None:
            self._timer.cancel()
        if self._pending is not None:
            self._pending.close()

    def _try(self) -> None:
        try:
            self._candidates = self._resolved()
        except OSError as error:
            # A name that nobody knew from the start is a mistake; later it is a network that is down.
            unknown = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
            self._lost(error, hopeless=unknown and not self._ever)
            return
        self._next()

    def _resolved(self) -> list[tuple[int, object]]:
        if self._address.is_unix:
            return [(socket.AF_UNIX, self._address.path)]
        found = socket.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_STREAM)
        return [(family, where) for family, _, _, _, where in found]

    def _next(self) -> None:
        family, where = self._candidates.pop(0)
        transport = Transport(
            socket.socket(family, socket.SOCK_STREAM), self._tls, server=False, host=self._address.host
        )
        self._pending = Handshake(self._loop, transport, self._established, self._lost)
        try:
            transport.connect(where)
        except OSError as error:
            self._pending.close()
            self._lost(error)
            return
        self._pending.ready(0)

    def _established(self, transport: Transport) -> None:
        self._pending, self._ever = None, True
        self._done(transport)

    def _lost(self, error: OSError, hopeless: bool = False) -> None:
        self._pending = None
        if self._candidates and not hopeless:
            self._next()
            return
        if isinstance(error, ssl.SSLCertVerificationError):
            hopeless = True  # a wrong certificate does not become right by asking again
        if hopeless or self._attempt >= len(self._waits):
            self._failed(refused(self._address, error, self._kind, self._attempt + 1))
            return
        wait = self._waits[self._attempt] * self._dice.uniform(0.5, 1.0)
        self._attempt += 1
        self._timer = self._loop.after(wait, self._try)


class Listener:
    """Accepts connections.

    Args:
        loop: where it works.
        address: to listen on.
        tls: its context; None for plain connections.
        kind: the class of the error.
        welcome: asked before each handshake: whether there is room for one more; counts it, too.
        done: gets each connection.
        left: told of one that was welcome and did not shake hands.

    Attributes:
        address: where it listens; a port 0 was replaced.
    """

    def __init__(
        self,
        loop: Loop,
        address: Address,
        tls: ssl.SSLContext | None,
        kind: type[StreamlibError],
        welcome: Callable[[], bool],
        done: Established,
        left: Callable[[], None],
    ) -> None:
        self._loop, self._tls = loop, tls
        self._welcome, self._done, self._left = welcome, done, left
        self._pending: set[Handshake] = set()
        self._server, self.address = listen(address, kind)
        self._identity = _identity(self.address)
        self.closed = False

    def open(self) -> None:
        """Begins to accept. On the loop's thread."""
        if not self.closed:
            self._loop.watch(self._server, READ, self)

    def ready(self, events: int) -> None:
        """Accepts whoever waits."""
        while not self.closed:
            try:
                sock, _ = self._server.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue  # it left before it was accepted
            except OSError:  # no room for one more file: they wait in the system's queue
                self._loop.watch(self._server, 0, self)
                self._loop.after(ACCEPT_PAUSE_SECONDS, self.open)
                return
            if not self._welcome():
                sock.close()
                continue
            self._begin(Transport(sock, self._tls, server=True))

    def _begin(self, transport: Transport) -> None:
        def done(transport: Transport) -> None:
            self._pending.discard(handshake)
            self._done(transport)

        def failed(error: OSError) -> None:
            self._pending.discard(handshake)
            self._left()

        handshake = Handshake(self._loop, transport, done, failed)
        self._pending.add(handshake)
        handshake.ready(0)

    def close(self) -> None:
        """Accepts no more. The file of a Unix socket is removed if it is still this one."""
        if self.closed:
            return
        self.closed = True
        if self._server.fileno() >= 0:
            self._loop.watch(self._server, 0, self)
        self._server.close()
        for handshake in list(self._pending):
            handshake.close()
        if self._identity is not None and self._identity == _identity(self.address):
            import os

            with suppress(OSError):
                os.unlink(self.address.path)


def _identity(address: Address) -> tuple[int, int] | None:
    import os

    if not address.is_unix:
        return None
    try:
        about = os.stat(address.path)
    except OSError:
        return None
    return about.st_dev, about.st_ino
