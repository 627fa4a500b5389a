"""Batches that wait, each put in the order of time for itself, and cuts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamlib.elements import Batch
from streamlib.kernels.sorting import gather_values, order_ties, spread
from streamlib.state.gathering import KERNEL_ROWS_MIN, gathered, has_times, sorted_by_time, times_among
from streamlib.state.packed import PackedRows, Packer
from streamlib.state.pane import address
from streamlib.state.slabs import room

Int64s = npt.NDArray[np.int64]


class Piece:
    """Some rows that came after one another, of which the earliest may have gone.

    They are put in the order of time when they are cut for the first time; from then on a cut is a slice.

    Args:
        packer: makes records of the rows, and takes them from there.

    Attributes:
        batch: all rows, in the order of their arrival.
        packed: their records.
        sorted: whether that is the order of time, and of `order` where times are equal.
        at: how many have gone.
    """

    __slots__ = ("_codes", "_low", "_times", "at", "batch", "high", "packed", "packer", "sorted")

    def __init__(self, batch: Batch, packer: Packer) -> None:
        assert batch.time is not None, "rows are ordered by event time"
        self.batch, self.packer = batch, packer
        self.packed = PackedRows(batch.rows)
        self.at = 0
        self._low, self.high, rises = _spread(batch.time)
        self.sorted = rises and ties_rise(batch)
        self._times: Int64s | None = batch.time if self.sorted else None
        self._codes: Int64s | None = None

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
            end = int(np.searchsorted(self.times, before))
        self.at = end
        return Cut(self, begin, end)

    @property
    def times(self) -> Int64s:
        """The times of all rows, rising."""
        if self._times is None:
            time = self.batch.time
            assert time is not None
            self._times, self._codes = sorted_by_time(time, lasting=has_times(self.batch.rows.schema))
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
        return rows_gathered([self.piece], self.piece.times[self.begin : self.end], codes, by_order=False)


def rows_gathered(pieces: Sequence[Piece], time: Int64s, codes: Int64s, by_order: bool = True) -> Batch:
    """The rows that codes name, which are in the order of time; those of one time by their order, if asked."""
    batches = [piece.batch for piece in pieces]
    orders = [batch.orders() for batch in batches]
    found = [np.ascontiguousarray(order) for order in orders if order is not None]
    order: Int64s | None = None
    if len(found) == len(batches):
        order, codes = room(len(codes)), codes.copy()
        starts = np.array([address(one) for one in found], dtype=np.int64)
        gather_values(starts, codes, 8, address(order))
        if by_order and not order_ties(time, codes, order):
            places = np.lexsort((order, time))
            codes, order = codes[places], order[places]
    rows = [batch.rows for batch in batches]
    times = [batch.time for batch in batches if batch.time is not None]
    made = pieces[0].packer.columns([piece.packed for piece in pieces], codes, times_among(rows, times))
    return Batch(gathered(rows, codes, times, time, made), time, order=order)


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
