"""`.list`, `.struct` and `struct(...)`: against Polars, with null lists, empty lists and nulls in them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.errors import BuildError, DataError, TypeMismatchError
from streamlib.expr import col, struct
from tests.expr.columns import FLOAT64, TEXT, assert_same, one, polars_values


def lists(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | st.lists(st.none() | values, max_size=4), max_size=6)


INTS, FLOATS, TEXTS = lists(st.integers(-99, 99)), lists(FLOAT64), lists(TEXT)
BOOLS = lists(st.booleans())


def column(values: list[Any], kind: pa.DataType) -> pa.RecordBatch:
    return pa.record_batch({"v": pa.array(values, pa.list_(kind))})


ANY: dict[str, Callable[[Any], Any]] = {
    "len": lambda v: v.list.len(),
    "first": lambda v: v.list.first(),
    "last": lambda v: v.list.last(),
    "get": lambda v: v.list.get(1, null_on_oob=True),
    "get_end": lambda v: v.list.get(-2, null_on_oob=True),
    "slice": lambda v: v.list.slice(1, 2),
    "slice_end": lambda v: v.list.slice(-2, 1),
    "slice_far": lambda v: v.list.slice(-9, 7),
    "slice_rest": lambda v: v.list.slice(1),
    "head": lambda v: v.list.head(2),
    "tail": lambda v: v.list.tail(2),
    "reverse": lambda v: v.list.reverse(),
    "drop_nulls": lambda v: v.list.drop_nulls(),
}


@pytest.mark.parametrize("name", ANY)
@given(ints=INTS, texts=TEXTS)
def test_elements_agree_with_polars(name: str, ints: list[Any], texts: list[Any]) -> None:
    for values, kind in ((ints, pa.int64()), (texts, pa.string())):
        batch = column(values, kind)
        assert_same(ANY[name](col("v")).evaluate(batch), polars_values(batch, ANY[name](pl.col("v"))))


@pytest.mark.parametrize("name", ["sum", "min", "max", "mean"])
@given(ints=INTS)
def test_integers_reduce_as_in_polars(name: str, ints: list[Any]) -> None:
    batch = column(ints, pa.int64())
    ours = getattr(col("v").list, name)().evaluate(batch)
    assert_same(ours, polars_values(batch, getattr(pl.col("v").list, name)()))


@pytest.mark.parametrize("name", ["min", "max", "sum"])
@given(floats=FLOATS)
def test_floats_reduce_as_in_python(name: str, floats: list[Any]) -> None:
    got = getattr(col("v").list, name)().evaluate(column(floats, pa.float64())).to_pylist()
    for value, items in zip(got, floats, strict=True):
        known = [i for i in items or () if i is not None]
        numbers = [i for i in known if not math.isnan(i)]
        if items is None or (not known and name != "sum"):
            assert value is None
        elif name == "sum":
            assert math.isnan(value) or value == pytest.approx(sum(known), nan_ok=True) or math.isinf(value)
        elif numbers:
            assert value == (min if name == "min" else max)(numbers)
        else:
            assert math.isnan(value)


@pytest.mark.parametrize("name", ["min", "max"])
def test_texts_times_and_booleans_have_extremes(name: str) -> None:
    best = min if name == "min" else max
    days = [dt.date(2024, 1, 2), dt.date(1969, 1, 1)]
    for items in (["b", "a", "é"], days, [True, False]):
        batch = pa.record_batch({"v": [items, [], None]})
        assert getattr(col("v").list, name)().evaluate(batch).to_pylist() == [best(items), None, None]


@given(ints=INTS, item=st.none() | st.integers(-3, 3))
def test_contains_agrees_with_polars(ints: list[Any], item: int | None) -> None:
    batch = column(ints, pa.int64())
    expected = [None if v is None else item in v for v in ints]
    assert col("v").list.contains(item).evaluate(batch).to_pylist() == expected
    items = pa.array([item] * len(ints), pa.int64())
    wide = pa.record_batch({"v": batch["v"], "i": items})
    assert col("v").list.contains(col("i")).evaluate(wide).to_pylist() == expected


def test_nan_is_found_and_constants_take_the_type_of_the_values() -> None:
    assert one(col("v").list.contains(float("nan")), v=pa.array([[math.nan, None]])) is True
    assert one(col("v").list.contains(1), v=pa.array([[1]], pa.list_(pa.int8()))) is True
    with pytest.raises(TypeMismatchError, match=r"list\.contains"):
        one(col("v").list.contains("x"), v=pa.array([[1]]))


@given(bools=BOOLS)
def test_any_and_all_agree_with_polars(bools: list[Any]) -> None:
    batch = column(bools, pa.bool_())
    assert_same(col("v").list.any().evaluate(batch), polars_values(batch, pl.col("v").list.any()))
    assert_same(col("v").list.all().evaluate(batch), polars_values(batch, pl.col("v").list.all()))


@given(texts=TEXTS, ignore=st.booleans())
def test_join_agrees_with_polars(texts: list[Any], ignore: bool) -> None:
    batch = column(texts, pa.string())
    expected = polars_values(batch, pl.col("v").list.join("-", ignore_nulls=ignore))
    assert_same(col("v").list.join("-", ignore_nulls=ignore).evaluate(batch), expected)


@given(ints=INTS, start=st.integers(0, 5), name=st.sampled_from([*ANY, "sum", "max"]))
def test_a_slice_gives_the_rows_of_the_slice(ints: list[Any], start: int, name: str) -> None:
    batch = column(ints, pa.int64())
    apply = ANY.get(name, lambda v: getattr(v.list, name)())
    whole = apply(col("v")).evaluate(batch).to_pylist()
    assert apply(col("v")).evaluate(batch.slice(start, 3)).to_pylist() == whole[start : start + 3]


def test_layouts_of_lists_are_all_lists() -> None:
    for kind in (pa.large_list(pa.int64()), pa.list_(pa.int64(), 2)):
        batch = pa.record_batch({"v": pa.array([[1, 2], None], kind)})
        for expr, expected in (
            (col("v").list.len(), [2, None]), (col("v").list.sum(), [3, None]), (col("v").list.last(), [2, None]),
            (col("v").list.tail(1), [[2], None]), (col("v").list.contains(2), [True, None]),
        ):  # fmt: skip
            assert expr.evaluate(batch).to_pylist() == expected


def test_a_position_that_the_list_has_not_names_its_row() -> None:
    batch = pa.record_batch({"v": [[1, 2], None, [3]], "i": [0, 5, 1]})
    for index in (1, col("i")):
        with pytest.raises(DataError) as caught:
            col("v").list.get(index).evaluate(batch)
        assert caught.value.where == "row 2 of the batch"
    assert col("v").list.get(col("i"), null_on_oob=True).evaluate(batch).to_pylist() == [1, None, None]


def test_integer_sums_are_exact_or_an_error() -> None:
    assert one(col("v").list.sum(), v=pa.array([[2**62, 2**62 - 1]])) == 2**63 - 1
    assert one(col("v").list.sum(), v=pa.array([[1, 2]], pa.list_(pa.int8()))) == 3
    assert one(col("v").list.sum(), v=pa.array([[dt.timedelta(1), None]])) == dt.timedelta(1)
    with pytest.raises(DataError, match="overflow"):
        one(col("v").list.sum(), v=pa.array([[2**62, 2**62]]))


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda v: v.list.len(), pa.int64(), ".list works on lists, not int64"),
        (lambda v: v.list.sum(), pa.list_(pa.string()), "sum"),
        (lambda v: v.list.join("-"), pa.list_(pa.int64()), "lists of text"),
        (lambda v: v.struct.field("a"), pa.int64(), ".struct works on structs"),
        (lambda v: v.struct.field("prise"), pa.struct({"price": pa.int64()}), "did you mean 'price'?"),
    ],
)
def test_types_are_checked_when_it_is_built(build: Any, kind: pa.DataType, message: str) -> None:
    with pytest.raises(TypeMismatchError) as caught:
        build(col("v")).type_in(pa.schema({"v": kind}))
    assert message in str(caught.value)


def test_structs_are_taken_apart_and_made() -> None:
    batch = pa.record_batch({"o": [{"a": 1, "b": None}, None], "n": [5, 6]})
    assert col("o").struct.field("a").evaluate(batch).to_pylist() == [1, None]
    made = struct(col("o").struct.field("a").alias("x"), "n", twice=col("n") * 2)
    assert made.type_in(batch.schema) == pa.struct({"x": pa.int64(), "n": pa.int64(), "twice": pa.int64()})
    assert made.evaluate(batch).to_pylist() == [
        {"x": 1, "n": 5, "twice": 10},
        {"x": None, "n": 6, "twice": 12},
    ]
    assert made.struct.field("twice").evaluate(batch).to_pylist() == [10, 12]
    with pytest.raises(BuildError, match="two expressions are named 'n'"):
        struct("n", n=1)
    with pytest.raises(BuildError, match="at least one"):
        struct()
