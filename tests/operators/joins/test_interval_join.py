"""Interval joins: which pairs, when rows come out and with which time, what is sent on, and what is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.elements import MAX_TIME, MIN_TIME
from streamlib.operators.joins.interval_operator import IntervalJoinOperator
from streamlib.state.joins import interval
from streamlib.testing.harness import Harness

LEFT, RIGHT = 0, 1
NS = pa.timestamp("ns")
A = pa.schema({"ts": NS, "k": pa.float64(), "a": pa.int64()})
B = pa.schema({"ts": NS, "k": pa.float64(), "b": pa.int64()})
Row = tuple[int, float | None, int]
NAN = float("nan")


def empty(schema: pa.Schema, delay: str = "0s") -> sl.Stream:
    return sl.read_arrow(schema.empty_table()).event_time("ts", max_delay=delay)


def join(within: tuple[int, int] | None, **options: Any) -> sl.Stream:
    if within is not None:
        options["within"] = tuple(f"{end}ns" for end in within)
    return empty(A).join(empty(B), on="k", unbounded=within is None, **options)


def table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    times, keys, values = zip(*rows, strict=True) if rows else ((), (), ())
    ts = pa.array(times, pa.int64()).cast(NS)
    return pa.table([ts, pa.array(keys, pa.float64()), pa.array(values, pa.int64())], schema=schema)


# ---- the rule, row by row ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    within: tuple[int, int] | None
    how: str
    where: bool
    lateness: int

    def join(self) -> sl.Stream:
        where = col("a") % 2 == col("b") % 2 if self.where else None
        return join(self.within, how=self.how, where=where, allowed_lateness=f"{self.lateness}ns")

    @property
    def ends(self) -> tuple[int, int]:
        return (-(10**9), 10**9) if self.within is None else self.within

    def matches(self, left: Row, right: Row) -> bool:
        low, high = self.ends
        return (
            low <= right[0] - left[0] <= high
            and _equal(left[1], right[1])
            and (not self.where or left[2] % 2 == right[2] % 2)
        )

    def proven(self, side: int, row: Row, other: int) -> bool:
        """Whether no further match of a row can come, when the other side has reached a time."""
        if other == MAX_TIME or row[1] is None:
            return True
        reach = self.ends[1] if side == LEFT else -self.ends[0]
        return other > row[0] + reach + self.lateness

    def sent_on(self, left: int, right: int) -> int:
        """The watermark sent on, where both sides have reached a time."""
        low, high = self.ends

        def less(time: int, ns: int) -> int:
            return time if time == MAX_TIME else time - ns

        onward = less(min(left, right), self.lateness)
        if self.how in ("left", "full", "anti", "semi"):
            onward = min(onward, less(right, max(high, 0) + self.lateness))
        if self.how in ("right", "full"):
            onward = min(onward, less(left, -min(low, 0) + self.lateness))
        return onward


def _equal(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return False
    return one == other or (math.isnan(one) and math.isnan(other))


Event = tuple[str, Any]


@st.composite
def plays(draw: st.DrawFn) -> tuple[Options, list[Event]]:
    """Rows of both sides, watermarks that rise, and barriers after which a fresh operator goes on."""
    ends = st.integers(-6, 6)
    options = Options(
        draw(st.one_of(st.none(), st.tuples(ends, ends).map(lambda pair: (min(pair), max(pair))))),
        draw(st.sampled_from(["inner", "left", "right", "full", "semi", "anti"])),
        draw(st.booleans()),
        draw(st.sampled_from([0, 0, 2])),
    )
    reached, events, number = [0, 0], [], 0
    keys = st.sampled_from([0.0, -0.0, 1.0, 1.0, NAN, None])
    for _ in range(draw(st.integers(0, 24))):
        what = draw(st.sampled_from(["rows", "rows", "rows", "watermark", "watermark", "restore"]))
        side = draw(st.sampled_from([LEFT, RIGHT]))
        if what == "rows":
            offsets = draw(st.lists(st.integers(-options.lateness, 8), min_size=1, max_size=4))
            rows = [(reached[side] + n, draw(keys), number + i) for i, n in enumerate(offsets)]
            number += len(rows)
            events.append(("rows", (side, rows, reached[side])))
        elif what == "watermark":
            reached[side] += draw(st.integers(1, 6))
            events.append(("watermark", (side, reached[side])))
        else:
            events.append(("restore", None))
    if draw(st.booleans()):
        side = draw(st.sampled_from([LEFT, RIGHT]))  # one side ends early
        events.append(("watermark", (side, MAX_TIME)))
        other = 1 - side
        rows = [(reached[other] + n, draw(keys), number + n) for n in range(draw(st.integers(0, 3)))]
        events.append(("rows", (other, rows, reached[other])))
    return options, events


@dataclass
class Played:
    """An operator, its inputs' progress, and what has come in."""

    driven: Harness
    options: Options
    reached: list[int] = field(default_factory=lambda: [MIN_TIME, MIN_TIME])
    sent: int = MIN_TIME
    came: tuple[list[Row], list[Row]] = field(default_factory=lambda: ([], []))
    out: list[tuple[Any, ...]] = field(default_factory=list)

    def rows(self, side: int, rows: list[Row], mark: int) -> None:
        self.came[side].extend(rows)
        self.driven.feed(table(rows, (A, B)[side]), mark=mark, side=side)
        self.check()

    def watermark(self, side: int, time: int) -> None:
        self.reached[side] = time
        operator = self.driven.operator
        operator.on_side_watermark(time, side)
        live = [r for r in self.reached if r < MAX_TIME]
        merged = min(live, default=MIN_TIME)
        self.driven._take(operator.on_watermark(merged))
        self.check()
        wanted = self.options.sent_on(*self.reached)
        if min(self.reached) > MIN_TIME and self.options.within is not None and merged == min(self.reached):
            assert operator.forward(merged) == wanted
            self.sent = max(self.sent, wanted)

    def check(self) -> None:
        """What has come out is what is due so far, once each, and nothing of it lies before the watermark sent on."""
        for tag, batch in self.driven.outputs:
            assert tag is None, "no row was late"
            assert batch.time is not None and not (batch.time < self.sent).any()
            values = batch.rows.to_pylist()
            self.out += [
                (row.get("a"), row.get("b"), time)
                for row, time in zip(values, batch.time.tolist(), strict=True)
            ]
        self.driven.outputs.clear()
        assert sorted(self.out, key=str) == sorted(self.due(), key=str)

    def due(self) -> list[tuple[Any, ...]]:
        """All that must have come out by now."""
        lefts, rights = self.came
        pairs = [(a, b) for a in lefts for b in rights if self.options.matches(a, b)]
        alone = [
            [row for row in rows if row not in [pair[side] for pair in pairs]]
            for side, rows in ((LEFT, lefts), (RIGHT, rights))
        ]
        known = [
            [row for row in rows if self.options.proven(side, row, self.reached[1 - side])]
            for side, rows in enumerate(alone)
        ]
        how = self.options.how
        found: list[tuple[Any, ...]] = []
        if how in ("inner", "left", "right", "full"):
            found += [(a[2], b[2], max(a[0], b[0])) for a, b in pairs]
        if how in ("left", "full", "anti"):
            found += [(a[2], None, a[0]) for a in known[LEFT]]
        if how in ("right", "full"):
            found += [(None, b[2], b[0]) for b in known[RIGHT]]
        if how == "semi":
            found += [(a[2], None, a[0]) for a in lefts if a not in alone[LEFT]]
        return found

    def restore(self) -> None:
        fed = self.driven._fed  # positions go on where they were
        self.driven = self.driven.restored(self.driven.barrier())
        self.driven._fed = fed
        for side, time in enumerate(self.reached):
            if time > MIN_TIME:
                self.driven.operator.on_side_watermark(time, side)


