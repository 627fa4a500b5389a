"""The rows of an as-of join that can still be matched, moved to the front of all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import kernel
from streamlib.kernels.asof import slot_of, time_of
from streamlib.kernels.memory import I64, load_i64, store_i64

Int64s = npt.NDArray[np.int64]

_ONE = np.int64(1)
_HALF = np.int64(32)


@kernel("int64(int64, int64, int64, int64, boolean, uint8[::1], int64[::1])")
def living_nodes(
    nodes: I64,
    count: I64,
    since: I64,
    low: I64,
    keeps_last: bool,
    seen: npt.NDArray[np.uint8],
    out: Int64s,
) -> I64:
    """Writes the nodes that a row at `since` or later can be matched with to the end of `out`.

    Args:
        count: how many nodes there are.
        since: the time from which on all are kept, ns.
        low: the time from which on the last one of a slot before `since` is kept, ns.
        keeps_last: whether that one is kept at all.
        seen: by slot, zeros to work with.

    Returns:
        Where they begin in `out`.
    """
    begin = count
    for node in range(count - 1, -1, -1):
        time = time_of(nodes, node)
        lives = time >= since
        if not lives and keeps_last:
            slot = slot_of(nodes, node)
            lives = seen[slot] == 0 and time >= low
            seen[slot] = 1
        if lives:
            begin -= 1
            out[begin] = node
    return begin


@kernel("void(ints, int64, int64, int64, int64, int64)")
def keep_nodes(living: Int64s, nodes: I64, heads: I64, firsts: I64, columns: I64, words: I64) -> None:
    """Moves some nodes and their values to the front, and chains them.

    Args:
        living: of the nodes, ascending; they become nodes 0, 1, 2 and so on.
        nodes: as `append_nodes` writes them.
        heads, firsts: likewise; -1 for all slots.
        columns: how many values a node has.
        words: address of the values: those of a node lie side by side.
    """
    for node in range(len(living)):
        source = living[node]
        slot = slot_of(nodes, source)
        before = load_i64(heads, slot)
        if before < 0:
            store_i64(firsts, slot, node)
        store_i64(nodes, 2 * node, time_of(nodes, source))
        store_i64(nodes, 2 * node + 1, (slot << _HALF) | (before + _ONE))
        store_i64(heads, slot, node)
        for column in range(columns):
            store_i64(words, node * columns + column, load_i64(words, source * columns + column))
