"""From closed windows to rows: keys, bounds, and the expressions over finished aggregates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Window
from streamlib.elements import Batch
from streamlib.expr import Program
from streamlib.state import Closed

if TYPE_CHECKING:
    from streamlib.operators.windows.aggregate import WindowAggregateNode

_UNIT_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


def bounds_type(time: pa.DataType | None, window: Window) -> pa.DataType:
    """The type of window bounds: the time column's, unless the windows are finer than its unit."""
    if time is None or not (pa.types.is_timestamp(time) or pa.types.is_date(time)):
        return pa.timestamp("ns")
    unit, zone = ("s", None) if pa.types.is_date(time) else (time.unit, time.tz)
    fine = window.granularity() % _UNIT_NS[unit] == 0
    return pa.timestamp(unit if fine else "ns", zone)


class ResultBuilder:
    """Builds result batches of about `batch_rows` rows: small windows are gathered.

    Args:
        node: whose results.
        batch_rows: the largest batch.
    """

    def __init__(self, node: WindowAggregateNode, batch_rows: int) -> None:
        self.node = node
        self.batch_rows = batch_rows
        self.schema = node.schema
        self.intermediate = node.aggregation.intermediate
        self.finals = Program(node.aggregation.finals, self.intermediate)

    def batches(self, closed: Iterable[Closed]) -> Iterator[Batch]:
        """Result rows of the windows, in their order."""
        gathered: list[Closed] = []
        rows = 0
        for window in closed:
            gathered.append(window)
            rows += len(window.state)
            if rows >= self.batch_rows:
                yield from self._build(gathered)
                gathered, rows = [], 0
        if gathered:
            yield from self._build(gathered)

    def _build(self, windows: list[Closed]) -> Iterator[Batch]:
        counts = [len(w.state) for w in windows]
        starts = np.repeat(np.array([w.start for w in windows], dtype=np.int64), counts)
        ends = self.node.window.ends(starts)
        state = windows[0].state if len(windows) == 1 else np.concatenate([w.state for w in windows])
        kept = [pa.concat_arrays(columns) for columns in zip(*(w.kept for w in windows), strict=True)]
        finished = windows[0].plan.finish(state, kept)
        values = pa.RecordBatch.from_arrays(finished, schema=self.intermediate)
        keys = windows[0].keys if len(windows) == 1 else pa.concat_batches([w.keys for w in windows])
        kind = self.node.bounds_type
        columns = [
            *keys.columns,
            self.bounds(starts, kind),
            self.bounds(ends, kind),
            *self.finals.evaluate(values),
        ]
        result = Batch(pa.RecordBatch.from_arrays(columns, schema=self.schema), ends - 1)
        for offset in range(0, len(result), self.batch_rows):
            yield result if len(result) <= self.batch_rows else result.slice(offset, self.batch_rows)

    def bounds(self, times: npt.NDArray[np.int64], kind: pa.DataType) -> pa.Array:
        """Times in ns as a timestamp column."""
        return pa.array(times // _UNIT_NS[kind.unit], pa.int64()).cast(kind)
