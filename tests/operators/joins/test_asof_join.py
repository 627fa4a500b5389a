"""As-of joins: which row, when it comes out, what is sent on, and what is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib.elements import MAX_TIME, MIN_TIME
from streamlib.operators.joins.asof_operator import AsOfJoinOperator
from streamlib.state import gathering, pieces
from streamlib.state import ordered as ordered_module
from streamlib.state.joins import asof
from streamlib.testing.harness import Harness

LEFT, RIGHT = 0, 1
NS = pa.timestamp("ns")
A = pa.schema({"ts": NS, "k": pa.float64(), "a": pa.int64()})
B = pa.schema({"ts": NS, "k": pa.float64(), "b": pa.int64()})
Row = tuple[int, float | None, int]

NAN = float("nan")


def empty(schema: pa.Schema, delay: str = "0s") -> sl.Stream:
    return sl.read_arrow(schema.empty_table()).event_time("ts", max_delay=delay)


def join(**options: Any) -> sl.Stream:
    return empty(A).asof_join(empty(B), on="k", **options)


def table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    times, keys, values = zip(*rows, strict=True) if rows else ((), (), ())
    ts = pa.array(times, pa.int64()).cast(NS)
    return pa.table([ts, pa.array(keys, pa.float64()), pa.array(values, pa.int64())], schema=schema)


# ---- the rule, row by row ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    direction: str
    tolerance: int | None
    allow_exact: bool
    how: str
    lateness: int

    @property
    def reach(self) -> int:
        return 0 if self.direction == "backward" else self.tolerance or 0

    def join(self) -> sl.Stream:
        return join(
            direction=self.direction,
            tolerance=None if self.tolerance is None else f"{self.tolerance}ns",
            allow_exact=self.allow_exact,
            how=self.how,
            allowed_lateness=f"{self.lateness}ns",
        )

    def match(self, row: Row, rights: Sequence[Row]) -> Row | None:
        """The match by the rule alone; `rights` in the order that decides ties."""
        time, key, _ = row
        same = [r for r in rights if key is not None and r[1] is not None and _equal(r[1], key)]
        same = [r for r in same if self.tolerance is None or abs(r[0] - time) <= self.tolerance]
        before = [r for r in same if r[0] < time or (self.allow_exact and r[0] == time)]
        after = [r for r in same if r[0] > time or (self.allow_exact and r[0] == time)]
        last = max(enumerate(before), key=lambda e: (e[1][0], e[0]), default=(0, None))[1]
        first = min(enumerate(after), key=lambda e: (e[1][0], e[0]), default=(0, None))[1]
        if self.direction == "backward" or (self.direction == "nearest" and first is None):
            return last
        if self.direction == "forward" or last is None or first is None:
            return first
        return first if first[0] - time < time - last[0] else last


def _equal(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


Event = tuple[str, Any]


@st.composite
def plays(draw: st.DrawFn) -> tuple[Options, list[Event]]:
    """Rows of both sides, watermarks that rise, and barriers after which a fresh operator goes on."""
    direction = draw(st.sampled_from(["backward", "forward", "nearest"]))
    tolerances: list[int | None] = [0, 1, 3, 100] + ([None] if direction == "backward" else [])
    options = Options(
        direction,
        draw(st.sampled_from(tolerances)),
        draw(st.booleans()),
        draw(st.sampled_from(["left", "inner"])),
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
    """An operator and its inputs' progress."""

    driven: Harness
    options: Options
    reached: list[int] = field(default_factory=lambda: [MIN_TIME, MIN_TIME])
    sent: int = MIN_TIME
    out: list[dict[str, Any]] = field(default_factory=list)

    def rows(self, side: int, rows: list[Row], mark: int) -> None:
        self.driven.feed(table(rows, (A, B)[side]), mark=mark, side=side)
        self.read()

    def watermark(self, side: int, time: int) -> None:
        self.reached[side] = time
        operator = self.driven.operator
        operator.on_side_watermark(time, side)
        live = [r for r in self.reached if r < MAX_TIME]
        merged = min(live, default=MIN_TIME)
        self.driven._take(operator.on_watermark(merged))
        self.read()
        self.forward(operator.forward(merged))

    def forward(self, time: int) -> None:
        """What is sent on is min(Wa, Wb - reach) - L."""
        left, right = self.reached
        right = right - self.options.reach if MIN_TIME < right < MAX_TIME else right
        wanted = min(left, right)
        if MIN_TIME < wanted < MAX_TIME:
            assert time == wanted - self.options.lateness
            self.sent = max(self.sent, time)

    def read(self) -> None:
        """Takes what came out; none of it may lie before the watermark sent on last."""
        for tag, batch in self.driven.outputs:
            assert tag is None, "no row was late"
            assert batch.time is not None and not (batch.time < self.sent).any()
            self.out.extend(batch.rows.to_pylist())
            assert [row["ts"].value for row in batch.rows.to_pylist()] == batch.time.tolist()
        self.driven.outputs.clear()

    def restore(self) -> None:
        fed = self.driven._fed  # positions go on where they were
        self.driven = self.driven.restored(self.driven.barrier())
        self.driven._fed = fed
        for side, time in enumerate(self.reached):
            if time > MIN_TIME:
                self.driven.operator.on_side_watermark(time, side)


