"""What windows need after their first result: that result's state, and the rows that came after it.

Both are kept until the watermark has passed the window's end and the allowed lateness. Windows without
such rows, nearly all as a rule, cost no more than to keep their state for so long. A row that is taken
by several windows after their first results is added to each of them, so its cost grows with how late it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sortedcontainers import SortedDict

from streamlib.aggregates import AccumulatorPlan
from streamlib.contracts import State
from streamlib.elements import Batch, add_time
from streamlib.kernels.columns import values_of
from streamlib.operators.windows.panes import FixedPanes, Missed, Panes, Ripe
from streamlib.operators.windows.slices import SlicedPanes
from streamlib.state import Closed, PaneStore

Int64s = npt.NDArray[np.int64]
Selection = npt.NDArray[np.bool_]


GATHERED_ROWS = 16_384
"""Results that are put together with their late rows at a time: small windows go together."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """A window with late rows: the keys that these are of.

    Attributes:
        before: their first results, as far as there were any.
        after: all their results: those of the keys in `before` first, in the same order.
    """

    before: Ripe | None
    after: Ripe

    @property
    def known(self) -> Selection:
        """Of which rows of `after` there is one in `before`."""
        known = 0 if self.before is None else len(self.before.closed.state)
        return np.arange(len(self.after.closed.state)) < known


class Corrections:
    """Windows that have given their first result, by number.

    Args:
        panes: the windows until then.
        lateness: how long after its end a window takes rows, ns.
        key_fields: the key columns.
        plan: what to aggregate.

    Attributes:
        late: the state of the rows that came after the first result, by window.
    """

    def __init__(
        self, panes: Panes, lateness: int, key_fields: Sequence[pa.Field], plan: AccumulatorPlan
    ) -> None:
        self.lateness = lateness
        self.late = PaneStore(key_fields, plan)
        self._panes = panes
        self._scratch = PaneStore(key_fields, plan)
        self._shown: Any = SortedDict()  # number -> Closed, in the form that can be merged

    def keep(self, window: Ripe, watermark: int | None) -> None:
        """Takes a window with its first result, in the form that can be merged, if it may be corrected."""
        is_over = watermark is None or self._due(window.number) <= watermark
        if not is_over or window.number in self.late.starts():
            self._shown[window.number] = window.closed

    def add(
        self,
        keys: Sequence[str],
        rows: Batch,
        inputs: Sequence[pa.Array],
        which: Int64s,
        numbers: Int64s,
        watermark: int | None,
    ) -> None:
        """Adds rows to windows that have given their first result, or might have.

        Args:
            keys: the key columns of `rows`.
            inputs: the plan's inputs.
            which: of each pair of a row and a window the row.
            numbers: and the window.
            watermark: the last one.
        """
        if not len(which):
            return
        if watermark is not None:
            assert self._due(int(numbers.min())) > watermark, "a row came for a window that has closed"
        taken = rows.take(which)
        assert taken.time is not None
        at = pa.array(which)
        self.late.add(
            taken.rows.select(list(keys)), numbers, [v.take(at) for v in inputs], taken.time, taken.order
        )

    def merge(self, partial: pa.RecordBatch, watermark: int | None) -> None:
        """Adds rows that another worker has aggregated, by the number of their window."""
        numbers = values_of(partial.column(len(self.late.key_schema)))
        if watermark is not None:
            assert self._due(int(numbers.min())) > watermark, "a row came for a window that has closed"
        self.late.merge(partial)

    def close(self, watermark: int | None) -> Iterator[list[Corrected]]:
        """Takes out the windows that take no more rows, in order; all for None.

        Yields:
            Those that have late rows, some at a time.
        """
        starts = self.late.starts()
        gathered: list[tuple[int, Closed | None]] = []
        rows = 0
        while numbers := [*self._shown.keys()[:1], *starts[len(gathered) : len(gathered) + 1]]:
            number = min(numbers)
            if watermark is not None and self._due(number) > watermark:
                break
            shown = self._shown.pop(number, None)
            if number in starts:
                gathered.append((number, shown))
                rows += 1 if shown is None else len(shown.state)
                if rows >= GATHERED_ROWS:
                    yield self._corrected(gathered)
                    gathered, rows = [], 0
        if gathered:
            yield self._corrected(gathered)

    def _due(self, number: int) -> int:
        return add_time(self._panes.end_of(number), self.lateness)

    def _corrected(self, windows: Sequence[tuple[int, Closed | None]]) -> list[Corrected]:
        before = [(shown, number) for number, shown in windows if shown is not None]
        if before:
            self._scratch.merge(self._scratch.rows_of(before))
        self._scratch.merge(self.late.partials(*(number for number, _ in windows)))
        return [self._difference(number, shown) for number, shown in windows]

    def _difference(self, number: int, shown: Closed | None) -> Corrected:
        start, end = self._panes.bounds_of(number)
        whole = self._scratch.pop(number)  # the keys that were shown come first, in their order
        if shown is None:
            return Corrected(None, Ripe(number, start, end, whole))
        known = len(shown.state)
        touched = np.flatnonzero(whole.state[:known, 0] != shown.state[:, 0])  # the row counts
        new = np.arange(known, len(whole.state))
        before = Ripe(number, start, end, taken(shown, touched)) if len(touched) else None
        return Corrected(before, Ripe(number, start, end, taken(whole, np.concatenate([touched, new]))))

    # Barriers and looks.

    def __len__(self) -> int:
        """How many windows have rows for a correction."""
        return len(self.late)

    def rows(self) -> int:
        """Rows that wait for a correction; of several windows, in each."""
        return int(np.sum(self.late.snapshot().column(len(self.late.key_schema) + 1).to_numpy()))

    def snapshot(self) -> State:
        """The first results' state and the late rows', by key and the number of the window."""
        for number, closed in self._shown.items():
            self._scratch.merge(self._scratch.rows_of([(closed, number)]))
        shown = self._scratch.snapshot()
        for number in list(self._scratch.starts()):
            self._scratch.pop(number)
        return {"shown": self._numbered(shown), "late": self._numbered(self.late.snapshot())}

    def restore(self, state: State) -> None:
        """Takes in the windows of this worker's keys."""
        if "late" in state:
            self.late.restore(self._named(state["late"]))
        if "shown" in state:
            self._scratch.restore(self._named(state["shown"]))
            for number in list(self._scratch.starts()):
                others = self._shown.get(number)  # other keys of the same window
                if others is not None:
                    self._scratch.merge(self._scratch.rows_of([(others, number)]))
                self._shown[number] = self._scratch.pop(number, partial=True)

    def _numbered(self, table: pa.Table) -> pa.Table:
        """With the window's number as what it is: of tumbling windows it is the start."""
        at = len(self.late.key_schema)
        name = "window_number" if isinstance(self._panes, SlicedPanes) else table.schema.field(at).name
        numbers = table.column(at)
        if isinstance(self._panes, SlicedPanes):
            numbers = numbers.cast(pa.int64())
        return table.set_column(at, name, numbers)

    def _named(self, table: pa.Table) -> pa.Table:
        at = len(self.late.key_schema)
        field = self.late.snapshot().schema.field(at)
        return table.set_column(at, field, table.column(at).cast(field.type))


