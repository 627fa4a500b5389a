"""Rows in any order matched as of their times, where keys have few nodes in a stretch of time.

The cursor of `kernels.asof` passes all stretches first, and what it held at the end of each is written down: a row
looks there and goes back by the chain of its key. No row is moved.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import kernel
from streamlib.kernels.asof import (
    NODE_WORDS,
    chosen_of,
    counts_equal,
    is_below,
    place_ahead,
    place_behind,
    previous_of,
)
from streamlib.kernels.memory import I64, load_i32, load_i64, prefetch, store_i32

Int64s = npt.NDArray[np.int64]

HELD_MAX = 2
"""Stretches times keys, for each row: beyond that to write down costs more than it spares."""
STRETCHES_MAX = 2048
WALK_MAX = 2
"""Steps back for each row, beyond which other ways are cheaper."""
NODES_MAX = 2**31 - 1
"""Nodes there may be."""
WALKED = -2
"""What `match_by_stretches` returns, less the place of the cursor, when it has given up."""

_BLOCK = 64
_NODE_BYTES = np.int64(8 * NODE_WORDS)
_ONE = np.int64(1)


@kernel(
    "int64(ints, ints, int64, int64, int64, int64, int64, int64, int64, boolean, int64, int64, int64, int64,"
    " int64, int64, int64[::1])"
)
def match_by_stretches(
    slots: Int64s,
    times: Int64s,
    nodes: I64,
    far: I64,
    count: I64,
    firsts: I64,
    cursors: I64,
    place: I64,
    direction: I64,
    exact: bool,
    tolerance: I64,
    low: I64,
    high: I64,
    shift: I64,
    keys: I64,
    held: I64,
    found: Int64s,
) -> I64:
    """As `kernels.asof.match_nodes`, for rows in any order.

    Args:
        low, high: the earliest and the latest time, less than 2**62 ns apart.
        shift: a stretch is 2**shift ns.
        keys: how many slots there are.
        held: address of four bytes for each slot and stretch, to work with.

    Returns:
        How many nodes the cursor has passed now; WALKED less that where rows had to go back too far.
    """
    with_equal = counts_equal(direction, exact)
    place = place_behind(nodes, cursors, place, low, with_equal)
    for stretch in range(((high - low) >> shift) + _ONE):
        reach = ((np.int64(stretch) + _ONE) << shift) - _ONE
        bound = high if reach >= high - low else low + reach
        place = place_ahead(nodes, count, cursors, place, bound, with_equal)
        target = held + 4 * keys * np.int64(stretch)
        for slot in range(keys):
            store_i32(target, slot, load_i64(cursors, slot))
    steps, rows = np.int64(WALK_MAX * len(times)), np.int64(len(times))
    reached = np.empty(_BLOCK, dtype=np.int64)
    for begin in range(0, rows, _BLOCK):
        size = min(np.int64(_BLOCK), rows - begin)
        for i in range(size):
            before = load_i32(held, ((times[begin + i] - low) >> shift) * keys + slots[begin + i])
            reached[i] = before
            prefetch(nodes + _NODE_BYTES * before)
        for i in range(size):
            time, before = times[begin + i], reached[i]
            while before >= 0 and not is_below(nodes, before, time, with_equal):
                before = previous_of(nodes, before)
                steps -= _ONE
            found[begin + i] = chosen_of(
                nodes, far, firsts, slots[begin + i], before, time, direction, exact, tolerance
            )
        if steps < 0:
            return WALKED - place
    return place