@pytest.fixture(params=[False, True], ids=["as it is", "kernels for few rows too"])
def always_dropping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is of no more use goes at once, so that few rows show what goes too early."""
    monkeypatch.setattr(asof, "ROWS_MIN", 0)
    if request.param:
        for module in (ordered_module, pieces, gathering):
            monkeypatch.setattr(module, "KERNEL_ROWS_MIN", 1)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.usefixtures("always_dropping")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(play=plays())
def test_each_row_comes_out_once_with_its_match_as_soon_as_that_is_known(
    ordered: bool, play: tuple[Options, list[Event]]
) -> None:
    options, events = play
    played = Played(t.harness(options.join(), batch_rows=3, ordered=ordered), options)
    rights = [row for what, event in events if what == "rows" and event[0] == RIGHT for row in event[1]]
    lefts: list[Row] = []
    for what, event in events:
        if what == "rows":
            played.rows(*event)
            lefts += event[1] if event[0] == LEFT else []
        elif what == "watermark":
            played.watermark(*event)
        else:
            played.restore()
        settled = played.reached[RIGHT]
        known = [r for r in lefts if settled == MAX_TIME or settled > r[0] + options.reach + options.lateness]
        _assert_joined(options, played.out, known, rights)
    played.driven.end()
    played.read()
    _assert_joined(options, played.out, lefts, rights)
    assert played.driven.operator.open_windows() == (0, None)


def _assert_joined(options: Options, out: list[Any], lefts: list[Row], rights: list[Row]) -> None:
    wanted = []
    for row in lefts:
        match = options.match(row, rights)
        if match is not None or options.how == "left":
            wanted.append((row[2], None if match is None else match[0], None if match is None else match[2]))
    found = [(r["a"], None if r["ts_right"] is None else r["ts_right"].value, r["b"]) for r in out]
    assert sorted(found, key=str) == sorted(wanted, key=str)


# ---- what is kept ------------------------------------------------------------------------------------


def _operator(driven: Harness) -> AsOfJoinOperator:
    assert isinstance(driven.operator, AsOfJoinOperator)
    return driven.operator


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["backward", "forward", "nearest"])
def test_rows_out_of_reach_go_for_all_keys(direction: str) -> None:
    """A million right rows of as many keys, one after the other, and left rows of other keys."""
    driven = t.harness(join(tolerance="1000ns", direction=direction))
    for begin in range(0, 200_000, 10_000):
        times = range(begin, begin + 10_000)
        driven.feed(table([(n, float(n), n) for n in times], B), side=RIGHT)
        driven.feed(table([(n, -float(n), n) for n in times], A), side=LEFT)
        driven.watermark(begin + 10_000)
        driven.outputs.clear()
        store = _operator(driven).settled
        assert store.rows <= 2 * 2_000 + 4_096 + 10_000
        assert store.keys <= 2 * 2_000 + 2 * 4_096 + 20_000
        assert store.nbytes < 8_000_000


def test_without_a_tolerance_one_row_of_each_key_is_kept() -> None:
    driven = t.harness(join())
    for begin in range(0, 200_000, 10_000):
        driven.feed(table([(n, float(n % 100), n) for n in range(begin, begin + 10_000)], B), side=RIGHT)
        driven.watermark(begin + 10_000)
        assert _operator(driven).settled.rows <= 2 * 100 + 4_096 + 10_000
    driven.feed(table([(500_000, 7.0, 1)], A))
    assert driven.watermark(600_000)["b"].to_pylist() == [199_907]


def test_nothing_is_kept_when_the_left_side_has_ended() -> None:
    driven = t.harness(join())
    driven.feed(table([(5, 1.0, 1)], B), side=RIGHT)
    driven.feed(table([(5, 1.0, 1)], A))
    driven.operator.on_side_watermark(MAX_TIME, LEFT)
    assert driven.watermark(6)["b"].to_pylist() == [1]
    driven.feed(table([(7, 1.0, 2)], B), side=RIGHT)
    driven.watermark(20)
    operator = _operator(driven)
    assert (operator.settled.rows, operator.right.rows) == (0, 0)


def test_rows_may_come_between_the_watermark_of_a_side_and_that_of_all() -> None:
    driven = t.harness(join())
    driven.feed(table([(5, 1.0, 1)], B), side=RIGHT)
    driven.operator.on_side_watermark(7, RIGHT)
    assert driven.feed(table([(6, 1.0, 2)], A))["b"].to_pylist() == [1]


def test_a_row_far_behind_or_alone_is_found_among_many() -> None:
    """Single rows are searched for, and those of a batch are swept: both see the same rows."""
    rights = [(n, float(n % 7), n) for n in range(0, 30_000, 3)]
    driven = t.harness(join(direction="nearest", tolerance="50ns"))
    driven.feed(table(rights, B), side=RIGHT)
    driven.operator.on_side_watermark(MAX_TIME, RIGHT)
    driven.watermark(1)
    options = Options("nearest", 50, True, "left", 0)
    lefts = [(n * 7_919 % 30_000, float(n % 7), n) for n in range(400)]
    for row in lefts[:40]:
        driven.feed(table([row], A))
    driven.feed(table(lefts[40:], A))
    near = {n: [r for r in rights if abs(r[0] - n) <= 60] for n in {row[0] for row in lefts}}
    wanted = [options.match(row, near[row[0]]) for row in lefts]
    assert driven.rows()["b"].to_pylist() == [None if match is None else match[2] for match in wanted]
