"""hopping_60_panes: windows of one minute that begin every second, by symbol. Each tick is in sixty of them.

The libraries add up seconds first and then sixty seconds at a time, which is their fastest way. Flink does so
by itself; Bytewax and Pathway put each row into each of its windows.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import MAX_DELAY, BytewaxWindow, Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import streamlib as sl

PANES = 60


class Hopping(Job):
    """Trades, volume, low and high by symbol over the last minute, each second."""

    name = "hopping_60_panes"
    answer = Shape(
        {
            "symbol": "string",
            "window_start": "timestamp[us]",
            "trades": "int64",
            "volume": "int64",
            "low": "double",
            "high": "double",
        },
        keys=("symbol", "window_start"),
        noun="windows",
    )
    targets = {"polars": 3.0}

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        import streamlib as sl
        from streamlib import col

        keyed = rows.event_time("ts", max_delay=MAX_DELAY).key_by("symbol")
        return keyed.window(sl.hopping("1m", every="1s")).agg(
            trades=sl.count(), volume=col("volume").sum(), low=col("price").min(), high=col("price").max()
        )

    def duckdb(self) -> dict[str, str]:
        panes = """
            panes AS MATERIALIZED (
                SELECT symbol, date_trunc('second', ts) AS second, count(*) AS n, sum(volume) AS v,
                       min(price) AS lo, max(price) AS hi
                FROM {source} GROUP BY ALL)
        """
        copies = f"""
            WITH {panes}
            SELECT symbol, second - to_seconds(back) AS window_start, sum(n)::BIGINT AS trades,
                   sum(v)::BIGINT AS volume, min(lo) AS low, max(hi) AS high
            FROM panes, range({PANES}) AS hop(back) GROUP BY ALL
        """
        frames = f"""
            WITH {panes},
            seconds AS (
                SELECT unnest(range(min(second) - INTERVAL {PANES - 1} SECOND,
                                    max(second) + INTERVAL 1 SECOND, INTERVAL 1 SECOND)) AS second
                FROM panes),
            symbols AS (SELECT DISTINCT symbol FROM panes)
            SELECT symbol, second AS window_start, trades::BIGINT AS trades, volume::BIGINT AS volume, low, high
            FROM (
                SELECT symbol, second, sum(n) OVER w AS trades, sum(v) OVER w AS volume,
                       min(lo) OVER w AS low, max(hi) OVER w AS high
                FROM symbols CROSS JOIN seconds LEFT JOIN panes USING (symbol, second)
                WINDOW w AS (PARTITION BY symbol ORDER BY second
                             ROWS BETWEEN CURRENT ROW AND {PANES - 1} FOLLOWING))
            WHERE trades IS NOT NULL
        """
        return {"window frames": frames, "copies of seconds": copies}

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        import polars as pl

        def seconds(rows: Any) -> Any:
            return (
                rows.with_columns(second=pl.col("ts").dt.truncate("1s"))
                .group_by("symbol", "second")
                .agg(
                    n=pl.len().cast(pl.Int64),
                    v=pl.col("volume").sum(),
                    lo=pl.col("price").min(),
                    hi=pl.col("price").max(),
                )
            )

        totals = {
            "trades": pl.col("n").sum(),
            "volume": pl.col("v").sum(),
            "low": pl.col("lo").min(),
            "high": pl.col("hi").max(),
        }

        def dynamic(rows: Any) -> Any:
            ordered = seconds(rows).sort("second")
            windows = ordered.group_by_dynamic(
                "second", every="1s", period=f"{PANES}s", offset=f"-{PANES - 1}s", group_by="symbol"
            )
            return windows.agg(**totals).rename({"second": "window_start"})

        def copies(rows: Any) -> Any:
            hops = pl.lit(
                [timedelta(seconds=back) for back in range(PANES)], dtype=pl.List(pl.Duration("us"))
            )
            each = seconds(rows).with_columns(back=hops).explode("back")
            each = each.with_columns(window_start=pl.col("second") - pl.col("back"))
            return each.group_by("symbol", "window_start").agg(**totals)

        return {"group_by_dynamic": dynamic, "copies of seconds": copies}

    def flink(self) -> str:
        return f"""
            SELECT symbol, window_start, COUNT(*) AS trades, SUM(volume) AS volume,
                   MIN(price) AS low, MAX(price) AS high
            FROM TABLE(HOP(TABLE events, DESCRIPTOR(t), INTERVAL '1' SECOND, INTERVAL '{PANES}' SECOND(3)))
            GROUP BY symbol, window_start, window_end
        """

    def bytewax(self) -> BytewaxWindow:
        from benchmarks.compare.engines.bytewax import sliding, start_of

        def fold(state: Any, tick: Any) -> Any:
            _, price, volume = tick
            if state is None:
                return [1, volume, price, price]
            state[0] += 1
            state[1] += volume
            state[2] = min(state[2], price)
            state[3] = max(state[3], price)
            return state

        def line(symbol: str, window: int, state: Any) -> str:
            n, volume, low, high = state
            return f"{symbol},{start_of(window, 1)},{n},{volume},{low!r},{high!r}"

        return BytewaxWindow(lambda: sliding(PANES, 1), fold, line)

    def pathway(self, table: Any) -> Any:
        import pathway as pw

        window = pw.temporal.sliding(timedelta(seconds=1), duration=timedelta(seconds=PANES))
        return table.windowby(table.ts, window=window, instance=table.symbol).reduce(
            symbol=pw.this._pw_instance,
            window_start=pw.this._pw_window_start,
            trades=pw.reducers.count(),
            volume=pw.reducers.sum(pw.this.volume),
            low=pw.reducers.min(pw.this.price),
            high=pw.reducers.max(pw.this.price),
        )


JOB = Hopping()
