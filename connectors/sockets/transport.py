"""One connected socket that never blocks, plain or TLS, with its handshake.

With TLS reading may have to wait until the socket can be written, and the other way round; `wants`
says for what, and is looked at after each call.
"""

from __future__ import annotations

import errno
import socket
import ssl
from contextlib import suppress

from streamlib.connectors.sockets.loop import READ, WRITE

RECEIVE_BYTES = 64 << 10
_STARTING = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, errno.EINTR)


class Transport:
    """A socket that connects, shakes hands, and then moves bytes.

    Args:
        sock: connected, or with `connect` called next.
        tls: the context; None for a plain connection.
        server: whether this end accepted the connection.
        host: the name that the peer's certificate must have, for clients.
    """

    def __init__(
        self, sock: socket.socket, tls: ssl.SSLContext | None, server: bool, host: str | None = None
    ) -> None:
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.sock = sock
        self.wants = READ
        self.closed = False
        self._tls, self._server, self._host = tls, server, host
        self._connected = True
        self._secured = tls is None

    def connect(self, where: object) -> None:
        """Begins to connect. Raises OSError where that fails at once."""
        self._connected = False
        self.wants = WRITE
        code = self.sock.connect_ex(where)  # type: ignore[arg-type]
        if code and code not in _STARTING:
            raise OSError(code, _text_of(code))

    def established(self) -> bool:
        """Goes on connecting and shaking hands; True when bytes can be moved.

        Raises:
            OSError: it failed. `ssl.SSLError` is one.
        """
        if not self._connected:
            code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, _text_of(code))
            try:
                self.sock.getpeername()
            except OSError as error:
                if error.errno == errno.ENOTCONN:
                    return False
                raise
            self._connected = True
            self.wants = READ
        if self._secured:
            return True
        assert self._tls is not None
        if not isinstance(self.sock, ssl.SSLSocket):
            self.sock = self._tls.wrap_socket(
                self.sock,
                server_side=self._server,
                server_hostname=None if self._server else self._host,
                do_handshake_on_connect=False,
            )
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            self.wants = READ
        except ssl.SSLWantWriteError:
            self.wants = WRITE
        else:
            self._secured = True
            self.wants = READ
        return self._secured

    def receive(self) -> bytes | None:
        """Some bytes; none at the end; None when there are none now. Raises OSError when the peer is lost."""
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError):
            self.wants = READ
            return None
        except ssl.SSLWantWriteError:
            self.wants = WRITE
            return None
        except ssl.SSLZeroReturnError:
            return b""
        self.wants = READ
        return data

    @property
    def buffered(self) -> bool:
        """Whether TLS holds bytes that have left the system's buffers, so that waiting for it would be in vain."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def send(self, data: memoryview) -> int:
        """How many of the bytes were taken; 0 when none can be now. Raises OSError when the peer is lost."""
        try:
            return self.sock.send(data)
        except (BlockingIOError, InterruptedError, ssl.SSLWantWriteError):
            self.wants = WRITE
        except ssl.SSLWantReadError:
            self.wants = READ
        return 0

    def end(self) -> None:
        """Says that no more bytes follow: what was sent still arrives."""
        with suppress(OSError, ValueError):
            if isinstance(self.sock, ssl.SSLSocket):
                with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    self.sock.unwrap()
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Closes the socket, any number of times."""
        self.closed = True
        with suppress(OSError):
            self.sock.close()


def _text_of(code: int) -> str:
    import os

    return os.strerror(code)


def peer_name(sock: socket.socket) -> str:
    """The other end, for messages: ``127.0.0.1:50312``, or ``unix`` where it has no name."""
    try:
        where = sock.getpeername()
    except OSError:
        return "gone"
    if isinstance(where, tuple):
        return f"[{where[0]}]:{where[1]}" if ":" in where[0] else f"{where[0]}:{where[1]}"
    return "unix"
