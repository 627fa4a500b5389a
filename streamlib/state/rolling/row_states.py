"""What functions over the rows of a key keep of it: one class per function, a row of an array per slot.

Words are kept as they are. Values of other types, such as text, are kept beside: what the kernel moves is then
their place, so that every kernel works on every type.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.aggregates.accumulators import as_given, as_kept, kept_type, typed_values
from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels.columns import is_word, lane, validity_of, values_of, word_column
from streamlib.kernels.rolling import HEAD
from streamlib.kernels.row_functions import (
    SHIFT_HEAD,
    fill_rows,
    shift_rows,
    smooth_rows,
    smooth_rows_by_time,
)
from streamlib.state.pane import address
from streamlib.state.rolling import rolling_source as source
from streamlib.state.slots import SlotColumn
from streamlib.state.value_store import ValueStore

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class KeyRows:
    """Rows in their order, by key.

    Attributes:
        slots: of their keys.
        slot_count: how many slots there are.
        times: ns.
        fresh: 1 for rows with which their key begins anew.
    """

    slots: Int64s
    slot_count: int
    times: Int64s
    fresh: Flags


class RowState(ABC):
    """The state of one function, by slot. A slot whose next row is fresh may hold anything."""

    width: int
    """Words of a slot."""
    type: pa.DataType
    """The type of the function's values."""

    def __init__(self) -> None:
        self._state: npt.NDArray[Any] = np.zeros((64, self.width), dtype=self.dtype)

    @property
    def dtype(self) -> npt.DTypeLike:
        """Of the words."""
        return np.int64

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._state.nbytes

    @abstractmethod
    def of(self, rows: KeyRows, column: pa.Array) -> pa.Array:
        """The function of each row; keeps what later rows need."""

    @abstractmethod
    def fields(self) -> list[pa.Field]:
        """The columns of a snapshot."""

    @abstractmethod
    def save(self, slots: Int64s) -> list[pa.Array]:
        """The state of some slots, by `fields`."""

    @abstractmethod
    def load(self, slots: Int64s, slot_count: int, columns: Sequence[pa.Array]) -> None:
        """Takes in what `save` gave of such slots."""

    def forget(self, slots: Int64s) -> None:
        """These keys are gone."""
        self._state[slots[slots < len(self._state)]] = 0

    def renumber(self, live: Int64s) -> None:
        """Slots get new numbers: `live` are 0, 1, 2 and so on from now."""
        kept = self._state[live]
        self._state = np.zeros((max(64, 2 * len(kept)), self.width), dtype=self.dtype)
        self._state[: len(kept)] = kept

    def _upto(self, slots: int) -> npt.NDArray[Any]:
        if slots > len(self._state):
            grown = np.zeros((max(slots, 2 * len(self._state)), self.width), dtype=self.dtype)
            grown[: len(self._state)] = self._state
            self._state = grown
        return self._state


class ValueWords:
    """Values of one type as words and back.

    Args:
        kind: their type, without dictionary.
    """

    def __init__(self, kind: pa.DataType) -> None:
        self.kind = kind
        self._store = None if is_word(kind) else ValueStore(kept_type(kind))

    @property
    def is_due(self) -> bool:
        """Whether values that no slot refers to should go."""
        return self._store is not None and self._store.is_due

    def words(self, column: pa.Array) -> tuple[int, int, int, Any]:
        """Address of the words, of the validity bitmap, its first bit, and what owns them."""
        if self._store is None:
            words = word_column(column)
            return words.values, words.validity, words.bit, words
        first = self._store.append(as_kept(column).take(pa.array(np.arange(len(column)))))
        places = np.arange(first, first + len(column))
        if pa.types.is_null(column.type):
            column = pa.nulls(len(column), pa.int8())  # which has a bitmap
        return address(places), *validity_of(column), (places, column)

    def values(self, words: Int64s, valid: npt.NDArray[np.bool_]) -> pa.Array:
        """Words as values, null where they are not valid."""
        if self._store is None:
            return typed_values(words, ~valid, self.kind)
        return as_given(self._store.take(np.where(valid, words, -1)), self.kind)

    def array(self, column: pa.Array) -> tuple[Int64s, npt.NDArray[np.bool_]]:
        """Values of a snapshot as words, and which are no nulls."""
        valid = np.asarray(column.is_valid())
        if self._store is None:
            words = np.ascontiguousarray(values_of(column), dtype=lane(self.kind)).view(np.int64)
            return np.where(valid, words, 0), valid
        first = self._store.append(as_kept(column).take(pa.array(np.arange(len(column)))))
        return np.arange(first, first + len(column)), valid

    def keep(self, places: Int64s) -> None:
        """Keeps the values at these places, which become 0, 1, 2 and so on."""
        assert self._store is not None
        self._store.keep(places)


