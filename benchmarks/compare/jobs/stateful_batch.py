"""stateful_batch: for each tick the volume of its symbol so far, by a function of the user's on whole batches.

Ticks come in the order of event time. The function is NumPy: a stable sort by key, a sum from the first row on,
and what a key had before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import BytewaxState, Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import pyarrow as pa

    import streamlib as sl


def volume_so_far(rows: Any, state: Any, slot: Any) -> Any:
    """The running volume of each row's key; batches have at most 65,536 rows, so slots fit into 16 bits."""
    import numpy as np
    import pyarrow as pa

    volume = rows["volume"].to_numpy()
    order = np.argsort(slot.astype(np.uint16), kind="stable")
    added = np.cumsum(volume[order])
    counts = np.bincount(slot, minlength=len(state["total"]))
    ends = np.cumsum(counts)
    before = np.concatenate([np.zeros(1, dtype=np.int64), added[ends - 1]])
    sums = np.diff(before)
    totals = np.empty_like(added)
    totals[order] = added + np.repeat(state["total"] - before[:-1], counts)
    out = pa.record_batch({"ts": rows["ts"], "symbol": rows["symbol"], "total": pa.array(totals)})
    return out, {"total": state["total"] + sums}


class StatefulBatch(Job):
    """The volume of a symbol so far."""

    name = "stateful_batch"
    answer = Shape({"ts": "timestamp[us]", "symbol": "string", "total": "int64"}, keys=("ts",), noun="ticks")
    targets = {"bytewax": 30.0}

    def data(self, rows: int) -> pa.Table:
        """The ticks in the order of event time."""
        return super().data(rows).sort_by("ts").combine_chunks()

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        keyed = rows.event_time("ts", max_delay="0s").key_by("symbol")
        schema = {"ts": "timestamp[us]", "symbol": "string", "total": "int64"}
        return keyed.stateful_batch(volume_so_far, state={"total": "int64"}, schema=schema)

    def duckdb(self) -> dict[str, str]:
        over = "OVER (PARTITION BY symbol ORDER BY ts ROWS UNBOUNDED PRECEDING)"
        return {"window functions": f"SELECT ts, symbol, sum(volume) {over} AS total FROM {{source}}"}

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        import polars as pl

        return {
            "over": lambda rows: rows.select("ts", "symbol", total=pl.col("volume").cum_sum().over("symbol"))
        }

    def bytewax(self) -> BytewaxState:
        def step(state: Any, tick: Any) -> Any:
            total = (state or 0) + tick[2]
            return total, (tick[0], total)

        return BytewaxState(step, lambda symbol, out: f"{out[0].replace(tzinfo=None)},{symbol},{out[1]}")


JOB = StatefulBatch()
