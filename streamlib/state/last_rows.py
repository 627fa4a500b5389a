"""The last row of each run of a key. A run is the rows of a key up to some time after the first of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import as_given, as_kept, kept_type
from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.elements import Batch
from streamlib.kernels._jit import kernel
from streamlib.kernels.memory import I64
from streamlib.state.expiry import Expiry
from streamlib.state.key_columns import with_fields
from streamlib.state.slots import SlotColumn, SlotTable
from streamlib.state.value_store import ValueStore

Int64s = npt.NDArray[np.int64]

_TIME = pa.timestamp("ns", "UTC")
_NONE = -1
_UNLIMITED = 2**64 - 1


@kernel("int64(ints, ints, int64, uint64, int64[::1], int64[::1], int64[::1], int64[::1])")
def follow_runs(
    slots: Int64s,
    times: Int64s,
    first: I64,
    within: I64,
    begins: Int64s,
    places: Int64s,
    over: Int64s,
    repeated: Int64s,
) -> I64:
    """Adds rows, in the order of time by slot, to the runs of their slots; returns how many runs that ended.

    Args:
        first: the place of the first row; the others follow.
        within: how long a run is, ns.
        begins: by slot, when its run began.
        places: by slot, the place of its last row; -1 without a run.
        over: becomes the places of the last rows of runs that have ended.
        repeated: becomes those of rows that are no longer the last of theirs: as many as are not over,
            of the rows whose slot had a run.
    """
    ended, again = np.int64(0), np.int64(0)
    for i in range(len(slots)):
        slot, time = slots[i], times[i]
        place = places[slot]
        if place >= 0:
            if np.uint64(time) - np.uint64(begins[slot]) <= np.uint64(within):
                repeated[again] = place
                again += np.int64(1)
                places[slot] = first + i
                continue
            over[ended] = place
            ended += np.int64(1)
        begins[slot] = time
        places[slot] = first + i
    repeated[len(slots)] = again
    return ended


class LastRows:
    """The runs of keys that are not over, each with its last row.

    Rows are kept column by column; those that are nobody's last go once they are most of all.

    Args:
        key_fields: the key columns, which are columns of the rows.
        within: how long a run is, ns; None without an end.

    >>> runs = LastRows([pa.field("k", pa.string())], within=10)
    >>> rows = pa.record_batch({"k": ["a", "b", "a", "a"], "n": [1, 2, 3, 4]})
    >>> over, repeated = runs.add(Batch(rows, np.array([1, 2, 5, 12])))
    >>> over.rows["n"].to_pylist(), repeated.rows["n"].to_pylist(), runs.due(13).rows["n"].to_pylist()
    ([3], [1], [2])
    """

    def __init__(self, key_fields: Sequence[pa.Field], within: int | None) -> None:
        self.within = within
        self._fields = list(key_fields)
        self._names = [field.name for field in key_fields]
        self._table = SlotTable(self._fields, AccumulatorPlan([]))
        self._begins = SlotColumn(np.int64)
        self._places = SlotColumn(np.int64, _NONE)
        self._expiry = None if within is None else Expiry(within)
        self._schema: pa.Schema | None = None
        self._values: list[ValueStore] = []
        self._hidden = [ValueStore(pa.int64()), ValueStore(pa.int64())]
        self.count = 0

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._table.nbytes + sum(store.nbytes for store in [*self._values, *self._hidden])

    def add(self, rows: Batch) -> tuple[Batch, Batch]:
        """Takes rows in the order of time.

        Returns:
            The last rows of runs that are over, and rows that are no longer the last of theirs.
        """
        assert rows.time is not None
        slots = self._table.put(rows.rows.select(self._names), [], rows.time)
        first = self._keep(rows)
        count = self._table.count
        begins, places = self._begins.upto(count), self._places.upto(count)
        over, repeated = np.empty(len(rows), np.int64), np.empty(len(rows) + 1, np.int64)
        within = np.uint64(_UNLIMITED if self.within is None else self.within)
        ended = follow_runs(slots, rows.time, first, within, begins, places, over, repeated)
        again = int(repeated[len(rows)])
        self.count += len(rows) - ended - again
        if self._expiry is not None:
            self._expiry.file(self._table.touched(slots, rows.time).slots, begins)
        out = self._rows(over[:ended]), self._rows(repeated[:again])
        self._compact()
        return out

    def due(self, before: int | None) -> Batch:
        """Takes out the last rows of runs that end before `before`, ns; of all for None."""
        count = self._table.count
        begins, places = self._begins.upto(count), self._places.upto(count)
        if before is None:
            slots = np.flatnonzero(places >= 0)
        elif self._expiry is None:
            slots = np.empty(0, dtype=np.int64)
        else:
            slots = self._expiry.due(before, begins)
        slots = slots[np.argsort(begins[slots], kind="stable")]
        rows = self._rows(places[slots])
        if len(slots):
            self.count -= len(slots)
            places[slots] = _NONE
            self._free(slots)
            self._compact()
        return rows

    def snapshot(self, schema: pa.Schema) -> pa.Table:
        """The last rows, of `schema`, when their runs began, and their event time and order."""
        slots = np.flatnonzero(self._places.upto(self._table.count) >= 0)
        rows = self._rows(self._places.upto(self._table.count)[slots])
        whole = with_fields(
            schema,
            [pa.field("run_time", _TIME), pa.field("event_time", _TIME), pa.field("event_order", pa.int64())],
        )
        if not len(slots):
            return whole.empty_table()
        order = pa.nulls(len(rows), pa.int64()) if rows.order is None else pa.array(rows.orders())
        begins = pa.array(self._begins.upto(self._table.count)[slots]).view(_TIME)
        columns = [*rows.rows.columns, begins, pa.array(rows.time).view(_TIME), order]
        return pa.Table.from_arrays(columns, schema=whole)

    def restore(self, table: pa.Table) -> None:
        """Takes in the runs of a snapshot."""
        for batch in table.to_batches():
            *columns, begins, times, order = batch.columns
            schema = pa.schema(list(batch.schema)[:-3])
            rows = Batch(
                pa.RecordBatch.from_arrays(columns, schema=schema),
                np.asarray(times.view(pa.int64())),
                order=None if order.null_count else np.asarray(order),
            )
            slots = self._table.put(rows.rows.select(self._names), [], np.asarray(rows.time))
            first, count = self._keep(rows), self._table.count
            self._begins.upto(count)[slots] = np.asarray(begins.view(pa.int64()))
            self._places.upto(count)[slots] = np.arange(first, first + len(rows))
            self.count += len(rows)
            if self._expiry is not None:
                self._expiry.file(slots, self._begins.upto(count))

    def _keep(self, rows: Batch) -> int:
        """Keeps rows; returns the place of the first."""
        if self._schema is None:
            self._schema = rows.rows.schema
            self._values = [ValueStore(kept_type(kind)) for kind in self._schema.types]
        for store, column in zip(self._values, rows.rows.columns, strict=True):
            store.append(as_kept(column))
        order = rows.orders()
        self._hidden[1].append(pa.nulls(len(rows), pa.int64()) if order is None else pa.array(order))
        return self._hidden[0].append(pa.array(rows.time))

    def _rows(self, places: Int64s) -> Batch:
        if self._schema is None:
            return Batch(pa.RecordBatch.from_arrays([], names=[]), np.empty(0, dtype=np.int64))
        columns = [
            as_given(store.take(places), kind)
            for store, kind in zip(self._values, self._schema.types, strict=True)
        ]
        time, order = (store.take(places) for store in self._hidden)
        return Batch(
            pa.RecordBatch.from_arrays(columns, schema=self._schema),
            np.asarray(time),
            order=None if order.null_count else np.asarray(order),
        )

    def _free(self, slots: Int64s) -> None:
        live = self._table.free(slots)
        if live is None:
            return
        self._begins.keep(live)
        self._places.keep(live)
        if self._expiry is not None:
            self._expiry.renumbered(np.arange(len(live)), self._begins.upto(len(live)))

    def _compact(self) -> None:
        """Drops rows that are nobody's last, once most are."""
        if len(self._hidden[0]) <= 2 * self.count + 65_536:
            return
        places = self._places.upto(self._table.count)
        slots = np.flatnonzero(places >= 0)
        for store in [*self._values, *self._hidden]:
            store.keep(places[slots])
        places[slots] = np.arange(len(slots))
