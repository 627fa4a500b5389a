"""`dedup(keep="last")`: the last row of each run of an id comes out when the watermark has passed the run's end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Output, State
from streamlib.elements import MIN_TIME, Batch, add_time
from streamlib.graph import BuildContext
from streamlib.operators.dedup import DedupNode, DedupOperator
from streamlib.state import LastRows

Int64s = npt.NDArray[np.int64]


class KeepLastOperator(DedupOperator):
    """The runs that are not over, with their last rows."""

    def __init__(self, node: DedupNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self.runs = LastRows(node.id_fields, node.within)

    def work(self, rows: Batch) -> Iterator[Output]:
        """Takes rows in order; yields the last rows of runs that a new one has ended."""
        over, repeated = self.runs.add(rows)
        yield from self._cut(over)
        yield from self.dropped(repeated)

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Takes the rows that nothing can come before any more; ends the runs that no row can join."""
        before = super().forward(time)
        yield from self._release(before)
        yield from self._cut(self.runs.due(before))

    def on_end(self) -> Iterator[Output]:
        """Takes all rows, and ends all runs."""
        yield from super().on_end()
        yield from self._cut(self.runs.due(None))

    def tidy(self, before: int) -> None:
        """Runs go with their rows."""

    def _cut(self, rows: Batch) -> Iterator[Batch]:
        for begin in range(0, len(rows), self.batch_rows):
            part = rows.slice(begin, min(self.batch_rows, len(rows) - begin))
            yield Batch(part.rows, part.time)

    def forward(self, watermark: int) -> int:
        """W - L - within: the last row of a run that is not over may be its first."""
        within = self.node.within
        return MIN_TIME if within is None else add_time(super().forward(watermark), -within)

    def snapshot(self) -> State:
        """The last rows of runs, when each run began, and the rows that wait."""
        if self.columns.schema is None:
            return {}
        return {**super().snapshot(), "runs": self.runs.snapshot(self.columns.schema)}

    def restore(self, state: State) -> None:
        """Takes in this worker's runs, of one snapshot after another."""
        super().restore(state)
        if "runs" in state:
            self.columns.begin(pa.schema(list(state["runs"].schema)[:-3]))
            self.runs.restore(state["runs"])

    def open_windows(self) -> tuple[int, int | None]:
        """1 while rows wait or runs are open: their results are not out yet."""
        rows, low = super().open_windows()
        return (1, low) if rows or self.runs.count else (0, None)

    def open_rows(self) -> int:
        """Rows that wait, and the last rows of runs."""
        return super().open_rows() + self.runs.count
