"""Rows that wait until the watermark has passed them, and then come out in order.

Steps whose answer depends on order take their rows from here (SEMANTICS 3): a row waits until no row
before it can come any more. How many batches the rows came in, and when, is no longer to be seen.
A batch that is released as a whole is not copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.elements import MAX_TIME, Batch
from streamlib.kernels.columns import decoded
from streamlib.kernels.ordering import time_order
from streamlib.state.key_columns import with_fields

Int64s = npt.NDArray[np.int64]

PIECES_MAX = 32
"""Batches that wait, above which they are joined."""
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


@dataclass(slots=True)
class _Piece:
    """Some rows that came after one another."""

    batch: Batch
    low: int
    high: int
    cuts: int = 0


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
        piece = _piece(Batch(batch.rows, batch.time, order=batch.order))
        self._pieces.append(piece)
        self.rows += len(batch)
        self.low = min(self.low, piece.low)
        if len(self._pieces) > PIECES_MAX:
            self._join()

    def release(self, before: int | None) -> list[Batch]:
        """Takes out the rows with a time below `before`, ns, or all rows when None."""
        if not self._pieces or (before is not None and self.low >= before):
            return []
        taken: list[Batch] = []
        kept: list[_Piece] = []
        for piece in self._pieces:
            if before is None or piece.high < before:
                taken.append(piece.batch)
            elif piece.low >= before:
                kept.append(piece)
            else:
                ready, rest = _parted(piece, before)
                taken.append(ready)
                kept.append(rest)
        self._pieces = kept
        self.rows -= sum(map(len, taken))
        self.low = min((piece.low for piece in kept), default=MAX_TIME)
        if self.order is Order.ARRIVAL:
            return taken
        return [in_order(joined(taken), self.order, self.compared)]

    def times(self) -> Int64s:
        """The times of the rows that wait, in the order of their arrival, ns."""
        times = [piece.batch.time for piece in self._pieces if piece.batch.time is not None]
        return np.concatenate(times) if times else np.empty(0, dtype=np.int64)

    def waiting(self) -> Batch | None:
        """All rows that wait, in the order of their arrival; None when there are none."""
        return joined([piece.batch for piece in self._pieces]) if self._pieces else None

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
        """Joins neighbours until each piece is more than twice the next: a row is copied a few times only."""
        pieces: list[_Piece] = []
        for piece in self._pieces:
            pieces.append(piece)
            while len(pieces) > 1 and len(pieces[-2].batch) <= 2 * len(pieces[-1].batch):
                last, before = pieces.pop(), pieces.pop()
                both = joined([before.batch, last.batch])
                pieces.append(_Piece(both, min(before.low, last.low), max(before.high, last.high)))
        self._pieces = pieces


def in_order(batch: Batch, order: Order, compared: int = 0) -> Batch:
    """The rows by Order.TIME or Order.COLUMNS; see `OrderedBuffer`."""
    time = batch.time
    assert time is not None
    rising = bool((time[1:] >= time[:-1]).all())
    if order is Order.COLUMNS:
        return batch.take(_by_columns(batch.rows, time, compared))
    ranks = batch.orders()
    if ranks is not None:
        if rising and bool(((time[1:] > time[:-1]) | (ranks[1:] >= ranks[:-1])).all()):
            return batch
        by_rank = np.argsort(ranks, kind="stable")  # quick: batches come in the order of ranks
        return batch.take(by_rank[time_order(time[by_rank])])
    return batch if rising else batch.take(time_order(time))


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


def _piece(batch: Batch, cuts: int = 0) -> _Piece:
    assert batch.time is not None
    return _Piece(batch, int(batch.time.min()), int(batch.time.max()), cuts)


def _parted(piece: _Piece, before: int) -> tuple[Batch, _Piece]:
    """The rows of a piece before a time, and the others.

    A piece that is parted a second time is sorted first: from then on a part is a slice.
    """
    batch = piece.batch
    time = batch.time
    assert time is not None
    if not (time[1:] >= time[:-1]).all():
        if not piece.cuts:
            ready = time < before
            return batch.filter(ready), _piece(batch.filter(~ready), cuts=1)
        batch = batch.take(time_order(time))
        time = batch.time
        assert time is not None
    count = int(np.searchsorted(time, before))
    rest = batch.slice(count, len(batch) - count)
    if len(rest) * _SPARE <= count:
        rest = rest.take(np.arange(len(rest)))
    return batch.slice(0, count), _piece(rest, cuts=piece.cuts + 1)


def _by_columns(rows: pa.RecordBatch, time: Int64s, compared: int) -> Int64s:
    """The order of rows by time, then their first `compared` columns, nulls last."""
    columns = [pa.array(time)]
    unsorted: list[pa.Array] = []
    for column in rows.columns[:compared]:
        ranked = _comparable(column)
        if ranked is None:
            unsorted.append(column)
        else:
            columns.append(ranked)
    indices = _sorted_by(columns)
    if not unsorted:
        return indices
    # Values that Arrow does not compare go by how they are written, where nothing else decides.
    texts = [pa.array([repr(value) for value in column.to_pylist()]) for column in unsorted]
    return _sorted_by([*columns, *texts]) if _ties(columns, indices) else indices


def _sorted_by(columns: list[pa.Array]) -> Int64s:
    names = [f"c{number}" for number in range(len(columns))]
    table = pa.table(columns, names=names)
    found: Int64s = np.asarray(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names]))
    return found.astype(np.int64)


def _ties(columns: list[pa.Array], indices: Int64s) -> bool:
    """Whether two rows are equal in all columns."""
    equal = np.ones(max(0, len(indices) - 1), dtype=np.bool_)
    for column in columns:
        ordered = column.take(pa.array(indices))
        this, other = ordered.slice(1), ordered.slice(0, max(0, len(ordered) - 1))
        same = pc.equal(this, other)
        if pa.types.is_floating(column.type):
            same = pc.or_(same, pc.and_(pc.is_nan(this), pc.is_nan(other)))
        equal &= np.asarray(pc.fill_null(same, True))
    return bool(equal.any())


def _comparable(column: pa.Array) -> pa.Array | None:
    """The column in a form that Arrow sorts; None where there is none."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _comparable(column.storage)
    column = decoded(column)
    kind = column.type
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.int8())
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    if pa.types.is_decimal(kind) and kind.bit_width < 128:
        return column.cast(pa.decimal128(kind.precision, kind.scale))
    if pa.types.is_duration(kind):
        return column.view(pa.int64())
    if pa.types.is_nested(kind) or pa.types.is_interval(kind):
        return None
    return column
