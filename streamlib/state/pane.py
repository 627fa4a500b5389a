"""One pane's memory: table, records, arena and key columns; and how it grows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.state.blocks import block
from streamlib.state.layout import (
    PANE_ARENA,
    PANE_ARENA_SIZE,
    PANE_ARENA_USED,
    PANE_COUNT,
    PANE_LIMIT,
    PANE_MASK,
    PANE_NULL_SLOT,
    PANE_NUMBER,
    PANE_RECORDS,
    PANE_START,
    PANE_TABLE,
    PANE_WORDS,
)
from streamlib.state.probe import move_entries, split_entries
from streamlib.state.value_store import ValueStore

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]

_PLACES_MIN = 64
_LOAD = 0.7
_LOAD_SMALL = 0.25
_PLACES_SMALL = 2**16  # half a megabyte: a table up to here fits into the second-level cache
_PLACES_TINY = 2**13
_SLOTS_MAX = 2**31
_ARENA_MIN = 4096
_ARENA_LEAST = 256
_LARGE = 2**20
_AHEAD = (256, 16) if os.name == "posix" else (4,)
"""For how many times what is needed a large array has room: memory that is not touched is not taken (on POSIX)."""
_LINE_WORDS = 8


def address(array: npt.NDArray[np.generic]) -> int:
    """The address of an array's first item."""
    try:
        place: int = pa.py_buffer(array).address  # takes a fifth of the time of NumPy's description
    except ValueError:  # strided, or of a type without a buffer
        place = array.__array_interface__["data"][0]
    return place


def table_room(places: int) -> int:
    """How many slots a table of `places` takes.

    A small table is kept sparse: a search that goes on past the first place is a mispredicted branch,
    which costs more than the cache the empty places take. A large one misses the cache anyway.
    """
    if places <= _PLACES_TINY:
        return places // 8
    return int(places * (_LOAD_SMALL if places <= _PLACES_SMALL else _LOAD))


def table_places(slots: int) -> int:
    """The size of a table for that many slots, a power of two."""
    places = _PLACES_MIN
    while table_room(places) < slots:
        places *= 2
    return places


def _ahead(size: int) -> tuple[int, ...]:
    """How many times as much to ask for, one after the other: the system may count what is not touched."""
    return (*_AHEAD, 1) if 8 * size > _LARGE else (1,)


