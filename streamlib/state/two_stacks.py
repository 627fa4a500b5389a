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

Sums for hundreds of slices would not fit into the cache, and be read from memory when their turn comes. So
the front is made by blocks of slices that do fit: at first it has one sum for each block, and those within
a block when the oldest slice left is one of it. That is one more merge of each slice.

The slices themselves are kept until they are dropped. They are what a snapshot holds, and what late
rows of a slice are added to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from sortedcontainers import SortedDict

from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.state import layout
from streamlib.state.closed import Closed
from streamlib.state.fused import merge_panes_kernel
from streamlib.state.pane import address
from streamlib.state.placed import KeySlots, PlacedPane, PlacedStore, StoredSums, WordSums

_SLACK = 5 / 4
"""Sums of slices with the same keys may differ in what they reserve."""
_BLOCK_BYTES = 1 << 19
"""Slices whose sums are made together: with these they lie in the second-level cache."""
_SPARSE = 2
"""A result with fewer keys than one of so many is not made in the order of slots."""
_SLOTS_MAX = 8192
"""Above, to copy records costs more than to find them."""
_ROWS = 1
"""The word of a record behind its slot: its row count."""


class TwoStacks:
    """Slices, and the sum of those that are in the window under way.

    Args:
        key_fields: the key columns.
        plan: what to aggregate.

    Attributes:
        slices: all that are not dropped, by their start. Rows are added here.
        amendments: panes of rows that do not enter their slice yet, by any number.
        pushed: slices that start before are pushed.

    >>> import numpy as np
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
    ['a', 'b'] [1, 1]
    """

    def __init__(self, key_fields: Sequence[pa.Field], plan: AccumulatorPlan) -> None:
        self._keys = KeySlots(key_fields)
        self.slices = PlacedStore(self._keys, plan)
        self.amendments = PlacedStore(self._keys, plan)
        in_words = not (plan.kept or plan.collected)
        self._sums = WordSums(self._keys, plan) if in_words else StoredSums(self._keys, plan)
        self._by_slot = SumBySlot(self._keys, plan) if in_words else None
        self._front: Any = SortedDict()  # slice start -> the sum from there
        self._anchors: set[int] = set()  # those in the front that blocks begin with
        self._front_ends: int | None = None
        self._back: PlacedPane | None = None
        self._oldest_in_back: int | None = None
        self.pushed: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._keys.nbytes + sum(pane.nbytes for pane in self._panes())

    def _panes(self) -> list[PlacedPane]:
        back = [] if self._back is None else [self._back]
        return [*self.slices.panes(), *self.amendments.panes(), *self._front.values(), *back]

    def compact(self) -> None:
        """Forgets the keys that are in no pane, from time to time."""
        if self._keys.is_due or (self._keys.count and not self._panes()):
            self._keys.compact(self._panes())

    def drop(self, before: int) -> None:
        """Frees the slices that start before `before`."""
        starts = self.slices.starts()
        while starts and starts[0] < before:
            self.slices.take(starts[0])
        left_block = False
        while self._front and self._front.keys()[0] < before:
            start, pane = self._front.popitem(0)
            self._sums.free(pane)
            left_block |= start in self._anchors
            self._anchors.discard(start)
        if self._oldest_in_back is not None and self._oldest_in_back < before:
            self._flip()
        elif left_block:
            nearest, total = self._front.peekitem(0) if self._front else (self._front_ends, None)
            self._make_sums(self._starts(before, nearest), total, 0)

    def push(self, before: int) -> None:
        """Pushes the slices that start before `before` and are not pushed yet."""
        for start in self._starts(self.pushed, before):
            self._back = self._sums.plus(self._back, self.slices.pane(start))
            if self._oldest_in_back is None:
                self._oldest_in_back = start
        self.pushed = before

    def amend(self, start: int, pane: PlacedPane) -> None:
        """Adds to a slice, pushed or not; it need not exist.

        Args:
            start: of a slice that would not have been dropped.
        """
        self.slices.absorb(start, pane)
        if self.pushed is None or start >= self.pushed:
            return
        if self._front_ends is not None and start < self._front_ends:
            for key in self._front.irange(None, start):
                self._front[key] = self._sums.plus(self._front[key], pane)
            return
        self._back = self._sums.plus(self._back, pane)
        if self._oldest_in_back is None or start < self._oldest_in_back:
            self._oldest_in_back = start

    def closed(self, partial: bool = False) -> Closed | None:
        """The sum of all slices that are pushed, perhaps to be merged with more; None when there are none."""
        if self.pushed is None:
            return None
        parts: list[PlacedPane] = []
        nearest = self._front.keys()[0] if self._front else None
        if nearest is not None:
            parts.append(self._front[nearest])
        if self._front_ends is not None:
            alone = self._starts(None, self._front_ends if nearest is None else nearest)
            parts += [self.slices.pane(start) for start in alone]
        if self._back is not None:
            parts.append(self._back)
        if self._by_slot is not None and parts:
            found = self._by_slot.closed(parts)
            if found is not None:
                return found
        total = None
        for part in parts:
            total = self._sums.plus(total, part)
        return None if total is None else self._sums.closed(total, partial)

    def _flip(self) -> None:
        """Makes the front of all slices that are pushed, and empties the back."""
        for pane in self._front.values():
            self._sums.free(pane)
        self._front.clear()
        self._anchors.clear()
        if self._back is not None:
            self._sums.free(self._back)
        self._back = self._oldest_in_back = None
        self._front_ends = self.pushed
        blocks = self._blocks(self._starts(None, self.pushed))
        total, since = None, 0
        for block in reversed(blocks[1:]):
            if since == 0 and total is not None:
                total = self._sums.plus(None, total)  # the one before stays in the front
            for start in reversed(block):
                pane = self.slices.pane(start)
                total, since = self._sums.plus(total, pane), since + pane.nbytes
            if total is not None and since * _SLACK >= total.nbytes:
                self._front[block[0]], since = total, 0
                self._anchors.add(block[0])
        self._make_sums(blocks[0] if blocks else [], total, since)

    def _blocks(self, starts: Sequence[int]) -> list[list[int]]:
        """Consecutive slices by the memory that is at hand at once, in their order."""
        blocks: list[list[int]] = []
        size = _BLOCK_BYTES
        for start in reversed(starts):
            if size >= _BLOCK_BYTES:
                blocks.append([])
                size = 0
            blocks[-1].append(start)
            size += self.slices.pane(start).nbytes
        return [block[::-1] for block in reversed(blocks)]

    def _make_sums(self, starts: Sequence[int], total: PlacedPane | None, since: int) -> None:
        """Puts into the front the sums from each of these slices on.

        Args:
            total: the sum of what comes behind them.
            since: how many bytes the slices have that no sum in the front has; 0 where `total` is there.
        """
        for start in reversed(starts):
            pane = self.slices.pane(start)
            if since == 0 and total is not None:
                total = self._sums.plus(None, total)
            total = self._sums.plus(total, pane)
            since += pane.nbytes
            if since * _SLACK >= total.nbytes:
                self._front[start], since = total, 0
        if total is not None and since:
            self._sums.free(total)

    def _starts(self, first: int | None, before: int | None) -> list[int]:
        """The starts of slices from `first` to before `before`."""
        return list(self.slices._panes.irange(first, before, (True, False)))


