"""csv_to_parquet: all rows of a CSV file with declared types, as one Parquet file with the same compression."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import MAX_DELAY, TICKS, Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import streamlib as sl


class CsvToParquet(Job):
    """A CSV file of ticks as Parquet with snappy."""

    name = "csv_to_parquet"
    answer = Shape(TICKS, keys=("ts",))
    read = "csv"
    write = "parquet"
    targets = {"duckdb": 1.2}

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        return rows.event_time("ts", max_delay=MAX_DELAY)

    def duckdb(self) -> dict[str, str]:
        return {"copy": "SELECT * FROM {source}"}

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        return {"scan": lambda rows: rows}


JOB = CsvToParquet()