class Shifted(RowState):
    """The value n rows before. A slot keeps the last n values.

    Args:
        kind: the type of the values.
        name: of the column in a snapshot.
    """

    def __init__(self, kind: pa.DataType, n: int, name: str) -> None:
        self.n, self.name, self.type = n, name, kind
        self.width = SHIFT_HEAD + 2 * n
        self._values = ValueWords(kind)
        super().__init__()

    def of(self, rows: KeyRows, column: pa.Array) -> pa.Array:
        state = self._upto(rows.slot_count)
        values, validity, bit, kept = self._values.words(column)
        out, valid = np.empty(len(rows.slots), dtype=np.int64), np.empty(len(rows.slots), dtype=np.uint8)
        shift_rows(rows.slots, rows.fresh, values, validity, bit, state, self.n, out, valid)
        del kept
        found = self._values.values(out, valid > 0)
        if self._values.is_due:
            words = state[:, SHIFT_HEAD : SHIFT_HEAD + self.n]
            used = state[:, SHIFT_HEAD + self.n :] != 0
            self._values.keep(words[used])
            words[used] = np.arange(int(used.sum()))
        return found

    def fields(self) -> list[pa.Field]:
        return [pa.field(self.name, pa.large_list(self.type))]

    def save(self, slots: Int64s) -> list[pa.Array]:
        state = self._state[slots]
        counts = state[:, 0]
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        rows = np.repeat(np.arange(len(slots)), counts)
        nth = np.arange(len(rows)) - offsets[rows]
        places = (state[rows, 1] - counts[rows] + nth) % self.n + SHIFT_HEAD
        values = self._values.values(state[rows, places], state[rows, places + self.n] != 0)
        return [pa.LargeListArray.from_arrays(pa.array(offsets), values)]

    def load(self, slots: Int64s, slot_count: int, columns: Sequence[pa.Array]) -> None:
        state, lists = self._upto(slot_count), columns[0]
        counts = np.asarray(lists.value_lengths()).astype(np.int64)
        words, valid = self._values.array(lists.flatten())
        starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        rows = np.repeat(np.arange(len(slots)), counts)
        places = np.arange(len(rows)) - starts[rows] + SHIFT_HEAD
        state[slots[rows], places] = words
        state[slots[rows], places + self.n] = valid
        state[slots, 0], state[slots, 1] = counts, counts % self.n


class Filled(RowState):
    """The last value that is not null.

    Args:
        kind: the type of the values.
        limit: over how many nulls; -1 for any number.
        name: of the columns in a snapshot.
    """

    width = 3

    def __init__(self, kind: pa.DataType, limit: int, name: str) -> None:
        self.limit, self.name, self.type = limit, name, kind
        self._values = ValueWords(kind)
        super().__init__()

    def of(self, rows: KeyRows, column: pa.Array) -> pa.Array:
        state = self._upto(rows.slot_count)
        values, validity, bit, kept = self._values.words(column)
        out, valid = np.empty(len(rows.slots), dtype=np.int64), np.empty(len(rows.slots), dtype=np.uint8)
        fill_rows(rows.slots, rows.fresh, values, validity, bit, state, self.limit, out, valid)
        del kept
        found = self._values.values(out, valid > 0)
        if self._values.is_due:
            used = state[:, 1] != 0
            self._values.keep(state[used, 0])
            state[used, 0] = np.arange(int(used.sum()))
        return found

    def fields(self) -> list[pa.Field]:
        return [pa.field(f"{self.name}.value", self.type), pa.field(f"{self.name}.nulls", pa.int64())]

    def save(self, slots: Int64s) -> list[pa.Array]:
        state = self._state[slots]
        values = self._values.values(np.ascontiguousarray(state[:, 0]), state[:, 1] != 0)
        return [values, pa.array(np.ascontiguousarray(state[:, 2]))]

    def load(self, slots: Int64s, slot_count: int, columns: Sequence[pa.Array]) -> None:
        state = self._upto(slot_count)
        state[slots, 0], state[slots, 1] = self._values.array(columns[0])
        state[slots, 2] = values_of(columns[1])


