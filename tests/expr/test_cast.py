"""Casts: what is truncated, what fails and what the failure says."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.errors import BuildError, DataError, TypeMismatchError
from streamlib.expr import col, lit, parse_type
from tests.expr.columns import assert_same, batches, one, polars_values


@given(batch=batches("inx"))
def test_widening_agrees_with_polars(batch: pa.RecordBatch) -> None:
    assert_same(col("i").cast("float64").evaluate(batch), polars_values(batch, pl.col("i").cast(pl.Float64)))
    assert_same(col("n").cast("int64").evaluate(batch), polars_values(batch, pl.col("n").cast(pl.Int64)))
    assert_same(col("n").cast(str).evaluate(batch), polars_values(batch, pl.col("n").cast(pl.String)))
    assert_same(col("x").cast(int).evaluate(batch), polars_values(batch, pl.col("x").cast(pl.Int64)))


@given(values=st.lists(st.none() | st.floats(-1e15, 1e15)))
def test_a_float_drops_its_fraction_as_polars(values: list[float | None]) -> None:
    batch = pa.record_batch({"f": pa.array(values, pa.float64())})
    assert_same(col("f").cast("int64").evaluate(batch), polars_values(batch, pl.col("f").cast(pl.Int64)))


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300])
def test_a_float_that_is_no_integer_fails(value: float) -> None:
    with pytest.raises(DataError, match=r'cannot compute col\("a"\).cast\("int64"\)'):
        one(col("a").cast("int64"), a=value)


@given(
    before=st.lists(st.sampled_from(["1", "-20", None])), after=st.lists(st.sampled_from(["3", "y", None]))
)
def test_the_first_value_that_fails_is_named(before: list[str | None], after: list[str | None]) -> None:
    column = pa.array([*before, "x1", *after], pa.string())
    with pytest.raises(DataError) as caught:
        col("s").cast("int64").evaluate(pa.record_batch({"s": column}))
    assert caught.value.where == f"row {len(before)} of the batch"
    assert caught.value.got == "col(\"s\") = 'x1'"
    assert "'x1'" in caught.value.problem
    assert "int64" in str(caught.value.expected)


CASTS = {
    "texts": (
        st.sampled_from(["1", "-20", "1.5", "x", "", " 7", "300", "9" * 30, "nan"]),
        pa.string(),
        ["int64", "uint8", "float64"],
    ),
    "texts and times": (
        st.sampled_from(["2026-01-05", "2026-01-05T12:00:00", "noon"]),
        pa.large_string(),
        ["timestamp[us]", "date32"],
    ),
    "floats": (
        st.floats() | st.integers(-300, 300).map(float),
        pa.float64(),
        ["int64", "uint8", "float32", "string"],
    ),
    "integers": (
        st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300),
        pa.int64(),
        ["int8", "uint64", "timestamp[us]", "decimal128(21, 2)"],
    ),
    "times": (st.integers(-(2**55), 2**55), pa.timestamp("s"), ["timestamp[ns]", "timestamp[ms]", "date32"]),
    "lists": (st.lists(st.sampled_from(["1", "x"]), max_size=3), pa.list_(pa.string()), ["list<int64>"]),
}


@given(name=st.sampled_from(list(CASTS)), data=st.data())
def test_not_strict_is_null_where_strict_is_an_error(name: str, data: st.DataObject) -> None:
    values, kind, types = CASTS[name]
    column = pa.array(data.draw(st.lists(st.none() | values, max_size=90)), kind)
    to = parse_type(data.draw(st.sampled_from(types)) if name != "lists" else pa.list_(pa.int64()))
    wanted = []
    for row in range(len(column)):
        try:
            wanted += plain(col("a").cast(to).evaluate(pa.record_batch({"a": column.slice(row, 1)})))
        except DataError:
            wanted.append(None)
    found = col("a").cast(to, strict=False).evaluate(pa.record_batch({"a": column}))
    assert found.type == to
    assert repr(plain(found)) == repr(wanted)


def plain(column: pa.Array) -> list[Any]:
    """Python's values, of times their numbers: `datetime` has no year 10,000."""
    if pa.types.is_temporal(column.type):
        column = column.view(pa.int64() if column.type.bit_width == 64 else pa.int32())
    values: list[Any] = column.to_pylist()
    return values


