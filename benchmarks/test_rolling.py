"""Rolling windows and functions of rows by key, beside Polars and DuckDB on the same rows.

All three take ticks out of order by up to two seconds; Polars and DuckDB, in batch, sort them first. The ratio
is that of the fastest rounds; it is stored with the figures (`--benchmark-json`) and the answers are compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
from benchmarks.ticks import ticks
from streamlib import col
from streamlib.connectors.memory import CollectSink

ROWS = 300_000
Case = Callable[[], pa.Table]


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return ticks(ROWS)


def streamlib_case(table: pa.Table, build: Callable[[sl.KeyedStream], sl.Stream]) -> Case:
    def run() -> pa.Table:
        sink = CollectSink()
        keyed = sl.read_arrow(table).event_time("ts", max_delay="2s").key_by("symbol")
        sl.run(build(keyed).write(sink), progress=False)
        return sink.table()

    return run


def polars_case(table: pa.Table, *exprs: Any) -> Case:
    import polars as pl

    frame: Any = pl.from_arrow(table)
    plan = frame.lazy().sort("ts").select("ts", "symbol", *exprs)
    return lambda: plan.collect().to_arrow()


def duckdb_case(table: pa.Table, columns: str) -> Case:
    import duckdb

    connection = duckdb.connect(config={"threads": 1})
    connection.register("given", table)
    connection.execute("create table ticks as select * from given")
    query = f"select ts, symbol, {columns} from ticks"
    return lambda: connection.sql(query).to_arrow_table()


def cases(table: pa.Table, job: str) -> dict[str, Case]:
    """The same job for each engine."""
    import polars as pl

    price, volume = pl.col("price"), pl.col("volume")
    by_key = "partition by symbol order by ts"
    if job == "rolling-mean-10s":
        rolling = lambda keyed: keyed.rolling("10s").agg(a=col("price").mean()).select("ts", "symbol", "a")  # noqa: E731
        span = f"{by_key} range between interval '9.999999' second preceding and current row"
        return {
            "streamlib": streamlib_case(table, rolling),
            "polars": polars_case(table, price.rolling_mean_by("ts", "10s").over("symbol").alias("a")),
            "duckdb": duckdb_case(table, f"avg(price) over ({span}) as a"),
        }
    if job == "rolling-max-20-rows":
        rolling = lambda keyed: keyed.rolling(rows=20).agg(a=col("price").max()).select("ts", "symbol", "a")  # noqa: E731
        return {
            "streamlib": streamlib_case(table, rolling),
            "polars": polars_case(table, price.rolling_max(20, min_samples=1).over("symbol").alias("a")),
            "duckdb": duckdb_case(table, f"max(price) over ({by_key} rows 19 preceding) as a"),
        }
    functions = {"a": col("price").shift(1), "b": col("volume").cum_sum()}
    return {
        "streamlib": streamlib_case(table, lambda keyed: keyed.select("ts", "symbol", **functions)),
        "polars": polars_case(
            table, price.shift(1).over("symbol").alias("a"), volume.cum_sum().over("symbol").alias("b")
        ),
        "duckdb": duckdb_case(
            table, f"lag(price) over ({by_key}) as a, (sum(volume) over ({by_key}))::bigint as b"
        ),
    }


def seconds(case: Case, rounds: int = 3) -> float:
    """The fastest of some rounds."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        case()
        took.append(time.perf_counter() - began)
    return min(took)


def columns_of(answer: pa.Table) -> dict[str, Any]:
    """The numbers of an answer in the order of time; no two ticks have the same time."""
    ordered = answer.sort_by("ts")
    return {name: ordered[name].to_numpy() for name in answer.column_names if name in "ab"}


@pytest.mark.parametrize("job", ["rolling-mean-10s", "rolling-max-20-rows", "shift-and-cum-sum"])
def test_rolling(benchmark: Any, table: pa.Table, job: str) -> None:
    ours, *others = cases(table, job).items()
    answer = benchmark(ours[1])
    assert answer.num_rows == ROWS
    fastest = seconds(ours[1])
    for name, case in others:
        for column, values in columns_of(case()).items():
            np.testing.assert_allclose(columns_of(answer)[column], values, rtol=1e-9)
        benchmark.extra_info[f"ratio to {name}"] = round(seconds(case) / fastest, 2)
