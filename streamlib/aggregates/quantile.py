"""Quantiles and the median: exact, and by a sketch whose error is relative to the value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.base import Aggregate, refuse
from streamlib.aggregates.moments import as_floats, is_number, require_numbers
from streamlib.aggregates.sorting import LAST
from streamlib.errors import BuildError
from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.columns import decoded_type, values_of
from streamlib.kernels.memory import F64, I64

if TYPE_CHECKING:
    from streamlib.aggregates.accumulators import Buckets, Finished, Rows
    from streamlib.aggregates.plan import Wanted

INTERPOLATIONS = ("nearest", "lower", "higher", "midpoint", "linear")
_EXPECTED = "a column of numbers, booleans, timestamps, dates or durations"
_NEAREST, _LOWER, _HIGHER, _MIDPOINT, _LINEAR = range(5)
_INSERTION_MAX = 16
_STEP, _SHIFT, _HALF = np.uint64(6364136223846793005), np.uint64(1442695040888963407), np.uint64(32)
"""Of the pseudo-random numbers of Knuth's MMIX."""
_INFINITY = np.int64(0x7FF0000000000000)
_MINUS_ZERO = np.int64(-(2**63))
_FINITE_MAX = 1.7976931348623157e308
Int64s = npt.NDArray[np.int64]


def check_quantile(name: str, quantile: float) -> None:
    """Raises BuildError for what is no quantile."""
    if isinstance(quantile, bool) or not isinstance(quantile, (int, float)) or not 0 <= quantile <= 1:  # type: ignore[redundant-expr]
        raise BuildError(f"the quantile of {name} is wrong", expected="0 to 1", got=repr(quantile))


@dataclass(frozen=True, slots=True)
class Quantile(Aggregate):
    """The value below which a part of the values lies; nulls are passed over, NaN is the largest. Exact.

    float64, or a time where the values are times: a date gives a timestamp in microseconds. Null where
    there is no value.

    Attributes:
        quantile: the part, 0 to 1.
        interpolation: what is taken between two values: ``nearest``, ``lower``, ``higher``, ``midpoint``
            or ``linear``.

    >>> Quantile(0.9).result_type(pa.int64())
    DataType(double)
    """

    name = "quantile"
    quantile: float
    interpolation: str = "nearest"

    def __post_init__(self) -> None:
        check_quantile("quantile()", self.quantile)
        if self.interpolation not in INTERPOLATIONS:
            expected = ", ".join(map(repr, INTERPOLATIONS))
            raise BuildError(
                "interpolation= is unknown", expected=f"one of {expected}", got=repr(self.interpolation)
            )

    def arguments(self) -> str:
        more = "" if self.interpolation == "nearest" else f', interpolation="{self.interpolation}"'
        return f"{self.quantile!r}{more}"

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        kind = None if input_type is None else decoded_type(input_type)
        if kind is not None and is_number(kind):
            return pa.float64()
        if kind is not None and pa.types.is_date(kind):
            return pa.timestamp("us")
        if kind is not None and (pa.types.is_timestamp(kind) or pa.types.is_duration(kind)):
            return kind
        hint = 'cast it to "float64" first' if kind is not None and pa.types.is_decimal(kind) else None
        raise refuse(self.name, input_type, _EXPECTED, hint)

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        return (_rows(),)

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import segments

        offsets, values = segments(state.values[_rows()])
        empty = np.diff(offsets) == 0
        rule = INTERPOLATIONS.index(self.interpolation)
        kind = self.result_type(input_type)
        is_float = kind == pa.float64()
        values = as_floats(values) if is_float else values.cast(kind)
        out = np.empty(len(empty), dtype=np.int64)
        room = np.empty(int(np.diff(offsets).max(initial=1)), dtype=np.int64)
        words = values_of(values).view(np.int64)
        write_quantiles(offsets, words, is_float, self.quantile, rule, room, out)
        if is_float:
            return pa.array(out.view(np.float64), mask=empty, from_pandas=False)
        return pa.array(out, mask=empty).view(kind)


