"""`event_time`: gives rows their time, and the stream its watermark.

It stands before any exchange. Rows pass in the order of their split, so that each row's mark (the
largest time before it in its split, less `max_delay`) is a function of the split alone. A batch gets
the hidden column `mark` only when some row is behind its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.contracts import Operator, Output, Refusal, Wait
from streamlib.elements import (
    MAX_TIME,
    MIN_TIME,
    Batch,
    BlockEnd,
    add_time,
    format_duration,
    format_time,
    times_ns,
)
from streamlib.errors import BuildError, DataError
from streamlib.eventtime import EventClock, IdlePolicy, SplitTime
from streamlib.eventtime.splits import PerValues, Suspect
from streamlib.graph import BuildContext, Node
from streamlib.graph.plan import topological
from streamlib.kernels.marks import advance, advance_splits
from streamlib.kernels.times import Glance, event_times, glance
from streamlib.operators.map_async.node import MapAsyncNode

POSITION_BITS = 40
"""An order value is the split's index above this many bits of position."""

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class EventTimeNode(Node):
    """Declares the event-time column.

    Attributes:
        column: a timestamp or date column.
        max_delay: how far behind the largest time of its split a row may come, ns; None for the end.
        per: columns whose values are splits of their own.
        idle: what a silent split does to the watermark.
        idle_after: silence after which it is idle, ns.
        max_jump: a larger jump forward must be confirmed by the split's next row, ns.
    """

    kind: ClassVar[str] = "event_time"
    refuses = "checked"
    gives_order: ClassVar[bool] = True
    column: str
    max_delay: int | None
    per: tuple[str, ...] = ()
    idle: IdlePolicy = IdlePolicy.WAIT
    idle_after: int = 30_000_000_000
    max_jump: int | None = None

    def derive_schema(self) -> pa.Schema:
        for name in (self.column, *self.per):
            if not isinstance(name, str):
                raise BuildError(
                    "event_time needs the name of a column",
                    expected="a string",
                    got=f"{type(name).__name__}",
                    hint='compute the column before: .with_columns(ts=...).event_time("ts", ...)',
                )
        self.require_columns([self.column, *self.per])
        return self.inputs[0].schema

    def derive_timed(self) -> bool:
        return True

    def derive_time(self) -> str:
        return self.column

    def validate(self) -> None:
        if self.inputs[0].timed:
            raise BuildError(
                "event_time is set twice", hint="a stream has one event time: keep one .event_time(...)"
            )
        if any(isinstance(node, MapAsyncNode) for node in topological([self.inputs[0]])):
            raise BuildError(
                "event_time stands behind map_async",
                expected="event_time before the first call of a service: rows keep their time behind it",
                hint="the steps before event_time are tried on first rows of splits that wait to be read",
            )
        if self.max_delay is not None and self.max_delay < 0:
            raise BuildError("max_delay must not be negative", got=format_duration(self.max_delay))
        if self.idle_after <= 0:
            raise BuildError("idle_after must be longer than zero", got=format_duration(self.idle_after))
        if self.max_jump is not None and self.max_jump <= 0:
            raise BuildError("max_jump must be longer than zero", got=format_duration(self.max_jump))
        if self.max_jump is not None and self.per:
            raise BuildError(
                "max_jump and per cannot be used together", hint="check the jumps per file instead"
            )
        times_ns(pa.array([], self.schema.field(self.column).type), self.column)

    def describe(self) -> str:
        delay = "UNTIL_END" if self.max_delay is None else repr(format_duration(self.max_delay))
        per = f", per={list(self.per)}" if self.per else ""
        return f"{self.column!r}, max_delay={delay}{per}"

    def timing_because(self) -> str | None:
        if self.idle is IdlePolicy.WAIT:
            return None
        return f"{self.label}: idle={self.idle.value!r} lets the watermark pass silent splits"

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        return [None if wanted is None else wanted | {self.column, *self.per}]

    def make_clock(self) -> EventClock:
        return EventClock(self.max_delay, self.idle, self.idle_after)

    def first_time(self, batch: Batch) -> int | None:
        column = batch.rows.column(self.column)
        first = column.slice(0, 1)
        return None if first.null_count else int(times_ns(first, self.column)[0])

    def build(self, context: BuildContext) -> Operator:
        return EventTimeOperator(self, context)


