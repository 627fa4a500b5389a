"""`when`, `is_in` and `filter` before an aggregate: against Polars and DuckDB."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib.errors import BuildError, ColumnNotFoundError, TypeMismatchError
from streamlib.expr import AggExpr, col, count, lit, when
from tests.expr.columns import assert_same, batches, one, polars_values


@given(batch=batches("xyijf"))
def test_when_agrees_with_polars(batch: pa.RecordBatch) -> None:
    def choices(c: Any, w: Any) -> list[Any]:
        return [
            w(c("x")).then(c("i")).otherwise(c("j")),
            w(c("x")).then(c("i")),
            w(c("x")).then(c("i")).when(c("y")).then(c("j")).otherwise(-1),
            w(c("x")).then(1).when(c("y")).then(2),
            w(c("i") > 0, c("y")).then(c("i")).otherwise(None),
            w(c("x")).then(c("f")).otherwise(c("f") * 2) + 1,
            w("x").then("i").otherwise("j"),
        ]

    for ours, theirs in zip(choices(col, when), choices(pl.col, pl.when), strict=True):
        got = ours.evaluate(batch).to_pylist()
        assert_same(pa.array(got), polars_values(batch, theirs))


@given(batch=batches("xi"))
def test_when_agrees_with_duckdb(batch: pa.RecordBatch) -> None:
    table = pa.Table.from_batches([batch])
    query = "select case when i > 2 then 'large' when x then 'yes' else 'other' end from table_"
    with duckdb.connect() as connection:
        connection.register("table_", table)
        expected = [row[0] for row in connection.execute(query).fetchall()]
    ours = when(col("i") > 2).then(lit("large")).when(col("x")).then(lit("yes")).otherwise(lit("other"))
    assert ours.evaluate(batch).to_pylist() == expected


def test_the_values_meet_in_one_type() -> None:
    schema = pa.schema({"x": pa.bool_(), "n": pa.int32(), "f": pa.float64(), "t": pa.timestamp("ms")})
    assert when("x").then("n").otherwise(0).type_in(schema) == pa.int32()
    assert when("x").then("n").otherwise("f").type_in(schema) == pa.float64()
    assert when("x").then(1).otherwise(2.5).type_in(schema) == pa.float64()
    assert when("x").then("t").otherwise("2024-01-01").type_in(
        pa.schema([*schema, pa.field("2024-01-01", pa.timestamp("ms"))])
    ) == pa.timestamp("ms")
    assert when("x").then("n").type_in(schema) == pa.int32()
    with pytest.raises(TypeMismatchError, match="of one kind"):
        when("x").then("n").otherwise(lit("a")).type_in(schema)
    with pytest.raises(TypeMismatchError, match="takes a condition"):
        when("n").then(1).type_in(schema)


def test_a_text_that_is_no_column_is_told_how_to_be_a_constant() -> None:
    with pytest.raises(ColumnNotFoundError) as caught:
        when(col("n") > 0).then("up").otherwise("down").type_in(pa.schema({"n": pa.int64()}))
    assert 'a constant text is written lit("up")' in str(caught.value)


def test_it_is_named_by_what_comes_out() -> None:
    assert when(col("a") > 0).then(col("b")).otherwise(col("c")).output_name() == "b"
    assert when(col("a") > 0).then(1).otherwise(col("c")).output_name() == "c"
    with pytest.raises(BuildError, match="has no name"):
        when(col("a") > 0).then(1).output_name()


def test_a_when_without_a_condition_is_refused() -> None:
    with pytest.raises(BuildError, match="needs a condition"):
        when()


def test_conditions_of_aggregates() -> None:
    ratio = when(col("v").sum() > 0).then(col("p").sum() / col("v").sum()).otherwise(0)
    assert len(ratio.aggregates()) == 2
    replaced = ratio.replace([(a, col(f"_{i}")) for i, a in enumerate(ratio.aggregates())])
    assert one(replaced, _0=2.0, _1=3.0) == 1.5
    assert one(replaced, _0=0.0, _1=3.0) == 0


# ---- is_in --------------------------------------------------------------------------------------------


@given(batch=batches("ifsx"), more=st.booleans())
def test_is_in_agrees_with_polars(batch: pa.RecordBatch, more: bool) -> None:
    sets: dict[str, list[Any]] = {
        "i": [0, 5, -1, 2**62],
        "f": [0.0, 0.5, math.nan, math.inf],
        "s": ["", "a", "é"],
        "x": [True],
    }
    for name, values in sets.items():
        given_values = [*values, None] if more else values
        expected = polars_values(batch, pl.col(name).is_in(given_values))
        rows = batch[name].to_pylist()
        expected = [None if v is None else bool(e) for v, e in zip(rows, expected, strict=True)]
        for collection in (given_values, tuple(given_values), set(given_values), pa.array(given_values)):
            assert_same(col(name).is_in(collection).evaluate(batch), expected)


def test_is_in_compares_as_equality_does() -> None:
    assert one(col("n").is_in([1.0, 2.5]), n=1) is True
    assert one(col("f").is_in([1, 2]), f=2.0) is True
    assert one(col("f").is_in([0.0]), f=-0.0) is True
    assert one(col("n").is_in([300]), n=pa.array([44], pa.int8())) is False
    assert one(col("s").is_in(["a"]), s=pa.array(["a"]).dictionary_encode()) is True
    assert one(col("n").is_in([]), n=1) is False
    assert one(col("t").is_in(["2024-01-31T12:00:00"]), t=dt.datetime(2024, 1, 31, 12)) is True
    assert one(col("t").is_in([dt.datetime(2024, 1, 31, 12)]), t=pa.array([0], pa.timestamp("s"))) is False
    with pytest.raises(TypeMismatchError, match="never equals"):
        one(col("n").is_in(["a"]), n=1)


def test_is_in_takes_a_collection_of_constants() -> None:
    for values in ("abc", 5, col("b"), [object()]):
        with pytest.raises(BuildError):
            col("a").is_in(values)  # type: ignore[arg-type]


# ---- filter -------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("ab"), st.none() | st.integers(-9, 9), st.none() | st.booleans()),
        max_size=12,
    ),
    workers=st.sampled_from([1, 2]),
    batch_rows=st.sampled_from([1, 3, 100]),
)
def test_a_filtered_aggregate_agrees_with_duckdb(rows: list[Any], workers: int, batch_rows: int) -> None:
    keys, values, conditions = ([row[i] for row in rows] for i in range(3))
    table = pa.table(
        {
            "ts": pa.array(range(len(rows)), pa.timestamp("s")),
            "k": pa.array(keys, pa.string()),
            "v": pa.array(values, pa.int64()),
            "p": pa.array(conditions, pa.bool_()),
        }
    )
    kept = col("v").filter(col("p"))
    result = (
        sl.read_arrow(table)
        .event_time("ts", max_delay="0s")
        .key_by("k")
        .window(sl.tumbling("1h"))
        .agg(
            total=kept.sum(), mean=kept.mean(), low=kept.min(), high=kept.max(), n=kept.count(),
            rows=count().filter(col("p")), all=count(), share=count().filter(col("p")) / count(),
        )
        .collect(workers=workers, batch_rows=batch_rows)
    )  # fmt: skip
    with duckdb.connect() as connection:
        connection.register("rows_", table)
        expected = connection.execute(
            """
            select k, coalesce(sum(v) filter (where p), 0)::bigint, avg(v) filter (where p), min(v) filter (where p),
                   max(v) filter (where p), count(v) filter (where p), count(*) filter (where p), count(*),
                   count(*) filter (where p) / count(*)
            from rows_ group by k order by k
            """
        ).fetchall()
    got = [tuple(row.values()) for row in result.drop_columns(["window_start", "window_end"]).to_pylist()]
    assert sorted(got) == expected


def test_what_a_filter_is_called() -> None:
    assert col("v").filter(col("p")).sum().output_name() == "v"
    assert count().filter(col("p")).output_name() == "count"
    assert isinstance(count().filter(col("p")), AggExpr)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: (col("v").filter(col("p")) * 2).sum(), "must be the whole input of an aggregate"),
        (lambda: col("v").filter(col("p")).filter(col("q")).sum(), "joined by &"),
        (lambda: col("v").sum().filter(col("p")), 'such as col("v").filter(col("p")).sum()'),
        (lambda: col("v").filter(col("v")).type_in(pa.schema({"v": pa.bool_()})), "let an aggregate follow"),
        (lambda: col("v").filter(col("v")).sum().type_in(pa.schema({"v": pa.int64()})), "true or false"),
    ],
)
def test_a_filter_in_the_wrong_place_fails_where_it_is_written(build: Any, message: str) -> None:
    with pytest.raises(BuildError) as caught:
        build()
    assert message in str(caught.value)
