"""What runs for sessions with ``emit="updates"``: rows in, changes of the table of sessions out.

W is the watermark, L the allowed lateness. What a session is depends on which rows are taken, so there are
two answers: the sessions of the rows in time (mark <= t), which come out when W > last + gap, with
revision 0; and the sessions of all rows that are taken (mark <= t + L), when W > last + gap + L. Each of
the first lies in one of the second. Where one of the second has more rows than those in it, it takes their
place, with revision 1: as an update, where the bounds are the same, or else as an insert besides a delete of
each. A delete has the time of what takes its place, since its own may lie before the watermark sent on.

Both are kept: with allowed lateness a row costs twice what it does with ``emit="final"``.

Previews are of sessions in time that are open; one that has grown takes the place of what was shown of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan
from streamlib.contracts import Operator, Output, State
from streamlib.elements import Batch, add_time
from streamlib.graph import BuildContext
from streamlib.operators.tables.table_step import DELETE, INSERT, UPDATE
from streamlib.operators.windows.corrections import differ
from streamlib.operators.windows.previews import Pace
from streamlib.operators.windows.session import SessionAggregateNode
from streamlib.operators.windows.session_operator import SessionOperator, later
from streamlib.operators.windows.updating import CORRECTION, FIRST, changes
from streamlib.state import ClosedSessions, Order, OrderedBuffer, SlotTable, joined, with_fields

if TYPE_CHECKING:
    from streamlib.operators.windows.updates import SessionTableNode

Int64s = npt.NDArray[np.int64]
Selection = npt.NDArray[np.bool_]
_TIME = pa.timestamp("ns", "UTC")
_BESIDE = 3
"""Columns behind a result: the times of the session's first and last row, and how many rows it has."""


