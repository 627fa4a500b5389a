"""The open sessions of all keys: rows in, closed sessions out.

Rows come in any order: a session begins, grows at both ends, and joins two others when a row lies
between them. So what is kept is what is open, never rows. A slot table of the keys says where the list
of a key's sessions begins; aggregates are kept by the number of a session. A number comes back when its
session has gone, and a key that has no session left is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.elements import MAX_TIME, MIN_TIME
from streamlib.kernels import sessions as kernels
from streamlib.kernels.columns import decoded
from streamlib.kernels.session_order import STRETCHES, order_rows
from streamlib.state.closed import Closed
from streamlib.state.key_columns import with_fields
from streamlib.state.numbered import NumberedStore
from streamlib.state.pane import address
from streamlib.state.slots import SlotColumn, SlotTable

Int64s = npt.NDArray[np.int64]

_SPARE = 4
"""Numbers are given out anew when only one of so many belongs to an open session."""
_SPARE_MIN = 16_384
_NO_LIMIT = np.uint64(2**64 - 1)
_EACH_ITS_OWN = np.uint64(0)
_TIME = pa.timestamp("ns", "UTC")


@dataclass(frozen=True, slots=True, eq=False)
class ClosedSessions:
    """Sessions that have closed, in no particular order.

    Attributes:
        first: time of the first row of each, ns.
        last: time of its last row, ns.
        closed: its key and its aggregates.
    """

    first: Int64s
    last: Int64s
    closed: Closed

    def __len__(self) -> int:
        return len(self.first)


class SessionTable:
    """Aggregates per key and session.

    Args:
        key_fields: the key columns, of plain types; none for sessions over all rows.
        plan: what to aggregate.
        gap: rows of a key that are no further apart than this are in one session, ns.
        longest: from the first to the last row of a session, ns; None for no limit. With a limit the rows
            of a key must come in the order of time.

    >>> from streamlib.aggregates import AccumulatorPlan, Count
    >>> plan = AccumulatorPlan([(Count(), None, None)])
    >>> table = SessionTable([pa.field("k", pa.string())], plan, gap=10)
    >>> table.add(pa.record_batch({"k": ["a", "a", "a"]}), [], np.array([0, 20, 10]))
    >>> [(done.first.tolist(), done.last.tolist()) for done in table.close(31)]
    [([0], [20])]
    """

    def __init__(
        self,
        key_fields: Sequence[pa.Field],
        plan: AccumulatorPlan,
        gap: int,
        longest: int | None = None,
    ) -> None:
        assert gap > 0, "a gap is positive"
        self.plan = plan
        self.gap = gap
        self._longest = _NO_LIMIT if longest is None else np.uint64(longest)
        self._shift = kernels.wheel_shift(gap)
        self._key_schema = pa.schema(list(key_fields))
        self._keys = SlotTable(key_fields, AccumulatorPlan([])) if key_fields else None
        self._states = NumberedStore(plan)
        self._newest = SlotColumn(np.int64, kernels.NONE)
        self._records = np.empty((64, kernels.RECORD_WORDS), dtype=np.int64)
        self._free = np.empty(64, dtype=np.int64)
        self._wheel = np.full(kernels.WHEEL, kernels.NONE, dtype=np.int64)
        self._places = np.empty(STRETCHES, dtype=np.int64)
        self._found = np.empty(0, dtype=np.int64)
        self._joined = self._entries = np.empty((0, 2), dtype=np.int64)
        self._counts = np.zeros(kernels.STATE_WORDS, dtype=np.int64)
        self._counts[kernels.TICK] = MIN_TIME >> self._shift
        bounds = [pa.field("first_time", _TIME), pa.field("last_time", _TIME)]
        self._head_schema = with_fields(self._key_schema, bounds)
        self._closed_before = MIN_TIME

    def __len__(self) -> int:
        """How many sessions are open."""
        return int(self._counts[kernels.OPEN])

    @property
    def rows(self) -> int:
        """Rows in the open sessions."""
        return self._states.rows_added

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        keys = 0 if self._keys is None else self._keys.nbytes
        return keys + self._states.nbytes + self._records.nbytes + self._free.nbytes + self._wheel.nbytes

    def earliest(self) -> int | None:
        """The end of the session that ends first, ns; None when none is open."""
        open_ones = self._open()
        if not len(open_ones):
            return None
        return min(MAX_TIME, int(self._records[open_ones, kernels.LAST].min()) + self.gap)

    def add(
        self,
        keys: pa.RecordBatch,
        inputs: Sequence[pa.Array],
        time: Int64s,
        order: Int64s | int | None = None,
    ) -> None:
        """Adds rows.

        Args:
            keys: the key columns, by `key_fields`; dictionaries are decoded. As many rows as there are times.
            inputs: the plan's inputs.
            time: event times, ns; none lies before the last `close`.
            order: what decides ties in time, where the plan is ordered.
        """
        if not len(time):
            return
        found, joined = self._numbered(keys, np.ascontiguousarray(time), self._longest)
        if len(joined):
            self._states.join(joined[:, 0], joined[:, 1])
        self._states.put(found, keys, inputs, time, order)

    def close(self, before: int, rows_max: int = 65_536) -> list[ClosedSessions]:
        """Takes out the sessions whose end lies before `before`, ns, at most `rows_max` in each part."""
        if before <= self._closed_before:
            return []
        self._closed_before = before
        closed = np.empty((3, len(self)), dtype=np.int64)
        count = kernels.close_sessions(
            before,
            self.gap,
            self._shift,
            self._newest_of_keys(),
            self._records,
            self._free,
            self._wheel,
            self._counts,
            closed,
        )
        numbers, slots, left = closed[:, :count]
        parts = self._read(numbers, slots, rows_max)
        self._states.reset(numbers)
        self._forget_keys(left[left != kernels.NONE])
        if self._counts[kernels.USED] > max(_SPARE_MIN, _SPARE * len(self)):
            self._renumber()
        return parts

    def peek(self, rows_max: int = 65_536) -> list[ClosedSessions]:
        """All open sessions as they are, at most `rows_max` in each part; they stay."""
        numbers = self._open()
        return self._read(numbers, self._records[numbers, kernels.KEY], rows_max)

    def close_all(self, rows_max: int = 65_536) -> list[ClosedSessions]:
        """Takes out all sessions, at most `rows_max` in each part; nothing comes after that."""
        numbers = self._open()
        parts = self._read(numbers, self._records[numbers, kernels.KEY], rows_max)
        self._counts[kernels.OPEN] = 0
        self._records[numbers, kernels.KEY] = kernels.GONE
        return parts

    def snapshot(self) -> pa.Table:
        """The open sessions as open data: keys, ``first_time``, ``last_time``, the named state, values beside it."""
        numbers = self._open()
        schema = self._states.state_fields(self._head_schema)
        records = self._records[numbers]
        times = [pa.array(records[:, word].copy()).view(_TIME) for word in (kernels.FIRST, kernels.LAST)]
        keys = self._keys_of(records[:, kernels.KEY])
        return pa.Table.from_arrays(
            [*keys.columns, *times, *self._states.state_columns(numbers)], schema=schema
        )

    def restore(self, table: pa.Table) -> None:
        """Takes in sessions of snapshots, each of which is another one."""
        at = len(self._key_schema)
        for batch in table.combine_chunks().to_batches():
            first, last = (np.asarray(column.view(pa.int64())) for column in batch.columns[at : at + 2])
            # In the order of time each session is the newest of its key.
            by_time = np.argsort(first, kind="stable")
            batch, first, last = batch.take(pa.array(by_time)), first[by_time], last[by_time]
            keys = pa.RecordBatch.from_arrays(batch.columns[:at], schema=self._key_schema)
            numbers, _ = self._numbered(keys, first, _EACH_ITS_OWN)
            self._records[numbers, kernels.LAST] = last
            self._states.take_in(numbers, batch.columns[at + 2 :])

    # Rows in.

    def _numbered(self, keys: pa.RecordBatch, time: Int64s, longest: np.uint64) -> tuple[Int64s, Int64s]:
        """The session of each row, and pairs of sessions of which the first has become a part of the second."""
        rows = len(time)
        slots = self._slots(keys, time)
        self._make_room(rows)
        if rows > len(self._found):
            self._found, self._joined = np.empty(rows, dtype=np.int64), np.empty((rows, 2), dtype=np.int64)
            self._entries = np.empty((rows, 2), dtype=np.int64)
        found, joined = self._found[:rows], self._joined
        entries = address(self._entries)
        order_rows(rows, address(slots), address(time), self.gap, address(self._places), entries)
        count = kernels.assign_sessions(
            rows,
            entries,
            self._closed_before,
            self.gap,
            longest,
            self._shift,
            address(self._newest_of_keys()),
            address(self._records),
            address(self._free),
            address(self._wheel),
            address(self._counts),
            address(found),
            address(joined),
        )
        assert not self._counts[kernels.BEHIND], "a row came for a session that has closed"
        self._states.upto(int(self._counts[kernels.USED]))
        return found, joined[:count]

    def _slots(self, keys: pa.RecordBatch, time: Int64s) -> Int64s:
        if self._keys is None:
            return np.zeros(len(time), dtype=np.int64)
        columns = [decoded(column) for column in keys.columns]
        return self._keys.put(pa.RecordBatch.from_arrays(columns, schema=self._key_schema), [], time)

    def _newest_of_keys(self) -> Int64s:
        newest: Int64s = self._newest.upto(1 if self._keys is None else self._keys.count)
        return newest

    def _make_room(self, rows: int) -> None:
        """Records for that many more sessions: memory that is not touched is not taken."""
        used = int(self._counts[kernels.USED])
        if used + rows > len(self._records):
            size = max(used + rows, 2 * len(self._records))
            records, free = np.empty((size, kernels.RECORD_WORDS), dtype=np.int64), np.empty(size, np.int64)
            records[:used] = self._records[:used]
            free[:used] = self._free[:used]
            self._records, self._free = records, free

    # Sessions out.

    def _renumber(self) -> None:
        """Gives the open sessions the first numbers, and memory back: after a time with many of them."""
        numbers = self._open()
        self._states.keep(numbers)
        renumbered = np.full(int(self._counts[kernels.USED]) + 1, kernels.NONE, dtype=np.int64)
        renumbered[numbers] = np.arange(len(numbers))  # NONE is the last place, which stays NONE
        records = self._records[numbers]
        for word in (kernels.OLDER, kernels.NEWER):
            records[:, word] = renumbered[records[:, word]]
        records[:, kernels.INTO] = np.arange(len(numbers))
        newest = self._newest_of_keys()
        newest[:] = renumbered[newest]
        self._counts[kernels.USED], self._counts[kernels.FREE] = len(numbers), 0
        self._records, self._free = records, np.empty(len(numbers), dtype=np.int64)
        self._wheel.fill(kernels.NONE)
        kernels.file_sessions(self.gap, self._shift, self._records, self._wheel)

    def _open(self) -> Int64s:
        """The numbers of the open sessions."""
        return np.flatnonzero(self._records[: self._counts[kernels.USED], kernels.KEY] >= 0)

    def _read(self, numbers: Int64s, slots: Int64s, rows_max: int) -> list[ClosedSessions]:
        parts = []
        for begin in range(0, len(numbers), rows_max):
            part = slice(begin, begin + rows_max)
            records = self._records.take(numbers[part], axis=0)
            state = self._states.read(numbers[part])
            closed = Closed(0, self._keys_of(slots[part]), state.state, state.kept, self.plan)
            parts.append(ClosedSessions(records[:, kernels.FIRST], records[:, kernels.LAST], closed))
        return parts

    def _keys_of(self, slots: Int64s) -> pa.RecordBatch:
        if self._keys is None or not len(slots):
            return pa.RecordBatch.from_arrays(
                [pa.nulls(0, kind) for kind in self._key_schema.types], schema=self._key_schema
            )
        return self._keys.keys_at(slots)

    def _forget_keys(self, slots: Int64s) -> None:
        if self._keys is None or not len(slots):
            return
        live = self._keys.free(slots)
        if live is not None:
            renumbered = np.full(int(live.max(initial=-1)) + 1, kernels.NONE, dtype=np.int64)
            renumbered[live] = np.arange(len(live))
            numbers = self._open()
            self._records[numbers, kernels.KEY] = renumbered[self._records[numbers, kernels.KEY]]
            self._newest.keep(live)
