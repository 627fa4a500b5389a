"""Sessions: when rows belong together, when a session comes out, which rows are late, and what cannot work."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.connectors.memory import CollectSink
from streamlib.elements import MAX_TIME
from streamlib.errors import BuildError
from streamlib.operators.windows.session import SessionWindow
from streamlib.testing.conform_steps import check_operator

SECOND = 1_000_000_000
SCHEMA = pa.schema({"ts": pa.timestamp("ms"), "k": pa.string(), "v": pa.int64()})


def rows(*ticks: tuple[float, str | None, int]) -> pa.Table:
    """Seconds, key and value of each row."""
    return pa.Table.from_pylist(
        [{"ts": dt.datetime(1970, 1, 1) + dt.timedelta(seconds=s), "k": k, "v": v} for s, k, v in ticks],
        SCHEMA,
    )


def stream(table: pa.Table | None = None, max_delay: str = "2s") -> sl.KeyedStream:
    table = SCHEMA.empty_table() if table is None else table
    return sl.read_arrow(table).event_time("ts", max_delay=max_delay).key_by("k")


def sums(keyed: sl.Stream, lateness: str = "0s", **options: Any) -> sl.Stream:
    window = sl.session("10s", **options)
    return keyed.window(window, allowed_lateness=lateness).agg(n=sl.count(), total=col("v").sum())


def plain(table: pa.Table) -> list[tuple[Any, ...]]:
    """Key, bounds in seconds, count and sum."""
    found = []
    for row in table.to_pylist():
        bounds = [
            (row[name] - dt.datetime(1970, 1, 1)).total_seconds() for name in ("window_start", "window_end")
        ]
        found.append((row["k"], *bounds, row["n"], row["total"]))
    return found


def test_rows_one_gap_apart_are_one_session_and_a_millisecond_more_parts_them() -> None:
    found = sums(stream(rows((0, "a", 1), (10, "a", 2), (20.001, "a", 3)))).collect()
    assert plain(found) == [("a", 0, 20, 2, 3), ("a", 20.001, 30.001, 1, 3)]


def test_a_session_comes_out_when_the_watermark_lies_after_its_end_and_the_lateness() -> None:
    step = t.harness(sums(stream(), lateness="3s"))
    step.feed(rows((1, "a", 1), (8, "a", 2)))
    assert step.watermark(21 * SECOND).num_rows == 0
    assert plain(step.watermark(21 * SECOND + 1)) == [("a", 1, 18, 2, 3)]
    assert step.times() == [18 * SECOND - 1]


def test_the_watermark_sent_on_lies_before_what_an_open_session_can_give() -> None:
    step = t.harness(sums(stream(), lateness="3s"))
    step.feed(rows((1, "a", 1)))
    step.watermark(14 * SECOND)
    assert step.forwarded == 11 * SECOND - 1
    step.watermark(15 * SECOND)
    assert step.times() == [11 * SECOND - 1]


def test_a_row_between_two_sessions_joins_them_with_all_that_was_aggregated() -> None:
    keyed = stream().window(sl.session("10s"))
    step = t.harness(
        keyed.agg(first=col("v").first(), text=col("k").max(), last=col("v").last(), middle=col("v").median())
    )
    step.feed(rows((20, "a", 1)))
    step.feed(rows((4, "a", 2)))
    assert step.operator.open_windows() == (2, 14 * SECOND)
    step.feed(rows((12, "a", 3)))
    assert step.operator.open_windows() == (1, 30 * SECOND)
    assert step.operator.open_rows() == 3
    (found,) = step.end().to_pylist()
    assert (found["first"], found["text"], found["last"], found["middle"]) == (2, "a", 1, 2.0)


def test_rows_are_late_by_their_mark_whatever_is_open() -> None:
    step = t.harness(sums(stream(), lateness="1s"))
    step.feed(rows((50, "a", 1)))
    # Both lie within the gap of an open session; the mark alone decides.
    step.feed(rows((46, "a", 2), (47, "a", 4)), mark=[48 * SECOND, 48 * SECOND])
    assert plain(step.end()) == [("a", 47, 60, 2, 5)]
    (late,) = step.rows("late").to_pylist()
    assert late["late_by"] == dt.timedelta(seconds=1) and late["windows_late"] == 1
    assert (late["window_start"].second, late["window_end"].second) == (46, 56)
    assert step.operator.counters() == {"late": 1, "late_by_max": SECOND}


def test_the_report_counts_late_rows_and_says_which_delay_would_have_kept_them() -> None:
    table = rows((0, "a", 1), (20, "a", 1), (5, "a", 1), (40, "b", 1), (20, "a", 1))
    sink = CollectSink()
    report = sl.run(sums(stream(table, max_delay="3s")).named("visits").write(sink))
    (name, late), *others = report.late.items()
    assert (name, late.rows, late.read, others) == ("visits", 2, False, [])
    assert late.max_delay is not None
    kept = sums(stream(table, max_delay=late.max_delay)).collect()
    assert sum(kept["n"].to_pylist()) == 5


def test_max_length_begins_anew_where_a_row_is_too_far_from_the_first() -> None:
    table = rows(
        (16, "a", 1), (0, "a", 1), (8, "a", 1), (15, "a", 1), (20, "b", 1), (30, "a", 1), (32, "a", 1)
    )
    keyed = stream(table, max_delay="20s")
    assert plain(sums(keyed, max_length="15s").collect()) == [
        ("a", 0, 25, 3, 3),
        ("a", 16, 26, 1, 1),
        ("b", 20, 30, 1, 1),
        ("a", 30, 42, 2, 2),
    ]
    alone = plain(sums(keyed, max_length="0s").collect())
    assert [row[1] for row in alone] == [0, 8, 15, 16, 20, 30, 32]


def test_null_is_a_key_and_a_dictionary_comes_out_decoded() -> None:
    table = rows((0, None, 1), (1, "a", 2), (2, None, 4), (30, "a", 8))
    table = table.set_column(1, "k", table["k"].combine_chunks().dictionary_encode())
    result = sums(stream(table))
    assert result.schema.field("k").type == pa.string()
    assert plain(result.collect()) == [("a", 1, 11, 1, 2), (None, 0, 12, 2, 5), ("a", 30, 40, 1, 8)]


def test_times_finer_than_the_columns_unit_give_bounds_in_ns() -> None:
    result = stream(rows((1, "a", 1))).window(sl.session("1500us")).agg(n=sl.count())
    assert result.schema.field("window_end").type == pa.timestamp("ns")
    coarse = stream(rows((1, "a", 1))).window(sl.session("2ms")).agg(n=sl.count())
    assert coarse.schema.field("window_end").type == pa.timestamp("ms")


def test_same_window_over_sessions_is_the_session() -> None:
    table = rows((0, "a", 1), (5, "b", 1), (60, "a", 1))
    all_keys = sums(stream(table)).window(sl.same_window()).agg(n=col("n").sum())
    assert all_keys.collect()["n"].to_pylist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sl.session("0s"), "longer than zero"),
        (lambda: sl.session("-1s"), "longer than zero"),
        (lambda: sl.session(10), "string with a unit"),  # type: ignore[arg-type]
        (lambda: sl.session("1s", max_length="-1s"), "max_length must not be negative"),
        (lambda: sums(stream(), lateness="-1s"), "must not be negative"),
        (lambda: sums(sl.read_arrow(SCHEMA.empty_table())), "needs event time"),
        (lambda: stream().window(sl.session("1s")).agg(window_end=sl.count()), "'window_end' is taken"),
        (lambda: stream().window(sl.session("1s")).agg(), "no aggregate"),
        (lambda: stream().window(sl.session("1s")).agg(v=col("v")), "is no aggregate"),
    ],
)
def test_what_makes_no_sense_fails_when_the_graph_is_built(make: Any, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        make()


def test_options_are_shown_as_they_were_written() -> None:
    assert sl.session("30m", max_length="1d").describe() == "session('30m', max_length='1d')"
    shown = sums(stream(), lateness="1m", max_length="1h").explain()
    assert "session('10s', max_length='1h'), allowed_lateness='1m'" in str(shown)
    assert SessionWindow(MAX_TIME).granularity() == MAX_TIME


def shuffled(count: int, disorder_s: float, seed: int) -> pa.Table:
    dice = random.Random(seed)
    drawn = [(n * 1.7 + dice.choice((0, 0, 15)), dice.choice(["a", "b", None]), n) for n in range(count)]
    drawn.sort(key=lambda row: row[0] + dice.uniform(0, disorder_s))
    return rows(*drawn)


@pytest.mark.parametrize("options", [{}, {"max_length": "14s"}])
@pytest.mark.parametrize("lateness", ["0s", "5s"])
def test_the_operator_keeps_its_contract(options: dict[str, str], lateness: str) -> None:
    step = sums(stream(), lateness=lateness, **options)
    table = shuffled(40, 0.0, 1)
    behind = [table["ts"][len(table) * part // 4].value * 1_000_000 - 16 * SECOND for part in (1, 2, 3)]
    check_operator(step, table, watermarks=behind)


@pytest.mark.parametrize("options", [{}, {"max_length": "14s"}])
def test_any_cut_order_and_crash_gives_the_same_sessions(options: dict[str, str]) -> None:
    table = shuffled(60, 3.0, 2)
    t.check(sums(stream(table, max_delay="4s"), **options))
