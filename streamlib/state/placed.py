"""Panes over one index of keys: each key is found once, and panes are merged by the slots of keys.

For windows that overlap: the same keys come in each slice, and slices are merged again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels._jit import Kernel
from streamlib.state import layout
from streamlib.state.closed import Closed
from streamlib.state.fused import Variant, add_kernel, merge_kernel, merge_panes_kernel
from streamlib.state.pane import Pane, address, table_places
from streamlib.state.panes import PaneStore
from streamlib.state.placed_probe import enter_hashed
from streamlib.state.slots import SlotTable
from streamlib.state.value_store import ValueStore

Int64s = npt.NDArray[np.int64]

_SLOTS_MIN = 64
_SPARSE = 4
"""A pane with fewer records than one of so many slots has a table with hashes."""
_NO_BYTES = np.empty(0, dtype=np.uint8)
_DEAD_MIN = 1024
"""Keys in no pane that are not worth a compaction."""


class KeySlots:
    """The keys of some stores, each with a slot.

    Args:
        key_fields: the key columns.

    >>> keys = KeySlots([pa.field("k", pa.string())])
    >>> keys.slots(pa.record_batch({"k": ["b", "a", "b"]})).tolist(), keys.count
    ([0, 1, 0], 2)
    >>> keys.at(np.array([1, 0]))["k"].to_pylist()
    ['a', 'b']
    """

    def __init__(self, key_fields: Sequence[pa.Field]) -> None:
        self.schema = pa.schema(list(key_fields))
        self._table = self._new_table()
        self._all: pa.RecordBatch | None = None
        self._live = 0

    def _new_table(self) -> SlotTable:
        return SlotTable(list(self.schema), AccumulatorPlan([]))

    @property
    def count(self) -> int:
        """How many slots there are."""
        return self._table.count

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._table.nbytes

    def slots(self, keys: pa.RecordBatch) -> Int64s:
        """The slot of each row's key; a new key gets the next one."""
        return self._table.find(keys)

    def at(self, slots: Int64s) -> pa.RecordBatch:
        """The keys of some slots."""
        return self.all().take(pa.array(slots)) if len(self.schema) else _no_columns(len(slots))

    def all(self) -> pa.RecordBatch:
        """The keys of all slots, in their order."""
        if len(self.schema) == 0:
            return _no_columns(self.count)
        if self._all is None or self._all.num_rows < self.count:
            empty = [pa.nulls(0, kind) for kind in self.schema.types]
            if self.count:
                self._all = self._table.keys_at(np.arange(self.count))
            else:
                self._all = pa.RecordBatch.from_arrays(empty, schema=self.schema)
        return self._all

    @property
    def is_due(self) -> bool:
        """Whether `compact` may find that most keys are in no pane."""
        return self.count > 2 * self._live + _DEAD_MIN

    def compact(self, panes: Sequence[PlacedPane]) -> None:
        """Forgets the keys that are in none of these panes, when they are most: the others get new slots.

        Args:
            panes: all that there are.
        """
        live = np.unique(np.concatenate([pane.slots for pane in panes])) if panes else np.empty(0, np.int64)
        self._live = len(live)
        if panes and not self.is_due:
            return
        kept = self.at(live)
        self._table, self._all = self._new_table(), None
        if len(live):
            self._table.find(kept)
        assert self.count == len(live), "each key has a slot of its own again"
        for pane in panes:
            pane.renumber(live)


def _no_columns(rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))


