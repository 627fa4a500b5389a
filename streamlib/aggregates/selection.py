"""Quantiles of many lists at once: values go into buckets by their highest bits, and few of them are looked at."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streamlib.aggregates.sorting import LAST
from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.memory import F64, I64, load_f64, load_i64, store_i64

Int64s = npt.NDArray[np.int64]

INTERPOLATIONS = ("nearest", "lower", "higher", "midpoint", "linear")
_NEAREST, _LOWER, _HIGHER, _MIDPOINT, _LINEAR = range(5)
_INSERTION_MAX = 16
_BUCKETS_MAX = 2048
_BUCKETS_OF_ONE = 256
"""Up to so many there is one for each value, then one for two."""
_STEP, _SHIFT, _HALF = np.uint64(6364136223846793005), np.uint64(1442695040888963407), np.uint64(32)
"""Of the pseudo-random numbers of Knuth's MMIX."""
_INFINITY = np.int64(0x7FF0000000000000)
_MINUS_ZERO = np.int64(-(2**63))
_FINITE_MAX = 1.7976931348623157e308
_KEYS_KEPT = 1 << 21
"""A thread keeps the memory of so many keys, 16 MB, for the next call."""
_spare = threading.local()


@inline
def rank_of(count: I64, quantile: F64, rule: I64) -> tuple[I64, I64, F64]:
    """Between which two of `count` sorted values the result lies, and how far from the first, 0 to 1."""
    place = np.float64(count - 1) * quantile
    low = np.int64(place)
    part = place - np.float64(low)
    high = low + 1 if part > 0.0 else low
    if rule == _NEAREST:
        low = np.int64(place + 0.5)
        high = low
    elif rule == _LOWER:
        high = low
    elif rule == _HIGHER:
        low = high
    elif rule == _MIDPOINT:
        part = 0.5
    return low, high, part


def quantiles_of(
    lists: Sequence[tuple[Int64s, Int64s]], wanted: Sequence[tuple[float, str]], floats: bool
) -> Int64s:
    """Quantiles of many lists, in words as those of the values; shape (wanted, lists). 0 for an empty list.

    Args:
        lists: one or several times where lists begin and end, and the words of their values.
        wanted: quantiles, each with one of `INTERPOLATIONS`.
        floats: the words are the bits of floats, not integers.

    >>> quantiles_of([(np.array([0, 3, 4]), np.array([7, 5, 6, 1]))], [(0.5, "lower"), (1.0, "lower")], False)
    array([[6, 1],
           [7, 1]])
    """
    out = np.zeros((len(wanted), sum(len(offsets) - 1 for offsets, _ in lists)), dtype=np.int64)
    quantiles = np.array([quantile for quantile, _ in wanted], dtype=np.float64)
    rules = np.array([INTERPOLATIONS.index(rule) for _, rule in wanted], dtype=np.int64)
    places = np.empty(_BUCKETS_MAX, dtype=np.int64)
    longest = max((int(np.diff(offsets).max(initial=1)) for offsets, _ in lists), default=1)
    room = _memory(2 * longest)
    row = 0
    for offsets, words in lists:
        offsets, words = np.ascontiguousarray(offsets), np.ascontiguousarray(words)
        count = len(offsets) - 1
        write_quantiles(
            count,
            _address(offsets),
            _address(words),
            floats,
            _address(room),
            _address(room[longest:]),
            _address(places),
            _address(quantiles),
            _address(rules),
            len(wanted),
            _address(out) + 8 * row,
            out.shape[1],
        )
        row += count
    _spare.memory = room if len(room) <= _KEYS_KEPT else None
    return out


