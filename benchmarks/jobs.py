"""The job that the benchmarks run: bars of ten seconds per symbol, open and close by event time."""

from __future__ import annotations

import streamlib as sl
from streamlib import col

WINDOW = "10s"
WINDOW_US = 10_000_000
MAX_DELAY = "2s"

CSV_SCHEMA = {"ts": "timestamp[us]", "symbol": str, "price": float, "volume": int}


def bars(ticks: sl.Stream) -> sl.Stream:
    """The bars of a stream of ticks; the columns of `BAR_COLUMNS`."""
    return (
        ticks.event_time("ts", max_delay=MAX_DELAY)
        .key_by("symbol")
        .window(sl.tumbling(WINDOW))
        .agg(
            trades=sl.count(),
            open=col("price").first(),
            high=col("price").max(),
            low=col("price").min(),
            close=col("price").last(),
            volume=col("volume").sum(),
            vwap=(col("price") * col("volume")).sum() / col("volume").sum(),
        )
    )


BAR_COLUMNS = ("symbol", "window_start", "trades", "open", "high", "low", "close", "volume", "vwap")
"""What the engines must agree on; `window_end` is `window_start` plus ten seconds."""

DUCKDB_QUERY = """
    SELECT symbol, {start} AS window_start, count(*) AS trades,
           arg_min(price, ts) AS open, max(price) AS high, min(price) AS low, arg_max(price, ts) AS close,
           sum(volume)::BIGINT AS volume, sum(price * volume) / sum(volume) AS vwap
    FROM {source} GROUP BY ALL
"""
DUCKDB_STARTS = {
    "time_bucket": "time_bucket(INTERVAL 10 SECOND, ts)",
    "integers": f"make_timestamp(epoch_us(ts) // {WINDOW_US} * {WINDOW_US})",
}
"""How DuckDB may compute the start of a window."""
