"""Writing sockets, end to end: every peer gets whole records, and a slow or dead one is dealt with."""

from __future__ import annotations

import io
import socket
import threading
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv
import pytest

import streamlib as sl
from streamlib.errors import BuildError, Retry, SinkError
from tests.connectors.sockets.peers import LIMIT_S, SOON, Heard, Running, all_of, connect

LOCAL = "tcp-listen://127.0.0.1:0"
TABLE = pa.table(
    {
        "n": pa.array(range(10_000), pa.int64()),
        "s": pa.array(['a "b"', None, "c,d\ne", ""] * 2_500),
        "ts": pa.array(range(10_000), pa.timestamp("us")),
    }
)


def read_back(fmt: str, data: bytes) -> pa.Table:
    """What a stranger reads, with libraries of its own."""
    if fmt == "arrow":
        return pa.ipc.open_stream(data).read_all()
    if fmt == "csv":
        options = pyarrow.csv.ConvertOptions(
            column_types=TABLE.schema, strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
        return pyarrow.csv.read_csv(io.BytesIO(data), convert_options=options, parse_options=parse)
    rows = [orjson.loads(one) for one in data.splitlines()]
    times = pa.array([row.pop("ts") for row in rows]).cast(pa.timestamp("us"))
    return pa.Table.from_pylist(rows).append_column("ts", times)


@pytest.mark.parametrize("fmt", ["jsonl", "csv", "arrow"])
@pytest.mark.parametrize("workers", [1, 2])
def test_every_client_of_a_server_gets_every_row(fmt: str, workers: int) -> None:
    heard = Heard()
    sink = sl.read_arrow(TABLE).write_socket(LOCAL, fmt, clients=3, on_listen=heard)
    run = Running(sink, workers=workers)
    address = heard.address()
    clients = [connect(address) for _ in range(3)]
    got: list[bytes] = [b""] * 3

    def read(number: int) -> None:
        got[number] = all_of(clients[number])

    readers = [threading.Thread(target=read, args=(n,), daemon=True) for n in range(3)]
    for reader in readers:
        reader.start()
    report = run.end()
    for reader, client in zip(readers, clients, strict=True):
        reader.join(LIMIT_S)
        client.close()
    assert report.rows_out == 10_000
    for data in got:
        assert read_back(fmt, data).sort_by("n").equals(TABLE)


@pytest.mark.parametrize("fmt", ["jsonl", "csv", "arrow"])
def test_a_client_sends_everything_to_its_server(fmt: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT_S)
        run = Running(sl.read_arrow(TABLE).write_socket(f"tcp://127.0.0.1:{server.getsockname()[1]}", fmt))
        peer, _ = server.accept()
        with peer:
            data = all_of(peer)
    assert run.end().rows_out == 10_000
    assert read_back(fmt, data).equals(TABLE)


def test_an_engine_reads_what_an_engine_writes_over_a_unix_socket(tmp_path: Path) -> None:
    path = f"{tmp_path}/t.sock"
    heard = Heard()
    stream = sl.read_socket(f"unix-listen://{path}", "arrow", TABLE.schema, connections=2, on_listen=heard)
    reading = Running(stream)
    heard.address()
    for _ in range(2):
        sl.run(sl.read_arrow(TABLE).write_socket(f"unix://{path}", "arrow"), progress=False)
    assert reading.end().rows_in == 20_000
    assert sorted(row["n"] for row in reading.rows.rows) == sorted(2 * TABLE["n"].to_pylist())


def test_dictionaries_and_views_leave_as_plain_columns() -> None:
    table = pa.table({"s": pa.array(["a", "b", "a"]).dictionary_encode(), "n": [1, 2, 3]})
    heard = Heard()
    run = Running(sl.read_arrow(table).write_socket(LOCAL, "arrow", clients=1, on_listen=heard))
    with connect(heard.address()) as client:
        found = pa.ipc.open_stream(all_of(client)).read_all()
    run.end()
    assert found.to_pylist() == table.to_pylist() and found.schema.field("s").type == pa.string()


BIG = pa.table({"s": ["x" * 1_000] * 60_000})


def test_a_client_that_reads_nothing_is_dropped_and_counted() -> None:
    """The other one gets everything."""
    heard = Heard()
    sink = sl.read_arrow(BIG).write_socket(
        LOCAL, "jsonl", clients=2, max_queue=100_000, patience="500ms", on_listen=heard
    )
    run = Running(sink)
    address = heard.address()
    with connect(address), connect(address) as other:
        data = all_of(other)
    report = run.end()
    (counts,) = report.connectors.values()
    assert data.count(b"\n") == 60_000
    assert counts == {"connections": 2, "clients_dropped": 1}


def test_a_server_without_clients_goes_on_and_counts_the_rows() -> None:
    report = sl.run(sl.read_arrow(TABLE).write_socket(LOCAL, "jsonl"), progress=False)
    (counts,) = report.connectors.values()
    assert counts == {"rows_without_client": 10_000}


def test_a_client_that_comes_late_gets_whole_records_with_their_header() -> None:
    """It joins between two records: here after the first rows have gone to the other one."""
    heard = Heard()
    go_on = threading.Event()

    def hold(batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.num_rows and batch.column("n")[0].as_py() >= 5_000:
            assert go_on.wait(LIMIT_S)
        return batch

    stream = sl.read_arrow(TABLE).map_batches(hold, schema=TABLE.schema)
    sink = stream.write_socket(LOCAL, "csv", clients=1, on_listen=heard)
    done: list[sl.Report] = []
    thread = threading.Thread(
        target=lambda: done.append(sl.run(sink, batch_rows=5_000, progress=False)), daemon=True
    )
    thread.start()
    address = heard.address()
    with connect(address) as early, connect(address) as late:
        head = early.recv(10)
        late.settimeout(LIMIT_S)
        assert late.recv(4, socket.MSG_PEEK)  # the header: it has been taken in
        go_on.set()
        rest: list[bytes] = []
        reader = threading.Thread(target=lambda: rest.append(all_of(late)), daemon=True)
        reader.start()
        everything = read_back("csv", head + all_of(early))
        reader.join(LIMIT_S)
    thread.join(LIMIT_S)
    assert done and everything.equals(TABLE)
    part = read_back("csv", rest[0])
    assert 0 < part.num_rows <= 10_000
    assert part.equals(TABLE.slice(10_000 - part.num_rows))


def test_a_client_goes_on_with_a_server_that_comes_back() -> None:
    """Records that were sent in part are sent again whole; what the lost peer had not read is lost."""
    heard_rows: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT_S)
        port = server.getsockname()[1]
        run = Running(
            sl.read_arrow(BIG).write_socket(
                f"tcp://127.0.0.1:{port}", "jsonl", reconnect=SOON, max_queue=100_000
            )
        )
        first, _ = server.accept()
        with first:
            heard_rows.append(first.recv(50_000))
        second, _ = server.accept()
        with second:
            heard_rows.append(all_of(second))
    assert run.end().rows_out == 60_000
    for row in heard_rows[1].splitlines():
        assert orjson.loads(row) == {"s": "x" * 1_000}
    assert 0 < heard_rows[1].count(b"\n") <= 60_000


def test_a_peer_that_takes_nothing_is_an_error_of_the_client_in_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        sink = sl.read_arrow(BIG).write_socket(
            address, "jsonl", reconnect=False, max_queue=100_000, patience="50ms"
        )
        error = Running(sink).failure()
    assert isinstance(error, SinkError) and error.where == address
    assert "took nothing for 0.05 s" in str(error.got) and "reconnect" in str(error.hint)


def test_nobody_to_send_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sink = sl.read_arrow(TABLE).write_socket(
        f"tcp://127.0.0.1:{port}", "jsonl", reconnect=Retry(attempts=3, wait=0.001)
    )
    error = Running(sink).failure()
    assert isinstance(error, SinkError)
    assert error.problem == "cannot connect: 3 attempts failed" and error.where == f"tcp://127.0.0.1:{port}"


def test_a_port_in_use_is_found_before_a_row_is_read() -> None:
    read: list[Any] = []

    def noting(batch: pa.RecordBatch) -> pa.RecordBatch:
        read.append(batch.num_rows)
        return batch

    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"tcp-listen://127.0.0.1:{other.getsockname()[1]}"
        stream = sl.read_arrow(TABLE).map_batches(noting, schema=TABLE.schema)
        error = Running(stream.write_socket(address, "jsonl")).failure()
    assert isinstance(error, SinkError) and error.where == address
    assert read == []


def test_a_run_that_fails_leaves_no_sink_waiting() -> None:
    """One worker waits for clients that never come, another one fails: the run ends."""

    def failing(batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.num_rows:
            raise ValueError("no")
        return batch

    waiting = sl.read_arrow(TABLE).write_socket(LOCAL, "jsonl", clients=1)
    other = sl.read_arrow(TABLE).map_batches(failing, schema=TABLE.schema).print()
    error = Running(waiting, other, workers=2).failure()
    assert "no" in str(error)


@pytest.mark.parametrize(
    ("address", "options", "names"),
    [
        ("tcp://host:1", {"clients": 2}, "for servers"),
        ("tcp-listen://:1", {"reconnect": False}, "for clients"),
        ("tcp-listen://:1", {"max_queue": 0}, "max_queue="),
        ("tcp-listen://:1", {"patience": "soon"}, "patience"),
        ("tcp-listen://:1", {"format": "parquet"}, "Parquet"),
    ],
)
def test_what_cannot_work_fails_when_it_is_written(address: str, options: dict[str, Any], names: str) -> None:
    with pytest.raises(BuildError) as caught:
        sl.read_arrow(TABLE).write_socket(address, **{"format": "jsonl", **options})
    assert names in str(caught.value) and caught.value.step == "write_socket"
