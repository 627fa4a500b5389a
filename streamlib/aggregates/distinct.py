"""How many distinct values there are: exact, and by a sketch of bounded size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.base import Aggregate, refuse
from streamlib.errors import BuildError
from streamlib.kernels._jit import kernel
from streamlib.kernels.columns import decoded_type

if TYPE_CHECKING:
    from streamlib.aggregates.accumulators import Distinct, Finished, Registers
    from streamlib.aggregates.plan import Wanted

_EXPECTED = "a column of numbers, decimals, booleans, strings, binary, dates, times or durations"
ERROR_MIN, ERROR_MAX = 0.0021, 0.26
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Counted(Aggregate):
    """What counts of distinct values share: int64; NaN is one value, 0.0 and -0.0 are one."""

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        kind = None if input_type is None else decoded_type(input_type)
        if kind is None or pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType):
            raise refuse(self.name, input_type, _EXPECTED)
        return pa.int64()


@dataclass(frozen=True, slots=True)
class CountDistinct(_Counted):
    """The number of distinct values that are not null; int64. Exact.

    >>> CountDistinct().result_type(pa.string())
    DataType(int64)
    """

    name = "count_distinct"

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        return (self._kept(),)

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import lengths

        kept = state.values[self._kept()]
        return kept if pa.types.is_integer(kept.type) else pa.array(lengths(kept))

    def _kept(self) -> Distinct:
        from streamlib.aggregates.accumulators import Distinct

        return Distinct()


@dataclass(frozen=True, slots=True)
class NUnique(CountDistinct):
    """The number of distinct values, null being one of them, as in Polars; int64. Exact.

    Attributes:
        filtered: the input is a struct, null in the rows that a filter leaves out.
    """

    name = "n_unique"
    passes_nulls: ClassVar[bool] = False
    filtered: bool = False

    def among(self) -> Aggregate:
        return replace(self, filtered=True)

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        value = input_type.field(0).type if self.filtered and input_type is not None else input_type
        return CountDistinct.result_type(self, value)

    def _kept(self) -> Distinct:
        from streamlib.aggregates.accumulators import Distinct

        return Distinct(nulls=True, filtered=self.filtered)


@dataclass(frozen=True, slots=True)
class ApproxCountDistinct(_Counted):
    """About the number of distinct values that are not null, by a HyperLogLog (Flajolet et al. 2007).

    The estimator is that of Ertl 2017, which needs no correction for small or large numbers. Sketches
    merge by the larger register, so the result does not depend on the order of rows.

    Attributes:
        error: the standard error, relative.
    """

    name = "approx_count_distinct"
    error: float = 0.01

    def __post_init__(self) -> None:
        if not ERROR_MIN <= self.error <= ERROR_MAX:
            raise BuildError(
                "error= of approx_count_distinct is out of range",
                expected=f"{ERROR_MIN} to {ERROR_MAX}",
                got=repr(self.error),
                hint="count_distinct() is exact",
            )

    def arguments(self) -> str:
        return "" if self.error == 0.01 else f"error={self.error!r}"

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        return (self._registers(),)

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import segments

        offsets, codes = segments(state.values[self._registers()])
        bits = self._registers().bits
        histograms = np.zeros((len(offsets) - 1, 66 - bits), dtype=np.int64)
        count_ranks(offsets, np.asarray(codes), histograms)
        histograms[:, 0] = 2**bits - np.diff(offsets)
        return pa.array(np.rint(estimates(histograms)).astype(np.int64))

    def _registers(self) -> Registers:
        from streamlib.aggregates.accumulators import Registers

        return Registers(bits=max(4, math.ceil(2 * math.log2(1.04 / self.error))))


@kernel("void(ints, ints, int64[:,::1])")
def count_ranks(offsets: Int64s, codes: Int64s, histograms: Int64s) -> None:
    """Counts the registers of each key by their rank, which is in the lowest 6 bits of a code."""
    for row in range(len(offsets) - 1):
        for i in range(offsets[row], offsets[row + 1]):
            histograms[row, codes[i] & 63] += 1


def estimates(histograms: Int64s) -> Float64s:
    """Cardinalities from how many registers have each rank (Ertl 2017, algorithm 6).

    Args:
        histograms: shape (keys, ranks from 0 to the largest).
    """
    registers = histograms.sum(axis=1).astype(np.float64)
    z = registers * _tau(1.0 - histograms[:, -1] / registers)
    for rank in range(histograms.shape[1] - 2, 0, -1):
        z = 0.5 * (z + histograms[:, rank])
    z = z + registers * _sigma(histograms[:, 0] / registers)
    with np.errstate(divide="ignore"):
        return registers * registers / (2.0 * math.log(2.0)) / z


def _sigma(x: Float64s) -> Float64s:
    """x + sum of x**(2**k) * 2**(k-1); infinite where all registers are empty."""
    x = np.asarray(x, dtype=np.float64)
    found, weight, powers = x.copy(), 1.0, x.copy()
    powers[x == 1.0] = 0.0
    while (powers > 0).any():
        powers = powers * powers
        before, found = found, found + powers * weight
        weight *= 2.0
        if (found == before).all():
            break
    return np.where(x == 1.0, np.inf, found)


def _tau(x: Float64s) -> Float64s:
    """(1 - x - sum of (1 - x**(2**-k))**2 * 2**-k) / 3; 0 at both ends."""
    x = np.asarray(x, dtype=np.float64)
    found, weight, roots = 1.0 - x, 1.0, x.copy()
    for _ in range(64):
        roots = np.sqrt(roots)
        weight *= 0.5
        before, found = found, found - (1.0 - roots) ** 2 * weight
        if (found == before).all():
            break
    return np.where((x == 0.0) | (x == 1.0), 0.0, found / 3.0)
