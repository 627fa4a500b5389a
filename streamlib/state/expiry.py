"""Which slots are due: a time to live per key, in buckets of time that are checked against the keys' rows.

A slot is filed once, by the deadline it has then; rows that come later only move its deadline. When
its bucket comes up the deadline is looked at, and the slot is due or filed anew. So a row costs
nothing here, and a key is looked at once per time to live, about.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sortedcontainers import SortedDict

from streamlib.elements import MAX_TIME
from streamlib.state.slots import SlotColumn

Int64s = npt.NDArray[np.int64]

BUCKETS_PER_TTL = 16


class Expiry:
    """Deadlines of slots: the time of a key's last row and `ttl`.

    Args:
        ttl: ns.

    >>> expiry, last = Expiry(10), np.array([0, 5])
    >>> expiry.file(np.array([0, 1]), last)
    >>> expiry.due(11, last).tolist(), expiry.due(12, last).tolist()
    ([0], [])
    """

    def __init__(self, ttl: int) -> None:
        assert ttl >= 0, "a time to live is not negative"
        self.ttl = ttl
        self._width = max(1, ttl // BUCKETS_PER_TTL)
        self._buckets: Any = SortedDict()
        self._filed = SlotColumn(np.bool_, False)
        self._near: Int64s = np.empty(0, dtype=np.int64)  # slots of the bucket that has begun, by deadline
        self._near_deadlines: Int64s = self._near
        self._reached = 0
        """The first bucket that has not begun."""

    def file(self, slots: Int64s, last: Int64s) -> None:
        """Takes in those of the slots that are not filed yet.

        Args:
            last: by slot, the time of its last row, ns.
        """
        filed = self._filed.upto(len(last))
        new = slots[~filed[slots]]
        if len(new):
            filed[new] = True
            self._put(new, self.deadlines(new, last))

    def due(self, before: int, last: Int64s) -> Int64s:
        """Takes out the slots whose deadline lies before `before`, ns."""
        filed, found = self._filed.upto(len(last)), []
        while (slots := self._next(before)) is not None:
            deadlines = self.deadlines(slots, last)
            is_due = deadlines < before
            found.append(slots[is_due])
            self._put(slots[~is_due], deadlines[~is_due])
        due = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
        filed[due] = False
        return due

    def renumbered(self, slots: Int64s, last: Int64s) -> None:
        """The table was compacted: all its slots, by their new numbers, are filed anew."""
        self.__init__(self.ttl)  # type: ignore[misc]
        self.file(slots, last)

    def deadlines(self, slots: Int64s, last: Int64s) -> Int64s:
        """The last time at which each slot still lives, ns; it does not wrap."""
        of_rows = last[slots]
        return np.where(of_rows > MAX_TIME - self.ttl, MAX_TIME, of_rows + np.int64(self.ttl))

    def _next(self, before: int) -> Int64s | None:
        """Slots that may be due; None when there are no more."""
        count = int(np.searchsorted(self._near_deadlines, before))
        if count:
            slots = self._near[:count]
            self._near, self._near_deadlines = self._near[count:], self._near_deadlines[count:]
            return slots
        if self._buckets and self._buckets.keys()[0] * self._width < before:
            bucket, parts = self._buckets.popitem(0)
            self._reached = bucket + 1
            return np.concatenate(parts)
        return None

    def _put(self, slots: Int64s, deadlines: Int64s) -> None:
        buckets = deadlines // self._width
        begun = buckets < self._reached
        if begun.any():
            near = np.concatenate([self._near_deadlines, deadlines[begun]])
            order = np.argsort(near, kind="stable")
            self._near_deadlines = near[order]
            self._near = np.concatenate([self._near, slots[begun]])[order]
            slots, buckets = slots[~begun], buckets[~begun]
        for bucket in np.unique(buckets).tolist():
            self._buckets.setdefault(bucket, []).append(slots[buckets == bucket])
