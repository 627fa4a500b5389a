"""Rates of the pane store on bars of ticks, by size of batch: ``python -m tests.state.rates [polars]``.

Ten million ticks of 1,000 symbols, out of order by up to 2 s, windows of 10 s. CPU time of the thread
is measured, so that other work on the machine disturbs little; Polars runs with one thread. Then
values that are no words: venues of four letters, and texts that are all different.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan, First, Last, Max, Min, Sum
from streamlib.kernels import compilations, marks
from streamlib.state import PaneStore, Tumbling

SECOND = 10**9
WINDOW = Tumbling(10 * SECOND)
FIELDS = [pa.field("symbol", pa.string())]


def ticks(rows: int, symbols: int) -> tuple[pa.RecordBatch, list[pa.Array], Any]:
    rng = np.random.default_rng(1)
    times = np.sort(rng.integers(0, 60 * rows // 1_000_000 * SECOND, rows)) + 1_700_000_000 * SECOND
    times -= rng.integers(0, 2 * SECOND, rows)
    names = pa.array([f"S{i:04d}" for i in range(symbols)])
    keys = pa.RecordBatch.from_arrays(
        [names.take(pa.array(rng.integers(0, symbols, rows)))], schema=pa.schema(FIELDS)
    )
    price, volume = rng.random(rows) * 100, rng.integers(1, 1000, rows)
    return keys, [pa.array(price), pa.array(volume), pa.array(price * volume)], times


def bars() -> AccumulatorPlan:
    f64 = pa.float64()
    prices = [(kind(), 0, f64) for kind in (First, Max, Min, Last)]
    return AccumulatorPlan([*prices, (Sum(), 1, pa.int64()), (Sum(), 2, f64)])


def run(
    data: tuple[pa.RecordBatch, list[pa.Array], Any], rows: int, batch: int, plan: AccumulatorPlan
) -> tuple[float, float, int]:
    """CPU seconds of all adds, of closing and finishing, and the number of bars."""
    keys, inputs, times = data
    store, top, added, closed_in, count = PaneStore(FIELDS, plan), -(2**63), 0.0, 0.0, 0
    for begin in range(0, rows, batch):
        part, time_part = [c.slice(begin, batch) for c in inputs], times[begin : begin + batch]
        began = time.thread_time()
        store.add(keys.slice(begin, batch), WINDOW, part, time_part)
        added += time.thread_time() - began
        top = marks.advance(time_part, top, -(2**63), 2 * SECOND).running_max
        began = time.thread_time()
        for closed in store.close((top - 2 * SECOND) // WINDOW.size * WINDOW.size):
            count += len(closed.results()[0])
        closed_in += time.thread_time() - began
    return added, closed_in, count


def polars(data: tuple[pa.RecordBatch, list[pa.Array], Any]) -> float:
    """CPU seconds of the same query in Polars; first and last by arrival, which is less work."""
    import polars as pl

    keys, (price, volume, paid), times = data
    frame = pl.DataFrame(
        {"s": pl.from_arrow(keys.column(0)), "t": times, "p": price, "v": volume, "pv": paid}
    )
    p = pl.col("p")
    query = frame.lazy().group_by("s", (pl.col("t") // WINDOW.size).alias("w"))
    began = time.process_time()
    query.agg(
        p.first().alias("o"), p.max().alias("h"), p.min().alias("l"), p.last().alias("c"), pl.sum("v", "pv")
    ).collect()
    return time.process_time() - began


def main() -> None:
    rows = 10_000_000
    data = ticks(rows, 1_000)
    run(data, 100_000, 65_536, bars())
    print(compilations())
    for batch, part in ((65_536, rows), (4_096, 2_000_000), (1_024, 1_000_000), (256, 500_000)):
        seconds, closing, count = sorted(run(data, part, batch, bars()) for _ in range(3))[1]
        each = seconds / (part / batch) * 1e6
        rate = part / seconds / 1e6
        print(
            f"{batch:6} rows: {rate:5.1f} M rows/s, {each:7.1f} us/add, closing {closing * 1e3:.1f} ms, {count} bars"
        )
    rng, (keys, _, times) = np.random.default_rng(2), data
    venues = pa.array(["XNAS", "ARCX", "BATS", "IEXG"]).take(pa.array(rng.integers(0, 4, rows)))
    texts = {"venues": venues, "different": pa.array(rng.permutation(rows) + 10**7).cast(pa.string())}
    for name, column in texts.items():
        for kinds in ((Last,), (First, Last), (Max,)):
            plan = AccumulatorPlan([(kind(), 0, pa.string()) for kind in kinds])
            for batch, part in ((65_536, 2_000_000), (4_096, 1_000_000), (1_024, 300_000)):
                text: Any = (keys, [column], times)
                run(text, 2 * batch, batch, plan)
                seconds = sorted(run(text, part, batch, plan)[0] for _ in range(3))[1]
                named = "+".join(kind.name for kind in kinds)
                print(f"{named:10} of {name:9} {batch:6} rows: {part / seconds / 1e6:5.1f} M rows/s")
    if "polars" in sys.argv:
        print(f"polars: {rows / sorted(polars(data) for _ in range(3))[1] / 1e6:.1f} M rows/s")


if __name__ == "__main__":
    main()
