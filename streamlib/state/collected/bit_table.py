"""Sets of pairs of slot and code as bits, one for each: for codes that lie close together.

Such a set is small where most slots have a good part of the codes, and to add a pair is to set a bit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import kernel
from streamlib.kernels.memory import I64
from streamlib.state.pane import address

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]

_WORD = 64
_GROWTH_MAX = 4
"""How many times as large as it was made a table may become: slots without pairs cost as much as others."""
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_PAIRS, _FOURS, _EIGHTS = (
    np.uint64(0x5555555555555555),
    np.uint64(0x3333333333333333),
    np.uint64(0x0F0F0F0F0F0F0F0F),
)
_BYTES = np.uint64(0x0101010101010101)


@kernel("void(words, int64, int64[::1])")
def count_bits(bits: Uint64s, width: I64, counts: Int64s) -> None:
    """Writes how many bits each slot has, which are `width` words each."""
    for slot in range(len(counts)):
        count = np.int64(0)
        for at in range(slot * width, (slot + 1) * width):
            word = bits[at]
            word -= (word >> np.uint64(1)) & _PAIRS
            word = (word & _FOURS) + ((word >> np.uint64(2)) & _FOURS)
            word = (word + (word >> np.uint64(4))) & _EIGHTS
            count += np.int64((word * _BYTES) >> np.uint64(56))
        counts[slot] = count


@kernel("void(words, int64, int64[::1], int64[::1])")
def list_bits(bits: Uint64s, width: I64, slots: Int64s, codes: Int64s) -> None:
    """Writes the slot and the code of each bit."""
    count = np.int64(0)
    for at in range(len(bits)):
        word, code = bits[at], (np.int64(at) % width) * _WORD
        while word != _ZERO:
            if word & _ONE != _ZERO:
                slots[count], codes[count] = np.int64(at) // width, code
                count += 1
            word >>= _ONE
            code += 1


class BitTable:
    """The pairs of one pane.

    Args:
        codes: how many there can be for each slot; rounded up.
        slots: for how many to have room.

    >>> table = BitTable(codes=100, slots=4)
    >>> table.nbytes, len(table)
    (64, 0)
    """

    __slots__ = ("_bits", "_limit", "codes")

    def __init__(self, codes: int, slots: int) -> None:
        width = -(-codes // _WORD)
        self.codes = _WORD * width
        self._bits = np.zeros((slots, width), dtype=np.uint64)
        self._limit = _GROWTH_MAX * slots

    def __len__(self) -> int:
        return int(self.per_slot(len(self._bits)).sum())

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._bits.nbytes

    def card(self, slots: int, base: int) -> Int64s | None:
        """What `direct` adds to it by; None where there are more slots than it is made for."""
        if slots > self._limit:
            return None
        if slots > len(self._bits):
            grown = np.zeros(
                (min(self._limit, max(slots, 2 * len(self._bits))), self._bits.shape[1]), np.uint64
            )
            grown[: len(self._bits)] = self._bits
            self._bits = grown
        return np.array([0, 0, address(self._bits), 0, self.codes, base, 0, 0], dtype=np.int64)

    def used(self, count: int) -> None:
        """Bits are not counted before they are asked for."""

    def grow(self) -> None:
        """There is room for all slots of a card."""
        raise AssertionError("bits are never full")

    def pairs(self) -> tuple[Int64s, Int64s]:
        """Slots and codes."""
        count = len(self)
        slots, codes = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
        list_bits(self._bits.ravel(), self._bits.shape[1], slots, codes)
        return slots, codes

    def per_slot(self, slots: int) -> Int64s:
        """How many pairs each of the slots has."""
        counts = np.zeros(slots, dtype=np.int64)
        count_bits(self._bits.ravel(), self._bits.shape[1], counts[: len(self._bits)])
        return counts

    def drop(self, slots: Int64s) -> None:
        """Takes the pairs of some slots out."""
        self._bits[slots[slots < len(self._bits)]] = 0
