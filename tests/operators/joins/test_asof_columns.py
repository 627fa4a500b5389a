"""As-of joins: columns, keys and types, chains, every way to run, and what is refused when built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.contracts import Source
from streamlib.errors import BuildError, ColumnNotFoundError, TypeMismatchError

NS = pa.timestamp("ns")
A = pa.schema({"ts": NS, "k": pa.float64(), "a": pa.int64()})
B = pa.schema({"ts": NS, "k": pa.float64(), "b": pa.int64()})
LATE = A.append(pa.field("late_by", pa.int8()))


def empty(schema: pa.Schema, delay: str = "0s") -> sl.Stream:
    return sl.read_arrow(schema.empty_table()).event_time("ts", max_delay=delay)


def join(**options: Any) -> sl.Stream:
    return empty(A).asof_join(empty(B), on="k", **options)


# ---- columns, keys and types -------------------------------------------------------------------------

TRADES = """
    ts        venue  sym  price  note
    00:00:01  x      A    1.0    a
    00:00:02  x      B    2.0    b
    00:00:03  y      A    3.0    c
    00:00:04  x      -    4.0    d
"""
QUOTES = """
    ts        place  name  price  note
    00:00:01  x      A     10.0   k
    00:00:02  x      A     20.0   l
    00:00:02  y      A     30.0   m
    00:00:03  x      -     40.0   n
