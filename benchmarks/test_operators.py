"""Operators: runs over ticks in memory with one step more than reading and keeping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from benchmarks import jobs
from benchmarks.ticks import ticks
from streamlib import col
from streamlib.connectors.memory import CollectSink

ROWS = 300_000


def _union_with_itself(stream: sl.Stream) -> sl.Stream:
    timed = stream.event_time("ts", max_delay="2s")
    return timed.union(timed)


STEPS: dict[str, Callable[[sl.Stream], sl.Stream]] = {
    "filter-most": lambda s: s.filter(col("price") > 0),
    "filter-half": lambda s: s.filter(col("volume") > 69),
    "select": lambda s: s.select("ts", "symbol"),
    "with_columns": lambda s: s.with_columns(turnover=col("price") * col("volume")),
    "map_batches": lambda s: s.map_batches(lambda rows: rows),
    "union": _union_with_itself,
    "event_time": lambda s: s.event_time("ts", max_delay="2s"),
    "event_time-per": lambda s: s.event_time("ts", max_delay="2s", per="symbol"),
}

AGGREGATES: dict[str, dict[str, sl.Expr]] = {
    "count": {"n": sl.count()},
    "sum-of-integers": {"total": col("volume").sum()},
    "sum-of-floats": {"total": col("price").sum()},
    "mean": {"mean": col("price").mean()},
    "min-max": {"low": col("price").min(), "high": col("price").max()},
    "first-last": {"open": col("price").first(), "close": col("price").last()},
    "expression": {"vwap": (col("price") * col("volume")).sum() / col("volume").sum()},
}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return ticks(ROWS)


def rows_out(stream: sl.Stream, **options: Any) -> int:
    return sl.run(stream.write(CollectSink()), progress=False, **options).rows_out


@pytest.mark.parametrize("name", STEPS)
def test_step(benchmark: Callable[..., Any], table: pa.Table, name: str) -> None:
    assert benchmark(lambda: rows_out(STEPS[name](sl.read_arrow(table)))) > 0


@pytest.mark.parametrize("name", AGGREGATES)
def test_window(benchmark: Callable[..., Any], table: pa.Table, name: str) -> None:
    def run() -> int:
        stream = sl.read_arrow(table).event_time("ts", max_delay="2s").key_by("symbol")
        return rows_out(stream.window(sl.tumbling("10s")).agg(**AGGREGATES[name]))

    assert benchmark(run) > 0


@pytest.mark.parametrize("delay", ["2s", "500ms"], ids=["none-late", "some-late"])
def test_late_rows(benchmark: Callable[..., Any], table: pa.Table, delay: str) -> None:
    def run() -> int:
        stream = sl.read_arrow(table).event_time("ts", max_delay=delay)
        bars = stream.window(sl.tumbling("100ms")).agg(n=sl.count())
        return rows_out(bars.late) + 1

    assert benchmark(run) > 0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("batch_rows", [65_536, 4_096])
def test_bars(benchmark: Callable[..., Any], table: pa.Table, workers: int, batch_rows: int) -> None:
    def run() -> int:
        return rows_out(jobs.bars(sl.read_arrow(table)), workers=workers, batch_rows=batch_rows)

    assert benchmark(run) == len(
        set(
            zip(
                table["symbol"].to_pylist(),
                (t.timestamp() // 10 for t in table["ts"].to_pylist()),
                strict=True,
            )
        )
    )