class EventTimeOperator(Operator):
    """Stamps the batches of a block when it is the block's turn; until then they are held."""

    def __init__(self, node: EventTimeNode, context: BuildContext) -> None:
        self.node = node
        self.clock = context.clock
        self.needs_order = context.needs_order
        self.refuse = context.refuse
        self.workers = context.workers
        self.place: int | None = None
        self.held: list[tuple[Batch, Int64s | Glance]] = []
        self.behind = 0
        self.delay = MAX_TIME if node.max_delay is None else node.max_delay
        self.at_once = self.workers == 1 and node.max_jump is None
        self.glances = not node.per and node.max_jump is None

    def on_batch(self, batch: Batch, side: int = 0) -> Sequence[Output]:
        """A lone worker stamps the rows and lets them go; else they leave at the end of their block.

        Until then only what their marks need is read of their times: the times themselves are
        written when the next step wants them, and are in the cache then.
        """
        origin, clock = batch.origin, self.clock
        if self.at_once and origin is not None and not self.held and clock is not None:
            if clock.is_turn(origin.split, origin.block):
                times = np.empty(len(batch), dtype=np.int64)
                seen = self._seen(batch, times)
                if isinstance(seen, Glance):
                    batch = replace(batch, time=times)
                return (self._stamp(batch, seen, clock.splits[origin.split], origin.split),)
        self.held.append((batch, self._seen(batch, None)))
        return ()

    def _seen(self, batch: Batch, times: Int64s | None) -> Int64s | Glance:
        """A glance at the event times, which writes them to `times`; or the times, where marks need all of them."""
        found = glance(self._column(batch), self.delay, times) if self.glances else None
        return self._times(batch) if found is None else found

    def check(self, batch: Batch, side: int = 0) -> None:
        """Raises for a row without an event time, or with one that does not fit."""
        self._times(batch)

    def _column(self, batch: Batch) -> pa.Array:
        if self.place is None:  # rows may have fewer columns than their step gives
            self.place = batch.rows.schema.get_field_index(self.node.column)
        return batch.rows.column(self.place)

    def _times(self, batch: Batch) -> Int64s:
        column = self._column(batch)
        if column.null_count:
            row = int(np.flatnonzero(np.asarray(pc.is_null(column)))[0])
            null = DataError(
                f"the event time {self.node.column!r} is null",
                where=_where(batch, row),
                expected=f"a {column.type} in every row",
                got="null",
                hint=f'drop such rows with .filter(col("{self.node.column}").is_not_null()) before event_time',
            )
            null.row = row
            raise null
        try:
            return event_times(column, self.node.column)
        except DataError as error:
            error.row = _first_unfit(column, self.node.column)
            raise

    def on_block_end(self, end: BlockEnd) -> Iterable[Output]:
        """Stamps the block's batches when all earlier blocks of the split have passed."""
        assert self.clock is not None
        if self.clock.is_turn(end.split, end.block):
            return self._pass(self.clock, end.split)
        return self._wait(self.clock, end)

    def _wait(self, clock: EventClock, end: BlockEnd) -> Iterator[Output]:
        while not clock.is_turn(end.split, end.block):
            yield Wait(lambda: clock.is_turn(end.split, end.block))
        yield from self._pass(clock, end.split)

    def _pass(self, clock: EventClock, number: int) -> Iterable[Output]:
        """The stamped batches of the block whose turn it is, which has passed then."""
        split, held, self.held = clock.splits[number], self.held, []
        if self.node.max_jump is None:
            passed = [self._stamp(batch, times, split, number) for batch, times in held]
            clock.pass_block(number)
            return map(self._timed, passed)
        refused: list[tuple[Suspect, DataError]] = []
        passed = [
            self._stamp(part, part_times, split, number)
            for batch, times in held
            for part, part_times in self._sift(
                batch, self._written(batch, times), split, refused, self.node.max_jump
            )
        ]
        clock.pass_block(number)
        return chain(passed, self._refused(refused))

    def _timed(self, batch: Batch) -> Batch:
        """A stamped batch with its times, where it has none yet."""
        return batch if batch.time is not None else replace(batch, time=self._times(batch))

    def _written(self, batch: Batch, times: Int64s | Glance) -> Int64s:
        if not isinstance(times, Glance):
            return times
        return self._times(batch) if batch.time is None else batch.time

    def _stamp(self, batch: Batch, times: Int64s | Glance, split: SplitTime, number: int) -> Batch:
        """The batch with its marks and order, of which the split takes note; without its times where a glance does."""
        node, delay = self.node, self.delay
        order = None
        if self.needs_order:
            order = (number << POSITION_BITS) + split.rows
        split.rows += len(batch)
        assert split.rows < 1 << POSITION_BITS and number < 1 << (63 - POSITION_BITS)
        if isinstance(times, Glance):
            if not times.behind and times.low >= max(split.floor, add_time(split.max_time, -delay)):
                split.max_time = max(split.max_time, times.high)
                return Batch(batch.rows, batch.time, None, order, batch.origin)
        times = self._written(batch, times)
        if node.per:
            marks, behind = self._advance_per(batch, times, split)
        else:
            progress = advance(times, split.max_time, split.floor, delay)
            if progress.behind and split.floor != MIN_TIME:
                split.late_entry_rows += (
                    progress.behind - advance(times, split.max_time, MIN_TIME, delay).behind
                )
            split.max_time, marks, behind = progress.running_max, progress.marks, progress.behind
        if node.max_delay is None:
            marks, behind = None, 0
        self.behind += behind
        return Batch(batch.rows, times, marks, order, batch.origin)

    def _advance_per(self, batch: Batch, times: Int64s, split: SplitTime) -> tuple[Int64s | None, int]:
        """Marks where each value of the `per` columns is a split of its own.

        A value met for the first time enters at the watermark that its file has reached before that
        row, which is a function of the file alone.
        """
        delay = self.node.max_delay if self.node.max_delay is not None else MAX_TIME
        per = split.per = split.per or PerValues()
        codes = np.empty(len(times), dtype=np.int32)
        new: list[tuple[int, tuple[object, ...], npt.NDArray[np.bool_]]] = []
        combined, values = _distinct(batch.rows, self.node.per)
        lookup = np.full(len(values), -1, dtype=np.int32)
        for index, value in enumerate(values):
            known = per.codes.get(value)
            if known is not None:
                lookup[index] = known
        codes[:] = lookup[combined]
        for index in np.flatnonzero(lookup < 0).tolist():
            rows = combined == index
            new.append((int(np.argmax(rows)), values[index], rows))
        marks = np.empty(len(times), dtype=np.int64)
        begin, behind, reached = 0, 0, split.passed
        new.sort(key=lambda entry: entry[0])
        for number in range(len(new) + 1):
            row = new[number][0] if number < len(new) else len(times)
            progress = advance_splits(times[begin:row], codes[begin:row], per.max_time, per.floor, delay)
            marks[begin:row] = times[begin:row] if progress.marks is None else progress.marks
            behind += progress.behind
            begin = row
            if number < len(new):
                _, value, rows = new[number]
                if len(per.max_time):
                    reached = max(reached, add_time(int(per.max_time.min()), -delay))
                codes[rows] = per.enter(value, max(split.floor, reached))
        split.passed = max(split.passed, reached)
        if len(times):
            split.max_time = max(split.max_time, int(times.max()))
        return (marks if behind else None), behind

    def _sift(
        self,
        batch: Batch,
        times: Int64s,
        split: SplitTime,
        refused: list[tuple[Suspect, DataError]],
        far: int,
    ) -> Iterator[tuple[Batch, Int64s]]:
        """The batch without rows that jump far ahead of their split and that the next row does not confirm.

        A jump in the last row is held back until the next batch says what it is.
        """
        keep = np.ones(len(times), dtype=np.bool_)
        row, top = 0, split.max_time
        while row < len(times):
            suspect = split.suspect
            if suspect is not None:
                split.suspect = None
                if times[row] > suspect.limit:
                    top = suspect.time
                    if row == 0:
                        yield suspect.row, np.array([suspect.time], dtype=np.int64)
                else:
                    keep[row - 1 if row else slice(0)] = False
                    refused.append((suspect, self.jump_error(suspect)))
            if top == MIN_TIME:
                top, row = int(times[row]), row + 1
                continue
            rest = times[row:]
            before = np.maximum.accumulate(np.concatenate(([top], rest[:-1])))
            ahead = np.flatnonzero(rest > np.minimum(before, MAX_TIME - far) + far)
            if not len(ahead):
                break
            at = row + int(ahead[0])
            top = int(before[ahead[0]])
            limit = add_time(top, far)
            split.suspect = Suspect(batch.slice(at, 1), _where(batch, at), int(times[at]), limit)
            row = at + 1
        if split.suspect is not None:
            keep[-1] = False
        if keep.all():
            yield batch, times
        elif keep.any():
            yield batch.filter(keep), times[keep]

    def _refused(self, refused: Sequence[tuple[Suspect, DataError]]) -> Iterator[Output]:
        """Rows that jumped: by the step's policy."""
        for suspect, error in refused:
            if not self.refuse:
                raise error
            yield Refusal(suspect.row, [error])

    def jump_error(self, suspect: Suspect) -> DataError:
        """The error for a jump that the next row did not confirm."""
        assert self.node.max_jump is not None
        return DataError(
            f"an event time jumps by more than max_jump={format_duration(self.node.max_jump)!r}"
            ", and the next row does not confirm it",
            where=suspect.where,
            expected=f"at most {format_time(suspect.limit)}",
            got=format_time(suspect.time),
            hint="correct the row, or raise max_jump if gaps of this length are real",
        )

    def on_end(self) -> Iterator[Output]:
        """A jump in the last row of a split stays unconfirmed; the last worker to end says so."""
        assert self.clock is not None
        if self.clock.worker_ended() == self.workers:
            left = [split.suspect for split in self.clock.splits.values() if split.suspect is not None]
            yield from self._refused([(suspect, self.jump_error(suspect)) for suspect in left])

    def counters(self) -> dict[str, int]:
        """Rows behind their mark, late or not."""
        return {"behind": self.behind}


