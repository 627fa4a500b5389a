"""What an accumulator is, and what an aggregate sees of it when it finishes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.kernels.columns import lane, storage_dtype

Int64s = npt.NDArray[np.int64]


class Style(Enum):
    """What the fused loop hands to `add`, after the record's address and the first word's index."""

    VALUE = "value"
    """The value, of rows where it is not null."""
    NULL = "null"
    """Nothing, for rows where the value is null."""
    EDGE = "edge"
    """Time, value and, for inputs that can be null, whether it is; with `order` where kept."""
    ROW = "row"
    """As EDGE, but the number of the row instead of its value, null or not."""
    RANK = "rank"
    """The rank of the row's value in its batch above 32 bits of row number; `Word.initial` where null."""
    BY = "by"
    """As ROW, with the word of a second column before the time; rows where that is null are left out."""


@dataclass(frozen=True, slots=True)
class Word:
    """Eight bytes of state: its name and type in a snapshot, and the bits of a new record, as int64.

    Attributes:
        saved: whether it means anything outside its store.
    """

    name: str
    type: str
    initial: int = 0
    saved: bool = True


@dataclass(frozen=True, slots=True)
class Accumulator:
    """State words of one input, and how rows and other records enter them.

    Values that are no words are kept by `state.values`, in columns beside the records. The last two
    words of such an accumulator (`keeps_values`) are the number of the best row of the batch under
    way, as its kernel found it, and the place of the best value of all batches before, or -1.

    Attributes:
        name: unique among accumulators; part of a snapshot's column names.
        words: in record order.
        lane: how the value is loaded: ``int64``, ``uint64`` or ``float64``.
        style: what `add` takes.
        add: ``add(record, word, ...)``.
        add_nullable: for Style.EDGE, `add` with a last argument that says whether the value is null.
        merge: ``merge(record, source, word)``: takes in another record, of rows that came later. With
            kept values it is `add`: another record is one row, and its value lies beside it.
    """

    name: str
    words: tuple[Word, ...]
    lane: str
    style: Style
    add: Callable[..., None]
    merge: Callable[..., None]
    add_nullable: Callable[..., None] | None = None

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def keeps_values(self) -> bool:
        """Whether its values lie beside the records."""
        return self.style in (Style.ROW, Style.RANK, Style.BY)


@dataclass(frozen=True, slots=True)
class Derived:
    """A column made of an aggregate's input, for accumulators to read in its place.

    Attributes:
        name: unique among those of an input; part of names in snapshots.
        type: of the column.
        make: ``make(input, *arguments)`` gives the column, row by row.
        arguments: what else `make` is given.
    """

    name: str
    type: pa.DataType
    make: Callable[..., pa.Array]
    arguments: tuple[Any, ...] = ()

    def of(self, column: pa.Array) -> pa.Array:
        """The column made of an input."""
        made = self.make(column, *self.arguments)
        assert made.type == self.type, f"{self.name} is {self.type}, not {made.type}"
        return made


@dataclass(frozen=True, slots=True)
class Over:
    """An accumulator that reads a derived column, or two.

    Attributes:
        column: whose values enter it.
        by: for Style.BY, the column that decides; of int64.
    """

    accumulator: Accumulator
    column: Derived
    by: Derived | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The state of one input of an aggregate, a row per key.

    Attributes:
        rows: the number of rows of each key.
        valid: the number of rows whose value is not null; `rows` where nulls are not counted.
        state: the words of each accumulator over this input, shape (keys, words), as int64.
        column: the input's name, for messages.
        ordered: as `Aggregate.accumulators` was told.
        values: what is kept beside the records, a row per key: the values of accumulators, and what is
            collected.
        derived: the state of the columns made of this one.
        memo: what one aggregate has worked out and others over this input can use.
        asked: the aggregates over this input.
    """

    rows: Int64s
    valid: Int64s
    state: Mapping[Accumulator, Int64s]
    column: str
    ordered: bool = False
    values: Mapping[Any, pa.Array] = field(default_factory=dict)
    derived: Mapping[Derived, Finished] = field(default_factory=dict)
    memo: dict[Any, Any] = field(default_factory=dict)
    asked: Sequence[Any] = ()

    def of(self, column: Derived) -> Finished:
        """The state of a column made of this one."""
        return self.derived[column]

    def parts(self, collected: Any) -> list[pa.Array]:
        """What was collected, in one column or several, one after the other."""
        column = self.values[collected]
        return column.chunks if isinstance(column, pa.ChunkedArray) else [column]

    def words(self, accumulator: Accumulator) -> Int64s:
        """The words of an accumulator: shape (keys, words of it), int64 bits."""
        return self.state[accumulator]


def typed_values(words: npt.NDArray[Any], null: npt.NDArray[np.bool_], data_type: pa.DataType) -> pa.Array:
    """Words back as values of `data_type`, null where `null` says so.

    Args:
        words: the bits of int64, uint64 or float64 values, as int64.
    """
    return own_values(words.copy(), null, data_type)  # not a part of all the state that results would keep


def own_values(
    words: npt.NDArray[Any], null: npt.NDArray[np.bool_] | None, data_type: pa.DataType
) -> pa.Array:
    """As `typed_values`, of words that are of nothing else: they may stay behind the values.

    Args:
        null: None where no value is null.
    """
    values = words.view(lane(data_type))
    mask = null if null is not None and null.any() else None
    if pa.types.is_boolean(data_type):
        return pa.array(values != 0, mask=mask)
    if mask is not None:
        values = np.where(mask, np.zeros(1, values.dtype), values)
    found = pa.array(values.astype(storage_dtype(data_type), copy=False), mask=mask)
    return found if found.type == data_type else found.view(data_type)
