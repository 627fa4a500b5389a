"""Windows by rows and sums: which row fills one, when it comes out, what is left over, and what cannot work."""

from __future__ import annotations

import datetime as dt
import math
import random
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.aggregates import AccumulatorPlan, Count, Sum
from streamlib.connectors.memory import CollectSink
from streamlib.errors import BuildError, DataError, TypeMismatchError
from streamlib.state import BarSize, BarTable

SECOND = 1_000_000_000
SCHEMA = pa.schema({"ts": pa.timestamp("ms"), "k": pa.string(), "v": pa.int64(), "x": pa.float64()})


def rows(
    *ticks: tuple[float, str | None, int | None] | tuple[float, str | None, int | None, float],
) -> pa.Table:
    """Seconds, key and value of each row; a second value, else half of that."""
    return pa.Table.from_pylist(
        [
            {
                "ts": dt.datetime(1970, 1, 1) + dt.timedelta(seconds=s),
                "k": k,
                "v": v,
                "x": more[0] if more else None if v is None else v / 2,
            }
            for s, k, v, *more in ticks
        ],
        SCHEMA,
    )


def stream(table: pa.Table | None = None, max_delay: str = "2s") -> sl.KeyedStream:
    table = SCHEMA.empty_table() if table is None else table
    return sl.read_arrow(table).event_time("ts", max_delay=max_delay).key_by("k")


def bars(keyed: sl.Stream, window: Any, lateness: str = "0s", ttl: Any = None) -> sl.Stream:
    return keyed.window(window, allowed_lateness=lateness, ttl=ttl).agg(n=sl.count(), total=col("v").sum())


def plain(table: pa.Table) -> list[tuple[Any, ...]]:
    """Key, bounds in seconds, and all else."""
    found = []
    for row in table.to_pylist():
        key = row.pop("k", None)
        bounds = [
            (row.pop(name) - dt.datetime(1970, 1, 1)).total_seconds()
            for name in ("window_start", "window_end")
        ]
        found.append((key, *bounds, *row.values()))
    return found


def test_a_row_belongs_to_the_window_that_it_fills() -> None:
    table = rows(
        (1, "a", 60), (2, "b", 99), (3, "a", 90), (4, "a", 10), (5, "b", 1), (6, "a", 89), (7, "a", 1)
    )
    assert plain(bars(stream(table), sl.tumbling(sum="v", size=100)).collect()) == [
        ("a", 1, 3, 2, 150),
        ("b", 2, 5, 2, 100),
        ("a", 4, 7, 3, 100),
    ]
    assert plain(bars(stream(table), sl.tumbling(rows=2)).collect()) == [
        ("a", 1, 3, 2, 150),
        ("b", 2, 5, 2, 100),
        ("a", 4, 6, 2, 99),
    ]


def test_rows_without_keys_fill_one_window_after_another() -> None:
    table = rows((3, "a", 4), (1, "b", 1), (2, "c", 2), (4, "d", 8), (5, "d", 16))
    unkeyed = sl.read_arrow(table).event_time("ts", max_delay="5s")
    assert plain(bars(unkeyed, sl.tumbling(rows=2)).collect(workers=3)) == [
        (None, 1, 2, 2, 3),
        (None, 3, 4, 2, 12),
    ]
    counted = unkeyed.window(sl.tumbling(rows=4)).agg(n=sl.count())
    assert counted.collect()["n"].to_pylist() == [4], "no column is read at all"


def test_a_window_comes_out_with_the_time_of_the_row_that_filled_it_when_none_can_come_before() -> None:
    step = t.harness(bars(stream(), sl.tumbling(rows=2), lateness="3s"))
    step.feed(rows((8, "a", 2), (1, "a", 1)))
    assert step.watermark(11 * SECOND).num_rows == 0
    assert step.forwarded == 8 * SECOND
    assert plain(step.watermark(11 * SECOND + 1)) == [("a", 1, 8, 2, 3)]
    assert step.times() == [8 * SECOND]
    assert step.operator.open_windows() == (0, None)


