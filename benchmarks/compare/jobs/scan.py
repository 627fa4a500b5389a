"""scan: for each tick the running vwap of its symbol, and how far it lies below the highest price so far.

The ticks come in the order of event time: what a function with state costs, without sorting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import BytewaxState, Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import pyarrow as pa

    import streamlib as sl

OVER = "OVER (PARTITION BY symbol ORDER BY ts ROWS UNBOUNDED PRECEDING)"
OVER_QUERY = f"""
    SELECT ts, symbol, sum(price * volume) {OVER} / sum(volume) {OVER} AS vwap,
           price / max(price) {OVER} - 1 AS drawdown
    FROM {{source}}
"""


def step(state: Any, price: Any, volume: Any) -> Any:
    """The state, and vwap and drawdown, after one more tick."""
    turnover, total = state[0] + price * volume, state[1] + volume
    peak = max(state[2], price)
    return (turnover, total, peak), (turnover / total, price / peak - 1.0)


def scanned(rows: sl.Stream, max_delay: str) -> sl.Stream:
    """The answer, by `step`."""
    keyed = rows.event_time("ts", max_delay=max_delay).key_by("symbol")
    made = keyed.scan(step, init=(0.0, 0, 0.0), into={"vwap": "float64", "drawdown": "float64"})
    return made.select("ts", "symbol", "vwap", "drawdown")


def over(rows: Any) -> Any:
    """The answer, by Polars."""
    import polars as pl

    turnover = (pl.col("price") * pl.col("volume")).cum_sum().over("symbol")
    return rows.select(
        "ts",
        "symbol",
        vwap=turnover / pl.col("volume").cum_sum().over("symbol"),
        drawdown=pl.col("price") / pl.col("price").cum_max().over("symbol") - 1,
    )


class Scan(Job):
    """Running vwap and drawdown by symbol."""

    name = "scan"
    answer = Shape(
        {"ts": "timestamp[us]", "symbol": "string", "vwap": "double", "drawdown": "double"},
        keys=("ts",),
        near=("vwap",),
        noun="ticks",
    )
    peers_in_memory = True
    targets = {"bytewax-memory": 100.0}

    def data(self, rows: int) -> pa.Table:
        """The ticks in the order of event time."""
        return super().data(rows).sort_by("ts").combine_chunks()

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        return scanned(rows, "0s")

    def duckdb(self) -> dict[str, str]:
        return {"window functions": OVER_QUERY}

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        return {"over": over}

    def bytewax(self) -> BytewaxState:
        return BytewaxState(
            lambda state, tick: _stamped(state, *tick),
            lambda symbol, out: f"{out[0].replace(tzinfo=None)},{symbol},{out[1]!r},{out[2]!r}",
        )


def _stamped(state: Any, ts: Any, price: float, volume: int) -> Any:
    state, (vwap, drawdown) = step(state or (0.0, 0, 0.0), price, volume)
    return state, (ts, vwap, drawdown)


JOB = Scan()
