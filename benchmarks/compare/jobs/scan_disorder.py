"""scan_disorder: the job `scan` on ticks that arrive up to two seconds out of order.

Each waits until no earlier one can come. Bytewax's `stateful_map` takes rows as they arrive: it has no such job.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import MAX_DELAY, Job
from benchmarks.compare.jobs.scan import OVER_QUERY, Scan, over, scanned

if TYPE_CHECKING:
    import streamlib as sl


class ScanDisorder(Job):
    """Running vwap and drawdown by symbol, of ticks out of order."""

    name = "scan_disorder"
    answer = Scan.answer
    targets = {"polars": 1.0, "duckdb": 3.0}

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        return scanned(rows, MAX_DELAY)

    def duckdb(self) -> dict[str, str]:
        return {"window functions": OVER_QUERY}

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        return {"sort, over": lambda rows: over(rows.sort("ts"))}


JOB = ScanDisorder()
