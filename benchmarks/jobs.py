"""The job that the benchmarks run: bars of ten seconds per symbol, open and close by event time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlib as sl
from benchmarks.shapes import BARS
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


BAR_COLUMNS = tuple(BARS.types)
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


def duckdb_queries() -> dict[str, str]:
    """DuckDB's plans by name, each with ``{source}`` in place of a table."""
    return {
        name: DUCKDB_QUERY.format(start=start, source="{source}") for name, start in DUCKDB_STARTS.items()
    }


def polars_plans() -> dict[str, Callable[[Any], Any]]:
    """Polars' plans by name: the ways to find the first and the last price. Each takes a lazy frame."""
    import polars as pl

    ts, price, volume = pl.col("ts"), pl.col("price"), pl.col("volume")
    edges = {
        "arg_min": (price.get(ts.arg_min()), price.get(ts.arg_max())),
        "sort_by": (price.sort_by("ts").first(), price.sort_by("ts").last()),
        "min_by": (price.min_by("ts"), price.max_by("ts")),
        "sort first": (price.first(), price.last()),
    }
    start = (ts.cast(pl.Int64) // WINDOW_US * WINDOW_US).cast(pl.Datetime("us"))

    def plan(name: str) -> Callable[[Any], Any]:
        first, last = edges[name]

        def build(lazy: Any) -> Any:
            lazy = lazy.sort("ts") if name == "sort first" else lazy
            return (
                lazy.with_columns(window_start=start, pv=price * volume)
                .group_by("symbol", "window_start")
                .agg(
                    trades=pl.len(),
                    open=first,
                    high=price.max(),
                    low=price.min(),
                    close=last,
                    volume=volume.sum(),
                    pv=pl.col("pv").sum(),
                )
                .with_columns(vwap=pl.col("pv") / pl.col("volume"))
            )

        return build

    return {name: plan(name) for name in edges}