def test_late_rows_go_by_their_mark() -> None:
    step = t.harness(bars(stream(), sl.tumbling(rows=2), lateness="1s"))
    step.feed(rows((46, "a", 2), (47, "a", 4), (50, "a", 8)), mark=48 * SECOND)
    assert plain(step.end()) == [("a", 47, 50, 2, 12)]
    (late,) = step.rows("late").to_pylist()
    assert (late["v"], late["late_by"]) == (2, dt.timedelta(seconds=1))
    assert step.operator.counters() == {"late": 1, "late_by_max": SECOND}


def test_rows_of_windows_that_are_never_full_are_counted() -> None:
    sink = CollectSink()
    table = rows((1, "a", 1), (2, "a", 1), (3, "a", 1), (4, "b", 1))
    report = sl.run(bars(stream(table), sl.tumbling(rows=2)).named("bars").write(sink))
    assert report.dropped == {"bars": 2}
    assert "2  bars" in str(report)


def test_partial_windows_come_last_and_say_so() -> None:
    table = rows((1, "a", 1), (2, "b", 1), (3, "a", 1), (4, "a", 1))
    partial = bars(stream(table), sl.tumbling(rows=2, partial=True))
    assert partial.schema.names == ["k", "window_start", "window_end", "window_complete", "n", "total"]
    assert plain(partial.collect()) == [
        ("a", 1, 3, True, 2, 2),
        ("a", 4, 4, False, 1, 1),
        ("b", 2, 2, False, 1, 1),
    ]


def test_a_key_without_rows_for_longer_than_ttl_begins_anew() -> None:
    table = rows((0, "a", 1), (10, "a", 2), (21, "a", 4), (22, "a", 8))
    keyed = stream(table, max_delay="0s")
    assert plain(bars(keyed, sl.tumbling(rows=2), ttl="10s").collect()) == [
        ("a", 0, 10, 2, 3),
        ("a", 21, 22, 2, 12),
    ]
    assert plain(bars(keyed, sl.tumbling(rows=3), ttl="10s").collect()) == []
    assert plain(bars(keyed, sl.tumbling(rows=3, partial=True), ttl="10s").collect()) == [
        ("a", 0, 10, False, 2, 3),
        ("a", 21, 22, False, 2, 12),
    ]


def test_what_a_ttl_drops_comes_out_by_the_watermark_at_its_own_time() -> None:
    step = t.harness(bars(stream(), sl.tumbling(rows=3, partial=True), ttl="10s"))
    step.feed(rows((1, "a", 1), (2, "b", 2), (5, "a", 4)))
    step.watermark(6 * SECOND)
    assert step.operator.open_windows() == (2, None)
    assert step.operator.open_rows() == 3
    assert step.watermark(12 * SECOND).num_rows == 0
    assert plain(step.watermark(12 * SECOND + 1)) == [("b", 2, 2, False, 1, 2)]
    assert step.times() == [12 * SECOND]
    assert plain(step.end()) == [("a", 1, 5, False, 2, 5)]
    assert step.times()[1] == 15 * SECOND, "whether the watermark or the end drops it"


def test_keys_that_a_ttl_drops_leave_no_state() -> None:
    step = t.harness(bars(stream(), sl.tumbling(rows=3), ttl="10s"))
    for turn in range(40):
        step.feed(rows(*((turn * 20, f"{turn}/{n}", 1) for n in range(200))))
        step.watermark((turn * 20 + 15) * SECOND)
    assert step.operator.open_rows() == 0
    assert step.operator.counters() == {"dropped": 8_000}
    assert step.operator.table.nbytes < 500_000  # type: ignore[attr-defined]
    step.feed(rows((1_000, "0/1", 1), (1_001, "0/1", 2), (1_002, "0/1", 4)))
    assert plain(step.end()) == [("0/1", 1_000, 1_002, 3, 7)]


def test_memory_comes_back_after_many_windows_at_once() -> None:
    table = BarTable([pa.field("k", pa.int64())], AccumulatorPlan([]), BarSize.of_rows(1))
    keys = pa.record_batch({"k": np.arange(60_000) % 7})
    assert len(table.add(keys, [], np.arange(60_000))) == 60_000
    assert len(table) == 0
    assert table.nbytes < 10_000_000
    over = table.add(keys.slice(0, 3), [], np.arange(3))
    assert over.rows.tolist() == [1, 1, 1]


