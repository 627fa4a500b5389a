"""All values of each key of a pane, for a median or a list: rows as they come, sorted by slot when asked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import Rows, lengths, lists_of
from streamlib.state.collected.grouping import sorted_by_slot
from streamlib.state.value_store import ValueStore

Int64s = npt.NDArray[np.int64]

_SHRINK_MIN = 4096


class KeptRows:
    """Values by slot.

    Args:
        collected: what is kept.
        kind: the type of one value as it is kept.

    >>> rows = KeptRows(Rows(), pa.int64())
    >>> rows.add(np.array([1, 0, 1]), pa.array([5, 6, 7]))
    >>> rows.partial(2).to_pylist()
    [[6], [5, 7]]
    """

    __slots__ = ("_collected", "_kind", "_limit", "_slots", "_values")

    def __init__(self, collected: Rows, kind: pa.DataType) -> None:
        self._collected = collected
        self._kind = kind
        self._slots = np.empty(64, dtype=np.int32)
        self._values = ValueStore(kind)
        self._limit = _SHRINK_MIN

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._slots.nbytes + self._values.nbytes

    def add(self, slots: Int64s, values: pa.Array) -> None:
        """Adds values, which should own their memory."""
        before = len(self._values)
        count = before + len(slots)
        if count > len(self._slots):
            grown = np.empty(max(count, 2 * before), dtype=np.int32)
            grown[:before] = self._slots[:before]
            self._slots = grown
        self._slots[before:count] = slots
        self._values.append(values)
        if self._collected.shrink is not None and count > self._limit:
            self._keep(self.partial(int(self._slots[:count].max()) + 1))
            self._limit = 2 * len(self._values) + _SHRINK_MIN

    def merge(self, slots: Int64s, partial: pa.LargeListArray) -> None:
        """Adds what `partial` of another gave."""
        self.add(np.repeat(slots, lengths(partial)), partial.flatten())

    def partial(self, count: int, slots: Int64s | None = None) -> pa.LargeListArray:
        """The values of each of `count` slots, or of some, in the order they were added."""
        kept = self._slots[: len(self._values)]
        values = self._values.all()
        if slots is not None:
            place = np.full(count, -1, dtype=np.int32)
            place[slots] = np.arange(len(slots), dtype=np.int32)
            rows = np.flatnonzero(place[kept] >= 0)
            kept, values, count = place[kept[rows]], values.take(pa.array(rows)), len(slots)
        offsets, order = sorted_by_slot(kept, count)
        lists = lists_of(offsets, values.take(pa.array(order)))
        if self._collected.shrink is not None:
            lists = self._collected.shrink(lists, self._collected.size)
        return lists

    final = partial

    def drop(self, slots: Int64s) -> None:
        """Forgets the values of some slots."""
        kept = self._slots[: len(self._values)]
        stays = np.flatnonzero(~np.isin(kept, slots))
        if len(stays) < len(kept):
            values = self._values.all().take(pa.array(stays))
            self._slots = kept[stays]
            self._values.keep_chunk(values)

    def _keep(self, lists: pa.LargeListArray) -> None:
        """Has these values in place of all others."""
        self._slots = np.repeat(np.arange(len(lists), dtype=np.int32), lengths(lists))
        self._values.keep_chunk(lists.flatten())
