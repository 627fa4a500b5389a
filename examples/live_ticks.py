"""Live bars: ticks from a socket to a table in the terminal, a row per symbol, new as each window closes.

    python examples/live_ticks.py                               waits for ticks on port 9009
    python examples/live_ticks.py feed --input out/ticks.csv    in another terminal: sends them, at 10 times their speed

The feeder replays any file of ticks, and is only one way to send them: a JSON object a line, with `ts`,
`symbol`, `price` and `volume`, from as many clients as you like. `--connect` has the table connect to a
server instead. Ctrl-C ends either side; the table also ends when `--feeds` feeders have come and gone.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

import streamlib as sl
from streamlib import col
from streamlib.contracts import PENDING, Block, Pending, Sink, SinkWriter, Source, Split, SplitReader

SCHEMA = {"ts": "timestamp[us]", "symbol": str, "price": float, "volume": int}
PORT = 9009
FEED_ROWS_MAX = 1_000
"""The most ticks that the feeder sends at one time."""


# The bars.


def bars_of(ticks: sl.Stream, window: str, max_delay: str) -> sl.Stream:
    """One row per symbol and window. A feeder that is silent does not hold up the others."""
    return (
        ticks.on_error("skip")
        .filter(col("price") > 0)
        .event_time("ts", max_delay=max_delay, idle="leave", idle_after="5s")
        .key_by("symbol")
        .window(sl.tumbling(window))
        .agg(
            trades=sl.count(),
            open=col("price").first(),
            high=col("price").max(),
            low=col("price").min(),
            close=col("price").last(),
            volume=col("volume").sum(),
            vwap=(col("price") * col("volume")).sum() / col("volume").sum(),
        )
        .named("bars")
    )


class LiveTable(Sink):
    """The latest bar of each symbol, drawn again as bars close.

    Args:
        console: where it is drawn.
        symbols: the most rows shown.
    """

    guarantee = "at_most_once"

    def __init__(self, console: Console, symbols: int) -> None:
        self.console, self.symbols = console, symbols
        self.last: dict[str, dict[str, Any]] = {}
        self.bars = 0
        self.live = Live(self.drawn(), console=console, auto_refresh=False)
        self.lock = threading.Lock()

    def prepare(self, schema: pa.Schema) -> None:
        self.live.start(refresh=True)

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        return LiveWriter(self)

    def show(self, bars: list[dict[str, Any]]) -> None:
        """Takes closed bars and draws the table. A late symbol does not replace a newer bar."""
        with self.lock:
            self.bars += len(bars)
            for bar in bars:
                known = self.last.get(bar["symbol"])
                if known is None or bar["window_start"] >= known["window_start"]:
                    self.last[bar["symbol"]] = {**bar, "before": known and known["close"]}
            self.live.update(self.drawn(), refresh=True)

    def drawn(self) -> Table:
        """The table as it is now."""
        table = Table(title=f"{self.bars:,} bars of {len(self.last):,} symbols", box=SIMPLE_HEAD)
        for name in ("symbol", "from", "trades", "open", "high", "low", "close", "volume", "vwap"):
            table.add_column(name, justify="left" if name in ("symbol", "from") else "right", no_wrap=True)
        for symbol in sorted(self.last)[: self.symbols]:
            bar = self.last[symbol]
            prices = [f"{bar[name]:,.2f}" for name in ("open", "high", "low")]
            table.add_row(
                symbol,
                f"{bar['window_start']:%H:%M:%S}",
                f"{bar['trades']:,}",
                *prices,
                Text(f"{bar['close']:,.2f}", style=colour(bar["before"], bar["close"])),
                f"{bar['volume']:,}",
                f"{bar['vwap']:,.2f}",
            )
        return table

    def commit(self, staged: Any) -> None:
        self.abort()

    def abort(self) -> None:
        self.live.stop()
        if not self.console.is_terminal:
            self.console.print()

    def describe(self) -> str:
        return "the table"


class LiveWriter(SinkWriter):
    """Hands the bars of one worker on."""

    def __init__(self, table: LiveTable) -> None:
        self.table = table

    def write(self, rows: pa.RecordBatch) -> None:
        self.table.show(rows.to_pylist())


def colour(before: float | None, now: float) -> str:
    """Green for a price that rose since the last bar, red for one that fell."""
    if before is None or before == now:
        return "default"
    return "green" if now > before else "red"


def watch(
    args: argparse.Namespace, console: Console, on_listen: Callable[[str], object] | None = None
) -> sl.Report:
    """Shows bars until the ticks end."""
    if args.connect:
        ticks = sl.read_socket(args.connect, format="jsonl", schema=SCHEMA)
    else:
        address = f"tcp-listen://{args.host}:{args.port}"
        ticks = sl.read_socket(
            address, format="jsonl", schema=SCHEMA, connections=args.feeds, on_listen=on_listen
        )
    table = LiveTable(console, args.symbols)
    return sl.run(bars_of(ticks, args.window, args.max_delay).write(table), progress=False)


# The feeder.


class Paced(Source):
    """Another source's rows, each handed out when it is due: `speed` times as fast as they happened.

    Rows keep their order. One that happened before the row ahead of it is sent together with that one.
    """

    def __init__(self, inner: Source, speed: float) -> None:
        self.inner, self.speed = inner, speed

    def schema(self) -> pa.Schema:
        return self.inner.schema()

    def splits(self) -> list[Split]:
        return list(self.inner.splits())

    def open(self, split: Split, position: object = None) -> SplitReader:
        return PacedReader(self.inner.open(split, position), self.speed)

    def describe(self) -> str:
        return f"{self.inner.describe()}, at {self.speed:g} times its speed"


class PacedReader(SplitReader):
    """Has nothing until the next rows are due."""

    def __init__(self, inner: SplitReader, speed: float) -> None:
        self.inner, self.speed = inner, speed
        self.rows = self.parts()
        self.next: pa.RecordBatch | None = None
        self.began: tuple[float, datetime] | None = None

    def parts(self) -> Iterator[pa.RecordBatch]:
        """The rows in pieces that are due at about one time."""
        while isinstance(block := self.inner.read(), Block):
            for batch in self.inner.decode(block):
                times = batch.column("ts").to_pylist()
                begin = 0
                for row in range(1, len(times) + 1):
                    full = row - begin == FEED_ROWS_MAX or row == len(times)
                    if full or (times[row] - times[begin]).total_seconds() > self.speed / 1_000:
                        yield batch.slice(begin, row - begin)
                        begin = row

    def read(self) -> Block | Pending | None:
        if self.next is None:
            self.next = next(self.rows, None)
        if self.next is None:
            return None
        first, now = self.next.column("ts")[0].as_py(), time.monotonic()
        if self.began is None:
            self.began = (now, first)
        if now < self.began[0] + (first - self.began[1]).total_seconds() / self.speed:
            return PENDING
        part, self.next = self.next, None
        return Block(part)

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        yield block.data

    def close(self) -> None:
        self.inner.close()


def feed(args: argparse.Namespace) -> sl.Report:
    """Sends the ticks of a file to whoever shows them."""
    from streamlib.connectors import FileSource

    ticks = sl.read(Paced(FileSource(args.input, schema=SCHEMA), args.speed))
    return sl.run(ticks.write_socket(f"tcp://{args.host}:{args.port}", format="jsonl"), progress=False)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument(
        "--connect", help="an address such as tcp://host:9009 to read from, instead of a port"
    )
    parser.add_argument("--feeds", type=int, help="end when so many feeders have come and gone; else never")
    parser.add_argument("--window", default="10s")
    parser.add_argument("--max-delay", default="2s", help="how far ticks may be out of order")
    parser.add_argument("--symbols", type=int, default=20, help="the most rows of the table")
    feeder = parser.add_subparsers(dest="mode").add_parser("feed", help="send the ticks of a file")
    feeder.add_argument("--input", required=True, help="a file, as examples/make_ticks.py writes it")
    feeder.add_argument("--speed", type=float, default=10.0, help="how many times faster than it happened")
    feeder.add_argument("--host", default="127.0.0.1")
    feeder.add_argument("--port", type=int, default=PORT)
    return parser.parse_args(given)


def main() -> None:
    args = arguments()
    try:
        if args.mode == "feed":
            print(feed(args))
        else:
            console = Console()
            print(
                watch(
                    args, console, on_listen=lambda address: console.print(f"waiting for ticks on {address}")
                )
            )
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    try:
        main()
    except sl.StreamlibError as error:
        sys.exit(f"error: {error}")
