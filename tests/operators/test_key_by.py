"""`key_by`: what is one key, and that the keys of a result are those of the rows on any number of workers."""

from __future__ import annotations

import datetime as dt
import decimal

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import col

NAN = float("nan")
KEYS = {
    "null is a key": (pa.array(["a", None, "", None]), [("", 1), ("a", 1), (None, 2)]),
    "NaN is one key": (pa.array([NAN, 1.0, -NAN, 0.0, -0.0]), [(0.0, 2), (1.0, 1), ("NaN", 2)]),
    "a null is no NaN": (pa.array([NAN, None, None]), [("NaN", 1), (None, 2)]),
    "bytes that begin alike": (pa.array([b"\0", b"\0\0", b"", b"\0"]), [(b"", 1), (b"\0", 2), (b"\0\0", 1)]),
    "booleans": (pa.array([True, None, False, True]), [(False, 1), (True, 2), (None, 1)]),
    "dates": (pa.array([dt.date(2020, 1, 1)] * 2), [(dt.date(2020, 1, 1), 2)]),
    "decimals": (pa.array([decimal.Decimal("1.10")] * 2), [(decimal.Decimal("1.10"), 2)]),
    "small integers": (pa.array([-1, 127, -1], pa.int8()), [(-1, 2), (127, 1)]),
    "dictionaries": (pa.array(["x", None, "y", "x"]).dictionary_encode(), [("x", 2), ("y", 1), (None, 1)]),
    "unicode": (pa.array(["é", "e\u0301", "é"]), [("e\u0301", 1), ("é", 2)]),
}


@pytest.mark.parametrize("case", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("workers", [1, 3])
def test_equal_values_are_one_key(case: tuple[pa.Array, list[tuple[object, int]]], workers: int) -> None:
    keys, expected = case
    table = pa.table({"ts": pa.array(range(len(keys)), pa.timestamp("s")), "k": keys})
    stream = sl.read_arrow(table).event_time("ts", max_delay="1m").key_by("k")
    counts = stream.window(sl.tumbling("1h")).agg(n=sl.count())
    found = counts.collect(workers=workers, batch_rows=1)
    assert found.schema.equals(counts.schema)
    plain = [
        ("NaN" if k != k else k, n)
        for k, n in zip(*found.select(["k", "n"]).to_pydict().values(), strict=True)
    ]
    assert sorted(plain, key=repr) == sorted(expected, key=repr)


@pytest.mark.parametrize("workers", [1, 3])
def test_several_columns_are_one_key_and_may_be_computed(workers: int) -> None:
    table = pa.table(
        {
            "ts": pa.array([1, 2, 3, 4], pa.timestamp("s")),
            "a": ["x", "x", "xy", None],
            "b": ["y", "y", "", None],
            "n": [1, 2, 3, 4],
        }
    )
    keyed = sl.read_arrow(table).event_time("ts", max_delay="1m").key_by("a", "b", even=col("n") % 2 == 0)
    found = keyed.window(sl.tumbling("1h")).agg(n=col("n").sum()).collect(workers=workers)
    assert sorted(
        zip(*found.select(["a", "b", "even", "n"]).to_pydict().values(), strict=True), key=repr
    ) == sorted(
        [("x", "y", False, 1), ("x", "y", True, 2), ("xy", "", False, 3), (None, None, True, 4)], key=repr
    )


def test_a_later_key_by_replaces_the_keys() -> None:
    table = pa.table({"ts": pa.array([1, 2], pa.timestamp("s")), "a": [1, 2], "b": [3, 3]})
    stream = sl.read_arrow(table).event_time("ts", max_delay="1m").key_by("a").key_by("b")
    assert stream.window(sl.tumbling("1h")).agg(n=sl.count()).collect()["n"].to_pylist() == [2]
