"""The open windows of a step: rows and partial results in, closed windows out. Here those that do not overlap.

A row is refused by its mark alone: when the mark has reached its window's end and the allowed
lateness. A window closes when the watermark W has (W >= end + lateness); since W is at most the mark
of every row still to come, an accepted row always finds its window open.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan
from streamlib.contracts import State, Window
from streamlib.elements import MAX_TIME, MIN_TIME, Batch, Handed, add_time
from streamlib.kernels.columns import Product
from streamlib.operators.windows.tumbling import TumblingWindow
from streamlib.state import BY_KEY, Closed, HandingStore, Owners, PaneStore, Share, Tumbling

Int64s = npt.NDArray[np.int64]
Selection = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Ripe:
    """A window that has closed.

    Attributes:
        number: what its panes call it: its start, where windows do not overlap.
        start, end: its bounds, ns.
        closed: its keys and their state.
    """

    number: int
    start: int
    end: int
    closed: Closed

    @property
    def bounds(self) -> list[tuple[int, int, int]]:
        """Start and end, ns, and how many keys."""
        return [(self.start, self.end, len(self.closed.state))]


@dataclass(frozen=True, slots=True)
class RipeTogether:
    """Windows that have closed, with few keys each: all in one.

    Attributes:
        bounds: of each window start and end, ns, and how many keys.
        closed: their keys and state, window after window.
    """

    bounds: list[tuple[int, int, int]]
    closed: Closed


@dataclass(frozen=True, slots=True)
class Missed:
    """The rows of a batch that are late for a window or more.

    Attributes:
        rows: which these are; shape (rows of the batch,). The others have an entry per such row.
        late_by: by how much the mark has passed the closing of the first window missed, ns.
        windows: how many windows were missed.
        starts, ends: the bounds of the first one, ns.
        refused: of the batch's rows, those that are late for all their windows; None when none is.
        begins: of the batch's rows that are behind their mark, the number of the first window that takes
            each; None where windows do not overlap.
    """

    rows: Selection
    late_by: Int64s
    windows: Int64s
    starts: Int64s
    ends: Int64s
    refused: Selection | None
    begins: Int64s | None = None


class Panes(ABC):
    """The open windows of one worker.

    Attributes:
        store: holds what rows are added to.
    """

    store: PaneStore

    @abstractmethod
    def missed(self, batch: Batch) -> Missed | None:
        """The rows that are late for a window, by their marks; None when none is."""

    def multiplied(self) -> frozenset[int]:
        """The inputs that `add` takes as two factors, too."""
        return frozenset()

    @abstractmethod
    def add(
        self, keys: pa.RecordBatch, inputs: Sequence[pa.Array | Product], batch: Batch, missed: Missed | None
    ) -> None:
        """Adds rows to the windows that take them.

        Args:
            keys, inputs: of the rows that are not refused.
            batch: these rows.
            missed: what `missed` said of the batch with the refused rows.
        """

    @abstractmethod
    def merge(self, partial: pa.RecordBatch) -> None:
        """Adds partial results of another worker."""

    @abstractmethod
    def check_open(self, watermark: int) -> None:
        """Asserts that no row was added to a window that the watermark had closed."""

    @abstractmethod
    def close(self, watermark: int | None, partial: bool = False) -> Iterator[Ripe]:
        """Takes out the windows that a watermark closes, in order; all for None.

        Args:
            partial: with state in the form that can be merged too.
        """

    def close_in_parts(self, watermark: int | None) -> Iterator[Ripe | RipeTogether]:
        """As `close`; a window of many keys in parts that follow one another, windows of few together."""
        yield from self.close(watermark)

    @abstractmethod
    def partials(self, watermark: int | None) -> Iterator[pa.RecordBatch]:
        """Takes out, as partial results, what windows are made of that the watermark closes; all for None."""

    def handed(self, watermark: int | None, worker: int, workers: int) -> Iterator[Handed | pa.RecordBatch]:
        """As `partials`, but what can be is handed to workers of this process as it is.

        Args:
            worker: this one, of so many `workers`.
        """
        yield from self.partials(watermark)

    def take_in(self, shares: Sequence[Share]) -> None:
        """Adds what another worker has handed over."""
        raise NotImplementedError(f"{type(self).__name__} hands nothing over")

    @abstractmethod
    def closing_watermark(self, watermark: int) -> int:
        """The largest watermark up to `watermark` that closes a window."""

    @abstractmethod
    def complete(self, watermark: int) -> int:
        """The time before which no window takes rows any more, ns."""

    @abstractmethod
    def open_ranges(self, times: Int64s) -> list[tuple[int, int]]:
        """Numbers, from and to, of the windows that hold rows or would hold rows at `times`."""

    @abstractmethod
    def end_of(self, number: int) -> int:
        """The end of a window by such a number, ns."""

    @abstractmethod
    def bounds_of(self, number: int) -> tuple[int, int]:
        """The start and the end of a window by such a number, ns."""

    @abstractmethod
    def rows(self) -> int:
        """Rows in open windows, each counted once."""

    @abstractmethod
    def snapshot(self) -> State:
        """The open windows, as rows of keys, window start and named state."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Takes in the state of this worker's keys."""


