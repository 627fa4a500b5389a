"""dedup: the different ids of a feed that repeats one row of a hundred, up to a minute later.

DuckDB and Polars keep all ids until the end. streamlib keeps those of a minute, and hands each row on when it comes
(``keep="any"``): no two rows of an id are further apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import MAX_DELAY, Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    import streamlib as sl

REPEATED = 0.01
ROWS_LATER = 550_000
"""How many rows behind the first one a row may be repeated: 55 seconds, and rows are out of order by two."""
WITHIN = "1m"
SPREAD = 1_000_003


class Dedup(Job):
    """The different ids of rows of which one in a hundred comes again within a minute."""

    name = "dedup"
    columns = {"ts": "timestamp[us]", "uid": "int64"}
    answer = Shape({"uid": "int64"}, keys=("uid",), noun="ids")
    targets = {"duckdb": 1.3}

    def data(self, rows: int) -> pa.Table:
        """The times of the ticks, each with an id of its own, or that of a row before."""
        import numpy as np
        import pyarrow as pa

        from benchmarks.ticks import pieces

        times = pa.concat_tables([piece.select(["ts"]) for piece in pieces(rows)]).combine_chunks()
        dice = np.random.default_rng(17)
        numbers = dice.permutation(rows)
        again = np.flatnonzero(dice.random(rows) < REPEATED)
        back = again - dice.integers(1, ROWS_LATER, len(again))
        ids = numbers.copy()
        ids[again] = numbers[np.where(back >= 0, back, again)]
        return times.append_column("uid", self.ids(ids))

    def ids(self, numbers: np.ndarray) -> pa.Array:
        """The ids, from their numbers."""
        import pyarrow as pa

        return pa.array(numbers * SPREAD)

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        stamped = rows.event_time("ts", max_delay=MAX_DELAY)
        return stamped.dedup("uid", within=WITHIN, keep="any").select("uid")

    def duckdb(self) -> dict[str, str]:
        return {
            "distinct": "SELECT DISTINCT uid FROM {source}",
            "group by": "SELECT uid FROM {source} GROUP BY uid",
        }

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "unique": lambda rows: rows.select("uid").unique(),
            "group_by": lambda rows: rows.select("uid").group_by("uid").agg(),
        }

    def flink(self) -> str:
        numbered = "SELECT uid, ROW_NUMBER() OVER (PARTITION BY uid ORDER BY p) AS n"
        return f"SELECT uid FROM ({numbered} FROM (SELECT uid, PROCTIME() AS p FROM events)) WHERE n = 1"

    def pathway(self, table: Any) -> Any:
        return table.groupby(table.uid).reduce(table.uid)


JOB = Dedup()
