"""Sockets as a source: a client is one split, however often it reconnects; a server has one for each client.

What has been sent is gone: a socket cannot be read again, so output depends on timing. Bytes are taken
from a connection's buffer under the split's lock and cut at the end of the last whole record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from streamlib.connectors.formats.names import format_of
from streamlib.connectors.formats.parquet import Parquet
from streamlib.connectors.formats.raw import RawBytes
from streamlib.connectors.schemas import schema_of
from streamlib.connectors.sockets.address import Address
from streamlib.connectors.sockets.framing import Framing, Undecodable, framing_of
from streamlib.connectors.sockets.inlet import Connection, Inlet, InletOptions
from streamlib.connectors.sockets.tls import TlsLike, tls_context
from streamlib.contracts import PENDING, Block, Format, Pending, Refused, Source, Split, SplitReader, Wake
from streamlib.errors import BuildError, ColumnNotFoundError, Retry

FRAME_BYTES_MAX = 1 << 20
"""The largest record, if nothing else is said."""
CONNECTIONS_MAX = 100
"""How many clients a server has at one time, if nothing else is said."""
RECONNECT = Retry(attempts=12, wait=0.1, factor=2.0, max_wait=30.0)
"""How often a client tries in a row, if nothing else is said: for about two minutes."""


class SocketSource(Source):
    """Rows from a socket.

    Args:
        address: ``tcp://host:port`` or ``unix://path`` to connect; ``tcp-listen://host:port`` or
            ``unix-listen://path`` to be a server for many clients.
        format: a name or a format with options: of text, or Arrow IPC streams.
        schema: a `pyarrow.Schema`, a dict or a dataclass.
        max_frame: bytes of the longest record.
        max_connections: of a server: how many clients at one time; more are refused and counted.
        connections: of a server: it ends when so many clients have come and gone; None: never.
        reconnect: of a client: whether, and how often in a row, it connects again when the connection
            ends or cannot be made. False: its rows end with the connection.
        tls: see `tls_context`.
        on_listen: of a server: called with its address, once it listens.
        columns: read only these.

    Raises:
        BuildError: an option that cannot work.

    >>> SocketSource("tcp-listen://:9000", "jsonl", {"n": int}).describe()
    'socket tcp-listen://127.0.0.1:9000'
    """

    replayable = False

    def __init__(
        self,
        address: str,
        format: str | Format,
        schema: Any,
        *,
        max_frame: int = FRAME_BYTES_MAX,
        max_connections: int = CONNECTIONS_MAX,
        connections: int | None = None,
        reconnect: bool | Retry = True,
        tls: TlsLike = None,
        on_listen: Callable[[str], object] | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        self._address = Address.parse(address)
        self._format = stream_format(format, self._address)
        if schema is None:
            raise BuildError(
                "a socket needs schema=: its columns must be known before the first row",
                where=str(self._address),
                expected='such as schema={"ts": "timestamp[us]", "price": float}',
                hint=f"`streamlib schema {self._address}` looks at the first rows and prints one to paste",
            )
        self._full = schema_of(schema)
        for name, value in (("max_frame", max_frame), ("max_connections", max_connections)):
            check_count(name, value)
        if connections is not None:
            check_count("connections", connections)
        self._check_side(connections, reconnect, on_listen)
        self._max_frame = max_frame
        self._columns = None if columns is None else list(columns)
        self._options = InletOptions(
            self._address,
            tls_context(tls, self._address),
            retry_of(reconnect),
            max_connections,
            connections,
            on_listen,
        )
        self.grows = self._address.listens
        self.bounded = connections is not None if self.grows else self._options.retry is None
        self._inlet: Inlet | None = None

    def _check_side(self, connections: object, reconnect: object, on_listen: object) -> None:
        if self._address.listens:
            if reconnect is not True:
                raise BuildError("reconnect= is for clients", got=f"the server {self._address}")
        elif connections is not None or on_listen is not None:
            name = "connections" if connections is not None else "on_listen"
            raise BuildError(f"{name}= is for servers", got=f"the client {self._address}")

    def schema(self) -> pa.Schema:
        if self._columns is None:
            return self._full
        keep = set(self._columns)
        return pa.schema([f for f in self._full if f.name in keep])

    def splits(self) -> list[Split]:
        return [] if self.grows else [Split(str(self._address))]

    def bind(self, wake: Wake) -> bool:
        self._inlet = Inlet(self._options, wake)
        self._inlet.start()
        return True

    def new_splits(self) -> list[Split] | None:
        assert self._inlet is not None
        found, complete = self._inlet.arrived()
        if complete and not found:
            return None
        return [Split(connection.name, connection) for connection in found]

    def open(self, split: Split, position: Any = None) -> SplitReader:
        return ServerReader(self, split.detail) if self.grows else ClientReader(self)

    def close(self) -> None:
        if self._inlet is not None:
            self._inlet.close()

    def counters(self) -> dict[str, int]:
        return {} if self._inlet is None else self._inlet.counters()

    def with_columns(self, columns: Sequence[str]) -> SocketSource:
        for name in columns:
            if name not in self._full.names:
                raise ColumnNotFoundError.of(name, self._full.names)
        other = SocketSource.__new__(SocketSource)
        other.__dict__.update(self.__dict__)
        keep = set(columns)
        other._columns = [n for n in self._full.names if n in keep] or self._full.names[:1]
        return other

    def describe(self) -> str:
        return f"socket {self._address}"

    @property
    def inlet(self) -> Inlet:
        """Where connections come from; there once the run has begun."""
        assert self._inlet is not None, "bind comes first"
        return self._inlet

    @property
    def reconnects(self) -> bool:
        """Whether a client goes on when its connection ends."""
        return self._options.retry is not None

    def framing(self, name: str) -> Framing:
        """What cuts and decodes one new connection."""
        return framing_of(self._format, name, self._full, self._columns, self._max_frame)


def stream_format(format: str | Format, address: Address) -> Format:
    """The format that `format=` means.

    Raises:
        BuildError: it is unknown, not said, or none that can be read before its end.
    """
    if format is None:
        raise BuildError("a socket needs format=", where=str(address), expected="'jsonl', 'csv' or 'arrow'")
    found = format_of(format)
    if isinstance(found, Parquet):
        raise BuildError(
            "Parquet cannot be sent over a socket: it is read from its end",
            where=str(address),
            expected="'jsonl', 'csv', 'lines' or 'arrow'",
            got=repr(format),
        )
    if isinstance(found, RawBytes) and found.size is None and found.delimiter is None:
        raise BuildError(
            "bytes over a socket need something that tells records apart",
            where=str(address),
            expected="sl.bytes(delimiter=...) or sl.bytes(size=...)",
        )
    return found


def retry_of(reconnect: bool | Retry) -> Retry | None:
    """The attempts that `reconnect=` means; None for a single connection."""
    if isinstance(reconnect, Retry):
        return reconnect
    if not isinstance(reconnect, bool):
        raise BuildError(
            "reconnect= has no such value", expected="True, False or a Retry", got=repr(reconnect)
        )
    return RECONNECT if reconnect else None


def check_count(name: str, value: object) -> None:
    """Raises BuildError for a limit that is none."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BuildError(f"{name}= has no such value", expected="a whole number from 1", got=repr(value))


