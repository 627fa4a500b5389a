"""Smallest and largest value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from streamlib.aggregates.base import Aggregate, refuse
from streamlib.kernels.columns import decoded_type

if TYPE_CHECKING:
    from streamlib.aggregates.accumulators import Finished
    from streamlib.aggregates.plan import Wanted

_EXPECTED = "a column of numbers, decimals, booleans, strings, binary, dates, times or durations"


@dataclass(frozen=True, slots=True)
class _Extreme(Aggregate):
    """What `Min` and `Max` share: nulls are passed over; NaN too, unless there is nothing else.

    Strings are ordered by the bytes of their UTF-8. Dictionaries come out decoded.
    """

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        from streamlib.aggregates.accumulators import has_order

        if input_type is None or not has_order(input_type):
            raise refuse(self.name, input_type, _EXPECTED)
        return decoded_type(input_type)

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        from streamlib.aggregates.accumulators import NULLS, extreme_of

        accumulator = extreme_of(self.name, input_type)
        tells_by_itself = accumulator.keeps_values or accumulator.lane == "float64"
        return (accumulator,) if tells_by_itself else (accumulator, NULLS)

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import NO_FLOAT, as_given, extreme_of, typed_values

        accumulator, kind = extreme_of(self.name, input_type), decoded_type(input_type)
        if accumulator.keeps_values:
            return as_given(state.values[accumulator], kind)
        words = state.words(accumulator)[:, 0]
        if not pa.types.is_floating(kind):
            return typed_values(words, state.valid == 0, kind)
        words = np.ascontiguousarray(words)
        null = words == NO_FLOAT
        return typed_values((words.view(np.float64) + 0.0).view(np.int64), null, kind)  # -0.0 is 0.0


@dataclass(frozen=True, slots=True)
class Min(_Extreme):
    """The smallest value that is not null; of the input's type; null when there is none.

    Strings go by the bytes of their UTF-8. NaN is passed over unless all values are NaN, as in Polars.
    -0.0 comes out as 0.0.
    """

    name = "min"


@dataclass(frozen=True, slots=True)
class Max(_Extreme):
    """The largest value that is not null; of the input's type; null when there is none.

    Strings go by the bytes of their UTF-8. NaN is passed over unless all values are NaN, as in Polars.
    -0.0 comes out as 0.0.
    """

    name = "max"
