"""A stream stays keyed while its key columns stay; where one goes, no step quietly takes all rows as one."""

from __future__ import annotations

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import BuildError, col

TICKS = pa.table(
    {
        "ts": pa.array([1, 2, 3, 4], pa.timestamp("s")),
        "k": ["a", "b", "a", "b"],
        "day": [1, 1, 1, 1],
        "v": [1, 2, 4, 8],
    }
)


def keyed(*columns: str) -> sl.KeyedStream:
    return sl.read_arrow(TICKS).event_time("ts", max_delay="0s").key_by(*(columns or ("k",)))


def sums(stream: sl.Stream) -> list[int]:
    found = stream.window(sl.tumbling("10s")).agg(v=col("v").sum()).collect()
    return sorted(found["v"].to_pylist())


KEPT = {
    "select": lambda s: s.select("k", "v"),
    "select under another name": lambda s: s.select("v", symbol="k"),
    "select with alias": lambda s: s.select("v", col("k").alias("symbol")),
    "select twice": lambda s: s.select("v", "k", other="k"),
    "with_columns": lambda s: s.with_columns(w=col("v") * 2),
    "with_columns of the key itself": lambda s: s.with_columns(k=col("k")),
    "with_columns that keep the old key": lambda s: s.with_columns(old="k", k=sl.lit("x")),
    "rename": lambda s: s.rename({"k": "symbol"}),
    "drop": lambda s: s.drop("day"),
    "union": lambda s: s.union(s.filter(col("v") > 100)),
    "map_batches": lambda s: s.map_batches(lambda rows: rows, schema=s.schema),
}


@pytest.mark.parametrize("name", KEPT)
def test_keys_are_kept_where_their_columns_are(name: str) -> None:
    assert sums(KEPT[name](keyed())) == [5, 10]


def by_time(stream: sl.Stream) -> sl.Stream:
    return stream.window(sl.tumbling("10s")).agg(n=sl.count())


LOST = {
    "select": lambda s: s.select("ts", "v"),
    "select computed": lambda s: s.select("v", k=col("k") + "x"),
    "with_columns": lambda s: s.with_columns(k=col("v")),
    "drop": lambda s: s.drop("k"),
    "union": lambda s: s.union(s.key_by("v")),
    "map_batches": lambda s: s.map_batches(lambda rows: rows.drop_columns(["k"]), schema=s.drop("k").schema),
}


@pytest.mark.parametrize("name", LOST)
def test_a_step_by_key_is_refused_where_the_key_is_gone(name: str) -> None:
    with pytest.raises(BuildError, match=r"works by key, and .* has let go of the keys(.|\n)*key_by\(\)"):
        by_time(LOST[name](keyed()))


STEPS = {
    "window": by_time,
    "session": lambda s: s.window(sl.session("1s")).agg(n=sl.count()),
    "rows": lambda s: s.window(sl.tumbling(rows=2)).agg(n=sl.count()),
    "updates": lambda s: s.window(sl.tumbling("1s"), emit="updates").agg(n=sl.count()),
    "agg": lambda s: s.agg(n=sl.count()),
    "latest": lambda s: s.latest(),
    "top_n": lambda s: s.top_n(1, by="v"),
    "top_n per": lambda s: s.top_n(1, by="v", per="1s"),
    "dedup": lambda s: s.dedup("v", within="1h"),
    "rolling": lambda s: s.rolling(rows=2).agg(n=sl.count()),
    "shift": lambda s: s.with_columns(before=col("v").shift(1)),
    "join": lambda s: s.join(keyed(), within=("0s", "1s")),
}


@pytest.mark.parametrize("name", STEPS)
def test_every_step_by_key_says_which_step_let_go_of_it(name: str) -> None:
    with pytest.raises(BuildError, match="has let go of the keys") as caught:
        STEPS[name](keyed().select("ts", "v").filter(col("v") > 0))
    assert "select" in str(caught.value)
    assert "test_keys_kept.py" in str(caught.value)


def test_one_key_of_two_is_no_key() -> None:
    assert sums(keyed("k", "day").select("day", "v", symbol="k")) == [5, 10]
    with pytest.raises(BuildError, match="'k', 'day'"):
        by_time(keyed("k", "day").select("k", "v"))


def test_all_rows_as_one_are_asked_for_by_key_by_without_columns() -> None:
    assert sums(keyed().key_by()) == [15]
    assert sums(keyed().select("v").key_by()) == [15]
    assert sums(keyed().select("v", "day").key_by("day")) == [15]
    with pytest.raises(BuildError, match="no column"):
        sl.read_arrow(TICKS).key_by()


def test_the_keys_of_a_join_that_are_named_need_not_be_those_of_the_stream() -> None:
    pairs = keyed().select("ts", "day", v="v").join(keyed(), on="day", within=("0s", "0s"))
    assert pairs.collect().num_rows == 4