class FixedPanes(Panes):
    """Windows that do not overlap: a pane each.

    Args:
        window: assigns rows to windows.
        lateness: how long after its end a window takes rows, ns.
        key_fields: the key columns.
        plan: what to aggregate.
        owners: which worker merges a window, known to all workers; without them each merges its keys.
    """

    def __init__(
        self,
        window: Window,
        lateness: int,
        key_fields: Sequence[pa.Field],
        plan: AccumulatorPlan,
        owners: Owners | None = None,
    ) -> None:
        self.window = window
        self.lateness = lateness
        self.owners = owners
        self.store: HandingStore = HandingStore(key_fields, plan)
        tumbles = isinstance(window, TumblingWindow)
        self.rule = Tumbling(window.size, window.offset) if tumbles else None  # type: ignore[attr-defined]
        self.checked = 0

    def missed(self, batch: Batch) -> Missed | None:
        assert batch.time is not None
        if batch.mark is None:
            return None
        behind = np.flatnonzero(batch.mark > batch.time)  # no other row can be late
        starts = self.window.starts(batch.time[behind])
        ends = self.window.ends(starts)
        closing = np.where(ends > MAX_TIME - self.lateness, MAX_TIME, ends + self.lateness)
        late = (batch.mark[behind] >= closing) & (closing < MAX_TIME)
        which = behind[late]
        if not len(which):
            return None
        rows: Selection = np.zeros(len(batch), dtype=np.bool_)
        rows[which] = True
        over = batch.mark[which] - closing[late]
        return Missed(rows, over, np.ones(len(over), dtype=np.int64), starts[late], ends[late], refused=rows)

    def multiplied(self) -> frozenset[int]:
        return self.store.multiplied()

    def add(
        self, keys: pa.RecordBatch, inputs: Sequence[pa.Array | Product], batch: Batch, missed: Missed | None
    ) -> None:
        assert batch.time is not None
        starts = self.rule if self.rule is not None else self.window.starts(batch.time)
        self.store.add(keys, starts, inputs, batch.time, batch.order)

    def merge(self, partial: pa.RecordBatch) -> None:
        self.store.merge(partial)

    def check_open(self, watermark: int) -> None:
        panes = len(self.store)
        if panes != self.checked:  # none was closed since
            assert self._closing(self.store.starts()[0]) > watermark, (
                "a row came for a window that has closed"
            )
            self.checked = panes

    def _closing(self, start: int) -> int:
        return add_time(self.window.end(start), self.lateness)

    def _due(self, watermark: int | None) -> list[int]:
        self.checked = 0
        starts = list(self.store.starts())
        if watermark is None:
            return starts
        return starts[: bisect_right(starts, watermark, key=self._closing)]

    def close(self, watermark: int | None, partial: bool = False) -> Iterator[Ripe]:
        for start in self._closed(watermark):
            yield Ripe(start, start, self.window.end(start), self.store.pop(start, partial))

    def _closed(self, watermark: int | None) -> list[int]:
        """The windows that close here, and not at another worker."""
        due = self._due(watermark)
        if self.owners is not None:
            self.owners.forget(due)
        return due

    def close_in_parts(self, watermark: int | None) -> Iterator[Ripe | RipeTogether]:
        for starts in self.store.gathered(self._closed(watermark)):
            if self.store.plain and len(starts) > 1:
                closed, counts = self.store.pop_together(starts)
                ends = self.window.ends(np.array(starts, dtype=np.int64)).tolist()
                yield RipeTogether(list(zip(starts, ends, counts, strict=True)), closed)
                continue
            for start in starts:
                end = self.window.end(start)
                yield from (Ripe(start, start, end, part) for part in self.store.pop_parts(start))

    def partials(self, watermark: int | None) -> Iterator[pa.RecordBatch]:
        for starts in self.store.gathered(self._due(watermark)):
            yield self.store.partials(*starts)

    def handed(self, watermark: int | None, worker: int, workers: int) -> Iterator[Handed | pa.RecordBatch]:
        if not self.store.plain:
            yield from self.partials(watermark)
            return
        for starts in self.store.gathered(self._due(watermark)):
            for owner, those in self._owned(starts, worker).items():
                if owner != BY_KEY:
                    yield _handed(owner, [self.store.give(start) for start in those])
                elif all(self.store.hands_over(start) for start in those):
                    for part, shares in self.store.hand_over(those, workers):
                        yield _handed(part, shares)
                else:
                    yield self.store.partials(*those)

    def _owned(self, starts: list[int], worker: int) -> dict[int, list[int]]:
        """Windows by the worker that merges them, or `BY_KEY`."""
        if self.owners is None:
            return {BY_KEY: starts}
        owned: dict[int, list[int]] = {}
        for start in starts:
            owner = self.owners.claim(start, worker, self.store.keys_in(start))
            owned.setdefault(owner, []).append(start)
        return owned

    def take_in(self, shares: Sequence[Share]) -> None:
        self.store.take_in(shares)

    def closing_watermark(self, watermark: int) -> int:
        return add_time(self.complete(watermark), self.lateness)

    def complete(self, watermark: int) -> int:
        if not MIN_TIME < watermark < MAX_TIME:
            return watermark
        open_at = np.array([add_time(watermark, -self.lateness)], dtype=np.int64)
        return int(self.window.starts(open_at)[0])

    def open_ranges(self, times: Int64s) -> list[tuple[int, int]]:
        starts = {*self.store.starts(), *np.unique(self.window.starts(times)).tolist()}
        return [(start, start) for start in starts]

    def end_of(self, number: int) -> int:
        return self.window.end(number)

    def bounds_of(self, number: int) -> tuple[int, int]:
        return number, self.window.end(number)

    def rows(self) -> int:
        return int(np.sum(self.store.snapshot().column(len(self.store.key_schema) + 1).to_numpy()))

    def snapshot(self) -> State:
        return {"panes": self.store.snapshot()}

    def restore(self, state: State) -> None:
        if "panes" in state:
            self.store.restore(state["panes"])
            if self.owners is not None:  # the rows of a checkpoint come by their keys
                self.owners.restored(self.store.starts())


def _handed(worker: int, shares: Sequence[Share]) -> Handed:
    rows = sum(share.num_rows if isinstance(share, pa.RecordBatch) else len(share) for share in shares)
    return Handed(worker, shares, rows, sum(share.nbytes for share in shares))
