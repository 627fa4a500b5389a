"""What runs of an interval join on one worker: the rows of either side that can still match.

A row that arrives is matched with what is kept of the other side, and then kept itself, if a row of the
other side can still come that it would match.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Operator, Output, State
from streamlib.elements import MAX_TIME, MIN_TIME, Batch, add_time
from streamlib.graph import BuildContext
from streamlib.kernels.keys import KeyKind
from streamlib.operators.joins.interval import IntervalJoinNode
from streamlib.operators.joins.matches import Columns, Mask, Matches, UInt64s
from streamlib.operators.joins.sides import LEFT, NAMES, RIGHT, LateRows, selected
from streamlib.operators.joins.two_sided import TwoSidedJoinNode
from streamlib.state import with_fields
from streamlib.state.gathering import taken_of
from streamlib.state.joins.interval import Found, IntervalStore, stretch_of
from streamlib.state.joins.record_layout import RecordLayout

Int64s = npt.NDArray[np.int64]


class IntervalJoinOperator(Operator):
    """The rows of both sides that can still match."""

    def __init__(self, node: IntervalJoinNode, context: BuildContext) -> None:
        self.node = node
        self.low, self.high = node.interval
        self.lateness = node.allowed_lateness
        self.batch_rows = context.batch_rows
        self.matches = Matches(node, context)
        self.late = [
            LateRows(n.schema, side, self.lateness, context.late_read) for side, n in enumerate(node.inputs)
        ]
        stretch = stretch_of(self.low, self.high)
        self.stores = [IntervalStore(self._layout(side), stretch) for side in (LEFT, RIGHT)]
        self.tracks = (node.gives_left_alone or node.how == "semi", node.gives_right_alone)
        self.alone = (node.gives_left_alone, node.gives_right_alone)
        self.first_only = node.how in ("semi", "anti") and self.matches.is_exact
        self.read = [read_of_pairs(node, self.matches, side) for side in (LEFT, RIGHT)]
        self.reached = [MIN_TIME, MIN_TIME]

    def _layout(self, side: int) -> RecordLayout:
        schema, time = self.matches.schemas[side], self.node.inputs[side].time
        word = word_column(self.node, self.matches, side)
        at = schema.names.index(time) if time in schema.names else None
        if at is not None and (at == word or not pa.types.is_timestamp(schema.field(at).type)):
            at = None
        return RecordLayout(list(schema), at, word)

    # Rows in.

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Yields the matches of rows with what is kept of the other side, and keeps them."""
        batch, late = self.late[side].parted(batch)
        if late is not None:
            yield late
        batch = batch.with_rows(selected(batch.rows, self.matches.columns_in[side]))
        valid = self._valid_keys(batch, side)
        if valid is not None:
            if self.alone[side]:
                yield from self._alone(batch.filter(~valid), side)
            batch = batch.filter(valid)
        if not len(batch):
            return
        words = self.matches.words(batch.rows, side)
        matched = np.zeros(len(batch), dtype=np.bool_) if self.tracks[side] else None
        yield from self._matched(batch, words, side, matched)
        if matched is not None and self.node.how == "semi":
            yield from self._own_rows(batch, np.flatnonzero(matched), side)
        yield from self._keep(batch, words, side, matched)

    def _valid_keys(self, batch: Batch, side: int) -> Mask | None:
        columns = [batch.rows.column(name) for name in self.node.on[side]]
        if not any(column.null_count for column in columns):
            return None
        valid: Mask = np.logical_and.reduce([np.asarray(column.is_valid()) for column in columns])
        return valid

    def _matched(self, batch: Batch, words: UInt64s, side: int, matched: Mask | None) -> Iterator[Batch]:
        """The pairs of the rows of a batch; notes in `matched` which are in one."""
        other = self.stores[1 - side]
        low, high = (self.low, self.high) if side == LEFT else (-self.high, -self.low)
        if self.node.within is None:
            low, high = MIN_TIME, MAX_TIME
        assert batch.time is not None
        first_only = self.first_only and side == LEFT
        names, read = self.matches.schemas[1 - side].names, self.read[1 - side]
        for found in other.probe(words, batch.time, low, high, self.batch_rows, first_only, read):
            pairs = Pairs(batch, found, names)
            if not self.matches.is_exact:
                match = self.matches.of_pairs(words[found.rows], *pairs.sides(side))
                if match is not None:
                    found = found.filtered(match)
                    pairs = Pairs(batch, found, names)
            if matched is not None:
                matched[found.rows] = True
            fresh = other.mark(found.numbers) if self.tracks[1 - side] else None
            if self.node.gives_right:
                if len(found):
                    rows = self.matches.result(len(found), *pairs.sides(side))
                    yield Batch(rows, found.times)
            elif self.node.how == "semi" and side == RIGHT and fresh is not None:
                yield from self._kept_rows(fresh, LEFT)

    def _keep(self, batch: Batch, words: UInt64s, side: int, matched: Mask | None) -> Iterator[Batch]:
        """Keeps the rows that can still match; yields those that have not and cannot any more."""
        limit = self._dead_before(side)
        assert batch.time is not None
        if limit is None or int(batch.time.max()) < limit:
            keep = np.zeros(len(batch), dtype=np.bool_)
        else:
            keep = batch.time >= limit
        if self.alone[side] and matched is not None and not keep.all():
            yield from self._own_rows(batch, np.flatnonzero(~keep & ~matched), side)
        if matched is not None and not self.node.gives_right:
            keep &= ~matched  # a left row of semi or anti is done with its first match
        if not keep.all():
            if not keep.any():
                return
            batch, words = batch.filter(keep), words[keep]
            matched = None if matched is None else matched[keep]
        assert batch.time is not None
        self.stores[side].add(words, batch.time, batch.rows.columns, matched)

    # Rows out.

    def _own_rows(self, batch: Batch, rows: Int64s, side: int) -> Iterator[Batch]:
        if len(rows):
            yield from self._alone(batch if len(rows) == len(batch) else batch.take(rows), side)

    def _alone(self, batch: Batch, side: int) -> Iterator[Batch]:
        """Rows of one side, with nulls for the other."""
        if not len(batch):
            return

        def columns(names: Sequence[str]) -> Sequence[pa.Array]:
            return [batch.rows.column(name) for name in names]

        sides = (columns, None) if side == LEFT else (None, columns)
        yield Batch(self.matches.result(len(batch), *sides), batch.time)

    def _kept_rows(self, numbers: Int64s, side: int) -> Iterator[Batch]:
        """Rows that are kept, without a partner."""
        names = self.matches.schemas[side].names
        for begin in range(0, len(numbers), self.batch_rows):
            part = numbers[begin : begin + self.batch_rows]
            columns = self.stores[side].read(part, range(len(names)))
            rows = pa.RecordBatch.from_arrays(columns, names=names)
            yield from self._alone(Batch(rows, self.stores[side].times(part)), side)

    def on_side_watermark(self, time: int, side: int) -> None:
        """Notes how far a side has come."""
        self.reached[side] = max(self.reached[side], time)

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Yields rows that are proven to have no match, and drops those that cannot match any more."""
        self.reached = [max(time, reached) for reached in self.reached]
        yield from self._expire()

    def on_end(self) -> Iterator[Output]:
        """Yields all rows without a match."""
        self.reached = [MAX_TIME, MAX_TIME]
        yield from self._expire()

    def _expire(self) -> Iterator[Batch]:
        for side, store in enumerate(self.stores):
            limit = self._dead_before(side)
            if self.alone[side]:
                yield from self._kept_rows(store.take_due(limit), side)
            store.drop(limit)

    def _dead_before(self, side: int) -> int | None:
        """Rows of a side before this time can match no more, ns; None: none can."""
        other = self.reached[1 - side]
        if other == MAX_TIME:
            return None
        if self.node.within is None:
            return MIN_TIME
        reach = self.high if side == LEFT else -self.low
        return add_time(add_time(other, -self.lateness), -reach)

    def forward(self, watermark: int) -> int:
        """As the module of the node says."""
        left, right = (max(reached, watermark) for reached in self.reached)
        onward = add_time(watermark, -self.lateness)
        if self.tracks[LEFT]:
            onward = min(onward, add_time(add_time(right, -self.lateness), -max(self.high, 0)))
        if self.tracks[RIGHT]:
            onward = min(onward, add_time(add_time(left, -self.lateness), min(self.low, 0)))
        return onward

    # State.

    def snapshot(self) -> State:
        """The rows of both sides, with their event time and whether they have had a match."""
        tables = {}
        for side, store in enumerate(self.stores):
            columns, times, marked = store.snapshot()
            schema = self._kept_schemas[side]
            time = pa.array(times).view(schema.field(len(schema) - 2).type)
            tables[NAMES[side]] = pa.Table.from_arrays([*columns, time, pa.array(marked)], schema=schema)
        return tables

    def restore(self, state: State) -> None:
        """Takes in this worker's rows."""
        for side, name in enumerate(NAMES):
            for rows in state[name].to_batches() if name in state else ():
                *columns, time, marked = rows.columns
                kept = pa.RecordBatch.from_arrays(columns, schema=self.matches.schemas[side])
                words = self.matches.words(kept, side)
                times = np.asarray(time.view(pa.int64()))
                self.stores[side].add(
                    words, times, columns, np.asarray(marked) if self.tracks[side] else None
                )

    @cached_property
    def _kept_schemas(self) -> list[pa.Schema]:
        extra = [pa.field("event_time", pa.timestamp("ns", "UTC")), pa.field("event_matched", pa.bool_())]
        return [with_fields(schema, extra) for schema in self.matches.schemas]

    def open_windows(self) -> tuple[int, int | None]:
        """1 while rows wait that may come out without a match."""
        waiting = [store.earliest for store, alone in zip(self.stores, self.alone, strict=True) if alone]
        low = min(waiting, default=MAX_TIME)
        return (0, None) if low == MAX_TIME else (1, low)

    def open_rows(self) -> int:
        """Rows that may still come out without a match are among these."""
        return sum(store.rows for store, alone in zip(self.stores, self.alone, strict=True) if alone)

    def counters(self) -> dict[str, int]:
        """Late rows of both sides, and by how much the latest missed its turn, ns."""
        return late_counters(self.late)