class PeerReader:
    """What is cut from one connection."""

    def __init__(self, source: SocketSource, connection: Connection, name: str) -> None:
        self._source, self._connection = source, connection
        self._framing = source.framing(name)
        self._ready: deque[Block] = deque()
        self._over = False

    def read(self) -> Block | Pending | None:
        """The next block; PENDING; None at the end of the connection."""
        while not self._ready:
            if self._over:
                return None
            data, ended = self._connection.take()
            if not data and not ended:
                return PENDING
            self._over = ended
            for block in self._framing.feed(data, ended):
                self._ready.append(self._with_framing(block))
            if self._framing.given_up is not None:
                self._give_up()
        return self._ready.popleft()

    def _give_up(self) -> None:
        self._over = True
        self._connection.give_up()
        source = self._source
        if source.grows:
            source.inlet.count("clients_refused")
        elif self._framing.too_long is not None:
            self._ready.append(self._with_framing(self._framing.too_long.block()))

    def _with_framing(self, block: Block) -> Block:
        data = block.data if isinstance(block.data, Undecodable) else (self._framing, block)
        return Block(data, block.position, block.first_row, block.first_line, block.nbytes)


class _SocketReader(SplitReader):
    """Decodes the blocks of any connection: each knows what cut it."""

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        if isinstance(block.data, Undecodable):
            raise block.data.error
        framing, inner = block.data
        yield from framing.decode(inner)

    def decode_leniently(self, block: Block, refused: list[Refused]) -> Iterator[pa.RecordBatch]:
        if isinstance(block.data, Undecodable):
            refused.append(Refused(block.data.data, block.data.error, block.data.number))
            return
        framing, inner = block.data
        yield from framing.decode_leniently(inner, refused)


class ServerReader(_SocketReader):
    """One client of a server."""

    def __init__(self, source: SocketSource, connection: Connection) -> None:
        self._peer = PeerReader(source, connection, connection.name)

    def read(self) -> Block | Pending | None:
        return self._peer.read()


class ClientReader(_SocketReader):
    """All connections of a client, one after another."""

    def __init__(self, source: SocketSource) -> None:
        self._source = source
        self._peers: deque[PeerReader] = deque()

    def read(self) -> Block | Pending | None:
        while True:
            if not self._peers:
                found, complete = self._source.inlet.arrived()
                if not found:
                    return None if complete else PENDING
                for one in found:
                    name = one.name if one.number == 1 else f"{one.name}, connection {one.number}"
                    self._peers.append(PeerReader(self._source, one, name))
            answer = self._peers[0].read()
            if answer is not None:
                return answer
            self._peers.popleft()
