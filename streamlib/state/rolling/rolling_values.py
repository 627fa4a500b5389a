"""Aggregates over rolling windows whose state is no words: of text, and those that need all values of a window.

The values of all rows that are in a window are kept, as they lie in the log of `rings`. The first and the
last value of a window are looked up. Everything else is computed anew for each row from the rows of its
window, so that its cost grows with their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates import Aggregate, First, Last
from streamlib.aggregates.accumulators import as_given, as_kept, kept_type
from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels.columns import decoded_type
from streamlib.state.rolling.rings import Rolled, RollingState
from streamlib.state.slots import SlotTable
from streamlib.state.value_store import ValueStore

Int64s = npt.NDArray[np.int64]
Part = tuple[Aggregate, int | None, pa.DataType | None]
"""An aggregate, the index of its input, and that input's type."""

MEMBERS_MAX = 262_144
"""Rows of windows that are aggregated in one call."""


def in_words(part: Part) -> bool:
    """Whether the state of an aggregate is words, which `RollingState` keeps itself."""
    aggregate, index, kind = part
    plan = AccumulatorPlan([(aggregate, None if index is None else 0, kind)])
    return not plan.kept and not plan.collected


class WindowValues:
    """The values of the rows that are in a window, and aggregates over them.

    Args:
        parts: aggregates that are not `in_words`.
        names: of the inputs, for messages.
    """

    def __init__(self, parts: Sequence[Part], names: Sequence[str]) -> None:
        self._parts = list(parts)
        self.inputs = sorted({index for _, index, _ in parts if index is not None})
        kinds = {index: kind for _, index, kind in parts}
        self._stores = {index: ValueStore(kept_type(kinds[index])) for index in self.inputs}
        self._kinds = {index: kinds[index] for index in self.inputs}
        self._slow = [part for part in parts if not _is_edge(part)]
        read = sorted({index for _, index, _ in self._slow if index is not None})
        self._read = read
        self._plan = AccumulatorPlan(
            [
                (aggregate, None if index is None else read.index(index), kind)
                for aggregate, index, kind in self._slow
            ],
            [names[index] for index in read],
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return sum(store.nbytes for store in self._stores.values())

    def append(self, columns: Sequence[pa.Array]) -> None:
        """The inputs of rows that were added to the log, by `inputs`."""
        for store, column in zip(self._stores.values(), columns, strict=True):
            store.append(_owned(as_kept(column)))

    def begin(self, columns: Sequence[pa.Array]) -> None:
        """Has these values, as `take` gave them, in place of all others."""
        for store, column in zip(self._stores.values(), columns, strict=True):
            store.keep_chunk(_owned(column))

    def keep(self, places: Int64s) -> None:
        """The log was compacted to these rows."""
        for store in self._stores.values():
            store.keep(places)

    def take(self, places: Int64s) -> list[pa.Array]:
        """The values of rows, by `inputs`, as they are kept."""
        return [store.take(places) for store in self._stores.values()]

    def results(self, state: RollingState, rolled: Rolled) -> list[pa.Array]:
        """One value per row for each of the aggregates."""
        slow = iter(self._of_members(state, rolled) if self._slow else [])
        found = []
        for part in self._parts:
            aggregate, index, kind = part
            if not _is_edge(part):
                found.append(next(slow))
                continue
            assert index is not None
            own = np.arange(rolled.first, rolled.first + len(rolled.state))
            places = rolled.oldest if isinstance(aggregate, First) else own
            found.append(as_given(self._stores[index].take(places), aggregate.result_type(kind)))
        return found

    def _of_members(self, state: RollingState, rolled: Rolled) -> list[pa.Array]:
        pieces = []
        for begin, end in _cuts(rolled.state[:, 0]):
            counts = rolled.state[begin:end, 0]
            places = state.members(rolled, begin, end)
            table = SlotTable([pa.field("row", pa.int64())], self._plan)
            rows = np.repeat(np.arange(end - begin), counts)
            inputs = [
                as_given(self._stores[i].take(places), decoded_type(self._kinds[i])) for i in self._read
            ]
            slots = table.put(
                pa.RecordBatch.from_arrays([pa.array(rows)], names=["row"]), inputs, state.times(places)
            )
            pieces.append(table.read(slots[np.cumsum(counts) - 1]).results())
        return [pa.concat_arrays(columns) for columns in zip(*pieces, strict=True)]


def _is_edge(part: Part) -> bool:
    """Whether it is the value of the window's first or last row."""
    aggregate = part[0]
    return isinstance(aggregate, (First, Last)) and not aggregate.filtered


def _cuts(counts: Int64s) -> Iterator[tuple[int, int]]:
    """Ranges of rows whose windows have no more than MEMBERS_MAX rows together, one row at least."""
    ends = np.cumsum(counts)
    begin, before = 0, 0
    while begin < len(counts):
        end = max(begin + 1, int(np.searchsorted(ends, before + MEMBERS_MAX, side="right")))
        yield begin, end
        begin, before = end, int(ends[end - 1])


def _owned(column: pa.Array) -> pa.Array:
    """A copy where the column is a part of a larger one, whose memory it would hold."""
    return column.take(pa.array(np.arange(len(column)))) if column.offset else column