def test_what_other_rows_of_a_list_hold_decides_nothing() -> None:
    column = pa.array([["x"], [], None, ["1"]], pa.list_(pa.string()))
    cast = col("a").cast(pa.list_(pa.int64()))
    for row, wanted in ((1, []), (2, None), (3, [1])):
        assert cast.evaluate(pa.record_batch({"a": column.slice(row, 1)})).to_pylist() == [wanted]


def test_an_error_names_a_time_that_python_does_not_have() -> None:
    with pytest.raises(DataError, match="0000-12-31"):
        one(col("a").cast("timestamp[ns]"), a=pa.array([-62_135_596_801], pa.timestamp("s")))


def test_not_strict_is_another_expression_than_strict() -> None:
    assert str(col("a").cast(int, strict=False)) == 'col("a").cast("int64", strict=False)'
    assert one(col("a").cast(int, strict=False).fill_null(0), a="x") == 0
    assert one(lit("x").cast(int, strict=False), a="x") is None
    with pytest.raises(TypeMismatchError):
        one(col("a").cast(pa.list_(pa.int8()), strict=False), a=1.5)
    both = [col("a").cast(int, strict=False).is_null(), col("a").cast(int).is_null()]
    assert both[0].key() != both[1].key()


def test_an_integer_too_large_fails() -> None:
    with pytest.raises(DataError, match="300"):
        one(col("a").cast("int8"), a=300)


@given(values=st.lists(st.datetimes(dt.datetime(1960, 1, 1), dt.datetime(2100, 1, 1))))
def test_a_time_becomes_coarser_by_rounding_down(values: list[dt.datetime]) -> None:
    batch = pa.record_batch({"t": pa.array(values, pa.timestamp("us"))})
    epoch, second = dt.datetime(1970, 1, 1), dt.timedelta(seconds=1)
    seconds = [(value - epoch) // second for value in values]
    assert col("t").cast("timestamp[s]").evaluate(batch).cast(pa.int64()).to_pylist() == seconds
    assert col("t").cast("date32").evaluate(batch).to_pylist() == [value.date() for value in values]


def test_texts_become_times() -> None:
    assert one(col("s").cast("timestamp[us]"), s="2024-01-31T12:00:00.5") == dt.datetime(
        2024, 1, 31, 12, 0, 0, 500_000
    )
    with pytest.raises(DataError, match="yesterday"):
        one(col("s").cast("timestamp[us]"), s="yesterday")


def test_a_cast_that_no_value_survives_fails_at_build() -> None:
    with pytest.raises(TypeMismatchError, match="cast"):
        col("t").cast("bool").type_in(pa.schema({"t": pa.timestamp("us")}))
    with pytest.raises(TypeMismatchError, match=r'lit\("x"\).cast'):
        lit("x").cast("int64").type_in(pa.schema({}))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("float64", pa.float64()),
        ("timestamp[us]", pa.timestamp("us")),
        ("timestamp[ms, tz=Europe/Berlin]", pa.timestamp("ms", "Europe/Berlin")),
        ("decimal128(10, 2)", pa.decimal128(10, 2)),
        ("duration[s]", pa.duration("s")),
        (int, pa.int64()),
        (pa.list_(pa.int8()), pa.list_(pa.int8())),
    ],
)
def test_types_have_names(name: str, expected: pa.DataType) -> None:
    assert parse_type(name) == expected


@pytest.mark.parametrize("name", ["floot64", "timestamp[min]", "decimal128(99, 2)", 7, dict])
def test_an_unknown_type_is_refused(name: str) -> None:
    with pytest.raises(BuildError, match="there is no such type"):
        col("a").cast(name)


def test_an_unknown_type_gives_the_nearest() -> None:
    with pytest.raises(BuildError, match="did you mean 'float64'"):
        col("a").cast("floot64")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dictionary<values=string, indices=int32, ordered=0>", pa.dictionary(pa.int32(), pa.string())),
        ("list<int64>", pa.list_(pa.int64())),
        ("datetime", pa.timestamp("us")),
    ],
)
def test_cast_knows_the_names_that_schemas_know(name: str, kind: pa.DataType) -> None:
    assert lit(None).cast(name).type_in(pa.schema([])) == kind
