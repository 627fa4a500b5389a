"""What one small batch costs on its way through the whole job, from the source to the sink.

The source notes the time at each read. With one worker a batch has passed all steps before the next
one is read, so the time between two reads is what one batch took.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

import streamlib as sl
from benchmarks import answers, jobs
from benchmarks.measure import Row, one_arrow_thread, parser, report
from benchmarks.ticks import ticks
from streamlib.connectors.memory import ArrowSource, CollectSink
from streamlib.contracts import Block, Split, SplitReader


class NotingReader(SplitReader):
    """Passes on what `inner` reads, and notes when it was asked."""

    def __init__(self, inner: SplitReader, reads: list[int]) -> None:
        self.inner, self.reads = inner, reads
        self.peek, self.decode, self.close = inner.peek, inner.decode, inner.close  # type: ignore[method-assign]

    def read(self) -> Any:
        self.reads.append(time.perf_counter_ns())
        return self.inner.read()

    def decode(self, block: Block) -> Any:
        return self.inner.decode(block)


class NotingSource(ArrowSource):
    """An Arrow table in blocks of `rows`; `reads` are the times at which they were asked for, ns."""

    def __init__(self, table: pa.Table, rows: int, reads: list[int]) -> None:
        super().__init__(table, rows)
        self.table, self.rows, self.reads = table, rows, reads

    def open(self, split: Split, position: Any = None) -> SplitReader:
        return NotingReader(super().open(split, position), self.reads)

    def with_columns(self, columns: Sequence[str]) -> NotingSource:
        keep = [name for name in self.table.column_names if name in set(columns)]
        return NotingSource(self.table.select(keep), self.rows, self.reads)


def run_once(table: pa.Table, batch_rows: int) -> tuple[np.ndarray, str]:
    """Microseconds of each batch, and the hash of the bars."""
    reads: list[int] = []
    sink = CollectSink()
    stream = sl.read(NotingSource(table, batch_rows, reads))
    sl.run(jobs.bars(stream).write(sink), batch_rows=batch_rows, progress=False)
    return np.diff(np.array(reads)) / 1_000.0, answers.hash_of(sink.table())


def measure(batches: int, runs: int, symbols: int) -> list[Row]:
    """The median and the slowest hundredth, for batches of 256, 1,024 and 65,536 rows, in turns."""
    table = ticks(batches * 256, symbols)
    sizes = (256, 1_024, 65_536)
    micros: dict[int, list[np.ndarray]] = {size: [] for size in sizes}
    results = set()
    for turn in range(runs + 1):
        for size in sizes:
            found, result = run_once(table, size)
            results.add(result)
            if turn:  # the first compiles
                micros[size].append(found)
    assert len(results) == 1, "streamlib's answer depends on how batches are cut"
    made = []
    for size in sizes:
        every = np.concatenate(micros[size])
        median = float(np.median(every))
        notes = {"99 of 100 under us": float(np.percentile(every, 99)), "ns per row": median * 1_000 / size}
        target = "under 500 us" if size == 256 else ""
        name = f"{size:,} rows"
        made.append(Row("small_batches", name, median, "us", len(every), None, target, min(results), notes))
    return made


def main(arguments: list[str] | None = None) -> list[Row]:
    args = parser(__doc__, batches=4_000, runs=5, symbols=1_000).parse_args(arguments)
    one_arrow_thread()
    rows = measure(args.batches, args.runs, args.symbols)
    report(rows, args.json)
    return rows


if __name__ == "__main__":
    main()
