"""The row of a key as of a time: chains through time.

Rows of one key come in the order of time and are chained. Many rows are matched at once by sweeping
through time; for that they need to be in a rough order only: what a sweep has passed too much is walked
back by the key's chain. Few rows are searched for one by one: besides its neighbours a row then knows one
far back, chosen as in a skew-binary list (E. W. Myers, An applicative random-access stack, Information
Processing Letters 17, 1983), so that a search takes O(log n) steps and an append O(1). Those links are made
when the first search needs them.

Nodes and columns by slot are given by address: an array that is handed to a helper has its references counted, by
atomic instructions, and that took three quarters of the time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.memory import I64, load_i64, prefetch, store_i64

Int64s = npt.NDArray[np.int64]

NODE_WORDS = 2
TIME, LINK = range(NODE_WORDS)
"""The words of a row's node. LINK: its slot and, in the low half, the node before it in its chain plus one."""
FAR_WORDS = 2

BACKWARD, FORWARD, NEAREST = range(3)
UNLIMITED = -1
"""The tolerance that everything is within."""

UNSORTED = -2
"""What `match_roughly` returns, less the place of the cursor, when rows have to be sorted first."""
SWEEP = 8
"""A sweep may pass that many nodes for each row: beyond that single searches are cheaper."""
BUCKET_BITS = 11
"""A rough order has so many stretches of time, as a power of two."""
_BLOCK = 64
_WALK = 4
"""So many steps back for each row are cheaper than to sort."""

_NONE = np.int64(-1)
_LATEST = np.int64(2**63 - 1)
_ONE = np.int64(1)
_HALF = np.int64(32)
_LOW_HALF = np.int64(0xFFFFFFFF)


@inline
def time_of(nodes: I64, node: I64) -> I64:
    """The time of a node."""
    return load_i64(nodes, 2 * node)


@inline
def slot_of(nodes: I64, node: I64) -> I64:
    """The slot of a node."""
    return load_i64(nodes, 2 * node + 1) >> _HALF


@inline
def previous_of(nodes: I64, node: I64) -> I64:
    """The node before one in its chain; -1 where there is none."""
    return (load_i64(nodes, 2 * node + 1) & _LOW_HALF) - _ONE


@inline
def next_of(far: I64, node: I64) -> I64:
    """The node behind one in its chain; -1 where there is none."""
    return load_i64(far, 2 * node)


@inline
def jump_of(far: I64, node: I64) -> I64:
    """The node that one's long link leads to; -1 where there is none."""
    return (load_i64(far, 2 * node + 1) >> _HALF) - _ONE


@inline
def depth_of(far: I64, node: I64) -> I64:
    """How many nodes are before one in its chain."""
    return load_i64(far, 2 * node + 1) & _LOW_HALF


@kernel("void(ints, ints, int64, int64, int64, int64)")
def append_nodes(slots: Int64s, times: Int64s, nodes: I64, heads: I64, firsts: I64, begin: I64) -> None:
    """Chains rows, in the order of time by slot, as nodes `begin` and following.

    Args:
        nodes: address of the nodes: of each its time, and its slot above the node before it in its chain plus one.
        heads: address, by slot, of its newest node; -1 where there is none.
        firsts: likewise of its oldest node.
    """
    for i in range(len(slots)):
        slot = slots[i]
        node, before = begin + i, load_i64(heads, slot)
        if before < 0:
            store_i64(firsts, slot, node)
        store_i64(nodes, 2 * node, times[i])
        store_i64(nodes, 2 * node + 1, (slot << _HALF) | (before + _ONE))
        store_i64(heads, slot, node)


@kernel("void(ints, ints, ints, int64, int64, int64, int64, int64, int64)")
def append_placed(
    codes: Int64s,
    times: Int64s,
    parts: Int64s,
    columns: I64,
    nodes: I64,
    heads: I64,
    firsts: I64,
    begin: I64,
    words: I64,
) -> None:
    """As `append_nodes`, for rows that lie in several batches, with their values.

    Args:
        codes: of the rows: the number of the batch above 32 bits of the row in it.
        parts: for each batch the address of its slots, and those of its columns of 8-byte values.
        columns: how many of these there are.
        words: address of the values: those of a node lie side by side.
    """
    count, width = np.int64(len(codes)), columns + _ONE
    for start in range(0, count, _BLOCK):
        size = min(np.int64(_BLOCK), count - start)
        for at in range(width):
            for i in range(size):
                code = codes[start + i]
                source = parts[(code >> _HALF) * width + at] + ((code & _LOW_HALF) << 3)
                prefetch(source)
        for i in range(size):
            code = codes[start + i]
            slot = load_i64(parts[(code >> _HALF) * width], code & _LOW_HALF)
            node, before = begin + start + i, load_i64(heads, slot)
            if before < 0:
                store_i64(firsts, slot, node)
            store_i64(nodes, 2 * node, times[start + i])
            store_i64(nodes, 2 * node + 1, (slot << _HALF) | (before + _ONE))
            store_i64(heads, slot, node)
        for column in range(columns):
            for i in range(size):
                code = codes[start + i]
                source = parts[(code >> _HALF) * width + _ONE + column]
                store_i64(words, (begin + start + i) * columns + column, load_i64(source, code & _LOW_HALF))


