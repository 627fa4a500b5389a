"""many_keys: five totals of each of up to eight million integer keys. Most of the time goes into finding a key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import MAX_DELAY, BytewaxWindow, Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import pyarrow as pa

    import streamlib as sl

KEYS = 8_000_000
SPREAD = 1_000_003
"""Keys are multiples of this, so that no engine can use them as places of an array."""

SECONDS = 3_600


def shape(key: str) -> Shape:
    """The answer by keys of one type."""
    return Shape(
        {
            "key": key,
            "window_start": "timestamp[us]",
            "trades": "int64",
            "volume": "int64",
            "turnover": "double",
            "low": "double",
            "high": "double",
        },
        keys=("key", "window_start"),
        near=("turnover",),
        noun="windows",
    )


class ManyKeys(Job):
    """Trades, volume, turnover, low and high of up to 8 million integer keys in an hour."""

    name = "many_keys"
    columns = {"ts": "timestamp[us]", "key": "int64", "price": "double", "volume": "int64"}
    answer = shape("int64")
    targets = {"polars": 1.6, "duckdb": 2.5}

    def data(self, rows: int) -> pa.Table:
        """Ticks with a key in place of the symbol: one of as many as there are rows, at most `KEYS`."""
        import numpy as np
        import pyarrow as pa

        ticks = super().data(rows)
        drawn = np.random.default_rng(11).integers(0, min(KEYS, rows), rows) * SPREAD
        return ticks.set_column(ticks.column_names.index("symbol"), "key", self.key(pa.array(drawn)))

    def key(self, numbers: pa.Array) -> pa.Array:
        """The keys, from their numbers."""
        return numbers

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        import streamlib as sl
        from streamlib import col

        keyed = rows.event_time("ts", max_delay=MAX_DELAY).key_by("key")
        return keyed.window(sl.tumbling(f"{SECONDS}s")).agg(
            trades=sl.count(),
            volume=col("volume").sum(),
            turnover=(col("price") * col("volume")).sum(),
            low=col("price").min(),
            high=col("price").max(),
        )

    def duckdb(self) -> dict[str, str]:
        return {
            "group by": """
                SELECT key, date_trunc('hour', ts) AS window_start, count(*) AS trades,
                       sum(volume)::BIGINT AS volume, sum(price * volume) AS turnover,
                       min(price) AS low, max(price) AS high
                FROM {source} GROUP BY ALL
            """
        }

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        import polars as pl

        price, volume = pl.col("price"), pl.col("volume")
        start = pl.col("ts").dt.truncate("1h").alias("window_start")

        def plan(rows: Any) -> Any:
            return (
                rows.with_columns(start, turnover=price * volume)
                .group_by("key", "window_start")
                .agg(
                    trades=pl.len(),
                    volume=volume.sum(),
                    turnover=pl.col("turnover").sum(),
                    low=price.min(),
                    high=price.max(),
                )
            )

        return {"group_by": plan}

    def flink(self) -> str:
        return f"""
            SELECT `key`, window_start, COUNT(*) AS trades, SUM(volume) AS volume,
                   SUM(price * volume) AS turnover, MIN(price) AS low, MAX(price) AS high
            FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(t), INTERVAL '{SECONDS}' SECOND(4)))
            GROUP BY `key`, window_start, window_end
        """

    def bytewax(self) -> BytewaxWindow:
        from benchmarks.compare.engines.bytewax import start_of, tumbling

        def fold(state: Any, tick: Any) -> Any:
            _, price, volume = tick
            if state is None:
                return [1, volume, price * volume, price, price]
            state[0] += 1
            state[1] += volume
            state[2] += price * volume
            state[3] = min(state[3], price)
            state[4] = max(state[4], price)
            return state

        def line(key: str, window: int, state: Any) -> str:
            n, volume, turnover, low, high = state
            return f"{key},{start_of(window, SECONDS)},{n},{volume},{turnover!r},{low!r},{high!r}"

        return BytewaxWindow(lambda: tumbling(SECONDS), fold, line)

    def pathway(self, table: Any) -> Any:
        import pathway as pw

        rows = table.with_columns(turnover=table.price * table.volume)
        window = pw.temporal.tumbling(timedelta(seconds=SECONDS))
        return rows.windowby(rows.ts, window=window, instance=rows.key).reduce(
            key=pw.this._pw_instance,
            window_start=pw.this._pw_window_start,
            trades=pw.reducers.count(),
            volume=pw.reducers.sum(pw.this.volume),
            turnover=pw.reducers.sum(pw.this.turnover),
            low=pw.reducers.min(pw.this.price),
            high=pw.reducers.max(pw.this.price),
        )


JOB = ManyKeys()
