"""The open panes as kernels see them: a small hash table from window start to descriptor.

It is kept so sparse that two panes rarely fall together: a search that goes on is a branch that the
processor mispredicts when event time is out of order.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from streamlib.state.layout import PANE_START, PANE_TABLE, PANE_WORDS
from streamlib.state.pane import Pane, address

Int64s = npt.NDArray[np.int64]

_PLACES_MIN = 64
_SPARSE = 8
_GONE = -1
_NO_START = 2**63 - 1  # MAX_TIME: after every row, so no window starts there


class Directory:
    """Descriptors of panes in one int64 array, shape (places, PANE_WORDS); places is a power of two.

    Attributes:
        address: where the array lies; changes when it grows.
        mask: places - 1.
    """

    def __init__(self) -> None:
        self._used = 0  # places that are not free, removed panes included
        self._reset(_PLACES_MIN)

    def add(self, pane: Pane, panes: Iterable[Pane]) -> None:
        """Enters a pane; `panes` are those entered and not removed."""
        if (self._used + 1) * _SPARSE > len(self._words):
            kept = list(panes)
            places = _PLACES_MIN
            while (len(kept) + 1) * 2 * _SPARSE > places:
                places *= 2
            self._reset(places)
            for other in kept:
                self._put(other)
        self._put(pane)

    def room(self) -> int:
        """How many panes may be entered before it grows."""
        return len(self._words) // _SPARSE - self._used

    def entered(self, place: int) -> Int64s:
        """The descriptor at an address where a kernel has entered a pane."""
        self._used += 1
        descriptor: Int64s = self._words[(place - self.address) // (8 * PANE_WORDS)]
        return descriptor

    def remove(self, pane: Pane) -> None:
        """Takes a pane out; its descriptor is its own again."""
        words = pane.descriptor
        pane.descriptor = words.copy()
        words[PANE_START] = _NO_START
        words[PANE_TABLE] = _GONE

    def _reset(self, places: int) -> None:
        self._words = np.zeros((places, PANE_WORDS), dtype=np.int64)
        self._used = 0
        self.address = address(self._words)
        self.mask = places - 1

    def _put(self, pane: Pane) -> None:
        place = _place(pane.start, self.mask)
        while self._words[place, PANE_TABLE] != 0:
            place = (place + 1) & self.mask
        self._words[place] = pane.descriptor
        pane.descriptor = self._words[place]
        self._used += 1


def _place(start: int, mask: int) -> int:
    """`probe.pane_place` without NumPy scalars."""
    return ((start * 0x9E3779B97F4A7C15 & (2**64 - 1)) >> 32) & mask
