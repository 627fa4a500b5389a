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
_FINITE_MAX = 1.7976931348623157e308
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


def check_quantile(name: str, quantile: float) -> None:
    """Raises BuildError for what is no quantile."""
    if isinstance(quantile, bool) or not isinstance(quantile, (int, float)) or not 0 <= quantile <= 1:
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
        if kind == pa.float64():
            floats = values_of(as_floats(values))
            out = np.empty(len(empty), dtype=np.float64)
            write_quantiles(offsets, floats, self.quantile, rule, np.empty(_longest(offsets)), out)
            return pa.array(out, mask=empty, from_pandas=False)
        if pa.types.is_date(values.type):
            values = values.cast(kind)
        times = np.empty(len(empty), dtype=np.int64)
        room = np.empty(_longest(offsets), dtype=np.int64)
        write_time_quantiles(offsets, values_of(values.cast(pa.int64())), self.quantile, rule, room, times)
        return pa.array(times, mask=empty).view(kind)


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


def _longest(offsets: Int64s) -> int:
    return int(np.diff(offsets).max(initial=1))


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
def is_below(a: F64, b: F64) -> bool:
    """Whether `a` comes before `b`, NaN being the largest."""
    return bool(a < b or (a == a and b != b))


@inline
def select(values: Float64s, count: I64, wanted: I64) -> None:
    """Moves values so that `wanted` stands where it would if sorted, with none larger before it (Hoare)."""
    low, high = np.int64(0), count - 1
    while high - low > _INSERTION_MAX:
        middle = (low + high) >> 1
        if is_below(values[middle], values[low]):
            values[middle], values[low] = values[low], values[middle]
        if is_below(values[high], values[low]):
            values[high], values[low] = values[low], values[high]
        if is_below(values[high], values[middle]):
            values[high], values[middle] = values[middle], values[high]
        pivot = values[middle]
        i, j = low, high
        while i <= j:
            while is_below(values[i], pivot):
                i += 1
            while is_below(pivot, values[j]):
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if wanted <= j:
            high = j
        elif wanted >= i:
            low = i
        else:
            return
    for i in range(low + 1, high + 1):
        value = values[i]
        j = i - 1
        while j >= low and is_below(value, values[j]):
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value


@inline
def between(lower: F64, upper: F64, part: F64) -> F64:
    """The value that lies a part of the way from one to the other."""
    if part == 0.5 and abs(lower + upper) <= _FINITE_MAX:
        return (lower + upper) * 0.5
    if abs(upper - lower) <= _FINITE_MAX:
        return lower + (upper - lower) * part
    return lower * (1.0 - part) + upper * part


@kernel("void(ints, Array(float64, 1, 'C', readonly=True), float64, int64, float64[::1], float64[::1])")
def write_quantiles(
    offsets: Int64s, values: Float64s, quantile: F64, rule: I64, room: Float64s, out: Float64s
) -> None:
    """Writes the quantile of each list of values.

    Args:
        offsets: where the lists begin.
        room: as long as the longest list.
    """
    for row in range(len(offsets) - 1):
        begin = offsets[row]
        count = offsets[row + 1] - begin
        if count == 0:
            continue
        for i in range(count):
            room[i] = values[begin + i]
        low, high, part = rank_of(count, quantile, rule)
        select(room, count, low)
        lower = room[low]
        upper = lower
        if high > low:
            upper = room[low + 1]
            for i in range(low + 2, count):
                upper = room[i] if is_below(room[i], upper) else upper
        out[row] = lower if lower == upper or high == low else between(lower, upper, part)


@kernel("void(ints, ints, float64, int64, int64[::1], int64[::1])")
def write_time_quantiles(
    offsets: Int64s, values: Int64s, quantile: F64, rule: I64, room: Int64s, out: Int64s
) -> None:
    """As `write_quantiles`, of integers; between two of them is rounded down."""
    for row in range(len(offsets) - 1):
        begin = offsets[row]
        count = offsets[row + 1] - begin
        if count == 0:
            continue
        for i in range(count):
            room[i] = values[begin + i]
        ordered = np.sort(room[:count])
        low, high, part = rank_of(count, quantile, rule)
        gap = np.uint64(ordered[high]) - np.uint64(ordered[low])
        if rule == _MIDPOINT:
            out[row] = ordered[low] + np.int64(gap >> np.uint64(1)) if high > low else ordered[low]
        else:
            out[row] = ordered[low] + np.int64(np.floor(np.float64(gap) * part)) if high > low else ordered[low]


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
