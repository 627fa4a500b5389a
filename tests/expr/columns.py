"""Drawn columns for the tests of expressions, and how results are compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

from streamlib.expr import Expr

INT64 = st.one_of(st.integers(-9, 9), st.sampled_from([2**63 - 1, -(2**63), 2**62, -(2**31), 2**53 + 1]))
FLOAT64 = st.one_of(
    st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 0.5, -2.5]), st.floats(width=64)
)
TEXT = st.text("abXY é", max_size=3)

_COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "i": (pa.int64(), INT64),
    "j": (pa.int64(), INT64),
    "n": (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    "f": (pa.float64(), FLOAT64),
    "g": (pa.float64(), FLOAT64),
    "x": (pa.bool_(), st.booleans()),
    "y": (pa.bool_(), st.booleans()),
    "s": (pa.string(), TEXT),
    "t": (pa.string(), TEXT),
}


@st.composite
def batches(draw: st.DrawFn, names: str) -> pa.RecordBatch:
    """A batch of 0 to 8 rows with columns of these names; each has nulls now and then.

    i, j: int64; n: int16; f, g: float64; x, y: bool; s, t: string.
    """
    rows = draw(st.integers(0, 8))
    arrays = {}
    for name in names:
        data_type, values = _COLUMNS[name]
        column = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        arrays[name] = pa.array(column, data_type)
    return pa.record_batch(arrays)


def polars_values(batch: pa.RecordBatch, expr: pl.Expr) -> list[Any]:
    """The same expression as Polars computes it."""
    return pl.DataFrame(pa.table(batch)).select(result=expr)["result"].to_list()


def assert_same(got: pa.Array, expected: Sequence[Any]) -> None:
    """Equal row by row, null equal to null and NaN to NaN."""
    values = got.to_pylist()
    assert len(values) == len(expected)
    for row, (ours, theirs) in enumerate(zip(values, expected, strict=True)):
        both_nan = (
            isinstance(ours, float) and isinstance(theirs, float) and math.isnan(ours) and math.isnan(theirs)
        )
        assert both_nan or (ours == theirs and type(ours) is type(theirs)), (
            f"row {row}: {ours!r} is not {theirs!r}"
        )


def one(expr: Expr, **columns: Any) -> Any:
    """The expression's value over one row."""
    arrays = {name: v if isinstance(v, pa.Array) else pa.array([v]) for name, v in columns.items()}
    result = expr.evaluate(pa.record_batch(arrays)).to_pylist()
    assert len(result) == 1
    return result[0]
