"""Functions of the user's: rows a second through `map`, `flat_map`, and each form of `map_batches`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import streamlib as sl
from benchmarks.ticks import ticks
from streamlib.connectors.memory import CollectSink

ROWS = 300_000
SCHEMA = {"symbol": str, "turnover": float, "volume": int}


@dataclass
class Turnover:
    """A row of the result."""

    symbol: str
    turnover: float
    volume: int


def as_dict(symbol: str, price: float, volume: int) -> Any:
    return {"symbol": symbol, "turnover": price * volume, "volume": volume}


def as_tuple(symbol: str, price: float, volume: int) -> Any:
    return symbol, price * volume, volume


def as_dataclass(symbol: str, price: float, volume: int) -> Turnover:
    return Turnover(symbol, price * volume, volume)


def with_time(ts: dt.datetime, price: float, volume: int) -> Any:
    return {"ts": ts, "turnover": price * volume, "volume": volume}


def of_dict(row: dict[str, Any]) -> Any:
    return {"symbol": row["symbol"], "turnover": row["price"] * row["volume"], "volume": row["volume"]}


def large_ones(symbol: str, price: float, volume: int) -> Any:
    return [(symbol, price * volume, volume)] if volume > 50 else None


ROW_FUNCTIONS: dict[str, Callable[[sl.Stream], sl.Stream]] = {
    "map-dict": lambda s: s.map(as_dict, SCHEMA),
    "map-tuple": lambda s: s.map(as_tuple, SCHEMA),
    "map-dataclass": lambda s: s.map(as_dataclass),
    "map-with-time": lambda s: s.map(with_time, {"ts": "timestamp[us]", "turnover": float, "volume": int}),
    "map-of-dict": lambda s: s.map(of_dict, SCHEMA),
    "flat_map": lambda s: s.flat_map(large_ones, SCHEMA),
}


def by_arrow(rows: pa.RecordBatch) -> Any:
    return pa.record_batch({"turnover": pc.multiply(rows["price"], rows["volume"])})


def by_polars(rows: pl.DataFrame) -> Any:
    return rows.select(turnover=pl.col("price") * pl.col("volume"))


def by_pandas(rows: pd.DataFrame) -> Any:
    return pd.DataFrame({"turnover": rows["price"] * rows["volume"]})


def by_numpy(rows: dict[str, np.ndarray]) -> Any:
    return {"turnover": rows["price"] * rows["volume"]}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return ticks(ROWS)


def rows_out(stream: sl.Stream) -> int:
    return sl.run(stream.write(CollectSink()), progress=False).rows_out


@pytest.mark.parametrize("name", ROW_FUNCTIONS)
def test_row_function(benchmark: Callable[..., Any], table: pa.Table, name: str) -> None:
    """Rows a second are printed as extra_info; the goal for a simple function of three columns is 0.5 M."""
    found = benchmark(lambda: rows_out(ROW_FUNCTIONS[name](sl.read_arrow(table))))
    assert 0 < found <= ROWS
    if benchmark.stats is not None:  # type: ignore[attr-defined]
        rate = ROWS / benchmark.stats.stats.median  # type: ignore[attr-defined]
        benchmark.extra_info["million_rows_per_second"] = round(rate / 1e6, 2)  # type: ignore[attr-defined]


@pytest.mark.parametrize("function", [by_arrow, by_polars, by_pandas, by_numpy])
def test_batch_function(benchmark: Callable[..., Any], table: pa.Table, function: Any) -> None:
    assert benchmark(lambda: rows_out(sl.read_arrow(table).map_batches(function))) == ROWS
