"""Sum, independent of the order of addition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from streamlib.aggregates.base import Aggregate, refuse

if TYPE_CHECKING:
    from streamlib.aggregates.accumulators import Finished
    from streamlib.aggregates.plan import Wanted

_EXPECTED = "a column of numbers, booleans or durations"


@dataclass(frozen=True, slots=True)
class Sum(Aggregate):
    """The sum of the values that are not null; 0 when there is none.

    Signed integers and booleans give int64, unsigned ones uint64, floats of any width float64,
    durations a duration of the same unit. Integers are added in 128 bits, so that only a result
    that does not fit is an error; floats in two doubles, whose rounded sum does not depend on the
    order of the rows, but for sums that cancel more than 50 digits of binary.

    >>> Sum().result_type(pa.int32())
    DataType(int64)
    """

    name = "sum"

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        if input_type is None:
            raise refuse(self.name, None, _EXPECTED)
        if pa.types.is_floating(input_type):
            return pa.float64()
        if pa.types.is_unsigned_integer(input_type):
            return pa.uint64()
        if pa.types.is_signed_integer(input_type) or pa.types.is_boolean(input_type):
            return pa.int64()
        if pa.types.is_duration(input_type):
            return input_type
        hint = "cast it to float64 or int64 first" if pa.types.is_decimal(input_type) else None
        raise refuse(self.name, input_type, _EXPECTED, hint)

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        from streamlib.aggregates.accumulators import sum_of

        return (sum_of(input_type),)

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import exact_integers, sum_of, total

        accumulator = sum_of(input_type)
        words = state.words(accumulator)
        if pa.types.is_floating(input_type):
            return pa.array(total(accumulator, words))
        sums = exact_integers(accumulator, words, state.column)
        return pa.array(sums).view(self.result_type(input_type))
