"""tick_bars: open, high, low, close, volume and vwap of 200 symbols in windows of fifty ticks.

Ticks have to be taken in the order of their times. A window that is not full is no bar.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import MAX_DELAY, Job
from benchmarks.shapes import BARS

if TYPE_CHECKING:
    import pyarrow as pa

    import streamlib as sl

ROWS = 50
SYMBOLS = 200


class TickBars(Job):
    """Bars of fifty ticks by symbol: open, high, low, close, volume, vwap."""

    name = "tick_bars"
    answer = BARS

    def data(self, rows: int) -> pa.Table:
        import pyarrow as pa

        from benchmarks.ticks import pieces

        return pa.concat_tables(pieces(rows, SYMBOLS)).combine_chunks()

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        import streamlib as sl
        from streamlib import col

        keyed = rows.event_time("ts", max_delay=MAX_DELAY).key_by("symbol")
        return keyed.window(sl.tumbling(rows=ROWS)).agg(
            trades=sl.count(),
            open=col("price").first(),
            high=col("price").max(),
            low=col("price").min(),
            close=col("price").last(),
            volume=col("volume").sum(),
            vwap=(col("price") * col("volume")).sum() / col("volume").sum(),
        )

    def duckdb(self) -> dict[str, str]:
        return {
            "row_number": f"""
                SELECT symbol, min(ts) AS window_start, count(*) AS trades,
                       arg_min(price, ts) AS open, max(price) AS high, min(price) AS low,
                       arg_max(price, ts) AS close, sum(volume)::BIGINT AS volume,
                       sum(price * volume) / sum(volume) AS vwap
                FROM (
                    SELECT *, (row_number() OVER (PARTITION BY symbol ORDER BY ts) - 1) // {ROWS} AS bar
                    FROM {{source}})
                GROUP BY symbol, bar HAVING count(*) = {ROWS}
            """
        }

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        import polars as pl

        ts, price, volume = pl.col("ts"), pl.col("price"), pl.col("volume")
        totals = {
            "window_start": ts.first(),
            "trades": pl.len(),
            "open": price.first(),
            "high": price.max(),
            "low": price.min(),
            "close": price.last(),
            "volume": volume.sum(),
            "pv": (price * volume).sum(),
        }

        def finished(bars: Any) -> Any:
            return bars.filter(pl.col("trades") == ROWS).with_columns(vwap=pl.col("pv") / volume)

        def over(rows: Any) -> Any:
            bar = (pl.int_range(pl.len()).over("symbol") // ROWS).alias("bar")
            return finished(rows.sort("ts").with_columns(bar).group_by("symbol", "bar").agg(**totals))

        def one_sort(rows: Any) -> Any:
            ordered = rows.sort("symbol", "ts").with_row_index("at")
            first = pl.col("at").first().over("symbol")
            bar = ((pl.col("at") - first) // ROWS).alias("bar")
            return finished(ordered.with_columns(bar).group_by("symbol", "bar").agg(**totals))

        return {"over symbol": over, "sort by symbol": one_sort}


JOB = TickBars()
