"""map_filter: half of the rows, with a product of two columns. Against bare `pyarrow.compute` on the same batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import MAX_DELAY, Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import pyarrow as pa

    import streamlib as sl

VOLUME = 69


class MapFilter(Job):
    """The half of the ticks with a volume above 69, with their turnover."""

    name = "map_filter"
    answer = Shape({"ts": "timestamp[us]", "symbol": "string", "turnover": "double"}, keys=("ts",))
    targets = {"pyarrow": 0.9}

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        from streamlib import col

        timed = rows.event_time("ts", max_delay=MAX_DELAY)
        return timed.filter(col("volume") > VOLUME).select(
            "ts", "symbol", turnover=col("price") * col("volume")
        )

    def duckdb(self) -> dict[str, str]:
        return {
            "select": f"SELECT ts, symbol, price * volume AS turnover FROM {{source}} WHERE volume > {VOLUME}"
        }

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        import polars as pl

        turnover = pl.col("price") * pl.col("volume")
        return {
            "filter": lambda rows: rows.filter(pl.col("volume") > VOLUME).select(
                "ts", "symbol", turnover=turnover
            )
        }

    def pyarrow(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa
        import pyarrow.compute as pc

        kept = batch.filter(pc.greater(batch["volume"], VOLUME))
        turnover = pc.multiply(kept["price"], kept["volume"].cast(pa.float64()))
        return pa.record_batch([kept["ts"], kept["symbol"], turnover], names=["ts", "symbol", "turnover"])

    def flink(self) -> str:
        return f"SELECT ts, symbol, price * volume AS turnover FROM events WHERE volume > {VOLUME}"

    def bytewax(self) -> Callable[[list[str]], list[str]]:
        def lines(batch: list[str]) -> list[str]:
            made = []
            for line in batch:
                ts, symbol, price, volume = line.split(",")
                if int(volume) > VOLUME:
                    made.append(f"{ts},{symbol},{float(price) * int(volume)!r}")
            return made

        return lines

    def pathway(self, table: Any) -> Any:
        kept = table.filter(table.volume > VOLUME)
        return kept.select(kept.ts, kept.symbol, turnover=kept.price * kept.volume)


JOB = MapFilter()
