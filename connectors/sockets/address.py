"""Addresses: ``tcp://host:port``, ``tcp-listen://host:port``, ``unix://path``, ``unix-listen://path``.

The side that listens says so in its address; who reads and who writes is another matter.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

from streamlib.errors import BuildError, SourceError, StreamlibError, nearest_names

SCHEMES = ("tcp", "tcp-listen", "unix", "unix-listen")
LOOPBACK = "127.0.0.1"
BACKLOG = 128


@dataclass(frozen=True, slots=True)
class Address:
    """One end of a connection.

    Attributes:
        scheme: one of `SCHEMES`.
        host: a name or an IP address; empty for Unix sockets.
        port: 0 to 65,535; 0 only where the address listens: any port that is free.
        path: of a Unix socket.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def listens(self) -> bool:
        """Whether it is a server's."""
        return self.scheme.endswith("-listen")

    @property
    def is_unix(self) -> bool:
        """Whether it is a path of this machine."""
        return self.scheme.startswith("unix")

    def __str__(self) -> str:
        if self.is_unix:
            return f"{self.scheme}://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address that a user wrote.

        Raises:
            BuildError: it is none.

        >>> str(Address.parse("tcp-listen://:9000"))
        'tcp-listen://127.0.0.1:9000'
        >>> Address.parse("unix:///run/ticks.sock").path
        '/run/ticks.sock'
        """
        if "://" not in str(text):
            raise _wrong(text, f"did you mean 'tcp://{text}'?")
        scheme, _, rest = text.partition("://")
        if scheme not in SCHEMES:
            near = nearest_names(scheme, SCHEMES)
            raise _wrong(text, f"did you mean '{near[0]}://'?" if near else None)
        if scheme.startswith("unix"):
            if not hasattr(socket, "AF_UNIX"):
                raise BuildError("there are no Unix sockets on this system", got=repr(text))
            if not rest or "\0" in rest:
                raise _wrong(text, "a Unix socket needs a path: unix:///run/ticks.sock")
            return cls(scheme, path=os.path.abspath(os.path.expanduser(rest)))
        try:
            parts = urlsplit(f"//{rest}")
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise _wrong(text, str(error)) from None
        if port is None or parts.path or parts.query or parts.fragment or parts.username is not None:
            raise _wrong(text, "write the host and the port, and nothing after them")
        listens = scheme.endswith("-listen")
        if not listens and (not port or not host):
            raise _wrong(text, "a client needs a host, and a port above 0")
        return cls(scheme, host or LOOPBACK, port)


def _wrong(text: object, hint: str | None) -> BuildError:
    return BuildError(
        "this is no address of a socket",
        expected="tcp://host:port, tcp-listen://host:port, unix://path or unix-listen://path",
        got=repr(text),
        hint=hint,
    )


def listen(address: Address, kind: type[StreamlibError] = SourceError) -> tuple[socket.socket, Address]:
    """A listening, non-blocking socket, and the address it really has (a port 0 is replaced).

    A Unix socket's file that nobody listens on any more is replaced; any other file is an error.

    Raises:
        StreamlibError: of class `kind`: the port or path is in use, or must not be used.
    """
    try:
        if address.is_unix:
            return _listen_unix(address), address
        family, _, _, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        server = socket.socket(family, socket.SOCK_STREAM)
        try:
            if sys.platform != "win32":  # there it would let two servers share a port
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(where)
            server.listen(BACKLOG)
            server.setblocking(False)
        except BaseException:
            server.close()
            raise
        return server, Address(address.scheme, address.host, server.getsockname()[1])
    except OSError as error:
        raise refused(address, error, kind) from error


def _listen_unix(address: Address) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            server.bind(address.path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(address.path):
                raise
            os.unlink(address.path)
            server.bind(address.path)
        os.chmod(address.path, stat.S_IRUSR | stat.S_IWUSR)  # its owner only; nobody has connected yet
        server.listen(BACKLOG)
        server.setblocking(False)
    except BaseException:
        server.close()
        raise
    return server


def _is_stale(path: str) -> bool:
    """Whether a file is a socket that nobody listens on."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED


def refused(address: Address, error: OSError, kind: type[StreamlibError], tries: int = 1) -> StreamlibError:
    """The error for an address that could not be listened on, or connected to `tries` times."""
    what = "cannot listen on the address" if address.listens else "cannot connect"
    if tries > 1:
        what += f": {tries} attempts failed"
    return kind(what, where=str(address), got=error.strerror or str(error), hint=_hint(address, error))


def _hint(address: Address, error: OSError) -> str | None:
    if isinstance(error, socket.gaierror):
        return f"is the name {address.host!r} written rightly?"
    if isinstance(error, PermissionError):
        low = not address.is_unix and 0 < address.port < 1024
        return "ports below 1024 need a privilege" if low else "who runs this has no permission"
    if error.errno == errno.EADDRINUSE:
        other = "another path" if address.is_unix else "another port, or port 0 for any that is free"
        return f"something else listens there: use {other}"
    if error.errno == errno.ECONNREFUSED:
        return "nothing listens there: is the other side started?"
    if isinstance(error, FileNotFoundError):
        return "no such folder" if address.listens else "is the other side started?"
    return None
