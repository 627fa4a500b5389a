"""Rows that wait until the watermark has passed them, and then come out in order.

Steps whose answer depends on order take their rows from here (SEMANTICS 3): a row waits until no row
before it can come any more. How many batches the rows came in, and when, is no longer to be seen.
A batch that is released as a whole is not copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.elements import MAX_TIME, Batch
from streamlib.state.column_order import by_columns
from streamlib.state.gathering import KERNEL_ROWS_MIN, has_times, merged_by_time, sorted_by_time
from streamlib.state.key_columns import with_fields
from streamlib.state.packed import Packer
from streamlib.state.pieces import Cut, NamedRows, Piece, is_rising

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


class OrderedBuffer:
    """Holds rows until they are released by time.

    Args:
        order: in which order they come out.
        compared: for Order.COLUMNS, how many columns, from the first, decide between rows of one time.
        lasting: the columns that go on to others once they are out, by name; all when None.

    Attributes:
        rows: how many wait.
        low: the earliest time of those, ns; MAX_TIME when there are none.

    >>> buffer = OrderedBuffer(Order.TIME)
    >>> buffer.add(Batch(pa.record_batch({"n": [1, 2, 3]}), np.array([5, 9, 4])))
    >>> [batch.rows.column(0).to_pylist() for batch in buffer.release(9)], buffer.rows
    ([[3, 1]], 1)
    """

    def __init__(self, order: Order, compared: int = 0, lasting: frozenset[str] | None = None) -> None:
        self._packer = Packer(lasting)
        self.order = order
        self.compared = compared
        self.rows = 0
        self.low = MAX_TIME
        self._pieces: list[Piece] = []

    def add(self, batch: Batch) -> None:
        """Takes rows, which have a time; marks and origin end here."""
        if not len(batch):
            return
        assert batch.time is not None, "rows are ordered by event time"
        piece = self._piece(Batch(batch.rows, batch.time, order=batch.order))
        self._pieces.append(piece)
        self.rows += len(batch)
        self.low = min(self.low, piece.low)
        if len(self._pieces) > PIECES_MAX + self.rows // PIECE_ROWS_MAX:
            self._join()

    def release(self, before: int | None) -> list[Batch]:
        """Takes out the rows with a time below `before`, ns, or all rows when None: batches in order."""
        found: list[Batch] = []
        for rows in self._taken_out(before, in_place=False):
            assert isinstance(rows, Batch)
            found.append(rows)
        return found

    def release_in_place(self, before: int | None) -> list[Batch | NamedRows]:
        """As `release`, for a step that takes rows from where they lie: they are only named, where that is spared."""
        return self._taken_out(before, in_place=True)

    def _taken_out(self, before: int | None, in_place: bool) -> list[Batch | NamedRows]:
        if not self._pieces or (before is not None and self.low >= before):
            return []
        found: list[Batch | NamedRows] = []
        for until in self._stages(before):
            found += self._released(until, in_place)
        self._pieces = [self._spared(piece) for piece in self._pieces]
        return found

    def _piece(self, batch: Batch) -> Piece:
        return Piece(batch, self._packer, parts=self.order is Order.ARRIVAL)

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

    def _released(self, before: int | None, in_place: bool) -> list[Batch | NamedRows]:
        cuts = [piece.cut(before) for piece in self._pieces if before is None or piece.low < before]
        self._pieces = [piece for piece in self._pieces if len(piece)]
        self.rows -= sum(map(len, cuts))
        self.low = min((piece.low for piece in self._pieces), default=MAX_TIME)
        if not cuts:
            return []
        found: list[Batch | NamedRows]
        if self.order is Order.ARRIVAL:
            found = [*_one_behind_the_other(cuts)]
        elif self.order is Order.COLUMNS:
            found = [in_order(joined([cut.batch() for cut in cuts]), self.order, self.compared)]
        else:
            found = _merged(cuts)
            if not in_place:
                found = [rows.batch() if isinstance(rows, NamedRows) else rows for rows in found]
        for cut in cuts:
            if not len(cut.piece):
                self._packer.take_back(cut.piece.packed)
        return found

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
        pieces: list[Piece] = []
        for piece in self._pieces:
            pieces.append(piece)
            while len(pieces) > 1 and len(pieces[-2]) <= min(2 * len(pieces[-1]), PIECE_ROWS_MAX - 1):
                last, before = pieces.pop(), pieces.pop()
                pieces.append(self._piece(joined([before.rest(), last.rest()])))
                self._packer.take_back(before.packed)
                self._packer.take_back(last.packed)
        self._pieces = pieces

    def _spared(self, piece: Piece) -> Piece:
        """The piece; a copy of its rest where that is small, so that the memory of the others is free."""
        if len(piece) * _SPARE > len(piece.batch):
            return piece
        rest = piece.rest()
        self._packer.take_back(piece.packed)
        return self._piece(rest.take(np.arange(len(rest))) if piece.sorted else rest)


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


def _merged(cuts: Sequence[Cut]) -> list[Batch | NamedRows]:
    """The rows of all cuts in the order of time: as they are where one cut follows the other."""
    rows = sum(map(len, cuts))
    if all(cut.piece.sorted for cut in cuts):
        slices = [cut.batch() for cut in cuts]
        if len(slices) == 1:
            return [*slices]
        if all(_follows(one, other) for one, other in pairwise(slices)):
            return [*slices] if rows > JOINED_ROWS_MAX else [joined(slices)]
    if rows < KERNEL_ROWS_MIN:
        return [in_order(joined([cut.batch() for cut in cuts]), Order.TIME)]
    times, lasting = (
        [cut.piece.times[cut.begin : cut.end] for cut in cuts],
        has_times(cuts[0].piece.batch.rows.schema),
    )
    if len(cuts) == 2:
        time, code = merged_by_time(times, [cut.piece.codes[cut.begin : cut.end] for cut in cuts], lasting)
    elif len(cuts) == 1:
        time, code = times[0], _codes(cuts)
    else:
        time, code = sorted_by_time(np.concatenate(times), _codes(cuts), lasting)
    return [NamedRows([cut.piece for cut in cuts], time, code)]


def _follows(one: Batch, other: Batch) -> bool:
    """Whether the last row of one batch may stand before the first of the other."""
    assert one.time is not None and other.time is not None
    if one.time[-1] != other.time[0]:
        return bool(one.time[-1] < other.time[0])
    last, first = one.slice(len(one) - 1, 1).orders(), other.slice(0, 1).orders()
    return last is None or first is None or bool(last[0] <= first[0])


def in_order(batch: Batch, order: Order, compared: int = 0) -> Batch:
    """The rows by Order.TIME or Order.COLUMNS; see `OrderedBuffer`."""
    time = batch.time
    assert time is not None
    if order is Order.COLUMNS:
        return batch.take(by_columns(batch.rows, time, compared))
    if is_rising(batch):
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
