"""What a store collects beside its records, pane by pane: one object each of what its plan collects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import (
    Buckets,
    Collected,
    Distinct,
    Registers,
    Rows,
    StateColumns,
    readable,
)
from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.state.grouping import Located
from streamlib.state.kept_columns import KeptColumns
from streamlib.state.kept_distinct import KeptDistinct
from streamlib.state.kept_pairs import KeptBuckets, KeptRegisters
from streamlib.state.kept_rows import KeptRows
from streamlib.state.pane import Pane

Int64s = npt.NDArray[np.int64]

_KINDS: dict[type[Collected], Any] = {
    Buckets: KeptBuckets,
    Distinct: KeptDistinct,
    Registers: KeptRegisters,
}
_ROOM_MIN = 64


class Collecting:
    """What the panes of a store collect.

    Args:
        plan: says what.
    """

    def __init__(self, plan: AccumulatorPlan) -> None:
        self._plan = plan
        self._first = len(plan.kept)
        self._rooms = [_ROOM_MIN] * len(plan.collected)

    def open(self, pane: Pane) -> None:
        """Readies a new pane."""
        pane.collected = [
            self._made(item.collected, self._plan.input_types[item.input], room)
            for item, room in zip(self._plan.collected, self._rooms, strict=True)
        ]

    def _made(self, collected: Collected, kind: pa.DataType, room: int) -> Any:
        if isinstance(collected, Rows):
            return KeptRows(collected, collected.item_type(kind))
        if isinstance(collected, StateColumns):
            return KeptColumns(collected)
        return _KINDS[type(collected)](collected, collected.value_type(kind), room)

    def add(
        self,
        panes: Mapping[int, Pane],
        located: Located,
        inputs: Sequence[pa.Array],
        time: Int64s,
        order: Int64s | int | None,
        sub: Int64s | None,
    ) -> None:
        """Adds the rows of a batch.

        Args:
            panes: by number.
            located: where the rows belong.
            inputs: the plan's columns.
        """
        orders = np.arange(order, order + len(time)) if isinstance(order, int) else order
        for number, item in enumerate(self._plan.collected):
            column = inputs[item.input]
            if isinstance(item.collected, Rows):
                which, values = item.collected.items(column, time, orders, sub)
            else:
                which, values = item.collected.chosen(column)
                values = readable(values)
            for pane, slots, rows in located.by_pane(which):
                part = _own(values) if rows is None else values.take(pa.array(rows))
                panes[pane].collected[number].add(slots, part)

    def merge(self, panes: Mapping[int, Pane], located: Located, kept: Sequence[pa.Array]) -> None:
        """Adds partial results of other stores, whose columns beside the records are `kept`."""
        for number, column in enumerate(kept[self._first :]):
            for pane, slots, rows in located.by_pane(None):
                partial = column if rows is None else column.take(pa.array(rows))
                panes[pane].collected[number].merge(slots, partial)

    def values(self, pane: Pane, partial: bool, slots: Int64s | None = None) -> list[pa.Array]:
        """What each slot of a pane has, or some: for other stores (partial), or for results."""
        self._rooms = [getattr(kept, "room", _ROOM_MIN) for kept in pane.collected]
        return [
            kept.partial(pane.count, slots) if partial else kept.final(pane.count, slots)
            for kept in pane.collected
        ]

    def drop(self, pane: Pane, slots: Int64s) -> None:
        """Forgets what was collected for some slots."""
        for kept in pane.collected:
            kept.drop(slots)


def _own(values: pa.Array) -> pa.Array:
    """The values without the larger array that they may be a part of."""
    if values.get_total_buffer_size() <= 2 * values.nbytes + 4096:
        return values
    return values.take(pa.array(np.arange(len(values))))
