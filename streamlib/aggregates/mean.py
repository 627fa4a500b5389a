"""Arithmetic mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from streamlib.aggregates.base import Aggregate, refuse

if TYPE_CHECKING:
    from streamlib.aggregates.accumulators import Finished
    from streamlib.aggregates.plan import Wanted

_EXPECTED = "a column of numbers or booleans"


@dataclass(frozen=True, slots=True)
class Mean(Aggregate):
    """The sum of the values that are not null, by their count; float64, null when there is none.

    >>> Mean().result_type(pa.int32())
    DataType(double)
    """

    name = "mean"

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        if input_type is None:
            raise refuse(self.name, None, _EXPECTED)
        if (
            pa.types.is_integer(input_type)
            or pa.types.is_floating(input_type)
            or pa.types.is_boolean(input_type)
        ):
            return pa.float64()
        hint = "cast it to int64 or float64 first" if not pa.types.is_nested(input_type) else None
        raise refuse(self.name, input_type, _EXPECTED, hint)

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        from streamlib.aggregates.accumulators import NULLS, sum_of

        return (sum_of(input_type), NULLS)

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import sum_of, total

        accumulator = sum_of(input_type)
        sums = total(accumulator, state.words(accumulator))
        return pa.array(sums / np.maximum(state.valid, 1), mask=state.valid == 0)
