"""What runs for windows with ``emit="updates"``: rows or partial results in, changes of the table of results out.

L is the allowed lateness, E a window's end. A window gives its first result at W >= E, made of the rows
whose mark lies before E, and its correction at W >= E + L, if the rows with a mark in [E, E + L) changed it.
Both have the time E - 1 ns, so what is sent on is W - L.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.contracts import Output, State
from streamlib.elements import Batch
from streamlib.graph import BuildContext
from streamlib.operators.aggregation import Late
from streamlib.operators.tables.table_step import INSERT, UPDATE
from streamlib.operators.windows.aggregate import (
    MergeOperator,
    PaneOperator,
    WindowOperator,
    count_numbers,
    open_panes,
)
from streamlib.operators.windows.corrections import (
    Corrected,
    Corrections,
    differ,
    windows_after_first_result,
)
from streamlib.operators.windows.panes import Missed, Ripe
from streamlib.operators.windows.previews import Previews
from streamlib.operators.windows.slices import FROM_THE_START, SlicedPanes

if TYPE_CHECKING:
    from streamlib.operators.windows.updates import WindowTableNode

Int64s = npt.NDArray[np.int64]
FIRST, CORRECTION = 0, 1
"""Revisions."""


class Updating(PaneOperator):
    """The windows until their first result (`panes`), and those that wait for their correction.

    Attributes:
        judge: says which rows are late.
    """

    node: WindowTableNode

    def __init__(self, node: WindowTableNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self.judge = self.panes
        self.corrections: Corrections | None = None
        self.previews: Previews | None = None
        fields, plan = self.panes.store.key_schema, self.panes.store.plan
        if self.lateness:
            self.panes = open_panes(node, context.needs_order, lateness=0)
            self.store = self.panes.store
            self.corrections = Corrections(self.panes, self.lateness, list(fields), plan)
        if node.early is not None:
            self.previews = Previews(self.panes, node.early, list(fields), plan)

    def emit(self, watermark: int | None) -> Iterator[Output]:
        """First results, then corrections, then previews."""
        closing = self.panes.close(watermark, partial=self.corrections is not None)
        if self.previews is None:
            for batch in self.results.batches(self._kept(closing, watermark)):
                yield changes(self.node, batch, FIRST, INSERT)
        else:
            for window in self._kept(closing, watermark):
                yield from self._batches([window], FIRST, self.previews.first_results(window))
        if self.corrections is not None:
            for windows in self.corrections.close(watermark):
                yield from self._corrected(windows)
        if self.previews is not None and watermark is not None:
            for window, kinds in self.previews.due(watermark):
                yield from self._batches([window], None, kinds)

    def _kept(self, windows: Iterable[Ripe], watermark: int | None) -> Iterator[Ripe]:
        for window in windows:
            if self.corrections is not None:
                self.corrections.keep(window, watermark)
            yield window

    def _corrected(self, windows: Sequence[Corrected]) -> Iterator[Batch]:
        """The corrections of some windows, as far as values are others."""
        result = self.results.whole([window.after for window in windows])
        known = np.concatenate([window.known for window in windows])
        differs = np.ones(len(result), dtype=np.bool_)
        shown = [window.before for window in windows if window.before is not None]
        if shown:
            before, names = self.results.whole(shown).rows, list(self.node.aggregates)
            after = result.rows if known.all() else result.rows.filter(pa.array(known))
            differs[known] = differ(before, after, names)
        kinds = np.where(known, UPDATE, INSERT)
        if not differs.all():
            result, kinds = result.filter(differs), kinds[differs]
        yield from self._sliced(changes(self.node, result, CORRECTION, kinds))

    def _batches(
        self, windows: list[Ripe], revision: int | None, kinds: npt.NDArray[np.str_]
    ) -> Iterator[Batch]:
        yield from self._sliced(changes(self.node, self.results.whole(windows), revision, kinds))

    def _sliced(self, batch: Batch) -> Iterator[Batch]:
        rows = self.results.batch_rows
        for offset in range(0, len(batch), rows):
            yield batch if len(batch) <= rows else batch.slice(offset, rows)

    # Barriers and looks.

    def snapshot(self) -> State:
        """The open windows, and what is kept of those with a first result or a preview."""
        more: dict[str, pa.Table] = {}
        for part in (self.corrections, self.previews):
            if part is not None:
                more.update(part.snapshot())
        return {**super().snapshot(), **more}

    def restore(self, state: State) -> None:
        """Takes in the windows of this worker's keys."""
        super().restore(state)
        for part in (self.corrections, self.previews):
            if part is not None:
                part.restore(state)

    def open_windows(self) -> tuple[int, int | None]:
        """Windows that have not given their first result, and those that will be corrected."""
        ranges = self.open_ranges()
        end = self.panes.end_of(min(ranges)[0]) if ranges else None
        return count_numbers(ranges) + (0 if self.corrections is None else len(self.corrections)), end

    def open_rows(self) -> int:
        """Rows in these windows."""
        return super().open_rows() + (0 if self.corrections is None else self.corrections.rows())


