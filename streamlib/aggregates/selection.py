"""Quantiles of many lists at once: values go into buckets by their highest bits, and few of them are looked at."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamlib.aggregates.sorting import LAST
from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.memory import F64, I64, load_i64, prefetch, store_i64

Int64s = npt.NDArray[np.int64]

INTERPOLATIONS = ("nearest", "lower", "higher", "midpoint", "linear")
_NEAREST, _LOWER, _HIGHER, _MIDPOINT, _LINEAR = range(5)
_INSERTION_MAX = 16
_BUCKETS_MAX = 2048
_AHEAD = 8
"""For how many lists ahead the values are asked for."""
_STEP, _SHIFT, _HALF = np.uint64(6364136223846793005), np.uint64(1442695040888963407), np.uint64(32)
"""Of the pseudo-random numbers of Knuth's MMIX."""
_INFINITY = np.int64(0x7FF0000000000000)
_MINUS_ZERO = np.int64(-(2**63))
_FINITE_MAX = 1.7976931348623157e308
_KEYS_KEPT = 1 << 21
"""A thread keeps the memory of so many keys, 16 MB, for the next lists."""
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


@dataclass(frozen=True, slots=True, eq=False)
class InBuckets:
    """Lists of values, each put into buckets by the highest bits of their keys, the buckets in order.

    So any number of quantiles of the same values find theirs among a few.

    Attributes:
        offsets: where the lists begin.
        keys: integers that compare as the values do, bucket by bucket. Their memory is used again.
        lows: the smallest key of each list.
        shifts: the bucket of a key is what it has above the smallest, shifted right by so many bits. With 0
            the keys of a list are in order.
    """

    offsets: Int64s
    keys: Int64s
    lows: Int64s
    shifts: Int64s

    @classmethod
    def of(cls, offsets: Int64s, words: Int64s, floats: bool) -> InBuckets:
        """The lists of some values, the bits of floats or integers."""
        lists = len(offsets) - 1
        offsets, words = np.ascontiguousarray(offsets), np.ascontiguousarray(words)
        lows, shifts = np.zeros(lists, dtype=np.int64), np.zeros(lists, dtype=np.int64)
        room = np.empty(int(np.diff(offsets).max(initial=1)), dtype=np.int64)
        keys, places = _memory(len(words)), np.empty(_BUCKETS_MAX, dtype=np.int64)
        arrays = (room, places, keys, lows, shifts)
        fill_buckets(lists, _address(offsets), _address(words), floats, *map(_address, arrays))
        return cls(offsets, keys, lows, shifts)

    def __del__(self) -> None:
        memory = self.keys.base
        if memory is not None and len(memory) <= _KEYS_KEPT:
            _spare.memory = memory

    def quantiles(self, quantile: float, rule: str, floats: bool) -> Int64s:
        """The quantile of each list, in words as those of the values; anything for an empty list.

        Args:
            rule: one of `INTERPOLATIONS`.
        """
        out = np.zeros(len(self.lows), dtype=np.int64)
        offsets, keys = _address(self.offsets), _address(self.keys)
        lows, shifts, to = _address(self.lows), _address(self.shifts), _address(out)
        rule_number = INTERPOLATIONS.index(rule)
        write_quantiles(len(out), offsets, keys, lows, shifts, floats, quantile, rule_number, to)
        return out


