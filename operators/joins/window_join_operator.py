"""What runs of a window join on one worker: rows that wait, and the join of those whose windows have closed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Operator, Output, OverlappingWindow, State, Tagged
from streamlib.elements import MAX_TIME, MIN_TIME, Batch, add_time
from streamlib.graph import BuildContext
from streamlib.operators.joins.interval_operator import Pairs, late_counters, read_of_pairs, word_column
from streamlib.operators.joins.matches import Matches
from streamlib.operators.joins.sides import LEFT, NAMES, RIGHT, keys_of, selected
from streamlib.operators.joins.window_join import WindowJoinNode
from streamlib.operators.joins.window_rows import (
    Bounds,
    FixedRows,
    Missed,
    OverlappingRows,
    Ripe,
    SessionRows,
    Side,
    WindowRows,
)
from streamlib.operators.windows.results import BOUNDS, as_times
from streamlib.operators.windows.session import SessionWindow
from streamlib.state import with_fields
from streamlib.state.joins.interval import IntervalStore, stretch_of
from streamlib.state.joins.record_layout import RecordLayout

Int64s = npt.NDArray[np.int64]


def rows_of(node: WindowJoinNode) -> WindowRows:
    """What holds the rows of a window join."""
    window, lateness = node.window, node.allowed_lateness
    if isinstance(window, SessionWindow):
        return SessionRows(window, lateness, node.key_fields)
    if isinstance(window, OverlappingWindow):
        return OverlappingRows(window, lateness)
    return FixedRows(window, lateness)


class WindowJoinOperator(Operator):
    """The rows of both sides in open windows."""

    def __init__(self, node: WindowJoinNode, context: BuildContext) -> None:
        self.node = node
        self.batch_rows = context.batch_rows
        self.late_read = context.late_read
        self.matches = Matches(node, context)
        wanted = context.wanted
        self.bounds_out = [name for name in BOUNDS if wanted is None or name in wanted]
        self.waiting = rows_of(node)
        self.is_session = isinstance(node.window, SessionWindow)
        self.alone = (node.gives_left_alone, node.gives_right_alone)
        self.late = (LateCount(), LateCount())

    # Rows in.

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Has rows wait, and yields those that are late, if somebody reads them."""
        missed, begins = self.waiting.missed(batch), None
        if missed is not None:
            tagged = self._late(batch.filter(missed.rows), missed, side)
            if tagged is not None:
                yield tagged
            batch, begins = batch.filter(missed.taken), missed.begins
        batch = batch.with_rows(selected(batch.rows, self.matches.columns_in[side]))
        keys = keys_of(batch.rows, self.node.on[side], self.node.key_fields)
        # Rows that match nothing still belong to a session, and move its bounds.
        dropped = not (self.alone[side] or (self.is_session and self.alone[1 - side]))
        if dropped and any(column.null_count for column in keys.columns):
            valid = np.logical_and.reduce([np.asarray(column.is_valid()) for column in keys.columns])
            batch, keys = batch.filter(valid), keys.filter(pa.array(valid))
            begins = None if begins is None else begins[valid]
        self.waiting.add(batch, side, keys, begins)

    def _late(self, rows: Batch, missed: Missed, side: int) -> Tagged | None:
        self.late[side].add(missed.late_by)
        if not self.late_read:
            return None
        columns = [*rows.rows.columns, pa.array(missed.late_by, pa.duration("ns")), pa.array(missed.windows)]
        columns += [_times(bound, self.node.bounds_type) for bound in (missed.starts, missed.ends)]
        schema = (self.node.late_left_schema, self.node.late_right_schema)[side]
        late = pa.RecordBatch.from_arrays(columns, schema=schema)
        return Tagged(f"late_{NAMES[side]}", Batch(late, rows.time, rows.mark, rows.order, rows.origin))

    # Windows out.

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Yields the joins of the windows that the watermark closes."""
        for ripe in self.waiting.close(add_time(time, -self.node.allowed_lateness)):
            yield from self._joined(ripe)

    def on_end(self) -> Iterator[Output]:
        """Yields those of all windows."""
        for ripe in self.waiting.close(None):
            yield from self._joined(ripe)

    def forward(self, watermark: int) -> int:
        """W - L; behind sessions W - L - 1 ns."""
        onward = add_time(watermark, -self.node.allowed_lateness)
        return add_time(onward, -1) if self.is_session else onward

    def _joined(self, ripe: Ripe) -> Iterator[Batch]:
        """The join of all windows that close at once: their groups are part of the key."""
        node, matches = self.node, self.matches
        left, right = (self._valid(side, number) for number, side in enumerate(ripe.sides))
        for number, (_, null) in enumerate((left, right)):
            if self.alone[number]:
                yield from self._alone(null, number, ripe.bounds)
        (mine, _), (other, _) = left, right
        names = matches.schemas[RIGHT].names
        word = None if ripe.same_key else word_column(node, matches, RIGHT)
        store = IntervalStore(
            RecordLayout(list(matches.schemas[RIGHT]), None, word), stretch_of(0, 0), by_key=False
        )
        if other.batch is not None:
            store.add(self._words(other, RIGHT, ripe), other.groups, other.batch.rows.columns)
        matched = np.zeros(len(mine.groups), dtype=np.bool_)
        if mine.batch is not None:
            words = self._words(mine, LEFT, ripe)
            first_only = node.how in ("semi", "anti") and (
                matches.is_exact or (ripe.same_key and node.where is None)
            )
            read = read_of_pairs(node, matches, RIGHT)
            for found in store.probe(words, mine.groups, 0, 0, self.batch_rows, first_only, read):
                pairs = Pairs(mine.batch, found, names)
                match = matches.of_pairs(words[found.rows], pairs.given, pairs.kept)
                if match is not None:
                    found = found.filtered(match)
                    pairs = Pairs(mine.batch, found, names)
                matched[found.rows] = True
                if node.gives_right_alone:
                    store.mark(found.numbers)
                if node.gives_right and len(found):
                    rows = matches.result(len(found), pairs.given, pairs.kept)
                    yield self._with_bounds(rows, mine.groups[found.rows], ripe.bounds)
            if node.how != "inner" and node.how != "right":
                chosen = matched if node.how == "semi" else ~matched
                yield from self._alone(
                    Side(mine.batch.filter(chosen), mine.groups[chosen]), LEFT, ripe.bounds
                )
        if node.gives_right_alone:
            due = store.take_due(None)
            rows = pa.RecordBatch.from_arrays(store.read(due, range(len(names))), names=names)
            groups = store.times(due)
            yield from self._alone(Side(Batch(rows, groups), groups), RIGHT, ripe.bounds)

    def _words(self, side: Side, number: int, ripe: Ripe) -> npt.NDArray[np.uint64]:
        assert side.batch is not None
        if ripe.same_key:
            return side.groups.astype(np.uint64)
        return self.matches.words(side.batch.rows, number)

    def _valid(self, side: Side, number: int) -> tuple[Side, Side]:
        """The rows with keys, and those with a null among them, which match nothing."""
        none = Side(None, np.empty(0, np.int64))
        if side.batch is None:
            return side, none
        columns = [side.batch.rows.column(name) for name in self.node.on[number]]
        if not any(column.null_count for column in columns):
            return side, none
        valid = np.logical_and.reduce([np.asarray(column.is_valid()) for column in columns])
        return (
            Side(side.batch.filter(valid), side.groups[valid]),
            Side(side.batch.filter(~valid), side.groups[~valid]),
        )

    def _alone(self, side: Side, number: int, bounds: Bounds) -> Iterator[Batch]:
        """Rows of one side, with nulls for the other."""
        if side.batch is None:
            return
        for begin in range(0, len(side.batch), self.batch_rows):
            part = side.batch.slice(begin, min(self.batch_rows, len(side.batch) - begin)).rows
            given = lambda names, part=part: [part.column(name) for name in names]  # noqa: E731
            sides = (given, None) if number == LEFT else (None, given)
            rows = self.matches.result(part.num_rows, *sides)
            yield self._with_bounds(rows, side.groups[begin : begin + self.batch_rows], bounds)

    def _with_bounds(self, rows: pa.RecordBatch, groups: Int64s, bounds: Bounds) -> Batch:
        starts, ends = bounds(groups)
        kind, columns, fields = self.node.bounds_type, list(rows.columns), list(rows.schema)
        for name, times in zip(BOUNDS, (starts, ends), strict=True):
            if name in self.bounds_out:
                columns.append(_times(times, kind))
                fields.append(pa.field(name, kind))
        return Batch(pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields)), ends - 1)

    # State.

    def snapshot(self) -> State:
        """The rows of both sides, with their event time and the first window that takes each."""
        tables = {}
        for side, name in enumerate(NAMES):
            batch, begins = self.waiting.waiting(side)
            schema = self._kept_schemas[side]
            if batch is None:
                tables[name] = schema.empty_table()
                continue
            time = pa.array(batch.time).view(schema.field(len(schema) - 2).type)
            first = pa.nulls(len(batch), pa.int64()) if begins is None else pa.array(begins)
            tables[name] = pa.Table.from_arrays([*batch.rows.columns, time, first], schema=schema)
        return tables

    def restore(self, state: State) -> None:
        """Takes in this worker's rows."""
        for side, name in enumerate(NAMES):
            for rows in state[name].to_batches() if name in state else ():
                *columns, time, first = rows.columns
                kept = pa.RecordBatch.from_arrays(columns, schema=self.matches.schemas[side])
                keys = keys_of(kept, self.node.on[side], self.node.key_fields)
                begins = None if first.null_count else np.asarray(first)
                self.waiting.add(Batch(kept, np.asarray(time.view(pa.int64()))), side, keys, begins)

    @cached_property
    def _kept_schemas(self) -> list[pa.Schema]:
        extra = [pa.field("event_time", pa.timestamp("ns", "UTC")), pa.field("first_window", pa.int64())]
        return [with_fields(schema, extra) for schema in self.matches.schemas]

    def open_windows(self) -> tuple[int, int | None]:
        """1 while rows wait, and when the first of their windows ends."""
        end = self.waiting.earliest()
        return (0, None) if end is None else (1, end)

    def open_rows(self) -> int:
        """Rows that wait."""
        return self.waiting.rows

    def counters(self) -> dict[str, int]:
        """Late rows of both sides, and by how much the latest missed its turn, ns."""
        return late_counters(self.late)


class LateCount:
    """How many rows of a side were late, and by how much at most."""

    def __init__(self) -> None:
        self.rows = 0
        self.by_max = 0

    def add(self, late_by: Int64s) -> None:
        """Counts rows."""
        self.rows += len(late_by)
        self.by_max = max(self.by_max, int(late_by.max()))


def _times(times: Int64s, kind: pa.DataType) -> pa.Array:
    """Times in ns as a timestamp column: all are whole in its unit but those held at the ends of time."""
    if len(times) and (times.min() == MIN_TIME or times.max() == MAX_TIME):
        return as_times(times, kind)
    return pa.array(times).view(pa.timestamp("ns", kind.tz)).cast(kind, safe=False)
