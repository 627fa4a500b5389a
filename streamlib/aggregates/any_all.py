"""Whether some, or all, conditions are true."""

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


@dataclass(frozen=True, slots=True)
class _OfBooleans(Aggregate):
    """What `Any` and `All` share: nulls are passed over."""

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        if input_type is None or not pa.types.is_boolean(decoded_type(input_type)):
            hint = f"such as (col(...) > 0).{self.name}()"
            raise refuse(self.name, input_type, "a column of booleans", hint)
        return pa.bool_()

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        from streamlib.aggregates.accumulators import NULLS, sum_of

        return (sum_of(pa.bool_()), NULLS)

    def _true(self, state: Finished) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """How many values are true."""
        from streamlib.aggregates.accumulators import sum_of

        return np.ascontiguousarray(state.words(sum_of(pa.bool_()))[:, 0])


@dataclass(frozen=True, slots=True)
class Any(_OfBooleans):
    """Whether a value is true; false where there is none."""

    name = "any"

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        return pa.array(self._true(state) > 0)


@dataclass(frozen=True, slots=True)
class All(_OfBooleans):
    """Whether no value is false; true where there is none."""

    name = "all"

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        return pa.array(self._true(state) == state.valid)
