"""The pane store: rows and partial results in, closed windows out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sortedcontainers import SortedDict

from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels._jit import Kernel
from streamlib.kernels.columns import Product, values_of
from streamlib.kernels.keys import EncodedKeys, KeyEncoder, KeyKind
from streamlib.state import layout
from streamlib.state.closed import Closed, Tumbling, concat, in_groups
from streamlib.state.collected.collecting import Collecting
from streamlib.state.collected.grouping import Located, locate
from streamlib.state.directory import Directory
from streamlib.state.fused import Variant, add_kernel, merge_kernel
from streamlib.state.inputs import put_inputs
from streamlib.state.key_columns import keys_of, with_fields
from streamlib.state.nursery import Nursery
from streamlib.state.pane import Pane, address
from streamlib.state.record_keys import gives_keys, keep_keys, kept_between, keys_of_records
from streamlib.state.values import Winners

Int64s = npt.NDArray[np.int64]

PART_ROWS = 65_536
"""Keys of a large pane whose results are made at a time: more would be new memory for each column and step."""


class PaneStore:
    """Aggregates per key and fixed window.

    Memory is that of the open panes: per key a record of `8 * (words + 1)` bytes, 11 to 23 of table, and a
    text's own where longer than 7; its columns where a key has several, or is neither text nor word. Values
    of `first`, `last`, `min`, `max` that are no words take twice their size, and 64 KB a pane.

    Args:
        key_fields: the key columns; none for windows over all rows.
        plan: what to aggregate.
    """

    opens_spares: ClassVar[bool] = True
    """Whether kernels may open panes by themselves."""

    def __init__(self, key_fields: Sequence[pa.Field], plan: AccumulatorPlan) -> None:
        self.key_schema = pa.schema(list(key_fields))
        self.plan = plan
        self._state_type = pa.binary(8 * len(plan.words))
        self._encoder = KeyEncoder(self.key_schema.types)
        self._kind = self._encoder.kind
        self._head = layout.RECORD_STATE
        self._records_have_keys = gives_keys(self.key_schema)
        self._notes_keys = not self._records_have_keys
        self._panes: Any = SortedDict()
        self._by_number: dict[int, Pane] = {}
        self._next_number = 0
        self._large: set[int] = set()
        self._directory = Directory()
        self._slots_expected = 0
        inputs = len(plan.input_types)
        self._nullable, self._key_nulls = [False] * inputs, False
        self._multiplied: frozenset[int] | None = None
        self._kernels: dict[Any, Kernel[..., int]] = {}
        words = layout.CALL_INPUTS + layout.INPUT_WORDS * inputs + layout.KEPT_WORDS * len(plan.kept)
        self._call = np.zeros(words, dtype=np.int64)
        self._winners = Winners(plan, self._head, self._call) if plan.kept else None
        self._collecting = Collecting(plan) if plan.collected else None
        self._places: Int64s = np.empty((2, 0), dtype=np.int64)
        self._report = np.zeros(layout.REPORT_WORDS, dtype=np.int64)
        self._notes = np.empty((0, 2), dtype=np.int64)
        self._scratch = np.empty((4, layout.CHUNK), dtype=np.int64)
        self._zeros = np.zeros(layout.CHUNK, dtype=np.int64)
        self._first_order = np.zeros(1, dtype=np.int64)
        self._template = np.concatenate([np.zeros(self._head, dtype=np.int64), plan.initial])
        self._nursery = Nursery(self._head + len(plan.words))
        self._call[layout.CALL_SPARES] = self._nursery.address
        self._call[layout.CALL_SCRATCH] = address(self._scratch)
        self._call[layout.CALL_REPORT] = address(self._report)
        self._call[layout.CALL_TEMPLATE] = address(self._template)
        if self._kind is KeyKind.NONE:
            self._call[layout.CALL_KEY_VALUES] = address(self._zeros)

    def starts(self) -> Sequence[int]:
        """The starts of the open panes, ascending, ns."""
        result: Sequence[int] = self._panes.keys()
        return result

    def __len__(self) -> int:
        return len(self._panes)

    @property
    def rows(self) -> int:
        """Records: keys summed over the open panes."""
        return sum(pane.count for pane in self._panes.values())

    @property
    def nbytes(self) -> int:
        """Bytes reserved by the open panes."""
        return sum(pane.nbytes for pane in self._panes.values())

    def add(
        self,
        keys: pa.RecordBatch,
        starts: Int64s | Tumbling,
        inputs: Sequence[pa.Array | Product],
        time: Int64s,
        order: Int64s | int | None = None,
    ) -> None:
        """Adds the rows of a batch; opens panes as needed. One call without the GIL, as a rule.

        Args:
            keys: the key columns, by `key_fields`.
            starts: the window start of each row, ns, or a rule for them.
            inputs: the plan's inputs; a `Product` for some of those in `multiplied`.
            time: event times, ns.
            order: what decides ties in time; needed where the plan is ordered. An int is that of the
                first row, and the others count on from it.
        """
        rows = len(time)
        inputs = self.plan.columns(inputs)
        assert keys.num_rows == rows and len(inputs) == len(self._nullable), "one row, one input each"
        call = self._call
        time = np.ascontiguousarray(time)
        kept: list[Any] = [time]
        call[layout.CALL_TIME] = address(time)
        if self.plan.ordered:
            assert order is not None, "the plan is ordered"
            if isinstance(order, int):
                self._first_order[0] = order
                orders = self._first_order
            else:
                orders = np.ascontiguousarray(order)
            kept.append(orders)
            call[layout.CALL_ORDER] = address(orders)
            call[layout.CALL_ORDER_STEP] = 0 if orders is self._first_order else 1
        if isinstance(starts, Tumbling):
            call[layout.CALL_STARTS] = 0
            call[layout.CALL_SIZE] = starts.size
            call[layout.CALL_OFFSET] = starts.offset % starts.size
        else:
            starts = np.ascontiguousarray(starts)
            kept.append(starts)
            call[layout.CALL_STARTS] = address(starts)
        factors = put_inputs(self.plan, inputs, call, self._nullable, kept)
        encoded = self._set_keys(keys)
        variant = (self._key_nulls, *self._nullable, *factors.items())
        kernel = self._kernels.get(variant)
        if kernel is None:
            given = Variant(self._kind, self._key_nulls, tuple(self._nullable), factors=factors)
            kernel = self._kernels[variant] = self._adding(given)
            self._multiplied = None  # a first null, too, gives another variant
        if self._winners is not None:
            self._winners.begin(inputs, rows)
        self._run(kernel, keys, rows)
        if self._collecting is not None and rows:
            self._collecting.add(self._by_number, self._located(rows), inputs, time, order)
        del kept, encoded

    def multiplied(self) -> frozenset[int]:
        """The inputs that rows may bring as two factors: those of float64 that only sums and the like read."""
        if self._multiplied is None:
            self._multiplied = frozenset(n for n in self.plan.multiplied if not self._nullable[n])
        return self._multiplied

    def _adding(self, variant: Variant) -> Kernel[..., int]:
        return add_kernel(self.plan, variant)

    def _merging(self) -> Kernel[..., int]:
        return merge_kernel(self.plan, self._kind, self._key_nulls)

    def merge(self, partial: pa.RecordBatch) -> None:
        """Adds the states of `partials` of another store with the same keys and plan."""
        columns = len(self.key_schema)
        starts = values_of(partial.column(columns))
        state = partial.column(columns + 1)
        assert state.type == self._state_type, "partial results of another plan"
        self._merge(
            keys_of(partial, self.key_schema),
            starts,
            state.buffers()[1].address + state.offset * 8 * len(self.plan.words),
            partial.columns[columns + 2 :],
        )

    def _merge(self, keys: pa.RecordBatch, starts: Int64s, source: int, kept: Sequence[pa.Array]) -> None:
        if keys.num_rows == 0:
            return
        call = self._call
        starts = np.ascontiguousarray(starts)
        call[layout.CALL_STARTS] = address(starts)
        call[layout.CALL_SOURCE] = source
        encoded = self._set_keys(keys)
        kernel = self._kernels.get(self._key_nulls)
        if kernel is None:
            kernel = self._kernels[self._key_nulls] = self._merging()
        if self._winners is not None:
            self._winners.begin_merge(kept[: len(self.plan.kept)], keys.num_rows)
        self._run(kernel, keys, len(starts))
        if self._collecting is not None:
            self._collecting.merge(self._by_number, self._located(len(starts)), kept)
        # A state that came in may hold a null as the first or last value: from now on it can be replaced.
        self._nullable = [True] * len(self._nullable)
        self._multiplied = None
        del encoded

    def partials(self, *starts: int) -> pa.RecordBatch:
        """Takes panes out as rows that another store can `merge`.

        Returns:
            The key columns, ``window_start`` (int64, ns), ``state`` (fixed-size binary), and the values
            beside it, by `AccumulatorPlan.kept_fields`.
        """
        return self.rows_of([(self.pop(start, partial=True), start) for start in starts])

    def rows_of(self, windows: Sequence[tuple[Closed, int]]) -> pa.RecordBatch:
        """Windows in their partial form, as rows that another store can `merge`: each under its number."""
        parts = [closed for closed, _ in windows]
        counts = [len(part.state) for part in parts]
        state = np.concatenate([part.state for part in parts])
        column = pa.Array.from_buffers(self._state_type, len(state), [None, pa.py_buffer(state)])
        starts = np.repeat(np.array([start for _, start in windows], dtype=np.int64), counts)
        keys = [concat(columns) for columns in zip(*(part.keys.columns for part in parts), strict=True)]
        kept = [concat(columns) for columns in zip(*(part.kept for part in parts), strict=True)]
        columns = [*keys, pa.array(starts), column, *kept]
        return pa.RecordBatch.from_arrays(columns, schema=self._partial_schema)

    def gathered(self, starts: Iterable[int]) -> Iterator[list[int]]:
        """Panes in groups, in order: a large one by itself, small ones together."""
        return in_groups((start, self._panes[start].count) for start in starts)

    def pop(self, start: int, partial: bool = False) -> Closed:
        """Takes out the pane that starts at `start`; its memory is free once the result is.

        Args:
            partial: in the form that can be merged too.

        Raises:
            KeyError: there is no such pane.
        """
        return self._closed(self._take_out(start), partial)

    def pop_parts(self, start: int) -> Iterator[Closed]:
        """Takes out the pane that starts at `start`, and gives it in parts, in the order of its keys."""
        pane = self._take_out(start)
        if self.plan.kept or self.plan.collected:
            yield self._closed(pane)
            return
        for begin in range(0, pane.count, PART_ROWS):
            end = min(begin + PART_ROWS, pane.count)
            records = pane.records[begin:end]
            keys = self._keys_between(pane, begin, end)
            yield Closed(start, keys, records[:, self._head :], [], self.plan, memory=records)

    @property
    def plain(self) -> bool:
        """Whether records have all there is, and panes can be taken out together."""
        return self._records_have_keys and not (self.plan.kept or self.plan.collected)

    def _take_out(self, start: int) -> Pane:
        pane: Pane = self._panes.pop(start)
        del self._by_number[pane.number]
        self._directory.remove(pane)
        self._large.discard(pane.number)
        self._call[layout.CALL_PREFETCH] = 1 if self._large else 0
        self._slots_expected = max(pane.count, self._slots_expected * 3 // 4)
        return pane

    def close(self, before: int) -> Iterator[Closed]:
        """Takes out, in order, all panes that start before `before`, ns."""
        while self._panes and self._panes.keys()[0] < before:
            yield self.pop(self._panes.keys()[0])

    def snapshot(self) -> pa.Table:
        """All panes as open data: key columns, ``window_start``, the named state words, the values beside them."""
        batches = []
        schema = self._snapshot_schema
        for pane in self._panes.values():
            closed = self._closed(pane, partial=True)
            rows = len(closed.state)
            starts = pa.array(np.full(rows, pane.start, dtype=np.int64)).view(
                schema.field(len(self.key_schema)).type
            )
            words = [
                pa.array(np.ascontiguousarray(closed.state[:, index]).view(word.type))
                for index, word in enumerate(self.plan.words)
                if word.saved
            ]
            columns = [*closed.keys.columns, starts, *words, *closed.kept]
            batches.append(pa.RecordBatch.from_arrays(columns, schema=schema))
        return pa.Table.from_batches(batches, schema)

    def restore(self, table: pa.Table) -> None:
        """Takes in rows of snapshots; rows of the same key and window are merged."""
        assert table.schema.equals(self._snapshot_schema), "a snapshot of another plan"
        columns = len(self.key_schema)
        for batch in table.to_batches():
            state = np.tile(self.plan.initial, (batch.num_rows, 1))
            saved = [index for index, word in enumerate(self.plan.words) if word.saved]
            for column, index in enumerate(saved, columns + 1):
                state[:, index] = values_of(batch.column(column)).view(np.int64)
            starts = values_of(batch.column(columns))
            kept = batch.columns[columns + 1 + len(saved) :]
            self._merge(keys_of(batch, self.key_schema), starts, address(state), kept)

    @cached_property
    def _partial_schema(self) -> pa.Schema:
        own = [pa.field("window_start", pa.int64()), pa.field("state", self._state_type)]
        return pa.schema([*self.key_schema, *own, *self.plan.kept_fields])

    @property
    def _snapshot_schema(self) -> pa.Schema:
        fields = [pa.field("window_start", pa.timestamp("ns", "UTC"))]
        fields += [
            pa.field(word.name, pa.type_for_alias(word.type)) for word in self.plan.words if word.saved
        ]
        return with_fields(self.key_schema, [*fields, *self.plan.kept_fields])

    def _set_keys(self, keys: pa.RecordBatch) -> EncodedKeys:
        """Puts the keys' addresses into the call block; the result owns the memory."""
        encoded = self._encoder.encode(keys.columns, keys.num_rows)
        call = self._call
        if self._kind is not KeyKind.NONE:
            call[layout.CALL_KEY_VALUES] = encoded.values
            call[layout.CALL_KEY_OFFSETS] = encoded.offsets
            call[layout.CALL_KEY_DATA] = encoded.data
            call[layout.CALL_KEY_END] = encoded.end
            call[layout.CALL_KEY_VALIDITY] = encoded.validity
            call[layout.CALL_KEY_BIT] = encoded.bit
            if encoded.validity and self._kind is KeyKind.EXACT:
                self._key_nulls = True
        return encoded

    def _run(self, kernel: Kernel[..., int], keys: pa.RecordBatch, rows: int) -> None:
        """Calls the kernel until all rows are served, making room in between; then notes the new keys."""
        if len(self._notes) < rows and self._notes_keys:
            self._notes = np.empty((max(rows, 2 * len(self._notes)), 2), dtype=np.int64)
            self._call[layout.CALL_NOTES] = address(self._notes)
        self._report[layout.REPORT_NOTES] = 0
        self._want_places(rows)
        row = 0
        while True:
            self._call[layout.CALL_DIRECTORY] = self._directory.address
            self._call[layout.CALL_DIRECTORY_MASK] = self._directory.mask
            begin, row = row, kernel(row, rows, self._call)
            if self._nursery.opened:
                self._register(self._nursery.born(self._directory))
            self._served(begin, row)
            if row == rows:
                break
            self._make_room()
        if self._winners is not None:
            self._winners.settle(self._panes)
            self._winners.end()
        if noted := int(self._report[layout.REPORT_NOTES]):
            self._keep_keys(keys, self._notes[:noted])

    def _served(self, begin: int, end: int) -> None:
        """Rows [begin, end) have found their records, which stay where they are until more room is made."""
        if self._collecting is not None and end > begin:
            call = self._call
            locate(
                begin,
                end,
                call[layout.CALL_TIME],
                call[layout.CALL_STARTS],
                call[layout.CALL_SIZE],
                call[layout.CALL_OFFSET],
                self._directory.address,
                self._directory.mask,
                8 * len(self._template),
                call[layout.CALL_SCRATCH],
                self._places[0],
                self._places[1],
            )

    def _want_places(self, rows: int) -> None:
        """Has the kernel say which record each row found, where something is collected beside the records."""
        if self._collecting is not None:
            self._places = np.empty((2, rows), dtype=np.int64)
            self._call[layout.CALL_FOUND] = address(self._places)

    def _located(self, rows: int) -> Located:
        return Located(self._places[0], self._places[1])

    def _make_room(self) -> None:
        reason, start = int(self._report[layout.REPORT_REASON]), int(self._report[layout.REPORT_START])
        pane: Pane = self._open(start) if reason == layout.NO_PANE else self._panes[start]
        if reason == layout.NO_PANE:
            if self.opens_spares and self.plain and self._slots_expected:
                slots, room = self._slots_expected, self._directory.room() - 1
                self._next_number += self._nursery.refill(slots, self._next_number, room)
        elif reason == layout.PANE_FULL:
            if self._winners is not None:
                self._winners.settle(self._panes)  # while the records are where the notes say
            pane.grow()
            self._nursery.outgrown(pane.room)
        else:
            assert reason == layout.ARENA_FULL
            pane.grow_arena(int(self._report[layout.REPORT_NEED]))
        if pane.is_large:
            self._large.add(pane.number)
            self._call[layout.CALL_PREFETCH] = 1

    def _open(self, start: int) -> Pane:
        if self._panes:  # those that have closed may have been parts of windows
            self._slots_expected = max(self._slots_expected, *(p.count for p in self._panes.values()[-4:]))
        pane = self._new_pane(start)
        if self._collecting is not None:
            self._collecting.open(pane)
        self._enter(pane)
        return pane

    def _enter(self, pane: Pane) -> None:
        """Makes a pane one of the store's own; it may have been another's."""
        pane.descriptor[layout.PANE_NUMBER] = pane.number = self._next_number
        self._next_number += 1
        self._directory.add(pane, self._panes.values())
        self._nursery.limit(self._directory.room() - 1)
        self._register([pane])

    def _register(self, panes: Iterable[Pane]) -> None:
        for pane in panes:
            self._panes[pane.start] = self._by_number[pane.number] = pane

    def _new_pane(self, start: int) -> Pane:
        words, has_arena = len(self._template), self._kind is KeyKind.BYTES
        return Pane(start, self._next_number, self._slots_expected, words, has_arena, self.plan.value_types)

    def _keep_keys(self, keys: pa.RecordBatch, notes: Int64s) -> None:
        """Keeps the key columns of new slots, where records do not have all of them."""
        if len(self.key_schema) and not self._records_have_keys:
            keep_keys(self._by_number, keys, notes)

    def _closed(self, pane: Pane, partial: bool = False) -> Closed:
        kept = self._winners.values(pane) if self._winners is not None else []
        if self._collecting is not None:
            kept = [*kept, *self._collecting.values(pane, partial)]
        keys = self._keys_between(pane, 0, pane.count)
        return Closed(pane.start, keys, pane.records[:, self._head :], kept, self.plan)

    def _keys_between(self, pane: Pane, begin: int, end: int) -> pa.RecordBatch:
        if not self._records_have_keys:
            return kept_between(pane, begin, end, self.key_schema)
        return keys_of_records(pane.part(begin, end), pane.record_bytes, self.key_schema)