def _first_unfit(column: pa.Array, name: str) -> int:
    """The first row whose time does not fit, found by halving."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            times_ns(column.slice(low, middle - low), name)
            low = middle
        except DataError:
            high = middle
    return low


def _where(batch: Batch, row: int) -> str:
    return f"row {row:,} of a batch" if batch.origin is None else batch.origin.describe(row)


def _distinct(
    rows: pa.RecordBatch, names: Sequence[str]
) -> tuple[npt.NDArray[np.intp], list[tuple[object, ...]]]:
    """For each row the index of its combination of values, and the combinations."""
    combined = np.zeros(rows.num_rows, dtype=np.int64)
    dictionaries: list[list[object]] = []
    for name in names:
        column = rows.column(name)
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode(null_encoding="encode")
        values = column.dictionary.to_pylist()
        indices = np.asarray(pc.fill_null(column.indices.cast(pa.int64()), len(values)))
        values.append(None)
        combined = combined * len(values) + indices
        dictionaries.append(values)
    present, inverse = np.unique(combined, return_inverse=True)
    found: list[tuple[object, ...]] = []
    for code in present.tolist():
        parts: list[object] = []
        for values in reversed(dictionaries):
            code, index = divmod(code, len(values))
            parts.append(values[index])
        found.append(tuple(reversed(parts)))
    return inverse, found