class SumBySlot:
    """Sums of panes that are results at once: records in the order of slots, where most slots have one.

    Args:
        index: of the keys.
        plan: what is aggregated; all in words.
    """

    def __init__(self, index: KeySlots, plan: AccumulatorPlan) -> None:
        self._index, self._plan = index, plan
        self._merge = merge_panes_kernel(plan)
        self._template = np.concatenate([[0], plan.initial])
        self._call = np.zeros(layout.CALL_INPUTS, dtype=np.int64)
        self._pane = np.zeros(layout.PANE_WORDS, dtype=np.int64)
        self._table = np.empty(0, dtype=np.int64)
        self._clean = np.empty((0, len(self._template)), dtype=np.int64)
        self._call[layout.CALL_TEMPLATE] = address(self._template)
        self._call[layout.CALL_DIRECTORY] = address(self._pane)

    def closed(self, parts: Sequence[PlacedPane]) -> Closed | None:
        """The sum of some panes; None where they have too few of the keys, or there are many."""
        slots = self._index.count
        if slots > min(_SLOTS_MAX, _SPARSE * max(part.count for part in parts)):
            return None
        if slots > len(self._table):
            self._table = np.arange(1, 2 * slots + 1)
            self._clean = np.tile(self._template, (2 * slots, 1))
            self._clean[:, 0] = np.arange(2 * slots)
        records = self._clean[:slots].copy()
        pane = self._pane
        pane[layout.PANE_TABLE], pane[layout.PANE_MASK] = address(self._table), -slots
        pane[layout.PANE_RECORDS] = address(records)
        pane[layout.PANE_COUNT] = pane[layout.PANE_LIMIT] = slots
        for part in parts:
            self._call[layout.CALL_SOURCE] = address(part.records)
            done = self._merge(0, part.count, self._call)
            assert done == part.count, "every slot has a record"
        rows = records[:, _ROWS]
        if rows.all():
            return Closed(0, self._index.all(), records[:, 1:], [], self._plan)
        present = np.flatnonzero(rows)
        return Closed(0, self._index.at(present), records[present, 1:], [], self._plan)
