"""What `streamlib schema FILE | tcp://...` prints: the columns of some data, as Python to paste.

A socket is read for a short while only: its first megabyte or thousand lines, or what has come when the
time is up. It must be one that sends on its own when somebody connects.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pyarrow as pa

from streamlib.connectors.files.source import FileSource
from streamlib.connectors.formats.names import format_of
from streamlib.connectors.schemas import print_schema
from streamlib.contracts import Format
from streamlib.errors import BuildError, SourceError

PEEK_BYTES = 1 << 20
PEEK_LINES = 1_000
PEEK_S = 10.0
"""How long a socket is listened to."""


def describe_source(
    target: str,
    format: str | Format | None = None,
    *,
    dataclass: str | None = None,
    timeout_s: float = PEEK_S,
) -> str:
    """The columns of a file, a pattern, a folder, or of what an address sends, as Python text.

    Args:
        target: a path, ``tcp://host:port`` or ``unix:///path``.
        format: as in `read_files`; for an address None tells JSON Lines and CSV apart.
        dataclass: print a dataclass of this name instead of a dict.
        timeout_s: how long an address is listened to at most.

    Raises:
        BuildError: a format or an address that cannot be read.
        SourceError: there is no such file or address, or nothing comes from it.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "ticks.jsonl"
    >>> _ = path.write_text('{"symbol": "A", "price": 1.5}\\n')
    >>> print(describe_source(str(path)))
    schema={
        "symbol": "string",
        "price": "float64",
    }
    """
    return print_schema(schema_of_target(target, format, timeout_s=timeout_s), dataclass)


def schema_of_target(
    target: str, format: str | Format | None = None, *, timeout_s: float = PEEK_S
) -> pa.Schema:
    """The columns of a file or of what an address sends; see `describe_source`."""
    if "://" not in target:
        return FileSource(target, format).schema()
    head = whole_lines(first_bytes(target, timeout_s), target)
    chosen = format_of(format) if format is not None else guessed(head)
    return chosen.infer_schema(io.BytesIO(head), target)


def guessed(head: bytes) -> Format:
    """JSON Lines where the first character opens an object, else CSV."""
    return format_of("jsonl" if head.lstrip()[:1] == b"{" else "csv")


def whole_lines(head: bytes, target: str) -> bytes:
    """The lines that have come whole.

    Raises:
        SourceError: not even one has.
    """
    whole = b"".join(head.splitlines(keepends=True)[:PEEK_LINES])
    whole = whole[: whole.rfind(b"\n") + 1]
    if not whole.strip():
        raise SourceError(
            "no whole line came from the address",
            where=target,
            got=f"{len(head):,} bytes: {head[:60]!r}" if head else "nothing",
            hint="is the other side sending, and is it lines of text?",
        )
    return whole


def first_bytes(target: str, timeout_s: float) -> bytes:
    """What an address sends until there is enough, it closes, or the time is up."""
    end = time.monotonic() + timeout_s
    received = bytearray()
    lines = 0
    with _connected(target, timeout_s) as connection:
        while len(received) < PEEK_BYTES and lines < PEEK_LINES:
            left = end - time.monotonic()
            if left <= 0:
                break
            connection.settimeout(left)
            try:
                data = connection.recv(min(1 << 16, PEEK_BYTES - len(received)))
            except TimeoutError:
                break
            except OSError as error:
                raise _unreachable(target, error) from error
            if not data:
                break
            received += data
            lines += data.count(b"\n")
    return bytes(received)


@contextlib.contextmanager
def _connected(target: str, timeout_s: float) -> Iterator[socket.socket]:
    try:
        connection = _connect(target, timeout_s)
    except OSError as error:
        raise _unreachable(target, error) from error
    with connection:
        yield connection


def _connect(target: str, timeout_s: float) -> socket.socket:
    address = urlsplit(target)
    if address.scheme == "unix" and hasattr(socket, "AF_UNIX"):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout_s)
            connection.connect(os.fspath(address.netloc + address.path))
        except BaseException:
            connection.close()
            raise
        return connection
    port = None
    with contextlib.suppress(ValueError):
        port = address.port
    if address.scheme != "tcp" or port is None or not address.hostname:
        raise BuildError(
            "the address cannot be listened to",
            expected="tcp://host:port or unix:///path/to/socket",
            got=repr(target),
        )
    return socket.create_connection((address.hostname, port), timeout=timeout_s)


def _unreachable(target: str, error: OSError) -> SourceError:
    return SourceError(
        "the address cannot be read",
        where=target,
        got=error.strerror or str(error),
        hint="is the other side listening?",
    )
