"""Reading sockets, end to end: what peers send, in whatever way, comes out; what is wrong is counted."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import streamlib as sl
from streamlib.connectors.sockets.inlet import BUFFER_BYTES_MAX, Connection
from streamlib.connectors.sockets.loop import Loop
from streamlib.connectors.sockets.source import SocketSource
from streamlib.errors import DataError, Retry, SourceError
from tests.connectors.sockets.peers import (
    LIMIT_S,
    SCHEMA,
    SOON,
    Heard,
    Running,
    closed,
    connect,
    line,
    send,
    serving,
)

LOCAL = "tcp-listen://127.0.0.1:0"
server_of = contextmanager(serving)


def server(
    connections: int, format: Any = "jsonl", schema: Any = None, **options: Any
) -> tuple[sl.Stream, Heard]:
    heard = Heard()
    stream = sl.read_socket(
        options.pop("address", LOCAL),
        format,
        schema or SCHEMA,
        connections=connections,
        on_listen=heard,
        **options,
    )
    return stream, heard


def counts(report: sl.Report) -> dict[str, int]:
    (found,) = report.connectors.values()
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hundred_clients_at_once(workers: int) -> None:
    """All are connected at one time, and the rows of each come in its order."""
    stream, heard = server(100)
    run = Running(stream, workers=workers)
    address = heard.address()
    clients = [connect(address) for _ in range(100)]
    for n in range(5):
        for number, client in enumerate(clients):
            client.sendall(line(number, n))
    run.rows.wait_for(lambda rows: len(rows) == 500)
    for client in clients:
        client.close()
    report = run.end()
    assert report.rows_in == 500 and counts(report) == {"connections": 100}
    if workers == 1:
        for number in range(100):
            assert [row["n"] for row in run.rows.rows if row["peer"] == number] == [0, 1, 2, 3, 4]
    assert sorted((r["peer"], r["n"]) for r in run.rows.rows) == [
        (p, n) for p in range(100) for n in range(5)
    ]


def test_rows_come_before_the_client_has_gone() -> None:
    stream, heard = server(1)
    run = Running(stream)
    with connect(heard.address()) as client:
        for n in range(3):
            client.sendall(line(0, n)[:5])
            client.sendall(line(0, n)[5:])
            run.rows.wait_for(lambda rows, n=n: len(rows) == n + 1)
    run.end()


def test_a_client_that_floods_is_held_back_and_the_others_are_served() -> None:
    """More than its buffer and the system's hold: it has to wait, and nothing of it is lost."""
    stream, heard = server(2)
    run = Running(stream)
    address = heard.address()
    flood = b"".join(line(0, n) for n in range(20_000))
    times = 60
    sender = threading.Thread(target=send, args=(address, flood * times), daemon=True)
    sender.start()
    run.rows.wait_for(lambda rows: len(rows) > 0)
    with connect(address) as other:
        other.sendall(line(1, 7))
        run.rows.wait_for(lambda rows: any(row["peer"] == 1 for row in rows))
    sender.join(LIMIT_S)
    assert run.end().rows_in == 20_000 * times + 1


