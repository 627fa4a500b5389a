"""Spare panes that a kernel opens by itself: each call that it need not return from for want of a pane is saved.

Python makes the memory of many panes at once, says where it is, and learns behind the call which were opened.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from streamlib.state.directory import Directory
from streamlib.state.layout import (
    SPARE_LEFT,
    SPARE_LIMIT,
    SPARE_LOG,
    SPARE_MASK,
    SPARE_NEXT,
    SPARE_NUMBER,
    SPARE_RECORDS,
    SPARE_TABLES,
    SPARE_WORDS,
)
from streamlib.state.pane import Pane, address, table_places, table_room

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]

BYTES_MAX = 1 << 20
"""All spare panes together. Where a window needs more by itself, making its pane is a small part of the work."""
TOGETHER_MAX = 1 << 14
"""Bytes of a pane up to which the memory of many is one piece. That of larger ones is soon used again, one by one."""
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
        self._lists = np.zeros((3, _MOST), dtype=np.int64)
        tables, records, log = self._lists
        for word, array in ((SPARE_TABLES, tables), (SPARE_RECORDS, records), (SPARE_LOG, log)):
            self._words[word] = address(array)
        self._tables: Uint64s | list[Uint64s] = []
        self._records: Int64s | list[Int64s] = []
        self._size = _FIRST // 2
        self._seen = 0
        self.address = address(self._words)

    def refill(self, slots: int, number: int, room: int) -> int:
        """Makes spare panes, each time twice as many, up to as many as the directory has room for; says how many.

        Args:
            slots: how many keys to expect.
            number: that of the first of them.
        """
        self._size = min(2 * self._size, _MOST)
        places = table_places(slots)
        limit, width = table_room(places), self._record_words
        size = 8 * (places + limit * width)
        count = max(0, min(self._size, room, BYTES_MAX // size))
        words = self._words
        words[SPARE_LEFT], words[SPARE_NEXT], self._seen = count, 0, 0
        if not count:
            return 0
        if size <= TOGETHER_MAX:
            tables, records = np.zeros((count, places), np.uint64), np.empty((count, limit, width), np.int64)
            self._tables, self._records = tables, records
            steps = np.arange(count)
            self._lists[0, :count] = address(tables) + steps * tables.strides[0]
            self._lists[1, :count] = address(records) + steps * records.strides[0]
        else:
            self._tables = [np.zeros(places, dtype=np.uint64) for _ in range(count)]
            self._records = [np.empty((limit, width), dtype=np.int64) for _ in range(count)]
            self._lists[0, :count] = [address(table) for table in self._tables]
            self._lists[1, :count] = [address(records) for records in self._records]
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
            descriptor = directory.entered(int(self._lists[2, number]))
            yield Pane.of(descriptor, self._tables[number], self._records[number])

    def outgrown(self, slots: int) -> None:
        """A pane has room for so many slots now: spare ones with less would have to grow too, and go."""
        if self._words[SPARE_LIMIT] < slots:
            self._words[SPARE_LEFT] = 0

    def limit(self, room: int) -> None:
        """Leaves no more spare panes to the kernels than the directory has room for."""
        self._words[SPARE_LEFT] = min(int(self._words[SPARE_LEFT]), max(room, 0))
