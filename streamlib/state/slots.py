"""One row of state per key, for as long as the key lives: running aggregates and what else is kept by key.

A slot table is a pane that never closes. A key has a slot, a small number that stays its own until
the table is compacted, so that what a step keeps besides stands in plain arrays by slot.

A key that is freed keeps its place in the index, without rows, and takes it up again when it comes
back. When more than half of the slots are such places, the table is built anew from those that
live: the cost is a constant per freed key, and memory follows the keys that live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import as_given, as_kept, kept_type
from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels._jit import Kernel, kernel
from streamlib.kernels.memory import I64
from streamlib.state import layout
from streamlib.state.closed import Closed
from streamlib.state.collected.grouping import Located
from streamlib.state.fused import find_kernel
from streamlib.state.key_columns import canonical_floats
from streamlib.state.pane import Pane, address
from streamlib.state.panes import PaneStore
from streamlib.state.slabs import room
from streamlib.state.slot_cache import SlotCache
from streamlib.state.value_store import ValueStore

Int64s = npt.NDArray[np.int64]

FREED_MIN = 1024
"""Freed keys below which compacting is not worth it."""
_START = 0
"""The one pane's name."""


@dataclass(frozen=True, slots=True, eq=False)
class Touched:
    """The distinct slots of some rows, in the order in which they were first met.

    Attributes:
        slots: each once.
        low, high: the smallest and the largest time of its rows, ns.
    """

    slots: Int64s
    low: Int64s
    high: Int64s


@kernel("int64(ints, ints, int64[::1], int64[::1], int64[::1], int64[::1])")
def collect_slots(
    slots: Int64s, times: Int64s, place: Int64s, touched: Int64s, low: Int64s, high: Int64s
) -> I64:
    """Writes each slot of `slots` once, with the smallest and largest time of its rows; returns how many.

    Args:
        place: by slot, where it may stand in `touched`: whatever it holds, nothing needs to be cleared.
    """
    count = np.int64(0)
    for i in range(len(slots)):
        slot, time = slots[i], times[i]
        at = place[slot]
        if at >= count or touched[at] != slot:
            at = count
            place[slot] = at
            touched[at] = slot
            low[at] = time
            high[at] = time
            count += np.int64(1)
        elif time < low[at]:
            low[at] = time
        elif time > high[at]:
            high[at] = time
    return count


@kernel("void(int64[::1], int64, int64)")
def slots_of(found: Int64s, records: I64, record_bytes: I64) -> None:
    """Makes slots of the addresses of records; in floating point, which vectorises and is exact to 2**52."""
    inverse = 1.0 / np.float64(record_bytes)
    for i in range(len(found)):
        found[i] = np.int64(np.float64(found[i] - records) * inverse + 0.5)


class SlotColumn:
    """A NumPy column by slot, which grows with the slots.

    Args:
        kind: its type.
        initial: the value of a slot that was never written.

    >>> column = SlotColumn(np.int64, -1)
    >>> column.upto(3).tolist()
    [-1, -1, -1]
    """

    __slots__ = ("_initial", "_values")

    def __init__(self, kind: npt.DTypeLike, initial: int = 0) -> None:
        self._initial = initial
        self._values: npt.NDArray[Any] = np.full(64, initial, dtype=kind)

    def upto(self, slots: int) -> npt.NDArray[Any]:
        """The values of the first `slots` slots, to read and to write."""
        if slots > len(self._values):
            grown = np.full(max(slots, 2 * len(self._values)), self._initial, dtype=self._values.dtype)
            grown[: len(self._values)] = self._values
            self._values = grown
        return self._values[:slots]

    def keep(self, slots: Int64s) -> None:
        """Keeps the values of `slots`, which are slots 0, 1, 2 and so on from now."""
        kept = self.upto(int(slots.max(initial=-1)) + 1)[slots]
        self._values = np.full(max(64, len(kept)), self._initial, dtype=self._values.dtype)
        self._values[: len(kept)] = kept