class PlacedPane(Pane):
    """A pane whose records are found by slot.

    Attributes:
        index: of the keys.
    """

    index: KeySlots

    @classmethod
    def opened(
        cls, index: KeySlots, start: int, number: int, records: int, words: int, kinds: Sequence[pa.DataType]
    ) -> PlacedPane:
        """A new pane with room for so many records of `words` words: there is one for each slice."""
        pane = cls.__new__(cls)
        pane.index, pane.start, pane.number = index, start, number
        pane.keys, pane.values, pane.collected = [], [ValueStore(kind) for kind in kinds], []
        pane._records, pane._arena = np.empty((records, words), dtype=np.int64), _NO_BYTES
        pane.descriptor = np.zeros(layout.PANE_WORDS, dtype=np.int64)
        pane.descriptor[layout.PANE_START] = start
        pane.descriptor[layout.PANE_NUMBER] = number
        pane.make_room(records)
        return pane

    @property
    def slots(self) -> Int64s:
        """The slot of each record."""
        found: Int64s = self.records[:, 0]
        return found

    @property
    def is_large(self) -> bool:
        """Whether to look ahead for its records: they are found by other means."""
        return False

    @property
    def room(self) -> int:
        """How many slots it takes as it is: its table has a place for any."""
        return len(self._records)

    def copied(self) -> PlacedPane:
        """A pane of its own with the same records; not with what lies beside them."""
        copy = PlacedPane.__new__(PlacedPane)
        copy.start, copy.number, copy.index = self.start, self.number, self.index
        copy.keys, copy.values, copy.collected = [], [], []
        copy._records, copy._table, copy._arena = self.records.copy(), self._table.copy(), self._arena
        mask = self.descriptor[layout.PANE_MASK]
        copy.descriptor = self.descriptor.copy()
        copy._describe()
        copy.descriptor[layout.PANE_MASK] = mask
        return copy

    def grow(self) -> None:
        """Makes room for twice as many records where they are full, and for all slots there are."""
        records = len(self._records)
        self.make_room(2 * records if self.count == records else records)

    def renumber(self, live: Int64s) -> None:
        """Gives the slots, which are all in `live`, the numbers of their places there."""
        self.records[:, 0] = np.searchsorted(live, self.slots)
        self.make_room(len(self._records))

    def make_room(self, records: int) -> None:
        """Makes room for so many records, of keys with any slot there is."""
        count, slots = self.count, self.index.count
        if records > len(self._records):
            grown = np.empty((records, self._records.shape[1]), dtype=np.int64)
            grown[:count] = self._records[:count]
            self._records = grown
        if slots <= _SPARSE * len(self._records):
            by_slot = np.zeros(max(_SLOTS_MIN, 1 << (slots - 1).bit_length()), dtype=np.int64)
            if count:
                by_slot[self.slots] = np.arange(1, count + 1)
            self._table, mask = by_slot.view(np.uint64), -len(by_slot)
        else:
            self._table = np.zeros(table_places(len(self._records)), dtype=np.uint64)
            enter_hashed(np.ascontiguousarray(self.slots), self._table)
            mask = len(self._table) - 1
        self._describe()
        self.descriptor[layout.PANE_MASK] = mask