def taken(closed: Closed, which: Int64s) -> Closed:
    """The state of some keys."""
    at = pa.array(which)
    kept = [column.take(at) for column in closed.kept]
    return replace(closed, keys=closed.keys.take(at), state=closed.state[which], kept=kept)


def windows_after_first_result(
    panes: Panes, batch: Batch, missed: Missed | None, behind: Missed
) -> tuple[Int64s, Int64s]:
    """The pairs of a row and a window that takes it though it has given its first result; rows in their order.

    Args:
        panes: of the rows for first results.
        missed: which rows are late.
        behind: which are late for first results.
    """
    refused = None if missed is None else missed.refused
    if isinstance(panes, FixedPanes):
        rows = np.flatnonzero(behind.rows)
        if refused is None:
            return rows, behind.starts
        return rows[~refused[rows]], behind.starts[~refused[rows]]
    assert isinstance(panes, SlicedPanes) and batch.time is not None and behind.begins is not None
    rows = np.flatnonzero(behind.rows)
    time = batch.time[rows]
    first = panes.window.first(time) if missed is None else _begins(missed)[rows]
    counts = np.minimum(behind.begins[rows], panes.window.last(time) + 1) - first
    counts = np.maximum(counts, 0)
    ends = np.cumsum(counts)
    steps = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
    return np.repeat(rows, counts), np.repeat(first, counts) + steps


def _begins(missed: Missed) -> Int64s:
    assert missed.begins is not None
    return missed.begins


def differ(some: pa.RecordBatch, others: pa.RecordBatch, columns: Sequence[str]) -> Selection:
    """Which rows of two batches have different values in some of `columns`."""
    found = np.zeros(some.num_rows, dtype=np.bool_)
    for name in columns:
        if found.all():
            break
        found |= _differing(some.column(name), others.column(name))
    return found


def _differing(some: pa.Array, others: pa.Array) -> Selection:
    try:
        equal = pc.equal(some, others)
        if pa.types.is_floating(some.type):
            equal = pc.or_kleene(equal, pc.and_(pc.is_nan(some), pc.is_nan(others)))
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        same = [repr(a) == repr(b) for a, b in zip(some.to_pylist(), others.to_pylist(), strict=True)]
        return ~np.array(same, dtype=np.bool_)
    nulls = pc.and_(pc.is_null(some), pc.is_null(others))
    same_values = np.asarray(pc.fill_null(equal, False)) | np.asarray(nulls)
    return ~same_values
