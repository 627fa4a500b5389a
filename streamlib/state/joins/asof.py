"""Rows of the right side of an as-of join: for each key its rows through time, and their values.

Rows come in the order of time (of each key, at least). Those that no left row can be matched with any
more are dropped when the rows have doubled since that was last done, and so are keys without rows: the
cost is a constant per row, and memory is at most about twice that of the rows that can still match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import as_given, as_kept, kept_type
from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels.asof import (
    BACKWARD,
    BUCKET_BITS,
    FAR_WORDS,
    LINK,
    NODE_WORDS,
    SWEEP,
    TIME,
    UNSORTED,
    append_nodes,
    append_placed,
    counts_equal,
    link_nodes,
    match_nodes,
    match_roughly,
    search_nodes,
    survey,
)
from streamlib.kernels.asof_living import keep_nodes, living_nodes
from streamlib.kernels.asof_stretches import (
    HELD_MAX,
    NODES_MAX,
    STRETCHES_MAX,
    WALKED,
    match_by_stretches,
)
from streamlib.state.gathering import present_bits, sorted_by_time
from streamlib.state.joins.word_rows import WordRows, is_plain_word
from streamlib.state.pane import address
from streamlib.state.slabs import room
from streamlib.state.slots import SlotColumn, SlotTable
from streamlib.state.value_store import ValueStore

Int64s = npt.NDArray[np.int64]

ROWS_MIN = 4096
"""Rows below which dropping some is not worth it."""
_ROOM_MAX = 4
"""There is room for so many times the rows that live, at most, when some have been dropped."""
_PAUSE = 64
"""So many times rows are put in a rough order, when a key has had too many nodes in a stretch."""
_JOIN_FROM = 4
"""The chunks of values are joined when at least one in so many rows is asked for."""


@dataclass(frozen=True, slots=True)
class PlacedRows:
    """Rows that have not been added yet, and are added from where they lie.

    Attributes:
        slots: of their keys.
        columns: their values, of 8 bytes each, without nulls.
        version: of the slots; they hold as long as that of the store is the same.
    """

    slots: Int64s
    columns: list[pa.Array]
    version: int

    def addresses(self) -> list[int]:
        """Where the slots and the values of the first row lie."""
        return [address(self.slots), *(c.buffers()[1].address + 8 * c.offset for c in self.columns)]


class AsOfStore:
    """Rows by key and time.

    Args:
        key_fields: the key columns, of plain types.
        value_fields: the columns that are kept for each row; of types without dictionaries.

    Attributes:
        rows: how many there are.
        version: changes whenever slots are given anew.

    >>> from streamlib.kernels.asof import BACKWARD, UNLIMITED
    >>> store = AsOfStore([pa.field("k", pa.string())], [pa.field("v", pa.int64())])
    >>> store.add(pa.record_batch({"k": ["a", "a"]}), [pa.array([1, 2])], np.array([10, 20]))
    >>> slots = store.slots_of(pa.record_batch({"k": ["a", "b"]}))
    >>> found = store.match(slots, np.array([15, 15]), BACKWARD, True, UNLIMITED)
    >>> found.tolist(), store.values(found)[0].to_pylist()
    ([0, -1], [1, None])
    """

    def __init__(self, key_fields: Sequence[pa.Field], value_fields: Sequence[pa.Field]) -> None:
        self.key_fields = list(key_fields)
        self.value_fields = list(value_fields)
        self._kinds = [kept_type(field.type) for field in self.value_fields]
        self._words = [place for place, kind in enumerate(self._kinds) if is_plain_word(kind)]
        self._others = [place for place, kind in enumerate(self._kinds) if not is_plain_word(kind)]
        self.version = 0
        self.clear()

    def clear(self) -> None:
        """Drops everything."""
        self.rows = 0
        self._place = 0  # how many rows the cursors have passed
        self._in_order = True
        self._limit = ROWS_MIN
        self._slots_limit = ROWS_MIN
        self._linked = 0  # how many nodes have their links for searches
        self._owed = 0  # how many nodes were passed that searches would not have passed
        self._pause = 0  # how often no notes are made of stretches
        self._nodes: Any = np.empty((64, NODE_WORDS), dtype=np.int64)
        self._far: Any = np.empty((64, FAR_WORDS), dtype=np.int64)
        self._ordered: Any = np.empty((0, 2), dtype=np.int64)
        self._found: Int64s = np.empty(0, dtype=np.int64)
        self._side_by_side = WordRows([self._kinds[place] for place in self._words])
        self._values = [ValueStore(self._kinds[place]) for place in self._others]
        self._new_keys()

    @property
    def keys(self) -> int:
        """How many keys have a slot, those without rows included."""
        return self._table.count

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        own = self._nodes.nbytes + self._far.nbytes + self._ordered.nbytes + self._found.nbytes
        own += self._table.nbytes + self._side_by_side.nbytes
        return own + sum(values.nbytes for values in self._values)

    @property
    def is_due(self) -> bool:
        """Whether `drop` should be called: rows or keys have doubled since it was."""
        return self.rows > self._limit or self._table.count > self._slots_limit or not self._in_order

    def add(self, keys: pa.RecordBatch, values: Sequence[pa.Array], times: Int64s) -> None:
        """Adds rows: of each key in the order of time, and not before those that are there.

        Rows of all keys should come in that order: else each match is a search until `drop` is called.
        """
        if not len(times):
            return
        self._note_order(times, bool((times[1:] >= times[:-1]).all()))
        self._chain(self._table.find(keys), times)
        self._side_by_side.append([as_kept(values[place]) for place in self._words])
        for store, place in zip(self._values, self._others, strict=True):
            store.append(as_kept(values[place]))

    def placed(self, keys: pa.RecordBatch, values: Sequence[pa.Array]) -> PlacedRows | None:
        """Rows that `add_placed` takes some of; None where they have values that only `add` takes."""
        if self._others or any(column.null_count for column in values):
            return None
        return PlacedRows(self.slots_of(keys), [as_kept(column) for column in values], self.version)

    def add_placed(self, parts: Sequence[PlacedRows], codes: Int64s, times: Int64s) -> None:
        """Adds rows as `add`: in the order of time, those named by `codes`.

        Args:
            codes: the number of the part above 32 bits of the row in it.
        """
        if not len(times):
            return
        begin = self.rows
        self._note_order(times, True)
        self._make_room(begin + len(times))
        numbers = np.array([part.addresses() for part in parts], dtype=np.int64).reshape(-1)
        words = self._side_by_side.more(len(times)) - 8 * len(self._words) * begin
        columns = self._by_slot(self._heads, self._firsts)
        append_placed(codes, times, numbers, len(self._words), address(self._nodes), *columns, begin, words)
        self.rows = begin + len(times)

    def slots_of(self, keys: pa.RecordBatch) -> Int64s:
        """The slot of each key; they hold until something is dropped."""
        return self._table.find(keys)

    def match(self, slots: Int64s, times: Int64s, direction: int, exact: bool, tolerance: int) -> Int64s:
        """The row that belongs to each slot and time, -1 for none; see `kernels.asof.search_nodes`.

        The answer stays until the next call.
        """
        rows = len(times)
        if len(self._found) < rows:
            self._found = np.empty(rows, dtype=np.int64)
        found = self._found[:rows]
        if not self.rows or not rows:
            found[:] = -1
            return found
        sought = (direction, exact, tolerance)
        times = np.ascontiguousarray(times)
        low, high, falls, begin, swept = self._surveyed(times, counts_equal(direction, exact))
        if not self._in_order or self._searches(abs(begin - self._place) + swept, rows):
            self._link()
            nodes, far = address(self._nodes), address(self._far)
            heads, firsts = self._by_slot(self._heads, self._firsts)
            search_nodes(slots, times, nodes, far, heads, firsts, *sought, found)
        elif falls * swept <= SWEEP * rows:
            self._sweep(slots, times, sought, found)
        elif not (
            self._sweep_stretches(slots, times, sought, low, high, found)
            or self._sweep_roughly(slots, times, sought, low, high, swept, found)
        ):
            times, order = sorted_by_time(times)
            answer = room(rows)
            self.match(slots[order], times, *sought)
            answer[:] = found
            found[order] = answer
        return found

    def values(self, rows: Int64s) -> list[pa.Array]:
        """The columns of some rows; null where there is none."""
        rows, bits = np.ascontiguousarray(rows), present_bits(rows)
        found = dict(zip(self._words, self._side_by_side.take(rows, bits), strict=True))
        for store, place in zip(self._values, self._others, strict=True):
            if len(rows) * _JOIN_FROM > self.rows:
                store.all()  # is one chunk from then on
            found[place] = store.take(rows, bits)
        return [as_given(found[place], field.type) for place, field in enumerate(self.value_fields)]

    def drop(self, since: int, low: int, keeps_last: bool) -> None:
        """Drops what no row at `since` or later can be matched with.

        Args:
            since: rows from this time on stay, ns.
            low: the last row of a key before `since` stays if it is not before this time, ns.
            keeps_last: whether that one is of any use.
        """
        out = np.empty(self.rows, dtype=np.int64)
        seen = np.zeros(self._table.count, dtype=np.uint8)
        begin = living_nodes(address(self._nodes), self.rows, since, low, keeps_last, seen, out)
        living = out[begin:]
        if len(living) < self.rows or not self._in_order:
            for column in (self._heads, self._firsts, self._cursors):
                column.upto(self._table.count)[:] = -1
            for store in self._values:
                store.keep(self._by_time(living))
            if self._in_order:
                columns = self._by_slot(self._heads, self._firsts)
                words = self._side_by_side.address
                keep_nodes(living, address(self._nodes), *columns, len(self._words), words)
                self._side_by_side.keep_first(len(living), living)
            else:
                living = self._by_time(living)
                slots, times = self._nodes[living, LINK] >> 32, self._nodes[living, TIME]
                self._side_by_side.keep(living)
                self.rows, self._in_order = 0, True
                self._chain(slots, times)
            self._place = self._linked = 0
            self.rows = len(living)
            if len(self._nodes) > _ROOM_MAX * max(ROWS_MIN, self.rows):
                self._nodes = self._nodes[: self.rows].copy()
                self._far = np.empty((0, FAR_WORDS), dtype=np.int64)
        self._limit = 2 * self.rows + ROWS_MIN
        self._drop_keys()

    def _by_time(self, places: Int64s) -> Int64s:
        """Places of nodes, in the order of time."""
        return places if self._in_order else places[np.argsort(self._nodes[places, TIME], kind="stable")]

    def snapshot(self) -> tuple[pa.RecordBatch, list[pa.Array], Int64s]:
        """Keys, values and times of all rows, in their order: what `add` takes."""
        rows = np.arange(self.rows)
        if not self.rows:
            keys = pa.RecordBatch.from_pylist([], schema=pa.schema(self.key_fields))
        else:
            keys = self._table.read(self._nodes[: self.rows, LINK] >> 32).keys
        return keys, self.values(rows), self._nodes[: self.rows, TIME].copy()

    def _surveyed(self, times: Int64s, with_equal: bool) -> tuple[int, int, int, int, int]:
        out = np.empty(5, dtype=np.int64)
        survey(times, address(self._nodes), self.rows, with_equal, out)
        low, high, falls, begin, swept = out.tolist()
        return low, high, falls, begin, swept

    def _sweep(self, slots: Int64s, times: Int64s, sought: tuple[int, bool, int], found: Int64s) -> None:
        """Writes the matches of rows that come in few runs which rise."""
        if sought[0] != BACKWARD:
            self._link()
        firsts, cursors = self._by_slot(self._firsts, self._cursors)
        nodes, far = address(self._nodes), address(self._far)
        self._place = match_nodes(
            slots, times, nodes, far, self.rows, firsts, cursors, self._place, *sought, found
        )

    def _searches(self, passed: int, rows: int) -> bool:
        """Whether to search for rows one by one, where a sweep would pass so many nodes.

        Searches need links. As long as these are to be made, sweeps go on until they have cost as much.
        """
        over = passed - SWEEP * rows
        if over <= 0:
            return False
        self._owed += over
        return self._owed > self.rows - self._linked

    def _sweep_stretches(
        self, slots: Int64s, times: Int64s, sought: tuple[int, bool, int], low: int, high: int, found: Int64s
    ) -> bool:
        """Writes the matches of rows in any order; False where keys have too many nodes in a stretch."""
        self._pause -= 1
        keys = self._table.count
        most = min(STRETCHES_MAX, HELD_MAX * len(times) // keys)
        if self._pause >= 0 or not most or high - low >= 1 << 62 or self.rows > NODES_MAX:
            return False
        if sought[0] != BACKWARD:
            self._link()
        shift = 0
        while (high - low) >> shift >= most:
            shift += 1
        held = room(keys * (((high - low) >> shift) + 1), np.int32)
        firsts, cursors = self._by_slot(self._firsts, self._cursors)
        place = match_by_stretches(
            slots,
            times,
            address(self._nodes),
            address(self._far),
            self.rows,
            firsts,
            cursors,
            self._place,
            *sought,
            low,
            high,
            shift,
            keys,
            address(held),
            found,
        )
        self._place = place if place >= 0 else WALKED - place
        self._pause = 0 if place >= 0 else _PAUSE
        return place >= 0

    def _sweep_roughly(
        self,
        slots: Int64s,
        times: Int64s,
        sought: tuple[int, bool, int],
        low: int,
        high: int,
        swept: int,
        found: Int64s,
    ) -> bool:
        """Writes the matches of rows in any order; False where rows have to be sorted first."""
        if swept > self._table.count << BUCKET_BITS or high - low >= 1 << 62:
            return False  # a key would have many nodes in a stretch
        if sought[0] != BACKWARD:
            self._link()
        if len(self._ordered) < len(times):
            self._ordered = np.empty((len(times), 2), dtype=np.int64)
        firsts, cursors = self._by_slot(self._firsts, self._cursors)
        place = match_roughly(
            slots,
            times,
            address(self._nodes),
            address(self._far),
            self.rows,
            firsts,
            cursors,
            self._place,
            *sought,
            low,
            high,
            max(0, (high - low).bit_length() - BUCKET_BITS),
            address(self._ordered),
            found,
        )
        self._place = place if place >= 0 else UNSORTED - place
        return place >= 0

    def _link(self) -> None:
        """Makes the links that searches need, of the nodes that have come since."""
        if self._linked < self.rows:
            if len(self._far) < len(self._nodes):
                grown = np.empty((len(self._nodes), FAR_WORDS), dtype=np.int64)
                grown[: self._linked] = self._far[: self._linked]
                self._far = grown
            link_nodes(address(self._nodes), address(self._far), self._linked, self.rows)
            self._linked, self._owed = self.rows, 0

    def _chain(self, slots: Int64s, times: Int64s) -> None:
        count = self.rows + len(slots)
        self._make_room(count)
        columns = self._by_slot(self._heads, self._firsts)
        append_nodes(slots, np.ascontiguousarray(times), address(self._nodes), *columns, self.rows)
        self.rows = count

    def _make_room(self, count: int) -> None:
        """Has room for so many nodes."""
        if count > len(self._nodes):
            grown = np.empty((max(count, 2 * len(self._nodes)), NODE_WORDS), dtype=np.int64)
            grown[: self.rows] = self._nodes[: self.rows]
            self._nodes = grown

    def _note_order(self, times: Int64s, rising: bool) -> None:
        """Notes whether all rows are in the order of time, with these behind them."""
        last = self._nodes[self.rows - 1, TIME] if self.rows else times[0]
        self._in_order = self._in_order and rising and bool(last <= times[0])

    def _by_slot(self, one: SlotColumn, other: SlotColumn) -> tuple[int, int]:
        """The addresses of two columns, which have a place for each slot."""
        count = self._table.count
        return address(one.upto(count)), address(other.upto(count))

    def _drop_keys(self) -> None:
        """Forgets the keys without rows, when they are most of all: those that only left rows have, too."""
        heads = self._heads.upto(self._table.count)
        living = np.flatnonzero(heads >= 0)
        if self._table.count > 2 * len(living) + ROWS_MIN:
            keys = self._table.read(living).keys
            columns = (self._heads, self._firsts, self._cursors)
            kept = [column.upto(len(heads))[living] for column in columns]
            numbers = np.full(len(heads), -1, dtype=np.int64)
            numbers[living] = np.arange(len(living))
            places = self._nodes[: self.rows, LINK]
            places[:] = (numbers[places >> 32] << 32) | (places & 0xFFFFFFFF)
            self._new_keys()
            if len(living):
                slots = self._table.find(keys)
                assert slots[-1] == len(living) - 1, "each key that has rows has a slot again"
                columns = (self._heads, self._firsts, self._cursors)
                for column, values in zip(columns, kept, strict=True):
                    column.upto(len(living))[:] = values
        self._slots_limit = 2 * len(living) + 2 * ROWS_MIN

    def _new_keys(self) -> None:
        self.version += 1
        self._table = SlotTable(self.key_fields, AccumulatorPlan([]))
        self._heads, self._firsts, self._cursors = (SlotColumn(np.int64, -1) for _ in range(3))
