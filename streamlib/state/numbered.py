"""Aggregates by number: state for things that have no keys of their own, such as open sessions.

The caller hands out the numbers, small ones, and takes them back. A record is found by its number,
without a search; all else is as in a pane.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels._jit import Kernel
from streamlib.kernels.columns import values_of
from streamlib.state import layout
from streamlib.state.closed import Closed, Tumbling
from streamlib.state.collected.grouping import Located
from streamlib.state.fused import Variant, add_at_kernel, merge_at_kernel
from streamlib.state.key_columns import with_fields
from streamlib.state.pane import Pane, address
from streamlib.state.panes import PaneStore

Int64s = npt.NDArray[np.int64]

_SAME = Tumbling(1)  # nobody reads the windows


class NumberedStore(PaneStore):
    """Aggregates of rows by number.

    Args:
        plan: what to aggregate.

    >>> from streamlib.aggregates import AccumulatorPlan, Count
    >>> store = NumberedStore(AccumulatorPlan([(Count(), None, None)]))
    >>> store.upto(3)
    >>> store.put(np.array([2, 0, 2]), pa.record_batch({"k": ["a", "b", "c"]}), [], np.array([1, 2, 3]))
    >>> store.read(np.array([0, 1, 2])).results()[0].to_pylist()
    [1, 0, 2]
    """

    opens_spares = False

    def __init__(self, plan: AccumulatorPlan) -> None:
        super().__init__([], plan)
        self._numbers: Int64s = np.empty(0, dtype=np.int64)
        self._merger = merge_at_kernel(plan)
        self._begin()

    @property
    def rows_added(self) -> int:
        """Rows in all records."""
        return int(self._records.records[:, self._head].sum())

    def upto(self, count: int) -> None:
        """Readies the numbers below `count`."""
        self._records.ready(count)
        self._call[layout.CALL_PREFETCH] = 1 if self._records.is_large else 0

    def put(
        self,
        numbers: Int64s,
        rows: pa.RecordBatch,
        inputs: Sequence[pa.Array],
        time: Int64s,
        order: Int64s | int | None = None,
    ) -> None:
        """Adds each row to the record of its number.

        Args:
            rows: as many as there are numbers; their columns are not read.
            inputs, time, order: as for `PaneStore.add`.
        """
        self._numbers = np.ascontiguousarray(numbers)
        self.add(rows.select([]), _SAME, inputs, time, order)

    def read(self, numbers: Int64s, partial: bool = False) -> Closed:
        """The state of some numbers, without keys: for results, or for other stores (partial)."""
        pane = self._records
        kept = self._winners.values(pane, numbers) if self._winners is not None else []
        if self._collecting is not None:
            kept = [*kept, *self._collecting.values(pane, partial, numbers)]
        keys = pa.RecordBatch.from_arrays([], schema=self.key_schema)
        state = pane.records.take(numbers, axis=0)[:, self._head :]
        return Closed(0, keys, state, kept, self.plan)

    def put_states(self, numbers: Int64s, state: Int64s, kept: Sequence[pa.Array]) -> None:
        """Merges what `read` gave into the records of `numbers`."""
        if not len(numbers):
            return
        state = np.ascontiguousarray(state)
        self._numbers = np.ascontiguousarray(numbers)
        self._call[layout.CALL_SOURCE] = address(state)
        if self._winners is not None:
            self._winners.begin_merge(kept[: len(self.plan.kept)], len(numbers))
        self._run(self._merger, pa.RecordBatch.from_arrays([], schema=self.key_schema), len(numbers))
        if self._collecting is not None:
            self._collecting.merge(self._by_number, self._located(len(numbers)), kept)

    def join(self, gone: Int64s, into: Int64s) -> None:
        """Adds the state of numbers to those of others, and empties them."""
        part = self.read(gone, partial=True)
        self.put_states(into, part.state, part.kept)
        self.reset(gone)

    def reset(self, numbers: Int64s) -> None:
        """Takes numbers back to the state without rows."""
        if len(numbers):
            self._records.records[numbers] = self._template
            if self._collecting is not None:
                self._collecting.drop(self._records, numbers)

    def keep(self, numbers: Int64s) -> None:
        """Keeps these only: they are numbers 0, 1, 2 and so on from now."""
        part = self.read(numbers, partial=True)
        self._begin()
        self.upto(len(numbers))
        self.put_states(np.arange(len(numbers)), part.state, part.kept)

    def state_fields(self, before: pa.Schema) -> pa.Schema:
        """The schema with the named state words, and the values beside them."""
        words = [pa.field(word.name, pa.type_for_alias(word.type)) for word in self.plan.words if word.saved]
        return with_fields(before, [*words, *self.plan.kept_fields])

    def state_columns(self, numbers: Int64s) -> list[pa.Array]:
        """The columns of `state_fields` for some numbers."""
        part = self.read(numbers, partial=True)
        saved = [index for index, word in enumerate(self.plan.words) if word.saved]
        words = [
            pa.array(np.ascontiguousarray(part.state[:, index]).view(self.plan.words[index].type))
            for index in saved
        ]
        return [*words, *part.kept]

    def take_in(self, numbers: Int64s, columns: Sequence[pa.Array]) -> None:
        """Adds what `state_columns` gave to the records of `numbers`."""
        state = np.tile(self.plan.initial, (len(numbers), 1))
        saved = [index for index, word in enumerate(self.plan.words) if word.saved]
        for index, column in zip(saved, columns, strict=False):
            state[:, index] = values_of(column).view(np.int64)
        self.put_states(numbers, state, columns[len(saved) :])
        # A state that came in may hold a null as the first or last value: from now on it can be replaced.
        self._nullable = [True] * len(self._nullable)

    def _begin(self) -> None:
        self._records = _Records(self.plan, self._template)
        self._panes[0] = self._by_number[0] = self._records
        if self._collecting is not None:
            self._collecting.open(self._records)

    def _adding(self, variant: Variant) -> Kernel[..., int]:
        return add_at_kernel(self.plan, variant.nullable)

    def _run(self, kernel: Kernel[..., int], keys: pa.RecordBatch, rows: int) -> None:
        self._call[layout.CALL_FOUND] = address(self._numbers)
        self._call[layout.CALL_DIRECTORY] = self._records.address
        kernel(0, rows, self._call)
        if self._winners is not None:
            self._winners.settle(self._panes)
            self._winners.end()

    def _located(self, rows: int) -> Located:
        return Located(self._numbers, None, self._records.number)


class _Records(Pane):
    """A pane without a table: its slots are handed out by others."""

    def __init__(self, plan: AccumulatorPlan, template: Int64s) -> None:
        super().__init__(
            0, 0, 0, len(template), False, [field.type for field in plan.kept_fields[: len(plan.kept)]]
        )
        self._clean = template

    @property
    def address(self) -> int:
        """Where the first record lies."""
        return address(self._records)

    def ready(self, count: int) -> None:
        """Has at least `count` records; new ones are without rows."""
        known = self.count
        if count <= known:
            return
        if count > len(self._records):
            records = np.empty((max(count, 2 * len(self._records)), len(self._clean)), dtype=np.int64)
            records[:known] = self._records[:known]
            self._records = records
        self._records[known:count] = self._clean
        self.descriptor[layout.PANE_COUNT] = count
