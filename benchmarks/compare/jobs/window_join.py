"""window_join: the pairs of large buys and sells of one symbol in the same ten seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import MAX_DELAY, Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import pyarrow as pa

    import streamlib as sl

SECONDS = 10
SELLS = 5
"""One tick of so many is a sell, the others are buys."""
SYMBOLS = 10_000
"""Ten ticks of a symbol in a window, about."""


class WindowJoin(Job):
    """Each buy with each sell of its symbol in the same window of 10 s."""

    name = "window_join"
    columns = {
        "ts": "timestamp[us]",
        "symbol": "string",
        "price": "double",
        "volume": "int64",
        "number": "int64",
        "sells": "int64",
    }
    answer = Shape(
        {
            "number": "int64",
            "number_right": "int64",
            "symbol": "string",
            "price": "double",
            "price_right": "double",
            "window_start": "timestamp[us]",
        },
        keys=("number", "number_right"),
        noun="pairs",
    )
    targets = {"duckdb": 0.7}
    sides = "sells"

    def data(self, rows: int) -> pa.Table:
        import numpy as np
        import pyarrow as pa

        from benchmarks.ticks import pieces

        numbers = np.arange(rows)
        table = pa.concat_tables(pieces(rows, SYMBOLS)).combine_chunks()
        sells = (numbers % SELLS == 0).astype(np.int64)
        return table.append_column("number", pa.array(numbers)).append_column("sells", pa.array(sells))

    def streamlib(self, rows: sl.Stream, *others: sl.Stream) -> sl.Stream:
        import streamlib as sl

        buys, sells = (side.event_time("ts", max_delay=MAX_DELAY) for side in (rows, *others))
        joined = buys.join(sells, on="symbol", window=sl.tumbling(f"{SECONDS}s"))
        return joined.select("number", "number_right", "symbol", "price", "price_right", "window_start")

    def duckdb(self) -> dict[str, str]:
        side = f"SELECT *, time_bucket(INTERVAL {SECONDS} SECOND, ts) AS window_start FROM"
        return {
            "hash join": f"""
                SELECT b.number, s.number AS number_right, b.symbol, b.price, s.price AS price_right, b.window_start
                FROM ({side} {{source}}) b JOIN ({side} {{other}}) s
                ON b.symbol = s.symbol AND b.window_start = s.window_start
            """
        }

    def polars(self) -> dict[str, Callable[..., Any]]:
        import polars as pl

        def join(*sides: Any) -> Any:
            windows = pl.col("ts").dt.truncate(f"{SECONDS}s").alias("window_start")
            buys, sells = (side.with_columns(windows) for side in sides)
            joined = buys.join(sells, on=["symbol", "window_start"])
            return joined.select("number", "number_right", "symbol", "price", "price_right", "window_start")

        return {"hash join": join}

    def flink(self) -> str:
        side = f"TABLE(TUMBLE(TABLE {{}}, DESCRIPTOR(t), INTERVAL '{SECONDS}' SECOND))"
        return f"""
            SELECT b.number, s.number, b.symbol, b.price, s.price, b.window_start
            FROM (SELECT * FROM {side.format("events")} WHERE sells = 0) b
            JOIN (SELECT * FROM {side.format("events")} WHERE sells = 1) s
            ON b.symbol = s.symbol AND b.window_start = s.window_start AND b.window_end = s.window_end
        """


JOB = WindowJoin()
