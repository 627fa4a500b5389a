"""What runs of an as-of join on one worker: left rows that wait, right rows that wait, and those that are settled.

A right row is *settled* when no row before it can come any more: t + L < Wb. Then its key's rows stand in
the order of time, and a left row is matched by a search. So a left row that is far behind, or ahead of its
own side's watermark, costs no more than any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Operator, Output, State
from streamlib.elements import MAX_TIME, MIN_TIME, Batch, add_time
from streamlib.graph import BuildContext
from streamlib.kernels import asof as kernels
from streamlib.operators.joins.asof import DIRECTIONS, AsOfJoinNode
from streamlib.operators.joins.sides import (
    LEFT,
    RIGHT,
    LateRows,
    keys_of,
    plain_schema,
    selected,
    without_null_keys,
)
from streamlib.state import AsOfStore, Order, OrderedBuffer, joined, with_fields
from streamlib.state.joins.asof import PlacedRows
from streamlib.state.ordered import JOINED_ROWS_MAX
from streamlib.state.pieces import NamedRows, Piece


class AsOfJoinOperator(Operator):
    """Rows that wait on either side, and the right rows by key and time."""

    def __init__(self, node: AsOfJoinNode, context: BuildContext) -> None:
        self.node = node
        self.batch_rows = context.batch_rows
        self.left_out, right_out = node.columns_out(context.wanted)
        self.right_out = [own for own, _ in right_out]
        self.columns = node.columns_in(context.wanted)
        names = {*self.left_out, *(out for _, out in right_out)}
        self.schema = pa.schema([field for field in node.schema if field.name in names])
        sources = [plain_schema(source.schema) for source in node.inputs]
        self.schemas = [
            pa.schema([s.field(name) for name in c]) for s, c in zip(sources, self.columns, strict=True)
        ]
        lateness, read = node.allowed_lateness, context.late_read
        self.late = [LateRows(n.schema, side, lateness, read) for side, n in enumerate(node.inputs)]
        self.left = OrderedBuffer(Order.ARRIVAL)
        order = Order.COLUMNS if node.sorts else Order.TIME
        self.right = OrderedBuffer(order, len(self.columns[RIGHT]), frozenset())  # its rows are copied
        self.settled = AsOfStore(node.key_fields, [sources[RIGHT].field(name) for name in self.right_out])
        self.reached = [MIN_TIME, MIN_TIME]

    # Rows in.

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Has rows wait, and yields left rows whose match is known already."""
        batch, late = self.late[side].parted(batch)
        if late is not None:
            yield late
        batch = batch.with_rows(selected(batch.rows, self.columns[side]))
        if side == LEFT:
            self.left.add(Batch(batch.rows, batch.time))  # in any order
            self._settle(self._settled_before())  # a side's watermark may have risen since
            yield from self._matched(self._known_before())
        elif not self._left_is_done():
            self.right.add(without_null_keys(batch, self.node.on[RIGHT]))

    # Rows out.

    def on_side_watermark(self, time: int, side: int) -> None:
        """Notes how far a side has come."""
        self.reached[side] = max(self.reached[side], time)

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Settles right rows, yields the left rows whose match is known, and drops what is of no more use."""
        self.reached = [max(time, reached) for reached in self.reached]
        self._settle(self._settled_before())
        yield from self._matched(self._known_before())
        self._drop()

    def on_end(self) -> Iterator[Output]:
        """Matches all left rows that wait."""
        self.reached = [MAX_TIME, MAX_TIME]
        self._settle(None)
        yield from self._matched(None)
        self._drop()

    def forward(self, watermark: int) -> int:
        """min(Wa, Wb) - L; forward and nearest min(Wa, Wb - tolerance) - L."""
        behind = add_time(max(self.reached[RIGHT], watermark), -self.node.reach)
        return add_time(min(watermark, behind), -self.node.allowed_lateness)

    def _settled_before(self) -> int | None:
        """Right rows before this time are all here, ns; None when all are."""
        reached = self.reached[RIGHT]
        return None if reached == MAX_TIME else add_time(reached, -self.node.allowed_lateness)

    def _known_before(self) -> int | None:
        """The matches of left rows before this time are known, ns; None when all are."""
        before = self._settled_before()
        return None if before is None else add_time(before, -self.node.reach)

    def _settle(self, before: int | None) -> None:
        for rows in self.right.release_in_place(before):
            if isinstance(rows, NamedRows):
                parts = self._placed(rows.pieces)
                if parts is not None:
                    self.settled.add_placed(parts, rows.ranked().codes, rows.time)
                    continue
                rows = rows.batch()
            assert rows.time is not None
            self.settled.add(*self._right_columns(rows.rows), rows.time)

    def _placed(self, pieces: Sequence[Piece]) -> list[PlacedRows] | None:
        """The rows of some batches, to be added from where they lie; None where that cannot be."""
        found = []
        for piece in pieces:
            placed = piece.notes
            if not isinstance(placed, PlacedRows) or placed.version != self.settled.version:
                placed = piece.notes = self.settled.placed(*self._right_columns(piece.batch.rows))
                if placed is None:
                    return None
            found.append(placed)
        return found

    def _right_columns(self, rows: pa.RecordBatch) -> tuple[pa.RecordBatch, list[pa.Array]]:
        """The keys of right rows, and what comes out of them."""
        keys = keys_of(rows, self.node.on[RIGHT], self.node.key_fields)
        return keys, [rows.column(name) for name in self.right_out]

    def _matched(self, before: int | None) -> Iterator[Batch]:
        """The left rows before a time, with their matches."""
        released = self.left.release(before)
        if len(released) > 1 and sum(map(len, released)) <= JOINED_ROWS_MAX:
            released = [joined(released)]
        node, store = self.node, self.settled
        for batch in released:
            assert batch.time is not None
            found = store.match(
                store.slots_of(keys_of(batch.rows, node.on[LEFT], node.key_fields)),
                batch.time,
                DIRECTIONS.index(node.direction),
                node.allow_exact,
                kernels.UNLIMITED if node.tolerance is None else node.tolerance,
            )
            yield from self._results(batch, found)

    def _results(self, batch: Batch, found: npt.NDArray[np.int64]) -> Iterator[Batch]:
        """Left rows with the right rows that were found."""
        if self.node.how == "inner" and (found < 0).any():
            batch, found = batch.filter(found >= 0), found[found >= 0]
        for begin in range(0, len(batch), self.batch_rows):
            part = batch.slice(begin, min(self.batch_rows, len(batch) - begin))
            values = self.settled.values(found[begin : begin + self.batch_rows])
            columns = [part.rows.column(name) for name in self.left_out] + values
            yield Batch(pa.RecordBatch.from_arrays(columns, schema=self.schema), part.time)

    # State.

    def _left_is_done(self) -> bool:
        """Whether no left row waits or comes: nothing of the right side is needed any more."""
        return self.reached[LEFT] == MAX_TIME and not self.left.rows

    def _drop(self) -> None:
        """Drops the right rows that no left row still to come, or waiting, can be matched with."""
        if self._left_is_done():
            self.right.release(None)
            self.settled.clear()
        elif self.settled.is_due:
            node = self.node
            since = add_time(self.reached[LEFT], -node.allowed_lateness)
            known = self._known_before()
            since = since if known is None else min(since, known)
            since = min(since, self.left.low)
            low = MIN_TIME if node.tolerance is None else max(MIN_TIME, since - node.tolerance)
            self.settled.drop(since, low, keeps_last=node.direction != "forward")

    @cached_property
    def _settled_schema(self) -> pa.Schema:
        """The settled rows of a snapshot: keys, values, and behind them the event time."""
        schema = pa.schema([*self.node.key_fields, *self.settled.value_fields])
        return with_fields(schema, [pa.field("event_time", pa.timestamp("ns", "UTC"))])

    def snapshot(self) -> State:
        """The rows that wait on either side, and the right rows that left rows still to come may match."""
        keys, values, times = self.settled.snapshot()
        schema = self._settled_schema
        time = pa.array(times).view(schema.field(len(schema) - 1).type)
        settled = pa.Table.from_arrays([*keys.columns, *values, time], schema=schema)
        left, right = self.schemas
        return {"left": self.left.snapshot(left), "right": self.right.snapshot(right), "settled": settled}

    def restore(self, state: State) -> None:
        """Takes in this worker's rows."""
        for name, waiting in (("left", self.left), ("right", self.right)):
            if name in state:
                waiting.restore(state[name])
        if "settled" in state:
            names = [field.name for field in self.node.key_fields]
            for rows in state["settled"].to_batches():
                *columns, time = rows.columns
                keys = rows.select(names)
                times = np.asarray(time.view(pa.int64()))
                self.settled.add(keys, columns[len(names) :], times)

    def open_windows(self) -> tuple[int, int | None]:
        """1 while left rows wait: their results are not out yet."""
        return (1, self.left.low) if self.left.rows else (0, None)

    def open_rows(self) -> int:
        """Left rows that wait."""
        return self.left.rows

    def counters(self) -> dict[str, int]:
        """Late rows of both sides, and by how much the latest missed its turn, ns."""
        left, right = self.late
        if not left.rows + right.rows:
            return {}
        return {
            "late": left.rows + right.rows,
            "late_left": left.rows,
            "late_right": right.rows,
            "late_by_max": max(left.by_max, right.by_max),
        }