class SessionTableOperator(Operator):
    """The sessions of one worker's keys, and what has been shown of them.

    Attributes:
        first: the open sessions of rows in time.
        whole: those of all rows that are taken; None without allowed lateness, when these are the same.
    """

    def __init__(self, node: SessionTableNode, context: BuildContext) -> None:
        self.node = node
        self.batch_rows = context.batch_rows
        self.lateness = node.allowed_lateness
        self.whole = _sessions(node, context, self.lateness) if self.lateness else None
        self.first = _sessions(node, context, 0)
        self.first.late_read = context.late_read and self.whole is None
        self.judge = self.whole or self.first
        beside = [pa.field("first_time", _TIME), pa.field("last_time", _TIME), pa.field("rows", pa.int64())]
        self.shown_schema = with_fields(node.result_schema, beside)
        self.shown = OrderedBuffer(Order.ARRIVAL)
        self.previewed: Batch | None = None
        self.pace = None if node.early is None else Pace(node.early)

    # Rows in.

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Adds rows to their sessions; yields those that are late, if somebody reads them."""
        yield from self.first.on_batch(batch)
        if self.whole is not None:
            yield from self.whole.on_batch(batch)

    def check(self, batch: Batch, side: int = 0) -> None:
        """Raises for a row whose inputs cannot be computed; those of late rows are not."""
        self.judge.check(batch)

    # Changes out.

    def on_watermark(self, time: int) -> Iterator[Output]:
        """First results of the sessions that end before it, corrections of those that end before the lateness."""
        before = add_time(time, -self.lateness)
        self.first.release(time)
        yield from self._first_results(self.first.sessions.close(time, self.batch_rows))
        if self.whole is not None:
            self.whole.release(before)
            yield from self._corrections(self.whole.sessions.close(before, self.batch_rows), before)
        if self.pace is not None and self.pace.has_come(time):
            yield from self._previews()

    def on_end(self) -> Iterator[Output]:
        """First results and corrections of all sessions."""
        self.first.release(None)
        yield from self._first_results(self.first.sessions.close_all(self.batch_rows))
        if self.whole is not None:
            self.whole.release(None)
            yield from self._corrections(self.whole.sessions.close_all(self.batch_rows), None)

    def forward(self, watermark: int) -> int:
        """As sessions with ``emit="final"``: a correction comes when those would."""
        return self.judge.forward(watermark)

    def _first_results(self, parts: Sequence[ClosedSessions]) -> Iterator[Batch]:
        for part in parts:
            found = self._rows(part)
            if self.previewed is None:
                yield from self._changes(found, FIRST, INSERT)
            else:
                place = Replaced(self.node, found, self.previewed)
                yield from self._replace(place, FIRST, np.ones(len(found), dtype=np.bool_), None)
                self.previewed = self.previewed.filter(place.of < 0)
            if self.whole is not None:
                ends = later(_int64s(found, -2), self.node.window.gap)
                self.shown.add(Batch(found.rows, ends))

    def _corrections(self, parts: Sequence[ClosedSessions], before: int | None) -> Iterator[Batch]:
        """Sessions that are over, against what was shown of them: a session that was shown is part of one."""
        due = self.shown.release(before)
        if not parts:
            for batch in due:
                self.shown.add(batch)
            return
        found = joined([self._rows(part) for part in parts])
        place = Replaced(self.node, found, joined(due) if due else found.slice(0, 0))
        yield from self._replace(place, CORRECTION, place.differing(), FIRST)
        self.shown.add(place.old.filter(place.of < 0))  # what is in sessions that still go on

    def _previews(self) -> Iterator[Batch]:
        parts = [self._rows(part) for part in self.first.sessions.peek(self.batch_rows)]
        if not parts:
            return
        found = joined(parts)
        old = found.slice(0, 0) if self.previewed is None else self.previewed
        place = Replaced(self.node, found, old)
        yield from self._replace(place, None, place.grown, None)
        self.previewed = found

    def _replace(
        self, place: Replaced, revision: int | None, which: Selection, shown: int | None
    ) -> Iterator[Batch]:
        """Shows `which` of the new sessions, in the place of those that were shown of them, with revision `shown`."""
        gone = (place.of >= 0) & ~place.same
        gone[gone] = which[place.of[gone]]
        if gone.any():
            rows = place.old.filter(gone)
            times = place.new.time[place.of[gone]]  # type: ignore[index]
            yield from self._changes(Batch(rows.rows, times), shown, DELETE)
        if which.any():
            kinds = np.where(place.known, UPDATE, INSERT)[which]
            yield from self._changes(place.new.filter(which), revision, kinds)

    def _changes(
        self, found: Batch, revision: int | None, kinds: str | npt.NDArray[np.str_]
    ) -> Iterator[Batch]:
        results = found.rows.select(range(found.rows.num_columns - _BESIDE))
        batch = changes(self.node, found.with_rows(results), revision, kinds)
        for offset in range(0, len(batch), self.batch_rows):
            yield batch.slice(offset, min(self.batch_rows, len(batch) - offset))

    def _rows(self, part: ClosedSessions) -> Batch:
        """Results, and beside them what tells sessions apart."""
        result = self.first.result(part)
        beside = [
            pa.array(np.ascontiguousarray(part.first)).view(_TIME),
            pa.array(np.ascontiguousarray(part.last)).view(_TIME),
            pa.array(np.ascontiguousarray(part.closed.state[:, 0])),
        ]
        rows = pa.RecordBatch.from_arrays([*result.rows.columns, *beside], schema=self.shown_schema)
        return Batch(rows, result.time)

    # Barriers and looks.

    def snapshot(self) -> State:
        """The open sessions of both kinds with the rows that wait, and what was shown."""
        state = dict(self.first.snapshot())
        if self.whole is not None:
            state.update({f"whole_{name}": table for name, table in self.whole.snapshot().items()})
            state["shown"] = self.shown.snapshot(self.shown_schema)
        if self.previewed is not None:
            state["previews"] = pa.Table.from_batches([self.previewed.rows])
        return state

    def restore(self, state: State) -> None:
        """Takes in what belongs to this worker's keys."""
        self.first.restore(state)
        if self.whole is not None:
            self.whole.restore(
                {name.removeprefix("whole_"): t for name, t in state.items() if name.startswith("whole_")}
            )
            if "shown" in state:
                self.shown.restore(state["shown"])
        if "previews" in state and state["previews"].num_rows:
            rows = state["previews"].combine_chunks().to_batches()[0]
            shown = Batch(rows, later(_int64s(Batch(rows), -2), self.node.window.gap) - 1)
            self.previewed = shown if self.previewed is None else joined([self.previewed, shown])

    def open_windows(self) -> tuple[int, int | None]:
        """Sessions that are open, and the end of the earliest, ns; with allowed lateness until that is over."""
        count, end = self.first.open_windows()
        if self.whole is None:
            return count, end
        all_open, first_end = self.whole.open_windows()
        return max(count, all_open), first_end if end is None else end

    def open_rows(self) -> int:
        """Rows that no result has."""
        if self.whole is None:
            return self.first.open_rows()
        shown = self.shown.waiting()
        return self.whole.open_rows() - (0 if shown is None else int(_int64s(shown, -1).sum()))

    def counters(self) -> dict[str, int]:
        """Late rows, and by how much the mark of the latest was past what was taken, ns."""
        return self.judge.counters()


