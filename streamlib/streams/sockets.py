"""Sockets at both ends of a pipeline: `read_socket`, and `write_socket` of `Stream`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from streamlib.errors import Retry, StreamlibError, user_location
from streamlib.graph import SourceNode

if TYPE_CHECKING:
    import pyarrow as pa

    from streamlib.connectors.sockets.tls import TlsLike
    from streamlib.contracts import Format, Sink
    from streamlib.graph import SinkNode
    from streamlib.streams.stream import Stream


def read_socket(
    address: str,
    format: str | Format,
    schema: pa.Schema | Mapping[str, Any] | type | None = None,
    *,
    reconnect: bool | Retry = True,
    max_frame: int = 1 << 20,
    max_connections: int = 100,
    connections: int | None = None,
    tls: TlsLike = None,
    on_listen: Callable[[str], object] | None = None,
) -> Stream:
    """A stream of the rows that come over a socket.

    A client is one split. A server has a split for each of its clients, which comes and goes with it;
    what a silent one does to the watermark is said by ``.event_time(..., idle=...)``. A record that
    cannot be read, or that the peer closed in the middle of, goes by ``.on_error(...)``.

    Args:
        address: ``tcp://host:port`` or ``unix://path`` connects to a server; ``tcp-listen://host:port``
            or ``unix-listen://path`` is one, for many clients. Without a host it listens on this
            machine only; with port 0 on any port that is free.
        format: ``jsonl``, ``csv``, ``lines`` or ``arrow`` (an Arrow IPC stream), or one with options.
        schema: the columns and their types.
        reconnect: a client connects again when the connection ends or cannot be made, up to 12 times in
            a row over two minutes, or as a `Retry` says. False: the rows end with the connection.
        max_frame: bytes of the longest record. Whoever sends a longer one is disconnected: a server
            counts it, a client goes by ``.on_error(...)``.
        max_connections: how many clients a server has at one time; more are refused and counted.
        connections: a server ends when so many clients have come and gone; None: never.
        tls: None for none. Of a client True, the file of the certificates to trust, or an
            `ssl.SSLContext`; of a server ``(certificate file, key file)`` or a context.
        on_listen: called by a server with its address once it listens: that is how the port behind
            port 0 is found.

    Raises:
        BuildError: no schema, or an option that cannot work.
        SourceError: in the run: nobody can be connected to, or the address is taken.

    >>> import streamlib as sl
    >>> schema = {"ts": "timestamp[us]", "price": float}
    >>> ticks = sl.read_socket("tcp://localhost:9000", format="jsonl", schema=schema)
    >>> ticks.schema.names
    ['ts', 'price']
    """
    from streamlib.connectors.sockets.source import SocketSource
    from streamlib.streams.stream import Stream

    at = user_location()
    try:
        source = SocketSource(
            address,
            format,
            schema,
            max_frame=max_frame,
            max_connections=max_connections,
            connections=connections,
            reconnect=reconnect,
            tls=tls,
            on_listen=on_listen,
        )
    except StreamlibError as error:
        raise error.in_step("read_socket", at) from error.__cause__
    return Stream(SourceNode(source=source, at=at))


class SocketVerbs:
    """`write_socket`; part of `Stream`."""

    if TYPE_CHECKING:

        def write(self, sink: Sink) -> SinkNode:
            """The verb of `Stream`."""

    def write_socket(
        self,
        address: str,
        format: str | Format,
        *,
        reconnect: bool | Retry = True,
        max_connections: int = 100,
        clients: int = 0,
        max_queue: int = 8 << 20,
        patience: str | dt.timedelta | None = None,
        tls: TlsLike = None,
        on_listen: Callable[[str], object] | None = None,
    ) -> SinkNode:
        """Sends rows over a socket as they come.

        They cannot be taken back: when a run fails, what it has sent stays sent, and what a peer has
        not read when its connection breaks is lost.

        Args:
            address: ``tcp://host:port`` or ``unix://path`` connects to a server; ``tcp-listen://host:port``
                or ``unix-listen://path`` is one, which sends every row to all its clients, each from the
                moment when it connected.
            format: ``jsonl``, ``csv``, ``lines`` or ``arrow`` (an Arrow IPC stream), or one with options.
            reconnect: a client connects again, as in `read_socket`; a record that was sent in part is
                sent again.
            max_connections: how many clients a server has at one time; more are refused and counted.
            clients: a server keeps its first row back until so many clients have connected. Rows that
                nobody was there for are counted.
            max_queue: bytes that may wait for one peer. When it is full the run waits for the peer.
            patience: how long a peer may take nothing while its queue is full. Then a server drops that
                client, and counts it; a client takes the connection for dead. None: 1 s and 30 s.
            tls: as in `read_socket`.
            on_listen: as in `read_socket`.

        Raises:
            BuildError: an option that cannot work.
            SinkError: in the run: nobody can be connected to, or the address is taken.

        >>> import pyarrow as pa, streamlib as sl
        >>> sink = sl.read_arrow(pa.table({"n": [1]})).write_socket("unix:///run/bars.sock", format="jsonl")
        >>> print(sl.explain(sink).splitlines()[-1].strip())
        guarantee: at_most_once within one run
        """
        from streamlib.connectors.sockets.sink import SocketSink

        try:
            sink = SocketSink(
                address,
                format,
                reconnect=reconnect,
                max_connections=max_connections,
                clients=clients,
                max_queue=max_queue,
                patience=patience,
                tls=tls,
                on_listen=on_listen,
            )
        except StreamlibError as error:
            raise error.in_step("write_socket", user_location()) from error.__cause__
        return self.write(sink)
