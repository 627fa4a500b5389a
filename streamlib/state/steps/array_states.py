"""States of keys as NumPy columns by slot: of numbers, bools, or vectors of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Array = npt.NDArray[Any]
Int64s = npt.NDArray[np.int64]


class ArrayStates:
    """Columns by slot, which grow with the slots.

    Args:
        initial: the state of a key without rows: by name a number, a bool or a vector of them.

    >>> states = ArrayStates({"total": np.asarray(1.5)})
    >>> states.put(np.array([1]), {"total": np.array([4.0])})
    >>> states.get(np.array([0, 1]))["total"].tolist()
    [1.5, 4.0]
    """

    def __init__(self, initial: Mapping[str, Array]) -> None:
        self.initial = dict(initial)
        self._columns = {name: _filled(64, value) for name, value in initial.items()}

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return sum(column.nbytes for column in self._columns.values())

    def get(self, slots: Int64s) -> dict[str, Array]:
        """A copy of the states of some slots, column by column."""
        self._want(slots)
        return {name: column[slots] for name, column in self._columns.items()}

    def put(self, slots: Int64s, states: Mapping[str, Array]) -> None:
        """Keeps the states of some slots."""
        self._want(slots)
        for name, column in self._columns.items():
            column[slots] = states[name]

    def forget(self, slots: Int64s) -> None:
        """These keys are as without rows."""
        self._want(slots)
        for name, column in self._columns.items():
            column[slots] = self.initial[name]

    def renumber(self, live: Int64s) -> None:
        """Slots get new numbers: `live` are 0, 1, 2 and so on from now."""
        self._want(live)
        for name, column in self._columns.items():
            kept = column[live]
            made = _filled(max(64, 2 * len(kept)), self.initial[name])
            made[: len(kept)] = kept
            self._columns[name] = made

    def fields(self) -> list[pa.Field]:
        """The columns of `save`."""
        return [pa.field(f"state.{name}", _arrow(value)) for name, value in self.initial.items()]

    def save(self, slots: Int64s) -> list[pa.Array]:
        """The states of some slots, by `fields`."""
        found = []
        for name, values in self.get(slots).items():
            numbers = pa.array(np.ascontiguousarray(values.reshape(-1)), from_pandas=False)
            if values.ndim == 2:
                numbers = pa.FixedSizeListArray.from_arrays(numbers, values.shape[1])
            found.append(numbers.cast(_arrow(self.initial[name])))
        return found

    def load(self, slots: Int64s, columns: list[pa.Array]) -> None:
        """Takes in what `save` gave of such slots."""
        states = {}
        for (name, value), column in zip(self.initial.items(), columns, strict=True):
            numbers = column.flatten() if value.ndim else column
            values = numbers.to_numpy(zero_copy_only=False).astype(value.dtype, copy=False)
            states[name] = values.reshape(len(slots), -1) if value.ndim else values
        self.put(slots, states)

    def _want(self, slots: Int64s) -> None:
        upto = int(slots.max(initial=-1)) + 1
        for name, column in self._columns.items():
            if upto > len(column):
                grown = _filled(max(upto, 2 * len(column)), self.initial[name])
                grown[: len(column)] = column
                self._columns[name] = grown


def _filled(count: int, value: Array) -> Array:
    made = np.empty((count, *value.shape), dtype=value.dtype)
    made[:] = value
    return made


def _arrow(value: Array) -> pa.DataType:
    kind = pa.from_numpy_dtype(value.dtype)
    return pa.list_(kind, len(value)) if value.ndim else kind
