"""Window joins: which rows meet, when results come out and with which time, what is sent on, and what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.elements import MAX_TIME, MIN_TIME
from streamlib.operators.joins.window_join_operator import WindowJoinOperator
from streamlib.testing.harness import Harness
from tests.operators.joins.test_interval_join import LEFT, NAN, RIGHT, A, B, Event, Row, _equal, empty, table

WINDOWS: dict[str, Any] = {
    "tumbling": sl.tumbling("5ns"),
    "hopping": sl.hopping("7ns", every="3ns", offset="1ns"),
    "whole hops": sl.hopping("6ns", every="2ns"),
    "session": sl.session("3ns"),
}


@dataclass(frozen=True)
class Options:
    window: str
    how: str
    where: bool
    lateness: int

    def join(self) -> sl.Stream:
        return empty(A).join(
            empty(B),
            on="k",
            window=WINDOWS[self.window],
            how=self.how,
            where=col("a") % 2 == col("b") % 2 if self.where else None,
            allowed_lateness=f"{self.lateness}ns",
        )

    @property
    def is_session(self) -> bool:
        return self.window == "session"

    def windows(
        self, lefts: Sequence[Row], rights: Sequence[Row]
    ) -> list[tuple[int, int, list[Row], list[Row]]]:
        """Each window with its bounds and its rows of both sides, by the rule alone."""
        window = WINDOWS[self.window]
        if self.is_session:
            return self._sessions(lefts, rights)
        every, offset = getattr(window, "every", window.size), window.offset
        found = []
        for number in range(-20, 200):
            start = number * every + offset
            end = start + window.size
            inside = [[row for row in rows if start <= row[0] < end] for rows in (lefts, rights)]
            if any(inside):
                found.append((start, end, *inside))
        return found

    def _sessions(
        self, lefts: Sequence[Row], rights: Sequence[Row]
    ) -> list[tuple[int, int, list[Row], list[Row]]]:
        gap = WINDOWS[self.window].gap
        rows = [(row, LEFT) for row in lefts] + [(row, RIGHT) for row in rights]
        by_key: dict[str, list[tuple[Row, int]]] = {}
        for row, side in sorted(rows, key=lambda item: item[0][0]):
            by_key.setdefault(str(None if row[1] is None else row[1] + 0.0), []).append((row, side))
        found = []
        for items in by_key.values():
            session: list[tuple[Row, int]] = []
            for item in [*items, None]:
                if session and (item is None or item[0][0] - session[-1][0][0] > gap):
                    inside = [[row for row, at in session if at == side] for side in (LEFT, RIGHT)]
                    found.append((session[0][0][0], session[-1][0][0] + gap, *inside))
                    session = []
                if item is not None:
                    session.append(item)
        return found

    def results(self, lefts: Sequence[Row], rights: Sequence[Row], reached: int) -> list[tuple[Any, ...]]:
        """What has come out when the watermark has reached a time."""
        found: list[tuple[Any, ...]] = []
        for start, end, mine, others in self.windows(lefts, rights):
            closing = end + self.lateness
            if reached != MAX_TIME and not (reached > closing if self.is_session else reached >= closing):
                continue
            pairs = [
                (a, b)
                for a in mine
                for b in others
                if _equal(a[1], b[1]) and (not self.where or a[2] % 2 == b[2] % 2)
            ]
            rows: list[tuple[Any, Any]] = []
            if self.how in ("inner", "left", "right", "full"):
                rows += [(a[2], b[2]) for a, b in pairs]
            if self.how in ("left", "full", "anti"):
                rows += [(a[2], None) for a in mine if a not in [pair[0] for pair in pairs]]
            if self.how in ("right", "full"):
                rows += [(None, b[2]) for b in others if b not in [pair[1] for pair in pairs]]
            if self.how == "semi":
                rows += [(a[2], None) for a in mine if a in [pair[0] for pair in pairs]]
            found += [(*row, start, end, end - 1) for row in rows]
        return found


@st.composite
def plays(draw: st.DrawFn) -> tuple[Options, list[Event]]:
    """Rows of both sides, a watermark that rises, and barriers after which a fresh operator goes on."""
    options = Options(
        draw(st.sampled_from(sorted(WINDOWS))),
        draw(st.sampled_from(["inner", "left", "right", "full", "semi", "anti"])),
        draw(st.booleans()),
        draw(st.sampled_from([0, 0, 2])),
    )
    reached, events, number = 0, [], 0
    keys = st.sampled_from([0.0, -0.0, 1.0, 1.0, NAN, None])
    for _ in range(draw(st.integers(0, 20))):
        what = draw(st.sampled_from(["rows", "rows", "rows", "watermark", "watermark", "restore"]))
        if what == "rows":
            side = draw(st.sampled_from([LEFT, RIGHT]))
            offsets = draw(st.lists(st.integers(0, 12), min_size=1, max_size=4))
            rows = [(reached + n, draw(keys), number + i) for i, n in enumerate(offsets)]
            number += len(rows)
            events.append(("rows", (side, rows)))
        elif what == "watermark":
            reached += draw(st.integers(1, 9))
            events.append(("watermark", reached))
        else:
            events.append(("restore", None))
    return options, events


@dataclass
class Played:
    """An operator, its progress, and what has come in."""

    driven: Harness
    options: Options
    reached: int = MIN_TIME
    sent: int = MIN_TIME
    came: tuple[list[Row], list[Row]] = field(default_factory=lambda: ([], []))
    out: list[tuple[Any, ...]] = field(default_factory=list)

    def check(self) -> None:
        for tag, batch in self.driven.outputs:
            assert tag is None, "no row was late"
            assert batch.time is not None and not (batch.time < self.sent).any()
            for row, time in zip(batch.rows.to_pylist(), batch.time.tolist(), strict=True):
                bounds = row["window_start"].value, row["window_end"].value
                self.out.append((row.get("a"), row.get("b"), *bounds, time))
        self.driven.outputs.clear()
        wanted = self.options.results(*self.came, self.reached)
        assert sorted(self.out, key=str) == sorted(wanted, key=str)


@given(play=plays())
@example(
    play=(
        Options("session", "left", False, 0),
        [("rows", (LEFT, [(3, None, 0)])), ("rows", (RIGHT, [(2, None, 1)]))],
    )
)
def test_results_come_out_once_when_their_window_closes(play: tuple[Options, list[Event]]) -> None:
    options, events = play
    played = Played(t.harness(options.join(), batch_rows=3), options)
    for what, event in events:
        if what == "rows":
            side, rows = event
            played.came[side].extend(rows)
            played.driven.feed(table(rows, (A, B)[side]), side=side)
        elif what == "watermark":
            played.reached = event
            played.driven.watermark(event)
            played.check()
            played.sent = event - options.lateness - options.is_session
            assert played.driven.forwarded == played.sent
        else:
            fed = played.driven._fed
            played.driven = played.driven.restored(played.driven.barrier())
            played.driven._fed = fed
        played.check()
    played.driven.end()
    played.reached = MAX_TIME
    played.check()
    assert played.driven.operator.open_windows() == (0, None)


@pytest.mark.parametrize("name", sorted(WINDOWS))
def test_rows_go_with_their_last_window(name: str) -> None:
    driven = t.harness(Options(name, "full", False, 0).join())
    for begin in range(0, 1_000, 200):
        rows = [(n, float(n), n) for n in range(begin, begin + 200)]
        driven.feed(table(rows, A))
        driven.feed(table(rows, B), side=RIGHT)
        driven.watermark(begin + 200)
        assert isinstance(driven.operator, WindowJoinOperator)
        assert driven.operator.open_rows() < 40


def test_a_row_may_be_late_for_some_windows_only() -> None:
    """Its mark has closed the first windows that hold it, and the watermark none of them."""
    driven = t.harness(Options("whole hops", "inner", False, 0).join())
    driven.feed(table([(5, 1.0, 1)], A))
    driven.feed(table([(5, 1.0, 2)], B), mark=8, side=RIGHT)
    late = driven.rows("late_right").to_pylist()
    assert [(row["b"], row["windows_late"], row["window_start"].value) for row in late] == [(2, 2, 0)]
    assert driven.operator.counters() == {"late": 1, "late_left": 0, "late_right": 1, "late_by_max": 2}
    bounds = [row["window_start"].value for row in driven.end().to_pylist()]
    assert bounds == [4]
