"""The fast way into what is collected: one loop over a batch that serves all its panes.

Where values are machine words, a kernel (`direct_kernels`) writes each row straight to its pane's buffers or
table. It stops at a row whose pane has no room, and goes on from there when Python has made some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import Kernel
from streamlib.kernels.columns import WordColumn
from streamlib.state.collected.direct_kernels import CARD_WORDS, FULL, USED, lowest_word
from streamlib.state.collected.grouping import Located

Int64s = npt.NDArray[np.int64]

_SPAN_MAX = 4096


class Near(Protocol):
    """A set of values less a base."""

    @property
    def has_base(self) -> bool:
        """Whether it has had a value."""

    def begin(self, low: int) -> None:
        """Chooses a base for values from about `low` on."""


class Direct(Protocol):
    """What takes rows directly."""

    def card(self, slots: int) -> Int64s | None:
        """Its card, for so many slots; None where it takes no rows directly."""

    def used(self, count: int) -> None:
        """So many rows or pairs are in it now."""

    def grow(self) -> None:
        """Makes room for more."""


def begin_near(sets: Sequence[Near], words: WordColumn, rows: int) -> bool:
    """Readies the sets among these that are new for `rows` words; False where all of them are null."""
    new = [one for one in sets if not one.has_base]
    if not new:
        return True
    low, count = lowest_word(rows, words.values, words.validity, words.bit)
    for one in new if count else ():
        one.begin(int(low))
    return bool(count)


def add_directly(
    function: Kernel[..., int],
    kept: Mapping[int, tuple[Direct, int]],
    touched: Sequence[int],
    located: Located,
    words: WordColumn,
) -> int:
    """Has a kernel add the rows of a batch; returns the row from which on it could not.

    Args:
        kept: by number of the pane: what takes rows, and how many slots it has. Rows of others are left out.
        touched: the numbers of all panes that have rows here.
        located: where the rows belong.
        words: their values.
    """
    slots = located.slots
    numbers = slots[:0] if located.numbers is None else located.numbers
    low, high = min(touched), max(touched)
    if high - low >= _SPAN_MAX:
        return 0
    cards = np.zeros((high - low + 1, CARD_WORDS), dtype=np.int64)
    for number, (item, count) in kept.items():
        card = item.card(count)
        if card is None:
            return 0
        cards[number - low] = card
    row = 0
    while True:
        row = function(row, slots, numbers, low, cards, words.values, words.validity, words.bit)
        for number, (item, _) in kept.items():
            item.used(int(cards[number - low, USED]))
        full = (np.flatnonzero(cards[:, FULL]) + low).tolist()
        if row == len(slots) or not full:
            return row
        for number in full:
            item, count = kept[number]
            item.grow()
            card = item.card(count)
            assert card is not None, "what took rows takes more"
            cards[number - low] = card
