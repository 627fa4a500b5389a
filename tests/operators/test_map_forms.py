"""The forms that a batch function may be given its rows in, by annotation: each loses nothing."""

from __future__ import annotations

import decimal
import importlib
import importlib.util
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

import streamlib as sl

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

polars: Any = importlib.import_module("polars")  # not by the names that annotations have here
pandas: Any = importlib.import_module("pandas")

ROWS = pa.table({"ts": pa.array([5, 1, 30, 2, 31], pa.timestamp("s")), "n": [1, 2, 3, 4, 5]})
NULLS = pa.table(
    {
        "ts": pa.array([5, 1, 30], pa.timestamp("ns", "UTC")),
        "i": pa.array([1, None, 2**60 + 1], pa.int64()),
        "u": pa.array([1, None, 255], pa.uint8()),
        "f": pa.array([1.5, None, math.nan], pa.float64()),
        "b": pa.array([True, None, False]),
        "s": pa.array(["a", None, ""]),
        "d": pa.array([1, None, 3], pa.date32()),
        "at": pa.array([1, None, 3], pa.timestamp("us")),
        "span": pa.array([1, None, 3], pa.duration("ms")),
        "exact": pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("2.20")], pa.decimal128(10, 2)),
        "list": pa.array([[1], None, []], pa.list_(pa.int64())),
        "struct": pa.array([{"a": 1}, None, {"a": None}], pa.struct([("a", pa.int64())])),
    }
)


def as_batch(rows: pa.RecordBatch) -> Any:
    assert type(rows) is pa.RecordBatch
    return rows


def as_table(rows: pa.Table) -> Any:
    assert type(rows) is pa.Table
    return rows


def as_polars(rows: pl.DataFrame) -> Any:
    assert type(rows) is polars.DataFrame
    return rows


def as_pandas(rows: pd.DataFrame) -> Any:
    assert type(rows) is pandas.DataFrame
    return rows


def as_arrays(rows: dict[str, np.ndarray]) -> Any:
    assert all(isinstance(values, np.ndarray) for values in rows.values())
    return rows


FORMS = [as_batch, as_table, as_polars, as_pandas, as_arrays]


@pytest.mark.parametrize("function", FORMS)
@pytest.mark.parametrize("batch_rows", [1, 100])
def test_no_form_loses_anything(function: Any, batch_rows: int) -> None:
    """Nulls stay null, NaN stays NaN, whole numbers whole, times to the nanosecond; the types stay too."""
    stream = sl.read_arrow(NULLS).event_time("ts", max_delay="1s").map_batches(function)
    found = stream.collect(batch_rows=batch_rows)
    wanted = sl.read_arrow(NULLS).event_time("ts", max_delay="1s").collect()
    assert found.schema == wanted.schema
    for name in NULLS.schema.names:
        one, other = found[name].combine_chunks(), wanted[name].combine_chunks()
        assert one.equals(other) or str(one) == str(other), name


def test_annotations_may_be_real_classes_and_come_late() -> None:
    """Most here are text, of names that only type checkers see; these are not."""

    def arrays(rows: Any) -> Any:
        assert isinstance(rows["n"], np.ndarray)
        return rows

    def frame(rows: Any) -> Any:
        assert isinstance(rows, polars.DataFrame)
        return rows

    frame.__annotations__["rows"] = polars.DataFrame
    stream = sl.read_arrow(ROWS).map_batches(frame)
    for annotation in (
        dict[str, np.ndarray],
        "dict[str, npt.NDArray[Any]]",
        npt.NDArray and dict[str, npt.NDArray[Any]],
    ):
        arrays.__annotations__["rows"] = annotation
        stream = stream.map_batches(arrays)
    assert stream.collect().num_rows == 5


def test_the_result_may_have_another_form() -> None:
    def to_arrays(rows: pl.DataFrame) -> Any:
        return {"n": rows["n"].to_numpy() * 2, "s": [f"{n}" for n in rows["n"]], "p": rows["n"]}

    def to_frame(rows: pa.RecordBatch) -> Any:
        return pandas.DataFrame({"n": rows["n"].to_pandas() * 2})

    class Exported:
        def __init__(self, rows: pa.Table) -> None:
            self.rows = rows

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return self.rows.__arrow_c_stream__(requested_schema)

    rows = sl.read_arrow(ROWS)
    assert rows.map_batches(to_frame).collect()["n"].to_pylist() == [2, 4, 6, 8, 10]
    assert rows.map_batches(lambda batch: Exported(pa.table(batch))).collect().num_rows == 5
    made = rows.map_batches(to_arrays, schema={"n": int, "s": str, "p": "int64"}).collect()
    assert made.to_pylist()[1] == {"n": 4, "s": "2", "p": 2}


def test_pandas_and_numpy_calculate_with_nulls() -> None:
    numbers = sl.read_arrow(pa.table({"n": pa.array([2**60 + 1, None, 3])}))

    def by_pandas(rows: pd.DataFrame) -> Any:
        return rows.assign(n=rows["n"] + 1)

    def by_numpy(rows: dict[str, np.ndarray]) -> Any:
        return {"n": rows["n"] + 1}

    for function in (by_pandas, by_numpy):
        stream = numbers.map_batches(function)
        assert stream.schema.field("n").type == pa.int64()
        assert stream.collect()["n"].to_pylist() == [2**60 + 2, None, 4]


def test_a_missing_library_is_named_when_the_script_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "polars" else found(name))
    with pytest.raises(sl.BuildError, match="polars is not installed") as caught:
        sl.read_arrow(ROWS).map_batches(as_polars)
    assert "pip install polars" in str(caught.value)
    sl.read_arrow(ROWS).map_batches(as_pandas)


def wants_series(rows: pd.Series) -> Any:
    return rows


def wants_bare_frame(rows: DataFrame) -> Any:  # type: ignore[name-defined] # noqa: F821
    return rows


def wants_floats(rows: dict[str, float]) -> Any:
    return rows


@pytest.mark.parametrize("function", [wants_series, wants_bare_frame, wants_floats])
def test_an_annotation_of_no_known_form_is_refused(function: Any) -> None:
    with pytest.raises(sl.BuildError, match=r"polars\.DataFrame, pandas\.DataFrame") as caught:
        sl.read_arrow(ROWS).map_batches(function)
    assert caught.value.step == "map_batches"


@pytest.mark.parametrize(
    "function", [lambda: None, lambda a, b: a, lambda *, batch: batch, lambda **rows: rows]
)
def test_a_function_of_no_or_several_batches_is_refused(function: Any) -> None:
    with pytest.raises(sl.BuildError, match="cannot be called with one batch"):
        sl.read_arrow(ROWS).map_batches(function)
    sl.read_arrow(ROWS).map_batches(lambda batch, scale=2, *rest, only=1, **more: batch)


async def later(batch: Any) -> Any:
    return batch


@pytest.mark.parametrize(
    ("given", "part"),
    [(5, "needs a function"), (later, "async"), ("abs", "needs a function"), (max, "parameters of 'max'")],
)
def test_what_cannot_be_called_is_refused(given: Any, part: str) -> None:
    with pytest.raises(sl.BuildError, match=part):
        sl.read_arrow(ROWS).map_batches(given)