class PlacedStore(PaneStore):
    """A store whose panes find their records by the slots of keys.

    Args:
        index: of the keys; stores that are merged with one another share it.
        plan: what to aggregate.
    """

    opens_spares = False

    def __init__(self, index: KeySlots, plan: AccumulatorPlan) -> None:
        super().__init__([pa.field("slot", pa.int64())], plan)
        self.key_schema = index.schema
        self.index = index
        self._given: Int64s | None = None

    def panes(self) -> list[PlacedPane]:
        """The open panes, in the order of their starts."""
        return list(self._panes.values())

    def pane(self, start: int) -> PlacedPane:
        """An open pane."""
        found: PlacedPane = self._panes[start]
        return found

    def take(self, start: int) -> PlacedPane:
        """Takes out a pane."""
        pane = self._take_out(start)
        assert isinstance(pane, PlacedPane)
        return pane

    def absorb(self, start: int, pane: PlacedPane) -> None:
        """Merges a pane, of this store or of one with the same index, into one of this store."""
        part = np.ascontiguousarray(pane.records[:, self._head :])
        starts = np.full(len(part), start, dtype=np.int64)
        if start not in self._panes:
            self._slots_expected = len(part)
        keys = pa.RecordBatch.from_arrays([pa.array(starts)], ["slot"])
        self._given = np.ascontiguousarray(pane.slots)
        self._merge(keys, starts, address(part), self._beside(pane, True))
        self._given = None

    def _closed(self, pane: Pane, partial: bool = False) -> Closed:
        assert isinstance(pane, PlacedPane)
        keys = self.index.at(pane.slots)
        return Closed(pane.start, keys, pane.records[:, self._head :], self._beside(pane, partial), self.plan)

    def _beside(self, pane: Pane, partial: bool) -> list[pa.Array]:
        kept = self._winners.values(pane) if self._winners is not None else []
        if self._collecting is not None:
            kept = [*kept, *self._collecting.values(pane, partial)]
        return kept

    def _set_keys(self, keys: pa.RecordBatch) -> Int64s:  # type: ignore[override]
        slots = self._given if self._given is not None else self.index.slots(keys)
        self._call[layout.CALL_KEY_VALUES] = address(slots)
        return slots

    def _keep_keys(self, keys: pa.RecordBatch, notes: Int64s) -> None:
        """The records say which keys they are of."""

    def _adding(self, variant: Variant) -> Kernel[..., int]:
        return add_kernel(self.plan, replace(variant, placed=True))

    def _merging(self) -> Kernel[..., int]:
        return merge_kernel(self.plan, self._kind, self._key_nulls, placed=True)

    def _new_pane(self, start: int) -> Pane:
        newest = self._panes.peekitem()[1].count if self._panes else 0
        room = max(16, newest, self._slots_expected)
        words = self._head + len(self.plan.words)
        return PlacedPane.opened(self.index, start, self._next_number, room, words, self.plan.value_types)


class WordSums:
    """Sums of panes whose state is all in words: panes of no store, merged with the least ado.

    Args:
        index: of the keys.
        plan: what is aggregated.
    """

    def __init__(self, index: KeySlots, plan: AccumulatorPlan) -> None:
        self.index, self.plan = index, plan
        self._merge = merge_panes_kernel(plan)
        self._template = np.concatenate([[0], plan.initial])
        self._call = np.zeros(layout.CALL_INPUTS, dtype=np.int64)
        self._call[layout.CALL_TEMPLATE] = address(self._template)

    def plus(self, mine: PlacedPane | None, pane: PlacedPane) -> PlacedPane:
        """The sum with a pane added to it; a new one with its records for None."""
        if mine is None:
            return pane.copied()
        call, done, count = self._call, 0, pane.count
        call[layout.CALL_SOURCE] = address(pane.records)
        while True:
            call[layout.CALL_DIRECTORY] = address(mine.descriptor)
            done = self._merge(done, count, call)
            if done == count:
                return mine
            mine.grow()

    def closed(self, mine: PlacedPane, partial: bool = False) -> Closed:
        """The results of a sum, which is no longer one."""
        slots, state = mine.slots, mine.records[:, 1:]
        if len(slots) == self.index.count:  # all keys: in the order of their slots, they need not be taken
            ordered = np.empty(state.shape, dtype=np.int64)
            ordered[slots] = state
            return Closed(0, self.index.all(), ordered, [], self.plan)
        return Closed(0, self.index.at(slots), state, [], self.plan)

    def free(self, mine: PlacedPane) -> None:
        """Forgets a sum."""


class StoredSums(WordSums):
    """Sums of panes with values beside their records: kept in a store."""

    def __init__(self, index: KeySlots, plan: AccumulatorPlan) -> None:
        self.store = PlacedStore(index, plan)
        self._next = 0

    def plus(self, mine: PlacedPane | None, pane: PlacedPane) -> PlacedPane:
        """The sum with a pane added to it."""
        if mine is None:
            start, self._next = self._next, self._next + 1
        else:
            start = mine.start
        self.store.absorb(start, pane)
        return self.store.pane(start)

    def closed(self, mine: PlacedPane, partial: bool = False) -> Closed:
        """The results of a sum, which is no longer one."""
        return self.store.pop(mine.start, partial)

    def free(self, mine: PlacedPane) -> None:
        """Forgets a sum."""
        self.store.take(mine.start)
