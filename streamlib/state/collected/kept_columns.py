"""The state of a user's own aggregate in a pane: NumPy columns by slot."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import StateColumns, arrow_type, columns_of

Int64s = npt.NDArray[np.int64]
Columns = dict[str, npt.NDArray[Any]]


class KeptColumns:
    """State columns, which grow with the slots.

    Args:
        collected: with the user's aggregate.
    """

    def __init__(self, collected: StateColumns) -> None:
        self._aggregate = collected.aggregate
        self._initial = collected.initial()
        self._state: Columns = {name: _rows(value, 16) for name, value in self._initial.items()}

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return sum(column.nbytes for column in self._state.values())

    def add(self, slots: Int64s, values: pa.StructArray) -> None:
        """Adds rows by the user's `add`."""
        if len(slots):
            self._aggregate.add(self._upto(int(slots.max()) + 1), slots, *values.flatten())

    def merge(self, slots: Int64s, partial: pa.StructArray) -> None:
        """Adds states of others by the user's `merge`, which is given each slot once a call."""
        other = columns_of(partial)
        rest = np.arange(len(slots))
        while len(rest):
            _, first = np.unique(slots[rest], return_index=True)
            rows = rest[np.sort(first)]
            state = self._upto(int(slots[rows].max()) + 1)
            self._aggregate.merge(state, slots[rows], {name: column[rows] for name, column in other.items()})
            rest = np.setdiff1d(rest, rows)

    def partial(self, count: int, slots: Int64s | None = None) -> pa.StructArray:
        """The state of each of `count` slots, or of some."""
        state = self._upto(count)
        columns = [column[:count] if slots is None else column[slots] for column in state.values()]
        arrays = [_as_arrow(column) for column in columns]
        fields = [pa.field(name, arrow_type(value)) for name, value in self._initial.items()]
        return pa.StructArray.from_arrays(arrays, fields=fields)

    final = partial

    def drop(self, slots: Int64s) -> None:
        """Takes some slots back to the state without rows."""
        state = self._upto(int(slots.max()) + 1 if len(slots) else 0)
        for name, value in self._initial.items():
            state[name][slots] = value

    def _upto(self, count: int) -> Columns:
        for name, column in self._state.items():
            if count > len(column):
                grown = _rows(self._initial[name], max(count, 2 * len(column)))
                grown[: len(column)] = column
                self._state[name] = grown
        return self._state


def _rows(initial: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    return np.tile(initial, (count, *([1] * initial.ndim)))


def _as_arrow(column: npt.NDArray[Any]) -> pa.Array:
    if column.ndim == 1:
        return pa.array(column, from_pandas=False)
    return pa.FixedSizeListArray.from_arrays(pa.array(column.ravel(), from_pandas=False), column.shape[1])
