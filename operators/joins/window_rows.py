"""The rows of both sides of a window join that wait for their windows to close, by kind of window.

Each takes rows by side and gives, for a watermark, those of the windows that it closes: with every row the
*group* it is in. Rows of one key and group belong together. A group has bounds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan
from streamlib.aggregates.lists import List
from streamlib.contracts import OverlappingWindow, Window
from streamlib.elements import MAX_TIME, MIN_TIME, Batch
from streamlib.operators.joins.sides import LEFT, RIGHT
from streamlib.operators.windows.session import SessionWindow
from streamlib.state import Order, OrderedBuffer, SessionTable, joined
from streamlib.state.joins.numbered_rows import NumberedRows

Int64s = npt.NDArray[np.int64]
Bounds = Callable[[Int64s], tuple[Int64s, Int64s]]


class Missed(NamedTuple):
    """The rows of a batch that are late for a window or more.

    Attributes:
        rows: which these are, of the batch's rows; the next have an entry for each.
        late_by: by how much the mark has passed the closing of the first window missed, ns.
        windows: how many windows were missed.
        starts, ends: the bounds of the first one, ns.
        taken: of the batch's rows, those that another window takes.
        begins: of these, the first window that does; None where they do not overlap.
    """

    rows: npt.NDArray[np.bool_]
    late_by: Int64s
    windows: Int64s
    starts: Int64s
    ends: Int64s
    taken: npt.NDArray[np.bool_]
    begins: Int64s | None = None


class Side(NamedTuple):
    """Rows of one side and the group of each; no batch where there are none."""

    batch: Batch | None
    groups: Int64s


@dataclass(frozen=True, slots=True)
class Ripe:
    """The rows of windows that have closed.

    Attributes:
        sides: by side.
        bounds: start and end of groups, ns.
        same_key: whether all rows of a group have one key.
    """

    sides: tuple[Side, Side]
    bounds: Bounds
    same_key: bool = False


class WindowRows(ABC):
    """Rows that wait."""

    rows = 0

    @abstractmethod
    def missed(self, batch: Batch) -> Missed | None:
        """The rows that their mark makes late for a window; None when none is."""

    @abstractmethod
    def add(self, batch: Batch, side: int, keys: pa.RecordBatch, begins: Int64s | None = None) -> None:
        """Takes rows; `begins` is that of `Missed`."""

    @abstractmethod
    def close(self, limit: int | None) -> Iterator[Ripe]:
        """Takes out the windows that end by a time less L, ns; all for None."""

    @abstractmethod
    def waiting(self, side: int) -> tuple[Batch | None, Int64s | None]:
        """All rows of a side, and the first window of each where they overlap."""

    @abstractmethod
    def earliest(self) -> int | None:
        """When the first window ends, ns, about; None when no row waits."""


def lowered(marks: Int64s, lateness: int) -> Int64s:
    """The marks less L, held at the earliest time; below the latest, whose windows the input's end closes."""
    held = marks.clip(None, MAX_TIME - 1)
    return np.where(held < MIN_TIME + lateness, MIN_TIME, held - lateness)


class FixedRows(WindowRows):
    """Rows by windows that do not overlap.

    Args:
        window: says which window a time is in.
        lateness: L, ns.
    """

    def __init__(self, window: Window, lateness: int) -> None:
        self.window, self.lateness = window, lateness
        self._buffers = (OrderedBuffer(Order.ARRIVAL), OrderedBuffer(Order.ARRIVAL))

    @property
    def rows(self) -> int:  # type: ignore[override]
        """How many wait."""
        return sum(buffer.rows for buffer in self._buffers)

    def missed(self, batch: Batch) -> Missed | None:
        if batch.mark is None or batch.time is None:
            return None
        due = lowered(batch.mark, self.lateness)
        late = due > batch.time
        if not late.any():
            return None
        starts = self.window.starts(batch.time[late])
        ends = self.window.ends(starts)
        over = due[late] >= ends
        if not over.any():
            return None
        late[late] = over
        late_by = batch.mark[late] - ends[over] - self.lateness
        return Missed(late, late_by, np.ones(len(late_by), np.int64), starts[over], ends[over], ~late)

    def add(self, batch: Batch, side: int, keys: pa.RecordBatch, begins: Int64s | None = None) -> None:
        self._buffers[side].add(batch)

    def close(self, limit: int | None) -> Iterator[Ripe]:
        before = None if limit is None else int(self.window.starts(np.array([limit]))[0])
        sides = []
        for buffer in self._buffers:
            released = buffer.release(before)
            batch = joined(released) if released else None
            groups = np.empty(0, np.int64)
            if batch is not None and batch.time is not None:
                groups = self.window.starts(batch.time)
            sides.append(Side(batch, groups))
        if any(side.batch is not None for side in sides):
            yield Ripe((sides[LEFT], sides[RIGHT]), lambda starts: (starts, self.window.ends(starts)))

    def waiting(self, side: int) -> tuple[Batch | None, Int64s | None]:
        return self._buffers[side].waiting(), None

    def earliest(self) -> int | None:
        low = min(buffer.low for buffer in self._buffers)
        return self.window.end(int(self.window.starts(np.array([low]))[0])) if self.rows else None