class AddedUp(RowState):
    """An aggregate over the key's rows so far; null where the value is null.

    Args:
        plan: of the one aggregate, over one input.
        keeps_nulls: whether the result is null where the value is.
    """

    def __init__(self, plan: AccumulatorPlan, keeps_nulls: bool, name: str) -> None:
        assert len(plan.aggregates) == 1 and not plan.kept and not plan.collected, "one, in words"
        self.plan, self.keeps_nulls, self.name = plan, keeps_nulls, name
        self.type = plan.result_types[0]
        self.width = len(plan.words)
        self._template = plan.initial
        self._call = np.zeros(source.CALL_INPUTS + 3, dtype=np.int64)
        self._call[source.CALL_TEMPLATE] = address(self._template) - 8 * HEAD
        super().__init__()

    def of(self, rows: KeyRows, column: pa.Array) -> pa.Array:
        call, words = self._call, word_column(column)
        out = np.empty((len(rows.slots), self.width), dtype=np.int64)
        call[source.CALL_SLOTS] = address(self._upto(rows.slot_count))
        call[source.CALL_ROW_SLOTS], call[source.CALL_TIMES] = address(rows.slots), address(rows.times)
        call[source.CALL_FRESH], call[source.CALL_OUT] = address(rows.fresh), address(out)
        call[source.CALL_INPUTS :] = words.values, words.validity, words.bit
        source.cumulative_kernel(self.plan)(0, len(rows.slots), call)
        (found,) = self.plan.finish(out)
        if not self.keeps_nulls or column.null_count == 0:
            return found
        return pc.if_else(column.is_valid(), found, pa.scalar(None, found.type))

    def fields(self) -> list[pa.Field]:
        return [
            pa.field(f"{self.name}.{word.name}", pa.type_for_alias(word.type)) for word in self.plan.words
        ]

    def save(self, slots: Int64s) -> list[pa.Array]:
        state = self._state[slots]
        return [
            pa.array(np.ascontiguousarray(state[:, index])).view(field.type)
            for index, field in enumerate(self.fields())
        ]

    def load(self, slots: Int64s, slot_count: int, columns: Sequence[pa.Array]) -> None:
        state = self._upto(slot_count)
        for index, column in enumerate(columns):
            state[slots, index] = values_of(column).view(np.int64)


class Smoothed(RowState):
    """The exponentially weighted mean.

    Args:
        alpha, adjust, ignore_nulls: by rows.
        half_life: by event time instead, ns.
    """

    width = 2
    type = pa.float64()

    def __init__(
        self,
        name: str,
        alpha: float = 0.0,
        adjust: bool = True,
        ignore_nulls: bool = False,
        half_life: int | None = None,
    ) -> None:
        self.name, self.alpha, self.half_life = name, alpha, half_life
        self.adjust, self.ignore_nulls = adjust, ignore_nulls
        self._last = SlotColumn(np.int64)
        super().__init__()

    @property
    def dtype(self) -> npt.DTypeLike:
        return np.float64

    def of(self, rows: KeyRows, column: pa.Array) -> pa.Array:
        state = self._upto(rows.slot_count)
        words = word_column(column.cast(pa.float64(), safe=False))
        place = words.values, words.validity, words.bit
        out, valid = np.empty(len(rows.slots)), np.empty(len(rows.slots), dtype=np.uint8)
        if self.half_life is None:
            smooth_rows(
                rows.slots, rows.fresh, *place, state, self.alpha, self.adjust, self.ignore_nulls, out, valid
            )
        else:
            last = self._last.upto(rows.slot_count)
            half_life = float(self.half_life)
            smooth_rows_by_time(
                rows.slots, rows.fresh, rows.times, *place, state, last, half_life, out, valid
            )
        return pa.array(out, mask=valid == 0 if column.null_count else None, from_pandas=False)

    def fields(self) -> list[pa.Field]:
        found = [pa.field(f"{self.name}.mean", pa.float64()), pa.field(f"{self.name}.weight", pa.float64())]
        return found if self.half_life is None else [*found, pa.field(f"{self.name}.time", pa.int64())]

    def save(self, slots: Int64s) -> list[pa.Array]:
        state = self._state[slots]
        found = [pa.array(np.ascontiguousarray(state[:, index]), from_pandas=False) for index in range(2)]
        if self.half_life is None:
            return found
        return [*found, pa.array(self._last.upto(len(self._state))[slots])]

    def load(self, slots: Int64s, slot_count: int, columns: Sequence[pa.Array]) -> None:
        state = self._upto(slot_count)
        state[slots, 0], state[slots, 1] = values_of(columns[0]), values_of(columns[1])
        if self.half_life is not None:
            self._last.upto(len(state))[slots] = values_of(columns[2])

    def renumber(self, live: Int64s) -> None:
        if self.half_life is not None:
            self._last.upto(len(self._state))
            self._last.keep(live)
        super().renumber(live)
