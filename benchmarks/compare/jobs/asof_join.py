"""asof_join: each trade with the last quote of its symbol up to 5 s before; both out of order by up to two seconds.

Five of six events are trades. No two events have one time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import MAX_DELAY, Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import pyarrow as pa

    import streamlib as sl

TRADE, QUOTE = 0, 1
SHARE = 6
"""One event of so many is a quote."""


class AsOfJoin(Job):
    """Each trade with the last quote of its symbol, of the 5 s before."""

    name = "asof_join"
    columns = {
        "ts": "timestamp[us]",
        "kind": "int64",
        "symbol": "string",
        "price": "double",
        "number": "int64",
    }
    answer = Shape(
        {"ts": "timestamp[us]", "symbol": "string", "price": "double", "number": "int64"}
        | {"quote": "double", "quote_number": "int64"},
        keys=("number",),
        noun="trades",
    )
    targets = {"duckdb": 15.0, "polars": 4.0}
    sides = "kind"

    def data(self, rows: int) -> pa.Table:
        """Ticks as they arrive, of which some are quotes."""
        import numpy as np
        import pyarrow as pa

        ticks = super().data(rows)
        kinds = np.where(np.random.default_rng(5).integers(0, SHARE, rows) == 0, QUOTE, TRADE)
        columns = [ticks["ts"], pa.array(kinds), ticks["symbol"], ticks["price"], pa.array(np.arange(rows))]
        return pa.table(dict(zip(self.columns, columns, strict=True)))

    def streamlib(self, rows: sl.Stream, *others: sl.Stream) -> sl.Stream:
        (other,) = others
        trades = rows.event_time("ts", max_delay=MAX_DELAY)
        quotes = other.event_time("ts", max_delay=MAX_DELAY).rename(
            {"price": "quote", "number": "quote_number"}
        )
        joined = trades.asof_join(quotes, on="symbol", tolerance="5s")
        return joined.select("ts", "symbol", "price", "number", "quote", "quote_number")

    def duckdb(self) -> dict[str, str]:
        near = "t.ts - q.ts <= INTERVAL 5 SECOND"
        return {
            "asof join": f"""
                SELECT t.ts, t.symbol, t.price, t.number, CASE WHEN {near} THEN q.price END AS quote,
                       CASE WHEN {near} THEN q.number END AS quote_number
                FROM {{source}} t ASOF LEFT JOIN {{other}} q ON t.symbol = q.symbol AND t.ts >= q.ts
            """
        }

    def polars(self) -> dict[str, Callable[..., Any]]:
        import polars as pl

        def join(trades: Any, others: Any) -> Any:
            quotes = others.select("ts", "symbol", quote="price", quote_number="number")
            return (
                trades.sort("ts")
                .join_asof(quotes.sort("ts"), on="ts", by="symbol", tolerance="5s")
                .select("ts", "symbol", "price", "number", pl.col("quote"), pl.col("quote_number"))
            )

        return {"sort, then join_asof": join}


JOB = AsOfJoin()
