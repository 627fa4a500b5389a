"""The value of the first and of the last row, by event time. Dictionaries come out decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from streamlib.aggregates.base import Aggregate, refuse
from streamlib.kernels.columns import decoded_type

if TYPE_CHECKING:
    from streamlib.aggregates.accumulators import Accumulator, Finished

_EXPECTED = "a column of any type but unions, list views, and lists or structs of dictionaries or views"


@dataclass(frozen=True, slots=True)
class _Edge(Aggregate):
    """What `First` and `Last` share."""

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        from streamlib.aggregates.accumulators import kept_type

        if input_type is None or kept_type(input_type) is None:
            raise refuse(self.name, input_type, _EXPECTED)
        return decoded_type(input_type)

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Accumulator]:
        from streamlib.aggregates.accumulators import edge_of

        return (edge_of(self.name, input_type, ordered),)

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import as_given, edge_of, typed_values

        accumulator, kind = edge_of(self.name, input_type, state.ordered), decoded_type(input_type)
        if accumulator.keeps_values:
            return as_given(state.values[accumulator], kind)
        words = state.words(accumulator)
        return typed_values(words[:, -2], words[:, -1] != 0, kind)


@dataclass(frozen=True, slots=True)
class First(_Edge):
    """The value of the row with the smallest event time, null if that row's value is null.

    Ties go by (split, position) where the batch carries them, else to the row that came first.
    """

    name = "first"


@dataclass(frozen=True, slots=True)
class Last(_Edge):
    """The value of the row with the largest event time, null if that row's value is null.

    Ties go by (split, position) where the batch carries them, else to the row that came last.
    """

    name = "last"
