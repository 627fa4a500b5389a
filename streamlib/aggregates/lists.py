"""Values of several rows as one list: all of them in the order of event time, or the k largest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.base import Aggregate, refuse
from streamlib.aggregates.first_last import EXPECTED
from streamlib.aggregates.sorting import ascending, descending, heads, in_order
from streamlib.errors import BuildError
from streamlib.kernels.columns import decoded_type

if TYPE_CHECKING:
    from streamlib.aggregates.accumulators import Finished, Rows
    from streamlib.aggregates.plan import Wanted

_ORDERED = "a column of numbers, decimals, booleans, strings, binary, dates, times or durations"
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Listed(Aggregate):
    """What aggregates that give a list share.

    Attributes:
        filtered: the input is a struct, null in the rows that a filter leaves out.
    """

    passes_nulls: ClassVar[bool] = False
    filtered: bool = False

    def among(self) -> Aggregate:
        return replace(self, filtered=True)

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        return (self._rows(ordered),)

    def _rows(self, ordered: bool) -> Rows:
        raise NotImplementedError

    def _value_type(self, input_type: pa.DataType | None) -> pa.DataType | None:
        return input_type.field(0).type if self.filtered and input_type is not None else input_type


@dataclass(frozen=True, slots=True)
class List(_Listed):
    """All values, nulls among them, as a list in the order of event time.

    Ties go by (split, position) where the batch carries them, else by arrival.
    """

    name = "list"

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        from streamlib.aggregates.accumulators import kept_type

        kind = self._value_type(input_type)
        if kind is None or kept_type(kind) is None:
            raise refuse(self.name, kind, EXPECTED)
        return pa.list_(decoded_type(kind))

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import segments

        offsets, rows = segments(state.values[self._rows(state.ordered)])
        *places, values = rows.flatten()
        order = in_order(offsets, [np.asarray(place) for place in places])
        return _lists(offsets, values.take(pa.array(order)), self.result_type(input_type))

    def _rows(self, ordered: bool) -> Rows:
        from streamlib.aggregates.accumulators import Rows

        return Rows(filtered=self.filtered, nulls=True, placed=True, ordered=ordered)


@dataclass(frozen=True, slots=True)
class TopK(_Listed):
    """The k largest values as a list, the largest first; nulls only where there are too few others.

    NaN is the largest, strings go by the bytes of their UTF-8, as in Polars.

    Attributes:
        k: how many.
    """

    name = "top_k"
    k: int = 1

    def __post_init__(self) -> None:
        check_k(self.k)

    def arguments(self) -> str:
        return repr(self.k)

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        from streamlib.aggregates.accumulators import has_order

        kind = self._value_type(input_type)
        if kind is None or not has_order(kind):
            raise refuse(self.name, kind, _ORDERED, "top_k(k, by=...) takes values of any type")
        return pa.list_(decoded_type(kind))

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import segments

        lists = largest(state.values[self._rows(False)], self.k)
        return _lists(*segments(lists), self.result_type(input_type))

    def _rows(self, ordered: bool) -> Rows:
        from streamlib.aggregates.accumulators import Rows

        return Rows(filtered=self.filtered, nulls=True, shrink=largest, size=self.k)


@dataclass(frozen=True, slots=True)
class TopKBy(Aggregate):
    """The values of the k rows in which another column is largest, the largest first.

    The input is a struct of the two. Rows where the other column is null are passed over; NaN is the
    largest there. Ties go to the row that is first in event time, then by (split, position) where the
    batch carries them, else by arrival.

    Attributes:
        k: how many.
        smallest: those in which the other column is smallest, the smallest first; NaN comes last.
    """

    name = "top_k"
    k: int = 1
    smallest: bool = False

    def __post_init__(self) -> None:
        check_k(self.k)

    def arguments(self) -> str:
        return repr(self.k)

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        from streamlib.aggregates.accumulators import has_order, kept_type

        if input_type is None or kept_type(input_type) is None:
            raise refuse(self.name, input_type, EXPECTED)
        if not has_order(input_type.field(1).type):
            raise refuse("top_k(by=...)", input_type.field(1).type, _ORDERED)
        return pa.list_(decoded_type(input_type.field(0).type))

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        return (self._rows(ordered),)

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import segments

        rows = self._rows(state.ordered)
        assert rows.shrink is not None
        lists = rows.shrink(state.values[rows], self.k)
        offsets, rows = segments(lists)
        return _lists(offsets, rows.field("value").field(0), self.result_type(input_type))

    def _rows(self, ordered: bool) -> Rows:
        from streamlib.aggregates.accumulators import Rows

        shrink = smallest_by if self.smallest else largest_by
        return Rows(placed=True, ordered=ordered, shrink=shrink, size=self.k)


def check_k(k: object) -> None:
    """Raises BuildError for what is no number of values."""
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise BuildError("the k of top_k is wrong", expected="a number from 1", got=repr(k))


def largest(lists: pa.LargeListArray, k: int) -> pa.LargeListArray:
    """Of each list the k largest values, the largest first."""
    from streamlib.aggregates.accumulators import lists_of, segments

    offsets, values = segments(lists)
    kept, begins = heads(offsets, [descending(values)], k)
    return lists_of(begins, values.take(pa.array(kept)))


def largest_by(lists: pa.LargeListArray, k: int) -> pa.LargeListArray:
    """Of each list of rows the k whose second column is largest, the largest first, then the earliest."""
    return _first_by(lists, k, descending)


def smallest_by(lists: pa.LargeListArray, k: int) -> pa.LargeListArray:
    """Of each list of rows the k whose second column is smallest, the smallest first, then the earliest."""
    return _first_by(lists, k, ascending)


def _first_by(lists: pa.LargeListArray, k: int, keys_of: Callable[[pa.Array], Int64s]) -> pa.LargeListArray:
    from streamlib.aggregates.accumulators import lists_of, segments

    offsets, rows = segments(lists)
    *places, values = rows.flatten()
    by = values.field(1)
    if by.null_count:
        valid = np.asarray(by.is_valid())
        offsets = np.concatenate([[0], np.cumsum(valid)])[offsets]
        which = pa.array(valid)
        rows, by, places = rows.filter(which), by.filter(which), [place.filter(which) for place in places]
    kept, begins = heads(offsets, [keys_of(by), *(np.asarray(place) for place in places)], k)
    return lists_of(begins, rows.take(pa.array(kept)))


def _lists(offsets: Int64s, values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Lists of values as they were given."""
    from streamlib.aggregates.accumulators import as_given
    from streamlib.errors import DataError

    if offsets[-1] >= 2**31:
        raise DataError("lists of one batch are too long", expected="fewer than 2**31 values")
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int64()).cast(pa.int32()), as_given(values, kind.value_type), type=kind
    )
