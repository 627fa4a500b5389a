"""Rows that wait until the watermark has passed them, and then come out in order.

Steps whose answer depends on order take their rows from here (SEMANTICS 3): a row waits until no row
before it can come any more. How many batches the rows came in, and when, is no longer to be seen.
A batch that is released as a whole is not copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.elements import MAX_TIME, Batch
from streamlib.kernels.sorting import gather_values, order_ties
from streamlib.state.column_order import by_columns
from streamlib.state.gathering import KERNEL_ROWS_MIN, gathered, merged_by_time, sorted_by_time
from streamlib.state.key_columns import with_fields
from streamlib.state.pane import address
from streamlib.state.slabs import room

Int64s = npt.NDArray[np.int64]

PIECES_MAX = 32
"""Batches that wait, above which they are joined, where they are smaller than the next."""
PIECE_ROWS_MAX = 65_536
"""A batch that is joined with no other."""
STAGE_ROWS = 32_768
"""So many rows, about, are sorted at once: the second-level cache holds what that works with."""
JOINED_ROWS_MAX = 8_192
"""Batches that follow one another come out as one up to so many rows."""
_SAMPLED = 1024
"""One row of so many tells where others lie."""
_SPARE = 4
"""A rest is copied out of its batch when it is no more than one row of so many."""


class Order(Enum):
    """In which order rows are handed on."""

    ARRIVAL = "arrival"
    """In any; rows of one time in the order of arrival. For steps that compare (time, order) themselves."""
    TIME = "time"
    """By (time, order), or (time, arrival) where rows carry no order."""
    COLUMNS = "columns"
    """By (time, then all columns that are compared): the order of results."""


class _Piece:
    """Some rows that came after one another, of which the earliest may have gone.

    They are put in the order of time when they are cut for the first time; from then on a cut is a slice.

    Attributes:
        batch: all rows, in the order of their arrival.
        sorted: whether that is the order of time, and of `order` where times are equal.
        at: how many have gone.
    """

    __slots__ = ("_codes", "_low", "_times", "at", "batch", "high", "sorted")

    def __init__(self, batch: Batch) -> None:
        assert batch.time is not None, "rows are ordered by event time"
        self.batch = batch
        self.at = 0
        self.sorted = _rising(batch)
        self._times: Int64s | None = batch.time if self.sorted else None
        self._codes: Int64s | None = None
        self.high = int(batch.time[-1] if self.sorted else batch.time.max())
        self._low = int(batch.time[0] if self.sorted else batch.time.min())

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
            self._times, self._codes = sorted_by_time(time)
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

    piece: _Piece
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
        return _gathered([batch], self.piece.times[self.begin : self.end], codes, by_order=False)


class OrderedBuffer:
    """Holds rows until they are released by time.

    Args:
        order: in which order they come out.
        compared: for Order.COLUMNS, how many columns, from the first, decide between rows of one time.

    Attributes:
        rows: how many wait.
        low: the earliest time of those, ns; MAX_TIME when there are none.

    >>> buffer = OrderedBuffer(Order.TIME)
    >>> buffer.add(Batch(pa.record_batch({"n": [1, 2, 3]}), np.array([5, 9, 4])))
    >>> [batch.rows.column(0).to_pylist() for batch in buffer.release(9)], buffer.rows
    ([[3, 1]], 1)
    """

    def __init__(self, order: Order, compared: int = 0) -> None:
        self.order = order
        self.compared = compared
        self.rows = 0
        self.low = MAX_TIME
        self._pieces: list[_Piece] = []

    def add(self, batch: Batch) -> None:
        """Takes rows, which have a time; marks and origin end here."""
        if not len(batch):
            return
        assert batch.time is not None, "rows are ordered by event time"
        piece = _Piece(Batch(batch.rows, batch.time, order=batch.order))
        self._pieces.append(piece)
        self.rows += len(batch)
        self.low = min(self.low, piece.low)
        if len(self._pieces) > PIECES_MAX + self.rows // PIECE_ROWS_MAX:
            self._join()

    def release(self, before: int | None) -> list[Batch]:
        """Takes out the rows with a time below `before`, ns, or all rows when None: batches in order."""
        if not self._pieces or (before is not None and self.low >= before):
            return []
        found: list[Batch] = []
        for until in self._stages(before):
            found += self._released(until)
        self._pieces = [_spared(piece) for piece in self._pieces]
        return found

    def _stages(self, before: int | None) -> list[int | None]:
        """Times, rising, with not many more than `STAGE_ROWS` rows between them; the last is `before`."""
        if (
            self.order is not Order.TIME
            or self.rows <= 2 * STAGE_ROWS
            or all(piece.sorted for piece in self._pieces)
        ):
            return [before]
        samples = np.concatenate([piece.times[piece.at :: _SAMPLED] for piece in self._pieces])
        samples = np.sort(samples if before is None else samples[samples < before])
        return [*np.unique(samples[:: STAGE_ROWS // _SAMPLED])[1:].tolist(), before]

    def _released(self, before: int | None) -> list[Batch]:
        cuts = [piece.cut(before) for piece in self._pieces if before is None or piece.low < before]
        self._pieces = [piece for piece in self._pieces if len(piece)]
        self.rows -= sum(map(len, cuts))
        self.low = min((piece.low for piece in self._pieces), default=MAX_TIME)
        if not cuts:
            return []
        if self.order is Order.ARRIVAL:
            return _one_behind_the_other(cuts)
        if self.order is Order.COLUMNS:
            return [in_order(joined([cut.batch() for cut in cuts]), self.order, self.compared)]
        return _merged(cuts)

    def times(self) -> Int64s:
        """The times of the rows that wait, ns."""
        times = [piece.rest().time for piece in self._pieces]
        found = [time for time in times if time is not None]
        return np.concatenate(found) if found else np.empty(0, dtype=np.int64)

    def waiting(self) -> Batch | None:
        """All rows that wait, those of one time in the order of their arrival; None when there are none."""
        return joined([piece.rest() for piece in self._pieces]) if self._pieces else None

    def snapshot(self, schema: pa.Schema) -> pa.Table:
        """The rows that wait, of `schema`, and behind them their event time and order."""
        time = pa.timestamp("ns", "UTC")
        whole = with_fields(schema, [pa.field("event_time", time), pa.field("event_order", pa.int64())])
        batch = self.waiting()
        if batch is None:
            return whole.empty_table()
        order = batch.orders()
        columns = [
            *batch.rows.columns,
            pa.array(batch.time).view(time),
            pa.nulls(len(batch), pa.int64()) if order is None else pa.array(order),
        ]
        return pa.Table.from_arrays(columns, schema=whole)

    def restore(self, table: pa.Table) -> None:
        """Takes in rows of snapshots."""
        for rows in table.to_batches():
            *columns, time, order = rows.columns
            schema = pa.schema(list(rows.schema)[:-2])
            self.add(
                Batch(
                    pa.RecordBatch.from_arrays(columns, schema=schema),
                    np.asarray(time.view(pa.int64())),
                    order=None if order.null_count else np.asarray(order),
                )
            )

    def _join(self) -> None:
        """Joins neighbours until each piece is large, or more than twice the next.

        So a row is copied a few times only, and pieces are few beside the rows.
        """
        pieces: list[_Piece] = []
        for piece in self._pieces:
            pieces.append(piece)
            while len(pieces) > 1 and len(pieces[-2]) <= min(2 * len(pieces[-1]), PIECE_ROWS_MAX - 1):
                last, before = pieces.pop(), pieces.pop()
                pieces.append(_Piece(joined([before.rest(), last.rest()])))
        self._pieces = pieces


def _spared(piece: _Piece) -> _Piece:
    """The piece; a copy of its rest where that is small, so that the memory of the others is free."""
    if len(piece) * _SPARE > len(piece.batch):
        return piece
    rest = piece.rest()
    return _Piece(rest.take(np.arange(len(rest))) if piece.sorted else rest)


def _rising(batch: Batch) -> bool:
    """Whether rows are in the order of time, and of their order where they have one."""
    time = batch.time
    assert time is not None
    if not (time[1:] >= time[:-1]).all():
        return False
    if batch.order is None or isinstance(batch.order, int):
        return True
    ranks = batch.order
    return bool(((time[1:] > time[:-1]) | (ranks[1:] >= ranks[:-1])).all())


def _one_behind_the_other(cuts: Sequence[Cut]) -> list[Batch]:
    """The rows of all cuts, cut by cut; neighbours that are small and have to be copied come as one."""
    found: list[Batch] = []
    for small, group in groupby(cuts, _is_small):
        some = list(group)
        if small and len(some) > 1:
            found.append(joined([cut.batch() for cut in some]))
        else:
            found += [cut.batch() for cut in some]
    return found


def _is_small(cut: Cut) -> bool:
    return len(cut) < KERNEL_ROWS_MIN and not (cut.piece.sorted or cut.is_whole)


def _codes(cuts: Sequence[Cut]) -> Int64s:
    """The codes of the rows of all cuts, cut by cut: the number of the cut above the place."""
    found = [cut.piece.codes[cut.begin : cut.end] | (place << 32) for place, cut in enumerate(cuts)]
    return np.concatenate(found) if len(found) > 1 else found[0]


def _merged(cuts: Sequence[Cut]) -> list[Batch]:
    """The rows of all cuts in the order of time: as they are where one cut follows the other."""
    rows = sum(map(len, cuts))
    if all(cut.piece.sorted for cut in cuts):
        slices = [cut.batch() for cut in cuts]
        if len(slices) == 1:
            return slices
        if all(_follows(one, other) for one, other in pairwise(slices)):
            return slices if rows > JOINED_ROWS_MAX else [joined(slices)]
    if rows < KERNEL_ROWS_MIN:
        return [in_order(joined([cut.batch() for cut in cuts]), Order.TIME)]
    times = [cut.piece.times[cut.begin : cut.end] for cut in cuts]
    if len(cuts) == 2:
        time, code = merged_by_time(times, [cut.piece.codes[cut.begin : cut.end] for cut in cuts])
    else:
        code = _codes(cuts)
        time, code = (times[0], code) if len(cuts) == 1 else sorted_by_time(np.concatenate(times), code)
    return [_gathered([cut.piece.batch for cut in cuts], time, code)]


def _follows(one: Batch, other: Batch) -> bool:
    """Whether the last row of one batch may stand before the first of the other."""
    assert one.time is not None and other.time is not None
    if one.time[-1] != other.time[0]:
        return bool(one.time[-1] < other.time[0])
    last, first = one.slice(len(one) - 1, 1).orders(), other.slice(0, 1).orders()
    return last is None or first is None or bool(last[0] <= first[0])


def _gathered(batches: Sequence[Batch], time: Int64s, codes: Int64s, by_order: bool = True) -> Batch:
    """The rows that codes name, which are in the order of time; those of one time by their order, if asked."""
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
    times = [batch.time for batch in batches if batch.time is not None]
    return Batch(gathered([batch.rows for batch in batches], codes, times, time), time, order=order)


def in_order(batch: Batch, order: Order, compared: int = 0) -> Batch:
    """The rows by Order.TIME or Order.COLUMNS; see `OrderedBuffer`."""
    time = batch.time
    assert time is not None
    if order is Order.COLUMNS:
        return batch.take(by_columns(batch.rows, time, compared))
    if _rising(batch):
        return batch
    ranks = batch.orders()
    if ranks is not None:
        return batch.take(np.lexsort((ranks, time)))
    return batch.take(np.argsort(time, kind="stable"))


def joined(batches: Sequence[Batch]) -> Batch:
    """Several batches as one; it carries an order where all of them do."""
    if len(batches) == 1:
        return batches[0]
    times = [batch.time for batch in batches]
    orders = [batch.orders() for batch in batches]
    return Batch(
        pa.concat_batches([batch.rows for batch in batches]),
        np.concatenate([time for time in times if time is not None]),
        order=None
        if any(o is None for o in orders)
        else np.concatenate([o for o in orders if o is not None]),
    )
