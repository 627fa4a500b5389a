"""Columns of 8-byte values of rows that are appended: a row's values lie side by side, and are found at one miss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.kernels.packing import COLUMN, VALUES, WORD, pack_rows, take_words
from streamlib.state.gathering import present_bits
from streamlib.state.pane import address
from streamlib.state.slabs import lasting_room, room

Int64s = npt.NDArray[np.int64]

_Value = TypeVar("_Value", bound=np.generic)
_ROWS_MIN = 64
_KEPT_MIN = 4096
_ROOM_MAX = 4
"""There is room for so many times the rows, at most, when some have been dropped."""


def is_plain_word(kind: pa.DataType) -> bool:
    """Whether values of a type are 8 bytes each."""
    return bool(pa.types.is_primitive(kind) and kind.bit_width == 64)


class WordRows:
    """Rows of some columns.

    Args:
        kinds: their types, of 8-byte values each.

    >>> rows = WordRows([pa.int64(), pa.float64()])
    >>> rows.append([pa.array([1, None]), pa.array([0.5, 1.5])])
    >>> [column.to_pylist() for column in rows.take(np.array([1, -1, 0]))]
    [[None, None, 1], [1.5, None, 0.5]]
    """

    def __init__(self, kinds: Sequence[pa.DataType]) -> None:
        self._kinds = list(kinds)
        self.clear()

    def __len__(self) -> int:
        return self._rows

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._words.nbytes + sum(valid.nbytes for valid in self._valid.values())

    @property
    def address(self) -> int:
        """Where the words of the first row lie."""
        return address(self._words)

    def clear(self) -> None:
        """Drops everything."""
        self._rows = 0
        self._words: Int64s = np.empty((0, len(self._kinds)), dtype=np.int64)
        self._valid: dict[int, npt.NDArray[np.bool_]] = {}  # of the columns that have had a null

    def append(self, columns: Sequence[pa.Array]) -> None:
        """Adds rows."""
        if not self._kinds:
            return
        begin = self._rows
        first = self.more(len(columns[0]))
        numbers = np.zeros((len(columns), COLUMN), dtype=np.int64)
        for place, (column, described) in enumerate(zip(columns, numbers, strict=True)):
            described[:VALUES] = WORD, place
            described[VALUES] = column.buffers()[1].address + 8 * column.offset
            if column.null_count and place not in self._valid:
                self._valid[place] = np.ones(len(self._words), dtype=np.bool_)
            if place in self._valid:
                self._valid[place][begin : self._rows] = np.asarray(column.is_valid())
        pack_rows(numbers.reshape(-1), self._rows - begin, 8 * len(columns), first)

    def more(self, rows: int) -> int:
        """Makes room for so many further rows, without nulls; the address of the first one's words, to be written."""
        begin, self._rows = self._rows, self._rows + rows
        if self._rows > len(self._words):
            room_for = max(self._rows, begin + begin // 2, _ROWS_MIN)
            self._words = _grown(self._words, begin, room_for)
            self._valid = {place: _grown(valid, begin, room_for) for place, valid in self._valid.items()}
        for valid in self._valid.values():
            valid[begin : self._rows] = True
        return address(self._words) + begin * self._words.strides[0]

    def take(self, places: Int64s, bits: pa.Buffer | None = None) -> list[pa.Array]:
        """The columns of the rows at `places`; null where one is negative: `bits`, where they are known."""
        if not self._kinds:
            return []
        if not self._rows:
            assert (places < 0).all(), "nothing was kept"
            return [pa.nulls(len(places), kind) for kind in self._kinds]
        bits = present_bits(places) if bits is None else bits
        outs = [lasting_room(len(places)) for _ in self._kinds]
        to = np.array([address(out) for out in outs], dtype=np.int64)
        take_words(np.ascontiguousarray(places), address(self._words), len(outs), to)
        return [
            pa.Array.from_buffers(kind, len(places), [self._bits(place, places, bits), pa.py_buffer(out)])
            for place, (kind, out) in enumerate(zip(self._kinds, outs, strict=True))
        ]

    def keep(self, places: Int64s) -> None:
        """Keeps the rows at `places` only; their places are 0, 1, 2 and so on from now."""
        if not self._kinds:
            return
        self._words, self._rows = self._words[places], len(places)
        self._valid = {place: valid[places] for place, valid in self._valid.items()}

    def keep_first(self, count: int, places: Int64s) -> None:
        """Keeps as many rows as there are `places`, when somebody has moved the words of these to the front."""
        self._rows = count
        for valid in self._valid.values():
            valid[:count] = valid[places]
        if len(self._words) > _ROOM_MAX * max(_KEPT_MIN, count):
            self._words = self._words[:count].copy()
            self._valid = {place: valid[:count].copy() for place, valid in self._valid.items()}

    def _bits(self, place: int, places: Int64s, bits: pa.Buffer | None) -> pa.Buffer | None:
        """Which values are there."""
        valid = self._valid.get(place)
        if valid is None:
            return bits
        there = room(len(places), np.bool_)
        np.take(valid, np.maximum(places, 0), out=there)
        there &= places >= 0
        return pa.py_buffer(np.packbits(there, bitorder="little"))


def _grown(values: npt.NDArray[_Value], count: int, size: int) -> npt.NDArray[_Value]:
    """The first `count` values, with room for more."""
    grown = np.empty((size, *values.shape[1:]), dtype=values.dtype)
    grown[:count] = values[:count]
    return grown
