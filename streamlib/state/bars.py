"""The open bars of all keys: rows in, in order, and bars out that are full.

A key has one open bar at most, and none between two bars. Aggregates are kept by the number of a bar; a
number comes back when its bar is over. So what is kept is what is open, and memory is given back after a
call in which many bars were filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.elements import MAX_TIME
from streamlib.errors import DataError
from streamlib.kernels.columns import decoded, validity_of, values_of, word_column
from streamlib.state import bar_kernels as kernels
from streamlib.state.closed import Closed
from streamlib.state.expiry import Expiry
from streamlib.state.key_columns import with_fields
from streamlib.state.numbered import NumberedStore
from streamlib.state.pane import address
from streamlib.state.slots import SlotTable

Int64s = npt.NDArray[np.int64]

_SPARE = 4
"""Numbers are given out anew when only one of so many belongs to an open bar."""
_SPARE_MIN = 16_384
_TIME = pa.timestamp("ns", "UTC")
_EMPTY: Int64s = np.zeros(kernels.KEY_WORDS, dtype=np.int64)
_EMPTY[kernels.NUMBER] = kernels.NONE


@dataclass(frozen=True, slots=True)
class BarSize:
    """When a bar is full.

    Attributes:
        kind: what is added up, as the kernel has it.
        whole: the size, where that is whole: rows, integers, and decimals as integers.
        real: the size for floats.
    """

    kind: int
    whole: int = 1
    real: float = 1.0

    @classmethod
    def of_rows(cls, size: int) -> BarSize:
        """After so many rows."""
        return cls(kernels.ROWS, size)

    @classmethod
    def of_integers(cls, size: int) -> BarSize:
        """When a sum of integers or booleans is at least this."""
        return cls(kernels.SIGNED, size)

    @classmethod
    def of_unsigned(cls, size: int) -> BarSize:
        """When a sum of unsigned integers is at least this."""
        return cls(kernels.UNSIGNED, size)

    @classmethod
    def of_decimals(cls, size: int) -> BarSize:
        """When a sum of decimals is at least this many of their last digit."""
        return cls(kernels.DECIMAL, size)

    @classmethod
    def of_floats(cls, size: float) -> BarSize:
        """When a sum of floats, rounded once, is at least this."""
        return cls(kernels.FLOAT, real=size)

    @property
    def fields(self) -> list[pa.Field]:
        """The columns of a snapshot with what an open bar has so far."""
        if self.kind == kernels.ROWS:
            return [pa.field("bar.rows", pa.int64())]
        if self.kind == kernels.FLOAT:
            return [pa.field("bar.sum", pa.float64()), pa.field("bar.lost", pa.float64())]
        return [pa.field("bar.low", pa.uint64()), pa.field("bar.high", pa.int64())]


@dataclass(frozen=True, slots=True, eq=False)
class OverBars:
    """Bars that are over, in the order in which that was found.

    Attributes:
        first, last: times of the first and the last row of each, ns.
        time: its own time: that of the row that filled it, else its last row's and the time to live.
        full: whether it is full.
        rows: how many rows it has.
        closed: its key and its aggregates.
    """

    first: Int64s
    last: Int64s
    time: Int64s
    full: npt.NDArray[np.bool_]
    closed: Closed

    def __len__(self) -> int:
        return len(self.first)

    @property
    def rows(self) -> Int64s:
        """How many rows each has."""
        return self.closed.state[:, 0]

    def only(self, chosen: npt.NDArray[np.bool_]) -> OverBars:
        """Those that are chosen."""
        closed, kept = self.closed, pa.array(chosen)
        some = Closed(
            0,
            closed.keys.filter(kept) if closed.keys.num_columns else closed.keys,
            closed.state[chosen],
            [column.filter(kept) for column in closed.kept],
            closed.plan,
        )
        return OverBars(self.first[chosen], self.last[chosen], self.time[chosen], self.full[chosen], some)


class BarTable:
    """Aggregates per key and bar.

    Args:
        key_fields: the key columns, of plain types; none for bars over all rows.
        plan: what to aggregate.
        size: when a bar is full.
        ttl: a key begins anew when it had no row for longer than this, ns; None for never.

    >>> from streamlib.aggregates import AccumulatorPlan, Count
    >>> plan = AccumulatorPlan([(Count(), None, None)])
    >>> table = BarTable([pa.field("k", pa.string())], plan, BarSize.of_rows(2))
    >>> rows = pa.record_batch({"k": ["a", "b", "a", "a"]})
    >>> over = table.add(rows, [], np.array([1, 2, 3, 4]))
    >>> over.closed.keys.to_pylist(), over.first.tolist(), over.last.tolist(), len(table)
    ([{'k': 'a'}], [1], [3], 2)
    """

    def __init__(
        self, key_fields: Sequence[pa.Field], plan: AccumulatorPlan, size: BarSize, ttl: int | None = None
    ) -> None:
        self.plan = plan
        self.size = size
        self.ttl = ttl
        self._key_schema = pa.schema(list(key_fields))
        self._keys = SlotTable(key_fields, AccumulatorPlan([])) if key_fields else None
        self._states = NumberedStore(plan)
        self._expiry = None if ttl is None else Expiry(ttl)
        self._records = np.tile(_EMPTY, (64, 1))
        self._free = np.empty(64, dtype=np.int64)
        self._counts = np.zeros(kernels.STATE_WORDS, dtype=np.int64)
        times = [pa.field("first_time", _TIME), pa.field("last_time", _TIME)]
        self._head_schema = with_fields(self._key_schema, [*times, *size.fields])

    def __len__(self) -> int:
        """How many bars are open."""
        return int(self._counts[kernels.OPEN])

    @property
    def rows(self) -> int:
        """Rows in the open bars."""
        return self._states.rows_added

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        keys = 0 if self._keys is None else self._keys.nbytes
        return keys + self._states.nbytes + self._records.nbytes + self._free.nbytes

    def add(
        self,
        keys: pa.RecordBatch,
        inputs: Sequence[pa.Array],
        time: Int64s,
        measure: pa.Array | None = None,
    ) -> OverBars:
        """Adds rows in order; returns the bars that are over by that.

        Args:
            keys: the key columns, by `key_fields`. As many rows as there are times.
            inputs: the plan's inputs.
            time: event times, ns: those of a key rise, also from call to call.
            measure: what is added up; None for bars of rows.

        Raises:
            DataError: a sum has fallen below what its type can hold.
        """
        time, rows = np.ascontiguousarray(time), len(time)
        slots = self._slots(keys, time)
        self._make_room(rows)
        values, validity, bit, kept = _words(measure)
        found = np.empty(rows, dtype=np.int64)
        over = np.empty((rows if self.ttl is None else 2 * rows, kernels.OVER_WORDS), dtype=np.int64)
        count = kernels.fill_bars(
            rows,
            address(slots),
            address(time),
            self.size.kind,
            values,
            validity,
            bit,
            np.uint64(self.size.whole & (2**64 - 1)),
            self.size.whole >> 64,
            self.size.real,
            self.ttl or 0,
            address(self._records),
            address(self._free),
            address(self._counts),
            address(found),
            address(over),
        )
        del kept
        if self._counts[kernels.BROKEN]:
            raise DataError(
                "a window's sum has fallen below what its type can hold",
                hint="sum= is for values that are seldom below zero, such as volumes",
            )
        self._states.upto(int(self._counts[kernels.USED]))
        self._states.put(found, keys, inputs, time)
        if self._expiry is not None and rows:
            assert self._keys is not None, "all rows as one key need no time to live"
            self._expiry.file(self._keys.touched(slots, time).slots, self._last())
        return self._taken_out(over[:count])

    def expire(self, before: int) -> OverBars | None:
        """Takes out the bars of keys without rows for longer than `ttl` before `before`, ns; forgets the keys."""
        if self._expiry is None or self._keys is None:
            return None
        due = self._expiry.due(before, self._last())
        if not len(due):
            return None
        over = self._taken_out(self._unfinished(due[self._records[due, kernels.NUMBER] >= 0]))
        self._records[due] = _EMPTY
        live = self._keys.free(due)
        if live is not None:
            self._records = np.concatenate([self._records[live], np.tile(_EMPTY, (64, 1))])
            self._expiry.renumbered(np.arange(len(live)), self._last())
        return over

    def close_all(self) -> OverBars:
        """Takes out all bars, which are not full."""
        return self._taken_out(self._unfinished(self._open()))

    def snapshot(self) -> pa.Table:
        """The open bars as open data: keys, times, what they have so far, the named state, values beside it."""
        open_ones = self._open()
        schema = self._states.state_fields(self._head_schema)
        records = self._records[open_ones]
        times = [pa.array(records[:, word].copy()).view(_TIME) for word in (kernels.FIRST, kernels.LAST)]
        so_far = [
            pa.array(records[:, kernels.LOW + at].copy()).view(field.type)
            for at, field in enumerate(self.size.fields)
        ]
        keys = self._keys_of(open_ones)
        states = self._states.state_columns(records[:, kernels.NUMBER])
        return pa.Table.from_arrays([*keys.columns, *times, *so_far, *states], schema=schema)

    def restore(self, table: pa.Table) -> None:
        """Takes in bars of snapshots, each of another key."""
        at, words = len(self._key_schema), len(self.size.fields)
        for batch in table.combine_chunks().to_batches():
            first, last = (np.asarray(column.view(pa.int64())) for column in batch.columns[at : at + 2])
            keys = pa.RecordBatch.from_arrays(batch.columns[:at], schema=self._key_schema)
            slots = self._slots(keys, last)
            self._make_room(len(first))
            used = int(self._counts[kernels.USED])
            numbers = np.arange(used, used + len(first))
            self._counts[kernels.USED] += len(first)
            self._counts[kernels.OPEN] += len(first)
            self._records[slots, kernels.NUMBER] = numbers
            self._records[slots, kernels.FIRST] = first
            self._records[slots, kernels.LAST] = last
            for word in range(words):
                column = batch.column(at + 2 + word)
                self._records[slots, kernels.LOW + word] = values_of(column).view(np.int64)
            self._states.upto(used + len(first))
            self._states.take_in(numbers, batch.columns[at + 2 + words :])
            if self._expiry is not None:
                self._expiry.file(slots, self._last())

    # Rows in.

    def _slots(self, keys: pa.RecordBatch, time: Int64s) -> Int64s:
        if self._keys is None:
            return np.zeros(len(time), dtype=np.int64)
        columns = [decoded(column) for column in keys.columns]
        return self._keys.put(pa.RecordBatch.from_arrays(columns, schema=self._key_schema), [], time)

    def _make_room(self, rows: int) -> None:
        """Records for all keys, and room for the numbers of that many more bars."""
        keys = 1 if self._keys is None else self._keys.count
        if keys > len(self._records):
            grown = np.tile(_EMPTY, (max(keys, 2 * len(self._records)), 1))
            grown[: len(self._records)] = self._records
            self._records = grown
        used = int(self._counts[kernels.USED])
        if used + rows > len(self._free):
            free = np.empty(max(used + rows, 2 * len(self._free)), dtype=np.int64)
            free[:used] = self._free[:used]
            self._free = free

    def _last(self) -> Int64s:
        """By slot, the time of the key's last row."""
        last: Int64s = self._records[:, kernels.LAST]
        return last

    # Bars out.

    def _open(self) -> Int64s:
        """The slots of keys with an open bar."""
        return np.flatnonzero(self._records[:, kernels.NUMBER] >= 0)

    def _unfinished(self, slots: Int64s) -> Int64s:
        """Bars that are over without being full, as the kernel notes them."""
        records = self._records[slots]
        last = records[:, kernels.LAST]
        over = np.zeros((len(slots), kernels.OVER_WORDS), dtype=np.int64)
        over[:, kernels.OVER_NUMBER], over[:, kernels.OVER_KEY] = records[:, kernels.NUMBER], slots
        over[:, kernels.OVER_FIRST], over[:, kernels.OVER_LAST] = records[:, kernels.FIRST], last
        over[:, kernels.OVER_TIME] = MAX_TIME
        if self.ttl is not None:
            over[:, kernels.OVER_TIME] = np.where(last > MAX_TIME - self.ttl, MAX_TIME, last + self.ttl)
        self._records[slots, kernels.NUMBER] = kernels.NONE
        return over

    def _taken_out(self, over: Int64s) -> OverBars:
        """Reads bars that are over, and takes their numbers back."""
        numbers = np.ascontiguousarray(over[:, kernels.OVER_NUMBER])
        read = self._states.read(numbers)
        closed = Closed(0, self._keys_of(over[:, kernels.OVER_KEY]), read.state, read.kept, self.plan)
        self._states.reset(numbers)
        free = int(self._counts[kernels.FREE])
        self._free[free : free + len(numbers)] = numbers
        self._counts[kernels.FREE] += len(numbers)
        self._counts[kernels.OPEN] -= len(numbers)
        if self._counts[kernels.USED] > max(_SPARE_MIN, _SPARE * len(self)):
            self._renumber()
        words = (kernels.OVER_FIRST, kernels.OVER_LAST, kernels.OVER_TIME)
        first, last, time = (np.ascontiguousarray(over[:, word]) for word in words)
        return OverBars(first, last, time, over[:, kernels.OVER_FULL] > 0, closed)

    def _renumber(self) -> None:
        """Gives the open bars the first numbers, and memory back: after many bars at once."""
        slots = self._open()
        self._states.keep(self._records[slots, kernels.NUMBER])
        self._records[slots, kernels.NUMBER] = np.arange(len(slots))
        self._counts[kernels.USED], self._counts[kernels.FREE] = len(slots), 0
        self._free = np.empty(max(64, len(slots)), dtype=np.int64)

    def _keys_of(self, slots: Int64s) -> pa.RecordBatch:
        if self._keys is None or not len(slots):
            return pa.RecordBatch.from_arrays(
                [pa.nulls(0, kind) for kind in self._key_schema.types], schema=self._key_schema
            )
        return self._keys.keys_at(slots)


def _words(measure: pa.Array | None) -> tuple[int, int, int, object]:
    """Address of what is added up, of its validity bitmap, the first bit of that, and what owns them."""
    if measure is None:
        return 0, 0, 0, None
    measure = decoded(measure)
    if not pa.types.is_decimal(measure.type):
        column = word_column(measure)
        return column.values, column.validity, column.bit, column
    measure = measure.cast(pa.decimal128(measure.type.precision, measure.type.scale))
    data = measure.buffers()[1]
    start = 0 if data is None else data.address + 16 * measure.offset
    return start, *validity_of(measure), measure
