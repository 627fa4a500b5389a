"""Finds the row of a lookup table by key, or by key and time. Exact; one for each worker.

Keys that only the stream has get a slot as well; when they have become more than the table's own the
index is built anew, so that memory follows the table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan
from streamlib.elements import MIN_TIME, format_time, times_ns
from streamlib.errors import SourceError
from streamlib.kernels.asof import BACKWARD, UNLIMITED
from streamlib.operators.functions.brief import brief
from streamlib.operators.joins.sides import keys_of
from streamlib.state import AsOfStore, SlotTable

Int64s = npt.NDArray[np.int64]

STRANGERS_MIN = 65_536
"""So many keys that the table does not have are kept, however small it is."""


class Index(ABC):
    """Rows by key."""

    @abstractmethod
    def rows(self, keys: pa.RecordBatch, times: Int64s | None) -> Int64s:
        """The row of the table for each key (and time, ns), -1 for none."""


class KeyIndex(Index):
    """One row for each key.

    Args:
        rows: the table.
        names: its key columns.
        fields: the keys as they are compared.

    Raises:
        SourceError: two rows have one key.

    >>> rows = pa.record_batch({"k": ["b", "a", None]})
    >>> index = KeyIndex(rows, ["k"], [rows.schema.field("k")])
    >>> index.rows(pa.record_batch({"k": ["a", "x", None]}), None).tolist()
    [1, -1, -1]
    """

    def __init__(self, rows: pa.RecordBatch, names: Sequence[str], fields: Sequence[pa.Field]) -> None:
        keys = keys_of(rows, names, fields)
        valid = _valid(keys)
        self._row_of = np.arange(rows.num_rows) if valid is None else np.flatnonzero(valid)
        self._keys = keys if valid is None else keys.filter(pa.array(valid))
        self._fields = list(fields)
        self._build()

    def _build(self) -> None:
        count = self._keys.num_rows
        self._table = SlotTable(self._fields, AccumulatorPlan([]))
        if not count:
            return
        slots = self._table.find(self._keys)
        if self._table.count < count:
            first = int(np.flatnonzero(slots != np.arange(count))[0])
            raise SourceError(
                "the lookup table has two rows of one key",
                where=f"rows {self._row_of[slots[first]]:,} and {self._row_of[first]:,} of the table",
                expected="one row for each key, or valid_from= for versions",
                got=_shown(self._keys, first),
            )

    def rows(self, keys: pa.RecordBatch, times: Int64s | None) -> Int64s:
        count = self._keys.num_rows
        if not count or not keys.num_rows:
            return np.full(keys.num_rows, -1, dtype=np.int64)
        slots = self._table.find(keys)
        own = slots < count
        valid = _valid(keys)
        if valid is not None:
            own &= valid
        found = np.where(own, self._row_of[np.where(own, slots, 0)], -1)
        if self._table.count > 2 * count + STRANGERS_MIN:
            self._build()
        return found


class VersionIndex(Index):
    """The row of each key that holds at a time: the last one whose own time is not after it.

    Args:
        rows: the table.
        names: its key columns.
        fields: the keys as they are compared.
        valid_from: the column with the time from which a row holds; null: always.

    Raises:
        SourceError: two rows have one key and one time.
    """

    def __init__(
        self, rows: pa.RecordBatch, names: Sequence[str], fields: Sequence[pa.Field], valid_from: str
    ) -> None:
        keys = keys_of(rows, names, fields)
        times = _times(rows.column(valid_from), valid_from)
        order = np.argsort(times, kind="stable")
        valid = _valid(keys)
        if valid is not None:
            order = order[valid[order]]
        self._store = AsOfStore(fields, [pa.field("row", pa.int64())])
        ordered, at = keys.take(pa.array(order)), times[order]
        self._refuse_twins(ordered, at, order)
        self._store.add(ordered, [pa.array(order)], at)

    def _refuse_twins(self, keys: pa.RecordBatch, times: Int64s, rows: Int64s) -> None:
        if not len(times):
            return
        slots = self._store.slots_of(keys)
        order = np.lexsort((times, slots))
        one, other = order[:-1], order[1:]
        twins = np.flatnonzero((slots[one] == slots[other]) & (times[one] == times[other]))
        if len(twins):
            first, second = one[twins[0]], other[twins[0]]
            time = int(times[first])
            raise SourceError(
                "the lookup table has two rows of one key that hold from one time",
                where=f"rows {rows[first]:,} and {rows[second]:,} of the table",
                expected="one row for each key and time",
                got=f"{_shown(keys, int(first))}, from {format_time(time)}",
            )

    def rows(self, keys: pa.RecordBatch, times: Int64s | None) -> Int64s:
        assert times is not None, "versions are looked up by time"
        slots = self._store.slots_of(keys)
        found = self._store.match(slots, times, BACKWARD, True, UNLIMITED)
        valid = _valid(keys)
        if valid is not None:
            found[~valid] = -1
        (rows,) = self._store.values(found)
        if self._store.is_due:
            self._store.drop(MIN_TIME, MIN_TIME, keeps_last=True)
        return np.asarray(rows.fill_null(-1))


def _times(column: pa.Array, name: str) -> Int64s:
    times = times_ns(column.drop_null(), name) if column.null_count else times_ns(column, name)
    if not column.null_count:
        return times
    found = np.full(len(column), MIN_TIME, dtype=np.int64)
    found[np.asarray(column.is_valid())] = times
    return found


def _valid(keys: pa.RecordBatch) -> npt.NDArray[np.bool_] | None:
    """Which rows have no null among their keys; None when all have none."""
    if not any(column.null_count for column in keys.columns):
        return None
    valid: Any = np.logical_and.reduce([np.asarray(column.is_valid()) for column in keys.columns])
    return valid


def _shown(keys: pa.RecordBatch, row: int) -> str:
    return ", ".join(
        f"{name}={brief(column[row].as_py())}"
        for name, column in zip(keys.schema.names, keys.columns, strict=True)
    )