class SlotTable(PaneStore):
    """Aggregates per key, without windows.

    Args:
        key_fields: the key columns, of plain types.
        plan: what to aggregate.

    Attributes:
        slots: of each row of the last call that took rows.

    >>> from streamlib.aggregates import AccumulatorPlan, Count
    >>> table = SlotTable([pa.field("k", pa.string())], AccumulatorPlan([(Count(), None, None)]))
    >>> table.put(pa.record_batch({"k": ["a", "b", "a"]}), [], np.array([1, 2, 3])).tolist()
    [0, 1, 0]
    >>> table.read(np.array([0])).results()[0].to_pylist()
    [2]
    """

    opens_spares = False

    def __init__(self, key_fields: Sequence[pa.Field], plan: AccumulatorPlan) -> None:
        super().__init__(key_fields, plan)
        self._notes_keys = True
        self.slots: Int64s = np.empty(0, dtype=np.int64)
        self._found: Int64s = self.slots
        self._same_start: Int64s = np.full(layout.CHUNK, _START, dtype=np.int64)
        self._finders: dict[bool, Kernel[..., int]] = {}
        self._key_values = self._new_key_values()
        self._place = SlotColumn(np.int64)
        self._cache = SlotCache()
        self._puts = False
        self._freed = 0

    @property
    def count(self) -> int:
        """Slots given out so far, those of freed keys included."""
        pane = self._pane
        return 0 if pane is None else pane.count

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return super().nbytes + sum(values.nbytes for values in self._key_values) + self._cache.nbytes

    def put(
        self,
        keys: pa.RecordBatch,
        inputs: Sequence[pa.Array],
        time: Int64s,
        order: Int64s | int | None = None,
    ) -> Int64s:
        """Adds rows, as `PaneStore.add`; returns the slot of each. Without aggregates they are not counted exactly."""
        if not (self.plan.placed or self.plan.collected):
            if not self._puts:
                self._cache.clear()  # of keys that were looked for: they may have no rows
                self._puts = True
            return self._cached(keys, self._put_keys, True)
        self.add(keys, self._starts(keys.num_rows), inputs, time, order)
        return self.slots

    def find(self, keys: pa.RecordBatch) -> Int64s:
        """The slot of each row's key; a new key gets one, without rows."""
        return self._cached(keys, self._find_keys, not self._puts)

    def _cached(self, keys: pa.RecordBatch, ask: Callable[[pa.RecordBatch], Int64s], keeps: bool) -> Int64s:
        """The slots of rows, of which the table is asked only for those whose keys do not come often.

        Args:
            keeps: whether what the table answers is right for whoever asks next.
        """
        if not self._cache.serves(self._kind, keys.num_rows):
            return ask(keys)
        encoded = self._encoder.encode(keys.columns, keys.num_rows)
        found = self._cache.find(encoded)
        if found is None:
            slots = ask(keys)
            if keeps:
                self._cache.keep(encoded, slots)
            return slots
        slots, misses = found
        if len(misses):
            slots[misses] = ask(keys.take(pa.array(misses)))
            if keeps:
                self._cache.keep(encoded, slots[misses], misses)
        self.slots = slots
        return slots

    def _put_keys(self, keys: pa.RecordBatch) -> Int64s:
        times = self._starts(keys.num_rows)
        self.add(keys, times, [], times)
        return self.slots

    def _find_keys(self, keys: pa.RecordBatch) -> Int64s:
        rows = keys.num_rows
        starts = self._starts(rows)
        self._call[layout.CALL_STARTS] = address(starts)
        encoded = self._set_keys(keys)
        finder = self._finders.get(self._key_nulls)
        if finder is None:
            finder = self._finders[self._key_nulls] = find_kernel(self.plan, self._kind, self._key_nulls)
        winners, self._winners = self._winners, None  # no row is added, so none wins
        try:
            self._run(finder, keys, rows)
        finally:
            self._winners = winners
        del encoded
        return self.slots

    def touched(self, slots: Int64s, times: Int64s) -> Touched:
        """The distinct slots of rows, with the range of their times."""
        rows = len(slots)
        out = np.empty((3, rows), dtype=np.int64)
        count = collect_slots(slots, times, self._place.upto(self.count), out[0], out[1], out[2])
        return Touched(out[0, :count], out[1, :count], out[2, :count])

    def read(self, slots: Int64s, partial: bool = False) -> Closed:
        """The keys and the state of some slots, which stay; what is collected for results, or for other stores."""
        pane = self._pane
        assert pane is not None, "there are no slots"
        keys = self.keys_at(slots)
        kept = self._winners.values(pane, slots) if self._winners is not None else []
        if self._collecting is not None:
            kept = [*kept, *self._collecting.values(pane, partial, slots)]
        return Closed(_START, keys, pane.records[slots, self._head :], kept, self.plan)

    def keys_at(self, slots: Int64s) -> pa.RecordBatch:
        """The keys of some slots."""
        columns = [
            as_given(values.take(slots), field.type)
            for values, field in zip(self._key_values, self.key_schema, strict=True)
        ]
        return canonical_floats(pa.RecordBatch.from_arrays(columns, schema=self.key_schema))

    def put_back(self, slots: Int64s, state: Int64s) -> None:
        """Gives some slots the state words that stand in `state`, as `read` gave them."""
        assert self._pane is not None, "there are no slots"
        self._pane.records[slots, self._head :] = state

    def reset(self, slots: Int64s) -> None:
        """Takes these keys back to the state without rows; they keep their slots."""
        if len(slots):
            assert self._pane is not None, "there are no slots"
            self._pane.records[slots, self._head :] = self.plan.initial
            self._cache.clear()  # a key without rows has to be met by the table
            if self._collecting is not None:
                self._collecting.drop(self._pane, slots)

    def free(self, slots: Int64s) -> Int64s | None:
        """Forgets these keys.

        Returns:
            None, as a rule. When the table was compacted: the slots that live, in the order of their new
            numbers 0, 1, 2 and so on.
        """
        self.reset(slots)
        self._freed += len(slots)
        if self._freed <= max(FREED_MIN, self.count // 2):
            return None
        live = self.live()
        if 2 * len(live) > self.count:
            self._freed = self.count - len(live)  # others came back in the meantime
            return None
        self._compact(live)
        return live

    def snapshot(self) -> pa.Table:
        """The keys that live, as open data: key columns, the named state words, the values beside them."""
        return super().snapshot().remove_column(len(self.key_schema))

    def take_in(self, table: pa.Table) -> Iterator[Int64s]:
        """Takes in the rows of a snapshot, part by part; gives the slots of each part's rows."""
        at, schema = len(self.key_schema), self._snapshot_schema
        for batch in table.to_batches():
            starts = pa.array(np.full(batch.num_rows, _START)).view(schema.field(at).type)
            columns = [*batch.columns[:at], starts, *batch.columns[at:]]
            self.restore(pa.Table.from_arrays(columns, schema=schema))
            yield self.slots

    def live(self) -> Int64s:
        """The slots of keys that have rows, in the order of `snapshot`."""
        pane = self._pane
        return np.empty(0, np.int64) if pane is None else np.flatnonzero(pane.records[:, self._head] > 0)

    @property
    def _pane(self) -> Pane | None:
        pane: Pane | None = self._panes.get(_START)
        return pane

    def _compact(self, live: Int64s) -> None:
        kept = self.read(live, partial=True)
        self._take_out(_START)
        self._slots_expected = len(live)
        self._cache.clear()
        self._key_values = self._new_key_values()
        self._place.keep(live)
        self._freed = 0
        state = np.ascontiguousarray(kept.state)
        self._merge(kept.keys, self._starts(len(live)), address(state), kept.kept)
        assert self.count == len(live), "each key that lives has a slot again"

    def _new_key_values(self) -> list[ValueStore]:
        return [ValueStore(kept_type(field.type)) for field in self.key_schema]

    def _starts(self, rows: int) -> Int64s:
        if rows > len(self._same_start):
            self._same_start = np.full(max(rows, 2 * len(self._same_start)), _START, dtype=np.int64)
        return self._same_start[:rows]

    def _run(self, kernel: Kernel[..., int], keys: pa.RecordBatch, rows: int) -> None:
        self._found = room(rows)
        self._call[layout.CALL_FOUND] = address(self._found)
        super()._run(kernel, keys, rows)
        self.slots = self._found

    def _served(self, begin: int, end: int) -> None:
        """Makes slots of addresses, before the records can move."""
        pane = self._pane
        if pane is not None and end > begin:
            slots_of(self._found[begin:end], address(pane.records), pane.records.strides[0])

    def _keep_keys(self, keys: pa.RecordBatch, notes: Int64s) -> None:
        rows = pa.array(notes[:, 1])
        for values, column in zip(self._key_values, keys.columns, strict=True):
            values.append(as_kept(column.take(rows)))

    def _want_places(self, rows: int) -> None:
        """Slots are found for all rows anyway."""

    def _located(self, rows: int) -> Located:
        assert self._pane is not None, "rows have a pane"
        return Located(self.slots, None, self._pane.number)

    def _closed(self, pane: Pane, partial: bool = False) -> Closed:
        return self.read(self.live(), partial)
