"""Rows beside the records: which pane and slot each belongs to, and rows sorted by slot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import kernel
from streamlib.kernels.keys import counting_sort
from streamlib.kernels.memory import I64, load_i64
from streamlib.kernels.windows import window_start, write_starts
from streamlib.state.layout import PANE_NUMBER, PANE_RECORDS
from streamlib.state.probe import find_pane

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Uint8s = npt.NDArray[np.uint8]

_DENSE_MAX = 65_536
_TOGETHER = 256
"""Rows that are looked at together: mostly they are of one pane."""
_MAX = np.int64(2**63 - 1)


@kernel("void(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64[::1], int64[::1])")
def locate(
    begin: I64,
    end: I64,
    times: I64,
    given_starts: I64,
    size: I64,
    offset: I64,
    directory: I64,
    mask: I64,
    record_bytes: I64,
    scratch: I64,
    found: Int64s,
    numbers: Int64s,
) -> None:
    """Makes of the record addresses in `found`, of rows [begin, end), the numbers of their panes and their slots.

    Args:
        times, given_starts, size, offset, directory, mask: as in the call block.
        scratch: address of CHUNK words.
        found: addresses; slots afterwards.
    """
    inverse = 1.0 / np.float64(record_bytes)
    row = begin
    while row < end:
        stop = min(end, row + _TOGETHER)
        low, high = _MAX, ~_MAX
        given = (given_starts if given_starts != 0 else times) + 8 * row
        places, panes = (
            found[row:stop],
            numbers[row:stop],
        )  # their indices are not looked at for being negative
        for i in range(stop - row):
            low = min(low, load_i64(given, i))
            high = max(high, load_i64(given, i))
        start = low
        together = low == high
        if given_starts == 0:
            start = window_start(low, size, offset)
            together = np.uint64(high) - np.uint64(start) < np.uint64(size) and start != ~_MAX
        if together:
            pane = find_pane(directory, mask, start)
            records, number = load_i64(pane, PANE_RECORDS), load_i64(pane, PANE_NUMBER)
            for i in range(stop - row):
                places[i] = np.int64(np.float64(places[i] - records) * inverse + 0.5)
                panes[i] = number
        else:
            starts = given_starts + 8 * row
            if given_starts == 0:
                starts = scratch
                write_starts(times + 8 * row, stop - row, size, offset, starts)
            for i in range(stop - row):
                pane = find_pane(directory, mask, load_i64(starts, i))
                bytes_before = places[i] - load_i64(pane, PANE_RECORDS)
                places[i] = np.int64(np.float64(bytes_before) * inverse + 0.5)
                panes[i] = load_i64(pane, PANE_NUMBER)
        row = stop


@kernel("void(codes, int64[::1], int64[::1])")
def order_by_slot(slots: Int32s, offsets: Int64s, order: Int64s) -> None:
    """Stable order of rows by slot; `offsets` (slots + 1 zeros) becomes where each slot's rows begin."""
    count = len(offsets) - 1
    for i in range(len(slots)):
        offsets[slots[i] + 1] += 1
    for p in range(count):
        offsets[p + 1] += offsets[p]
    for i in range(len(slots)):
        slot = slots[i]
        order[offsets[slot]] = i
        offsets[slot] += 1
    for p in range(count, 0, -1):
        offsets[p] = offsets[p - 1]
    offsets[0] = 0


@kernel("UniTuple(int64, 2)(ints)")
def number_range(numbers: Int64s) -> tuple[I64, I64]:
    """The smallest and the largest of some numbers."""
    low, high = numbers[0], numbers[0]
    for i in range(len(numbers)):
        low = min(low, numbers[i])
        high = max(high, numbers[i])
    return low, high


@kernel("void(ints, int64, uint8[::1])")
def mark_numbers(numbers: Int64s, low: I64, flags: Uint8s) -> None:
    """Sets the flags of the numbers that occur, less `low`."""
    for i in range(len(numbers)):
        flags[numbers[i] - low] = 1


def sorted_by_slot(slots: Int32s, count: int) -> tuple[Int64s, Int64s]:
    """Where each slot's rows begin, shape (count + 1,), and the rows in that order."""
    offsets, order = np.zeros(count + 1, dtype=np.int64), np.empty(len(slots), dtype=np.int64)
    order_by_slot(slots, offsets, order)
    return offsets, order


@dataclass(frozen=True, slots=True)
class Located:
    """The pane and the slot of each row of a batch.

    Attributes:
        numbers: of panes; None where all rows are in the pane `number`.
        slots: in their panes.
    """

    slots: Int64s
    numbers: Int64s | None
    number: int = 0

    def panes(self) -> list[int]:
        """The numbers of the panes."""
        if self.numbers is None:
            return [self.number]
        if len(self.numbers) == 0:
            return []
        low, high = number_range(self.numbers)
        if high - low < 2:
            return list(range(low, high + 1))
        if high - low > _DENSE_MAX:
            found: list[int] = np.unique(self.numbers).tolist()
            return found
        flags = np.zeros(high - low + 1, dtype=np.uint8)
        mark_numbers(self.numbers, low, flags)
        present: list[int] = (np.flatnonzero(flags) + low).tolist()
        return present

    def since(self, row: int) -> Located:
        """Of the rows from `row` on."""
        numbers = None if self.numbers is None else self.numbers[row:]
        return Located(self.slots[row:], numbers, self.number)

    def by_pane(self, which: npt.NDArray[np.bool_] | None) -> Iterator[tuple[int, Int64s, Int64s | None]]:
        """For each pane its number, its rows' slots, and the rows among those chosen (None: all).

        Args:
            which: the rows chosen; None for all.
        """
        slots = self.slots if which is None else self.slots[which]
        if len(slots) == 0:
            return
        if self.numbers is None:
            yield self.number, slots, None
            return
        numbers = self.numbers if which is None else self.numbers[which]
        low = int(numbers.min())
        span = int(numbers.max()) - low + 1
        if span == 1:
            yield low, slots, None
            return
        if span <= _DENSE_MAX:
            offsets, order = np.zeros(span + 1, dtype=np.int64), np.empty(len(slots), dtype=np.int64)
            counting_sort(numbers - low, offsets, order)
            present = np.flatnonzero(np.diff(offsets))
            bounds = [(low + int(p), int(offsets[p]), int(offsets[p + 1])) for p in present]
        else:
            order = np.argsort(numbers, kind="stable")
            ends = [*(np.flatnonzero(np.diff(numbers[order])) + 1).tolist(), len(order)]
            bounds = [(int(numbers[order[b]]), b, e) for b, e in zip([0, *ends[:-1]], ends, strict=True)]
        for number, begin, end in bounds:
            rows = order[begin:end]
            yield number, slots[rows], rows