@kernel("void(int64, int64, int64, int64)")
def link_nodes(nodes: I64, far: I64, begin: I64, end: I64) -> None:
    """Gives nodes `begin` to `end` what searches need; those before them have it.

    Args:
        far: address of the links: the node behind a node; and the one far back plus one, above its depth.
    """
    for node in range(begin, end):
        before = previous_of(nodes, node)
        jump, depth = before, np.int64(0)
        if before >= 0:
            store_i64(far, 2 * before, node)
            depth = depth_of(far, before) + _ONE
            further = jump_of(far, before)
            if further >= 0:
                furthest = jump_of(far, further)
                reach = depth_of(far, before) - depth_of(far, further)
                if furthest >= 0 and reach == depth_of(far, further) - depth_of(far, furthest):
                    jump = furthest
        store_i64(far, 2 * node, _NONE)
        store_i64(far, 2 * node + 1, ((jump + _ONE) << _HALF) | depth)


@inline
def is_below(nodes: I64, node: I64, time: I64, with_equal: bool) -> bool:
    """Whether a node is before a time, or at it; without a branch."""
    at = time_of(nodes, node)
    return bool((at < time) | ((at == time) & with_equal))


@inline
def last_below(nodes: I64, far: I64, head: I64, time: I64, with_equal: bool) -> I64:
    """The last node of a chain before a time, or at it; -1 where there is none."""
    node = head
    while node >= 0 and not is_below(nodes, node, time, with_equal):
        further = jump_of(far, node)
        node = previous_of(nodes, node)
        if further >= 0 and not is_below(nodes, further, time, with_equal):
            node = further
    return node


@inline
def count_below(nodes: I64, count: I64, time: I64, with_equal: bool) -> I64:
    """How many of all nodes, in the order of time, are before a time, or at it."""
    low, high = np.int64(0), count
    while low < high:
        middle = (low + high) >> _ONE
        if is_below(nodes, middle, time, with_equal):
            low = middle + _ONE
        else:
            high = middle
    return low


@inline
def chosen_of(
    nodes: I64,
    far: I64,
    firsts: I64,
    slot: I64,
    before: I64,
    time: I64,
    direction: I64,
    exact: bool,
    tolerance: I64,
) -> I64:
    """Which node of a slot is the match of a time, of which `before` is the last before it; -1 for none."""
    if direction == BACKWARD:
        at = time_of(nodes, max(before, np.int64(0)))
        is_near = np.uint64(time) - np.uint64(at) <= np.uint64(tolerance)
        return before | (np.int64(is_near) - _ONE)
    after = next_of(far, before) if before >= 0 else load_i64(firsts, slot)
    while after >= 0 and not exact and time_of(nodes, after) == time:
        after = next_of(far, after)
    chosen, distance = before, np.uint64(0)
    if before >= 0:
        distance = np.uint64(time) - np.uint64(time_of(nodes, before))
    if after >= 0:
        ahead = np.uint64(time_of(nodes, after)) - np.uint64(time)
        if direction == FORWARD or before < 0 or ahead < distance:
            chosen, distance = after, ahead
    elif direction == FORWARD:
        chosen = _NONE
    return _NONE if distance > np.uint64(tolerance) else chosen


@inline
def counts_equal(direction: I64, exact: bool) -> bool:
    """Whether the last node before a row may be one of its very time."""
    return bool(exact == (direction != FORWARD))


@inline
def place_behind(nodes: I64, cursors: I64, place: I64, time: I64, with_equal: bool) -> I64:
    """Takes the cursor back to where all nodes passed are before a time, or at it."""
    while place > 0 and not is_below(nodes, place - _ONE, time, with_equal):
        place -= _ONE
        store_i64(cursors, slot_of(nodes, place), previous_of(nodes, place))
    return place


@inline
def place_ahead(nodes: I64, count: I64, cursors: I64, place: I64, time: I64, with_equal: bool) -> I64:
    """Has the cursor pass all nodes before a time, or at it."""
    while place < count and is_below(nodes, place, time, with_equal):
        store_i64(cursors, slot_of(nodes, place), place)
        place += _ONE
    return place


@kernel("void(ints, int64, int64, boolean, int64[::1])")
def survey(times: Int64s, nodes: I64, count: I64, with_equal: bool, out: Int64s) -> None:
    """Writes to `out` what a sweep for rows, at least one, would meet.

    That is the earliest and the latest time, how often times fall, how many nodes are before the earliest, and
    how many lie between.
    """
    low, high, falls = times[0], times[0], np.int64(0)
    for i in range(1, len(times)):
        falls += np.int64(times[i] < times[i - 1])
        low, high = min(low, times[i]), max(high, times[i])
    out[0], out[1], out[2] = low, high, falls
    out[3] = count_below(nodes, count, low, with_equal)
    out[4] = count_below(nodes, count, high, with_equal) - out[3]