@dataclass(slots=True)
class _Piece:
    """Rows of overlapping windows; `begins` is MIN_TIME where all windows take a row."""

    batch: Batch
    begins: Int64s
    low: int
    high: int


class OverlappingRows(WindowRows):
    """Rows by windows that overlap: a row stays until the last of its windows has closed.

    Args:
        window: says which windows a time is in.
        lateness: L, ns.
    """

    def __init__(self, window: OverlappingWindow, lateness: int) -> None:
        self.window, self.lateness = window, lateness
        self._pieces: tuple[list[_Piece], list[_Piece]] = ([], [])
        self._next = MIN_TIME

    @property
    def rows(self) -> int:  # type: ignore[override]
        """How many wait."""
        return sum(len(piece.batch) for pieces in self._pieces for piece in pieces)

    def missed(self, batch: Batch) -> Missed | None:
        if batch.mark is None or batch.time is None:
            return None
        first = self.window.first(batch.time)
        begins = np.maximum(
            first, self.window.first(np.maximum(batch.time, lowered(batch.mark, self.lateness)))
        )
        late = begins > first
        if not late.any():
            return None
        last, firsts = self.window.last(batch.time), first[late]
        ends = self.window.ends(firsts)
        return Missed(
            late,
            batch.mark[late] - ends - self.lateness,
            np.minimum(begins, last + 1)[late] - firsts,
            self.window.starts(firsts),
            ends,
            begins <= last,
            np.where(late, begins, MIN_TIME)[begins <= last],
        )

    def add(self, batch: Batch, side: int, keys: pa.RecordBatch, begins: Int64s | None = None) -> None:
        if not len(batch):
            return
        assert batch.time is not None
        begins = np.full(len(batch), MIN_TIME) if begins is None else begins
        piece = _Piece(Batch(batch.rows, batch.time), begins, int(batch.time.min()), int(batch.time.max()))
        pieces = self._pieces[side]
        pieces.append(piece)
        while len(pieces) > 1 and len(pieces[-2].batch) <= 2 * len(pieces[-1].batch):
            two, one = pieces.pop(), pieces.pop()
            begins = np.concatenate([one.begins, two.begins])
            both = joined([one.batch, two.batch])
            pieces.append(_Piece(both, begins, min(one.low, two.low), max(one.high, two.high)))

    def close(self, limit: int | None) -> Iterator[Ripe]:
        while (low := self._low()) is not None:
            number = max(self._next, int(self.window.first(np.array([low]))[0]))
            start, end = self.window.bounds(number)
            if limit is not None and (end > limit or end == MAX_TIME):
                return
            sides = [self._of_window(pieces, number, start, end) for pieces in self._pieces]
            if any(side.batch is not None for side in sides):
                yield Ripe((sides[LEFT], sides[RIGHT]), _constant(start, end))
            self._next = number + 1
            self._drop(number)

    def _low(self) -> int | None:
        lows = [piece.low for pieces in self._pieces for piece in pieces]
        return min(lows) if lows else None

    def _of_window(self, pieces: Sequence[_Piece], number: int, start: int, end: int) -> Side:
        found = []
        for piece in pieces:
            time = piece.batch.time
            assert time is not None
            if piece.high < start or piece.low > end:
                continue
            chosen = (time >= start) & (time < end) & (piece.begins <= number)
            if end == MAX_TIME:
                chosen |= (time == MAX_TIME) & (piece.begins <= number)
            if chosen.all():
                found.append(piece.batch)
            elif chosen.any():
                found.append(piece.batch.filter(chosen))
        batch = joined(found) if found else None
        return Side(batch, np.zeros(0 if batch is None else len(batch), np.int64))

    def _drop(self, number: int) -> None:
        """Drops the rows whose last window this was."""
        for pieces in self._pieces:
            kept = []
            for piece in pieces:
                assert piece.batch.time is not None
                if int(self.window.last(np.array([piece.low]))[0]) <= number:
                    stays = self.window.last(piece.batch.time) > number
                    if not stays.any():
                        continue
                    batch = piece.batch.filter(stays)
                    assert batch.time is not None
                    piece = _Piece(batch, piece.begins[stays], int(batch.time.min()), piece.high)
                kept.append(piece)
            pieces[:] = kept

    def waiting(self, side: int) -> tuple[Batch | None, Int64s | None]:
        pieces = self._pieces[side]
        if not pieces:
            return None, None
        # A window that has closed here must not come out again where the rows are restored.
        begins = np.concatenate([piece.begins for piece in pieces])
        return joined([piece.batch for piece in pieces]), np.maximum(begins, self._next)

    def earliest(self) -> int | None:
        low = self._low()
        if low is None:
            return None
        return self.window.bounds(max(self._next, int(self.window.first(np.array([low]))[0])))[1]


