"""Sockets as a place for results: rows leave as they come, and cannot be taken back.

What a peer has not read when its connection breaks is lost, so the guarantee is `at_most_once`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from streamlib.connectors.sockets.address import Address
from streamlib.connectors.sockets.encode import Encoder, encoder_of
from streamlib.connectors.sockets.outlet import Outlet, OutletOptions
from streamlib.connectors.sockets.source import CONNECTIONS_MAX, check_count, retry_of, stream_format
from streamlib.connectors.sockets.tls import TlsLike, tls_context
from streamlib.contracts import Format, Sink, SinkWriter
from streamlib.elements import duration_ns
from streamlib.errors import BuildError, Retry

QUEUE_BYTES_MAX = 8 << 20
"""What may wait for one peer, if nothing else is said."""
SERVER_PATIENCE, CLIENT_PATIENCE = "1s", "30s"
"""How long a peer may take nothing, if nothing else is said."""


class SocketSink(Sink):
    """Writes rows to a socket.

    Args:
        address: ``tcp://host:port`` or ``unix://path`` to connect; ``tcp-listen://host:port`` or
            ``unix-listen://path`` to be a server that sends every row to all its clients.
        format: a name or a format with options: of text, or Arrow IPC streams.
        reconnect: of a client: whether, and how often in a row, it connects again.
        max_connections: of a server: how many clients at one time; more are refused and counted.
        clients: of a server: the first row waits until so many have connected.
        max_queue: bytes that may wait for one peer; when they do, the run waits for it.
        patience: how long a peer may take nothing while the run waits for it. Then a server drops that
            client, and a client takes the connection for dead. None: 1 s for servers, 30 s for clients.
        tls: see `tls_context`.
        on_listen: of a server: called with its address, once it listens.

    Raises:
        BuildError: an option that cannot work.

    >>> SocketSink("tcp://localhost:9000", "jsonl").describe()
    'socket tcp://localhost:9000'
    """

    guarantee = "at_most_once"

    def __init__(
        self,
        address: str,
        format: str | Format,
        *,
        reconnect: bool | Retry = True,
        max_connections: int = CONNECTIONS_MAX,
        clients: int = 0,
        max_queue: int = QUEUE_BYTES_MAX,
        patience: str | dt.timedelta | None = None,
        tls: TlsLike = None,
        on_listen: Callable[[str], object] | None = None,
    ) -> None:
        self._address = Address.parse(address)
        self._format = stream_format(format, self._address)
        check_count("max_connections", max_connections)
        check_count("max_queue", max_queue)
        if clients:
            check_count("clients", clients)
        listens = self._address.listens
        if listens and reconnect is not True:
            raise BuildError("reconnect= is for clients", got=f"the server {self._address}")
        if not listens and (clients or on_listen is not None):
            name = "clients" if clients else "on_listen"
            raise BuildError(f"{name}= is for servers", got=f"the client {self._address}")
        if patience is None:
            patience = SERVER_PATIENCE if listens else CLIENT_PATIENCE
        self._options = OutletOptions(
            self._address,
            tls_context(tls, self._address),
            retry_of(reconnect),
            max_connections,
            clients,
            max_queue,
            duration_ns(patience, "patience") / 1e9,
            on_listen,
        )
        self._outlet: Outlet | None = None
        self._encoder: Encoder | None = None

    def prepare(self, schema: pa.Schema) -> None:
        self._encoder = encoder_of(self._format, schema, str(self._address))
        self._outlet = Outlet(self._options, self._encoder.head, self._encoder.tail)
        self._outlet.start()

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        assert self._outlet is not None and self._encoder is not None, "prepare comes first"
        return SocketWriter(self._outlet, self._encoder)

    def commit(self, staged: Sequence[Any]) -> None:
        self._end(well=True)

    def cancel(self) -> None:
        if self._outlet is not None:
            self._outlet.cancel()

    def abort(self) -> None:
        self._end(well=False)

    def counters(self) -> dict[str, int]:
        return {} if self._outlet is None else self._outlet.counters()

    def describe(self) -> str:
        return f"socket {self._address}"

    def _end(self, well: bool) -> None:
        if self._outlet is not None:
            self._outlet.close(well)


class SocketWriter(SinkWriter):
    """The writer of one worker. All workers share the connections."""

    def __init__(self, outlet: Outlet, encoder: Encoder) -> None:
        self._outlet, self._encoder = outlet, encoder

    def write(self, rows: pa.RecordBatch) -> None:
        for frame, count in self._encoder.frames(rows):
            self._outlet.send(frame, count)

    def finish(self) -> Any:
        self._outlet.flush()
        return None
