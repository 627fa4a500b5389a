"""The value of the first and of the last row, by event time. Dictionaries come out decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from streamlib.aggregates.base import Aggregate, refuse
from streamlib.kernels.columns import decoded_type

if TYPE_CHECKING:
    from streamlib.aggregates.accumulators import Finished, Over
    from streamlib.aggregates.plan import Wanted

EXPECTED = "a column of any type but unions, list views, and lists or structs of dictionaries or views"


@dataclass(frozen=True, slots=True)
class _Edge(Aggregate):
    """What `First` and `Last` share.

    Attributes:
        filtered: the input is a struct, null in the rows that a filter leaves out.
    """

    passes_nulls: ClassVar[bool] = False
    rule: ClassVar[str]
    filtered: bool = False

    def among(self) -> Aggregate:
        return replace(self, filtered=True)

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        from streamlib.aggregates.accumulators import kept_type

        if input_type is None or kept_type(input_type) is None:
            raise refuse(self.name, input_type, EXPECTED)
        return decoded_type(input_type.field(0).type if self.filtered else input_type)

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        from streamlib.aggregates.accumulators import edge_of

        assert input_type is not None, "result_type was asked first"
        if self.filtered:
            return (self._among_rows(input_type, ordered),)
        return (edge_of(self.name, input_type, ordered),)

    def _among_rows(self, input_type: pa.DataType, ordered: bool) -> Over:
        from streamlib.aggregates.accumulators import Derived, Over, best_by

        value = Derived("value", input_type.field(0).type, _field)
        return Over(best_by(self.rule, ordered), value, Derived("chosen", pa.int64(), _chosen))

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import as_given, edge_of, typed_values

        assert input_type is not None, "result_type was asked first"
        kind = self.result_type(input_type)
        if self.filtered:
            over = self._among_rows(input_type, state.ordered)
            return as_given(state.of(over.column).values[over.accumulator], kind)
        accumulator = edge_of(self.name, input_type, state.ordered)
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
    rule = "least"


@dataclass(frozen=True, slots=True)
class Last(_Edge):
    """The value of the row with the largest event time, null if that row's value is null.

    Ties go by (split, position) where the batch carries them, else to the row that came last.
    """

    name = "last"
    rule = "latest"


def _field(column: pa.Array) -> pa.Array:
    return column.field(0)


def _chosen(column: pa.Array) -> pa.Array:
    """0 where a row is chosen, null elsewhere."""
    mask = None if column.null_count == 0 else np.asarray(column.is_null())
    return pa.array(np.zeros(len(column), dtype=np.int64), mask=mask)
