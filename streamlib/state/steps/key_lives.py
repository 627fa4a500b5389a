"""How long keys live: the time of each key's last row, which keys begin anew, and which are due to go."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.elements import MIN_TIME
from streamlib.kernels.row_functions import begin_anew
from streamlib.state.expiry import Expiry
from streamlib.state.slots import SlotColumn, SlotTable

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]

_NOTHING = np.empty(0, dtype=np.int64)


class KeyLives:
    """The last rows of keys, by slot; nothing is kept without a time to live.

    Args:
        ttl: a key without rows for longer begins anew, ns; None for never.
    """

    def __init__(self, ttl: int | None) -> None:
        self._ttl = ttl or 0
        self._expiry = None if ttl is None else Expiry(ttl)
        self._known = SlotColumn(np.uint8)
        self._last = SlotColumn(np.int64, MIN_TIME)

    def seen(self, table: SlotTable, slots: Int64s, times: Int64s) -> Flags | None:
        """Takes in rows in their order; returns a 1 for each whose key begins anew, None where none can."""
        if self._expiry is None:
            return None
        last, fresh = self._last.upto(table.count), np.empty(len(slots), dtype=np.uint8)
        begin_anew(slots, times, self._known.upto(table.count), last, self._ttl, fresh)
        self._expiry.file(table.touched(slots, times).slots, last)
        return fresh

    def times(self, count: int) -> Int64s:
        """The time of the last row, by slot."""
        return self._last.upto(count)

    def due(self, before: int, table: SlotTable) -> Int64s:
        """Takes out the slots of keys that begin anew with any row that can still come."""
        if self._expiry is None:
            return _NOTHING
        due = self._expiry.due(before, self._last.upto(table.count))
        self._known.upto(table.count)[due] = 0
        return due

    def renumber(self, live: Int64s) -> None:
        """Slots get new numbers: `live` are 0, 1, 2 and so on from now."""
        if self._expiry is not None:
            self._known.keep(live)
            self._last.keep(live)
            self._expiry.renumbered(np.arange(len(live)), self._last.upto(len(live)))

    def restored(self, table: SlotTable, slots: Int64s, times: Int64s) -> None:
        """Takes in the last rows of keys, from a snapshot."""
        if self._expiry is not None:
            last = self._last.upto(table.count)
            last[slots] = times
            self._known.upto(table.count)[slots] = 1
            self._expiry.file(slots, last)