def _constant(start: int, end: int) -> Bounds:
    return lambda groups: (np.full(len(groups), start), np.full(len(groups), end))


class SessionRows(WindowRows):
    """Rows by sessions, which the rows of both sides make together.

    Args:
        window: the gap.
        lateness: L, ns.
        key_fields: the keys.
    """

    def __init__(self, window: SessionWindow, lateness: int, key_fields: Sequence[pa.Field]) -> None:
        self.gap, self.lateness = window.gap, lateness
        plan = AccumulatorPlan([(List(), 0, pa.int64())])
        self._sessions = SessionTable(key_fields, plan, window.gap)
        self._rows = (NumberedRows(), NumberedRows())
        self._next = 0

    @property
    def rows(self) -> int:  # type: ignore[override]
        """How many wait."""
        return sum(rows.rows for rows in self._rows)

    def missed(self, batch: Batch) -> Missed | None:
        if batch.mark is None or batch.time is None:
            return None
        due = np.where(batch.mark < MIN_TIME + self.lateness, MIN_TIME, batch.mark - self.lateness)
        late = due > batch.time
        if not late.any():
            return None
        time = batch.time[late]
        ends = np.where(time > MAX_TIME - self.gap, MAX_TIME, time + self.gap)
        return Missed(late, due[late] - time, np.ones(len(time), np.int64), time, ends, ~late)

    def add(self, batch: Batch, side: int, keys: pa.RecordBatch, begins: Int64s | None = None) -> None:
        if not len(batch):
            return
        assert batch.time is not None
        numbers = np.arange(self._next, self._next + len(batch))
        self._next += len(batch)
        self._rows[side].add(batch, numbers)
        self._sessions.add(keys, [pa.array(2 * numbers + side)], batch.time)

    def close(self, limit: int | None) -> Iterator[Ripe]:
        parts = self._sessions.close_all() if limit is None else self._sessions.close(limit)
        for part in parts:
            lists = part.closed.results()[0]
            numbers = np.asarray(lists.flatten())
            lengths = np.diff(np.asarray(lists.offsets))
            groups = np.repeat(np.arange(len(part)), lengths)
            sides = []
            for side in (LEFT, RIGHT):
                mine = (numbers & 1) == side
                sides.append(Side(self._rows[side].take_out(numbers[mine] >> 1), groups[mine]))
            ends = np.where(part.last > MAX_TIME - self.gap, MAX_TIME, part.last + self.gap)
            yield Ripe((sides[LEFT], sides[RIGHT]), _indexed(part.first, ends), same_key=True)

    def waiting(self, side: int) -> tuple[Batch | None, Int64s | None]:
        return self._rows[side].all(), None

    def earliest(self) -> int | None:
        return self._sessions.earliest()


def _indexed(starts: Int64s, ends: Int64s) -> Bounds:
    return lambda groups: (starts[groups], ends[groups])
