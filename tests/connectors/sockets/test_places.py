"""Where sockets are opened, by whom, and how: ports, paths, permissions, TLS, and what cannot be written at all."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib.errors import BuildError, SourceError
from tests.connectors.sockets.peers import (
    CERTIFICATE,
    KEY,
    LIMIT_S,
    SCHEMA,
    Heard,
    Running,
    closed,
    connect,
    line,
    send,
)
from tests.connectors.sockets.test_read_socket import LOCAL, counts, server

# Places that cannot be used.


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"tcp-listen://127.0.0.1:{other.getsockname()[1]}"
        error = Running(sl.read_socket(address, "jsonl", SCHEMA)).failure()
    assert isinstance(error, SourceError)
    assert error.where == address and "port 0" in str(error.hint)


needs_unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")


@needs_unix
def test_a_unix_socket_is_its_owners_and_goes_away_with_the_run(tmp_path: Path) -> None:
    path = tmp_path / "t.sock"
    stream, heard = server(1, address=f"unix-listen://{path}")
    run = Running(stream)
    address = heard.address()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with connect(address) as client:
        client.sendall(line(0, 1))
        run.rows.wait_for(lambda rows: len(rows) == 1)
    run.end()
    assert not path.exists()


@needs_unix
def test_a_unix_client(tmp_path: Path) -> None:
    path = tmp_path / "t.sock"
    with socket.socket(socket.AF_UNIX) as plain:
        plain.bind(str(path))
        plain.listen()
        plain.settimeout(LIMIT_S)
        run = Running(sl.read_socket(f"unix://{path}", "jsonl", SCHEMA, reconnect=False))
        peer, _ = plain.accept()
        with peer:
            peer.sendall(line(0, 5))
    assert run.end().rows_in == 1


@needs_unix
def test_a_socket_left_by_a_crash_is_replaced_and_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "t.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    stream, heard = server(1, address=f"unix-listen://{path}")
    run = Running(stream)
    send(heard.address(), line(0, 1))
    assert run.end().rows_in == 1
    path.write_text("precious")
    error = Running(sl.read_socket(f"unix-listen://{path}", "jsonl", SCHEMA)).failure()
    assert isinstance(error, SourceError) and path.read_text() == "precious"


@needs_unix
def test_a_unix_socket_that_somebody_listens_on_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "t.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        error = Running(sl.read_socket(f"unix-listen://{path}", "jsonl", SCHEMA)).failure()
    assert isinstance(error, SourceError) and "something else listens" in str(error.hint)


@needs_unix
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    error = Running(sl.read_socket(f"unix-listen://{folder}/t.sock", "jsonl", SCHEMA)).failure()
    assert isinstance(error, SourceError) and error.hint == "who runs this has no permission"


def test_permission_is_named_as_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    class Denied(socket.socket):
        def bind(self, address: Any) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", Denied)
    from streamlib.connectors.sockets.address import Address, listen

    with pytest.raises(SourceError, match="cannot listen") as caught:
        listen(Address.parse("tcp-listen://127.0.0.1:80"))
    assert caught.value.hint == "ports below 1024 need a privilege"


@needs_unix
def test_a_path_without_a_folder(tmp_path: Path) -> None:
    error = Running(sl.read_socket(f"unix-listen://{tmp_path}/no/t.sock", "jsonl", SCHEMA)).failure()
    assert isinstance(error, SourceError) and error.hint == "no such folder"


# TLS.


def test_tls_both_ways() -> None:
    """A client that verifies reads what a server with a certificate of its own sends."""
    heard = Heard()
    rows = pa.table({"peer": [0] * 5_000, "n": range(5_000)})
    sending = Running(
        sl.read_arrow(rows).write_socket(LOCAL, "jsonl", clients=1, tls=(CERTIFICATE, KEY), on_listen=heard)
    )
    address = heard.address().replace("127.0.0.1", "localhost")
    found = sl.read_socket(address, "jsonl", SCHEMA, reconnect=False, tls=CERTIFICATE).collect()
    assert sending.end().rows_out == 5_000
    assert found.equals(rows)


def test_a_tls_server_and_clients_that_are_not_what_they_should() -> None:
    """Plain text, garbage and a peer that leaves are counted; the right client is served."""
    stream, heard = server(1, tls=(CERTIFICATE, KEY))
    run = Running(stream)
    address = heard.address()
    for data in (line(0, 1), b"\x16\x03\x01" + b"\xff" * 100, b""):
        with connect(address) as client:
            with contextlib.suppress(OSError):  # the server may have hung up already
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
            assert closed(client)
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    with context.wrap_socket(connect(address), server_hostname="localhost") as secured:
        for n in range(2_000):
            secured.sendall(line(1, n))
    report = run.end()
    assert report.rows_in == 2_000
    assert counts(report) == {"connections": 1, "handshakes_failed": 3}


def test_an_unknown_certificate_is_refused_at_once() -> None:
    stream, heard = server(1, tls=(CERTIFICATE, KEY))
    serving = Running(stream)
    address = heard.address()
    error = Running(sl.read_socket(address, "jsonl", SCHEMA, tls=True)).failure()
    assert isinstance(error, SourceError) and "certificate" in str(error.got).lower()
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    with context.wrap_socket(connect(address), server_hostname="localhost"):
        pass
    serving.end()


def test_a_certificate_of_another_name_is_refused() -> None:
    stream, heard = server(1, tls=(CERTIFICATE, KEY))
    serving = Running(stream)
    address = heard.address()
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    with pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(connect(address), server_hostname="example.org")
    with context.wrap_socket(connect(address), server_hostname="localhost"):
        pass
    serving.end()


# What fails when the graph is built.


def test_a_schema_is_required() -> None:
    with pytest.raises(BuildError, match="schema") as caught:
        sl.read_socket("tcp://host:9000", format="jsonl")
    assert "streamlib schema tcp://host:9000" in str(caught.value.hint)
    assert caught.value.step == "read_socket" and "test_places.py" in str(caught.value.at)


@pytest.mark.parametrize(
    ("address", "options", "names"),
    [
        ("host:9000", {}, "tcp://host:9000"),
        ("tpc://host:9000", {}, "tcp"),
        ("tcp://host", {}, "port"),
        ("tcp://:9000", {}, "host"),
        ("tcp://host:0", {}, "port above 0"),
        ("tcp://host:99999", {}, "0-65535"),
        ("tcp://host:1/path", {}, "nothing after"),
        ("unix://", {}, "path"),
        ("tcp://host:1", {"format": "parquet"}, "read from its end"),
        ("tcp://host:1", {"format": None}, "format="),
        ("tcp://host:1", {"max_frame": 0}, "max_frame="),
        ("tcp://host:1", {"max_connections": True}, "max_connections="),
        ("tcp://host:1", {"connections": 3}, "for servers"),
        ("tcp://host:1", {"reconnect": "often"}, "reconnect="),
        ("tcp://host:1", {"tls": 7}, "tls="),
        ("tcp://host:1", {"tls": "no such file"}, "No such file"),
        ("tcp-listen://:1", {"reconnect": False}, "for clients"),
        ("tcp-listen://:1", {"tls": True}, "certificate file"),
        ("tcp-listen://:1", {"connections": 0}, "connections="),
        ("unix:///tmp/x", {"tls": True}, "no TLS"),
    ],
)
def test_what_cannot_work_fails_when_it_is_written(address: str, options: dict[str, Any], names: str) -> None:
    options = {"format": "jsonl", **options}
    with pytest.raises(BuildError) as caught:
        sl.read_socket(address, schema=SCHEMA, **options)
    assert names in str(caught.value)


def test_the_plan_says_that_a_socket_cannot_be_read_again() -> None:
    stream = sl.read_socket("tcp://host:9000", "jsonl", SCHEMA)
    assert "timing, because read: the source cannot be read again" in sl.explain(stream.print())
