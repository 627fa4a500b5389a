"""`latest`: the row with the largest (event time, order) of each key, whole, whatever its columns are."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import col

NOON = dt.datetime(2026, 1, 5, 12)


def at(*seconds: int) -> pa.Array:
    return pa.array([NOON + dt.timedelta(seconds=s) for s in seconds], pa.timestamp("ms"))


def latest(**columns: object) -> sl.Table:
    rows = pa.table({"ts": at(1, 3, 2, 5), "k": ["a", "a", "a", "b"], **columns})
    return sl.read_arrow(rows).event_time("ts", max_delay="10s").key_by("k").latest()


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, 3, None], pa.int8()),
        pa.array(["x", None, "y", "z"]),
        pa.array([1.5, float("nan"), 2.5, -0.0]),
        pa.array([Decimal("1.5"), Decimal("2.25"), None, Decimal(-3)], pa.decimal128(9, 2)),
        pa.array([b"", b"\x00", None, b"long enough to be no word"], pa.large_binary()),
        pa.array([[1], [], None, [2, None]], pa.list_(pa.int64())),
        pa.array([{"a": 1, "b": "x"}, None, {"a": 2, "b": None}, {"a": None, "b": "y"}]),
        pa.array([True, None, False, True]),
        pa.array([None, None, None, None], pa.null()),
        pa.array([1, 2, 3, 4], pa.duration("us")),
        pa.array([1, 2, 3, 4], pa.date32()),
        pa.array(["x", "y", None, "z"], pa.string_view()),
        pa.array([[1.0, 2.0]] * 4, pa.list_(pa.float64(), 2)),
    ],
    ids=lambda values: str(values.type),
)
def test_every_type_of_column_comes_out_as_it_was(values: pa.Array) -> None:
    found = latest(value=values).collect()
    given = values.to_pylist()
    assert repr(found["value"].to_pylist()) == repr([given[1], given[3]])
    assert found["ts"].to_pylist() == [NOON + dt.timedelta(seconds=s) for s in (3, 5)]


def test_a_dictionary_that_a_step_makes_comes_out_decoded() -> None:
    rows = pa.table({"ts": at(1, 2), "k": ["a", "a"], "v": ["x", "y"]})
    kind = pa.dictionary(pa.int8(), pa.string())
    encoded = sl.read_arrow(rows).event_time("ts", max_delay="1s").cast({"v": kind, "k": kind}).key_by("k")
    assert encoded.latest().collect().drop_columns(["ts"]).to_pylist() == [{"k": "a", "v": "y"}]
    assert encoded.agg(last=col("v").last()).collect().to_pylist() == [{"k": "a", "last": "y"}]


def test_the_columns_stand_as_in_the_input_and_keys_alone_are_a_row() -> None:
    assert latest(v=[1, 2, 3, 4]).schema.names == ["ts", "k", "v"]
    rows = pa.table({"ts": at(1, 2, 2)})
    assert sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("ts").latest().collect().num_rows == 2


@pytest.mark.slow
def test_keys_of_every_kind_have_one_row_each() -> None:
    keys = pa.array([None, float("nan"), -0.0, 0.0, float("nan"), None], pa.float64())
    rows = pa.table({"ts": at(1, 2, 3, 4, 5, 6), "k": keys, "n": range(6)})
    table = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k").latest()
    assert table.collect(workers=3)["n"].to_pylist() == [3, 4, 5]
    two = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k", m=col("n") * 0).latest()
    assert two.collect(workers=2)["n"].to_pylist() == [3, 4, 5]


@pytest.mark.slow
def test_ties_go_by_place_in_the_input_on_any_number_of_workers() -> None:
    parts = [pa.table({"ts": at(5, 5), "k": ["a", "a"], "n": [2 * p, 2 * p + 1]}) for p in range(3)]
    first, *others = (sl.read_arrow(part) for part in parts)
    table = first.union(*others).event_time("ts", max_delay="0s").key_by("k").latest()
    for workers in (1, 2, 4):
        for batch_rows in (1, 2, 100):
            assert table.collect(workers=workers, batch_rows=batch_rows)["n"].to_pylist() == [5]


def test_the_latest_of_results_is_decided_by_their_columns() -> None:
    """Two windows end at one time: results carry no order, so that time and then all columns decide."""
    rows = pa.table({"ts": at(1, 2, 3), "k": ["b", "a", "c"], "v": [1, 1, 1]})
    sums = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k").window(sl.tumbling("10s"))
    per_window = sums.agg(v=col("v").sum()).key_by("window_start").latest()
    for workers in (1, 3):
        assert per_window.collect(workers=workers)["k"].to_pylist() == ["c"]
    t.check(per_window.changes().filter(col("change") == "insert").drop("change"), shuffle=False)


def test_changes_of_latest_keep_their_time_column() -> None:
    table = latest(v=[1, 2, 3, 4])
    assert table._node.time == table.changes()._node.time == "ts"
    bars = table.changes().window(sl.tumbling("10s")).agg(n=sl.count())
    assert sum(bars.collect()["n"].to_pylist()) >= 2
    # A key that goes has a change at a time that no row has.
    with_ttl = sl.read_arrow(pa.table({"ts": at(1), "k": ["a"]})).event_time("ts", max_delay="0s").key_by("k")
    assert with_ttl.latest(ttl="1s")._node.time is None
