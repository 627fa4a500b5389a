"""The row of a key as of a time: chains through time.

Rows of one key come in the order of time and are chained. Many rows are matched at once by sweeping
through time, in its order. Few are searched for one by one: besides its neighbours a row knows one far back, chosen
as in a skew-binary list (E. W. Myers, An applicative random-access stack, Information Processing Letters
17, 1983), so that a search takes O(log n) steps and an append O(1).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.memory import I64

Int64s = npt.NDArray[np.int64]

NODE_WORDS = 4
TIME, LINKS, NEXT, PLACE = range(NODE_WORDS)
"""The words of a row's node. LINKS: the one before it and the one far back, each plus one, in its halves.
PLACE: its slot and, in the low half, its depth in the chain."""

BACKWARD, FORWARD, NEAREST = range(3)
UNLIMITED = -1
"""The tolerance that everything is within."""

UNSORTED = -2
"""What `match_nodes` returns when rows have to be sorted first."""
_SWEEP = 8
"""A sweep may pass that many nodes for each row: beyond that single searches are cheaper."""

_NONE = np.int64(-1)
_LATEST = np.int64(2**63 - 1)
_ONE = np.int64(1)
_HALF = np.int64(32)
_LOW_HALF = np.int64(0xFFFFFFFF)


@inline
def previous_of(nodes: Int64s, node: I64) -> I64:
    """The node before one in its chain; -1 where there is none."""
    return (nodes[node, LINKS] >> _HALF) - _ONE


@inline
def jump_of(nodes: Int64s, node: I64) -> I64:
    """The node that one's long link leads to; -1 where there is none."""
    return (nodes[node, LINKS] & _LOW_HALF) - _ONE


@inline
def depth_of(nodes: Int64s, node: I64) -> I64:
    """How many nodes are before one in its chain."""
    return nodes[node, PLACE] & _LOW_HALF


@kernel("void(ints, ints, int64[:, ::1], int64[::1], int64[::1], int64)")
def append_nodes(
    slots: Int64s, times: Int64s, nodes: Int64s, heads: Int64s, firsts: Int64s, begin: I64
) -> None:
    """Chains rows, in the order of time by slot, as nodes `begin` and following.

    Args:
        heads: by slot, its newest node; -1 where there is none.
        firsts: by slot, its oldest node; -1 where there is none.
    """
    for i in range(len(slots)):
        slot = slots[i]
        node, before = begin + i, heads[slot]
        jump, depth = before, np.int64(0)
        if before >= 0:
            nodes[before, NEXT] = node
            depth = depth_of(nodes, before) + _ONE
            far = jump_of(nodes, before)
            if far >= 0:
                further = jump_of(nodes, far)
                reach = depth_of(nodes, before) - depth_of(nodes, far)
                if further >= 0 and reach == depth_of(nodes, far) - depth_of(nodes, further):
                    jump = further
        else:
            firsts[slot] = node
        nodes[node, TIME] = times[i]
        nodes[node, LINKS] = ((before + _ONE) << _HALF) | (jump + _ONE)
        nodes[node, NEXT] = _NONE
        nodes[node, PLACE] = (slot << _HALF) | depth
        heads[slot] = node


@inline
def last_below(nodes: Int64s, head: I64, time: I64, with_equal: bool) -> I64:
    """The last node of a chain before a time, or at it; -1 where there is none."""
    node = head
    while node >= 0:
        at = nodes[node, TIME]
        if at < time or (at == time and with_equal):
            break
        far = jump_of(nodes, node)
        node = previous_of(nodes, node)
        if far >= 0:
            at = nodes[far, TIME]
            if not (at < time or (at == time and with_equal)):
                node = far
    return node


@inline
def _is_below(nodes: Int64s, node: I64, time: I64, with_equal: bool) -> bool:
    """Whether a node is before a time, or at it."""
    at = nodes[node, TIME]
    return bool(at < time or (at == time and with_equal))


@inline
def count_below(nodes: Int64s, count: I64, time: I64, with_equal: bool) -> I64:
    """How many of all nodes, in the order of time, are before a time, or at it."""
    low, high = np.int64(0), count
    while low < high:
        middle = (low + high) >> _ONE
        at = nodes[middle, TIME]
        if at < time or (at == time and with_equal):
            low = middle + _ONE
        else:
            high = middle
    return low


