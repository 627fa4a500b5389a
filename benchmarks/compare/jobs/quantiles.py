"""quantiles: the median and the ninetieth percentile of each symbol's prices in windows of ten seconds, exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import MAX_DELAY, BytewaxWindow, Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import streamlib as sl

SECONDS = 10


class Quantiles(Job):
    """Median and ninetieth percentile of prices by symbol in ten seconds, exactly."""

    name = "quantiles"
    answer = Shape(
        {"symbol": "string", "window_start": "timestamp[us]", "p50": "double", "p90": "double"},
        keys=("symbol", "window_start"),
        near=("p50", "p90"),
        noun="windows",
    )
    targets = {"polars": 2.0, "duckdb": 3.0}

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        import streamlib as sl
        from streamlib import col

        keyed = rows.event_time("ts", max_delay=MAX_DELAY).key_by("symbol")
        return keyed.window(sl.tumbling(f"{SECONDS}s")).agg(
            p50=col("price").median(), p90=col("price").quantile(0.9, interpolation="linear")
        )

    def duckdb(self) -> dict[str, str]:
        query = f"""
            SELECT symbol, time_bucket(INTERVAL {SECONDS} SECOND, ts) AS window_start, %s
            FROM {{source}} GROUP BY ALL
        """
        lists = "quantile_cont(price, [0.5, 0.9])"
        return {
            "two aggregates": query % "median(price) AS p50, quantile_cont(price, 0.9) AS p90",
            "one list": f"SELECT symbol, window_start, q[1] AS p50, q[2] AS p90 FROM ({query % (lists + ' AS q')})",
        }

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        import polars as pl

        start = pl.col("ts").dt.truncate(f"{SECONDS}s").alias("window_start")
        price = pl.col("price")

        def plan(rows: Any) -> Any:
            grouped = rows.with_columns(start).group_by("symbol", "window_start")
            return grouped.agg(p50=price.median(), p90=price.quantile(0.9, interpolation="linear"))

        return {"group_by": plan}

    def flink(self) -> str:
        return f"""
            SELECT symbol, window_start, PERCENTILE(price, 0.5) AS p50, PERCENTILE(price, 0.9) AS p90
            FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(t), INTERVAL '{SECONDS}' SECOND))
            GROUP BY symbol, window_start, window_end
        """

    def bytewax(self) -> BytewaxWindow:
        from benchmarks.compare.engines.bytewax import start_of, tumbling

        def fold(prices: Any, tick: Any) -> Any:
            if prices is None:
                return [tick[1]]
            prices.append(tick[1])
            return prices

        def line(symbol: str, window: int, prices: Any) -> str:
            prices.sort()
            return f"{symbol},{start_of(window, SECONDS)},{quantile(prices, 0.5)!r},{quantile(prices, 0.9)!r}"

        return BytewaxWindow(lambda: tumbling(SECONDS), fold, line)

    def pathway(self, table: Any) -> Any:
        import pathway as pw

        window = pw.temporal.tumbling(timedelta(seconds=SECONDS))
        prices = table.windowby(table.ts, window=window, instance=table.symbol).reduce(
            symbol=pw.this._pw_instance,
            window_start=pw.this._pw_window_start,
            ordered=pw.reducers.sorted_tuple(pw.this.price),
        )
        return prices.select(
            prices.symbol,
            prices.window_start,
            p50=pw.apply_with_type(quantile, float, prices.ordered, 0.5),
            p90=pw.apply_with_type(quantile, float, prices.ordered, 0.9),
        )


def quantile(ordered: Sequence[float], q: float) -> float:
    """Interpolated between the two values beside it, as engines do by default or when asked.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.5
    """
    at = q * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


JOB = Quantiles()
