"""TLS: what `tls=` takes, as an `ssl.SSLContext`. Peers are verified unless a context says otherwise."""

from __future__ import annotations

import os
import ssl
from typing import TypeAlias

from streamlib.connectors.sockets.address import Address
from streamlib.errors import BuildError

TlsLike: TypeAlias = "bool | ssl.SSLContext | str | os.PathLike[str] | tuple[str | os.PathLike[str], str | os.PathLike[str]] | None"  # noqa: E501
"""None or False for none; a context; of a client True or the file of certificates that it trusts; of a server
the file of its certificate and key, or two files."""


def tls_context(tls: TlsLike, address: Address) -> ssl.SSLContext | None:
    """The context that `tls=` means at this end; None for a plain connection.

    Raises:
        BuildError: it means none, or a file cannot be used.

    >>> tls_context(True, Address.parse("tcp://example.org:9000")).verify_mode.name
    'CERT_REQUIRED'
    """
    if tls is None or tls is False:
        return None
    if isinstance(tls, ssl.SSLContext):
        return tls
    if address.is_unix:
        raise BuildError("a Unix socket has no TLS", where=str(address), hint="leave tls= out")
    try:
        return _server(tls, address) if address.listens else _client(tls)
    except (OSError, ssl.SSLError) as error:
        raise BuildError(
            "a file of tls= cannot be used",
            where=str(address),
            expected="certificates, and of a server its key, as PEM",
            got=f"{tls!r}: {getattr(error, 'strerror', None) or error}",
        ) from error


def _client(tls: object) -> ssl.SSLContext:
    if tls is True:
        return ssl.create_default_context()
    if isinstance(tls, str | os.PathLike):
        return ssl.create_default_context(cafile=tls)
    raise _wrong(tls, "True, or the file of the certificates to trust")


def _server(tls: object, address: Address) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # A client that only sends would leave the tickets unread, and closing with something unread resets
    # the connection: what it sent last would be lost.
    context.num_tickets = 0
    if isinstance(tls, str | os.PathLike):
        context.load_cert_chain(tls)
    elif isinstance(tls, tuple) and len(tls) == 2:
        context.load_cert_chain(*tls)
    else:
        raise _wrong(tls, "(certificate file, key file)")
    return context


def _wrong(tls: object, expected: str) -> BuildError:
    return BuildError("tls= is not usable", expected=f"an ssl.SSLContext, {expected}", got=repr(tls))
