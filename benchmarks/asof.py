"""An as-of join beside Polars and DuckDB: trades as of quotes, both out of order by up to two seconds.

Run ``python -m benchmarks.asof``. Everything is in memory, on one thread; Polars and DuckDB are given
the rows as they come, and Polars once more sorted. All answers must have one hash.
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"  # read when polars is imported

import argparse
import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import streamlib as sl
from streamlib.connectors.memory import CollectSink

SYMBOLS = 1_000
RATE = 100_000
"""Rows per second of event time, of both sides together."""
DISORDER_NS = 2_000_000_000


def rows(count: int, of: int, seed: int, value: str) -> pa.Table:
    """`count` rows over the time that `of` rows take, as they arrive."""
    dice = np.random.default_rng(seed)
    spread = np.sort(dice.integers(0, of * (1_000_000_000 // RATE), count))
    arrival = np.argsort(spread + dice.integers(0, DISORDER_NS, count), kind="stable")
    names = pa.array([f"S{n:04}" for n in range(SYMBOLS)])
    return pa.table(
        {
            "ts": pa.array(spread[arrival]).view(pa.timestamp("ns")),
            "symbol": names.take(pa.array(dice.integers(0, SYMBOLS, count))),
            value: pa.array(dice.integers(1, 10_000, count) / 4),
            f"{value}_id": pa.array(np.arange(count)),
        }
    ).combine_chunks()


def streamlib_rows(trades: pa.Table, quotes: pa.Table, tolerance: str, workers: int = 1) -> pa.Table:
    """By the engine."""
    left = sl.read_arrow(trades).event_time("ts", max_delay="2s")
    right = sl.read_arrow(quotes).event_time("ts", max_delay="2s")
    sink = CollectSink()
    joined = left.asof_join(right, on="symbol", tolerance=tolerance)
    sl.run(joined.write(sink), workers=workers, progress=False)
    return sink.table()


def polars_rows(trades: pa.Table, quotes: pa.Table, tolerance: str) -> pa.Table:
    """By Polars, which sorts first."""
    import polars as pl

    left, right = (pl.DataFrame(table).sort("ts", maintain_order=True) for table in (trades, quotes))
    return left.join_asof(right, on="ts", by="symbol", tolerance=tolerance).to_arrow()


def duckdb_rows(trades: pa.Table, quotes: pa.Table, tolerance: str) -> pa.Table:
    """By DuckDB."""
    import duckdb

    database = duckdb.connect()
    database.execute("set threads = 1")
    database.register("trades", trades)
    database.register("quotes", quotes)
    seconds = tolerance.removesuffix("s")
    near = f"t.ts - q.ts <= interval {seconds} second"
    return database.execute(f"""
        select t.*, case when {near} then quote end as quote, case when {near} then quote_id end as quote_id
        from trades t asof left join quotes q on t.symbol = q.symbol and t.ts >= q.ts
    """).to_arrow_table()


def answer(table: pa.Table) -> int:
    """A hash of which trade has which quote; unequal times make it one-valued."""
    trade, quote = (table[name].cast(pa.int64()) for name in ("trade_id", "quote_id"))
    mixed = np.asarray(trade).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= np.asarray(pc.fill_null(quote, -1)).astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
    return int((mixed * mixed).sum() & np.uint64(0xFFFFFFFF))


def measured(work: Callable[[], pa.Table], rounds: int) -> tuple[float, int]:
    """The best time of several rounds, and the hash of the answer."""
    best, found = float("inf"), 0
    for _ in range(rounds):
        gc.collect()  # what the round before has made
        began = time.perf_counter()
        table = work()
        best = min(best, time.perf_counter() - began)
        found = answer(table)
        del table
    return best, found


def main() -> None:
    """Prints rates in million rows of both sides per second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trades", type=int, default=2_000_000)
    parser.add_argument("--quotes", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    count = options.trades + options.quotes
    trades = rows(options.trades, count, 1, "trade")
    quotes = rows(options.quotes, count, 2, "quote")
    streamlib_rows(trades.slice(0, 1000), quotes.slice(0, 1000), "5s")  # compiles
    jobs: dict[str, Callable[..., Any]] = {
        "streamlib": streamlib_rows,
        "Polars": polars_rows,
        "DuckDB": duckdb_rows,
    }
    for name, job in jobs.items():
        seconds, found = measured(lambda job=job: job(trades, quotes, "5s"), options.rounds)
        print(f"{name:12} {count / seconds / 1e6:7.2f} M rows/s   {seconds:6.3f} s   answer {found:08x}")
    ordered = [table.sort_by("ts") for table in (trades, quotes)]
    for name, job in jobs.items():
        seconds, found = measured(lambda job=job: job(*ordered, "5s"), options.rounds)
        print(
            f"{name:12} {count / seconds / 1e6:7.2f} M rows/s   {seconds:6.3f} s   answer {found:08x}  sorted"
        )


if __name__ == "__main__":
    main()
