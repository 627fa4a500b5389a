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
from streamlib.aggregates.selection import INTERPOLATIONS, quantiles_of
from streamlib.errors import BuildError
from streamlib.kernels._jit import kernel
from streamlib.kernels.columns import decoded_type, values_of
from streamlib.kernels.memory import F64

if TYPE_CHECKING:
    from streamlib.aggregates.accumulators import Buckets, Finished, Rows
    from streamlib.aggregates.plan import Wanted

_EXPECTED = "a column of numbers, booleans, timestamps, dates or durations"
_EMPTY = "lists without values"
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
    reads_chunks = True
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

        kind = self.result_type(input_type)
        is_float = kind == pa.float64()
        found: dict[tuple[float, str], Int64s] | None = state.memo.get(Quantile)
        if found is None:  # those of all that are asked for, while values are at hand
            asked = [one._how for one in state.asked if isinstance(one, Quantile)]
            wanted = list(dict.fromkeys([self._how, *asked]))
            lists = []
            for part in state.parts(_rows()):
                offsets, values = segments(part)
                values = as_floats(values) if is_float else values.cast(kind)
                lists.append((offsets, values_of(values).view(np.int64)))
            found = state.memo[Quantile] = dict(
                zip(wanted, quantiles_of(lists, wanted, is_float), strict=True)
            )
            state.memo[_EMPTY] = np.concatenate([np.diff(offsets) == 0 for offsets, _ in lists])
        out, empty = found[self._how], state.memo[_EMPTY]
        mask = empty if empty.any() else None
        if is_float:
            return pa.array(out.view(np.float64), mask=mask, from_pandas=False)
        return pa.array(out, mask=mask).view(kind)

    @property
    def _how(self) -> tuple[float, str]:
        return self.quantile, self.interpolation


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
