"""Running aggregates: what the table holds at each watermark, what leaves as changes, late rows, ttl and max_rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.contracts import Source
from streamlib.errors import BuildError
from streamlib.testing.harness import Harness

SCHEMA = pa.schema({"ts": pa.timestamp("ns"), "k": pa.string(), "v": pa.int64()})
Row = tuple[int, str | None, int]


def keyed(max_delay: str = "0s") -> sl.KeyedStream:
    return sl.read_arrow(SCHEMA.empty_table()).event_time("ts", max_delay=max_delay).key_by("k")


def running(**options: object) -> sl.Table:
    return keyed().agg(
        n=sl.count(), total=col("v").sum(), first=col("v").first(), last=col("v").last(), **options
    )


def table(rows: Sequence[Row]) -> pa.Table:
    times, keys, values = zip(*rows, strict=True) if rows else ((), (), ())
    ts = pa.array(times, pa.int64()).cast(pa.timestamp("ns"))
    return pa.table([ts, pa.array(keys, pa.string()), pa.array(values, pa.int64())], schema=SCHEMA)


def contents(rows: Sequence[Row], before: int | None, ttl: int | None) -> dict[str | None, tuple[int, ...]]:
    """What the table holds at a watermark: row by row, from the rules alone."""
    found: dict[str | None, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row[0]):
        if before is None or row[0] < before:
            kept = found.setdefault(row[1], [])
            if ttl is not None and kept and row[0] - kept[-1][0] > ttl:
                kept.clear()
            kept.append(row)
    return {
        key: (len(kept), sum(v for _, _, v in kept), kept[0][2], kept[-1][2])
        for key, kept in found.items()
        if before is None or ttl is None or kept[-1][0] + ttl >= before
    }


@dataclass
class Seen:
    """The table as its changes make it, with a check of each change."""

    driven: Harness
    ttl: int | None = None
    _read: int = 0

    def __post_init__(self) -> None:
        self.rows: dict[str | None, tuple[int, ...]] = {}

    def read(self, forwarded: int) -> dict[str | None, tuple[int, ...]]:
        """Applies what came out; none of it may lie before `forwarded`, the watermark sent on last."""
        for tag, batch in self.driven.outputs[self._read :]:
            if tag is not None:
                continue
            assert batch.time is not None
            early = batch.time[batch.time < forwarded]
            assert not len(early), f"a change at {early} after the watermark {forwarded} was sent on"
            for row in batch.rows.to_pylist():
                key, change, values = row["k"], row["change"], tuple(list(row.values())[1:-1])
                assert (change == "insert") == (key not in self.rows), f"{change} of {key}"
                if change == "delete":
                    assert self.rows.pop(key) == values, "a delete carries the row that is gone"
                else:
                    self.rows[key] = values
        self._read = len(self.driven.outputs)
        return self.rows


times = st.integers(-40, 40)
rows_of = st.lists(st.tuples(times, st.sampled_from(["a", "b", "c", None]), st.integers(0, 9)), max_size=25)
steps = st.lists(st.tuples(rows_of, times), max_size=6)


@pytest.mark.slow
@given(
    steps=steps,
    ttl=st.sampled_from([None, 1, 5, 17, 60]),
    max_rate=st.sampled_from([None, None, 1, 10]),
    batch_rows=st.sampled_from([1, 3, 100]),
    halt=st.integers(0, 6),
    ordered=st.booleans(),
)
def test_the_table_at_each_watermark_holds_the_rows_before_it_and_no_change_comes_too_late(
    steps: list[tuple[list[Row], int]],
    ttl: int | None,
    max_rate: int | None,
    batch_rows: int,
    halt: int,
    ordered: bool,
) -> None:
    if ttl is not None and max_rate is not None and ttl < max_rate:
        max_rate = None
    options = {"ttl": ttl, "max_rate": max_rate}
    step = running(**{n: f"{v}ns" for n, v in options.items() if v is not None})
    driven = t.harness(step._node, batch_rows=batch_rows, ordered=ordered)
    seen, all_rows, watermark = Seen(driven), [], -(2**63)
    for number, (rows, rise) in enumerate(steps):
        on_time = [row for row in rows if row[0] >= watermark]
        all_rows += on_time
        for begin in range(0, len(on_time), batch_rows):
            driven.feed(table(on_time[begin : begin + batch_rows]))
        watermark, sent = max(watermark, rise), driven.forwarded
        driven.watermark(watermark)
        reached = watermark if max_rate is None else watermark // max_rate * max_rate
        assert driven.forwarded == reached
        assert seen.read(sent) == contents(all_rows, reached, ttl)
        if number == halt:
            outputs, sent = driven.outputs, driven.forwarded
            driven = driven.restored(driven.barrier())
            driven.outputs, driven.forwarded = outputs, sent
            seen.driven = driven
    sent = driven.forwarded
    driven.end()
    wanted = contents(all_rows, None, ttl)
    if ttl is not None:
        # The end lets no key go: those that had gone before are those that the last watermark let go.
        newest = {key: max(r[0] for r in all_rows if r[1] == key) for key in wanted}
        reached = driven.forwarded
        wanted = {key: row for key, row in wanted.items() if newest[key] + ttl >= reached}
    assert seen.read(sent) == wanted


@given(
    rows=st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["a", "b"]), st.integers(0, 9)), max_size=30)
)
def test_with_max_rate_the_changes_are_a_function_of_the_input(rows: list[Row]) -> None:
    """Whatever the watermarks: one change a key and span, with the state at the end of the span."""
    rows = sorted(rows, key=lambda row: row[0])
    wanted = []
    for key in ("a", "b"):
        spans = sorted({ts // 10 for ts, k, _ in rows if k == key})
        for span in spans:
            wanted.append((key, *contents(rows, 10 * span + 10, None)[key]))
    for each in (1, 4, 1000):
        driven = t.harness(running(max_rate="10ns")._node)
        for begin in range(0, len(rows), each):
            part = rows[begin : begin + each]
            driven.feed(table(part))
            driven.watermark(part[-1][0])
        driven.end()
        got = [tuple(list(row.values())[:-1]) for row in driven.rows().to_pylist()]
        assert sorted(got) == sorted(wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"ttl": "20ns"}, {"max_rate": "7ns"}, {"ttl": "20ns", "max_rate": "7ns"}]
)
def test_last_states_do_not_depend_on_cuts_or_restores(options: dict[str, str]) -> None:
    rng = np.random.default_rng(3)
    rows = [(int(n), f"k{rng.integers(5)}", int(n) % 7) for n in np.sort(rng.integers(0, 200, 60))]
    step = running(**(options or {"max_rate": "1ns"}))._node
    t.check_operator(step, table(rows), watermarks=[rows[19][0], rows[39][0]])


def test_a_row_is_late_when_its_mark_lies_after_it() -> None:
    driven = t.harness(running()._node)
    driven.feed(table([(5, "a", 1), (6, "a", 2), (7, "a", 4)]), mark=[7, 6, 7])
    driven.end()
    assert driven.rows()["total"].to_pylist() == [6]
    late = driven.rows("late").to_pydict()
    assert late["v"] == [1] and driven.operator.counters() == {"late": 1, "late_by_max": 2}
    assert driven.rows("late")["late_by"].cast(pa.int64()).to_pylist() == [2]


def test_memory_follows_the_keys_that_live() -> None:
    step = keyed().agg(n=sl.count(), last=col("v").last(), ttl="10ns")
    driven = t.harness(step._node)
    for number in range(40):
        rows = [(number * 100 + n // 50, f"a key of one second only: {number} {n}", n) for n in range(1000)]
        driven.feed(table(rows))
        driven.watermark(number * 100 + 99)
        assert driven.operator.snapshot()["keys"].num_rows == 0
    assert driven.operator.table.count <= 2048 and driven.operator.table.nbytes < 2_000_000
    changes = driven.rows()["change"].to_pylist()
    assert changes.count("insert") == changes.count("delete") == 40_000


def test_a_snapshot_is_open_data() -> None:
    driven = t.harness(running(ttl="1m")._node)
    driven.feed(table([(5, "a", 1), (9, None, 2)]))
    driven.watermark(8)
    state = driven.barrier()
    assert state["keys"].select(["k", "rows", "last_time"]).cast(
        pa.schema({"k": pa.string(), "rows": pa.int64(), "last_time": pa.int64()})
    ).to_pylist() == [{"k": "a", "rows": 1, "last_time": 5}]
    assert state["waiting"].select(["k"]).to_pylist() == [{"k": None}]
    assert driven.operator.open_rows() == 1 and driven.operator.open_windows()[0] == 1


def test_the_times_at_the_ends_of_the_range_wrap_nowhere() -> None:
    step = running(ttl="1d", max_rate="1s")
    driven = t.harness(step._node)
    driven.feed(table([(-(2**63) + 1, "a", 1), (2**63 - 2, "a", 2), (2**63 - 3, "b", 3)]))
    driven.watermark(2**63 - 3)
    driven.end()
    assert Seen(driven).read(-(2**63)) == {"a": (1, 2, 2, 2), "b": (1, 3, 3, 3)}


class Endless(Source):
    bounded = False

    def schema(self) -> pa.Schema:
        return SCHEMA

    def splits(self) -> list:
        return []

    def open(self, split, position=None):  # type: ignore[no-untyped-def]
        raise AssertionError("never run")


def test_an_input_without_an_end_needs_a_ttl() -> None:
    endless = sl.read(Endless()).event_time("ts", max_delay="1s").key_by("k")
    for make in (lambda **o: endless.agg(n=sl.count(), **o), endless.latest):
        with pytest.raises(BuildError, match="would keep every key for ever") as error:
            make()
        assert "sl.FOREVER" in str(error.value)
        assert "state: within x rate" in make(ttl="1h").explain()
        assert "ttl=FOREVER" in make(ttl=sl.FOREVER).explain()
    assert "state: keys" in running().explain()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keyed().agg(), "no aggregate"),
        (lambda: keyed().agg(n=col("v")), "is no aggregate"),
        (lambda: keyed().agg(n=sl.count() + col("v")), "outside an aggregate"),
        (lambda: keyed().agg(k=sl.count()), "the name 'k' is taken"),
        (lambda: keyed().agg(change=sl.count()), "the name 'change' is taken"),
        (lambda: keyed().agg(n=sl.count(), ttl="0s"), "ttl= must be positive"),
        (lambda: keyed().agg(n=sl.count(), ttl=5), "ttl must be a string"),
        (lambda: keyed().agg(n=sl.count(), max_rate="-1s"), "max_rate= must be positive"),
        (lambda: keyed().agg(n=sl.count(), ttl="1s", max_rate="2s"), "shorter than max_rate"),
        (lambda: sl.read_arrow(SCHEMA.empty_table()).key_by("k").agg(n=sl.count()), "needs event time"),
        (lambda: sl.read_arrow(pa.table({"change": [1], "k": [1]})).key_by("k").latest(), "needs event time"),
    ],
)
def test_what_cannot_work_is_refused_at_the_users_line(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BuildError, match=message) as error:
        make()
    assert "test_running.py" in str(error.value)


def test_keys_may_have_the_names_of_state_columns() -> None:
    names = ["rows", "window_start", "last_time", "event_time", "event_order", "input_0"]
    seconds = pa.array(range(1, 21), pa.timestamp("s"))
    columns = {name: [f"{name} {n % 3}" for n in range(20)] for name in names}
    source = sl.read_arrow(pa.table({"ts": seconds, "v": range(20), **columns}))
    ticks = source.event_time("ts", max_delay="3s").key_by(*names)
    table = ticks.agg(n=sl.count(), total=(col("v") + 1).sum(), ttl="10s", max_rate="2s")
    t.check(table.changes(), workers=(1, 2), batch_rows=(1, 7))
    assert table.collect()["n"].to_pylist() == [7, 7, 6]
