"""Count of rows, or of values that are not null."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from streamlib.aggregates.base import Aggregate

if TYPE_CHECKING:
    from streamlib.aggregates.accumulators import Finished
    from streamlib.aggregates.plan import Wanted


@dataclass(frozen=True, slots=True)
class Count(Aggregate):
    """Without an input the number of rows, with one the number of its values that are not null; int64.

    >>> Count().result_type(None)
    DataType(int64)
    """

    name = "count"

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        return pa.int64()

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        from streamlib.aggregates.accumulators import NULLS

        return () if input_type is None else (NULLS,)

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        return pa.array(state.rows if input_type is None else state.valid, pa.int64())
