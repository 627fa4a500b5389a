"""Memory of a job on a socket while hours of ticks are replayed as fast as it takes them.

    python -m benchmarks.socket_memory --minutes 60

Another process writes CSV to the socket. What the job's process has in memory is noted with each bar of
ten seconds; it is flat when the last tenth has no more than the second.
"""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import time
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

import streamlib as sl
from benchmarks import jobs
from benchmarks.child import ROOT
from benchmarks.measure import Row, parser, report
from benchmarks.ticks import SCHEMA, SLOT_US, ticks
from streamlib.contracts import Sink, SinkWriter

ROWS_PER_MINUTE = 60_000_000 // SLOT_US


class MemorySink(Sink):
    """Notes the resident memory at each batch, and drops the rows."""

    def __init__(self) -> None:
        self.resident: list[int] = []

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        return MemoryWriter(self)


class MemoryWriter(SinkWriter):
    """Of one worker."""

    def __init__(self, sink: MemorySink) -> None:
        self.sink = sink

    def write(self, rows: pa.RecordBatch) -> None:
        with open("/proc/self/statm", encoding="ascii") as file:
            self.sink.resident.append(int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE"))


def feed(port: int, minutes: int) -> None:
    """Sends `minutes` of ticks to a server on this machine, as fast as it takes them."""
    options = pacsv.WriteOptions(include_header=False)
    with socket.create_connection(("127.0.0.1", port)) as peer, peer.makefile("wb") as out:
        for minute in range(minutes):
            if minute == 0:
                out.write((",".join(SCHEMA.names) + "\n").encode())
            piece = ticks(ROWS_PER_MINUTE, first=minute * ROWS_PER_MINUTE)
            pacsv.write_csv(piece, out, options)


def measure(minutes: int) -> list[Row]:
    """The memory early in the run and at its end."""
    feeders: queue.Queue[subprocess.Popen[bytes]] = queue.Queue()

    def start_feeder(address: str) -> None:
        command = [sys.executable, "-m", "benchmarks.socket_memory", "feed", address.rpartition(":")[2]]
        feeders.put(subprocess.Popen([*command, str(minutes)], cwd=ROOT))

    sink = MemorySink()
    options: dict[str, Any] = {"connections": 1, "on_listen": start_feeder}
    came = sl.read_socket("tcp-listen://127.0.0.1:0", "csv", jobs.CSV_SCHEMA, **options)
    begin = time.perf_counter()
    done = sl.run(jobs.bars(came).write(sink), progress=False)
    seconds = time.perf_counter() - begin
    assert feeders.get().wait() == 0 and done.rows_in == minutes * ROWS_PER_MINUTE
    tenth = max(1, len(sink.resident) // 10)
    early, late = max(sink.resident[tenth : 2 * tenth]), max(sink.resident[-tenth:])
    notes = {"M rows/s": done.rows_in / seconds / 1e6, "MB in the second tenth": early / 1e6}
    return [
        Row(
            "socket_memory",
            f"{minutes} minutes of ticks",
            late / 1e6,
            "MB",
            1,
            late / early,
            "flat",
            "",
            notes,
        )
    ]


def main(arguments: list[str] | None = None) -> list[Row]:
    args = parser(__doc__, minutes=60).parse_args(arguments)
    rows = measure(args.minutes)
    report(rows, args.json)
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["feed"]:
        feed(*map(int, sys.argv[2:]))
    else:
        main()
