"""Inputs that are products of two columns: a step may multiply them itself, and nobody can tell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import ArrowSource

floats = st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([math.nan, -0.0, math.inf]))
ints = st.one_of(st.none(), st.integers(-1000, 1000), st.sampled_from([2**53 + 1, -(2**63)]))


def table_of(rows: list[tuple[float | None, int | None]], kind: pa.DataType) -> pa.Table:
    return pa.table(
        {
            "ts": pa.array([n * 300 for n in range(len(rows))], pa.timestamp("ms")),
            "key": pa.array([n % 2 for n in range(len(rows))]),
            "price": pa.array([price for price, _ in rows], pa.float64()),
            "volume": pa.array([volume for _, volume in rows], kind),
        }
    )


def results(table: pa.Table, value: Any, block: int, workers: int) -> list[dict[str, Any]]:
    """Sums and the like of a value per key and second."""
    stream = sl.read(ArrowSource(table, block)).event_time("ts", max_delay="1s").key_by("key")
    found = stream.window(sl.tumbling("1s")).agg(
        total=value.sum(), middle=value.mean(), low=value.min(), high=value.max(), n=value.count()
    )
    rows: list[dict[str, Any]] = found.collect(workers=workers).to_pylist()
    return rows


@pytest.mark.parametrize("kind", [pa.int64(), pytest.param(pa.float64(), marks=pytest.mark.slow)])
@given(data=st.data())
def test_a_product_is_what_its_column_would_be(kind: pa.DataType, data: st.DataObject) -> None:
    seconds = st.floats(-1e3, 1e3) if pa.types.is_floating(kind) else ints
    nulls = data.draw(st.booleans())
    rows = data.draw(st.lists(st.tuples(floats, seconds), min_size=1, max_size=24))
    if not nulls:
        rows = [(price or 0.0, volume or 0) for price, volume in rows]
    table = table_of(rows, kind)
    product = pc.multiply(table["price"], table["volume"].cast(pa.float64(), safe=False))
    computed = table.append_column("value", product)
    block, workers = data.draw(st.sampled_from([1, 5, 100])), data.draw(st.sampled_from([1, 2]))
    got = results(table, col("price") * col("volume"), block, workers)
    want = results(computed, col("value"), block, 1)
    assert repr(got) == repr(want)  # NaN too, and the sign of a zero


def test_late_rows_are_left_out_of_products_too() -> None:
    times = np.array([0, 100, 5_000, 50, 5_100])
    table = table_of([(float(n), 2) for n in range(5)], pa.int64())
    table = table.set_column(0, "ts", pa.array(times, pa.timestamp("ms")))
    table = table.set_column(1, "key", pa.array([0] * 5))
    rows = (
        sl.read_arrow(table)
        .event_time("ts", max_delay="1s")
        .key_by("key")
        .window(sl.tumbling("1s"))
        .agg(total=(col("price") * col("volume")).sum())
        .collect()
        .to_pylist()
    )
    assert [row["total"] for row in rows] == [2.0, 12.0]


def test_squares_and_products_may_share_columns_with_each_other_and_with_other_inputs() -> None:
    rows: list[tuple[float | None, int | None]] = [(1.5, 2), (2.5, 3), (4.0, None), (None, 7), (8.0, 9)]
    squares = (col("price") * col("price")).sum()
    values = (col("price") * col("volume")).sum()
    stream = sl.read(ArrowSource(table_of(rows, pa.int64()), 2)).event_time("ts", max_delay="1s")
    found = stream.window(sl.tumbling("1h")).agg(
        squares=squares, values=values, volume=col("volume").sum(), price=col("price").sum()
    )
    (got,) = found.collect().to_pylist()
    wanted = {"squares": 88.5, "values": 82.5, "volume": 21, "price": 16.0}
    assert {name: got[name] for name in wanted} == wanted
