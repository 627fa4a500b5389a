"""Rolling aggregates: which rows a window holds, whatever the aggregate; late rows, memory, what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.contracts import Source
from streamlib.errors import BuildError, TypeMismatchError

SCHEMA = pa.schema(
    {"ts": pa.timestamp("ns"), "k": pa.string(), "v": pa.int64(), "x": pa.float64(), "s": pa.string()}
)
Row = tuple[int, str | None, int | None, float | None, str | None]


def keyed(rows: Sequence[Row] = (), max_delay: str = "0s") -> sl.KeyedStream:
    return sl.read_arrow(table(rows)).event_time("ts", max_delay=max_delay).key_by("k")


def table(rows: Sequence[Row]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
    arrays = [
        pa.array(c, pa.int64() if f.name == "ts" else f.type) for c, f in zip(columns, SCHEMA, strict=True)
    ]
    return pa.table([arrays[0].cast(SCHEMA.field("ts").type), *arrays[1:]], schema=SCHEMA)


def everything(rolling: Any) -> sl.KeyedStream:
    v, x, s = col("v"), col("x"), col("s")
    return rolling.agg(
        n=sl.count(),
        nv=v.count(),
        total=v.sum(),
        mean=x.mean(),
        low=x.min(),
        high=v.max(),
        first=v.first(),
        last=x.last(),
        text_first=s.first(),
        text_last=s.last(),
        text_high=s.max(),
        some=v.filter(v > 3).sum(),
        ratio=x.sum() / sl.count(),
    )


def by_hand(rows: Sequence[Row], member: Callable[[list[Row], Row], list[Row]]) -> list[tuple[Any, ...]]:
    """What `everything` gives of rows in order, with fsum for the sums of floats."""
    before: dict[str | None, list[Row]] = {}
    found = []
    for row in rows:
        kept = before.setdefault(row[1], [])
        kept.append(row)
        window = member(kept, row)
        v = [r[2] for r in window if r[2] is not None]
        x = [r[3] for r in window if r[3] is not None]
        s = [r[4] for r in window if r[4] is not None]
        found.append(
            (
                len(window),
                len(v),
                sum(v),
                math.fsum(x) / len(x) if x else None,
                min(x, default=None),
                max(v, default=None),
                window[0][2],
                row[3],
                window[0][4],
                row[4],
                max(s, default=None),
                sum(n for n in v if n > 3),
                math.fsum(x) / len(window),
            )
        )
    return found


rows_of = st.lists(
    st.tuples(
        st.integers(-30, 30),
        st.sampled_from(["a", "b", None]),
        st.one_of(st.none(), st.integers(-9, 9)),
        st.one_of(st.none(), st.integers(-80, 80).map(lambda n: n / 8)),
        st.sampled_from([None, "", "b", "a longer text"]),
    ),
    max_size=30,
).map(lambda rows: sorted(rows, key=lambda row: row[0]))


@pytest.mark.slow
@given(rows=rows_of, span=st.sampled_from([1, 7, 1000]), batch_rows=st.sampled_from([1, 3, 100]))
def test_a_window_by_time_holds_the_rows_of_its_key_that_are_not_too_old(
    rows: list[Row], span: int, batch_rows: int
) -> None:
    stream = everything(keyed(rows).rolling(f"{span}ns"))
    wanted = by_hand(rows, lambda kept, row: [r for r in kept if r[0] > row[0] - span])
    found = t.harness(stream, batch_rows=batch_rows)
    for begin in range(0, len(rows), batch_rows):
        found.feed(table(rows[begin : begin + batch_rows]))
        found.watermark(rows[begin][0])
    found.end()
    assert [tuple(row.values())[5:] for row in found.rows().to_pylist()] == wanted


@given(rows=rows_of, count=st.sampled_from([1, 2, 5]), batch_rows=st.sampled_from([1, 3, 100]))
def test_a_window_by_rows_holds_the_last_rows_of_its_key(
    rows: list[Row], count: int, batch_rows: int
) -> None:
    stream = everything(keyed(rows).rolling(rows=count))
    found = t.harness(stream, batch_rows=batch_rows)
    found.feed(table(rows))
    found.end()
    wanted = by_hand(rows, lambda kept, row: kept[-count:])
    assert [tuple(row.values())[5:] for row in found.rows().to_pylist()] == wanted


def drawn(seed: int, rows: int = 60) -> list[Row]:
    rng = np.random.default_rng(seed)
    texts = ["a", "bb", None, "a text of more than eight bytes"]
    return [
        (
            int(ts),
            f"k{rng.integers(4)}",
            None if rng.random() < 0.1 else int(rng.integers(100)),
            None if rng.random() < 0.1 else float(rng.normal() * 10.0 ** rng.integers(-8, 8)),
            texts[rng.integers(4)],
        )
        for ts in np.sort(rng.integers(0, 200, rows))
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"window": "40ns"},
        {"rows": 3},
        {"rows": 5, "ttl": "15ns"},
        {"window": "40ns", "allowed_lateness": "7ns"},
    ],
)
@pytest.mark.parametrize("ordered", [False, True])
def test_not_a_bit_depends_on_cuts_or_restores(options: dict[str, Any], ordered: bool) -> None:
    """Floats of very different sizes, whose sums differ in their last bits when they are added in another order."""
    step = everything(keyed().rolling(**options))._node
    rows = drawn(3)
    t.check_operator(step, table(rows), watermarks=[rows[19][0], rows[39][0]], ordered=ordered)


@pytest.mark.slow
def test_rows_that_come_out_of_order_are_put_in_order() -> None:
    rng = np.random.default_rng(5)
    rows = drawn(8, 200)
    shuffled = [rows[at] for at in np.argsort([row[0] + rng.integers(0, 10) for row in rows], kind="stable")]
    source = sl.read_arrow(table(shuffled)).event_time("ts", max_delay="12ns").key_by("k")
    stream = everything(source.rolling("40ns"))
    t.check(stream, workers=(1, 2, 4), batch_rows=(1, 7, 100))


def test_a_row_is_late_when_its_mark_lies_after_it_by_more_than_is_allowed() -> None:
    driven = t.harness(keyed().rolling("10ns", allowed_lateness="2ns").agg(total=col("v").sum()))
    rows = [(5, "a", 1, None, None), (6, "a", 2, None, None), (7, "a", 4, None, None)]
    driven.feed(table(rows), mark=[8, 8, 9])
    assert driven.watermark(9)["total"].to_pylist() == [2]
    assert driven.forwarded == 7
    driven.end()
    assert driven.rows()["total"].to_pylist() == [2, 6]
    assert driven.rows("late")["late_by"].cast(pa.int64()).to_pylist() == [1]
    assert driven.operator.counters() == {"late": 1, "late_by_max": 1}


def test_memory_follows_the_rows_in_the_windows() -> None:
    driven = t.harness(keyed().rolling("50ns").agg(n=sl.count(), text=col("s").first()))
    for number in range(60):
        times = [number * 100 + n // 20 for n in range(2000)]
        driven.feed(table([(ts, f"{number} {n}", n, 0.0, "x" * 50) for n, ts in enumerate(times)]))
        driven.watermark(number * 100 + 99 + 50)
        driven.outputs.clear()
        assert driven.operator.snapshot()["rows"].num_rows == 0
    operator = driven.operator
    assert operator.state.nbytes < 2_000_000 and operator.table.nbytes < 3_000_000
    assert operator.values.nbytes < 2_000_000


def test_by_rows_memory_follows_the_keys_that_live() -> None:
    driven = t.harness(keyed().rolling(rows=3, ttl="50ns").agg(n=sl.count(), text=col("s").first()))
    for number in range(40):
        times = [number * 100 + n // 20 for n in range(2000)]
        driven.feed(table([(ts, f"{number} {n % 500}", n, 0.0, "x" * 50) for n, ts in enumerate(times)]))
        driven.watermark(number * 100 + 99 + 51)
        driven.outputs.clear()
        assert driven.operator.snapshot()["rows"].num_rows == 0
    operator = driven.operator
    assert operator.state.nbytes < 2_000_000 and operator.values.nbytes < 2_000_000
    assert operator.table.count <= 4096


def test_a_snapshot_is_open_data() -> None:
    driven = t.harness(keyed().rolling("10ns").agg(total=col("v").sum()))
    driven.feed(table([(5, "a", 1, None, None), (6, "b", 2, None, None), (9, None, 4, None, None)]))
    driven.watermark(8)
    state = driven.barrier()
    rows = state["rows"].to_pydict()
    assert rows["k"] == ["a", "b"] and rows["in_front"] == [False, False] and rows["rows"] == [1, 1]
    assert state["waiting"]["v"].to_pylist() == [4]
    assert driven.operator.open_rows() == 1 and driven.operator.open_windows()[0] == 1


def test_the_times_at_the_ends_of_the_range_wrap_nowhere() -> None:
    low, high = -(2**63), 2**63 - 1
    rows = [(t, "a", 1, 0.0, "") for t in (low, low + 1, low + 11, 0, high - 10, high - 1)]
    driven = t.harness(keyed().rolling("11ns").agg(n=sl.count()))
    driven.feed(table(rows[:3]))
    driven.watermark(low + 5)
    driven.feed(table(rows[3:]))
    driven.end()
    assert driven.rows()["n"].to_pylist() == [1, 2, 2, 1, 1, 2]
    assert driven.forwarded == low + 5


def test_moments_and_what_needs_all_values_are_as_in_polars() -> None:
    rows = [row for row in drawn(11, 150) if row[2] is not None]
    rows = [(n, *row[1:]) for n, row in enumerate(rows)]
    v = col("v").cast("float64")
    made = {"var": v.var(), "median": v.median(), "q": v.quantile(0.25, "linear")}
    stream = keyed(rows).rolling("40ns").agg(**made)
    found = stream.collect(workers=2, batch_rows=16).select(["k", "v", *made]).to_pylist()
    frame = pl.from_arrow(table(rows)).with_columns(pl.col("v").cast(pl.Float64).alias("f"))
    ts = pl.col("ts").cast(pl.Int64)
    windows = frame.with_columns(ts).rolling("ts", period="40i", group_by="k")
    wanted = windows.agg(
        var=pl.col("f").var(),
        median=pl.col("f").median(),
        q=pl.col("f").quantile(0.25, interpolation="linear"),
    ).sort("ts")
    for name in made:
        for row, value in zip(found, wanted[name].to_list(), strict=True):
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-12)), name


def test_columns_that_nobody_reads_are_not_carried() -> None:
    rows = [(3 * n, *row[1:]) for n, row in enumerate(drawn(1))]
    whole = keyed(rows).rolling("40ns").agg(n=sl.count(), total=col("v").sum())
    assert whole._node.needs(frozenset({"k", "total"})) == [{"k", "v"}]
    assert whole._node.needs(frozenset({"x", "total"})) == [{"k", "v", "x"}]
    assert whole.select("x", "total").collect().equals(whole.collect().select(["x", "total"]))


def test_dictionaries_come_out_plain_and_names_of_state_are_free() -> None:
    seconds = pa.array(range(20), pa.timestamp("s"))
    names = ["rows", "in_front", "event_time", "event_order", "input_0", "window_start"]
    columns = {name: pa.array([f"{name} {n % 3}" for n in range(20)]).dictionary_encode() for name in names}
    source = sl.read_arrow(pa.table({"ts": seconds, "v": range(20), **columns}))
    stream = (
        source.event_time("ts", max_delay="3s")
        .key_by(*names)
        .rolling("7s")
        .agg(total=(col("v") + 1).sum(), first=col("rows").first())
    )
    t.check(stream, workers=(1, 2), batch_rows=(1, 7))
    found = stream.collect()
    assert found.schema.field("rows").type == pa.string() and stream.schema == found.schema
    assert found["total"].to_pylist()[:7] == [1, 2, 3, 5, 7, 9, 12]
    t.check_operator(stream, pa.table({"ts": seconds, "v": range(20), **columns}), [5 * 10**9, 9 * 10**9])


@pytest.mark.slow
def test_rolling_over_the_results_of_a_window() -> None:
    rows = drawn(2, 100)
    bars = keyed(rows, "3ns").window(sl.tumbling("10ns")).agg(total=col("v").sum())
    stream = bars.rolling(rows=3).agg(three=col("total").sum())
    t.check(stream, workers=(1, 2), batch_rows=(1, 100))
    totals: dict[str, list[int]] = {}
    for row in stream.collect().to_pylist():
        totals.setdefault(row["k"], []).append(row["total"])
        assert row["three"] == sum(totals[row["k"]][-3:])


class Endless(Source):
    bounded = False

    def schema(self) -> pa.Schema:
        return SCHEMA

    def splits(self) -> list:
        return []

    def open(self, split, position=None):  # type: ignore[no-untyped-def]
        raise AssertionError("never run")


def test_only_windows_by_rows_need_a_ttl() -> None:
    endless = sl.read(Endless()).event_time("ts", max_delay="1s").key_by("k")
    assert "state: within x rate" in endless.rolling("10m").agg(n=sl.count()).explain()
    with pytest.raises(BuildError, match="would keep every key for ever") as error:
        endless.rolling(rows=3).agg(n=sl.count())
    assert "sl.FOREVER" in str(error.value)
    assert "state: within x rate" in endless.rolling(rows=3, ttl="1h").agg(n=sl.count()).explain()
    assert "ttl=FOREVER" in endless.rolling(rows=3, ttl=sl.FOREVER).agg(n=sl.count()).explain()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keyed().rolling(), "a length of time, or a number of rows"),
        (lambda: keyed().rolling("1s", rows=2), "a length of time, or a number of rows"),
        (lambda: keyed().rolling(5), "must be a string"),
        (lambda: keyed().rolling("0s"), "a positive length"),
        (lambda: keyed().rolling("-1s"), "a positive length"),
        (lambda: keyed().rolling(rows=0), "rows= is a number of rows"),
        (lambda: keyed().rolling(rows=True), "rows= is a number of rows"),
        (lambda: keyed().rolling("1s", ttl="1s"), "needs no ttl="),
        (lambda: keyed().rolling(rows=2, ttl="0s").agg(n=sl.count()), "ttl= must be positive"),
        (lambda: keyed().rolling("1s", allowed_lateness="-1s").agg(n=sl.count()), "must not be negative"),
        (lambda: keyed().rolling("1s").agg(), "no aggregate"),
        (lambda: keyed().rolling("1s").agg(n=col("v")), "is no aggregate"),
        (lambda: keyed().rolling("1s").agg(n=sl.count() + col("v")), "outside an aggregate"),
        (lambda: keyed().rolling("1s").agg(v=sl.count()), "the name 'v' is taken"),
        (lambda: sl.read_arrow(table([])).key_by("k").rolling("1s").agg(n=sl.count()), "needs event time"),
        (lambda: keyed().drop("k").rolling("1s").agg(n=sl.count()), "which rows belong together"),
    ],
)
def test_what_cannot_work_is_refused_at_the_users_line(make: Callable[[], object], message: str) -> None:
    with pytest.raises(BuildError, match=message) as error:
        make()
    assert "test_rolling.py" in str(error.value)


def test_an_aggregate_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(TypeMismatchError, match="does not work on string"):
        keyed().rolling("1s").agg(n=col("s").sum())


def test_a_sum_that_leaves_int64_is_an_error_and_comes_back_when_its_rows_have_gone() -> None:
    big = 2**63 - 1
    rows = [(1, "a", big, 0.0, ""), (2, "a", 1, 0.0, ""), (20, "a", 5, 0.0, "")]
    assert keyed(rows).rolling("1ns").agg(n=col("v").sum()).collect()["n"].to_pylist() == [big, 1, 5]
    with pytest.raises(sl.StreamlibError, match="does not fit into int64"):
        keyed(rows).rolling("10ns").agg(n=col("v").sum()).collect()
