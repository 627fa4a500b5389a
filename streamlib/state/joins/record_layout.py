"""Columns of a table as records of 8-byte words, and back: what lies in a row of a store by key and time.

A record begins with the event time, the key's word, and a word of flags. Columns of a fixed width lie
behind it, each as wide as it is. What the head says already takes no room: the event-time column, and a
key that is its word. Columns of other types are not in the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.kernels.columns import is_word, storage_dtype, values_of
from streamlib.kernels.interval_join import HEAD_WORDS, LINK, TIME, WORD
from streamlib.state.slabs import lasting_room

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

_FLAGS_FIRST, _FLAGS_LAST = 32, 63  # of LINK: above the link, below the mark

_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
"""By unit, how many ns it has."""


@dataclass(frozen=True, slots=True)
class _Packed:
    """A column in the record: its type there, its place in a record of such values, and its null flag."""

    dtype: Any
    place: int
    flag_word: int
    flag_bit: int


class RecordLayout:
    """Where the columns of a row lie.

    Args:
        fields: the columns.
        time: which of them is the event time, as a timestamp; None for none.
        word: which of them is the key's word; None for none.

    Attributes:
        width: words of a record.
        kept: the columns that are not in the record.

    >>> layout = RecordLayout([pa.field("k", pa.int64()), pa.field("v", pa.int16())], word=0)
    >>> columns = [pa.array([7, 8]), pa.array([1, None], pa.int16())]
    >>> flags, others = layout.pack(columns, 2)
    >>> records = {TIME: np.array([10, 20]), WORD: np.array([7, 8]), LINK: flags, HEAD_WORDS: others[0]}
    >>> [layout.column(records, n).to_pylist() for n in (0, 1)]
    [[7, 8], [1, None]]
    """

    def __init__(self, fields: Sequence[pa.Field], time: int | None = None, word: int | None = None) -> None:
        self.fields = list(fields)
        self._time, self._word = time, word
        plain = [n for n, field in enumerate(self.fields) if is_word(field.type) and n not in (time, word)]
        self.kept = [
            n for n, field in enumerate(self.fields) if n not in (time, word) and not is_word(field.type)
        ]
        first_flags = _FLAGS_LAST - _FLAGS_FIRST
        more_flags = max(0, len(plain) - first_flags)
        self._begin = HEAD_WORDS + -(-more_flags // 64)
        self._packed: dict[int, _Packed] = {}
        self._nulls = dict.fromkeys(plain, False)
        offset = 8 * self._begin
        by_width = sorted(plain, key=lambda n: -_dtype(self.fields[n].type).itemsize)
        for number, column in enumerate(by_width):
            dtype = _dtype(self.fields[column].type)
            if number < first_flags:
                flag = (LINK, _FLAGS_FIRST + number)
            else:
                flag = (HEAD_WORDS + (number - first_flags) // 64, (number - first_flags) % 64)
            self._packed[column] = _Packed(dtype, offset // dtype.itemsize, *flag)
            offset += dtype.itemsize
        self.width = -(-offset // 8)

    def pack(self, columns: Sequence[pa.Array], rows: int) -> tuple[Int64s, list[Int64s]]:
        """The flags of rows, none where no row has any, and the words that follow the head, each of all rows."""
        words: list[Any] = [None] * (self.width - HEAD_WORDS)
        flags: dict[int, Int64s] = {
            place: np.zeros(rows, np.int64) for place in range(HEAD_WORDS, self._begin)
        }
        for number, packed in self._packed.items():
            column = columns[number]
            values = np.ascontiguousarray(values_of(column))
            row, part = divmod(packed.place, 8 // packed.dtype.itemsize)
            if packed.dtype.itemsize == 8:
                words[row - HEAD_WORDS] = values.view(np.int64)
            else:
                if words[row - HEAD_WORDS] is None:
                    words[row - HEAD_WORDS] = np.zeros(rows, dtype=np.int64)
                words[row - HEAD_WORDS].view(packed.dtype)[part :: 8 // packed.dtype.itemsize] = values
            if column.null_count:
                self._nulls[number] = True
                nulls = np.asarray(column.is_null()).astype(np.int64) << packed.flag_bit
                flags[packed.flag_word] = flags.get(packed.flag_word, np.int64(0)) | nulls
        for place in range(HEAD_WORDS, self._begin):
            words[place - HEAD_WORDS] = flags[place]
        return flags.get(LINK, np.empty(0, np.int64)), words

    def words_of(self, columns: Sequence[int]) -> list[int]:
        """The words of a record that some columns are made of."""
        words: dict[int, None] = {}
        for number in columns:
            if number == self._time:
                words[TIME] = None
            elif number == self._word:
                words[WORD] = None
            elif number in self._packed:
                packed = self._packed[number]
                words[packed.place * packed.dtype.itemsize // 8] = None
                if self._nulls[number]:
                    words[packed.flag_word] = None
        return list(words)

    def column(self, words: Mapping[int, Int64s], number: int) -> pa.Array:
        """A column that is in the record, from words by their place in it."""
        kind = self.fields[number].type
        if number == self._time:
            times, unit = words[TIME], _NS[kind.unit]
            if unit > 1:  # they are whole in their unit
                times = np.floor_divide(times, unit, out=lasting_room(len(times)))
            return pa.Array.from_buffers(kind, len(times), [None, pa.py_buffer(np.ascontiguousarray(times))])
        if number == self._word:
            return _array(kind, words[WORD].astype(_dtype(kind), copy=False), None)
        packed = self._packed[number]
        row, part = divmod(packed.place, 8 // packed.dtype.itemsize)
        values = words[row].view(packed.dtype)[part :: 8 // packed.dtype.itemsize]
        missing = None
        if self._nulls[number]:
            missing = (words[packed.flag_word] >> packed.flag_bit) & 1 != 0
        return _array(kind, np.ascontiguousarray(values), missing)


def _dtype(kind: pa.DataType) -> Any:
    return np.dtype(np.uint8) if pa.types.is_boolean(kind) else storage_dtype(kind)


def _array(kind: pa.DataType, values: Any, missing: npt.NDArray[np.bool_] | None) -> pa.Array:
    if pa.types.is_boolean(kind):
        return pa.array(values.view(np.bool_), mask=missing)
    validity = None
    if missing is not None and missing.any():
        validity = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(values)])
