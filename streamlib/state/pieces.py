"""Batches that wait, each put in the order of time for itself, and cuts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.elements import Batch
from streamlib.kernels.sorting import gather_values, order_ties, part_rows, spread
from streamlib.state.gathering import KERNEL_ROWS_MIN, gathered, has_times, sorted_by_time, times_among
from streamlib.state.packed import PackedRows, Packer
from streamlib.state.pane import address
from streamlib.state.slabs import lasting_room, room

Int64s = npt.NDArray[np.int64]

PARTED_MAX = 3
"""A batch is looked through so often for rows that go, before those that are left are put in the order of time."""
_FEW = 8
"""To take one row of more than so many from columns costs less than to make records of all."""


class Piece:
    """Some rows that came after one another, of which the earliest may have gone.

    They are put in the order of time when they are cut for the first time; from then on a cut is a slice.
    Where rows may come out in any order they are only parted, as long as that is not asked for often.

    Args:
        packer: makes records of the rows, and takes them from there.
        parts: whether rows may come out in any order.

    Attributes:
        batch: all rows, in the order of their arrival.
        packed: their records.
        sorted: whether that is the order of time, and of `order` where times are equal.
        at: how many have gone.
        notes: what the step that takes the rows from where they lie knows of them.
    """

    __slots__ = (
        "_codes",
        "_low",
        "_parted",
        "_times",
        "at",
        "batch",
        "high",
        "notes",
        "packed",
        "packer",
        "sorted",
    )

    def __init__(self, batch: Batch, packer: Packer, parts: bool = False) -> None:
        assert batch.time is not None, "rows are ordered by event time"
        self.batch, self.packer = batch, packer
        self.packed = PackedRows(batch.rows)
        self.at = 0
        self.notes: object = None
        self._low, self.high, rises = _spread(batch.time)
        self.sorted = rises and ties_rise(batch)
        self._times: Int64s | None = batch.time if self.sorted else None
        self._codes: Int64s | None = None
        self._parted = 0 if parts and not self.sorted and len(batch) >= KERNEL_ROWS_MIN else PARTED_MAX

    def __len__(self) -> int:
        return len(self.batch) - self.at

    @property
    def low(self) -> int:
        """The earliest time, ns."""
        return self._low if self._times is None else int(self._times[self.at])

    def cut(self, before: int | None) -> Cut:
        """Takes out the rows before a time; all when None."""
        begin, end = self.at, len(self.batch)
        if before is not None and self.high >= before:
            if self._times is None and self._parted < PARTED_MAX:
                end = begin + self._part(before)
            else:
                end = begin + int(np.searchsorted(self.times[begin:], before))
        self.at = end
        return Cut(self, begin, end)

    @property
    def is_parted(self) -> bool:
        """Whether the rows have been parted, and not been put in the order of time."""
        return self._times is None and self._codes is not None

    def _part(self, before: int) -> int:
        """Puts the rows before a time in front of the others that are left; how many they are."""
        time, rows = self.batch.time, len(self.batch)
        assert time is not None
        first = self._codes is None
        if self._codes is None:
            self._codes = room(rows)
        low = np.empty(1, dtype=np.int64)
        going = part_rows(
            np.ascontiguousarray(time), self._codes[self.at :], room(len(self)), first, before, low
        )
        self._low = int(low[0])
        self._parted += 1
        return going

    @property
    def times(self) -> Int64s:
        """The times of all rows that have not gone, rising, and before them those that have."""
        if self._times is None:
            time, left, lasting = self.batch.time, self._codes, has_times(self.batch.rows.schema)
            assert time is not None
            if left is None:
                self._times, self._codes = sorted_by_time(time, lasting=lasting)
            else:
                left, self._times = left[self.at :], (lasting_room if lasting else room)(len(time))
                self._times[self.at :], left[:] = sorted_by_time(time[left], left)
        return self._times

    @property
    def codes(self) -> Int64s:
        """The places of all rows by time."""
        if self._codes is None:
            rows = len(self.batch)
            if self.sorted:
                return np.arange(rows, dtype=np.int64)
            self.times  # noqa: B018 - they are found together
        assert self._codes is not None
        return self._codes

    def rest(self) -> Batch:
        """The rows that have not gone; those of one time in the order of their arrival."""
        return Cut(self, self.at, len(self.batch)).batch()


@dataclass(frozen=True, slots=True)
class Cut:
    """Rows of a piece, from `begin` to `end` in the order of time."""

    piece: Piece
    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the batch that came."""
        return len(self) == len(self.piece.batch)

    def batch(self) -> Batch:
        """The rows; those of a whole batch as they came, others by time."""
        batch = self.piece.batch
        if self.piece.sorted or self.is_whole:
            return batch.slice(self.begin, len(self))
        codes = self.piece.codes[self.begin : self.end]
        if len(codes) < KERNEL_ROWS_MIN:
            return batch.take(codes)
        if self.piece.is_parted:
            time = lasting_room(len(codes))
            assert batch.time is not None
            gather_values(np.array([address(np.ascontiguousarray(batch.time))]), codes, 8, address(time))
            return rows_gathered([self.piece], time, codes, by_order=False)
        return rows_gathered([self.piece], self.piece.times[self.begin : self.end], codes, by_order=False)