@given(play=plays())
def test_each_pair_comes_at_its_match_and_each_row_without_one_as_soon_as_that_is_known(
    play: tuple[Options, list[Event]],
) -> None:
    options, events = play
    played = Played(t.harness(options.join(), batch_rows=3), options)
    for what, event in events:
        if what == "rows":
            played.rows(*event)
        elif what == "watermark":
            played.watermark(*event)
        else:
            played.restore()
    played.driven.end()
    played.reached = [MAX_TIME, MAX_TIME]
    played.check()
    assert played.driven.operator.open_windows() == (0, None)


# ---- what is kept ------------------------------------------------------------------------------------


def _operator(driven: Harness) -> IntervalJoinOperator:
    assert isinstance(driven.operator, IntervalJoinOperator)
    return driven.operator


@pytest.mark.parametrize("how", ["inner", "full", "anti"])
def test_rows_out_of_reach_go_for_all_keys(how: str) -> None:
    """Rows of as many keys, each met once: what is kept does not grow."""
    driven = t.harness(join((-1000, 1000), how=how))
    for begin in range(0, 200_000, 10_000):
        times = range(begin, begin + 10_000)
        driven.feed(table([(n, float(n), n) for n in times], B), side=RIGHT)
        driven.feed(table([(n, -1.0 - n, n) for n in times], A), side=LEFT)
        driven.watermark(begin + 10_000)
        for store in _operator(driven).stores:
            assert store.rows <= 1_000 + interval.PAGE_ROWS
            assert store.nbytes < 1_000_000
        driven.outputs.clear()