def _memory(count: int) -> Int64s:
    """Room for so many keys, as a rule that of the calls before: to touch new pages costs as much as to make keys."""
    memory: Int64s | None = getattr(_spare, "memory", None)
    _spare.memory = None
    if memory is None or len(memory) < count:
        memory = np.empty(count + count // 8 + 1, dtype=np.int64)
    return memory


def _address(array: npt.NDArray[Any]) -> int:
    place: int = array.__array_interface__["data"][0]
    return place


@inline
def write_keys(words: I64, count: I64, floats: bool, keys: I64) -> tuple[I64, I64]:
    """Writes integers that compare as values do; returns the smallest and the largest. NaN has the largest of all."""
    low, high = np.int64(LAST), ~np.int64(LAST)
    for i in range(count):
        key = load_i64(words, i)
        if floats:
            key = np.int64(0) if key == _MINUS_ZERO else key
            is_nan = (key & np.int64(LAST)) > _INFINITY
            key ^= (key >> np.int64(63)) & np.int64(LAST)
            key = np.int64(LAST) if is_nan else key
        store_i64(keys, i, key)
        low = min(low, key)
        high = max(high, key)
    return low, high


@inline
def sort_few(keys: I64, count: I64) -> None:
    """Sorts keys by insertion."""
    for i in range(1, count):
        key = load_i64(keys, i)
        k = np.int64(i)
        while k > 0 and key < load_i64(keys, k - 1):
            store_i64(keys, k, load_i64(keys, k - 1))
            k -= 1
        store_i64(keys, k, key)


@inline
def fill_buckets(given: I64, count: I64, low: I64, high: I64, places: I64, keys: I64) -> I64:
    """Puts keys into buckets by their highest bits, the buckets in order, with about one key each.

    Args:
        given: the keys, from `low` to `high`.
        places: becomes where each bucket ends, by address.

    Returns:
        The bucket of a key is what it has above `low`, shifted right by so many bits. With 0 the keys are in order.
    """
    buckets = np.int64(2)  # with one, a shift by 64 bits would be asked for
    while (buckets < count and buckets < _BUCKETS_OF_ONE) or (2 * buckets < count and buckets < _BUCKETS_MAX):
        buckets *= 2
    rest, shift, step = np.uint64(high) - np.uint64(low), np.uint64(0), np.uint64(32)
    while step > np.uint64(0):
        if rest >> (shift + step - np.uint64(1)) >= np.uint64(buckets):
            shift += step
        step >>= np.uint64(1)
    for b in range(buckets):
        store_i64(places, b, 0)
    for i in range(count):
        at = places + 8 * bucket_of(given, i, low, shift)
        store_i64(at, 0, load_i64(at, 0) + 1)
    place = keys
    for b in range(buckets):
        size = load_i64(places, b)
        store_i64(places, b, place)
        place += 8 * size
    for i in range(count):
        at = places + 8 * bucket_of(given, i, low, shift)
        place = load_i64(at, 0)
        store_i64(place, 0, load_i64(given, i))
        store_i64(at, 0, place + 8)
    return shift


@inline
def bucket_of(keys: I64, place: I64, low: I64, shift: I64) -> I64:
    """The bucket of the key at a place."""
    return np.int64((np.uint64(load_i64(keys, place)) - np.uint64(low)) >> shift)


@inline
def bucket_end(keys: I64, place: I64, low: I64, shift: I64, places: I64) -> I64:
    """Where the bucket of the key at a place ends."""
    return (load_i64(places, bucket_of(keys, place, low, shift)) - keys) >> np.int64(3)


@inline
def select(values: I64, low: I64, high: I64, wanted: I64) -> None:
    """Moves values from `low` to before `high` so that `wanted` stands where it would if they were sorted.

    With none larger before it. Quickselect (Hoare) with a partition (Lomuto) that has no branches to
    mispredict. The pivot is the median of three values at places that no order of the values foresees.
    Where no value lies below it, those equal to it are parted off, so that ties do no harm.
    """
    places = np.uint64(high)
    while high - low > _INSERTION_MAX:
        size = np.uint64(high - low)
        places = places * _STEP + _SHIFT
        a = load_i64(values, low + np.int64((places >> _HALF) % size))
        places = places * _STEP + _SHIFT
        b = load_i64(values, low + np.int64((places >> _HALF) % size))
        places = places * _STEP + _SHIFT
        c = load_i64(values, low + np.int64((places >> _HALF) % size))
        pivot = max(min(a, b), min(max(a, b), c))
        at = low
        for i in range(low, high):
            value = load_i64(values, i)
            store_i64(values, i, load_i64(values, at))
            store_i64(values, at, value)
            at += np.int64(value < pivot)
        if at == low:
            for i in range(low, high):
                value = load_i64(values, i)
                store_i64(values, i, load_i64(values, at))
                store_i64(values, at, value)
                at += np.int64(value <= pivot)
            if wanted < at:
                return
        if wanted < at:
            high = at
        else:
            low = at
    for i in range(low + 1, high):
        value = load_i64(values, i)
        k = i - 1
        while k >= low and value < load_i64(values, k):
            store_i64(values, k + 1, load_i64(values, k))
            k -= 1
        store_i64(values, k + 1, value)


@inline
def between(lower: F64, upper: F64, part: F64) -> F64:
    """The value that lies a part of the way from one to the other."""
    if part == 0.5 and abs(lower + upper) <= _FINITE_MAX:
        return (lower + upper) * 0.5
    if abs(upper - lower) <= _FINITE_MAX:
        return lower + (upper - lower) * part
    return lower * (1.0 - part) + upper * part


@inline
def between_times(lower: I64, upper: I64, part: F64) -> I64:
    """As `between`, of integers; rounded down."""
    gap = np.uint64(upper) - np.uint64(lower)
    if part == 0.5:
        return lower + np.int64(gap >> np.uint64(1))
    return lower + np.int64(np.floor(np.float64(gap) * part))


@inline
def settle(keys: I64, rank: I64, further: I64, low: I64, shift: I64, places: I64) -> None:
    """Moves keys within their buckets so that those at `rank` and `further` stand where they would in order.

    Args:
        further: `rank` or the place behind it.
    """
    bucket = bucket_of(keys, rank, low, shift)
    begin = np.int64(0)
    if bucket > 0:
        begin = (load_i64(places, bucket - 1) - keys) >> np.int64(3)
    end = bucket_end(keys, rank, low, shift, places)
    select(keys, begin, end, rank)
    if further > rank:
        if further == end:
            end = bucket_end(keys, further, low, shift, places)
        key = load_i64(keys, further)
        least, at = key, np.int64(further)
        for i in range(further + 1, end):
            other = load_i64(keys, i)
            at = np.int64(i) if other < least else at
            least = min(least, other)
        store_i64(keys, at, key)
        store_i64(keys, further, least)


@kernel("void(int64, int64, int64, boolean, int64, int64, int64, int64, int64, int64, int64, int64)")
def write_quantiles(
    lists: I64,
    offsets: I64,
    words: I64,
    floats: bool,
    room: I64,
    more: I64,
    places: I64,
    quantiles: I64,
    rules: I64,
    wanted: I64,
    out: I64,
    stride: I64,
) -> None:
    """Writes quantiles of each list of values. All by address: an index that depends on data would be looked at.

    The values of a list stay in the first-level cache from their keys to its last quantile.

    Args:
        lists: how many.
        floats: words are the bits of floats.
        room, more: for as many words as the longest list has.
        places: for as many as there are buckets at most.
        quantiles, rules: which are wanted, and how many.
        out: words of the same kind as the values, `stride` of them for each quantile; of an empty list
            nothing is written.
    """
    bits = np.empty(2, dtype=np.int64)
    both = bits.view(np.float64)
    for row in range(lists):
        begin = load_i64(offsets, row)
        count = load_i64(offsets, row + 1) - begin
        if count == 0:
            continue
        least, most = write_keys(words + 8 * begin, count, floats, room)
        keys, shift = room, np.uint64(0)
        if count <= _INSERTION_MAX:
            sort_few(room, count)
        else:
            keys, shift = more, fill_buckets(room, count, least, most, places, more)
        for n in range(wanted):
            rank, further, part = rank_of(count, load_f64(quantiles, n), load_i64(rules, n))
            if shift > np.uint64(0):
                settle(keys, rank, further, least, shift, places)
            lower, upper = load_i64(keys, rank), load_i64(keys, further)
            to = out + 8 * (n * stride + row)
            if not floats:
                store_i64(to, 0, lower if lower == upper else between_times(lower, upper, part))
                continue
            bits[0] = lower ^ ((lower >> np.int64(63)) & np.int64(LAST))
            bits[1] = upper ^ ((upper >> np.int64(63)) & np.int64(LAST))
            if lower != upper:
                both[0] = between(both[0], both[1], part)
            store_i64(to, 0, bits[0])
