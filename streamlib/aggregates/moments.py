"""Variance, standard deviation, covariance, correlation and weighted mean.

They are made of sums of values, squares and products that keep what rounding loses, and are finished
without cancellation: the result does not depend on the order of rows, and is right for values that lie
close together far from zero. Integers above 2**53 enter as the nearest float, as in Polars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.aggregates.base import Aggregate, refuse
from streamlib.aggregates.comoments import comoments, doubles, write_products
from streamlib.errors import TypeMismatchError
from streamlib.kernels.columns import decoded, decoded_type

if TYPE_CHECKING:
    from streamlib.aggregates.accumulators import Derived, Finished, Over
    from streamlib.aggregates.plan import Wanted

_EXPECTED = "a column of numbers or booleans"
Float64s = npt.NDArray[np.float64]


def is_number(kind: pa.DataType) -> bool:
    """Whether values enter as floats."""
    kind = decoded_type(kind)
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def as_floats(column: pa.Array) -> pa.Array:
    """Numbers and booleans as float64."""
    column = decoded(column)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    return column.cast(pa.float64(), safe=False)


def require_numbers(name: str, input_type: pa.DataType | None) -> None:
    """Raises TypeMismatchError for what is no number."""
    if input_type is None or not is_number(input_type):
        nested = input_type is not None and pa.types.is_nested(input_type)
        raise refuse(name, input_type, _EXPECTED, None if nested else 'cast it to "float64" first')


@dataclass(frozen=True, slots=True)
class Var(Aggregate):
    """The variance of the values that are not null; float64.

    Null where there are not more than `ddof` values. NaN and infinite values give NaN.

    Attributes:
        ddof: the divisor is the count less this: 1 for a sample, 0 for a whole population.

    >>> Var().result_type(pa.int8())
    DataType(double)
    """

    name = "var"
    ddof: int = 1

    def arguments(self) -> str:
        return "" if self.ddof == 1 else f"ddof={self.ddof}"

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        require_numbers(self.name, input_type)
        return pa.float64()

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        from streamlib.aggregates.accumulators import FLOAT_SUM, NULLS, SQUARES, Over

        return [Over(accumulator, _floats()) for accumulator in (FLOAT_SUM, SQUARES, NULLS)]

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        values, counts = _squares(state.of(_floats()))
        found = self.of_variance(np.maximum(values, 0.0) / np.maximum(counts - self.ddof, 1))
        return pa.array(found, mask=counts <= self.ddof, from_pandas=False)

    def of_variance(self, variance: Float64s) -> Float64s:
        """The result, given variances."""
        return variance


@dataclass(frozen=True, slots=True)
class Std(Var):
    """The standard deviation of the values that are not null: the root of `Var`."""

    name = "std"

    def of_variance(self, variance: Float64s) -> Float64s:
        return np.sqrt(variance)


@dataclass(frozen=True, slots=True)
class _OfPairs(Aggregate):
    """What works on rows where both columns have a value; the input is a struct of them."""

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        if input_type is None:
            raise refuse(self.name, None, "two columns of numbers")
        for field in input_type:
            if not is_number(field.type):
                raise TypeMismatchError(
                    f"{self.name}() does not work on {field.type}",
                    expected="two columns of numbers or booleans",
                    got=f"{input_type.field(0).type} and {input_type.field(1).type}",
                )
        return pa.float64()


@dataclass(frozen=True, slots=True)
class Cov(_OfPairs):
    """The covariance of two columns, over rows where neither is null; float64.

    Null where there are not more than `ddof` such rows.
    """

    name = "cov"
    ddof: int = 1

    def arguments(self) -> str:
        return "" if self.ddof == 1 else f"ddof={self.ddof}"

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        return _products_and_sums()

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        values, counts = _products(state)
        found = values / np.maximum(counts - self.ddof, 1)
        return pa.array(found, mask=counts <= self.ddof, from_pandas=False)


@dataclass(frozen=True, slots=True)
class Corr(_OfPairs):
    """Pearson's correlation of two columns, over rows where neither is null; float64.

    NaN where a column does not vary, as it does not without rows.
    """

    name = "corr"

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        from streamlib.aggregates.accumulators import SQUARES, Over

        return [*_products_and_sums(), Over(SQUARES, _paired(0)), Over(SQUARES, _paired(1))]

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        values, counts = _products(state)
        x, y = (_squares(state.of(_paired(side)), counts)[0] for side in (0, 1))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            x, y = np.maximum(x, 0.0), np.maximum(y, 0.0)
            plain = (x * y > 1e-290) & (x * y < 1e290)
            found = values / np.where(plain, np.sqrt(x * y), np.sqrt(x) * np.sqrt(y))
        return pa.array(np.clip(found, -1.0, 1.0), from_pandas=False)


@dataclass(frozen=True, slots=True)
class WeightedMean(_OfPairs):
    """The mean of a column by weights, over rows where neither is null; float64.

    Null where there is no such row, NaN where the weights add up to 0.
    """

    name = "weighted_mean"

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        return _products_and_sums()[1:]

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import FLOAT_SUM, total

        weights = state.of(_paired(1))
        high, low = (total(FLOAT_SUM, state.of(part).words(FLOAT_SUM)) for part in (_product(0), _product(1)))
        with np.errstate(invalid="ignore", divide="ignore"):
            sums = np.where(np.isfinite(high), high + low, high)
            found = sums / total(FLOAT_SUM, weights.words(FLOAT_SUM))
        return pa.array(found, mask=weights.valid == 0, from_pandas=False)


def _floats() -> Derived:
    from streamlib.aggregates.accumulators import Derived

    return Derived("float", pa.float64(), as_floats)


def _paired(side: int) -> Derived:
    from streamlib.aggregates.accumulators import Derived

    return Derived(("x", "y")[side], pa.float64(), _of_pair, (side,))


def _product(part: int) -> Derived:
    from streamlib.aggregates.accumulators import Derived

    return Derived(("xy", "xy_lost")[part], pa.float64(), _product_of_pair, (part,))


def _products_and_sums() -> list[Over]:
    from streamlib.aggregates.accumulators import FLOAT_SUM, NULLS, Over

    columns = [_paired(0), _paired(1), _product(0), _product(1)]
    return [*(Over(FLOAT_SUM, column) for column in columns), Over(NULLS, _paired(1))]


def _squares(
    state: Finished, counts: npt.NDArray[np.int64] | None = None
) -> tuple[Float64s, npt.NDArray[np.int64]]:
    """The sum of squared deviations of each key, and its count of values."""
    from streamlib.aggregates.accumulators import FLOAT_SUM, SQUARES

    counts = state.valid if counts is None else counts
    sums = doubles(state.words(FLOAT_SUM))
    return comoments(counts, sums, sums, doubles(state.words(SQUARES))), counts


def _products(state: Finished) -> tuple[Float64s, npt.NDArray[np.int64]]:
    """The sum of products of deviations of each key, and its count of pairs."""
    from streamlib.aggregates.accumulators import FLOAT_SUM

    x, y = (doubles(state.of(_paired(side)).words(FLOAT_SUM)) for side in (0, 1))
    products = doubles(*(state.of(_product(part)).words(FLOAT_SUM) for part in (0, 1)))
    counts = state.of(_paired(1)).valid
    return comoments(counts, x, y, products), counts


def _of_pair(column: pa.StructArray, side: int) -> pa.Array:
    """One column of a struct of two, null where either is."""
    this, other = as_floats(column.flatten()[side]), column.flatten()[1 - side]
    if other.null_count == 0:
        return this
    return pc.if_else(other.is_valid(), this, pa.scalar(None, pa.float64()))


def _product_of_pair(column: pa.StructArray, part: int) -> pa.Array:
    """The product of two columns, rounded (part 0) or what rounding lost (part 1)."""
    x, y = _of_pair(column, 0), _of_pair(column, 1)
    mask = None if y.null_count == 0 else np.asarray(y.is_null())
    out = np.empty((2, len(x)), dtype=np.float64)
    write_products(np.array(x.fill_null(0.0)), np.array(y.fill_null(0.0)), out[0], out[1])
    return pa.array(out[part], mask=mask, from_pandas=False)
