"""Spare panes that a kernel opens by itself: for windows of few keys, of which there may be many.

Python makes the memory of many panes at once, says where it is, and learns behind the call which were opened.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streamlib.state.directory import Directory
from streamlib.state.layout import (
    SPARE_LEFT,
    SPARE_LIMIT,
    SPARE_LOG,
    SPARE_MASK,
    SPARE_NEXT,
    SPARE_NUMBER,
    SPARE_RECORDS,
    SPARE_RECORDS_BYTES,
    SPARE_TABLE_BYTES,
    SPARE_TABLES,
    SPARE_WORDS,
)
from streamlib.state.pane import Pane, address, table_places, table_room

SLOTS_MAX = 64
"""Of windows with more keys, making a pane is a small part of the work."""
_FIRST, _MOST = 4, 256


class Nursery:
    """The spare panes of one store.

    Args:
        record_words: 8-byte words of a record.

    Attributes:
        address: where the kernels look for them.
    """

    def __init__(self, record_words: int) -> None:
        self._record_words = record_words
        self._words = np.zeros(SPARE_WORDS, dtype=np.int64)
        self._log = np.zeros(_MOST, dtype=np.int64)
        self._words[SPARE_LOG] = address(self._log)
        self._tables = np.zeros((0, 1), dtype=np.uint64)
        self._records = np.empty((0, 1, record_words), dtype=np.int64)
        self._size = _FIRST // 2
        self._seen = 0
        self.address = address(self._words)

    def refill(self, slots: int, number: int, room: int) -> int:
        """Makes spare panes, each time twice as many, up to as many as the directory has room for; says how many.

        Args:
            slots: how many keys to expect; none are made for more than `SLOTS_MAX`.
            number: that of the first of them.
        """
        self._size = min(2 * self._size, _MOST)
        count = max(0, min(self._size, room)) if slots <= SLOTS_MAX else 0
        words = self._words
        words[SPARE_LEFT], words[SPARE_NEXT], self._seen = count, 0, 0
        if not count:
            return 0
        places = table_places(slots)
        limit = table_room(places)
        self._tables = np.zeros((count, places), dtype=np.uint64)
        self._records = np.empty((count, limit, self._record_words), dtype=np.int64)
        words[SPARE_TABLES], words[SPARE_TABLE_BYTES] = address(self._tables), 8 * places
        words[SPARE_RECORDS], words[SPARE_RECORDS_BYTES] = (
            address(self._records),
            self._records.strides[0],
        )
        words[SPARE_MASK], words[SPARE_LIMIT], words[SPARE_NUMBER] = places - 1, limit, number
        return count

    @property
    def opened(self) -> int:
        """How many panes have been opened that `born` has not given."""
        return int(self._words[SPARE_NEXT]) - self._seen

    def born(self, directory: Directory) -> Iterator[Pane]:
        """The panes that kernels have opened since."""
        first, self._seen = self._seen, int(self._words[SPARE_NEXT])
        for number in range(first, self._seen):
            descriptor = directory.entered(int(self._log[number]))
            yield Pane.of(descriptor, self._tables[number], self._records[number])

    def limit(self, room: int) -> None:
        """Leaves no more spare panes to the kernels than the directory has room for."""
        self._words[SPARE_LEFT] = min(int(self._words[SPARE_LEFT]), max(room, 0))
