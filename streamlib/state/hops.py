"""The last rows of all keys, in slices: rows in, in order, and windows out that end with every so many rows.

Aggregates are kept by slice, so a row is added once, whatever the number of its windows; a window is put
together from its slices when it is over. A key has the slices that a later window needs: its last rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.elements import MAX_TIME
from streamlib.kernels.columns import decoded, values_of
from streamlib.state import hop_kernels as kernels
from streamlib.state.bar_kernels import FREE, NONE, OPEN, USED
from streamlib.state.bars import OverBars
from streamlib.state.closed import Closed
from streamlib.state.expiry import Expiry
from streamlib.state.key_columns import with_fields
from streamlib.state.numbered import NumberedStore
from streamlib.state.pane import address
from streamlib.state.slots import SlotTable

Int64s = npt.NDArray[np.int64]

_PARTS_MAX = 65_536
"""So many slices are put together at a time: their states are copied for it."""
_SPARE = 4
"""Numbers are given out anew when only one of so many belongs to a slice."""
_SPARE_MIN = 16_384
_TIME = pa.timestamp("ns", "UTC")
_EMPTY: Int64s = np.zeros(kernels.KEY_WORDS, dtype=np.int64)
_EMPTY[[kernels.OLDEST, kernels.NEWEST]] = NONE


class HopTable:
    """Aggregates over the last rows of each key.

    Args:
        key_fields: the key columns, of plain types; none for windows over all rows.
        plan: what to aggregate.
        size: rows of a window.
        every: rows from the end of one to that of the next; at most `size`.
        partial: whether windows come out that have fewer rows.
        ttl: a key begins anew when it had no row for longer than this, ns; None for never.

    >>> from streamlib.aggregates import AccumulatorPlan, Count
    >>> plan = AccumulatorPlan([(Count(), None, None)])
    >>> table = HopTable([pa.field("k", pa.string())], plan, size=3, every=2)
    >>> rows = pa.record_batch({"k": ["a"] * 6})
    >>> for over in table.add(rows, [], np.arange(6)):
    ...     print(over.first.tolist(), over.last.tolist(), over.rows.tolist())
    [1, 3] [3, 5] [3, 3]
    """

    def __init__(
        self,
        key_fields: Sequence[pa.Field],
        plan: AccumulatorPlan,
        size: int,
        every: int,
        partial: bool = False,
        ttl: int | None = None,
    ) -> None:
        assert 0 < every <= size, "windows leave no rows out"
        self.plan = plan
        self.size, self.every = size, every
        self.partial = partial
        self.ttl = ttl
        self._skipped = 0
        self._key_schema = pa.schema(list(key_fields))
        self._keys = SlotTable(key_fields, AccumulatorPlan([])) if key_fields else None
        self._states = NumberedStore(plan)
        self._expiry = None if ttl is None else Expiry(ttl)
        self._records = np.tile(_EMPTY, (64, 1))
        self._slices = np.full((64, kernels.SLICE_WORDS), NONE, dtype=np.int64)
        self._free = np.empty(64, dtype=np.int64)
        self._counts = np.zeros(kernels.STATE_WORDS, dtype=np.int64)
        head = [
            pa.field("first_time", _TIME),
            pa.field("last_time", _TIME),
            pa.field("rows_before", pa.int64()),
        ]
        self._head_schema = with_fields(self._key_schema, head)

    def __len__(self) -> int:
        """How many windows have rows and are not over."""
        return int(self._windows_left(self._records[:, kernels.ROWS]).sum())

    @property
    def rows(self) -> int:
        """Rows that a window not yet over may have."""
        return self._states.rows_added

    @property
    def unfinished(self) -> int:
        """Rows that were in no window, so far."""
        return self._skipped + (0 if self.partial else int(self._counts[kernels.SKIPPED]))

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        keys = 0 if self._keys is None else self._keys.nbytes
        arrays = self._records.nbytes + self._slices.nbytes + self._free.nbytes
        return keys + self._states.nbytes + arrays

    def add(self, keys: pa.RecordBatch, inputs: Sequence[pa.Array], time: Int64s) -> list[OverBars]:
        """Adds rows in order; returns the windows that are over by that.

        Args:
            keys: the key columns, by `key_fields`. As many rows as there are times.
            inputs: the plan's inputs.
            time: event times, ns: those of a key rise, also from call to call.
        """
        time, rows = np.ascontiguousarray(time), len(time)
        slots = self._slots(keys, time)
        self._make_room(rows)
        found = np.empty(rows, dtype=np.int64)
        over = np.empty((rows if self.ttl is None else 2 * rows, kernels.OVER_WORDS), dtype=np.int64)
        gone = np.empty(int(self._counts[USED]) + rows, dtype=np.int64)
        count = kernels.fill_slices(
            rows,
            address(slots),
            address(time),
            self.size,
            self.every,
            int(self.partial),
            self.ttl or 0,
            address(self._records),
            address(self._slices),
            address(self._free),
            address(gone),
            address(self._counts),
            address(found),
            address(over),
        )
        self._states.upto(int(self._counts[USED]))
        self._states.put(found, keys, inputs, time)
        if self._expiry is not None and rows:
            assert self._keys is not None, "all rows as one key need no time to live"
            self._expiry.file(self._keys.touched(slots, time).slots, self._last())
        result = list(self._taken_out(over[:count]))
        self._give_back(gone[: int(self._counts[kernels.GONE])])
        return result

    def expire(self, before: int) -> list[OverBars]:
        """Takes out the windows of keys without rows for longer than `ttl` before `before`, ns; forgets the keys."""
        if self._expiry is None or self._keys is None:
            return []
        due = self._expiry.due(before, self._last())
        if not len(due):
            return []
        result = self._left(due)
        live = self._keys.free(due)
        if live is not None:
            self._records = np.concatenate([self._records[live], np.tile(_EMPTY, (64, 1))])
            self._expiry.renumbered(np.arange(len(live)), self._last())
        return result

    def close_all(self) -> list[OverBars]:
        """Takes out all windows that are not over, and forgets the rows."""
        return self._left(np.flatnonzero(self._records[:, kernels.ROWS] > 0))

    def snapshot(self) -> pa.Table:
        """The slices as open data: keys, times, how many rows of the key came before, the named state."""
        numbers, slots = self._in_use(np.arange(len(self._records)))
        slices = self._slices[numbers]
        times = [pa.array(slices[:, word].copy()).view(_TIME) for word in (kernels.BEGIN, kernels.END)]
        head = [*times, pa.array(slices[:, kernels.FROM].copy())]
        columns = [*self._keys_of(slots).columns, *head, *self._states.state_columns(numbers)]
        return pa.Table.from_arrays(columns, schema=self._states.state_fields(self._head_schema))

    def restore(self, table: pa.Table) -> None:
        """Takes in the slices of snapshots; those of a key come together."""
        at = len(self._key_schema)
        added = []
        for batch in table.combine_chunks().to_batches():
            rows = batch.num_rows
            begin, end = (np.asarray(column.view(pa.int64())) for column in batch.columns[at : at + 2])
            keys = pa.RecordBatch.from_arrays(batch.columns[:at], schema=self._key_schema) if at else batch
            slots = self._slots(keys, end).copy()
            self._make_room(rows)
            used = int(self._counts[USED])
            numbers = np.arange(used, used + rows)
            self._counts[USED] += rows
            self._counts[OPEN] += rows
            self._slices[numbers, kernels.NEXT] = NONE
            self._slices[numbers, kernels.BEGIN] = begin
            self._slices[numbers, kernels.END] = end
            self._slices[numbers, kernels.FROM] = values_of(batch.column(at + 2))
            self._states.upto(used + rows)
            self._states.take_in(numbers, batch.columns[at + 3 :])
            added.append((slots, numbers))
        if added:
            self._chain(*(np.concatenate(parts) for parts in zip(*added, strict=True)))

    def _chain(self, slots: Int64s, numbers: Int64s) -> None:
        """Makes chains of restored slices, and has their keys go on behind them."""
        slices, records = self._slices, self._records
        order = np.lexsort((slices[numbers, kernels.FROM], slots))
        slots, numbers = slots[order], numbers[order]
        is_newest = np.append(slots[1:] != slots[:-1], True)
        is_oldest = np.append(True, is_newest[:-1])
        slices[numbers[~is_newest], kernels.NEXT] = numbers[1:][~is_newest[:-1]]
        records[slots[is_oldest], kernels.OLDEST] = numbers[is_oldest]
        last, keys = numbers[is_newest], slots[is_newest]
        rows = slices[last, kernels.FROM] + self._states.read(last).state[:, 0]
        records[keys, kernels.NEWEST] = last
        records[keys, kernels.ROWS] = rows
        records[keys, kernels.PHASE] = rows % self.every
        records[keys, kernels.IS_OPEN] = (rows % self.every != 0) & ((rows + self.size) % self.every != 0)
        records[keys, kernels.LAST] = slices[last, kernels.END]
        if self._expiry is not None:
            self._expiry.file(keys, self._last())

    # Rows in.

    def _slots(self, keys: pa.RecordBatch, time: Int64s) -> Int64s:
        if self._keys is None:
            return np.zeros(len(time), dtype=np.int64)
        columns = [decoded(column) for column in keys.columns]
        return self._keys.put(pa.RecordBatch.from_arrays(columns, schema=self._key_schema), [], time)

    def _make_room(self, rows: int) -> None:
        """Records for all keys, and room for that many more slices."""
        keys = 1 if self._keys is None else self._keys.count
        if keys > len(self._records):
            grown = np.tile(_EMPTY, (max(keys, 2 * len(self._records)), 1))
            grown[: len(self._records)] = self._records
            self._records = grown
        used = int(self._counts[USED])
        if used + rows > len(self._free):
            room = max(used + rows, 2 * len(self._free))
            free = np.empty(room, dtype=np.int64)
            free[:used] = self._free[:used]
            slices = np.full((room, kernels.SLICE_WORDS), NONE, dtype=np.int64)
            slices[:used] = self._slices[:used]
            self._free, self._slices = free, slices
        self._counts[kernels.GONE] = 0

    def _last(self) -> Int64s:
        """By slot, the time of the key's last row."""
        last: Int64s = self._records[:, kernels.LAST]
        return last

    # Windows out.

    def _windows_left(self, rows: Int64s) -> Int64s:
        """How many windows are open of keys that have had so many rows."""
        return np.where(rows > 0, (rows + self.size - 1) // self.every - rows // self.every, 0)

    def _left(self, slots: Int64s) -> list[OverBars]:
        """Takes out what is open of some keys, which begin anew."""
        records = self._records[slots]
        slots, records = slots[records[:, kernels.ROWS] > 0], records[records[:, kernels.ROWS] > 0]
        last = records[:, kernels.LAST]
        over = np.zeros((len(slots), kernels.OVER_WORDS), dtype=np.int64)
        over[:, kernels.OVER_KEY], over[:, kernels.OVER_KIND] = slots, kernels.LEFT
        over[:, kernels.OVER_OLDEST] = records[:, kernels.OLDEST]
        over[:, kernels.OVER_NEWEST] = records[:, kernels.NEWEST]
        over[:, kernels.OVER_ROWS] = records[:, kernels.ROWS]
        over[:, kernels.OVER_TIME] = MAX_TIME
        if self.ttl is not None:
            over[:, kernels.OVER_TIME] = np.where(last > MAX_TIME - self.ttl, MAX_TIME, last + self.ttl)
        result = list(self._taken_out(over))
        gone, _ = self._in_use(slots)
        self._records[slots] = _EMPTY
        self._give_back(gone)
        return result

    def _taken_out(self, over: Int64s) -> Iterator[OverBars]:
        """Puts together the windows that are over."""
        over = self._windows_of(over)
        slices_max = (1 if self.size % self.every == 0 else 2) * (self.size // self.every + 1)
        at_a_time = max(1, _PARTS_MAX // slices_max)
        for begin in range(0, len(over), at_a_time):
            yield self._put_together(np.ascontiguousarray(over[begin : begin + at_a_time]), slices_max)

    def _windows_of(self, over: Int64s) -> Int64s:
        """In place of each key that is left the windows that are open of it, if they come out."""
        left = over[:, kernels.OVER_KIND] == kernels.LEFT
        if not left.any():
            return over
        rows = over[left, kernels.OVER_ROWS]
        if not self.partial:
            first_end = -(-self.size // self.every) * self.every
            self._skipped += int(np.where(rows < first_end, rows, rows % self.every).sum())
            return over[~left]
        counts = self._windows_left(rows)
        windows = np.repeat(over[left], counts, axis=0)
        nth = np.arange(len(windows)) - np.repeat(np.cumsum(counts) - counts, counts)
        ends = (windows[:, kernels.OVER_ROWS] // self.every + 1 + nth) * self.every
        windows[:, kernels.OVER_FROM] = ends - self.size
        return np.concatenate([over[~left], windows])

    def _put_together(self, over: Int64s, slices_max: int) -> OverBars:
        windows = len(over)
        begins = np.empty(windows, dtype=np.int64)
        walked = np.empty((2, windows * slices_max), dtype=np.int64)
        count = kernels.walk_windows(
            windows,
            address(over),
            address(self._slices),
            address(begins),
            address(walked[0]),
            address(walked[1]),
        )
        read = self._sums(windows, walked[0, :count], walked[1, :count])
        closed = Closed(0, self._keys_of(over[:, kernels.OVER_KEY]), read.state, read.kept, self.plan)
        last = self._slices[over[:, kernels.OVER_NEWEST], kernels.END]
        # A window of a key that was left has an end that never came.
        full = (over[:, kernels.OVER_KIND] == kernels.ENDED) & (over[:, kernels.OVER_FROM] >= 0)
        return OverBars(begins, last, np.ascontiguousarray(over[:, kernels.OVER_TIME]), full, closed)

    def _sums(self, windows: int, parts: Int64s, of: Int64s) -> Closed:
        """The state of windows; those are put together behind all slices."""
        if self.size == self.every:  # a window is a slice, and has it for itself
            return self._states.read(parts)
        each, at = np.unique(parts, return_inverse=True)
        states = self._states.read(each, partial=True)
        used = int(self._counts[USED])
        sums = np.arange(used, used + windows)
        self._states.upto(used + windows)
        rows = pa.array(at)
        self._states.put_states(used + of, states.state[at], [column.take(rows) for column in states.kept])
        read = self._states.read(sums)
        self._states.reset(sums)
        return read

    def _give_back(self, gone: Int64s) -> None:
        """Takes numbers back that no window needs."""
        self._states.reset(gone)
        self._slices[gone, kernels.FROM] = NONE
        free = int(self._counts[FREE])
        self._free[free : free + len(gone)] = gone
        self._counts[FREE] += len(gone)
        self._counts[OPEN] -= len(gone)
        if self._counts[USED] > max(_SPARE_MIN, _SPARE * int(self._counts[OPEN])):
            self._renumber()

    def _renumber(self) -> None:
        """Gives the slices in use the first numbers, and memory back: after many rows at once."""
        used = int(self._counts[USED])
        numbers = np.flatnonzero(self._slices[:used, kernels.FROM] != NONE)
        self._states.keep(numbers)
        new = np.full(used + 1, NONE, dtype=np.int64)  # the last one: that of none
        new[numbers] = np.arange(len(numbers))
        for column in (self._records[:, kernels.OLDEST], self._records[:, kernels.NEWEST]):
            column[:] = new[column]
        slices = np.full((max(64, len(numbers)), kernels.SLICE_WORDS), NONE, dtype=np.int64)
        slices[: len(numbers)] = self._slices[numbers]
        slices[: len(numbers), kernels.NEXT] = new[slices[: len(numbers), kernels.NEXT]]
        self._slices = slices
        self._counts[USED], self._counts[FREE] = len(numbers), 0
        self._free = np.empty(len(slices), dtype=np.int64)

    def _in_use(self, slots: Int64s) -> tuple[Int64s, Int64s]:
        """The slices of some keys, and the slot of each."""
        numbers, of = [slots[:0]], [slots[:0]]
        at = self._records[slots, kernels.OLDEST]
        while len(slots):
            slots, at = slots[at != NONE], at[at != NONE]
            numbers.append(at)
            of.append(slots)
            at = self._slices[at, kernels.NEXT]
        return np.concatenate(numbers), np.concatenate(of)

    def _keys_of(self, slots: Int64s) -> pa.RecordBatch:
        if self._keys is None or not len(slots):
            return pa.RecordBatch.from_arrays(
                [pa.nulls(0, kind) for kind in self._key_schema.types], schema=self._key_schema
            )
        return self._keys.keys_at(slots)