@dataclass(frozen=True, slots=True)
class Median(Quantile):
    """The value in the middle, or half-way between the two there; nulls are passed over, NaN is the largest."""

    name = "median"
    quantile: float = 0.5
    interpolation: str = "midpoint"

    def arguments(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class ApproxQuantile(Aggregate):
    """About a quantile, by a DDSketch (Masson et al. 2019): within `error` of the value at that rank.

    Its size goes with the orders of magnitude of the values, not with their number. Sketches merge by
    adding counts, so the result does not depend on the order of rows. NaN is the largest; float64.

    Attributes:
        quantile: the part of the values that lies below, 0 to 1.
        error: of the result, relative to the exact one.
    """

    name = "approx_quantile"
    ERRORS: ClassVar[tuple[float, float]] = (1e-4, 0.5)
    quantile: float
    error: float = 0.01

    def __post_init__(self) -> None:
        check_quantile("approx_quantile()", self.quantile)
        low, high = self.ERRORS
        if not low <= self.error <= high:
            raise BuildError(
                "error= of approx_quantile is out of range",
                expected=f"{low} to {high}",
                got=repr(self.error),
                hint="quantile() is exact",
            )

    def arguments(self) -> str:
        return repr(self.quantile) + ("" if self.error == 0.01 else f", error={self.error!r}")

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        require_numbers(self.name, input_type)
        return pa.float64()

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        return (self._buckets(),)

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import segments
        from streamlib.aggregates.sketch import bucket_values

        offsets, entries = segments(state.values[self._buckets()])
        buckets, counts = (np.ascontiguousarray(values_of(column)) for column in entries.flatten())
        order = np.lexsort((buckets, np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))))
        found = np.zeros(len(offsets) - 1, dtype=np.int64)
        pick_buckets(offsets, buckets[order], counts[order], self.quantile, found)
        empty = np.diff(offsets) == 0
        return pa.array(bucket_values(found, self.error), mask=empty, from_pandas=False)

    def _buckets(self) -> Buckets:
        from streamlib.aggregates.accumulators import Buckets

        return Buckets(error=self.error)


def _rows() -> Rows:
    from streamlib.aggregates.accumulators import Rows

    return Rows()


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


@inline
def select(values: Int64s, count: I64, wanted: I64) -> None:
    """Moves values so that `wanted` stands where it would if sorted, with none larger before it.

    Quickselect (Hoare) with a partition (Lomuto) that has no branches to mispredict. The pivot is the
    median of three values at places that no order of the values foresees. Where no value lies below it,
    those equal to it are parted off, so that ties do no harm.
    """
    low, high = np.int64(0), count
    places = np.uint64(count)
    while high - low > _INSERTION_MAX:
        size = np.uint64(high - low)
        places = places * _STEP + _SHIFT
        a = values[low + np.int64((places >> _HALF) % size)]
        places = places * _STEP + _SHIFT
        b = values[low + np.int64((places >> _HALF) % size)]
        places = places * _STEP + _SHIFT
        c = values[low + np.int64((places >> _HALF) % size)]
        pivot = max(min(a, b), min(max(a, b), c))
        at = low
        for i in range(low, high):
            value = values[i]
            values[i] = values[at]
            values[at] = value
            at += np.int64(value < pivot)
        if at == low:
            for i in range(low, high):
                value = values[i]
                values[i] = values[at]
                values[at] = value
                at += np.int64(value <= pivot)
            if wanted < at:
                return
        if wanted < at:
            high = at
        else:
            low = at
    for i in range(low + 1, high):
        value = values[i]
        k = i - 1
        while k >= low and value < values[k]:
            values[k + 1] = values[k]
            k -= 1
        values[k + 1] = value


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


@kernel("void(ints, ints, boolean, float64, int64, int64[::1], int64[::1])")
def write_quantiles(
    offsets: Int64s, words: Int64s, floats: bool, quantile: F64, rule: I64, room: Int64s, out: Int64s
) -> None:
    """Writes the quantile of each list of values.

    Args:
        offsets: where the lists begin.
        words: the values, the bits of floats or integers.
        room: as long as the longest list.
        out: the same kind of words; of an empty list nothing.
    """
    bits = np.empty(2, dtype=np.int64)
    both = bits.view(np.float64)
    for row in range(len(offsets) - 1):
        begin = offsets[row]
        count = offsets[row + 1] - begin
        if count == 0:
            continue
        if floats:
            for i in range(count):
                word = words[begin + i]
                word = np.int64(0) if word == _MINUS_ZERO else word
                key = word ^ ((word >> np.int64(63)) & np.int64(LAST))
                room[i] = np.int64(LAST) if (word & np.int64(LAST)) > _INFINITY else key
        else:
            for i in range(count):
                room[i] = words[begin + i]
        low, high, part = rank_of(count, quantile, rule)
        select(room, count, low)
        lower = room[low]
        upper = lower
        if high > low:
            upper = room[low + 1]
            for i in range(low + 2, count):
                upper = min(upper, room[i])
        if not floats:
            out[row] = lower if lower == upper else between_times(lower, upper, part)
            continue
        bits[0] = lower ^ ((lower >> np.int64(63)) & np.int64(LAST))
        bits[1] = upper ^ ((upper >> np.int64(63)) & np.int64(LAST))
        if lower != upper:
            both[0] = between(both[0], both[1], part)
        out[row] = bits[0]


@kernel("void(ints, ints, ints, float64, int64[::1])")
def pick_buckets(offsets: Int64s, buckets: Int64s, counts: Int64s, quantile: F64, out: Int64s) -> None:
    """Writes for each key the bucket of the value at the quantile's rank, rounded to the nearest."""
    for row in range(len(offsets) - 1):
        total = np.int64(0)
        for i in range(offsets[row], offsets[row + 1]):
            total += counts[i]
        rank = np.int64(np.float64(total - 1) * quantile + 0.5)
        for i in range(offsets[row], offsets[row + 1]):
            rank -= counts[i]
            if rank < 0:
                out[row] = buckets[i]
                break