def _records(room: int, words: int) -> Int64s:
    """At least `room` records, not initialised, from a cache line's beginning on.

    Large ones are rarely moved: new memory costs more than their data.
    """
    if 8 * room * words > _LARGE:
        memory = _large(8 * room * words).view(np.int64)
        return memory[: len(memory) // words * words].reshape(-1, words)
    memory = np.empty(room * words + _LINE_WORDS, dtype=np.int64)
    begin = -address(memory) // 8 % _LINE_WORDS
    return memory[begin : begin + room * words].reshape(-1, words)


def _large(size: int) -> npt.NDArray[np.uint8]:
    """So many bytes, not initialised, and as a rule room for many times as many behind them."""
    for ahead in _AHEAD:
        try:
            return block(size, ahead)
        except MemoryError:
            pass
    return block(size, 1)


def _zeros(places: int) -> Uint64s:
    """A table without entries of at least `places`, which may grow into what follows them."""
    for ahead in _ahead(places):
        try:
            return np.zeros(ahead * places, dtype=np.uint64)
        except MemoryError:
            if ahead == 1:
                raise
    raise AssertionError("the last try returns or raises")


_NO_BYTES = np.empty(0, dtype=np.uint8)
_NO_KEYS: list[pa.RecordBatch] = []  # of all panes that have everything in their records
_NO_VALUES: list[ValueStore] = []
_NO_COLLECTED: list[Any] = []


class Pane:
    """The state of one window.

    Args:
        start: the window's start, ns.
        number: what the notes of new slots call it.
        slots: how many keys to expect.
        record_words: 8-byte words of a record.
        has_arena: keys may need bytes beside the record.
        kept: the types of values kept beside the records.

    Attributes:
        descriptor: its words in the directory, which the kernels read and write; shape (PANE_WORDS,).
        keys: the key columns of its slots, in slot order.
        values: the values kept beside the records.
        collected: what is collected beside them, by `collecting`.
    """

    def __init__(
        self,
        start: int,
        number: int,
        slots: int,
        record_words: int,
        has_arena: bool,
        kept: Sequence[pa.DataType] = (),
    ) -> None:
        self.start = start
        self.number = number
        self.keys: list[pa.RecordBatch] = []
        self.values = [ValueStore(kind) for kind in kept]
        self.collected: list[Any] = []
        places = table_places(slots)
        self._places = _zeros(places)
        self._table = self._places[:places]
        self._records = _records(table_room(places), record_words)
        self._arena = np.empty(_ARENA_MIN if has_arena else 0, dtype=np.uint8)
        self.descriptor = np.zeros(PANE_WORDS, dtype=np.int64)
        self.descriptor[PANE_START] = start
        self.descriptor[PANE_NUMBER] = number
        self._describe()

    @classmethod
    def of(cls, descriptor: Int64s, table: Uint64s, records: Int64s) -> Pane:
        """A pane that a kernel has opened in memory that was made for it; see `nursery`."""
        pane = cls.__new__(cls)
        pane.start, pane.number = int(descriptor[PANE_START]), int(descriptor[PANE_NUMBER])
        pane.keys, pane.values, pane.collected = _NO_KEYS, _NO_VALUES, _NO_COLLECTED
        pane._places = pane._table = table
        pane._records = records
        pane._arena = _NO_BYTES
        pane.descriptor = descriptor
        return pane

    @property
    def count(self) -> int:
        """The number of slots in use."""
        return int(self.descriptor[PANE_COUNT])

    @property
    def records(self) -> Int64s:
        """The records in slot order; shape (count, record words)."""
        return self._records[: self.count]

    @property
    def record_bytes(self) -> int:
        """Bytes of a record."""
        return int(self._records.strides[0])

    def part(self, begin: int, end: int) -> Int64s:
        """A descriptor of the records from `begin` to `end` alone; shape (1, PANE_WORDS)."""
        words = self.descriptor.copy()
        words[PANE_RECORDS] += begin * self.record_bytes
        words[PANE_COUNT] = end - begin
        null = int(words[PANE_NULL_SLOT])
        words[PANE_NULL_SLOT] = null - begin if begin < null <= end else 0
        return words.reshape(1, -1)

    @property
    def nbytes(self) -> int:
        """Bytes reserved, with the key columns and the values beside the records."""
        words = int(self.descriptor[PANE_LIMIT]) * self.record_bytes + int(self.descriptor[PANE_ARENA_USED])
        beside = 0
        for kept in (self.keys, self.values, self.collected):
            if kept:
                beside += sum(part.nbytes for part in kept)
        return int(self._table.nbytes) + words + beside

    @property
    def is_large(self) -> bool:
        """Whether its table or records are too large for the second-level cache."""
        return self.room * self._records[:1].nbytes > _LARGE

    @property
    def room(self) -> int:
        """How many slots it takes as it is."""
        return min(len(self._records), table_room(len(self._table)))

    def grow(self) -> None:
        """Makes room for more slots, where table or records are full."""
        count = self.count
        if count >= table_room(len(self._table)):
            self._grow_table()
        if count >= len(self._records):
            records = _records(table_room(len(self._table)), self._records.shape[1])
            records[:count] = self._records[:count]
            self._records = records
        self._describe()

    def _grow_table(self) -> None:
        """Takes twice as many places, where the table is if there is room behind it."""
        old = self._table
        places = len(old) * (4 if len(old) < 4096 else 2)
        if table_room(places) > _SLOTS_MAX:
            raise MemoryError("a window has more than 2**31 keys")
        if 2 * len(old) == places <= len(self._places):
            split_entries(address(old), len(old))
        else:
            self._places = _zeros(places)
            move_entries(address(old), len(old), address(self._places), places - 1)
        self._table = self._places[:places]

    def grow_arena(self, need: int) -> None:
        """Makes room for at least `need` more bytes of keys."""
        used = int(self.descriptor[PANE_ARENA_USED])
        room = max(2 * len(self._arena), used + need, _ARENA_LEAST)
        arena = _large(room) if room > _LARGE else np.empty(room, dtype=np.uint8)
        arena[:used] = self._arena[:used]
        self._arena = arena
        self._describe()

    def _describe(self) -> None:
        words = self.descriptor
        words[PANE_TABLE] = address(self._table)
        words[PANE_MASK] = len(self._table) - 1
        words[PANE_RECORDS] = address(self._records)
        words[PANE_LIMIT] = self.room
        words[PANE_ARENA] = address(self._arena)
        words[PANE_ARENA_SIZE] = len(self._arena)
