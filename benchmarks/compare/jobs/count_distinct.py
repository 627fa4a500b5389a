"""count_distinct: how many different volumes each symbol traded in windows of ten seconds, exactly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import MAX_DELAY, BytewaxWindow, Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import streamlib as sl

SECONDS = 10


class CountDistinct(Job):
    """Different volumes by symbol in ten seconds, exactly."""

    name = "count_distinct"
    answer = Shape(
        {"symbol": "string", "window_start": "timestamp[us]", "volumes": "int64"},
        keys=("symbol", "window_start"),
        noun="windows",
    )
    targets = {"polars": 2.0, "duckdb": 3.0}

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        import streamlib as sl
        from streamlib import col

        keyed = rows.event_time("ts", max_delay=MAX_DELAY).key_by("symbol")
        return keyed.window(sl.tumbling(f"{SECONDS}s")).agg(volumes=col("volume").count_distinct())

    def duckdb(self) -> dict[str, str]:
        start = f"time_bucket(INTERVAL {SECONDS} SECOND, ts)"
        query = f"SELECT symbol, {start} AS window_start, %s AS volumes FROM %s GROUP BY ALL"
        rows = f"(SELECT DISTINCT symbol, {start} AS ts, volume FROM {{source}})"
        return {
            "count(distinct)": query % ("count(DISTINCT volume)", "{source}"),
            "distinct rows": query % ("count(*)", rows),
        }

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        import polars as pl

        start = pl.col("ts").dt.truncate(f"{SECONDS}s").alias("window_start")
        by = ("symbol", "window_start")

        def distinct_rows(rows: Any) -> Any:
            different = rows.select("symbol", start, "volume").unique()
            return different.group_by(by).agg(volumes=pl.len())

        return {
            "n_unique": lambda rows: (
                rows.with_columns(start).group_by(by).agg(volumes=pl.col("volume").n_unique())
            ),
            "distinct rows": distinct_rows,
        }

    def flink(self) -> str:
        return f"""
            SELECT symbol, window_start, COUNT(DISTINCT volume) AS volumes
            FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(t), INTERVAL '{SECONDS}' SECOND))
            GROUP BY symbol, window_start, window_end
        """

    def bytewax(self) -> BytewaxWindow:
        from benchmarks.compare.engines.bytewax import start_of, tumbling

        def fold(seen: Any, tick: Any) -> Any:
            if seen is None:
                return {tick[2]}
            seen.add(tick[2])
            return seen

        return BytewaxWindow(
            lambda: tumbling(SECONDS),
            fold,
            lambda symbol, window, seen: f"{symbol},{start_of(window, SECONDS)},{len(seen)}",
        )

    def pathway(self, table: Any) -> Any:
        import pathway as pw

        return table.windowby(
            table.ts, window=pw.temporal.tumbling(timedelta(seconds=SECONDS)), instance=table.symbol
        ).reduce(
            symbol=pw.this._pw_instance,
            window_start=pw.this._pw_window_start,
            volumes=pw.reducers.count_distinct(pw.this.volume),
        )


JOB = CountDistinct()
