"""Rows of the right side of an as-of join: for each key its rows through time, and their values.

Rows come in the order of time (of each key, at least). Those that no left row can be matched with any
more are dropped when the rows have doubled since that was last done, and so are keys without rows: the
cost is a constant per row, and memory is at most about twice that of the rows that can still match.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import as_given, as_kept, kept_type
from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels.asof import NODE_WORDS, PLACE, TIME, append_nodes, living_nodes, match_nodes
from streamlib.state.slots import SlotColumn, SlotTable
from streamlib.state.value_store import ValueStore

Int64s = npt.NDArray[np.int64]

ROWS_MIN = 4096
"""Rows below which dropping some is not worth it."""


class AsOfStore:
    """Rows by key and time.

    Args:
        key_fields: the key columns, of plain types.
        value_fields: the columns that are kept for each row; of types without dictionaries.

    Attributes:
        rows: how many there are.

    >>> store = AsOfStore([pa.field("k", pa.string())], [pa.field("v", pa.int64())])
    >>> store.add(pa.record_batch({"k": ["a", "a"]}), [pa.array([1, 2])], np.array([10, 20]))
    >>> found = store.match(pa.record_batch({"k": ["a", "b"]}), np.array([15, 15]), 0, True, -1)
    >>> found.tolist(), store.values(found)[0].to_pylist()
    ([0, -1], [1, None])
    """

    def __init__(self, key_fields: Sequence[pa.Field], value_fields: Sequence[pa.Field]) -> None:
        self.key_fields = list(key_fields)
        self.value_fields = list(value_fields)
        self._kinds = [kept_type(field.type) for field in self.value_fields]
        self.clear()

    def clear(self) -> None:
        """Drops everything."""
        self.rows = 0
        self._limit = ROWS_MIN
        self._slots_limit = ROWS_MIN
        self._nodes: Any = np.empty((64, NODE_WORDS), dtype=np.int64)
        self._values = [ValueStore(kind) for kind in self._kinds]
        self._new_keys()

    @property
    def keys(self) -> int:
        """How many keys have a slot, those without rows included."""
        return self._table.count

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._nodes.nbytes + self._table.nbytes + sum(values.nbytes for values in self._values)

    @property
    def is_due(self) -> bool:
        """Whether `drop` should be called: rows or keys have doubled since it was."""
        return self.rows > self._limit or self._table.count > self._slots_limit

    def add(self, keys: pa.RecordBatch, values: Sequence[pa.Array], times: Int64s) -> None:
        """Adds rows: of each key in the order of time, and not before those that are there."""
        if not len(times):
            return
        self._chain(self._table.find(keys), times)
        for store, column in zip(self._values, values, strict=True):
            store.append(as_kept(column))

    def match(
        self, keys: pa.RecordBatch, times: Int64s, direction: int, exact: bool, tolerance: int
    ) -> Int64s:
        """The row that belongs to each key and time, -1 for none; see `kernels.asof.match_nodes`."""
        slots = self._table.find(keys)
        found = np.empty(len(times), dtype=np.int64)
        heads = self._heads.upto(self._table.count)
        match_nodes(slots, times, self._nodes, heads, direction, exact, tolerance, found)
        return found

    def values(self, rows: Int64s) -> list[pa.Array]:
        """The columns of some rows; null where there is none."""
        return [
            as_given(store.take(rows), field.type)
            for store, field in zip(self._values, self.value_fields, strict=True)
        ]

    def drop(self, since: int, low: int, keeps_last: bool) -> None:
        """Drops what no row at `since` or later can be matched with.

        Args:
            since: rows from this time on stay, ns.
            low: the last row of a key before `since` stays if it is not before this time, ns.
            keeps_last: whether that one is of any use.
        """
        out = np.empty(self.rows, dtype=np.int64)
        seen = np.zeros(self._table.count, dtype=np.uint8)
        begin = living_nodes(self._nodes, self.rows, since, low, keeps_last, seen, out)
        living = out[begin:]
        if len(living) < self.rows:
            slots, times = self._nodes[living, PLACE] >> 32, self._nodes[living, TIME]
            for store in self._values:
                store.keep(living)
            self._heads.upto(self._table.count)[:] = -1
            self.rows = 0
            self._nodes = np.empty((max(64, len(living)), NODE_WORDS), dtype=np.int64)
            self._chain(slots, times)
        self._limit = 2 * self.rows + ROWS_MIN
        self._drop_keys()

    def snapshot(self) -> tuple[pa.RecordBatch, list[pa.Array], Int64s]:
        """Keys, values and times of all rows, in their order: what `add` takes."""
        rows = np.arange(self.rows)
        if not self.rows:
            keys = pa.RecordBatch.from_pylist([], schema=pa.schema(self.key_fields))
        else:
            keys = self._table.read(self._nodes[: self.rows, PLACE] >> 32).keys
        return keys, self.values(rows), self._nodes[: self.rows, TIME].copy()

    def _chain(self, slots: Int64s, times: Int64s) -> None:
        count = self.rows + len(slots)
        if count > len(self._nodes):
            grown = np.empty((max(count, 2 * len(self._nodes)), NODE_WORDS), dtype=np.int64)
            grown[: self.rows] = self._nodes[: self.rows]
            self._nodes = grown
        heads = self._heads.upto(self._table.count)
        append_nodes(slots, np.ascontiguousarray(times), self._nodes, heads, self.rows)
        self.rows = count

    def _drop_keys(self) -> None:
        """Forgets the keys without rows, when they are most of all: those that only left rows have, too."""
        heads = self._heads.upto(self._table.count)
        living = np.flatnonzero(heads >= 0)
        if self._table.count > 2 * len(living) + ROWS_MIN:
            keys = self._table.read(living).keys
            kept = heads[living]
            numbers = np.full(len(heads), -1, dtype=np.int64)
            numbers[living] = np.arange(len(living))
            places = self._nodes[: self.rows, PLACE]
            places[:] = (numbers[places >> 32] << 32) | (places & 0xFFFFFFFF)
            self._new_keys()
            if len(living):
                slots = self._table.find(keys)
                assert slots[-1] == len(living) - 1, "each key that has rows has a slot again"
                self._heads.upto(len(living))[:] = kept
        self._slots_limit = 2 * len(living) + 2 * ROWS_MIN

    def _new_keys(self) -> None:
        self._table = SlotTable(self.key_fields, AccumulatorPlan([]))
        self._heads = SlotColumn(np.int64, -1)
