"""The contract of an aggregate of one's own: a fold over arrays, with states that merge.

An example: the largest drop of a price below its highest value before has a state of numbers and is a
fold, but its states do not merge; the spread between the largest and the smallest does::

    class Spread(Aggregate):
        def result_type(self, values):
            return pa.float64()

        def init(self):
            return {"low": math.inf, "high": -math.inf}

        def add(self, state, slots, values):
            known = values.is_valid().to_numpy(zero_copy_only=False)
            slots, values = slots[known], values.drop_null().to_numpy()
            np.minimum.at(state["low"], slots, values)
            np.maximum.at(state["high"], slots, values)

        def merge(self, state, slots, other):
            state["low"][slots] = np.minimum(state["low"][slots], other["low"])
            state["high"][slots] = np.maximum(state["high"][slots], other["high"])

        def finish(self, state):
            spread = state["high"] - state["low"]
            return pa.array(spread, mask=~np.isfinite(spread))

    bars = ticks.window(sl.tumbling("10s")).agg(spread=sl.agg(Spread(), col("price")))
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

State = Mapping[str, npt.NDArray[Any]]
"""The state of many keys: one array per name, whose row i is that of slot i."""


class Aggregate(ABC):
    """One value per window or key, made of the rows of some columns.

    Rows are added batch by batch, on several workers at once, and the states are merged: the result must
    not depend on how rows are parted, or in which order they come. One object may be used by several
    workers: keep nothing in it but options. `streamlib.testing.check_own_aggregate` tries all this out.
    """

    @abstractmethod
    def result_type(self, *inputs: pa.DataType) -> pa.DataType:
        """The type of the result, for columns of these types; called when the graph is built.

        Raises:
            TypeMismatchError: it does not work on these types.
        """

    @abstractmethod
    def init(self) -> Mapping[str, Any]:
        """The state of a key without rows: numbers, booleans or vectors of them, by name.

        NumPy scalars choose the type of their column: ``{"n": 0, "sum": np.float32(0), "bins": np.zeros(16)}``.
        """

    @abstractmethod
    def add(self, state: State, slots: npt.NDArray[np.int64], *values: pa.Array) -> None:
        """Adds rows to the state, in place.

        Args:
            state: changed where `slots` point to; rows of other slots belong to other keys.
            slots: for each row, the row of `state` that is its key's; a slot may come several times, so
                ``np.add.at(state["n"], slots, 1)``, not ``state["n"][slots] += 1``.
            values: the columns, nulls among them; none is empty.
        """

    @abstractmethod
    def merge(self, state: State, slots: npt.NDArray[np.int64], other: State) -> None:
        """Adds states to the state, in place.

        Args:
            state: as for `add`.
            slots: for each row of `other`, the row of `state` that it belongs to; each comes once.
            other: states of the same keys made elsewhere.
        """

    @abstractmethod
    def finish(self, state: State) -> pa.Array:
        """The results of all rows of `state`, of the type that `result_type` said."""
