"""Memory over a long run: bars of ticks that are made while it goes on, and keys that come once.

    python -m benchmarks.long_run --rows 1000000000
    make long-run

The source has no end; a run is stopped when its rows are through. Resident memory is noted with each batch
of results: it is flat when the last tenth has no more than the second. Of keys that come once there must be
no state when their windows have closed: what a stop leaves open is counted.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

import streamlib as sl
from benchmarks import jobs
from benchmarks.measure import Row, one_arrow_thread, parser, report
from benchmarks.ticks import SCHEMA, SLOT_US, START, ticks
from streamlib.contracts import PENDING, Block, Pending, Sink, SinkWriter, Source, Split, SplitReader

BLOCK_ROWS = 65_536
LAP_ROWS = 16 * BLOCK_ROWS
"""So many ticks are drawn; they come again and again, each time later."""
QUIET_US = 3_600_000_000
"""The row behind the last key that comes once is so much later: it closes all windows but its own."""

ONCE = pa.schema({"ts": pa.timestamp("us"), "key": pa.int64()})


class Ticks(SplitReader):
    """Ticks without end. The position is the number of the next block."""

    def __init__(self, block: int) -> None:
        self.block = block
        self.lap = ticks(LAP_ROWS).to_batches(BLOCK_ROWS)

    def read(self) -> Block:
        block = Block(self.block, self.block + 1, first_row=self.block * BLOCK_ROWS)
        self.block += 1
        return block

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        lap, part = divmod(block.data, len(self.lap))
        rows = self.lap[part]
        times = np.asarray(rows.column("ts").view(pa.int64())) + lap * LAP_ROWS * SLOT_US
        yield rows.set_column(0, SCHEMA.field("ts"), pa.array(times).view(SCHEMA.field("ts").type))


class Once(SplitReader):
    """Rows with a key each, in the order of time, and one much later; after it the split is silent."""

    def __init__(self, block: int, blocks: int) -> None:
        self.block, self.blocks = block, blocks

    def read(self) -> Block | Pending:
        if self.block > self.blocks:
            return PENDING
        block = Block(self.block, self.block + 1, first_row=self.block * BLOCK_ROWS)
        self.block += 1
        return block

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        is_last = block.data == self.blocks
        keys = block.data * BLOCK_ROWS + np.arange(1 if is_last else BLOCK_ROWS, dtype=np.int64)
        times = START.astype(np.int64) + keys * SLOT_US + (QUIET_US if is_last else 0)
        yield pa.RecordBatch.from_arrays([pa.array(times).view(ONCE.field("ts").type), keys], schema=ONCE)


class Endless(Source):
    """One split that does not end.

    Args:
        blocks: of keys that come once; ticks for None.
    """

    bounded = False

    def __init__(self, blocks: int | None = None) -> None:
        self.blocks = blocks

    def schema(self) -> pa.Schema:
        return SCHEMA if self.blocks is None else ONCE

    def splits(self) -> list[Split]:
        return [Split("made")]

    def open(self, split: Split, position: Any = None) -> SplitReader:
        block = int(position or 0)
        return Ticks(block) if self.blocks is None else Once(block, self.blocks)


@dataclass
class Watched(Sink):
    """Counts results and rows behind them, and notes the resident memory; says when enough have come.

    Attributes:
        enough: rows behind the results.
        samples: resident bytes, with each batch of results.
    """

    enough: int
    samples: list[int] = field(default_factory=list)
    results: int = 0
    rows: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        return _Watching(self)


class _Watching(SinkWriter):
    """Of one worker."""

    def __init__(self, sink: Watched) -> None:
        self.sink = sink

    def write(self, rows: pa.RecordBatch) -> None:
        sink = self.sink
        sink.samples.append(resident())
        sink.results += rows.num_rows
        sink.rows += int(np.asarray(rows.column("trades")).sum())
        if sink.rows >= sink.enough:
            sink.done.set()


def resident() -> int:
    """What this process has in memory now, bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def watched(stream: sl.Stream, enough: int) -> tuple[Watched, sl.Report, float]:
    """Runs a stream without end until `enough` rows are in results, and stops it."""
    sink = Watched(enough)
    begin = time.perf_counter()
    job = sl.start(stream.write(sink), progress=False)
    while not sink.done.wait(0.1) and job.running:
        pass
    seconds = time.perf_counter() - begin
    return sink, job.stop(), seconds


def flat(rows: int) -> Row:
    """Bars of endless ticks."""
    sink, done, seconds = watched(jobs.bars(sl.read(Endless())), rows)
    assert not done.late, "no tick is late"
    tenth = max(1, len(sink.samples) // 10)
    early, late = max(sink.samples[tenth : 2 * tenth]), max(sink.samples[-tenth:])
    notes = {
        "M rows/s": sink.rows / seconds / 1e6,
        "MB in the second tenth": early / 1e6,
        "MB at most": max(sink.samples) / 1e6,
        "bars": sink.results,
    }
    return Row(
        "long_run", f"{rows:,} ticks", late / 1e6, "MB", 1, late / early, "ratio at most 1.05", "", notes
    )


def nothing_left(keys: int) -> Row:
    """Keys that come once: what is open when their windows have closed, beside the row that closed them."""
    blocks = -(-keys // BLOCK_ROWS)
    timed = sl.read(Endless(blocks)).event_time("ts", max_delay=jobs.MAX_DELAY)
    counted = timed.key_by("key").window(sl.tumbling(jobs.WINDOW)).agg(trades=sl.count())
    sink, done, seconds = watched(counted, blocks * BLOCK_ROWS)
    assert sink.results == blocks * BLOCK_ROWS, "each key has a result"
    left = sum(done.rows_left_open.values()) - 1
    tenth = max(1, len(sink.samples) // 10)
    notes = {
        "M rows/s": sink.rows / seconds / 1e6,
        "MB in the second tenth": max(sink.samples[tenth : 2 * tenth]) / 1e6,
        "MB in the last": max(sink.samples[-tenth:]) / 1e6,
    }
    return Row(
        "long_run", f"{sink.results:,} keys that come once, left", left, "rows", 1, None, "0", "", notes
    )


def main(arguments: list[str] | None = None) -> list[Row]:
    args = parser(__doc__, rows=1_000_000_000, keys=10_000_000).parse_args(arguments)
    one_arrow_thread()
    rows = [flat(args.rows), nothing_left(args.keys)]
    report(rows, args.json)
    return rows


if __name__ == "__main__":
    main()
