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
from streamlib.kernels.columns import decoded, decoded_type, is_word, values_of, word_column
from streamlib.state.collected.direct import add_directly, begin_near
from streamlib.state.collected.direct_kernels import append_words, insert_near, insert_wide_words, set_bits
from streamlib.state.collected.grouping import Located
from streamlib.state.collected.kept_columns import KeptColumns
from streamlib.state.collected.kept_distinct import KeptDistinct
from streamlib.state.collected.kept_pairs import KeptBuckets, KeptRegisters
from streamlib.state.collected.kept_rows import KeptRows
from streamlib.state.collected.kept_words import KeptWords
from streamlib.state.pane import Pane

Int64s = npt.NDArray[np.int64]

_KINDS: dict[type[Collected], Any] = {
    Buckets: KeptBuckets,
    Registers: KeptRegisters,
}
_DIRECT = {"words": append_words, "bits": set_bits, "near": insert_near, "wide": insert_wide_words}
_ROOM_MIN = 64


class Collecting:
    """What the panes of a store collect.

    Args:
        plan: says what.
    """

    def __init__(self, plan: AccumulatorPlan) -> None:
        self._plan = plan
        self._first = len(plan.kept)
        self._likes: list[Any] = [None] * len(plan.collected)

    def open(self, pane: Pane) -> None:
        """Readies a new pane."""
        pane.collected = [
            self._made(item.collected, self._plan.input_types[item.input], like)
            for item, like in zip(self._plan.collected, self._likes, strict=True)
        ]

    def _made(self, collected: Collected, kind: pa.DataType, like: Any) -> Any:
        """One that begins as the one of the pane before has told."""
        if isinstance(collected, Rows):
            if collected.is_plain and is_word(collected.item_type(kind)):
                return KeptWords(collected, collected.item_type(kind), like or _ROOM_MIN)
            return KeptRows(collected, collected.item_type(kind))
        if isinstance(collected, StateColumns):
            return KeptColumns(collected)
        if isinstance(collected, Distinct):
            return KeptDistinct(collected, collected.value_type(kind), like)
        return _KINDS[type(collected)](collected, collected.value_type(kind), like or _ROOM_MIN)

    def add(
        self,
        panes: Mapping[int, Pane],
        located: Located,
        inputs: Sequence[pa.Array],
        time: Int64s,
        order: Int64s | int | None,
    ) -> None:
        """Adds the rows of a batch.

        Args:
            panes: by number.
            located: where the rows belong.
            inputs: the plan's columns.
        """
        orders: Int64s | None = None
        touched = located.panes()
        for number, item in enumerate(self._plan.collected):
            column = inputs[item.input]
            done = self._directly(panes, touched, located, number, column)
            if done == len(time):
                continue
            if done:
                self._add_rest(panes, located, number, item.collected, column, done)
                continue
            if isinstance(item.collected, Rows):
                if orders is None and order is not None:
                    orders = np.arange(order, order + len(time)) if isinstance(order, int) else order
                which, values = item.collected.items(column, time, orders)
            else:
                which, values = item.collected.chosen(column)
                values = readable(values)
            self._add_values(panes, located, number, which, values)

    def _add_values(
        self,
        panes: Mapping[int, Pane],
        located: Located,
        number: int,
        which: npt.NDArray[np.bool_] | None,
        values: pa.Array,
    ) -> None:
        for pane, slots, rows in located.by_pane(which):
            part = _own(values) if rows is None else values.take(pa.array(rows))
            panes[pane].collected[number].add(slots, part)

    def _directly(
        self,
        panes: Mapping[int, Pane],
        touched: Sequence[int],
        located: Located,
        number: int,
        column: pa.Array,
    ) -> int:
        """Adds rows in one loop over all panes, where values are words; returns how many it added."""
        item = self._plan.collected[number]
        if item.collected.filtered or not isinstance(item.collected, Rows | Distinct) or item.collected.nulls:
            return 0
        kind = decoded_type(column.type)
        if not is_word(kind):
            return 0
        forms: dict[str, dict[int, tuple[Any, int]]] = {}
        for n in touched:
            one = panes[n].collected[number]
            forms.setdefault(getattr(one, "form", ""), {})[n] = one, panes[n].count
        if not forms.keys() <= _DIRECT.keys():
            return 0
        column = decoded(column)
        if pa.types.is_floating(kind) and isinstance(item.collected, Distinct):
            column = _canonical(column)
        words = word_column(column)
        near = [one for one, _ in forms.get("near", {}).values()]
        if near and not begin_near(near, words, len(column)):
            return len(column)  # nothing but nulls
        # What sets have taken may be added again, so each form can stop where it likes.
        return min(add_directly(_DIRECT[form], kept, touched, located, words) for form, kept in forms.items())

    def _add_rest(
        self,
        panes: Mapping[int, Pane],
        located: Located,
        number: int,
        collected: Collected,
        column: pa.Array,
        done: int,
    ) -> None:
        """Adds the rows that `_directly` did not."""
        which, values = collected.chosen(column.slice(done))
        self._add_values(panes, located.since(done), number, which, readable(values))

    def merge(self, panes: Mapping[int, Pane], located: Located, kept: Sequence[pa.Array]) -> None:
        """Adds partial results of other stores, whose columns beside the records are `kept`."""
        for number, column in enumerate(kept[self._first :]):
            for pane, slots, rows in located.by_pane(None):
                partial = column if rows is None else column.take(pa.array(rows))
                panes[pane].collected[number].merge(slots, partial)

    def values(self, pane: Pane, partial: bool, slots: Int64s | None = None) -> list[pa.Array]:
        """What each slot of a pane has, or some: for other stores (partial), or for results."""
        self._likes = [getattr(kept, "like", None) for kept in pane.collected]
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


def _canonical(column: pa.Array) -> pa.Array:
    """Floats with one NaN and one zero, as float64."""
    numbers = values_of(column).astype(np.float64) + 0.0
    np.copyto(numbers, np.nan, where=np.isnan(numbers))
    mask = None if column.null_count == 0 else np.asarray(column.is_null())
    return pa.array(numbers, mask=mask, from_pandas=False)
