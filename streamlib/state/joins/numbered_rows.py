"""Rows that are numbered as they come, and go in any order: they are taken out by their numbers.

Rows lie in blocks. A block is made smaller when half of its rows have gone, so memory follows those that stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamlib.elements import Batch
from streamlib.state.ordered import joined

Int64s = npt.NDArray[np.int64]

BLOCK_ROWS = 8192
"""Blocks of fewer rows are joined with the next."""


@dataclass(slots=True)
class _Block:
    numbers: Int64s
    batch: Batch
    stays: npt.NDArray[np.bool_]
    count: int


class NumberedRows:
    """Rows by number.

    Attributes:
        rows: how many there are.

    >>> import pyarrow as pa
    >>> rows = NumberedRows()
    >>> rows.add(Batch(pa.record_batch({"n": [5, 6, 7]}), np.array([1, 2, 3])), np.array([0, 1, 2]))
    >>> rows.take_out(np.array([2, 0])).rows.column(0).to_pylist(), rows.rows
    ([7, 5], 1)
    """

    def __init__(self) -> None:
        self.rows = 0
        self._blocks: list[_Block] = []

    def add(self, batch: Batch, numbers: Int64s) -> None:
        """Adds rows, with a time, whose numbers rise and are larger than all before."""
        if not len(batch):
            return
        assert not self._blocks or numbers[0] > self._blocks[-1].numbers[-1], "numbers rise"
        whole = Batch(batch.rows, batch.time)
        self._blocks.append(_Block(numbers, whole, np.ones(len(batch), np.bool_), len(batch)))
        self.rows += len(batch)
        while len(self._blocks) > 1:
            before, last = self._blocks[-2:]
            if before.count >= BLOCK_ROWS or before.count > 2 * last.count:
                break
            self._blocks[-2:] = [_merged(before, last)]

    def take_out(self, numbers: Int64s) -> Batch | None:
        """Some rows, in the order of their numbers as given, which are there no longer; None for none."""
        if not len(numbers):
            return None
        firsts = [block.numbers[0] for block in self._blocks]
        which = np.searchsorted(firsts, numbers, side="right") - 1
        order = np.argsort(which, kind="stable")
        bounds = np.searchsorted(which[order], np.arange(len(self._blocks) + 1))
        parts = []
        for number in np.flatnonzero(np.diff(bounds)):
            wanted = numbers[order[bounds[number] : bounds[number + 1]]]
            block = self._blocks[number]
            places = np.searchsorted(block.numbers, wanted)
            parts.append(block.batch.take(places))
            block.stays[places] = False
            block.count -= len(places)
        self.rows -= len(numbers)
        self._blocks = [_thinned(block) for block in self._blocks if block.count]
        found = joined(parts)
        if (order[1:] > order[:-1]).all():
            return found
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        return found.take(back)

    def all(self) -> Batch | None:
        """All rows; None when there are none."""
        parts = [block.batch.filter(block.stays) for block in self._blocks]
        return joined(parts) if parts else None


def _merged(one: _Block, two: _Block) -> _Block:
    numbers = np.concatenate([block.numbers[block.stays] for block in (one, two)])
    batch = joined([block.batch.filter(block.stays) for block in (one, two)])
    return _Block(numbers, batch, np.ones(len(numbers), np.bool_), len(numbers))


def _thinned(block: _Block) -> _Block:
    if 2 * block.count > len(block.numbers):
        return block
    stays = block.stays
    return _Block(block.numbers[stays], block.batch.filter(stays), stays[stays], block.count)
