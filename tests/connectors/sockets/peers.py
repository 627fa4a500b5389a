"""What the tests of sockets share: pipelines that run beside the test, and peers written with plain sockets.

Nothing waits for a time to pass: every wait is for something to happen, with a limit that only a defect
reaches.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

import streamlib as sl
from streamlib.contracts import Sink, SinkWriter
from streamlib.errors import Retry

HERE = Path(__file__).parent
CERTIFICATE, KEY = HERE / "certificate.pem", HERE / "key.pem"
"""Of localhost and 127.0.0.1, made by itself, good for a hundred years."""
LIMIT_S = 30.0
"""How long anything may take; a defect if it does."""
SOON = Retry(attempts=40, wait=0.002, factor=1.2, max_wait=0.05)
"""A client that does not wait long."""
SCHEMA = {"peer": int, "n": int}


def line(peer: int, n: int) -> bytes:
    """One record of `SCHEMA` in JSON Lines."""
    return orjson.dumps({"peer": peer, "n": n}) + b"\n"


class Arrivals(Sink):
    """Keeps rows as they come, and lets a test wait for them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.changed = threading.Condition()

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        return ArrivalsWriter(self)

    def wait_for(self, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """The rows, once there are enough."""
        with self.changed:
            assert self.changed.wait_for(lambda: enough(self.rows), LIMIT_S), f"{len(self.rows)} rows came"
            return list(self.rows)


class ArrivalsWriter(SinkWriter):
    def __init__(self, sink: Arrivals) -> None:
        self.sink = sink

    def write(self, rows: pa.RecordBatch) -> None:
        with self.sink.changed:
            self.sink.rows.extend(rows.to_pylist())
            self.sink.changed.notify_all()


class Running:
    """A run on a thread of its own. Leaving the block waits for its end.

    Attributes:
        rows: what comes out, with `Arrivals.wait_for`.
        report: after the end.
        error: what ended it; asked for by tests that expect one.
    """

    def __init__(self, *streams: Any, workers: int = 1) -> None:
        self.rows = Arrivals()
        self.report: sl.Report | None = None
        self.error: BaseException | None = None
        sinks = [s if not isinstance(s, sl.Stream) else s.write(self.rows) for s in streams]
        self._thread = threading.Thread(target=self._run, args=(sinks, workers), daemon=True)
        self._thread.start()

    def _run(self, sinks: Sequence[Any], workers: int) -> None:
        try:
            self.report = sl.run(*sinks, workers=workers, progress=False)
        except BaseException as error:
            self.error = error

    def end(self) -> sl.Report:
        """The report, when the run has ended well."""
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive(), "the run does not end"
        if self.error is not None:
            raise self.error
        assert self.report is not None
        return self.report

    def failure(self) -> BaseException:
        """The error that ended the run."""
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive(), "the run does not end"
        assert self.error is not None, f"it ended well: {self.report}"
        return self.error


class Heard:
    """An `on_listen` that a test can wait for."""

    def __init__(self) -> None:
        self._queue: queue.Queue[str] = queue.Queue()

    def __call__(self, address: str) -> None:
        self._queue.put(address)

    def address(self) -> str:
        """Where it listens, as a client says it."""
        return self._queue.get(timeout=LIMIT_S).replace("-listen", "")


def connect(address: str) -> socket.socket:
    """A plain client of a server of the tests."""
    scheme, _, rest = address.partition("://")
    if scheme == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(LIMIT_S)
        sock.connect(rest)
        return sock
    host, _, port = rest.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=LIMIT_S)


def send(address: str, data: bytes) -> None:
    """Connects, sends and closes."""
    with connect(address) as sock:
        sock.sendall(data)


def all_of(sock: socket.socket) -> bytes:
    """Everything until the peer closes."""
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


def closed(sock: socket.socket) -> bool:
    """Waits until the peer has closed; what it sent before is thrown away."""
    try:
        return all_of(sock) is not None
    except ConnectionError:
        return True


def serving(data: Sequence[bytes]) -> Iterator[tuple[str, threading.Thread]]:
    """A plain server that gives each of its clients one of `data`, in turn, and closes."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(LIMIT_S)

    def serve() -> None:
        with server:
            for part in data:
                peer, _ = server.accept()
                with peer:
                    peer.sendall(part)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"tcp://127.0.0.1:{server.getsockname()[1]}", thread
    thread.join(LIMIT_S)
