"""The row of a key as of a time: chains through time, searched in logarithmic time.

Rows of one key come in the order of time and are chained, the newest first. Besides the one before it
a row knows one far back, chosen as in a skew-binary list (E. W. Myers, An applicative random-access
stack, Information Processing Letters 17, 1983): a search takes O(log n) steps, an append O(1), and
nothing is ever changed that was written.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.memory import I64

Int64s = npt.NDArray[np.int64]

NODE_WORDS = 4
TIME, PREVIOUS, JUMP, PLACE = range(NODE_WORDS)
"""The words of a row's node; PLACE is its slot and, in the low half, its depth in the chain."""

BACKWARD, FORWARD, NEAREST = range(3)
UNLIMITED = -1
"""The tolerance that everything is within."""

_NONE = np.int64(-1)
_HALF = np.int64(32)
_LOW_HALF = np.int64(0xFFFFFFFF)


@kernel("void(ints, ints, int64[:, ::1], int64[::1], int64)")
def append_nodes(slots: Int64s, times: Int64s, nodes: Int64s, heads: Int64s, begin: I64) -> None:
    """Chains rows, in the order of time by slot, as nodes `begin` and following.

    Args:
        heads: by slot, its newest node; -1 where there is none.
    """
    for i in range(len(slots)):
        slot = slots[i]
        before = heads[slot]
        jump, depth = before, np.int64(0)
        if before >= 0:
            depth = (nodes[before, PLACE] & _LOW_HALF) + 1
            far = nodes[before, JUMP]
            if far >= 0 and nodes[far, JUMP] >= 0:
                further = nodes[far, JUMP]
                reach = (nodes[before, PLACE] & _LOW_HALF) - (nodes[far, PLACE] & _LOW_HALF)
                if reach == (nodes[far, PLACE] & _LOW_HALF) - (nodes[further, PLACE] & _LOW_HALF):
                    jump = further
        node = begin + i
        nodes[node, TIME] = times[i]
        nodes[node, PREVIOUS] = before
        nodes[node, JUMP] = jump
        nodes[node, PLACE] = (slot << _HALF) | depth
        heads[slot] = node


@inline
def search(nodes: Int64s, head: I64, time: I64, with_equal: bool) -> tuple[I64, I64]:
    """The first node of a chain after a time and the last one before it; -1 where there is none.

    Args:
        with_equal: whether nodes of that very time count as after it.
    """
    after, node = _NONE, head
    while node >= 0:
        at = nodes[node, TIME]
        if at < time or (at == time and not with_equal):
            break
        after = node
        far = nodes[node, JUMP]
        node = nodes[node, PREVIOUS]
        if far >= 0:
            at = nodes[far, TIME]
            if at > time or (at == time and with_equal):
                node = far
    return after, node


@kernel("void(ints, ints, int64[:, ::1], ints, int64, boolean, int64, int64[::1])")
def match_nodes(
    slots: Int64s,
    times: Int64s,
    nodes: Int64s,
    heads: Int64s,
    direction: I64,
    exact: bool,
    tolerance: I64,
    found: Int64s,
) -> None:
    """Writes to `found` the node that each row is matched with, -1 for none.

    Args:
        direction: BACKWARD, FORWARD or NEAREST.
        exact: whether a node of the very time of a row counts.
        tolerance: how far away it may be, ns; or UNLIMITED.
    """
    limited, limit = tolerance >= 0, np.uint64(max(tolerance, np.int64(0)))
    for i in range(len(slots)):
        time, head = times[i], heads[slots[i]]
        after, before = search(nodes, head, time, exact == (direction == FORWARD))
        if direction == NEAREST and not exact:
            after, _ = search(nodes, head, time, False)
            _, before = search(nodes, head, time, True)
        ahead = np.uint64(0) if after < 0 else np.uint64(nodes[after, TIME]) - np.uint64(time)
        behind = np.uint64(0) if before < 0 else np.uint64(time) - np.uint64(nodes[before, TIME])
        chosen, distance = before, behind
        if direction == FORWARD or (direction == NEAREST and after >= 0 and (before < 0 or ahead < behind)):
            chosen, distance = after, ahead
        found[i] = _NONE if limited and distance > limit else chosen


@kernel("int64(int64[:, ::1], int64, int64, int64, boolean, uint8[::1], int64[::1])")
def living_nodes(
    nodes: Int64s, count: I64, since: I64, low: I64, keeps_last: bool, seen: npt.NDArray[np.uint8], out: Int64s
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
        time = nodes[node, TIME]
        lives = time >= since
        if not lives and keeps_last:
            slot = nodes[node, PLACE] >> _HALF
            lives = seen[slot] == 0 and time >= low
            seen[slot] = 1
        if lives:
            begin -= 1
            out[begin] = node
    return begin