"""


def trades() -> sl.Stream:
    return sl.read_arrow(t.table(TRADES)).event_time("ts", max_delay="1s")


def quotes() -> sl.Stream:
    return sl.read_arrow(t.table(QUOTES)).event_time("ts", max_delay="1s")


def test_several_keys_of_other_names_and_clashing_columns() -> None:
    joined = trades().asof_join(
        quotes(), left_on=["venue", "sym"], right_on=["place", "name"], suffix="_quote"
    )
    assert joined.schema.names == [
        *("ts", "venue", "sym", "price", "note"),
        *("ts_quote", "price_quote", "note_quote"),
    ]
    rows = joined.collect(workers=2).select(["note", "note_quote", "price_quote"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("a", "k", 10.0),
        ("b", None, None),
        ("c", "m", 30.0),
        ("d", None, None),
    ]


@pytest.mark.slow
def test_keyed_streams_need_no_on_and_stay_keyed() -> None:
    joined = trades().key_by("venue", "sym").asof_join(quotes().key_by("place", "name"))
    assert isinstance(joined, sl.KeyedStream)
    counts = joined.agg(n=col("note_right").count()).collect().to_pylist()
    assert {(row["venue"], row["sym"]): row["n"] for row in counts} == {
        ("x", "A"): 1,
        ("x", "B"): 0,
        ("y", "A"): 1,
        ("x", None): 0,
    }


def test_rows_of_one_key_when_there_are_none() -> None:
    joined = trades().asof_join(quotes(), on=[])
    assert joined.collect(workers=2)["note_right"].to_pylist() == ["k", "m", "n", "n"]


def test_a_self_join_finds_the_row_before() -> None:
    stream = trades()
    joined = stream.asof_join(stream, on=[], allow_exact=False)
    assert joined.collect(workers=2)["note_right"].to_pylist() == [None, "a", "b", "c"]
    t.check(joined)


def test_one_side_without_rows() -> None:
    none = sl.read_arrow(t.table(QUOTES).slice(0, 0)).event_time("ts", max_delay="1s")
    left = trades().asof_join(none, left_on="sym", right_on="name")
    assert left.collect()["note_right"].to_pylist() == [None] * 4
    assert none.asof_join(trades(), left_on="name", right_on="sym").collect().num_rows == 0


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (pa.int32(), pa.int64()),
        (pa.uint8(), pa.uint32()),
        (pa.float32(), pa.float64()),
        (pa.string(), pa.large_string()),
        (pa.dictionary(pa.int8(), pa.string()), pa.string()),
        (pa.timestamp("ms"), pa.timestamp("ms", "UTC")),
    ],
)
def test_keys_of_types_that_hold_the_same_values(one: pa.DataType, two: pa.DataType) -> None:
    values = ["1", "2", None] if pa.types.is_large_string(two) or pa.types.is_string(two) else [1, 2, None]
    times = pa.array([1, 2, 3], NS)
    keys = pa.array(values)
    for left, right in ((one, two), (two, one)):
        a = pa.table({"ts": times, "k": keys.cast(left), "n": [1, 2, 3]})
        b = pa.table({"ts": times, "k": keys.cast(right), "m": [10, 20, 30]})
        sides = [sl.read_arrow(side).event_time("ts", max_delay="0s") for side in (a, b)]
        joined = sides[0].asof_join(sides[1], on="k").select("n", "m")
        assert joined.collect(workers=3)["m"].to_pylist() == [10, 20, None]


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a", None, "c" * 40]),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array([[1], None, [2, 3]]),
        pa.array([{"x": 1}, {"x": None}, None]),
        pa.array([True, False, None]),
        pa.array([1.5, float("nan"), None]),
        pa.array(["1.25", None, "2.50"]).cast(pa.decimal128(5, 2)),
        pa.array([b"x", b"", None], pa.binary()),
        pa.array(["a", None, "a view of more than twelve bytes"], pa.string_view()),
        pa.array([None, None, None]),
    ],
)
def test_columns_of_every_type_come_along_from_the_right(values: pa.Array) -> None:
    b = pa.table({"ts": pa.array([1, 2, 3], NS), "v": values})
    a = pa.table({"ts": pa.array([3, 1, 0, 2], NS)})
    left = sl.read_arrow(a).event_time("ts", max_delay="1s")
    right = sl.read_arrow(b).event_time("ts", max_delay="0s")
    found = left.asof_join(right, on=[]).collect()["v"].to_pylist()
    first, second, third = values.to_pylist()
    assert repr(found) == repr([None, first, second, third])


# ---- chains, results, and every way to run -----------------------------------------------------------


def _seconds(count: int, key: str, every: int = 1) -> pa.Table:
    times = [n * 10**9 * every for n in range(count)]
    return pa.table(
        {"ts": pa.array(times, NS), "k": [key[n % len(key)] for n in range(count)], "n": range(count)}
    )


@pytest.mark.parametrize("direction", ["backward", "forward", "nearest"])
def test_check(direction: str) -> None:
    """Other cuts, workers, schedules, arrival within the delay and kills change nothing."""
    left, right = (
        sl.read(t.source(rows.slice(0, 11).to_pylist(), rows.slice(11).to_pylist(), schema=rows.schema))
        .event_time("ts", max_delay="4s")
        .key_by("k")
        for rows in (_seconds(25, "abc"), _seconds(16, "bac", 2))
    )
    joined = left.asof_join(right, direction=direction, tolerance="5s")
    t.check([joined, joined.late_left, joined.late_right])


def test_check_with_late_rows_on_both_sides() -> None:
    def source(rows: Sequence[int]) -> sl.Stream:
        times = pa.table({"ts": pa.array([n * 10**9 for n in rows], NS), "n": list(range(len(rows)))})
        return sl.read(t.source(times.to_pylist(), schema=times.schema)).event_time("ts", max_delay="1s")

    joined = source([1, 5, 2, 9, 8, 3]).asof_join(source([0, 6, 1, 7, 12, 4]), on=[])
    t.check([joined, joined.late_left, joined.late_right], shuffle=False)
    sinks = t.run([joined, joined.late_left, joined.late_right], workers=2)
    assert sinks[0]["n_right"].to_pylist() == [0, 0, 3, 3]
    assert sinks[1].to_pydict()["n"] == [2, 5]
    assert sinks[2].to_pydict()["late_by"] == [
        pa.scalar(n, pa.duration("ns")).as_py() for n in (4 * 10**9, 7 * 10**9)
    ]


def test_joins_chain_and_results_can_be_on_either_side() -> None:
    seconds = _seconds(30, "ab")
    ticks = (
        sl.read(t.source(seconds.to_pylist(), schema=seconds.schema))
        .event_time("ts", max_delay="2s")
        .key_by("k")
    )
    bars = ticks.window(sl.tumbling("5s")).agg(total=col("n").sum())
    once = ticks.asof_join(bars, tolerance="20s").select("k", "n", "ts", "total")
    twice = once.asof_join(ticks.select("k", "ts", before=col("n")), on="k", allow_exact=False)
    both = bars.asof_join(twice, on="k", suffix="_tick")
    t.check([twice, both])
    found = {row["n"]: (row["total"], row["before"]) for row in twice.collect().to_pylist()}
    ends = [sum(m for m in range(w * 5, w * 5 + 5) if m % 2 == 0) for w in range(6)]
    assert found == {
        n: (ends[n // 5 - 1] if n >= 5 else None, n - 2 if n >= 2 else None) for n in range(0, 30, 2)
    } | {
        n: (
            sum(m for m in range(n // 5 * 5 - 5, n // 5 * 5) if m % 2) if n >= 5 else None,
            n - 2 if n >= 2 else None,
        )
        for n in range(1, 30, 2)
    }


def test_of_results_with_one_time_all_columns_decide() -> None:
    """Two results of one key and time: whichever worker or batch they come from, the last by columns counts."""
    rows = pa.table({"ts": pa.array([1, 1, 2, 2], NS), "k": ["a"] * 4, "n": [4, 3, 2, 1]})
    source = sl.read(t.source(rows.to_pylist(), schema=rows.schema)).event_time("ts", max_delay="5ns")
    results = source.asof_join(source, on="k")
    joined = source.asof_join(results, on="k", suffix="_result")
    assert joined.collect()["n_result"].to_pylist() == [4, 4, 2, 2]
    t.check(joined)


def test_an_idle_side_is_not_taken_for_an_ended_one() -> None:
    """Right rows behind an idle time still count for left rows that nothing had proved yet."""
    schema = pa.schema({"ts": NS, "n": pa.int64()})

    def at(seconds: int) -> dict[str, int]:
        return {"ts": seconds * 10**9, "n": seconds}

    left = sl.read(t.source([*map(at, range(1, 11)), t.PAUSE(500), at(12)], schema=schema))
    right = sl.read(t.source([at(1), t.PAUSE(50), t.IDLE, t.PAUSE(50), at(8)], schema=schema))
    times = [side.event_time("ts", max_delay="3s", idle="leave", idle_after="1s") for side in (left, right)]
    for seed in range(20):
        found = t.run(times[0].asof_join(times[1], on=[]), seed=seed)
        assert found["n_right"].to_pylist() == [1] * 7 + [8] * 4


# ---- what is refused when the graph is built ---------------------------------------------------------


class Endless(Source):
    bounded = False

    def schema(self) -> pa.Schema:
        return B

    def splits(self) -> list[Any]:
        return []

    def open(self, split: object, position: object = None) -> Any:
        raise AssertionError("never run")


def endless() -> sl.Stream:
    return sl.read(Endless()).event_time("ts", max_delay="1s")


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        (lambda: empty(A).asof_join(empty(B)), BuildError, "which rows belong together"),
        (lambda: empty(A).asof_join(empty(B), on="kk"), ColumnNotFoundError, "did you mean 'k'"),
        (lambda: empty(A).asof_join(empty(B), left_on="k", right_on="c"), ColumnNotFoundError, "'c'"),
        (lambda: empty(A).asof_join(empty(B), left_on=["k", "a"], right_on="k"), BuildError, "different numbers"),
        (lambda: empty(A).asof_join(empty(B), right_on="k"), BuildError, "right_on= is given without"),
        (lambda: empty(A).asof_join(empty(B), on="k", left_on="k"), BuildError, "left_on= and right_on="),
        (lambda: empty(A).asof_join(empty(B), on=["k", "k"]), BuildError, "given twice"),
        (lambda: empty(A).asof_join(empty(B), left_on="a", right_on="k"), TypeMismatchError, "cast"),
        (lambda: empty(A).asof_join(sl.read_arrow(B.empty_table()), on="k"), BuildError, "right side"),
        (lambda: sl.read_arrow(A.empty_table()).asof_join(empty(B), on="k"), BuildError, "left side"),
        (lambda: join(direction="forward"), BuildError, 'tolerance="5m"'),
        (lambda: join(direction="nearest", tolerance=sl.FOREVER), BuildError, 'tolerance="5m"'),
        (lambda: join(direction="sideways"), BuildError, "backward, forward, nearest"),
        (lambda: join(how="outer"), BuildError, "left, inner"),
        (lambda: join(tolerance="-1s"), BuildError, "tolerance"),
        (lambda: join(tolerance=5), BuildError, "tolerance"),
        (lambda: join(suffix=""), BuildError, "suffix"),
        (lambda: empty(A).asof_join(empty(A.append(pa.field("a_right", pa.int8()))), on="k"), BuildError, "a_right"),
        (lambda: empty(A).asof_join(empty(B).key_by("k").agg(n=sl.count()), on="k"), BuildError, "stream"),
        (lambda: empty(A).asof_join(endless(), on="k"), BuildError, "sl.FOREVER"),
        (lambda: empty(A).late_left, BuildError, "result of a join"),
        (lambda: empty(LATE).asof_join(empty(B), on="k").late_left, BuildError, "late_by"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_at_the_users_line(
    wrong: Callable[[], object], kind: type[BuildError], words: str
) -> None:
    with pytest.raises(kind) as raised:
        wrong()
    assert words in str(raised.value)
    assert "test_asof_columns.py" in str(raised.value)


def test_a_plan_says_what_bounds_its_state() -> None:
    assert "state: keys" in join().explain()
    assert "state: within x rate" in join(tolerance="1s").explain()
    assert "tolerance='1s'" in join(tolerance="1s").explain()
    forever = empty(A).asof_join(endless(), on="k", tolerance=sl.FOREVER)
    assert "state: keys" in forever.explain() and "tolerance=FOREVER" in forever.explain()
    assert "within x rate" in endless().asof_join(endless(), on="k", tolerance="1m").explain()
