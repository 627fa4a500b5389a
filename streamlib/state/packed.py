"""Rows that wait as records, from which they are taken in any order at one miss of the cache each.

Records are made of a batch when the first of its rows are taken, of those columns that allow it: values of 8 and 4
bytes and short texts, without nulls. What the records of one batch have, those of all others of a buffer have, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.kernels.packing import (
    BYTES,
    COLUMN,
    END,
    HALF,
    LONGER,
    LONGER_MAX,
    SHORT,
    SHORT_MAX,
    TOTAL,
    VALUES,
    WORD,
    WORDS,
    longest,
    pack_rows,
    unpack_rows,
)
from streamlib.state.gathering import OFFSETS_MAX, likely_bytes
from streamlib.state.pane import address
from streamlib.state.slabs import lasting_room, room

Int64s = npt.NDArray[np.int64]

_APART = -1
"""A column that is not in the records."""
_WORDS_MAX = 32
"""A record has at most so many words."""
_SPARE_MAX = 4
"""So many records of batches that are gone are kept, to write over."""
_TEXT_SPARE = 16
"""Bytes behind a text that may be written to."""


@dataclass(slots=True)
class PackedRows:
    """A batch, and its records where there are some.

    Attributes:
        kinds: how each column stands in them.
        memory: where they lie.
    """

    rows: pa.RecordBatch
    kinds: tuple[int, ...] = ()
    memory: npt.NDArray[np.uint8] | None = field(default=None, repr=False)


class Packer:
    """Makes records of batches of one schema, and columns of records.

    Args:
        lasting: the columns that go on to others, by name; all when None.

    >>> rows = pa.record_batch({"n": [1, 2, 3], "t": ["a", "", "ccc"]})
    >>> made = Packer().columns([PackedRows(rows)], np.array([2, 0]))
    >>> {place: column.to_pylist() for place, column in made.items()}
    {0: [3, 1], 1: ['ccc', 'a']}
    """

    def __init__(self, lasting: frozenset[str] | None = None) -> None:
        self._lasting = lasting
        self._kinds: tuple[int, ...] | None = None
        self._spare: list[npt.NDArray[np.uint8]] = []

    def columns(
        self, parts: Sequence[PackedRows], codes: Int64s, without: frozenset[int] = frozenset()
    ) -> dict[int, pa.Array]:
        """The columns, by their places, of the rows named by `codes`; those that are in no records are missing.

        Args:
            codes: the number of the part above 32 bits of the row in it.
            without: columns that are not asked for.
        """
        for part in parts:
            if part.memory is None:
                self._kinds = _common(self._kinds, part.rows)
        kinds = self._kinds
        if kinds is None or not _is_worth_it(kinds):
            return {}
        stride = 8 * sum(map(_words_of, kinds))
        for part in parts:
            if part.kinds != kinds:
                self._pack(part, kinds, stride)
        records = np.array(
            [address(part.memory) for part in parts if part.memory is not None], dtype=np.int64
        )
        wanted = [at for at, kind in enumerate(kinds) if kind != _APART and at not in without]
        return self._unpacked(parts, wanted, codes, records, stride)

    def take_back(self, part: PackedRows) -> None:
        """The rows are gone: their records may be written over."""
        memory, part.memory, part.kinds = part.memory, None, ()
        if memory is not None and len(self._spare) < _SPARE_MAX:
            self._spare.append(memory)

    def _pack(self, part: PackedRows, kinds: tuple[int, ...], stride: int) -> None:
        rows, at, word = part.rows, 0, 0
        columns = np.zeros((len(kinds) - kinds.count(_APART), COLUMN), dtype=np.int64)
        for place, kind in enumerate(kinds):
            if kind == _APART:
                continue
            column = rows.column(place)
            _, values, *data = column.buffers()
            width = 4 if kind != WORD else 8
            columns[at, :VALUES] = kind, word
            columns[at, VALUES] = values.address + width * column.offset
            if kind >= SHORT and data[0] is not None:
                columns[at, BYTES : END + 1] = data[0].address, data[0].address + data[0].size
            at, word = at + 1, word + WORDS[kind]
        self.take_back(part)
        part.memory, part.kinds = self._room(rows.num_rows * stride), kinds
        pack_rows(columns.reshape(-1), rows.num_rows, stride, address(part.memory))

    def _room(self, size: int) -> npt.NDArray[np.uint8]:
        for at, spare in enumerate(self._spare):
            if size <= len(spare) <= 4 * size:
                return self._spare.pop(at)
        self._spare = self._spare[-_SPARE_MAX + 1 :]
        return np.empty(size, dtype=np.uint8)

    def _unpacked(
        self, parts: Sequence[PackedRows], wanted: list[int], codes: Int64s, records: Int64s, stride: int
    ) -> dict[int, pa.Array]:
        schema, kinds, made = parts[0].rows.schema, parts[0].kinds, {}
        words = np.cumsum([0, *map(_words_of, kinds)])
        limits = {
            place: likely_bytes([part.rows.column(place) for part in parts], len(codes))
            for place in wanted
            if kinds[place] >= SHORT
        }
        while wanted:
            columns = np.zeros((len(wanted), COLUMN), dtype=np.int64)
            rooms = []
            for column, place in zip(columns, wanted, strict=True):
                column[:VALUES] = kinds[place], words[place]
                lasts = self._lasting is None or schema.field(place).name in self._lasting
                rooms.append(_rooms(kinds[place], lasts, len(codes), limits.get(place, 0), column))
            unpack_rows(codes, records, stride, columns.reshape(-1))
            again = []
            for column, place, (values, *data) in zip(columns, wanted, rooms, strict=True):
                total = int(column[TOTAL])
                if data and total > limits[place]:
                    limits[place] = total
                    again += [place] if total <= OFFSETS_MAX else []
                    continue
                buffers = [None, pa.py_buffer(values), *(pa.py_buffer(part[:total]) for part in data)]
                made[place] = pa.Array.from_buffers(schema.field(place).type, len(codes), buffers)
            wanted = again
        return made


def _rooms(kind: int, lasts: bool, count: int, limit: int, column: Int64s) -> list[npt.NDArray[Any]]:
    """Room for a column's values, or for the offsets and bytes of its texts; told to `column`."""
    new = lasting_room if lasts else room
    if kind < SHORT:
        found = [new(count, np.int64 if kind == WORD else np.int32)]
    else:
        found = [new(count + 1, np.int32), new(limit + _TEXT_SPARE, np.uint8)]
        column[BYTES], column[END] = address(found[1]), limit
    column[VALUES] = address(found[0])
    return found


