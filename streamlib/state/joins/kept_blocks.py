"""Columns of rows that are numbered as they come and go from the oldest: values that fit into no record.

What came in one call is a block. Small ones are joined, large ones stay: a block goes when its last row does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int64s = npt.NDArray[np.int64]

BLOCK_ROWS = 8192
"""Blocks of fewer rows are joined with the next."""


class KeptBlocks:
    """Some columns of numbered rows.

    Args:
        kinds: their types.

    >>> blocks = KeptBlocks([pa.string()])
    >>> blocks.append(0, [pa.array(["a", "b"])]), blocks.append(2, [pa.array(["c"])])
    (None, None)
    >>> blocks.take(np.array([2, 0]), [0])[0].to_pylist()
    ['c', 'a']
    """

    def __init__(self, kinds: Sequence[pa.DataType]) -> None:
        self._kinds = list(kinds)
        self._begins: list[int] = []
        self._blocks: list[list[pa.Array]] = []
        self._end = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return sum(column.nbytes for block in self._blocks for column in block)

    def append(self, begin: int, columns: Sequence[pa.Array]) -> None:
        """Adds rows, which own their memory and are numbered from `begin`, where the others end."""
        rows = len(columns[0]) if columns else 0
        if not rows:
            return
        assert not self._blocks or begin == self._end, "rows are numbered one by one"
        self._end = begin + rows
        self._begins.append(begin)
        self._blocks.append(list(columns))
        joined = 1
        while joined < len(self._blocks):
            size = self._end - self._begins[-joined]
            before = self._begins[-joined] - self._begins[-joined - 1]
            if before >= BLOCK_ROWS or before > 2 * size:
                break
            joined += 1
        if joined > 1:
            parts = self._blocks[-joined:]
            self._blocks[-joined:] = [[pa.concat_arrays(c) for c in zip(*parts, strict=True)]]
            del self._begins[len(self._begins) - joined + 1 :]

    def take(self, numbers: Int64s, which: Sequence[int]) -> list[pa.Array]:
        """Some columns, by number, of some rows."""
        if not which:
            return []
        if not len(numbers):
            return [pa.nulls(0, self._kinds[n]) for n in which]
        if len(self._blocks) == 1:
            places = pa.array(numbers - self._begins[0])
            return [self._blocks[0][n].take(places) for n in which]
        blocks = np.searchsorted(self._begins, numbers, side="right") - 1
        order = np.argsort(blocks, kind="stable")
        bounds = np.searchsorted(blocks[order], np.arange(len(self._blocks) + 1))
        parts = []
        for number in np.flatnonzero(np.diff(bounds)):
            rows = order[bounds[number] : bounds[number + 1]]
            places = pa.array(numbers[rows] - self._begins[number])
            parts.append([self._blocks[number][n].take(places) for n in which])
        found = [pa.concat_arrays(columns) for columns in zip(*parts, strict=True)]
        if (order[1:] > order[:-1]).all():
            return found
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        return [column.take(pa.array(back)) for column in found]

    def drop(self, before: int) -> None:
        """Drops the blocks all of whose rows are numbered below `before`."""
        ends = [*self._begins[1:], self._end]
        gone = sum(end <= before for end in ends)
        if gone:
            del self._blocks[:gone], self._begins[:gone]

    def clear(self) -> None:
        """Drops everything."""
        self._blocks, self._begins = [], []