class Replaced:
    """Sessions, and which of them takes the place of which that were shown.

    Args:
        node: whose sessions.
        new: their rows.
        old: the rows of those that were shown.

    Attributes:
        of: by old session the new one that it is a part of; -1 where there is none.
        same: by old session whether its new one has the same bounds.
        known: by new session whether an old one has the same bounds.
        grown: by new session whether it has more rows than its old ones.
    """

    def __init__(self, node: SessionTableNode, new: Batch, old: Batch) -> None:
        self.node, self.new, self.old = node, new, old
        self.of = _covering(node, new, old)
        found = self.of >= 0
        of = self.of[found]
        self.same = found.copy()
        for column in (-3, -2):
            self.same[found] &= _int64s(old, column)[found] == _int64s(new, column)[of]
        self.known = np.zeros(len(new), dtype=np.bool_)
        self.known[self.of[self.same]] = True
        rows = np.zeros(len(new), dtype=np.int64)
        np.add.at(rows, of, _int64s(old, -1)[found])
        self.grown: Selection = rows != _int64s(new, -1)

    def differing(self) -> Selection:
        """By new session whether it is another one than what was shown: in bounds or in values."""
        at = np.flatnonzero(self.same & self.grown[self.of])
        differing = self.grown.copy()
        if len(at):
            old, new = self.old.rows.take(pa.array(at)), self.new.rows.take(pa.array(self.of[at]))
            differing[self.of[at]] = differ(old, new, list(self.node.aggregates))
        return differing


def _covering(node: SessionTableNode, new: Batch, old: Batch) -> Int64s:
    """By old session the new one of its key that it lies in; -1 where there is none."""
    count = len(new)
    if not len(old):
        return np.empty(0, dtype=np.int64)
    names = list(node.keys)
    keys = np.zeros(count + len(old), dtype=np.int64)
    if names and len(keys):
        both = pa.concat_batches([new.rows.select(names), old.rows.select(names)])
        keys = SlotTable(list(both.schema), AccumulatorPlan([])).find(both)
    first = np.concatenate([_int64s(new, -3), _int64s(old, -3)])
    is_old = np.arange(len(keys)) >= count
    order = np.lexsort((is_old, first, keys))
    # In this order the new session that an old one lies in is the last new one before it.
    before = np.maximum.accumulate(np.where(is_old[order], -1, np.arange(len(order))))
    nearest = np.where(before < 0, -1, order[before])
    found = np.empty(len(keys), dtype=np.int64)
    found[order] = nearest
    of = found[count:]
    held = of >= 0
    held[held] &= keys[count:][held] == keys[of[held]]
    held[held] &= _int64s(old, -2)[held] <= _int64s(new, -2)[of[held]]
    return np.where(held, of, -1)


def _sessions(node: SessionTableNode, context: BuildContext, lateness: int) -> SessionOperator:
    """The sessions of the rows that are taken with a lateness, as with ``emit="final"``."""
    plain = SessionAggregateNode(
        inputs=node.inputs,
        at=node.at,
        name=node.label,
        window=node.window,
        allowed_lateness=lateness,
        aggregates=node.aggregates,
    )
    return SessionOperator(plain, context)


def _int64s(batch: Batch, column: int) -> Int64s:
    """A column of integers or times, as int64."""
    return np.asarray(batch.rows.column(column).view(pa.int64()))