def test_the_sum_of_floats_is_rounded_once() -> None:
    """So that a window's own sum() is at least its size, and no row more than that needs."""
    dice = random.Random(5)
    values = [dice.choice((1e-9, 0.1, 0.7, 1e6, -1e6)) for _ in range(4_000)]
    table = rows(*((n, "a", 0, x) for n, x in enumerate(values)))
    wanted, bar = [], []
    for value in values:
        bar.append(value)
        if math.fsum(bar) >= 1.1:
            wanted.append(len(bar))
            bar = []
    assert bars(stream(table), sl.tumbling(sum="x", size=1.1)).collect()["n"].to_pylist() == wanted
    assert len(wanted) > 100


def test_integers_and_decimals_are_added_up_in_128_bits() -> None:
    keys = pa.record_batch({"k": [1] * 5})
    huge = pa.array([2**63 - 1] * 5)
    table = BarTable(
        [pa.field("k", pa.int64())], AccumulatorPlan([]), BarSize.of_integers(4 * (2**63 - 1) + 1)
    )
    assert len(table.add(keys, [], np.arange(5), huge)) == 1
    table = BarTable([pa.field("k", pa.int64())], AccumulatorPlan([]), BarSize.of_unsigned(5 * (2**64 - 1)))
    over = table.add(keys, [], np.arange(5), pa.array([2**64 - 1] * 5, pa.uint64()))
    assert (over.first.tolist(), over.last.tolist()) == ([0], [4])
    kind = pa.decimal128(38, 0)
    digits = pa.array([Decimal(10**38 - 1)] * 5, kind)
    table = BarTable([pa.field("k", pa.int64())], AccumulatorPlan([]), BarSize.of_decimals(10**38))
    assert len(table.add(keys, [], np.arange(5), digits)) == 2, "1.9e38 is more than 2**127, and full"
    table = BarTable([pa.field("k", pa.int64())], AccumulatorPlan([]), BarSize.of_decimals(1))
    below = pa.array([Decimal(1 - 10**38)] * 5, kind)
    with pytest.raises(DataError, match="fallen below"):
        table.add(keys, [], np.arange(5), below)


def test_the_size_of_decimals_is_exact() -> None:
    table = rows(*((n, "a", 1) for n in range(30)))
    tenths = stream(table).window(sl.tumbling(sum=(col("v") * 1).cast("decimal128(21, 1)") / 10, size=0.3))
    assert tenths.agg(n=sl.count()).collect()["n"].to_pylist()[:2] == [3, 3]


