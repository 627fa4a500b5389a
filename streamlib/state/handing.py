"""Panes that go to other workers of the process as they are.

A window of few keys goes to one worker, the first that closes its own part of it: that worker keeps its
pane as it is, and merges what the others have of the window into it. So a window that only one worker
has met costs nothing. A window of many keys is merged by all workers, each the records of its own keys:
the sender says which records are whose, touches them no more, and the others read them at the same time.
No row is built, and only what is new is copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels._jit import Kernel, inline, kernel
from streamlib.kernels.hashing import LONG_TAG, bytes_word, half_hash, hash_word
from streamlib.kernels.keys import KeyKind
from streamlib.kernels.memory import I64, load_i64, load_u64
from streamlib.state import layout
from streamlib.state.closed import Closed
from streamlib.state.fused import merge_handed_kernel
from streamlib.state.pane import Pane, address
from streamlib.state.panes import PaneStore
from streamlib.state.record_keys import keys_of_records, write_state

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]

_HALF = np.uint64(32)
_GROUP_SHIFT = np.uint64(56)
_GROUP_BITS = np.int64(8)


BY_KEY = -1
"""In place of a worker: each merges the records of its own keys."""
WHOLE_MAX = 16_384
"""Keys of a window up to which one worker merges it alone."""


class Owners:
    """Which worker merges a window, for the workers of one step in one process."""

    def __init__(self) -> None:
        self._workers: dict[int, int] = {}

    def claim(self, start: int, worker: int, keys: int) -> int:
        """The worker to whom all there is of a window goes, or `BY_KEY`; the first that asks decides.

        Args:
            start: the window's start, ns.
            worker: who asks.
            keys: how many it has of the window.
        """
        return self._workers.setdefault(start, worker if keys <= WHOLE_MAX else BY_KEY)

    def restored(self, starts: Iterable[int]) -> None:
        """All workers have records of windows that open with these."""
        for start in starts:
            self._workers[start] = BY_KEY

    def forget(self, starts: Iterable[int]) -> None:
        """Windows have closed: nothing of them is left with any worker."""
        for start in starts:
            self._workers.pop(start, None)


@dataclass(frozen=True, slots=True, eq=False)
class HandedPane:
    """What one worker gets of a pane.

    Attributes:
        start: the window's start, ns.
        pane: where the records are. Nobody else changes it any more, or, without entries, has it.
        entries: for each record of the worker's keys, in slot order, the half of its key's hash that
            tables have, and its slot + 1; None for all records.
    """

    start: int
    pane: Pane
    entries: Uint64s | None = None

    def __len__(self) -> int:
        return self.pane.count if self.entries is None else len(self.entries)

    @property
    def nbytes(self) -> int:
        """Bytes of these records."""
        return len(self) * self.pane.record_bytes


Share: TypeAlias = HandedPane | pa.RecordBatch
"""What one worker gets of a window: records, or rows as `PaneStore.partials` makes them."""


class HandingStore(PaneStore):
    """A pane store whose panes go out many at a time: as results, or to other stores of the process.

    Args:
        key_fields: the key columns; none for windows over all rows.
        plan: what to aggregate.
    """

    def __init__(self, key_fields: Sequence[pa.Field], plan: AccumulatorPlan) -> None:
        super().__init__(key_fields, plan)
        self._merge_handed: Kernel[..., int] | None = None

    def pop_together(self, starts: Sequence[int]) -> tuple[Closed, list[int]]:
        """Takes out panes that are `plain`: all their keys, pane after pane, and how many each has."""
        taken = [self._take_out(start) for start in starts]
        panes, counts = np.array([pane.descriptor for pane in taken]), [pane.count for pane in taken]
        width = taken[0].record_bytes
        state = np.empty((len(self.plan.words), sum(counts)), dtype=np.int64)
        write_state(panes, width, self._head, state)
        keys = keys_of_records(panes, width, self.key_schema)
        return Closed(starts[0], keys, state.T, [], self.plan), counts

    def keys_in(self, start: int) -> int:
        """How many keys the pane that starts at `start` has."""
        count: int = self._panes[start].count
        return count

    def peek(self, start: int) -> Closed:
        """What the pane that starts at `start` has: right as long as nothing is added."""
        return self._closed(self._panes[start])

    def hands_over(self, start: int) -> bool:
        """Whether the records of a pane say all: its keys and its state. Else it goes as rows, by `partials`."""
        return self.plain and int(self._panes[start].descriptor[layout.PANE_NULL_SLOT]) == 0

    def give(self, start: int) -> Share:
        """Takes a pane out for one worker."""
        if not self.hands_over(start):
            return self.partials(start)
        return HandedPane(start, self._take_out(start))

    def hand_over(self, starts: Iterable[int], workers: int) -> Iterator[tuple[int, list[HandedPane]]]:
        """Takes panes out, and yields what each worker gets of them by its keys; only those that get something."""
        shares: list[list[HandedPane]] = [[] for _ in range(workers)]
        for start in starts:
            pane = self._take_out(start)
            entries, bounds = self._entries(pane, workers)
            for worker, share in enumerate(shares):
                if bounds[worker + 1] > bounds[worker]:
                    share.append(HandedPane(start, pane, entries[bounds[worker] : bounds[worker + 1]]))
        return ((worker, share) for worker, share in enumerate(shares) if share)

    def _entries(self, pane: Pane, workers: int) -> tuple[Uint64s, list[int]]:
        """What `HandedPane.entries` are of each worker, one after the other, and where these begin."""
        entries, ends = np.empty(pane.count, dtype=np.uint64), np.zeros(workers + 1, dtype=np.int64)
        arena = int(pane.descriptor[layout.PANE_ARENA])
        records = pane.records
        part_records(address(records), records.strides[0], arena, self._kind is KeyKind.BYTES, entries, ends)
        return entries, ends.tolist()

    def take_in(self, shares: Iterable[Share]) -> None:
        """Takes in what other stores with the same keys and plan have handed over."""
        for share in shares:
            if isinstance(share, pa.RecordBatch):
                self.merge(share)
            elif share.entries is not None:
                self._merge_entries(share.start, share.pane, share.entries)
            elif share.start in self._panes:
                self._merge_entries(share.start, share.pane, self._entries(share.pane, 1)[0])
            else:
                self._enter(share.pane)
        # What came in may hold a null as the first or last value: from now on it can be replaced.
        self._nullable = [True] * len(self._nullable)

    def _merge_entries(self, start: int, pane: Pane, entries: Uint64s) -> None:
        if self._merge_handed is None:
            self._merge_handed = merge_handed_kernel(self.plan, self._kind is KeyKind.BYTES)
        if start not in self._panes:
            self._slots_expected = len(entries)
            self._open(start)
        mine: Pane = self._panes[start]
        call = self._call
        call[layout.CALL_SOURCE] = address(pane.records)
        call[layout.CALL_KEY_DATA] = pane.descriptor[layout.PANE_ARENA]
        call[layout.CALL_KEY_VALUES] = address(entries)
        done, count = 0, len(entries)
        while True:
            call[layout.CALL_DIRECTORY] = address(mine.descriptor)
            done = self._merge_handed(done, count, call)
            if done == count:
                break
            self._make_room()


@inline
def row_word(word: I64, arena: I64, long_keys: bool) -> I64:
    """The word that rows have of the key of a record with this word."""
    if long_keys and word >= LONG_TAG:
        kept = arena + np.int64(word - LONG_TAG)
        return bytes_word(kept + 8, load_i64(kept, 0), np.int64(0))
    return word


@kernel("void(int64, int64, int64, boolean, uint64[::1], int64[::1])")
def part_records(
    record: I64, record_bytes: I64, arena: I64, long_keys: bool, entries: Uint64s, ends: Int64s
) -> None:
    """Sorts records by the worker of their keys, as `keys.partition` sends rows, and keeps their order.

    Args:
        record: address of the first one.
        entries: one for each record, written: `half_hash` of the key's word, and slot + 1.
        ends: (workers + 1) zeros; becomes where each worker's entries begin.
    """
    workers, count = np.int64(len(ends) - 1), len(entries)
    found, whose = np.empty(count, dtype=np.uint64), np.empty(count, dtype=np.uint8)
    for slot in range(count):
        word = row_word(load_u64(record, 0), arena, long_keys)
        found[slot] = (half_hash(word) << _HALF) | np.uint64(slot + 1)
        worker = (np.int64(hash_word(word) >> _GROUP_SHIFT) * workers) >> _GROUP_BITS
        whose[slot] = np.uint8(worker)
        ends[worker + 1] += 1
        record += record_bytes
    for part in range(workers):
        ends[part + 1] += ends[part]
    for slot in range(count):
        entries[ends[whose[slot]]] = found[slot]
        ends[whose[slot]] += 1
    for part in range(workers, 0, -1):
        ends[part] = ends[part - 1]
    ends[0] = 0
