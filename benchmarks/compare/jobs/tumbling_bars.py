"""tumbling_bars: open, high, low, close, volume and vwap of 1,000 symbols in windows of ten seconds.

The pipeline and the plans are those of `benchmarks.bars`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import BytewaxWindow, Job
from benchmarks.shapes import BARS

if TYPE_CHECKING:
    import streamlib as sl

SECONDS = 10


class TumblingBars(Job):
    """Ten-second bars by symbol: open, high, low, close, volume, vwap."""

    name = "tumbling_bars"
    answer = BARS
    workers = (1, 2)
    targets = {"polars": 2.0, "duckdb": 4.0, "flink": 20.0, "bytewax": 100.0, "pathway": 100.0}

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        from benchmarks.jobs import bars

        return bars(rows)

    def duckdb(self) -> dict[str, str]:
        from benchmarks.jobs import duckdb_queries

        return duckdb_queries()

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        from benchmarks.jobs import polars_plans

        return polars_plans()

    def flink(self) -> str:
        """Flink has no first value by time, so time and price (in cents) are packed into one number."""
        return f"""
            SELECT symbol, window_start, trades, MOD(first_tick, 1000000000) / 100.0e0 AS `open`, high, low,
                   MOD(last_tick, 1000000000) / 100.0e0 AS `close`, volume, turnover / volume AS vwap
            FROM (
                SELECT symbol, window_start, COUNT(*) AS trades, MIN(tick) AS first_tick,
                       MAX(price) AS high, MIN(price) AS low, MAX(tick) AS last_tick,
                       SUM(volume) AS volume, SUM(price * volume) AS turnover
                FROM TABLE(TUMBLE(
                    (SELECT *, (EXTRACT(SECOND FROM ts) * 1000000 + EXTRACT(MICROSECOND FROM ts)) * 1000000000
                               + CAST(ROUND(price * 100) AS BIGINT) AS tick FROM events),
                    DESCRIPTOR(t), INTERVAL '{SECONDS}' SECOND))
                GROUP BY symbol, window_start, window_end)
        """

    def bytewax(self) -> BytewaxWindow:
        from benchmarks.compare.engines.bytewax import start_of, tumbling

        def line(symbol: str, window: int, bar: Any) -> str:
            n, _, opened, high, low, _, closed, volume, turnover = bar
            return (
                f"{symbol},{start_of(window, SECONDS)},{n},{opened!r},{high!r},{low!r},{closed!r},"
                f"{volume},{turnover / volume!r}"
            )

        return BytewaxWindow(lambda: tumbling(SECONDS), fold_bar, line)

    def pathway(self, table: Any) -> Any:
        import pathway as pw

        ticks = table.with_columns(
            tick=pw.make_tuple(table.ts.dt.timestamp("ns"), table.price), turnover=table.price * table.volume
        )
        bars = ticks.windowby(
            ticks.ts, window=pw.temporal.tumbling(timedelta(seconds=SECONDS)), instance=ticks.symbol
        ).reduce(
            symbol=pw.this._pw_instance,
            window_start=pw.this._pw_window_start,
            trades=pw.reducers.count(),
            first=pw.reducers.min(pw.this.tick),
            high=pw.reducers.max(pw.this.price),
            low=pw.reducers.min(pw.this.price),
            last=pw.reducers.max(pw.this.tick),
            volume=pw.reducers.sum(pw.this.volume),
            turnover=pw.reducers.sum(pw.this.turnover),
        )
        return bars.select(
            bars.symbol,
            bars.window_start,
            bars.trades,
            open=bars.first[1],
            high=bars.high,
            low=bars.low,
            close=bars.last[1],
            volume=bars.volume,
            vwap=bars.turnover / bars.volume,
        )


def fold_bar(bar: Any, tick: Any) -> Any:
    """A bar with one more tick; a list that is changed in place."""
    time, price, volume = tick
    if bar is None:
        return [1, time, price, price, price, time, price, volume, price * volume]
    bar[0] += 1
    if time < bar[1]:
        bar[1], bar[2] = time, price
    if price > bar[3]:
        bar[3] = price
    if price < bar[4]:
        bar[4] = price
    if time > bar[5]:
        bar[5], bar[6] = time, price
    bar[7] += volume
    bar[8] += price * volume
    return bar


JOB = TumblingBars()