def _words_of(kind: int) -> int:
    return 0 if kind == _APART else WORDS[kind]


def _is_worth_it(kinds: Sequence[int]) -> bool:
    """Whether a row of records spares some misses."""
    return sum(map(_words_of, kinds)) > 1 or SHORT in kinds


def _common(known: tuple[int, ...] | None, rows: pa.RecordBatch) -> tuple[int, ...]:
    """How each column stands in records, of these rows and of others."""
    kinds = [WORD] * rows.num_columns if known is None else list(known)
    words = 0
    for place, column in enumerate(rows.columns):
        if kinds[place] != _APART:
            kind = _kind(column)
            kinds[place] = _APART if kind == _APART else max(kind, kinds[place])
        words += _words_of(kinds[place])
        if words > _WORDS_MAX:
            kinds[place], words = _APART, words - _words_of(kinds[place])
    return tuple(kinds)


def _kind(column: pa.Array) -> int:
    kind = column.type
    if column.null_count:
        return _APART
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        offsets = column.buffers()[1]
        most = 0 if offsets is None else longest(offsets.address + 4 * column.offset, len(column))
        return SHORT if most <= SHORT_MAX else LONGER if most <= LONGER_MAX else _APART
    if not pa.types.is_primitive(kind) or kind.bit_width not in (32, 64):
        return _APART
    return WORD if kind.bit_width == 64 else HALF
