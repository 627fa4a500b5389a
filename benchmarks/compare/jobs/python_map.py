"""python_map: a Python function called for each row. Two worker processes must share the work.

DuckDB has no function of Python: it computes the same by SQL, which tells whether the answers are right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    from collections.abc import Callable

    import streamlib as sl


def digits(price: float, volume: int) -> int:
    """The sum of the digits of a trade's worth in cents."""
    left, total = round(price * 100) * volume, 0
    while left:
        left, digit = divmod(left, 10)
        total += digit
    return total


class PythonMap(Job):
    """A column computed by a function of Python, row by row."""

    name = "python_map"
    answer = Shape({"ts": "timestamp[us]", "digits": "int64"}, keys=("ts",))
    workers = (1, 2)
    processes = True
    scaling = 1.6

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        def row(ts: Any, price: float, volume: int) -> dict[str, Any]:
            return {"ts": ts, "digits": digits(price, volume)}

        return rows.map(row, schema={"ts": "timestamp[us]", "digits": "int64"})

    def duckdb(self) -> dict[str, str]:
        cents = "(round(price * 100)::BIGINT * volume)::VARCHAR"
        total = f"list_sum(list_transform(string_split({cents}, ''), lambda d: d::BIGINT))::BIGINT"
        return {"lists": f"SELECT ts, {total} AS digits FROM {{source}}"}

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        import polars as pl

        def row(one: dict[str, Any]) -> int:
            return digits(one["price"], one["volume"])

        counted = pl.struct("price", "volume").map_elements(row, return_dtype=pl.Int64)
        return {"map_elements": lambda rows: rows.select("ts", digits=counted)}

    def bytewax(self) -> Callable[[list[str]], list[str]]:
        def lines(batch: list[str]) -> list[str]:
            made = []
            for line in batch:
                ts, _, price, volume = line.split(",")
                made.append(f"{ts},{digits(float(price), int(volume))}")
            return made

        return lines


JOB = PythonMap()
