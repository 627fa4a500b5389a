"""Values that are no machine words (strings, decimals, lists), kept in columns beside a pane's records.

A kernel only decides which rows win: it leaves the number of the row in the record, and notes each
record that this happens to once. `Winners.settle` then takes those rows from the batch's column,
appends them to the pane's values and writes their places into the records. The cost is that of the
records with a new winner, not of the rows.

The smallest and largest value are found by rank: the kernel compares the ranks of a batch's rows
among its distinct values, and `settle` the best of each record with the value kept so far.

Values are only appended; when their size has doubled, those that no record refers to are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.aggregates.accumulators import Style, as_kept, readable
from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels.columns import values_of
from streamlib.state import layout
from streamlib.state.pane import Pane, address

Int64s = npt.NDArray[np.int64]

_ROW_BITS = np.int64(32)
_ROW_MASK = np.int64(2**32 - 1)


@dataclass(frozen=True, slots=True)
class _Kept:
    """An accumulator with kept values: where its words are in a record, and what they are beside rows.

    Attributes:
        row: the word that the kernel writes.
        place: the word that says where the value lies; -1 is nowhere.
        idle: what `row` is between batches.
        better: for values compared by rank, whether one replaces another; else None.
    """

    row: int
    place: int
    idle: int
    better: Callable[[pa.Array, pa.Array], pa.Array] | None


class Winners:
    """What a store's kernels found about values that are kept beside the records.

    Args:
        plan: whose accumulators.
        head: words at the beginning of a record that belong to the key.
        call: the call block, where kernels find ranks and notes.
    """

    def __init__(self, plan: AccumulatorPlan, head: int, call: Int64s) -> None:
        self._call = call
        self._kept: list[_Kept] = []
        for place in plan.kept:
            accumulator = place.accumulator
            last = head + place.word + len(accumulator.words) - 1
            name = accumulator.name.partition("_")[0]
            better = None
            if accumulator.style is Style.RANK:
                better = pc.less if name == "min" else pc.greater
            self._kept.append(_Kept(last - 1, last, accumulator.words[-2].initial, better))
        self._inputs = [place.input for place in plan.kept]
        self._block = layout.CALL_INPUTS + layout.INPUT_WORDS * len(plan.input_types)
        self._notes = np.empty((len(self._kept), 0, 2), dtype=np.int64)
        self._columns: list[pa.Array] = []
        self._ranks: list[Int64s] = []

    def begin(self, inputs: Sequence[pa.Array], rows: int) -> None:
        """Readies the call block for a batch of rows.

        Args:
            inputs: the plan's input columns.
        """
        prepared = {index: readable(inputs[index]) for index in self._inputs}
        self._begin([prepared[index] for index in self._inputs], rows)

    def begin_merge(self, columns: Sequence[pa.Array], rows: int) -> None:
        """Readies the call block for states of another store, whose values lie in `columns`."""
        self._begin([readable(column) for column in columns], rows)

    def _begin(self, columns: list[pa.Array], rows: int) -> None:
        if self._notes.shape[1] <= rows:
            self._notes = np.empty((len(self._kept), 2 * rows + 1, 2), dtype=np.int64)
        self._columns = columns
        ranked: dict[int, Int64s] = {}
        self._ranks = []
        for number, (kept, column) in enumerate(zip(self._kept, columns, strict=True)):
            at = self._block + layout.KEPT_WORDS * number
            self._call[at + layout.KEPT_NOTES] = address(self._notes[number])
            self._call[at + layout.KEPT_NOTED] = 0
            if kept.better is not None:
                ranks = ranked.get(id(column))
                if ranks is None:
                    ranks = ranked[id(column)] = row_ranks(column)
                ranks = ranks if kept.idle == -1 else np.where(ranks < 0, kept.idle, ranks)
                self._ranks.append(ranks)
                self._call[at + layout.KEPT_RANKS] = address(ranks)

    def settle(self, panes: Mapping[int, Pane]) -> None:
        """Brings the winners noted so far into their panes' values.

        To be called when the kernel is through, and before a pane's records move.

        Args:
            panes: by window start.
        """
        for number, kept in enumerate(self._kept):
            at = self._block + layout.KEPT_WORDS * number + layout.KEPT_NOTED
            noted = int(self._call[at])
            if noted:
                self._call[at] = 0
                for start, records in _by_start(self._notes[number, :noted]):
                    self._settle(panes[start], number, kept, records)

    def end(self) -> None:
        """Lets go of the batch."""
        self._columns = []
        self._ranks = []

    def _settle(self, pane: Pane, number: int, kept: _Kept, addresses: Int64s) -> None:
        records, store = pane.records, pane.values[number]
        slots = (addresses - address(records)) // records.strides[0]
        rows = records[slots, kept.row]
        records[slots, kept.row] = kept.idle
        if kept.better is not None:
            rows &= _ROW_MASK
        values = as_kept(self._columns[number].take(pa.array(rows)))
        if kept.better is not None:
            places = records[slots, kept.place]
            better = kept.better(values, store.take(places))
            wins = np.asarray(pc.fill_null(better, True))  # null: there is no value yet
            if not wins.all():
                slots, values = slots[wins], values.filter(pa.array(wins))
        if len(values) == 0:
            return
        first = store.append(values)
        records[slots, kept.place] = np.arange(first, first + len(values))
        if store.is_due:
            places = records[:, kept.place]
            live = np.flatnonzero(places >= 0)
            store.keep(places[live])
            records[live, kept.place] = np.arange(len(live))

    def values(self, pane: Pane, slots: Int64s | None = None) -> list[pa.Array]:
        """The values of each slot of a pane, or of some, by `AccumulatorPlan.kept_fields`."""
        return [
            store.take(pane.records[:, kept.place] if slots is None else pane.records[slots, kept.place])
            for kept, store in zip(self._kept, pane.values, strict=True)
        ]


def row_ranks(column: pa.Array) -> Int64s:
    """For each row the rank of its value among the column's, above 32 bits of row number; -1 for null.

    Strings are ordered by their bytes.

    >>> ranks = row_ranks(pa.array(["b", None, "a"]))
    >>> (ranks >> 32).tolist(), (ranks & 0xFFFFFFFF).tolist()[::2]
    ([1, -1, 0], [0, 2])
    """
    if pa.types.is_null(column.type):
        return np.full(len(column), -1, dtype=np.int64)
    if not pa.types.is_dictionary(column.type):
        column = as_kept(column).dictionary_encode() if _is_narrow(column) else column.dictionary_encode()
    values = as_kept(column.dictionary)
    ranks = np.empty(len(values) + 1, dtype=np.int64)
    ranks[np.asarray(pc.sort_indices(values))] = np.arange(len(values))
    ranks[-1] = -1
    if values.null_count:
        ranks[:-1][np.asarray(values.is_null())] = -1
    codes: Any = values_of(column.indices)
    if column.indices.null_count:
        codes = np.where(np.asarray(column.indices.is_valid()), codes, len(values))
    of_rows = ranks[codes]
    packed: Int64s = of_rows << _ROW_BITS
    packed |= np.arange(len(packed))
    return packed if len(values) and of_rows.min(initial=0) >= 0 else np.where(of_rows < 0, -1, packed)


def _is_narrow(column: pa.Array) -> bool:
    """A decimal that Arrow neither sorts nor encodes."""
    return bool(pa.types.is_decimal(column.type) and column.type.bit_width < 128)


def _by_start(notes: Int64s) -> Iterator[tuple[int, Int64s]]:
    """Window starts, and the addresses of the records noted for each."""
    records, starts = notes[:, 0], notes[:, 1]
    if starts[0] == starts[-1] and (starts == starts[0]).all():
        yield int(starts[0]), records
        return
    order = np.argsort(starts, kind="stable")
    records, starts = records[order], starts[order]
    ends = [*(np.flatnonzero(np.diff(starts)) + 1).tolist(), len(starts)]
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        yield int(starts[begin]), records[begin:end]
