"""From the row that moves the watermark past a window's end to the closed bar at the sink, over a socket.

    python -m benchmarks.socket_latency
    python -m benchmarks.socket_latency --rate 100000 --seconds 20

A feeder in a process of its own sends ticks whose event time is the moment at which they are due, whether
it manages to send them then or not: a pause anywhere counts for all rows that were due in it. A window
is late by the time from the first tick that is due at or after its end to its last bar at the sink.
"""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa

import streamlib as sl
from benchmarks.child import ROOT
from benchmarks.measure import Row, one_arrow_thread, parser, report
from streamlib import col
from streamlib.contracts import Sink, SinkWriter

WINDOW_NS = 50_000_000
WARM_UP_NS = 1_000_000_000
START_DELAY_NS = 500_000_000
SCHEMA = {"ts": "timestamp[ns]", "symbol": str, "price": float, "volume": int}


class NotingSink(Sink):
    """Keeps for each window's end, in ns, when its last bar came, and how many there were."""

    def __init__(self) -> None:
        self.came: dict[int, int] = {}
        self.bars = 0

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        return NotingWriter(self)


class NotingWriter(SinkWriter):
    """Notes the time of each batch."""

    def __init__(self, sink: NotingSink) -> None:
        self.sink = sink

    def write(self, rows: pa.RecordBatch) -> None:
        now = time.time_ns()
        self.sink.bars += rows.num_rows
        for end in rows.column("window_end").cast(pa.int64()).unique().to_pylist():
            self.sink.came[end] = now


def feed(port: int, rate: int, seconds: int, symbols: int) -> None:
    """Sends `rate` ticks a second to a server on this machine, each when it is due."""
    step = 1_000_000_000 // rate
    count = rate * seconds
    tails = [
        f'","symbol":"S{n % symbols:04d}","price":{100 + n % 7}.25,"volume":{n % 50}}}\n' for n in range(700)
    ]
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin = (time.time_ns() + START_DELAY_NS) // WINDOW_NS * WINDOW_NS
        print(begin, flush=True)
        sent, pause = 0, threading.Event()
        while sent < count:
            due = min(count, (time.time_ns() - begin) // step + 1)
            if due <= sent:
                pause.wait(0.0005)
                continue
            due = min(due, sent + 1_000)
            times = np.datetime_as_string((begin + np.arange(sent, due) * step).astype("datetime64[ns]"))
            lines = [f'{{"ts":"{at}{tails[n % 700]}' for n, at in enumerate(times, sent)]
            peer.sendall("".join(lines).encode())
            sent = due


def run(rate: int, seconds: int, symbols: int, workers: int) -> tuple[np.ndarray, int, int]:
    """The delay of each window after the warm-up in ns, the number of bars, and the rows read."""
    listening: queue.Queue[str] = queue.Queue()
    feeders: list[subprocess.Popen[str]] = []

    def start_feeder(address: str) -> None:
        command = [sys.executable, "-m", "benchmarks.socket_latency", "feed"]
        numbers = [address.rpartition(":")[2], str(rate), str(seconds), str(symbols)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        feeders.append(subprocess.Popen([*command, *numbers], stdout=subprocess.PIPE, text=True, env=env))
        listening.put(address)

    sink = NotingSink()
    ticks = sl.read_socket("tcp-listen://127.0.0.1:0", "jsonl", SCHEMA, connections=1, on_listen=start_feeder)
    done = sl.run(bars(ticks).write(sink), workers=workers, progress=False)
    begin = int(feeders[0].communicate()[0])
    ends = np.array(sorted(sink.came))
    came = np.array([sink.came[end] for end in ends])
    last = begin + rate * seconds * (1_000_000_000 // rate)
    measured = (ends > begin + WARM_UP_NS) & (ends < last - WINDOW_NS)
    return (came - ends)[measured], sink.bars, done.rows_in


def bars(ticks: sl.Stream) -> sl.Stream:
    """The job: a bar for each symbol and window."""
    return (
        ticks.event_time("ts", max_delay="0s")
        .key_by("symbol")
        .window(sl.tumbling("50ms"))
        .agg(
            trades=sl.count(),
            open=col("price").first(),
            high=col("price").max(),
            low=col("price").min(),
            close=col("price").last(),
            volume=col("volume").sum(),
        )
    )


def measure(rate: int, seconds: int, symbols: int, workers: int) -> list[Row]:
    """The slowest hundredth of the windows."""
    run(1_000, 1, symbols, workers)  # compiles
    delays, count, came = run(rate, seconds, symbols, workers)
    assert came == rate * seconds, f"{came:,} rows came of {rate * seconds:,}"
    millis = delays / 1e6
    notes = {
        "median ms": float(np.median(millis)),
        "slowest ms": float(millis.max()),
        "windows": len(millis),
        "bars": count,
    }
    name = f"{rate:,} ticks/s, {workers} worker{'s' if workers > 1 else ''}, 99 of 100 windows under"
    value = float(np.percentile(millis, 99))
    return [Row("socket_latency", name, value, "ms", 1, None, "under 10 ms", f"{count} bars", notes)]


def main(arguments: list[str] | None = None) -> list[Row]:
    args = parser(__doc__, rate=50_000, seconds=20, symbols=100, workers=1).parse_args(arguments)
    one_arrow_thread()
    rows = measure(args.rate, args.seconds, args.symbols, args.workers)
    report(rows, args.json)
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["feed"]:
        feed(*map(int, sys.argv[2:6]))
    else:
        main()
