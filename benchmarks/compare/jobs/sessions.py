"""sessions: runs of ticks of one symbol that are at most half a second apart.

Two ticks exactly one gap apart are in one session, which ends one gap after its last tick. The times are whole
milliseconds: Flink knows no finer ones, and ticks that are exactly one gap apart become common.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import MAX_DELAY, BytewaxWindow, Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import pyarrow as pa

    import streamlib as sl

GAP = timedelta(milliseconds=500)


class Sessions(Job):
    """Trades, volume and high of sessions by symbol with a gap of 500 ms."""

    name = "sessions"
    answer = Shape(
        {
            "symbol": "string",
            "window_start": "timestamp[us]",
            "window_end": "timestamp[us]",
            "trades": "int64",
            "volume": "int64",
            "high": "double",
        },
        keys=("symbol", "window_start"),
        noun="sessions",
    )
    targets = {"polars": 8.0, "duckdb": 8.0}

    def data(self, rows: int) -> pa.Table:
        import pyarrow.compute as pc

        ticks = super().data(rows)
        whole = pc.floor_temporal(ticks["ts"], unit="millisecond").cast(ticks["ts"].type)
        return ticks.set_column(0, "ts", whole).combine_chunks()

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        import streamlib as sl
        from streamlib import col

        keyed = rows.event_time("ts", max_delay=MAX_DELAY).key_by("symbol")
        return keyed.window(sl.session("500ms")).agg(
            trades=sl.count(), volume=col("volume").sum(), high=col("price").max()
        )

    def duckdb(self) -> dict[str, str]:
        return {
            "lag": """
                SELECT symbol, min(ts) AS window_start, max(ts) + INTERVAL 500 MILLISECOND AS window_end,
                       count(*) AS trades, sum(volume)::BIGINT AS volume, max(price) AS high
                FROM (
                    SELECT *, sum(begins) OVER w AS session
                    FROM (
                        SELECT *, coalesce(ts - lag(ts) OVER w > INTERVAL 500 MILLISECOND, false)::INT AS begins
                        FROM {source} WINDOW w AS (PARTITION BY symbol ORDER BY ts))
                    WINDOW w AS (PARTITION BY symbol ORDER BY ts))
                GROUP BY symbol, session
            """
        }

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        import polars as pl

        ts, symbol = pl.col("ts"), pl.col("symbol")
        totals = {
            "window_start": ts.first(),
            "window_end": ts.last() + GAP,
            "trades": pl.len(),
            "volume": pl.col("volume").sum(),
            "high": pl.col("price").max(),
        }

        def one_sort(rows: Any) -> Any:
            ordered = rows.sort("symbol", "ts")
            begins = (ts - ts.shift(1) > GAP) | symbol.ne_missing(symbol.shift(1))
            return ordered.group_by(begins.cum_sum().alias("session")).agg(symbol=symbol.first(), **totals)

        def over(rows: Any) -> Any:
            session = (ts.diff() > GAP).fill_null(False).cum_sum().over("symbol").alias("session")
            return rows.sort("ts").with_columns(session).group_by("symbol", "session").agg(**totals)

        return {"sort by symbol": one_sort, "over symbol": over}

    def flink(self) -> str:
        return """
            SELECT symbol, window_start, window_end, COUNT(*) AS trades, SUM(volume) AS volume, MAX(price) AS high
            FROM TABLE(SESSION(TABLE events PARTITION BY symbol, DESCRIPTOR(t), INTERVAL '0.500' SECOND))
            GROUP BY symbol, window_start, window_end
        """

    def bytewax(self) -> BytewaxWindow:
        from benchmarks.compare.engines.bytewax import session

        def fold(state: Any, tick: Any) -> Any:
            time, price, volume = tick
            if state is None:
                return [time, time, 1, volume, price]
            state[0] = min(state[0], time)
            state[1] = max(state[1], time)
            state[2] += 1
            state[3] += volume
            state[4] = max(state[4], price)
            return state

        def line(symbol: str, window: int, state: Any) -> str:
            first, last, n, volume, high = state
            return f"{symbol},{first.replace(tzinfo=None)},{(last + GAP).replace(tzinfo=None)},{n},{volume},{high!r}"

        return BytewaxWindow(lambda: session(GAP), fold, line)

    def pathway(self, table: Any) -> Any:
        import pathway as pw

        window = pw.temporal.session(max_gap=GAP + timedelta(microseconds=1))
        made = table.windowby(table.ts, window=window, instance=table.symbol).reduce(
            symbol=pw.this._pw_instance,
            window_start=pw.reducers.min(pw.this.ts),
            last=pw.reducers.max(pw.this.ts),
            trades=pw.reducers.count(),
            volume=pw.reducers.sum(pw.this.volume),
            high=pw.reducers.max(pw.this.price),
        )
        return made.select(
            made.symbol,
            made.window_start,
            window_end=made.last + pw.Duration(milliseconds=500),
            trades=made.trades,
            volume=made.volume,
            high=made.high,
        )


JOB = Sessions()