def _memory(count: int) -> Int64s:
    """Room for so many keys: that of lists which are gone, where it is large enough.

    To touch new pages costs as much as to make keys.
    """
    memory: Int64s | None = getattr(_spare, "memory", None)
    _spare.memory = None
    if memory is None or len(memory) < count:
        memory = np.empty(count + count // 8 + 1, dtype=np.int64)
    return memory[:count]


def _address(array: Int64s) -> int:
    place: int = array.__array_interface__["data"][0]
    return place


@kernel("void(int64, int64, int64, boolean, int64, int64, int64, int64, int64)")
def fill_buckets(
    lists: I64,
    offsets: I64,
    words: I64,
    floats: bool,
    room: I64,
    places: I64,
    keys: I64,
    lows: I64,
    shifts: I64,
) -> None:
    """Makes keys of words and puts those of each list into buckets, with about two values each.

    All by address: an index that depends on data would be looked at for being negative.

    Args:
        lists: how many.
        room: for as many words as the longest list has.
        places: for as many as there are buckets at most.
    """
    for row in range(lists):
        begin = load_i64(offsets, row)
        count = load_i64(offsets, row + 1) - begin
        given, to = words + 8 * begin, keys + 8 * begin
        low, high = np.int64(LAST), ~np.int64(LAST)
        for i in range(count):
            key = load_i64(given, i)
            if floats:
                key = np.int64(0) if key == _MINUS_ZERO else key
                is_nan = (key & np.int64(LAST)) > _INFINITY
                key ^= (key >> np.int64(63)) & np.int64(LAST)
                key = np.int64(LAST) if is_nan else key
            store_i64(room, i, key)
            low = min(low, key)
            high = max(high, key)
        store_i64(lows, row, low)
        if count <= _INSERTION_MAX:  # no buckets: in order
            for i in range(count):
                key = load_i64(room, i)
                k = np.int64(i)
                while k > 0 and key < load_i64(to, k - 1):
                    store_i64(to, k, load_i64(to, k - 1))
                    k -= 1
                store_i64(to, k, key)
            store_i64(shifts, row, 0)
            continue
        buckets = np.int64(2)  # with one, a shift by 64 bits would be asked for
        while 2 * buckets < count and buckets < _BUCKETS_MAX:
            buckets *= 2
        rest, shift = np.uint64(high) - np.uint64(low), np.uint64(0)
        step = np.uint64(32)
        while step > np.uint64(0):
            if rest >> (shift + step - np.uint64(1)) >= np.uint64(buckets):
                shift += step
            step >>= np.uint64(1)
        store_i64(shifts, row, np.int64(shift))
        for b in range(buckets):
            store_i64(places, b, 0)
        for i in range(count):
            bucket = np.int64((np.uint64(load_i64(room, i)) - np.uint64(low)) >> shift)
            store_i64(places, bucket, load_i64(places, bucket) + 1)
        place = to
        for b in range(buckets):
            size = load_i64(places, b)
            store_i64(places, b, place)
            place += 8 * size
        for i in range(count):
            key = load_i64(room, i)
            bucket = np.int64((np.uint64(key) - np.uint64(low)) >> shift)
            place = load_i64(places, bucket)
            store_i64(place, 0, key)
            store_i64(places, bucket, place + 8)


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
def bucket_of(keys: I64, place: I64, low: I64, shift: I64) -> I64:
    """The bucket of the key at a place."""
    return (np.uint64(load_i64(keys, place)) - np.uint64(low)) >> np.uint64(shift)


@inline
def bucket_end(keys: I64, place: I64, end: I64, low: I64, shift: I64) -> I64:
    """Where the bucket of the key at `place` ends, before `end` or there."""
    bucket = bucket_of(keys, place, low, shift)
    place += 1
    while place < end and bucket_of(keys, place, low, shift) == bucket:
        place += 1
    return place


@inline
def bucket_begin(keys: I64, place: I64, begin: I64, low: I64, shift: I64) -> I64:
    """Where the bucket of the key at `place` begins, at `begin` or behind."""
    bucket = bucket_of(keys, place, low, shift)
    while place > begin and bucket_of(keys, place - 1, low, shift) == bucket:
        place -= 1
    return place


@kernel("void(int64, int64, int64, int64, int64, boolean, float64, int64, int64)")
def write_quantiles(
    lists: I64,
    offsets: I64,
    keys: I64,
    lows: I64,
    shifts: I64,
    floats: bool,
    quantile: F64,
    rule: I64,
    out: I64,
) -> None:
    """Writes the quantile of each list of values.

    Args:
        lists: how many.
        offsets, keys, lows, shifts: addresses of those of `InBuckets`; keys move within their bucket.
        floats: the keys are those of floats.
        out: address of words of the same kind as the values; of an empty list nothing is written.
    """
    bits = np.empty(2, dtype=np.int64)
    both = bits.view(np.float64)
    for row in range(lists):
        begin, end = load_i64(offsets, row), load_i64(offsets, row + 1)
        ahead = min(row + _AHEAD, lists - 1)
        from_, until = load_i64(offsets, ahead), load_i64(offsets, ahead + 1)
        prefetch(keys + 8 * (from_ + np.int64(np.float64(until - from_) * quantile)))
        if begin == end:
            continue
        low, high, part = rank_of(end - begin, quantile, rule)
        low, high = begin + low, begin + high
        least_key, shift = load_i64(lows, row), load_i64(shifts, row)
        if shift > 0:
            first = bucket_begin(keys, low, begin, least_key, shift)
            last = bucket_end(keys, low, end, least_key, shift)
            select(keys, first, last, low)
            if high > low:
                if high == last:
                    last = bucket_end(keys, high, end, least_key, shift)
                least = np.int64(high)
                for i in range(high + 1, last):
                    least = np.int64(i) if load_i64(keys, i) < load_i64(keys, least) else least
                key = load_i64(keys, high)
                store_i64(keys, high, load_i64(keys, least))
                store_i64(keys, least, key)
        lower, upper = load_i64(keys, low), load_i64(keys, high)
        if not floats:
            store_i64(out, row, lower if lower == upper else between_times(lower, upper, part))
            continue
        bits[0] = lower ^ ((lower >> np.int64(63)) & np.int64(LAST))
        bits[1] = upper ^ ((upper >> np.int64(63)) & np.int64(LAST))
        if lower != upper:
            both[0] = between(both[0], both[1], part)
        store_i64(out, row, bits[0])
