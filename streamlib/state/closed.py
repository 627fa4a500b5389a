"""What goes into a pane store and what comes out: the rule that windows follow, and a closed window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.plan import AccumulatorPlan

Int64s = npt.NDArray[np.int64]

GATHERED_ROWS = 16_384
"""How many records make a pane worth a batch of its own."""
TOGETHER_ROWS = 65_536
"""How many records of smaller panes go together."""


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


def in_groups(panes: Iterable[tuple[int, int]]) -> Iterator[list[int]]:
    """The starts of panes in groups, in order: a large one by itself, small ones together.

    Args:
        panes: start and how many keys.

    >>> list(in_groups([(0, 3), (10, 5), (20, 70_000), (30, 1)]))
    [[0, 10], [20], [30]]
    """
    group: list[int] = []
    rows = 0
    for start, count in panes:
        if group and count >= GATHERED_ROWS:
            yield group
            group, rows = [], 0
        group.append(start)
        rows += count
        if count >= GATHERED_ROWS or rows >= TOGETHER_ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def concat(arrays: Sequence[pa.Array]) -> pa.Array:
    """Arrays of one type as one; a single one as it is."""
    return arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)