class UpdatingOperator(WindowOperator, Updating):
    """Takes rows. As a combiner it yields partial results: in the last column whether they are for a correction."""

    def inputs(self, batch: Batch, refused: Late | None) -> Sequence[pa.Array]:
        """All as columns: corrections take rows out of them."""
        return self.columns.evaluate(batch, refused)

    def missed(self, batch: Batch) -> Missed | None:
        """The rows that are late, for first results and corrections."""
        return self.judge.missed(batch)

    def take(self, batch: Batch, kept: Batch, inputs: Sequence[pa.Array], missed: Missed | None) -> None:
        """Adds rows to the windows whose first result takes them, and to those that it came before."""
        behind = None if self.corrections is None else self.panes.missed(batch)
        if behind is None or self.corrections is None:
            super().take(batch, kept, inputs, missed)
            return
        refused = None if missed is None else missed.refused
        rows, numbers = windows_after_first_result(self.panes, batch, missed, behind)
        if refused is not None:
            rows = np.cumsum(~refused)[rows] - 1  # their places in `kept`
        self.corrections.add(self.keys, kept, inputs, rows, numbers, self.watermark)
        if behind.refused is not None:
            in_time = ~behind.refused if refused is None else ~behind.refused[~refused]
            mask = pa.array(in_time)
            kept, inputs = kept.filter(in_time), [values.filter(mask) for values in inputs]
        if len(kept):
            self.panes.add(kept.rows.select(self.keys), inputs, kept, behind)

    @property
    def held_bytes(self) -> int:
        """Bytes of the open windows."""
        return super().held_bytes + (0 if self.corrections is None else self.corrections.late.nbytes)

    def partials(self, watermark: int | None) -> Iterator[pa.RecordBatch]:
        """Takes out, as partial results, what a watermark closes at the merge; all that is for corrections."""
        for part in self.panes.partials(watermark):
            yield _marked(part, False)
        if self.corrections is not None:
            late = self.corrections.late
            for number in list(late.starts()):
                part = late.partials(number)
                if isinstance(self.panes, SlicedPanes):
                    part = self.panes.with_begins(part, FROM_THE_START)
                yield _marked(part, True)

    def forward(self, watermark: int) -> int:
        """A combiner sends only what closes a window at the merge: for its first result, or for its correction."""
        if not self.combine:
            return super().forward(watermark)
        return max(self.panes.closing_watermark(watermark), self.judge.closing_watermark(watermark))


class UpdatingMerger(MergeOperator, Updating):
    """Takes partial results of all workers for its own keys."""

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Merges partial results of rows, and those for corrections."""
        at = batch.rows.num_columns - 1
        late, rows = batch.rows.column(at), batch.rows.select(range(at))
        if late.true_count:
            assert self.corrections is not None, "nothing is late without allowed lateness"
            part = rows.filter(late)
            if isinstance(self.panes, SlicedPanes):
                part = part.select(range(at - 1))  # without the number of the first window that takes it
            self.corrections.merge(part, self.watermark)
            rows = rows.filter(pc.invert(late))
        if rows.num_rows:
            self.panes.merge(rows)
            self.check_open()
        return iter(())


def changes(
    node: WindowTableNode, batch: Batch, revision: int | None, kinds: str | npt.NDArray[np.str_]
) -> Batch:
    """Results as changes of the table."""
    rows, count = batch.rows, len(batch)
    revisions = pa.nulls(count, pa.int64()) if revision is None else pa.array(np.full(count, revision))
    if isinstance(kinds, str):
        change = pa.repeat(pa.scalar(kinds), count)
    else:
        change = pa.array(kinds.tolist(), pa.string())
    return batch.with_rows(pa.RecordBatch.from_arrays([*rows.columns, revisions, change], schema=node.schema))


def _marked(part: pa.RecordBatch, late: bool) -> pa.RecordBatch:
    return part.append_column("late", pa.repeat(pa.scalar(late), part.num_rows))
