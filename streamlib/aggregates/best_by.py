"""The value of one column in the row where another is least or greatest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from streamlib.aggregates.base import Aggregate, refuse
from streamlib.aggregates.first_last import EXPECTED
from streamlib.aggregates.sorting import LAST, sortable
from streamlib.kernels.columns import decoded, decoded_type, is_word

if TYPE_CHECKING:
    from streamlib.aggregates.accumulators import Finished, Over
    from streamlib.aggregates.plan import Wanted

_BY = "by a column of numbers, booleans, dates, times or durations"


@dataclass(frozen=True, slots=True)
class _By(Aggregate):
    """What `MinBy` and `MaxBy` share; the input is a struct of the value and of what decides.

    Rows where that is null are passed over, and those where it is NaN unless there is nothing else.
    Ties go to the row that is first in event time, then by (split, position) where the batch carries
    them, else to the one that came first. Null where there is no row, or its value is null.
    """

    falling: ClassVar[bool]

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        from streamlib.aggregates.accumulators import kept_type

        if input_type is None:
            raise refuse(self.name, None, EXPECTED)
        value, by = (input_type.field(side).type for side in (0, 1))
        if kept_type(value) is None:
            raise refuse(self.name, value, EXPECTED)
        if not is_word(decoded_type(by)):
            raise refuse(self.name, by, _BY)
        return decoded_type(value)

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        assert input_type is not None, "result_type was asked first"
        return (self._over(input_type, ordered),)

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import as_given

        assert input_type is not None, "result_type was asked first"
        over = self._over(input_type, state.ordered)
        return as_given(state.of(over.column).values[over.accumulator], self.result_type(input_type))

    def _over(self, input_type: pa.DataType, ordered: bool) -> Over:
        from streamlib.aggregates.accumulators import Derived, Over, best_by

        value = Derived(f"value_{self.name}", input_type.field(0).type, _value)
        by = Derived(f"by_{self.name}", pa.int64(), _rising, (self.falling,))
        return Over(best_by("least", ordered), value, by)


@dataclass(frozen=True, slots=True)
class MinBy(_By):
    """The value in the row where another column is least."""

    name = "min_by"
    falling = False


@dataclass(frozen=True, slots=True)
class MaxBy(_By):
    """The value in the row where another column is greatest."""

    name = "max_by"
    falling = True


def _value(column: pa.StructArray) -> pa.Array:
    return column.field(0)


def _rising(column: pa.StructArray, falling: bool) -> pa.Array:
    """Integers that compare as the second field does (or the other way round), NaN after all others."""
    by = decoded(column.flatten()[1])
    mask = None if by.null_count == 0 else np.asarray(by.is_null())
    keys = sortable(by)
    if falling:
        keys = np.where(keys == LAST, LAST, ~keys) if pa.types.is_floating(by.type) else ~keys
    return pa.array(keys, mask=mask)
