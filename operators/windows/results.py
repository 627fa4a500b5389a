"""From closed windows to rows: keys, bounds, and the expressions over finished aggregates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import OverlappingWindow, Window
from streamlib.elements import Batch
from streamlib.operators.windows.panes import Ripe, RipeTogether
from streamlib.state import concat, moved_into

if TYPE_CHECKING:
    from streamlib.operators.windows.node import WindowAggregateNode

BOUNDS = ("window_start", "window_end")
Int64s = npt.NDArray[np.int64]
_UNIT_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


def bounds_type(time: pa.DataType | None, window: Window | OverlappingWindow) -> pa.DataType:
    """The type of window bounds: the time column's, unless the windows are finer than its unit."""
    if time is None or not (pa.types.is_timestamp(time) or pa.types.is_date(time)):
        return pa.timestamp("ns")
    unit, zone = ("s", None) if pa.types.is_date(time) else (time.unit, time.tz)
    fine = window.granularity() % _UNIT_NS[unit] == 0
    return pa.timestamp(unit if fine else "ns", zone)


def as_times(times: Int64s, kind: pa.DataType) -> pa.Array:
    """Times in ns as a timestamp column; none is finer than its unit."""
    return pa.array(times // _UNIT_NS[kind.unit]).view(kind)


class _Repeated:
    """A value for each row of some windows. The parts of a large window have one array, which nobody may change."""

    def __init__(self) -> None:
        self._rows: Int64s = np.empty(0, dtype=np.int64)

    def of(self, values: list[int], counts: list[int]) -> Int64s:
        if len(values) != 1:
            return np.repeat(np.array(values, dtype=np.int64), counts)
        if counts[0] > len(self._rows) or values[0] != self._rows[0]:
            self._rows = np.full(max(1, counts[0]), values[0], dtype=np.int64)
            self._rows.flags.writeable = False
        return self._rows[: counts[0]]


class ResultBuilder:
    """Builds result batches of about `batch_rows` rows: small windows are gathered.

    Args:
        node: whose results.
        batch_rows: the largest batch.
    """

    def __init__(self, node: WindowAggregateNode, batch_rows: int) -> None:
        self.node = node
        self.batch_rows = batch_rows
        self.schema = node.result_schema
        self.intermediate = node.aggregation.intermediate
        self.finals = node.aggregation.results
        self._times, self._starts, self._ends = _Repeated(), _Repeated(), _Repeated()

    def batches(self, windows: Iterable[Ripe | RipeTogether]) -> Iterator[Batch]:
        """Result rows of the windows, in their order."""
        gathered: list[Ripe | RipeTogether] = []
        rows = 0
        for window in windows:
            gathered.append(window)
            rows += len(window.closed.state)
            if rows >= self.batch_rows:
                yield from self._build(gathered)
                gathered, rows = [], 0
        if gathered:
            yield from self._build(gathered)

    def _build(self, windows: list[Ripe | RipeTogether]) -> Iterator[Batch]:
        result = self.whole(windows)
        memory = windows[0].closed.memory
        if memory is not None and len(windows) == 1:
            bounds = [name for name in result.rows.schema.names if name in BOUNDS]
            result = result.with_rows(moved_into(memory, result.rows, bounds))
        for offset in range(0, len(result), self.batch_rows):
            yield result if len(result) <= self.batch_rows else result.slice(offset, self.batch_rows)

    def whole(self, windows: Sequence[Ripe | RipeTogether]) -> Batch:
        """Result rows of one window or more, in one batch."""
        parts = [w.closed for w in windows]
        begins, ends_ns, each = zip(*(b for w in windows for b in w.bounds), strict=True)
        counts = list(each)
        times = self._times.of([end - 1 for end in ends_ns], counts)
        state = parts[0].state if len(parts) == 1 else np.concatenate([part.state for part in parts])
        plan = parts[0].plan
        kept = [
            concat(columns) if number < len(plan.kept) or len(columns) == 1 else pa.chunked_array(columns)
            for number, columns in enumerate(zip(*(part.kept for part in parts), strict=True))
        ]
        finished = plan.finish(state, kept)
        values = pa.RecordBatch.from_arrays(finished, schema=self.intermediate)
        keys = parts[0].keys if len(parts) == 1 else pa.concat_batches([part.keys for part in parts])
        columns = [*keys.columns]
        if len(self.node.pane_keys) == len(self.node.keys):  # else the bounds are among them
            kind = self.node.bounds_type
            unit = _UNIT_NS[kind.unit]
            starts = self._starts.of([start // unit for start in begins], counts)
            ends = self._ends.of([end // unit for end in ends_ns], counts)
            columns += [pa.array(starts).view(kind), pa.array(ends).view(kind)]
        columns += self.finals.evaluate(values)
        return Batch(pa.RecordBatch.from_arrays(columns, schema=self.schema), times)

    def bounds(self, times: Int64s, kind: pa.DataType) -> pa.Array:
        """Times in ns as a timestamp column."""
        return as_times(times, kind)