@dataclass(frozen=True, slots=True)
class NamedRows:
    """Rows of pieces in the order of time, where they lie.

    Attributes:
        codes: the number of the piece above 32 bits of the row in its batch.
    """

    pieces: Sequence[Piece]
    time: Int64s
    codes: Int64s

    def __len__(self) -> int:
        return len(self.codes)

    def ranked(self) -> NamedRows:
        """The same, those of one time by their order where they have one."""
        batches = [piece.batch for piece in self.pieces]
        if _follow(batches):
            return self
        codes, _ = _ranked(batches, self.time, self.codes, by_order=True)
        return NamedRows(self.pieces, self.time, codes)

    def batch(self) -> Batch:
        """The rows, taken from there."""
        return rows_gathered(self.pieces, self.time, self.codes)


def rows_gathered(pieces: Sequence[Piece], time: Int64s, codes: Int64s, by_order: bool = True) -> Batch:
    """The rows that codes name, which are in the order of time; those of one time by their order, if asked."""
    batches = [piece.batch for piece in pieces]
    codes, order = _ranked(batches, time, codes, by_order)
    rows = [batch.rows for batch in batches]
    times = [batch.time for batch in batches if batch.time is not None]
    made: dict[int, pa.Array] = {}
    if not pieces[0].is_parted and _are_worth_packing(pieces, len(codes)):
        made = pieces[0].packer.columns([piece.packed for piece in pieces], codes, times_among(rows, times))
    return Batch(gathered(rows, codes, times, time, made), time, order=order)


def _ranked(
    batches: Sequence[Batch], time: Int64s, codes: Int64s, by_order: bool
) -> tuple[Int64s, Int64s | None]:
    """The codes, those of one time by their order if asked; and the order of each, where all batches have one."""
    found = [
        np.ascontiguousarray(order) for order in (batch.orders() for batch in batches) if order is not None
    ]
    if len(found) < len(batches):
        return codes, None
    order, codes = room(len(codes)), codes.copy()
    starts = np.array([address(one) for one in found], dtype=np.int64)
    gather_values(starts, codes, 8, address(order))
    if by_order and not order_ties(time, codes, order):
        places = np.lexsort((order, time))
        codes, order = codes[places], order[places]
    return codes, order


def _follow(batches: Sequence[Batch]) -> bool:
    """Whether the order of rows is that in which they stand in the batches, or they have none."""
    orders = [batch.order for batch in batches]
    if any(order is None for order in orders):
        return True
    after = [
        order + len(batch) for batch, order in zip(batches, orders, strict=True) if isinstance(order, int)
    ]
    return len(after) == len(orders) and all(
        end <= order for end, order in zip(after, orders[1:], strict=False) if isinstance(order, int)
    )


def _are_worth_packing(pieces: Sequence[Piece], rows: int) -> bool:
    """Whether to make records of batches of which some rows are taken, in any order, where there are none yet."""
    return sum(len(piece.batch) for piece in pieces if piece.packed.memory is None) <= _FEW * rows


def _spread(time: Int64s) -> tuple[int, int, bool]:
    """The least and the largest time, and whether all rise."""
    if len(time) < KERNEL_ROWS_MIN:
        return int(time.min()), int(time.max()), bool((time[1:] >= time[:-1]).all())
    out = np.empty(2, dtype=np.int64)
    falls = spread(np.ascontiguousarray(time), out)
    return int(out[0]), int(out[1]), falls == 0


def is_rising(batch: Batch) -> bool:
    """Whether rows are in the order of time, and of their order where they have one."""
    time = batch.time
    assert time is not None
    return bool((time[1:] >= time[:-1]).all()) and ties_rise(batch)


def ties_rise(batch: Batch) -> bool:
    """Whether rows of one time, where times rise, are in their order, where they have one."""
    if batch.order is None or isinstance(batch.order, int):
        return True
    time, ranks = batch.time, batch.order
    assert time is not None
    return bool(((time[1:] > time[:-1]) | (ranks[1:] >= ranks[:-1])).all())