@inline
def chosen_of(
    nodes: Int64s, before: I64, after: I64, time: I64, direction: I64, exact: bool, tolerance: I64
) -> I64:
    """Which of the nodes around a time is its match; -1 for none."""
    if direction == BACKWARD:
        if before >= 0 and tolerance >= 0:
            if np.uint64(time) - np.uint64(nodes[before, TIME]) > np.uint64(tolerance):
                return _NONE
        return before
    while after >= 0 and not exact and nodes[after, TIME] == time:
        after = nodes[after, NEXT]
    chosen, distance = before, np.uint64(0)
    if before >= 0:
        distance = np.uint64(time) - np.uint64(nodes[before, TIME])
    if after >= 0:
        ahead = np.uint64(nodes[after, TIME]) - np.uint64(time)
        if direction == FORWARD or before < 0 or ahead < distance:
            chosen, distance = after, ahead
    elif direction == FORWARD:
        chosen = _NONE
    return _NONE if tolerance >= 0 and distance > np.uint64(tolerance) else chosen


@kernel(
    "int64(ints, ints, int64[:, ::1], int64, ints, ints, int64[::1], int64, int64, boolean, int64, int64[::1])"
)
def match_nodes(
    slots: Int64s,
    times: Int64s,
    nodes: Int64s,
    count: I64,
    heads: Int64s,
    firsts: Int64s,
    cursors: Int64s,
    place: I64,
    direction: I64,
    exact: bool,
    tolerance: I64,
    found: Int64s,
) -> I64:
    """Writes to `found` the node that each row is matched with, -1 for none.

    The rows sweep through time with a cursor: by slot the last node passed. It goes back where a row is
    before the last one, so rows should come in few runs that rise. Where it had to go far for few rows,
    each row is searched for instead.

    Args:
        times: of the rows, in runs that rise.
        count: how many nodes there are; in the order of time when `place` is not negative.
        heads, firsts: by slot, its newest and its oldest node.
        cursors: by slot, its last node before `place`.
        place: how many nodes the cursor has passed; -1 for searches.
        direction: BACKWARD, FORWARD or NEAREST.
        exact: whether a node of the very time of a row counts.
        tolerance: how far away it may be, ns; or UNLIMITED.

    Returns:
        How many nodes the cursor has passed now; -1 after searches, and UNSORTED where the runs are so many
        that rows have to be sorted first: nothing is found yet.
    """
    with_equal = exact == (direction != FORWARD)
    rows = len(times)
    if place >= 0 and rows > 0:
        low, high, falls = times[0], times[0], np.int64(0)
        for i in range(1, rows):
            falls += np.int64(times[i] < times[i - 1])
            low, high = min(low, times[i]), max(high, times[i])
        begin = count_below(nodes, count, low, with_equal)
        swept = count_below(nodes, count, high, with_equal) - begin
        if falls > 0 and falls * swept > _SWEEP * rows:
            return UNSORTED
        if abs(begin - place) + swept > _SWEEP * rows:
            place = _NONE
    if place < 0:
        for i in range(rows):
            before = last_below(nodes, heads[slots[i]], times[i], with_equal)
            after = nodes[before, NEXT] if before >= 0 else firsts[slots[i]]
            found[i] = chosen_of(nodes, before, after, times[i], direction, exact, tolerance)
        return _NONE
    reached = _LATEST
    for i in range(rows):
        time = times[i]
        if time < reached:
            while place > 0 and not _is_below(nodes, place - _ONE, time, with_equal):
                place -= _ONE
                cursors[nodes[place, PLACE] >> _HALF] = previous_of(nodes, place)
        reached = time
        while place < count:
            at = nodes[place, TIME]
            if at > time or (at == time and not with_equal):
                break
            cursors[nodes[place, PLACE] >> _HALF] = place
            place += _ONE
        before = cursors[slots[i]]
        if direction == BACKWARD:
            found[i] = chosen_of(nodes, before, _NONE, time, BACKWARD, exact, tolerance)
        else:
            after = nodes[before, NEXT] if before >= 0 else firsts[slots[i]]
            found[i] = chosen_of(nodes, before, after, time, direction, exact, tolerance)
    return place


@kernel("int64(int64[:, ::1], int64, int64, int64, boolean, uint8[::1], int64[::1])")
def living_nodes(
    nodes: Int64s,
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
