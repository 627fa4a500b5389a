"""What an aggregate collects: more than a few words per key, kept by `streamlib.state.collections`.

Each class here says what is kept, as data; how it is kept stands in the state room. Partial results
and snapshots hold it as one column, a row per key, of `partial_type`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.aggregates.accumulators.kept import as_kept, kept_type, readable
from streamlib.kernels.columns import decoded_type

Int64s = npt.NDArray[np.int64]
Selection = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Collected(ABC):
    """What is kept of each row.

    Attributes:
        filtered: the input is a struct of one field, null in rows that a filter leaves out.
    """

    filtered: bool = False

    @property
    @abstractmethod
    def name(self) -> str:
        """Unique among those of an input; part of a snapshot's column names."""

    @abstractmethod
    def partial_type(self, input_type: pa.DataType) -> pa.DataType:
        """The type of the column that holds what was collected."""

    def value_type(self, input_type: pa.DataType) -> pa.DataType:
        """The type of the values collected."""
        return input_type.field(0).type if self.filtered else input_type

    def chosen(self, column: pa.Array) -> tuple[Selection | None, pa.Array]:
        """The rows that are collected (None: all), and their values."""
        if not self.filtered:
            return None, column
        if column.null_count == 0:
            return None, column.field(0)
        which = np.asarray(column.is_valid())
        return which, column.drop_null().field(0)


@dataclass(frozen=True, slots=True)
class Rows(Collected):
    """The values of all rows, as a list per key.

    Attributes:
        nulls: null values too.
        placed: each with the time (and order) of its row.
        ordered: as `Aggregate.accumulators` was told.
        shrink: makes lists shorter without harm, such as to the k largest values.
        size: what tells one `shrink` from another.
    """

    nulls: bool = False
    placed: bool = False
    ordered: bool = False
    shrink: Callable[[pa.LargeListArray, int], pa.LargeListArray] | None = None
    size: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether values are kept alone, as they come."""
        return not (self.nulls or self.placed or self.shrink is not None)

    @property
    def name(self) -> str:
        parts = ["rows", *(n for n in ("nulls", "placed", "ordered", "filtered") if getattr(self, n))]
        return "_".join(parts + ([f"{self.size}"] if self.shrink is not None else []))

    def partial_type(self, input_type: pa.DataType) -> pa.DataType:
        return pa.large_list(pa.field("item", self.item_type(input_type)))

    def item_type(self, input_type: pa.DataType) -> pa.DataType:
        """The type of one row as it is kept."""
        kind = kept_type(self.value_type(input_type))
        assert kind is not None, "refused when the graph was built"
        if not self.placed:
            return kind
        places = ("time", "order") if self.ordered else ("time",)
        return pa.struct([*((name, pa.int64()) for name in places), ("value", kind)])

    def items(
        self, column: pa.Array, time: Int64s, order: Int64s | None
    ) -> tuple[Selection | None, pa.Array]:
        """The rows that are collected (None: all), and what is kept of them."""
        which, values = self.chosen(readable(column) if not self.filtered else column)
        values = as_kept(readable(values))
        if not self.nulls and values.null_count:
            valid = np.asarray(values.is_valid())
            values = values.drop_null()
            if which is None:
                which = valid
            else:
                which[np.flatnonzero(which)[~valid]] = False
        if not self.placed:
            return which, values
        places = [time]
        if self.ordered:
            assert order is not None, "rows carry their order"
            places.append(order)
        columns = [pa.array(p if which is None else p[which]) for p in places]
        fields = list(self.item_type(column.type))
        return which, pa.StructArray.from_arrays([*columns, values], fields=fields)


@dataclass(frozen=True, slots=True)
class Distinct(Collected):
    """The distinct values of each key. Floats have one NaN and one zero.

    Attributes:
        nulls: null is a value.
    """

    nulls: bool = False

    @property
    def name(self) -> str:
        return "_".join(["distinct", *(n for n in ("nulls", "filtered") if getattr(self, n))])

    def partial_type(self, input_type: pa.DataType) -> pa.DataType:
        return pa.large_list(plain_type(self.value_type(input_type)))


@dataclass(frozen=True, slots=True)
class Registers(Collected):
    """The registers of a HyperLogLog: for each the largest rank, above 6 bits its number.

    Attributes:
        bits: there are `2**bits` registers.
    """

    bits: int = 14

    @property
    def name(self) -> str:
        return f"registers_{self.bits}"

    def partial_type(self, input_type: pa.DataType) -> pa.DataType:
        return pa.large_list(pa.int64())


@dataclass(frozen=True, slots=True)
class Buckets(Collected):
    """The counts of a DDSketch by bucket; buckets ascend with their values.

    Attributes:
        error: the relative error of a value that is told by its bucket.
    """

    error: float = 0.01

    @property
    def name(self) -> str:
        return f"buckets_{self.error!r}"

    def partial_type(self, input_type: pa.DataType) -> pa.DataType:
        return pa.large_list(pa.struct([("bucket", pa.int64()), ("count", pa.int64())]))


@dataclass(frozen=True, slots=True)
class StateColumns(Collected):
    """The state columns of an aggregate of the user's own; the input is a struct of its columns.

    Attributes:
        aggregate: a `streamlib.aggregates.Custom`.
    """

    aggregate: Any = None

    @property
    def name(self) -> str:
        return f"state_{type(self.aggregate.own).__name__}"

    def initial(self) -> Mapping[str, npt.NDArray[Any]]:
        """The state of a key without rows, by name."""
        return {name: np.asarray(value) for name, value in self.aggregate.init().items()}

    def partial_type(self, input_type: pa.DataType) -> pa.DataType:
        return pa.struct([(name, arrow_type(value)) for name, value in self.initial().items()])

    def chosen(self, column: pa.Array) -> tuple[Selection | None, pa.Array]:
        if column.null_count == 0:
            return None, column
        return np.asarray(column.is_valid()), column.drop_null()


def plain_type(data_type: pa.DataType) -> pa.DataType:
    """The type without its dictionary, its runs or its view."""
    kind = decoded_type(data_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(kind) else kind


def arrow_type(initial: npt.NDArray[Any]) -> pa.DataType:
    """The type of a state column whose rows are such as `initial`: a number, or a vector of numbers."""
    kind = pa.from_numpy_dtype(initial.dtype)
    return kind if initial.ndim == 0 else pa.list_(pa.field("item", kind), initial.shape[0])


def columns_of(state: pa.StructArray) -> dict[str, npt.NDArray[Any]]:
    """The state columns of a user's aggregate, as NumPy arrays of their own."""
    found: dict[str, npt.NDArray[Any]] = {}
    for field, column in zip(state.type, state.flatten(), strict=True):
        if pa.types.is_fixed_size_list(field.type):
            flat = column.flatten().to_numpy(zero_copy_only=False)
            found[field.name] = np.array(flat).reshape(len(column), field.type.list_size)
        else:
            found[field.name] = np.array(column.to_numpy(zero_copy_only=False))
    return found


def segments(lists: pa.LargeListArray) -> tuple[Int64s, pa.Array]:
    """Where the values of each list begin and end in the flat values: shape (lists + 1,), and these."""
    offsets = np.asarray(lists.offsets)
    values = lists.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    return offsets - offsets[0], values


def lists_of(offsets: Int64s, values: pa.Array, kind: pa.DataType | None = None) -> pa.LargeListArray:
    """Lists of consecutive values."""
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values, type=kind)


def lengths(lists: pa.LargeListArray) -> Int64s:
    """How many values each list has."""
    return np.asarray(pc.list_value_length(lists))