@pytest.mark.parametrize("live", [60_000, 200_000])
def test_state_takes_little_more_than_the_rows_that_can_still_match(live: int) -> None:
    """Bids with five numbers: at most 1.5 times the bytes of those that an auction can still meet."""
    schema = pa.schema({"ts": NS, **dict.fromkeys(("k", "bidder", "price", "channel"), pa.int64())})
    bids, auctions = (empty(schema) for _ in range(2))
    driven = t.harness(auctions.join(bids, on="k", within=("0ns", f"{live}ns")))
    ages = []
    for begin in range(0, 3 * live, 10_000):
        times = np.arange(begin, begin + 10_000)
        columns = [pa.array(times).cast(NS), *(pa.array(times + n) for n in range(4))]
        driven.feed(pa.table(columns, schema=schema), side=RIGHT)
        driven.operator.on_side_watermark(begin - live, LEFT)
        driven.watermark(begin - live)
        ages.append(begin)
        kept = min(begin + 10_000, live + 10_000)
        row_bytes = 8 * (len(schema) + 1)  # the columns, and the hidden time
        if begin >= live:
            assert _operator(driven).stores[RIGHT].nbytes <= 1.5 * kept * row_bytes


def test_rows_far_ahead_do_not_keep_the_others() -> None:
    """One row in a thousand lies far ahead: the pages that they lie in are written anew without the rest."""
    driven = t.harness(join((0, 10)))
    for begin in range(0, 200_000, 10_000):
        rows = [(n + (10**9 if n % 1000 == 0 else 0), float(n), n) for n in range(begin, begin + 10_000)]
        driven.feed(table(rows, A))
        driven.watermark(begin + 10_000)
    assert _operator(driven).stores[LEFT].rows < 30_000
    far = [(n + 10**9 + 5, float(n), n) for n in range(0, 200_000, 1000)]
    found = driven.feed(table(far, B), side=RIGHT)
    assert found["a"].to_pylist() == found["b"].to_pylist() == list(range(0, 200_000, 1000))


def test_nothing_is_kept_for_a_side_that_has_ended() -> None:
    driven = t.harness(join(None))
    driven.feed(table([(5, 1.0, 1)], B), side=RIGHT)
    driven.operator.on_side_watermark(MAX_TIME, RIGHT)
    driven.watermark(3)
    assert driven.feed(table([(5, 1.0, 1)], A))["b"].to_pylist() == [1]
    assert [store.rows for store in _operator(driven).stores] == [0, 1]
    driven.operator.on_side_watermark(MAX_TIME, LEFT)
    driven.watermark(4)
    assert [store.rows for store in _operator(driven).stores] == [0, 0]


def test_a_key_with_many_rows_is_searched_by_time() -> None:
    """All rows have one key, and the state spans thousands of intervals."""
    driven = t.harness(join((0, 4)))
    rights = [(n, 1.0, n) for n in range(30_000)]
    driven.feed(table(rights[::-1], B), side=RIGHT)
    lefts = [(n, 1.0, n) for n in range(0, 30_000, 7)]
    found = driven.feed(table(lefts, A))
    wanted = [(a, b) for a, _, _ in lefts for b in range(a, min(a + 5, 30_000))]
    assert sorted(zip(found["a"].to_pylist(), found["b"].to_pylist(), strict=True)) == wanted


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch_rows=st.sampled_from([1, 3, 100]), seed=st.integers(0, 1000))
def test_pairs_that_do_not_fit_into_a_batch_go_on_where_they_stopped(batch_rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    sides = [
        [(int(n), float(k), i) for i, (n, k) in enumerate(random.integers(0, (50, 3), (40, 2)))]
        for _ in range(2)
    ]
    driven = t.harness(join((-20, 5)), batch_rows=batch_rows)
    driven.feed(table(sides[0], A))
    driven.feed(table(sides[1], B), side=RIGHT)
    assert all(len(batch) <= batch_rows for _, batch in driven.outputs)
    wanted = [(a[2], b[2]) for a in sides[0] for b in sides[1] if a[1] == b[1] and -20 <= b[0] - a[0] <= 5]
    found = driven.rows()
    assert sorted(zip(found["a"].to_pylist(), found["b"].to_pylist(), strict=True)) == sorted(wanted)