@kernel("void(ints, ints, int64, int64, int64, int64, int64, boolean, int64, int64[::1])")
def search_nodes(
    slots: Int64s,
    times: Int64s,
    nodes: I64,
    far: I64,
    heads: I64,
    firsts: I64,
    direction: I64,
    exact: bool,
    tolerance: I64,
    found: Int64s,
) -> None:
    """Writes to `found` the node that each row is matched with, -1 for none: row by row. There is one node at least.

    Args:
        nodes, heads, firsts: as `append_nodes` writes them.
        far: as `link_nodes` writes it, of all nodes.
        direction: BACKWARD, FORWARD or NEAREST.
        exact: whether a node of the very time of a row counts.
        tolerance: how far away it may be, ns; or UNLIMITED.
    """
    with_equal = counts_equal(direction, exact)
    for i in range(len(times)):
        before = last_below(nodes, far, load_i64(heads, slots[i]), times[i], with_equal)
        found[i] = chosen_of(nodes, far, firsts, slots[i], before, times[i], direction, exact, tolerance)


@kernel("int64(ints, ints, int64, int64, int64, int64, int64, int64, int64, boolean, int64, int64[::1])")
def match_nodes(
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
    found: Int64s,
) -> I64:
    """Writes to `found` the node that each row is matched with, -1 for none: in one sweep through time.

    The rows sweep with a cursor: by slot the last node passed. It goes back where a row is before the last one.

    Args:
        times: of the rows, in few runs that rise.
        far: of all nodes, as `link_nodes` writes it; not read for BACKWARD.
        count: how many nodes there are, in the order of time.
        firsts: address, by slot, of its oldest node.
        cursors: address, by slot, of its last node before `place`.
        place: how many nodes the cursor has passed.
        direction, exact, tolerance: as for `search_nodes`.

    Returns:
        How many nodes the cursor has passed now.
    """
    with_equal = counts_equal(direction, exact)
    reached = _LATEST
    for i in range(len(times)):
        time, slot = times[i], slots[i]
        if time < reached:
            place = place_behind(nodes, cursors, place, time, with_equal)
        reached = time
        place = place_ahead(nodes, count, cursors, place, time, with_equal)
        before = load_i64(cursors, slot)
        found[i] = chosen_of(nodes, far, firsts, slot, before, time, direction, exact, tolerance)
    return place


@kernel(
    "int64(ints, ints, int64, int64, int64, int64, int64, int64, int64, boolean, int64, int64, int64, int64,"
    " int64, int64[::1])"
)
def match_roughly(
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
    ordered: I64,
    found: Int64s,
) -> I64:
    """As `match_nodes`, for rows in any order: they are put into 2**BUCKET_BITS stretches of time first.

    The cursor passes a whole stretch; a row goes back from there by its chain.

    Args:
        low, high: the earliest and the latest time, less than 2**62 ns apart.
        shift: a stretch is 2**shift ns.
        ordered: address of two words for each row, to work with.

    Returns:
        How many nodes the cursor has passed now; UNSORTED less that where rows had to go back too far.
    """
    with_equal = counts_equal(direction, exact)
    ends = np.zeros((1 << BUCKET_BITS) + 1, dtype=np.int64)
    for i in range(len(times)):
        ends[((times[i] - low) >> shift) + _ONE] += _ONE
    for bucket in range(1, len(ends)):
        ends[bucket] += ends[bucket - 1]
    for i in range(len(times)):
        bucket = (times[i] - low) >> shift
        at = ends[bucket]
        ends[bucket] = at + _ONE
        store_i64(ordered, 2 * at, times[i])
        store_i64(ordered, 2 * at + 1, (slots[i] << _HALF) | i)
    place = place_behind(nodes, cursors, place, low, with_equal)
    row, steps = np.int64(0), np.int64(_WALK * len(times))
    for bucket in range(len(ends) - 1):
        end = ends[bucket]
        if end == row:
            continue
        reach = ((np.int64(bucket) + _ONE) << shift) - _ONE
        bound = high if reach >= high - low else low + reach
        place = place_ahead(nodes, count, cursors, place, bound, with_equal)
        while row < end:
            time, slot = load_i64(ordered, 2 * row), load_i64(ordered, 2 * row + 1) >> _HALF
            before = load_i64(cursors, slot)
            while before >= 0 and not is_below(nodes, before, time, with_equal):
                before = previous_of(nodes, before)
                steps -= _ONE
            found[load_i64(ordered, 2 * row + 1) & _LOW_HALF] = chosen_of(
                nodes, far, firsts, slot, before, time, direction, exact, tolerance
            )
            row += _ONE
        if steps < 0:
            return UNSORTED - place
    return place
