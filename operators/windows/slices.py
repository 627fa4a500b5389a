"""The open windows of a step, of windows that overlap: rows are kept by slice, and windows made of slices.

A slice is a piece of time that no window's bound lies in, so a row is added once, whatever the number of
its windows. A window closes by merging its slices (`streamlib.state.TwoStacks`).

A row may be late for some of its windows and not for the others. It must not enter the slice, which
earlier windows still take: it waits in an *amendment*, a pane of its own for its slice and the number of
the first window that takes it, and enters the slice when that window closes. The same holds for state
that was restored from a snapshot: windows before that number have come out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sortedcontainers import SortedDict

from streamlib.aggregates import AccumulatorPlan
from streamlib.contracts import OverlappingWindow, State
from streamlib.elements import MAX_TIME, MIN_TIME, Batch, add_time
from streamlib.kernels.columns import values_of
from streamlib.operators.windows.cumulative import CumulativeWindow
from streamlib.operators.windows.hopping import HoppingWindow
from streamlib.operators.windows.panes import Missed, Panes, Ripe
from streamlib.state import Tumbling, TwoStacks, with_fields

Int64s = npt.NDArray[np.int64]

FROM_THE_START = MIN_TIME
"""In place of the number of the first window that takes a row: all of its windows do."""


class SlicedPanes(Panes):
    """Windows that overlap.

    Args:
        window: says which windows a time is in.
        lateness: how long after its end a window takes rows, ns.
        key_fields: the key columns.
        plan: what to aggregate.
    """

    def __init__(
        self, window: OverlappingWindow, lateness: int, key_fields: Sequence[pa.Field], plan: AccumulatorPlan
    ) -> None:
        self.window = window
        self.lateness = lateness
        self.stacks = TwoStacks(key_fields, plan)
        self.store = self.stacks.slices
        self.rule = slice_rule(window)
        self.amendments = self.stacks.amendments
        self._places: Any = SortedDict()  # (number of the first window, slice) -> pane of `amendments`
        self._next_place = 0
        self._next: int | None = None
        self._begins_field = with_fields(
            pa.schema(list(key_fields)), [pa.field("first_window", pa.int64())]
        ).field(len(key_fields))

    # Rows.

    def missed(self, batch: Batch) -> Missed | None:
        time, mark = batch.time, batch.mark
        assert time is not None
        if mark is None:
            return None
        behind = np.flatnonzero(mark > time)  # no other row can be late
        time, mark = time[behind], mark[behind]
        # What the mark has closed. A window that is held at the latest time ends with the input only.
        lowered = np.where(
            mark < MIN_TIME + self.lateness, MIN_TIME, mark.clip(None, MAX_TIME - 1) - self.lateness
        )
        first, last = self.window.first(time), self.window.last(time)
        begins = np.maximum(first, self.window.first(np.maximum(time, lowered)))
        late = begins > first
        if not late.any():
            return None
        rows, refused = np.zeros((2, len(batch)), dtype=np.bool_)
        rows[behind[late]] = True
        refused[behind[begins > last]] = True
        begins_of_all = np.zeros(len(batch), dtype=np.int64)
        begins_of_all[behind] = begins
        firsts = first[late]
        ends = self.window.ends(firsts)
        return Missed(
            rows,
            mark[late] - ends - self.lateness,
            np.minimum(begins, last + 1)[late] - firsts,
            self.window.starts(firsts),
            ends,
            refused if refused.any() else None,
            begins_of_all,
        )

    def add(
        self, keys: pa.RecordBatch, inputs: Sequence[pa.Array], batch: Batch, missed: Missed | None
    ) -> None:
        if missed is not None:
            taken = slice(None) if missed.refused is None else ~missed.refused
            late, begins = missed.rows[taken], missed.begins
            assert begins is not None
            if late.any():
                some = pa.array(late)
                self._add_late(
                    keys.filter(some),
                    [v.filter(some) for v in inputs],
                    batch.filter(late),
                    begins[taken][late],
                )
                some = pa.array(~late)
                keys, inputs, batch = keys.filter(some), [v.filter(some) for v in inputs], batch.filter(~late)
        time = batch.time
        assert time is not None
        if not len(time):
            return
        if self._next is not None:
            low = np.array([time.min()], dtype=np.int64)
            assert self.window.first(low)[0] >= self._next, "a row came for a window that has closed"
        starts = self.rule if self.rule is not None else self.window.slices(time)
        self.store.add(keys, starts, inputs, time, batch.order)

    def _add_late(
        self, keys: pa.RecordBatch, inputs: Sequence[pa.Array], batch: Batch, begins: Int64s
    ) -> None:
        assert batch.time is not None
        places = self._places_of(begins, self.window.slices(batch.time))
        self.amendments.add(keys, places, inputs, batch.time, batch.order)

    def _places_of(self, begins: Int64s, slices: Int64s) -> Int64s:
        """The panes for amendments of these slices by these windows."""
        if self._next is not None:
            assert (begins >= self._next).all(), "a row came for a window that has closed"
        pairs, which = np.unique(np.stack([begins, slices]), axis=1, return_inverse=True)
        places = np.empty(pairs.shape[1], dtype=np.int64)
        for at, pair in enumerate(zip(*pairs.tolist(), strict=True)):
            place = self._places.get(pair)
            if place is None:
                place = self._places[pair] = self._next_place
                self._next_place += 1
            places[at] = place
        return places[which.ravel()]

    def check_open(self, watermark: int) -> None:
        """Rows are checked when they are added."""

    # Windows.

    def close(self, watermark: int | None, partial: bool = False) -> Iterator[Ripe]:
        yield from self._close(watermark, partial)
        self.stacks.compact()

    def _close(self, watermark: int | None, partial: bool) -> Iterator[Ripe]:
        while (number := self._earliest()) is not None:
            start, end = self.window.bounds(number)
            if watermark is not None and add_time(end, self.lateness) > watermark:
                return
            stacks = self.stacks
            stacks.drop(start)
            for place in list(self._places.irange(None, (number, MAX_TIME))):
                stacks.amend(place[1], self.amendments.take(self._places.pop(place)))
            stacks.push(end)
            self._next = number + 1
            closed = stacks.closed(partial)
            stacks.drop(self.window.bounds(number + 1)[0])
            if closed is not None:
                yield Ripe(number, start, end, closed)

    def _earliest(self) -> int | None:
        """The number of the next window that may have rows; None when there is none."""
        pushed = self.stacks.pushed
        starts = self.store.starts()
        found = [place[0] for place in self._places.keys()[:1]]
        if self._next is not None and pushed is not None and starts and starts[0] < pushed:
            found.append(self._next)
        elif starts:
            found.append(int(self.window.first(np.array(starts[:1], dtype=np.int64))[0]))
        return min(found, default=None)

    def closing_watermark(self, watermark: int) -> int:
        if not MIN_TIME < watermark < MAX_TIME:
            return watermark
        closed = self._first_open(watermark) - 1
        return add_time(self.end_of(closed), self.lateness)

    def complete(self, watermark: int) -> int:
        if not MIN_TIME < watermark < MAX_TIME:
            return watermark
        return self.window.bounds(self._first_open(watermark))[0]

    def _first_open(self, watermark: int) -> int:
        times = np.array([add_time(watermark, -self.lateness)], dtype=np.int64)
        return int(self.window.first(times)[0])

    def end_of(self, number: int) -> int:
        return self.window.bounds(number)[1]

    def bounds_of(self, number: int) -> tuple[int, int]:
        return self.window.bounds(number)

    def open_ranges(self, times: Int64s) -> list[tuple[int, int]]:
        starts = np.union1d(np.array(self.store.starts(), dtype=np.int64), times)
        first, last = self.window.first(starts), self.window.last(starts)
        if self._next is not None:
            first = np.maximum(first, self._next)
        late = [(begins, int(self.window.last(np.array([s]))[0])) for begins, s in self._places]
        return [*zip(first.tolist(), last.tolist(), strict=True), *late]

    def rows(self) -> int:
        at = len(self.store.key_schema) + 1
        stores = (self.store, self.amendments)
        return sum(int(np.sum(store.snapshot().column(at).to_numpy())) for store in stores)

    # Partial results and snapshots.

    def partials(self, watermark: int | None) -> Iterator[pa.RecordBatch]:
        number = MAX_TIME
        if watermark is not None and watermark < MAX_TIME:
            number = self._next = self._first_open(watermark)
        due = takewhile(
            lambda start: watermark is None or int(self.window.first(np.array([start]))[0]) < number,
            list(self.store.starts()),
        )
        for starts in self.store.gathered(due):
            yield self.with_begins(self.store.partials(*starts), FROM_THE_START)
        for begins, start in list(self._places.irange(None, (number, MIN_TIME), (True, False))):
            part = self.amendments.partials(self._places.pop((begins, start)))
            slices = pa.array(np.full(part.num_rows, start, dtype=np.int64))
            part = part.set_column(len(self.store.key_schema), "window_start", slices)
            yield self.with_begins(part, begins)
        self.stacks.compact()

    def with_begins(self, part: pa.RecordBatch, begins: int) -> pa.RecordBatch:
        """Partial results with the number of the first window that takes them, as `merge` reads them."""
        return part.append_column(
            self._begins_field, pa.array(np.full(part.num_rows, begins, dtype=np.int64))
        )

    def merge(self, partial: pa.RecordBatch) -> None:
        at = partial.num_columns - 1
        for rows, late in self._by_begins(partial.select(range(at)), values_of(partial.column(at))):
            if not late and self.stacks.pushed is not None:
                low = values_of(rows.column(len(self.store.key_schema))).min()
                assert low >= self.stacks.pushed, "a row came for a window that has closed"
            (self.amendments if late else self.store).merge(rows)

    def _by_begins(self, rows: Any, begins: Int64s) -> Iterator[tuple[Any, bool]]:
        """Rows of a state with the start of their slice: those of slices, then those of amendments by pane.

        Args:
            rows: a batch or a table.
        """
        late = begins != FROM_THE_START
        if not late.all():
            yield (rows.filter(pa.array(~late)) if late.any() else rows), False
        if late.any():
            at = len(self.store.key_schema)
            rows = rows.filter(pa.array(late))
            column = rows.column(at)
            slices = np.asarray(column.cast(pa.int64()))
            places = pa.array(self._places_of(begins[late], slices)).cast(column.type)
            yield rows.set_column(at, rows.schema.field(at), places), True

    def snapshot(self) -> State:
        at = len(self.store.key_schema)
        kept = self.store.snapshot()
        begins = np.full(kept.num_rows, FROM_THE_START, dtype=np.int64)
        if self._next is not None and self.stacks.pushed is not None:
            starts = np.asarray(kept.column(at).cast(pa.int64()))
            begins[starts < self.stacks.pushed] = self._next
        late = self.amendments.snapshot()
        place = np.asarray(late.column(at).cast(pa.int64()))
        found = {pane: pair for pair, pane in self._places.items()}
        pairs = np.array([found[p] for p in place.tolist()], dtype=np.int64).reshape(-1, 2)
        starts = pa.chunked_array([pa.array(pairs[:, 1])]).cast(late.column(at).type)
        late = late.set_column(at, late.schema.field(at), starts)
        rows = pa.concat_tables([kept, late])
        return {
            "panes": rows.append_column(self._begins_field, pa.array(np.concatenate([begins, pairs[:, 0]])))
        }

    def restore(self, state: State) -> None:
        if "panes" not in state:
            return
        table = state["panes"].combine_chunks()
        begins = np.asarray(table.column(table.num_columns - 1))
        for rows, late in self._by_begins(table.select(range(table.num_columns - 1)), begins):
            (self.amendments if late else self.store).restore(rows)


def slice_rule(window: OverlappingWindow) -> Tumbling | None:
    """Where all slices have one length: the rule by which the kernel finds them."""
    if isinstance(window, HoppingWindow) and window.size % window.every == 0:
        return Tumbling(window.every, window.offset)
    if isinstance(window, CumulativeWindow):
        return Tumbling(window.every, window.offset % window.every)
    return None
