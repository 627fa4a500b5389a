"""Windows with emit="updates", step by step: each change comes with the watermark that says so, and no other."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.errors import BuildError
from streamlib.testing.harness import Harness

SCHEMA = pa.schema({"ts": pa.timestamp("ns"), "k": pa.string(), "v": pa.int64()})
BEFORE_ALL = -(2**63)
Row = tuple[int, str, int, int]
"""Time, key, value, mark."""
Key = tuple[Any, ...]


def keyed(max_delay: str = "0s") -> sl.KeyedStream:
    return sl.read_arrow(SCHEMA.empty_table()).event_time("ts", max_delay=max_delay).key_by("k")


def updating(window: Any, lateness: int = 0, early: int | None = None) -> sl.Table:
    more = {} if early is None else {"early": f"{early}ns"}
    windows = keyed().window(window, f"{lateness}ns", emit="updates", **more)
    return windows.agg(n=sl.count(), total=col("v").sum(), last=col("v").last())


def tumbling(time: int) -> list[tuple[int, int]]:
    return [(time // 10 * 10, time // 10 * 10 + 10)]


def hopping(time: int) -> list[tuple[int, int]]:
    last = time // 4 * 4
    return [(s, s + 10) for s in (last - 8, last - 4, last) if s + 10 > time]


def cumulative(time: int) -> list[tuple[int, int]]:
    start = time // 12 * 12
    return [(start, end) for end in (start + 4, start + 8, start + 12) if end > time]


KINDS: dict[str, tuple[Callable[[], Any], Callable[[int], list[tuple[int, int]]]]] = {
    "tumbling": (lambda: sl.tumbling("10ns"), tumbling),
    "hopping": (lambda: sl.hopping("10ns", every="4ns"), hopping),
    "cumulative": (lambda: sl.cumulative("12ns", every="4ns"), cumulative),
}

SLOW = pytest.param("cumulative", marks=pytest.mark.slow)


def fed(driven: Harness, rows: Sequence[Row]) -> None:
    if rows:
        times, keys, values, marks = zip(*rows, strict=True)
        ts = pa.array(times, pa.int64()).cast(pa.timestamp("ns"))
        driven.feed(pa.table([ts, pa.array(keys), pa.array(values, pa.int64())], schema=SCHEMA), mark=marks)


def results(rows: Sequence[Row]) -> tuple[int, int, int]:
    ordered = sorted(rows, key=lambda row: row[0])
    return len(rows), sum(row[2] for row in rows), ordered[-1][2]


class Windows:
    """What windows of a fixed place give, from the rules alone."""

    def __init__(self, windows_of: Callable[[int], list[tuple[int, int]]], lateness: int) -> None:
        self.windows_of, self.lateness = windows_of, lateness
        self.taken: dict[Key, list[Row]] = defaultdict(list)

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            for start, end in self.windows_of(row[0]):
                if row[3] < end + self.lateness:
                    self.taken[row[1], start, end].append(row)

    def due(self, before: int, now: int | None) -> list[Key]:
        """The changes between two watermarks."""
        found = []

        def reached(time: int) -> bool:
            return before < time and (now is None or time <= now)

        for (key, start, end), rows in self.taken.items():
            first = [row for row in rows if row[3] < end]
            if first and reached(end):
                found.append((key, start, end, *results(first), 0, "insert"))
            if len(first) < len(rows) and reached(end + self.lateness):
                if not first or results(first) != results(rows):
                    kind = "update" if first else "insert"
                    found.append((key, start, end, *results(rows), 1, kind))
        return sorted(found)


class Sessions(Windows):
    """What sessions with a gap of 5 give."""

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row[3] <= row[0] + self.lateness:
                self.taken[(row[1],)].append(row)

    def due(self, before: int, now: int | None) -> list[Key]:
        found = []

        def reached(time: int) -> bool:
            return before <= time and (now is None or time < now)

        for (key,), rows in self.taken.items():
            first = self.sessions([row for row in rows if row[3] <= row[0]])
            for (start, end), members in first.items():
                if reached(end):
                    found.append((key, start, end, *results(members), 0, "insert"))
            for (start, end), members in self.sessions(rows).items():
                inside = {b: m for b, m in first.items() if start <= b[0] and b[1] <= end}
                if not reached(end + self.lateness) or inside.get((start, end)) == members:
                    continue
                same = inside.pop((start, end), None)
                if same is None or results(same) != results(members):
                    kind = "insert" if same is None else "update"
                    found.append((key, start, end, *results(members), 1, kind))
                for bounds, part in inside.items():
                    found.append((key, *bounds, *results(part), 0, "delete"))
        return sorted(found)

    def sessions(self, rows: Sequence[Row]) -> dict[tuple[int, int], list[Row]]:
        parts: list[list[Row]] = []
        for row in sorted(rows, key=lambda row: row[0]):
            if parts and row[0] - parts[-1][-1][0] <= 5:
                parts[-1].append(row)
            else:
                parts.append([row])
        return {(part[0][0], part[-1][0] + 5): part for part in parts}


class Workers:
    """One operator, or several that share the keys, with a check of all that comes out."""

    def __init__(self, step: sl.Table, batch_rows: int) -> None:
        self.all = [(t.harness(step._node, batch_rows=batch_rows), frozenset("abc"))]
        self.state: dict[Key, Key] = {}

    def part(self) -> None:
        """The state of all is taken, and shared out among operators for other keys."""
        tables: dict[str, list[pa.Table]] = defaultdict(list)
        for driven, _ in self.all:
            for name, table in driven.barrier().items():
                tables[name].append(table)
        parted = []
        for keys in (frozenset("a"), frozenset("bc")):
            mine = {
                name: pa.concat_tables(some).filter(
                    pc.is_in(pa.concat_tables(some)["k"], pa.array(sorted(keys)))
                )
                for name, some in tables.items()
            }
            fresh = self.all[0][0].restored(mine)
            fresh.forwarded = self.all[0][0].forwarded
            parted.append((fresh, keys))
        self.all = parted

    def feed(self, rows: Sequence[Row]) -> None:
        for driven, keys in self.all:
            fed(driven, [row for row in rows if row[1] in keys])

    def watermark(self, time: int | None) -> list[Key]:
        """What comes out with a watermark, or at the end."""
        found = []
        for driven, _ in self.all:
            sent, seen = driven.forwarded, len(driven.outputs)
            driven.end() if time is None else driven.watermark(time)
            for tag, batch in driven.outputs[seen:]:
                assert tag is None and batch.time is not None
                assert (batch.time >= sent).all(), "a change lies before the watermark sent on"
                rows = batch.rows
                for name in ("window_start", "window_end"):
                    rows = rows.set_column(
                        rows.schema.get_field_index(name), name, rows[name].cast(pa.int64())
                    )
                for row, at in zip(rows.to_pylist(), batch.time.tolist(), strict=True):
                    change = tuple(row.values())
                    if change[-1] != "delete":
                        assert at == row["window_end"] - 1
                    found.append(change)
                    self.apply(change)
        return sorted(found, key=repr)

    def apply(self, change: Key) -> None:
        """Each change fits the table that those before it made."""
        key, values, kind = change[:3], change[3:-1], change[-1]
        assert (kind == "insert") == (key not in self.state), change
        if kind == "delete":
            assert self.state.pop(key) == values, "a delete carries the row that is gone"
        else:
            self.state[key] = values


@pytest.mark.parametrize("kind", ["tumbling", "hopping", "session"])
def test_a_window_is_restored_from_several_workers(kind: str) -> None:
    """Each of which had some of its keys: what it had shown of all of them is corrected."""
    window = sl.session("5ns") if kind == "session" else KINDS[kind][0]()
    step = t.harness(updating(window, lateness=100)._node)
    fed(step, [(9, key, number, BEFORE_ALL) for number, key in enumerate("abcdef")])
    step.watermark(30)
    restored = step.restored(step.barrier())
    fed(restored, [(8, key, 10, 30) for key in "fedcba"])
    corrected = restored.end()
    found = {row["k"]: row["total"] for row in corrected.to_pylist() if row["revision"] == 1}
    assert found == {key: number + 10 for number, key in enumerate("abcdef")}
    assert set(corrected["change"].to_pylist()) <= ({"insert", "delete"} if kind == "session" else {"update"})


@pytest.mark.parametrize("kind", ["tumbling", "hopping", "session"])
def test_what_was_previewed_is_restored_from_several_workers(kind: str) -> None:
    window = sl.session("5ns") if kind == "session" else KINDS[kind][0]()
    step = t.harness(updating(window, early=1)._node)
    fed(step, [(4, key, 1, BEFORE_ALL) for key in "abcdef"])
    assert set(step.watermark(5)["change"].to_pylist()) == {"insert"}
    assert set(step.restored(step.barrier()).end()["change"].to_pylist()) == {"update"}


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[list[Row], int]]:
    """Rows around the watermark, many of them behind their mark, and how it rises."""
    dice = random.Random(draw(st.integers(0, 2**32)))
    found, now = [], dice.randint(-30, 10)
    for _ in range(draw(st.integers(1, 6))):
        rows = []
        for _ in range(dice.randint(0, 10)):
            time = now + dice.randint(-20, 20)
            rows.append((time, dice.choice("aabc"), dice.randint(0, 2), time + dice.randint(-10, 20)))
        now += dice.choice((0, 1, 3, 8, 20))
        found.append((rows, now))
    return found


def play(kind: str, lateness: int, early: int | None, batch_rows: int, parts: int, steps: Any) -> Workers:
    if kind == "session":
        workers = Workers(updating(sl.session("5ns"), lateness, early), batch_rows)
        model: Windows = Sessions(lambda time: [], lateness)
    else:
        window, windows_of = KINDS[kind]
        workers = Workers(updating(window(), lateness, early), batch_rows)
        model = Windows(windows_of, lateness)
    now = BEFORE_ALL
    for number, (drawn, rise) in enumerate([*steps, ([], None)]):
        if number == parts:
            workers.part()
        marked = [(time, key, value, max(mark, now)) for time, key, value, mark in drawn]
        # Ties in time would be decided by arrival, which another cut into workers does not change.
        rows = [row for n, row in enumerate(marked) if row[:2] not in {other[:2] for other in marked[:n]}]
        known = {(r[0], r[1]) for part in model.taken.values() for r in part}
        rows = [row for row in rows if row[:2] not in known]
        model.add(rows)
        workers.feed(rows)
        before, now = now, rise if rise is None else max(now, rise)
        found = workers.watermark(now)
        settled = [row for row in found if row[-2] is not None]
        if early is None:
            assert found == sorted(model.due(before, now), key=repr)
        else:
            values = sorted(row[:-1] for row in settled if row[-1] != "delete")
            wanted = [row for row in model.due(before, now) if row[-1] != "delete"]
            assert values == sorted(row[:-1] for row in wanted), "previews change no result"
    return workers


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["tumbling", pytest.param("hopping", marks=pytest.mark.slow), SLOW, "session"]
)
@given(
    lateness=st.sampled_from([0, 1, 7, 30]),
    batch_rows=st.sampled_from([1, 100]),
    parts=st.integers(0, 8),
    steps=histories(),
)
def test_each_change_comes_with_its_watermark(
    kind: str, lateness: int, batch_rows: int, parts: int, steps: Any
) -> None:
    play(kind, lateness, None, batch_rows, parts, steps)


@pytest.mark.parametrize(
    "kind", ["tumbling", pytest.param("hopping", marks=pytest.mark.slow), SLOW, "session"]
)
@given(
    lateness=st.sampled_from([0, 7]),
    early=st.sampled_from([1, 3, 20]),
    parts=st.integers(0, 8),
    steps=histories(),
)
def test_previews_are_replaced_by_results(
    kind: str, lateness: int, early: int, parts: int, steps: Any
) -> None:
    """Inserts, updates and deletes fit one another; in the end nothing is a preview."""
    workers = play(kind, lateness, early, 100, parts, steps)
    assert all(values[-1] is not None for values in workers.state.values())
    plain = play(kind, lateness, None, 100, parts, steps)
    assert workers.state == plain.state


def test_a_session_that_was_shown_waits_for_the_one_that_it_becomes_a_part_of() -> None:
    """While sessions of other keys are over, one that late rows have made longer goes on."""
    driven = t.harness(updating(sl.session("5ns"), lateness=10))
    fed(driven, [(0, "a", 1, -9), (0, "b", 1, -9)])
    assert driven.watermark(8)["change"].to_pylist() == ["insert"] * 2
    fed(driven, [(4, "a", 2, 8), (8, "a", 4, 8), (12, "a", 8, 8)])  # the first one is late for its session
    assert driven.watermark(16).num_rows == 0, "b has not changed, and a goes on"
    assert driven.watermark(18).num_rows == 1, "the rows in time alone: from 8 to 12"
    assert driven.operator.open_windows()[0] == 1
    last = driven.watermark(28).sort_by("window_start").to_pylist()
    assert [(r["total"], r["revision"], r["change"]) for r in last] == [
        (1, 0, "delete"),
        (15, 1, "insert"),
        (12, 0, "delete"),
    ]
    assert driven.operator.open_windows() == (0, None) and driven.operator.open_rows() == 0


def test_no_correction_where_late_rows_change_nothing() -> None:
    highest = keyed().window(sl.tumbling("10ns"), "5ns", emit="updates").agg(high=col("v").max())
    driven = t.harness(highest)
    fed(driven, [(1, "a", 7, 0), (1, "b", 3, 0)])
    driven.watermark(10)
    fed(driven, [(2, "a", 5, 12), (2, "b", 4, 12)])
    assert driven.operator.open_windows()[0] == 1 and driven.operator.open_rows() == 2
    rows = driven.watermark(15).to_pylist()
    assert [(r["k"], r["high"], r["change"]) for r in rows] == [("b", 4, "update")]
    assert driven.operator.open_windows()[0] == 0 and driven.operator.open_rows() == 0


def test_late_rows_are_those_that_no_correction_takes() -> None:
    driven = t.harness(updating(sl.hopping("10ns", every="5ns"), lateness=5))
    fed(driven, [(7, "a", 1, 12), (7, "a", 2, 15), (7, "a", 4, 20)])
    late = driven.rows("late").to_pylist()
    assert [(r["v"], r["windows_late"]) for r in late] == [(2, 1), (4, 2)]
    driven.end()
    rows = driven.rows().to_pylist()
    assert sorted((r["total"], r["revision"]) for r in rows) == [(1, 0), (1, 1), (3, 1)]
    assert driven.operator.counters() == {"late": 2, "late_by_max": 5}


def test_memory_is_free_when_windows_are_over() -> None:
    driven = t.harness(updating(sl.tumbling("10ns"), lateness=20, early=5))
    for number in range(100):
        start = 10 * number
        fed(driven, [(start + n % 10, f"{number} {n}", n, start - 5) for n in range(50)])
        driven.watermark(start)
        operator = driven.operator
        assert len(operator.corrections._shown) <= 3 and len(operator.previews._shown) <= 2  # type: ignore[attr-defined]
    driven.end()
    assert not operator.corrections._shown and not operator.previews._shown  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("window", [sl.hopping("6s", every="2s"), sl.session("2s")])
def test_every_way_to_run_it_gives_the_same_table(window: Any) -> None:
    """Batch cuts, workers, the order of arrival, crashes and restores with other workers."""
    rows = [
        {"ts": f"00:00:{second:02}", "k": key, "v": v}
        for v, (second, key) in enumerate(
            [
                (1, "a"),
                (4, "b"),
                (9, "a"),
                (3, "a"),
                (12, "b"),
                (6, "c"),
                (20, "a"),
                (13, "b"),
                (8, "a"),
                (31, "c"),
            ]
        )
    ]
    stream = sl.read(t.source(rows[:6], rows[6:])).event_time("ts", max_delay="1s").key_by("k")
    bars = stream.window(window, "6s", emit="updates").agg(
        n=sl.count(), total=col("v").sum(), last=col("v").last()
    )
    t.check([bars, bars.changes(), bars.late], workers=[1, 3], batch_rows=[2], seeds=[1, 2], shuffle=False)


def test_the_same_window_gives_a_table_too() -> None:
    rows = pa.table({"ts": pa.array([1, 2, 3, 12], pa.timestamp("s")), "k": ["a", "a", "b", "b"]})
    counts = (
        sl.read_arrow(rows)
        .event_time("ts", max_delay="0s")
        .key_by("k")
        .window(sl.tumbling("5s"))
        .agg(n=sl.count())
    )
    most = counts.key_by().window(sl.same_window(), emit="updates")
    table = most.agg(n=col("n").max())
    assert table.keys == ("window_start", "window_end")
    assert table.collect()["n"].to_pylist() == [2, 1]


def test_what_the_plan_says() -> None:
    plain, early = updating(sl.tumbling("10ns"), 5), updating(sl.tumbling("10ns"), 5, early=2)
    assert "allowed_lateness='5ns', emit=\"updates\", early='2ns'" in early.explain()
    assert "deterministic" in plain.changes().explain()
    assert "early updates" in early.changes().explain() and "timing" in early.changes().explain()
    assert "state: open windows" in early.explain() and "deterministic" in early.explain()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: keyed().window(sl.tumbling("1s"), early="1s"), 'add emit="updates"'),
        (lambda: keyed().window(sl.tumbling("1s"), emit="always"), "'final' or 'updates'"),
        (
            lambda: keyed().window(sl.tumbling("1s"), emit="updates", early="0s").agg(n=sl.count()),
            "must be positive",
        ),
        (lambda: keyed().window(sl.tumbling("1s"), emit="updates").agg(revision=sl.count()), "'revision'"),
        (lambda: keyed().window(sl.tumbling("1s"), emit="updates").agg(change=sl.count()), "'change'"),
        (lambda: keyed().window("1s", emit="updates"), "needs a window"),
        (
            lambda: keyed().window(sl.session("1s", max_length="5s"), "1s", emit="updates").agg(n=sl.count()),
            "max_length and allowed_lateness",
        ),
        (lambda: updating(sl.tumbling("1s")).write_files("x.csv"), "rows of a table are replaced"),
    ],
)
def test_what_cannot_work_fails_when_it_is_built(build: Callable[[], object], message: str) -> None:
    with pytest.raises(BuildError, match=message):
        build()