def test_a_null_adds_nothing_and_a_total_may_go_down() -> None:
    table = rows((1, "a", 5), (2, "a", None), (3, "a", -3), (4, "a", 7), (5, "a", 1))
    assert plain(bars(stream(table), sl.tumbling(sum="v", size=9)).collect()) == [("a", 1, 4, 4, 9)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_finite_number_is_refused_as_a_row(value: float) -> None:
    table = rows((1, "a", 1, 1.5), (2, "b", 1, value), (3, "a", 1, 1.5))
    for measure in ("x", col("x") * 2):
        windowed = bars(stream(table), sl.tumbling(sum=measure, size=3))
        with pytest.raises(DataError, match=r"never be a number again(.|\n)*row 1"):
            windowed.collect()
        assert sum(windowed.on_error("skip").collect()["n"].to_pylist()) in (1, 2)


def test_results_are_taken_by_time_and_then_all_columns() -> None:
    table = rows((1, "a", 5), (2, "b", 1), (3, "a", 2), (12, "a", 7), (13, "b", 9), (14, "c", 4))
    sums = (
        stream(table)
        .window(sl.tumbling("10s"))
        .agg(n=sl.count(), v=col("v").sum())
        .select("v", s=col("k"))
        .key_by()
    )
    pairs = sums.window(sl.tumbling(rows=2)).agg(
        n=sl.count(), v=col("v").sum(), first=col("v").first(), text=col("s").max(), middle=col("v").median()
    )
    for workers in (1, 2):
        assert [list(row.values())[3:] for row in pairs.collect(workers=workers).to_pylist()] == [
            [8, 1, "b", 4.0],
            [11, 4, "c", 5.5],
        ]


def test_a_dictionary_key_comes_out_decoded_and_null_is_a_key() -> None:
    table = rows((0, None, 1), (1, "a", 2), (2, None, 4))
    table = table.set_column(1, "k", table["k"].combine_chunks().dictionary_encode())
    result = bars(stream(table), sl.tumbling(rows=2))
    assert result.schema.field("k").type == pa.string()
    assert plain(result.collect()) == [(None, 0, 2, 2, 5)]


def test_bounds_have_the_type_of_the_time_column_and_result_time_is_their_end() -> None:
    zoned = SCHEMA.set(0, pa.field("ts", pa.timestamp("us", "Europe/Berlin")))
    result = bars(
        sl.read_arrow(rows((1, "a", 1), (2, "a", 1)).cast(zoned)).event_time("ts", max_delay="0s"),
        sl.tumbling(rows=2),
    )
    assert result.schema.field("window_end").type == pa.timestamp("us", "Europe/Berlin")
    per_second = result.window(sl.tumbling("1s")).agg(n=sl.count()).collect()
    assert per_second["window_start"].cast(pa.int64()).to_pylist() == [2 * SECOND]


WINDOWS = [
    sl.tumbling(rows=3),
    sl.tumbling(rows=3, partial=True),
    sl.tumbling(sum=col("v") * 1.5, size=40),
    sl.tumbling(sum="v", size=30, partial=True),
    sl.hopping(rows=5, every=2),
    sl.hopping(rows=6, every=3, partial=True),
]


def shuffled(count: int, disorder_s: float, seed: int) -> pa.Table:
    dice = random.Random(seed)
    drawn = [(n * 1.7 + dice.choice((0, 0, 15)), dice.choice(["a", "b", None]), n) for n in range(count)]
    drawn.sort(key=lambda row: row[0] + dice.uniform(0, disorder_s))
    return rows(*drawn)


def everything(windowed: Any) -> sl.Stream:
    v = col("v")
    return windowed.agg(n=sl.count(), total=v.sum(), first=v.first(), text=col("k").max(), middle=v.median())


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.describe())
@pytest.mark.parametrize("ttl", [pytest.param(None, marks=pytest.mark.slow), "8s"])
def test_the_operator_keeps_its_contract(window: Any, ttl: str | None) -> None:
    step = everything(stream().window(window, allowed_lateness="1s", ttl=ttl))
    table = shuffled(40, 0.0, 1)
    behind = [table["ts"][len(table) * part // 4].value * 1_000_000 - 16 * SECOND for part in (1, 2, 3)]
    t.check_operator(step, table, watermarks=behind)


@pytest.mark.slow
@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.describe())
def test_any_cut_order_and_crash_gives_the_same_windows(window: Any) -> None:
    table = shuffled(60, 3.0, 2)
    t.check(everything(stream(table, max_delay="4s").window(window, ttl="20s")))


def test_a_stop_leaves_windows_open() -> None:
    step = t.harness(bars(stream(), sl.tumbling(rows=3)))
    step.feed(rows((1, "a", 1), (2, "a", 1), (3, "b", 1)))
    step.watermark(3 * SECOND)
    assert (step.operator.open_windows(), step.operator.open_rows()) == ((2, 3 * SECOND), 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sl.tumbling(rows=0), "number of rows"),
        (lambda: sl.tumbling(rows=True), "number of rows"),
        (lambda: sl.tumbling(rows=2.5), "number of rows"),  # type: ignore[call-overload]
        (lambda: sl.tumbling(rows=2, sum="v", size=1), "one size"),  # type: ignore[call-overload]
        (lambda: sl.tumbling("1s", rows=2), "one size"),  # type: ignore[call-overload]
        (lambda: sl.tumbling(rows=2, offset="1s"), "one size"),  # type: ignore[call-overload]
        (lambda: sl.tumbling(sum="v", size=1, offset="1s"), "one size"),  # type: ignore[call-overload]
        (lambda: sl.tumbling("1s", partial=True), "need no partial="),  # type: ignore[call-overload]
        (lambda: sl.tumbling(), "size"),  # type: ignore[call-overload]
        (lambda: sl.tumbling(rows=2, partial=1), "True or False"),  # type: ignore[call-overload]
        *(
            (lambda size=size: sl.tumbling(sum="v", size=size), "number above zero")
            for size in (0, -1, float("nan"), float("inf"), None, "10s", True)
        ),
        (lambda: sl.tumbling(sum=3, size=1), "what is added up"),  # type: ignore[call-overload]
        (lambda: sl.tumbling(sum=col("v").sum(), size=1), "is an aggregate"),
        (lambda: bars(stream(), sl.tumbling(sum="w", size=1)), "no column 'w'"),
        (lambda: bars(stream(), sl.tumbling(sum="v", size=1e40)), "larger than any sum"),
        (lambda: bars(stream(), sl.tumbling(rows=2), lateness="-1s"), "must not be negative"),
        (lambda: bars(stream(), sl.tumbling(rows=2), ttl="0s"), "must be positive"),
        (lambda: bars(stream(), sl.tumbling("2s"), ttl="1s"), "need no ttl="),
        (lambda: stream().window(sl.tumbling(rows=2), emit="updates"), "come out once"),  # type: ignore[call-overload]
        (lambda: stream().window(sl.tumbling(rows=2), early="1s"), "come out once"),  # type: ignore[call-overload]
        (lambda: bars(sl.read_arrow(SCHEMA.empty_table()), sl.tumbling(rows=2)), "needs event time"),
        (lambda: stream().window(sl.tumbling(rows=2)).agg(), "no aggregate"),
        (lambda: stream().window(sl.tumbling(rows=2)).agg(v=col("v")), "is no aggregate"),
        (lambda: stream().window(sl.tumbling(rows=2)).agg(window_end=sl.count()), "'window_end' is taken"),
        (lambda: stream().window(sl.tumbling(rows=2)).agg(k=sl.count()), "'k' is taken"),
        (
            lambda: bars(
                sl.read_arrow(SCHEMA.empty_table()).event_time("ts", max_delay="0s"),
                sl.tumbling(rows=2),
                ttl="1s",
            ),
            "the stream has none",
        ),
    ],
)
def test_what_makes_no_sense_fails_when_the_graph_is_built(make: Any, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        make()


def test_what_is_no_number_is_not_added_up() -> None:
    for measure in ("k", "ts"):
        with pytest.raises(TypeMismatchError, match="no number"):
            bars(stream(), sl.tumbling(sum=measure, size=1))


def test_an_input_without_end_needs_a_ttl_where_there_are_keys() -> None:
    endless = sl.read_socket("tcp://localhost:1", format="jsonl", schema=SCHEMA).event_time(
        "ts", max_delay="0s"
    )
    with pytest.raises(BuildError, match="keep every key for ever"):
        bars(endless.key_by("k"), sl.tumbling(rows=2))
    bars(endless.key_by("k"), sl.tumbling(rows=2), ttl="1h")
    kept = bars(endless.key_by("k"), sl.tumbling(rows=2), ttl=sl.FOREVER)
    assert "tumbling(rows=2), ttl=FOREVER: n=count()" in str(kept.explain())
    bars(endless, sl.tumbling(rows=2))


def test_aggregates_may_read_what_is_added_up_and_more() -> None:
    plan = AccumulatorPlan([(Count(), None, None), (Sum(), 0, pa.int64())])
    table = BarTable([], plan, BarSize.of_integers(3))
    over = table.add(
        pa.record_batch({"k": [1, 1, 1]}).select([]), [pa.array([1, 2, 4])], np.arange(3), pa.array([1, 2, 4])
    )
    assert over.closed.results()[1].to_pylist() == [3, 4]