def word_column(node: TwoSidedJoinNode, matches: Matches, side: int) -> int | None:
    """The column of a side that the word of its key holds; None where it holds none."""
    if matches.encoder.kind is not KeyKind.EXACT:
        return None
    schema, key = matches.schemas[side], node.on[side][0]
    kind = schema.field(key).type
    if kind != node.key_fields[0].type or pa.types.is_floating(kind) or pa.types.is_null(kind):
        return None  # 0.0 and -0.0 have one word
    at: int = schema.names.index(key)
    return at


def read_of_pairs(node: TwoSidedJoinNode, matches: Matches, side: int) -> list[int]:
    """The columns of a side, by number, that pairs are made of."""
    names = set(node.where_columns(side))
    if matches.encoder.kind is KeyKind.BYTES:
        names |= set(node.on[side])
    if node.gives_right:
        names |= set(matches.left_out if side == LEFT else matches.own_right)
    return [number for number, name in enumerate(matches.schemas[side].names) if name in names]


class Counted(Protocol):
    """What counts late rows."""

    rows: int
    by_max: int


def late_counters(late: Sequence[Counted]) -> dict[str, int]:
    """The counts of late rows of both sides."""
    left, right = late
    if not left.rows + right.rows:
        return {}
    return {
        "late": left.rows + right.rows,
        "late_left": left.rows,
        "late_right": right.rows,
        "late_by_max": max(left.by_max, right.by_max),
    }


class Pairs:
    """Pairs of a row of a batch and a row that is kept.

    Args:
        batch: the rows given.
        found: the pairs.
        names: of the columns that are kept.
    """

    def __init__(self, batch: Batch, found: Found, names: Sequence[str]) -> None:
        self.found = found
        self._batch, self._names = batch, names
        is_whole = len(found) == len(batch) and bool((found.rows == np.arange(len(batch))).all())
        self._places = None if is_whole else found.rows

    def sides(self, side: int) -> tuple[Columns, Columns]:
        """The left and the right columns, where `side` is that of the batch."""
        return (self.given, self.kept) if side == LEFT else (self.kept, self.given)

    def given(self, names: Sequence[str]) -> list[pa.Array]:
        """Columns of the batch's rows."""
        columns = [self._batch.rows.column(name) for name in names]
        return columns if self._places is None else [taken_of(column, self._places) for column in columns]

    def kept(self, names: Sequence[str]) -> list[pa.Array]:
        """Columns of the rows that are kept."""
        return self.found.columns([self._names.index(name) for name in names])