def test_memory_of_a_client_that_nobody_reads_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its buffer takes up to its limit, then the connection is not read any more, and the client has to wait."""
    held_back = threading.Event()
    watch = Loop.watch

    def noting(self: Loop, sock: socket.socket, events: int, handler: Any) -> None:
        watch(self, sock, events, handler)
        if not events and isinstance(handler, Connection):
            held_back.set()

    monkeypatch.setattr(Loop, "watch", noting)
    heard = Heard()
    source = SocketSource(LOCAL, "jsonl", SCHEMA, on_listen=heard)
    source.bind(lambda name: None)
    try:
        with connect(heard.address()) as client:

            def flood() -> None:
                with suppress(OSError):
                    while True:
                        client.sendall(line(0, 0) * 5_000)

            flooding = threading.Thread(target=flood, daemon=True)
            flooding.start()
            assert held_back.wait(LIMIT_S)
            (split,) = source.new_splits() or []
            taken, ended = split.detail.take()
            assert BUFFER_BYTES_MAX <= len(taken) < BUFFER_BYTES_MAX + (64 << 10) and not ended
            source.close()
            flooding.join(LIMIT_S)
    finally:
        source.close()


def test_a_client_that_closes_in_the_middle_of_a_record() -> None:
    stream, heard = server(2)
    run = Running(stream.on_error("skip"))
    address = heard.address()
    send(address, line(0, 1) + line(0, 2) + b'{"peer": 0, "n"')
    send(address, line(1, 1))
    report = run.end()
    assert sorted((r["peer"], r["n"]) for r in run.rows.rows) == [(0, 1), (0, 2), (1, 1)]
    assert sum(report.skipped.values()) == 1


def test_it_ends_the_run_where_nothing_else_is_said() -> None:
    stream, heard = server(2)
    run = Running(stream)
    send(heard.address(), line(0, 1) + b'{"peer": 0, "n"')
    error = run.failure()
    assert isinstance(error, DataError)
    assert error.problem == "the peer closed in the middle of a record"
    assert "client 1 (127.0.0.1:" in str(error.where) and "line 2" in str(error.where)
    assert "{" in str(error.got)


def test_dead_letters_hold_the_bytes_as_they_came() -> None:
    stream, heard = server(1)
    refused = stream.on_error("dead_letter")
    run = Running(refused.dead_letters, refused.print(rows=0))
    send(heard.address(), line(0, 1) + b'not json\n{"peer": "x", "n": 2}\n' + line(0, 3) + b"rest")
    run.end()
    assert [row["error_data"].strip() for row in run.rows.rows] == [
        b"not json",
        b'{"peer": "x", "n": 2}',
        b"rest",
    ]


@pytest.mark.parametrize(
    "garbage", [b"\xff\xfe\x00\x01\n", b"\x00" * 100 + b"\n", b"\x80abc\n", bytes(range(256)) + b"\n"]
)
def test_bytes_that_are_no_text_disturb_nobody(garbage: bytes) -> None:
    stream, heard = server(2)
    run = Running(stream.on_error("skip"))
    address = heard.address()
    send(address, line(0, 1) + garbage + line(0, 2))
    send(address, line(1, 1))
    report = run.end()
    assert sorted((r["peer"], r["n"]) for r in run.rows.rows) == [(0, 1), (0, 2), (1, 1)]
    assert sum(report.skipped.values()) >= 1


def test_a_client_that_sends_nothing() -> None:
    stream, heard = server(3)
    run = Running(stream)
    address = heard.address()
    with connect(address), connect(address) as other:
        other.sendall(line(1, 1))
        run.rows.wait_for(lambda rows: len(rows) == 1)
        send(address, line(2, 1))
        run.rows.wait_for(lambda rows: len(rows) == 2)
    assert run.end().rows_in == 2


@pytest.mark.parametrize("ended", [True, False])
def test_a_record_over_the_limit_ends_its_connection_and_is_counted(ended: bool) -> None:
    """What came before it counts; whether the long record has an end does not matter."""
    stream, heard = server(2, max_frame=1_000)
    run = Running(stream)
    address = heard.address()
    with connect(address) as client:
        long = b'{"peer": 0, "n": 2, "s": "' + b"x" * 2_000
        client.sendall(line(0, 1) + long + (b'"}\n' if ended else b""))
        assert closed(client)
    send(address, line(1, 1))
    report = run.end()
    assert sorted((r["peer"], r["n"]) for r in run.rows.rows) == [(0, 1), (1, 1)]
    assert counts(report) == {"connections": 2, "clients_refused": 1}


def test_a_server_that_sends_too_long_a_record_is_an_error_of_the_client() -> None:
    with server_of([line(0, 1) + b"x" * 200]) as (address, _):
        run = Running(sl.read_socket(address, "jsonl", SCHEMA, reconnect=False, max_frame=100))
        error = run.failure()
    assert isinstance(error, DataError) and "longer than max_frame" in error.problem
    assert error.hint is not None and "max_frame=" in error.hint


def test_more_clients_than_there_is_room_for_are_refused_and_counted() -> None:
    stream, heard = server(3, max_connections=2)
    run = Running(stream)
    address = heard.address()
    with connect(address) as one, connect(address) as two:
        for number, client in enumerate((one, two)):
            client.sendall(line(number, 1))
        run.rows.wait_for(lambda rows: len(rows) == 2)
        with connect(address) as third:
            assert closed(third)
    while run.report is None:  # the places of the two are free as soon as the server has seen them go
        try:
            send(address, line(2, 1))
        except OSError:
            break
        with run.rows.changed:
            if run.rows.changed.wait_for(lambda: len(run.rows.rows) == 3, 0.05):
                break
    report = run.end()
    assert report.rows_in == 3
    assert counts(report)["connections"] == 3 and counts(report)["connections_refused"] >= 1


# Clients.


def test_a_client_reads_to_the_end_of_its_connection() -> None:
    with server_of([b"".join(line(0, n) for n in range(1_000))]) as (address, _):
        found = sl.read_socket(address, "jsonl", SCHEMA, reconnect=False).collect()
    assert found["n"].to_pylist() == list(range(1_000))


def test_a_client_goes_on_when_the_server_comes_back() -> None:
    """It is one split over all its connections; a server that is not there yet is waited for."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    run = Running(sl.read_socket(f"tcp://127.0.0.1:{port}", "jsonl", SCHEMA, reconnect=SOON))
    for turn in range(3):
        with socket.create_server(("127.0.0.1", port)) as again:
            again.settimeout(LIMIT_S)
            peer, _ = again.accept()
            with peer:
                peer.sendall(line(turn, 1) + line(turn, 2))
                run.rows.wait_for(lambda rows, turn=turn: len(rows) == 2 * turn + 2)
    error = run.failure()
    assert isinstance(error, SourceError)
    assert error.problem == "cannot connect: 40 attempts failed"
    assert error.where == f"tcp://127.0.0.1:{port}"


def test_a_server_that_only_closes_is_no_success() -> None:
    with server_of([b""] * 3) as (address, _):
        run = Running(sl.read_socket(address, "jsonl", SCHEMA, reconnect=Retry(attempts=3, wait=0.001)))
        error = run.failure()
    assert isinstance(error, SourceError)
    assert error.got == "the peer closes without sending anything"


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = Running(sl.read_socket(f"tcp://127.0.0.1:{port}", "jsonl", SCHEMA, reconnect=False)).failure()
    assert isinstance(error, SourceError) and error.problem == "cannot connect"
    assert error.hint == "nothing listens there: is the other side started?"
    assert error.step == "read"


def test_a_name_that_nobody_knows_is_no_reason_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unknown(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = Running(sl.read_socket("tcp://no-such-host:9000", "jsonl", SCHEMA)).failure()
    assert isinstance(error, SourceError)
    assert "no-such-host" in str(error.hint) and len(asked) == 1
