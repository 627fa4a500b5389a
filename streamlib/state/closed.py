"""What goes into a pane store and what comes out: the rule that windows follow, and a closed window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.plan import AccumulatorPlan

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tumbling:
    """Windows [offset + k * size, offset + (k + 1) * size); all in ns. The kernel computes their starts."""

    size: int
    offset: int = 0

    def __post_init__(self) -> None:
        assert self.size > 0, "a window has a size"


@dataclass(frozen=True, slots=True, eq=False)
class Closed:
    """A window's final state.

    Attributes:
        start: the window's start, ns.
        keys: the key columns, a row per key, in the order the keys were first met.
        state: the plan's state words; shape (keys, words), int64 bits.
        kept: the values beside them, by `AccumulatorPlan.kept_fields`.
        plan: what they mean.
        memory: the records behind the state, where nobody needs them once there are results; see `moved_into`.
    """

    start: int
    keys: pa.RecordBatch
    state: Int64s
    kept: Sequence[pa.Array]
    plan: AccumulatorPlan
    memory: Int64s | None = None

    def results(self) -> list[pa.Array]:
        """The aggregates' results, in their order, a row per key.

        Raises:
            DataError: an integer sum that does not fit its type.
        """
        return self.plan.finish(self.state, self.kept)


def concat(arrays: Sequence[pa.Array]) -> pa.Array:
    """Arrays of one type as one; a single one as it is."""
    return arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)
