"""`drop`, `rename`, `cast`, `fill_null`, `unnest`, `drop_nulls`, `split`: columns and rows by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import BuildError, ColumnNotFoundError, TypeMismatchError, col
from streamlib.graph import SinkNode
from streamlib.graph.plan import plan_graph

ROWS = pa.table(
    {
        "ts": pa.array([5, 1, 30, 2], pa.timestamp("s")),
        "k": ["a", "b", None, "b"],
        "n": [1, None, 3, 4],
        "o": [{"x": 1, "y": 2.0}, None, {"x": None, "y": 4.0}, {"x": 5, "y": None}],
    }
)


def read() -> sl.Stream:
    return sl.read_arrow(ROWS)


def timed() -> sl.Stream:
    return read().event_time("ts", max_delay="0s")


def keyed() -> sl.KeyedStream:
    return timed().key_by("k")


def columns_of_bars(stream: sl.Stream) -> list[str]:
    return stream.window(sl.tumbling("10s")).agg(c=sl.count()).schema.names[:-3]


SAME_AS_POLARS: dict[str, tuple[Callable[[sl.Stream], sl.Stream], Callable[[pl.DataFrame], pl.DataFrame]]] = {
    "drop": (lambda s: s.drop("n", "o"), lambda f: f.drop("n", "o")),
    "rename": (lambda s: s.rename({"n": "k", "k": "n"}), lambda f: f.rename({"n": "k", "k": "n"})),
    "cast": (lambda s: s.cast({"n": "float64"}), lambda f: f.cast({"n": pl.Float64})),
    "drop_nulls": (lambda s: s.drop_nulls(), lambda f: f.drop_nulls()),
    "drop_nulls_of": (lambda s: s.drop_nulls("n", "k"), lambda f: f.drop_nulls(["n", "k"])),
    "fill_null": (lambda s: s.drop("o").fill_null(0), lambda f: f.drop("o").fill_null(0)),
    "unnest": (lambda s: s.unnest("o"), lambda f: f.unnest("o")),
}


@pytest.mark.parametrize("name", SAME_AS_POLARS)
@given(rows=st.lists(st.integers(0, 3), max_size=6), batch_rows=st.sampled_from([1, 3, 100]))
def test_as_polars(name: str, rows: list[int], batch_rows: int) -> None:
    ours, theirs = SAME_AS_POLARS[name]
    table = ROWS.take(pa.array(rows, pa.int64()))
    got = ours(sl.read_arrow(table)).collect(batch_rows=batch_rows)
    expected = theirs(pl.DataFrame(table.combine_chunks()))
    assert got.schema.names == expected.columns
    assert got.to_pylist() == expected.to_dicts()


@pytest.mark.parametrize("batch_rows", [1, 100])
@pytest.mark.parametrize(
    "verb",
    [
        lambda s: s.drop("ts", "o"),
        lambda s: s.rename({"ts": "t"}),
        lambda s: s.cast({"ts": "timestamp[ns]"}),
        lambda s: s.cast({"ts": "int64"}),
        lambda s: s.fill_null({"k": "-"}),
        lambda s: s.unnest("o"),
        lambda s: s.drop_nulls("ts"),
    ],
)
def test_rows_keep_their_time_and_mark(verb: Callable[[sl.Stream], sl.Stream], batch_rows: int) -> None:
    result = verb(timed()).window(sl.tumbling("10s")).agg(n=col("n").sum())
    assert result.collect(batch_rows=batch_rows)["n"].to_pylist() == [1, 3]
    assert result.late.collect(batch_rows=batch_rows)["n"].to_pylist() == [4]


def test_the_time_column_is_followed() -> None:
    def bounds(stream: sl.Stream) -> pa.DataType:
        return stream.window(sl.tumbling("10s")).agg(c=sl.count()).schema.field("window_start").type

    assert timed()._node.time == "ts"
    assert timed().drop("ts")._node.time is None
    assert timed().rename({"ts": "t", "n": "ts"})._node.time == "t"
    assert timed().unnest("o")._node.time == "ts"
    assert timed().cast({"ts": "timestamp[ms]"})._node.time == "ts"
    assert bounds(timed().cast({"ts": "timestamp[ms]"})) == pa.timestamp("ms")
    assert timed().cast({"ts": "string"})._node.time is None
    finer = timed().cast({"ts": "timestamp[ms]"})
    assert finer.cast({"ts": "timestamp[s]"})._node.time is None


def test_keys_are_followed() -> None:
    assert columns_of_bars(keyed().rename({"k": "symbol"})) == ["symbol"]
    assert columns_of_bars(keyed().rename({"k": "n", "n": "k"})) == ["n"]
    assert columns_of_bars(keyed().drop("n")) == ["k"]
    assert columns_of_bars(keyed().cast({"n": "float64"})) == ["k"]
    for gone in (keyed().drop("k"), keyed().cast({"k": "large_string"}), keyed().fill_null({"k": "-"})):
        assert columns_of_bars(gone.key_by()) == []
        with pytest.raises(BuildError, match="let go of the keys"):
            columns_of_bars(gone)
    assert columns_of_bars(keyed().fill_null(0)) == ["k"]
    assert columns_of_bars(keyed().unnest("o")) == ["k"]
    assert columns_of_bars(keyed().drop_nulls("n")) == ["k"]
    assert [columns_of_bars(part) for part in keyed().split(col("n") > 1)] == [["k"], ["k"]]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_renamed_key_still_groups_its_rows(workers: int) -> None:
    bars = keyed().rename({"k": "symbol"}).window(sl.tumbling("1m"), allowed_lateness="1h").agg(c=sl.count())
    counted = {r["symbol"]: r["c"] for r in bars.collect(workers=workers, batch_rows=1).to_pylist()}
    assert counted == {"a": 1, "b": 2, None: 1}


def test_one_value_goes_where_it_fits() -> None:
    filled = keyed().with_columns(s=col("k")).fill_null("?").collect()
    assert filled["k"].to_pylist().count(None) == 1, "a null key is a key"
    assert filled["s"].to_pylist().count(None) == 0
    assert read().drop("o").fill_null("?").collect()["k"].to_pylist() == ["a", "b", "?", "b"]
    with pytest.raises(BuildError, match="no column that can hold the value"):
        read().select("n").fill_null("?")
    with pytest.raises(TypeMismatchError, match="would change the type of 'n'"):
        read().fill_null({"n": 0.5})


@given(values=st.lists(st.none() | st.integers(-3, 3), max_size=8), batch_rows=st.sampled_from([1, 3, 100]))
def test_split_gives_every_row_to_one_side(values: list[int | None], batch_rows: int) -> None:
    stream = sl.read_arrow(pa.table({"n": pa.array(values, pa.int64())}))
    matching, rest = stream.split(col("n") > 0)
    assert matching.collect(batch_rows=batch_rows)["n"].to_pylist() == [
        v for v in values if v is not None and v > 0
    ]
    assert rest.collect(batch_rows=batch_rows)["n"].to_pylist() == [v for v in values if v is None or v <= 0]


def columns_read(stream: sl.Stream) -> list[str]:
    """The columns that the plan leaves to the source."""
    from streamlib.connectors.memory import CollectSink

    sink = SinkNode(inputs=(stream._node,), sink=CollectSink())
    return plan_graph([sink]).steps[0].node.schema.names


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (lambda: read().drop("o", "k").select("n"), ["n"]),
        (lambda: read().rename({"n": "m"}).select("m"), ["n"]),
        (lambda: read().rename({"n": "k", "k": "n"}).select("n"), ["k"]),
        (lambda: read().cast({"n": "float64"}).select("k"), ["k"]),
        (lambda: read().drop_nulls("n").select("k"), ["k", "n"]),
        (lambda: read().drop_nulls().select("k"), ["ts", "k", "n", "o"]),
        (lambda: read().unnest("o").select("x"), ["o"]),
        (lambda: read().split(col("n") > 1)[1].select("k"), ["k", "n"]),
        (lambda: timed().with_row_id().select("row_id"), ["ts"]),
    ],
)
def test_only_what_is_needed_is_read(stream: Callable[[], sl.Stream], expected: list[str]) -> None:
    assert columns_read(stream()) == expected
    stream().collect()


def test_rows_are_counted_though_no_column_is_needed() -> None:
    for stream in (timed().drop("ts"), timed().rename({"n": "m"}), timed().cast({"n": "float64"})):
        bars = stream.window(sl.tumbling("1m"), allowed_lateness="1h").agg(c=sl.count())
        assert bars.collect()["c"].to_pylist() == [4]


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: read().drop("m"), ColumnNotFoundError, "no column 'm'"),
        (lambda: read().drop("ts", "k", "n", "o"), BuildError, "would leave no column"),
        (lambda: read().rename({"m": "x"}), ColumnNotFoundError, "no column 'm'"),
        (lambda: read().rename({"n": "k"}), BuildError, "two columns the name 'k'"),
        (lambda: read().rename(["n"]), BuildError, "new names by the old ones"),
        (lambda: read().cast({"m": "int64"}), ColumnNotFoundError, "no column 'm'"),
        (lambda: read().cast({"n": "int46"}), BuildError, "no such type"),
        (lambda: read().cast("int64"), BuildError, "types by column"),
        (lambda: read().cast({"o": "int64"}), TypeMismatchError, "cannot compute"),
        (lambda: read().drop_nulls("m"), ColumnNotFoundError, "no column 'm'"),
        (lambda: read().fill_null({"m": 1}), ColumnNotFoundError, "no column 'm'"),
        (lambda: read().unnest("n"), TypeMismatchError, "is no struct"),
        (lambda: read().unnest(), BuildError, "no column"),
        (lambda: read().rename({"n": "x"}).unnest("o"), BuildError, "two columns the name 'x'"),
        (lambda: read().split(col("n")), TypeMismatchError, "needs a condition"),
    ],
)
def test_what_cannot_work_fails_at_its_line(build: Any, error: type[BuildError], message: str) -> None:
    with pytest.raises(error) as caught:
        build()
    assert message in str(caught.value)
    assert caught.value.at is not None and caught.value.at.file.endswith("test_columns.py")


def test_the_plan_names_the_verbs() -> None:
    text = keyed().drop("o").rename({"n": "m"}).cast({"m": "float64"}).fill_null(0).drop_nulls("m").explain()
    for verb in ("drop", "rename", "cast", "fill_null", "drop_nulls"):
        assert verb in text


def test_a_cast_that_is_not_strict_gives_null_and_moves_no_event_time() -> None:
    mixed = sl.read_arrow(pa.table({"n": ["1", "n/a"]})).cast({"n": int}, strict=False)
    assert mixed.collect()["n"].to_pylist() == [1, None]
    assert keyed().cast({"ts": "timestamp[ns]"})._node.time == "ts"
    assert keyed().cast({"ts": "timestamp[ns]"}, strict=False)._node.time is None
