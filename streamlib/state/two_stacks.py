"""Sums over the latest slices of time: what overlapping windows need, at a cost that no number of slices raises.

A slice is a pane. Slices are pushed in the order of time and dropped from the oldest, and at any time the
state of all that are pushed and not dropped is asked for. It is made of two parts (the two stacks of
Tangwongsan, Hirzel, Schneider: Low-Latency Sliding-Window Aggregation, DEBS 2017):

* the *back*: one pane that each slice is merged into when it is pushed;
* the *front*: sums of older slices, each from its own slice to where the front ends. When a slice that
  the back contains is dropped, the front is made anew of all slices, and the back begins empty.

A front with a sum for each slice would repeat keys that few slices have. So there is a sum only where the
slices since the sum before have about as many bytes as the sum: it takes no more memory than the slices,
and those between two sums, which are merged one by one, have no more than the result.

The slices themselves are kept until they are dropped. They are what a snapshot holds, and what late
rows of a slice are added to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sortedcontainers import SortedDict

from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.state.pane import address
from streamlib.state.panes import Closed, PaneStore

Int64s = npt.NDArray[np.int64]

_BACK = 0
_RESULT = 1
_FRONT = 2
"""Panes of sums: the first of the front; the others follow."""
_SLACK = 5 / 4
"""Sums of slices with the same keys may differ in what they reserve."""


class MergingStore(PaneStore):
    """A store whose panes are merged with one another."""

    def read(self, start: int) -> Closed:
        """A pane as it is, for other stores; its state changes with the pane."""
        return self._closed(self._panes[start], partial=True)

    def result(self, start: int) -> Closed:
        """A pane's results, which stay as they are."""
        closed = self._closed(self._panes[start])
        return Closed(start, closed.keys, closed.state.copy(), closed.kept, self.plan)

    def absorb(self, start: int, part: Closed) -> None:
        """Merges what `read` gave, of this store or another with the same keys and plan, into a pane."""
        state = np.ascontiguousarray(part.state)
        self._merge(part.keys, np.full(len(state), start, dtype=np.int64), address(state), part.kept)

    def take(self, start: int) -> Closed:
        """Takes out a pane for another store, which can `absorb` it."""
        part = self.read(start)
        self._take_out(start)
        return part

    def drop(self, start: int) -> None:
        """Frees a pane."""
        self._take_out(start)

    def size(self, start: int) -> int:
        """Bytes that a pane reserves."""
        return int(self._panes[start].nbytes)


class TwoStacks:
    """Slices, and the sum of those that are in the window under way.

    Args:
        key_fields: the key columns.
        plan: what to aggregate.

    Attributes:
        slices: all that are not dropped, by their start. Rows are added here.
        pushed: slices that start before are pushed.

    >>> from streamlib.aggregates import AccumulatorPlan, Count
    >>> stacks = TwoStacks([pa.field("k", pa.string())], AccumulatorPlan([(Count(), None, None)]))
    >>> keys, times = pa.record_batch({"k": ["a", "b", "a"]}), np.array([0, 10, 20])
    >>> stacks.slices.add(keys, times, [], times)
    >>> for end in (20, 30):
    ...     stacks.drop(before=end - 20)
    ...     stacks.push(before=end)
    ...     closed = stacks.closed()
    ...     print(closed.keys["k"].to_pylist(), closed.results()[0].to_pylist())
    ['a', 'b'] [1, 1]
    ['b', 'a'] [1, 1]
    """

    def __init__(self, key_fields: Sequence[pa.Field], plan: AccumulatorPlan) -> None:
        self.slices = MergingStore(key_fields, plan)
        self._sums = MergingStore(key_fields, plan)
        self._front: Any = SortedDict()  # slice start -> pane of the sum from there
        self._front_ends: int | None = None
        self._oldest_in_back: int | None = None
        self._next_sum = _FRONT
        self.pushed: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self.slices.nbytes + self._sums.nbytes

    def drop(self, before: int) -> None:
        """Frees the slices that start before `before`."""
        for start in self._starts(None, before):
            self.slices.drop(start)
        for start in list(self._front.irange(None, before, (True, False))):
            self._sums.drop(self._front.pop(start))
        if self._oldest_in_back is not None and self._oldest_in_back < before:
            self._flip()

    def push(self, before: int) -> None:
        """Pushes the slices that start before `before` and are not pushed yet."""
        for start in self._starts(self.pushed, before):
            self._sums.absorb(_BACK, self.slices.read(start))
            if self._oldest_in_back is None:
                self._oldest_in_back = start
        self.pushed = before

    def amend(self, start: int, part: Closed) -> None:
        """Adds to a slice, pushed or not; it need not exist.

        Args:
            start: of a slice that would not have been dropped.
        """
        self.slices.absorb(start, part)
        if self.pushed is None or start >= self.pushed:
            return
        if self._front_ends is not None and start < self._front_ends:
            for key in self._front.irange(None, start):
                self._sums.absorb(self._front[key], part)
            return
        self._sums.absorb(_BACK, part)
        if self._oldest_in_back is None or start < self._oldest_in_back:
            self._oldest_in_back = start

    def closed(self) -> Closed | None:
        """The sum of all slices that are pushed; None when there are none."""
        if self.pushed is None:
            return None
        parts: list[tuple[MergingStore, int]] = []
        nearest = next(iter(self._front), None)
        if self._front_ends is not None:
            alone = self._starts(None, self._front_ends if nearest is None else nearest)
            parts += [(self.slices, start) for start in alone]
        if nearest is not None:
            parts.append((self._sums, self._front[nearest]))
        if self._oldest_in_back is not None:
            parts.append((self._sums, _BACK))
        if not parts:
            return None
        if len(parts) == 1:
            store, start = parts[0]
            return store.result(start)
        self._merged(parts)
        return self._sums.pop(_RESULT)

    def _merged(self, parts: Iterable[tuple[MergingStore, int]]) -> None:
        for store, start in parts:
            self._sums.absorb(_RESULT, store.read(start))

    def _flip(self) -> None:
        """Makes the front of all slices that are pushed, and empties the back."""
        for pane in self._front.values():
            self._sums.drop(pane)
        self._front.clear()
        if self._oldest_in_back is not None:
            self._sums.drop(_BACK)
            self._oldest_in_back = None
        self._front_ends = self.pushed
        since = 0
        for start in reversed(self._starts(None, self.pushed)):
            self._sums.absorb(_RESULT, self.slices.read(start))
            since += self.slices.size(start)
            if since * _SLACK >= self._sums.size(_RESULT):
                since = 0
                self._sums.absorb(self._next_sum, self._sums.read(_RESULT))
                self._front[start] = self._next_sum
                self._next_sum += 1
        if _RESULT in self._sums.starts():
            self._sums.drop(_RESULT)

    def _starts(self, first: int | None, before: int | None) -> list[int]:
        """The starts of slices from `first` to before `before`."""
        return list(self.slices._panes.irange(first, before, (True, False)))
