"""Which state a list of aggregates needs: accumulators without repetition, and their place in a record.

A record's state is a row of 8-byte words: the row count, then the words of each accumulator. This
is what partial results and merges carry. Values that are no words (strings, decimals, lists) lie in
columns beside the records; the words of their accumulators say where. So does what is collected, such
as all values for a median. Accumulators may read columns that are made of an input, such as products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import (
    NULLS,
    Accumulator,
    Collected,
    Derived,
    Finished,
    Over,
    Style,
    Word,
    kept_type,
)
from streamlib.aggregates.base import Aggregate

Int64s = npt.NDArray[np.int64]
Column: TypeAlias = pa.Array | pa.ChunkedArray
Wanted = Accumulator | Over | Collected
"""What an aggregate asks for."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An accumulator over one input, and the index of its first word in the state.

    Attributes:
        by: for Style.BY, the index of the input that decides.
    """

    accumulator: Accumulator
    input: int
    word: int
    by: int | None = None


@dataclass(frozen=True, slots=True)
class PlacedCollected:
    """What is collected of one input."""

    collected: Collected
    input: int


class AccumulatorPlan:
    """The state behind a list of aggregates.

    Args:
        aggregates: each with the index of its input column and that column's type; (None, None) for
            an aggregate without input.
        input_names: names of the inputs, for messages and snapshots.
        ordered: rows carry `order`; aggregates whose ties it decides keep it.

    Attributes:
        placed: the accumulators, in record order.
        collected: what is collected beside the records.
        words: the state's words with their names in a snapshot; the first is the row count.
        input_types: the types of the inputs, those that are made of others after those given.
        kept: those of `placed` whose values lie beside the records.
        kept_fields: the names and types of the columns beside the records in snapshots and partial results:
            of `kept`, then of `collected`.
        multiplied: the given inputs that only accumulators of float64 values read: their rows may come as
            two factors.
        reads_words: for each input, whether an accumulator reads its words or nulls.

    >>> from streamlib.aggregates import Count, Mean, Sum
    >>> plan = AccumulatorPlan([(Count(), None, None), (Sum(), 0, pa.int64()), (Mean(), 0, pa.int64())])
    >>> [word.name for word in plan.words]
    ['rows', 'input0.int_sum.low', 'input0.int_sum.high', 'input0.nulls.count']
    """

    def __init__(
        self,
        aggregates: Sequence[tuple[Aggregate, int | None, pa.DataType | None]],
        input_names: Sequence[str] | None = None,
        ordered: bool = False,
    ) -> None:
        self.aggregates = tuple(aggregates)
        self.ordered = ordered
        self.result_types = [aggregate.result_type(kind) for aggregate, _, kind in self.aggregates]
        types: dict[int, pa.DataType] = {}
        wanted: dict[tuple[Wanted, int], None] = {}
        for aggregate, index, kind in self.aggregates:
            if index is None:
                continue
            assert types.setdefault(index, kind) == kind, "an input has one type"
            for asked in aggregate.accumulators(kind, ordered):
                wanted[asked, index] = None
        assert sorted(types) == list(range(len(types))), "inputs are numbered from 0"
        self.input_types = [types[index] for index in range(len(types))]
        self.input_names = list(input_names or (f"input{index}" for index in range(len(types))))
        assert len(self.input_names) == len(self.input_types)
        self._given = len(types)
        self._derived: dict[tuple[int, Derived], int] = {}
        self._place(list(wanted))
        self.kept_fields = [
            pa.field(
                f"{self.input_names[place.input]}.{place.accumulator.name}.value",
                kept_type(self.input_types[place.input]),
            )
            for place in self.kept
        ] + [
            pa.field(
                f"{self.input_names[item.input]}.{item.collected.name}",
                item.collected.partial_type(self.input_types[item.input]),
            )
            for item in self.collected
        ]
        self._words_of = [
            [
                (p.accumulator, p.word, p.word + len(p.accumulator.words))
                for p in self.placed
                if p.input == index
            ]
            for index in range(len(self.input_types))
        ]
        self.multiplied = self._multiplied()
        self.reads_words = [
            any(p.by == index or (p.input == index and not p.accumulator.keeps_values) for p in self.placed)
            for index in range(len(self.input_types))
        ]

    def _multiplied(self) -> frozenset[int]:
        found = set()
        others = {index for index, _ in self._derived} | {item.input for item in self.collected}
        for index in set(range(self._given)) - others:
            read = [p.accumulator for p in self.placed if index in (p.input, p.by)]
            values = [a for a in read if a.style is Style.VALUE and a.lane == "float64"]
            if values and all(a in values or a.style is Style.NULL for a in read):
                found.add(index)
        return frozenset(found)

    @property
    def value_types(self) -> list[pa.DataType]:
        """The types of the values of `kept`."""
        return [field.type for field in self.kept_fields[: len(self.kept)]]

    def _place(self, wanted: Sequence[tuple[Wanted, int]]) -> None:
        found: list[tuple[Accumulator, int, int | None]] = []
        collected = []
        for asked, index in wanted:
            if isinstance(asked, Collected):
                collected.append(PlacedCollected(asked, index))
            elif isinstance(asked, Over):
                by = None if asked.by is None else self._derive(index, asked.by)
                found.append((asked.accumulator, self._derive(index, asked.column), by))
            else:
                found.append((asked, index, None))
        self.words = [Word("rows", "int64")]
        placed = []
        for accumulator, index, by in sorted(found, key=lambda item: item[0].style is Style.NULL):
            placed.append(Placed(accumulator, index, len(self.words), by))
            prefix = f"{self.input_names[index]}.{accumulator.name}"
            if by is not None:
                prefix += f".{self.input_names[by].removeprefix(self.input_names[index])}"
            self.words += [replace(word, name=f"{prefix}.{word.name}") for word in accumulator.words]
        self.placed = tuple(placed)
        self.collected = tuple(collected)
        self.kept = tuple(place for place in placed if place.accumulator.keeps_values)

    def _derive(self, index: int, column: Derived) -> int:
        """The index of a column made of an input."""
        known = self._derived.get((index, column))
        if known is None:
            known = self._derived[index, column] = len(self.input_types)
            self.input_types.append(column.type)
            self.input_names.append(f"{self.input_names[index]}.{column.name}")
        return known

    def columns(self, inputs: Sequence[pa.Array]) -> Sequence[pa.Array]:
        """All inputs: those given, and those made of them."""
        assert len(inputs) == self._given, "one array per input"
        if not self._derived:
            return inputs
        return [*inputs, *(column.of(inputs[index]) for index, column in self._derived)]

    @property
    def initial(self) -> Int64s:
        """The state of a key without rows; shape (words,)."""
        return np.array([word.initial for word in self.words], dtype=np.int64)

    def finish(self, state: Int64s, kept: Sequence[Column] = ()) -> list[pa.Array]:
        """The results of the aggregates, in their order.

        Args:
            state: shape (keys, words); may be a strided view.
            kept: the columns beside the records, by `kept_fields`; what was collected perhaps in its
                final form, and in chunks.

        Raises:
            DataError: an integer sum that does not fit its result type.
        """
        assert len(kept) == len(self.kept_fields), "one array per kept column"
        rows = state[:, 0].copy()
        found = [self._finished(index, rows, state, kept) for index in range(len(self.input_types))]
        for (index, column), at in self._derived.items():
            found[index].derived[column] = found[at]  # type: ignore[index]
        alone = Finished(rows, rows, {}, "")
        return [
            aggregate.finish(alone if index is None else found[index], kind)
            for aggregate, index, kind in self.aggregates
        ]

    def _finished(self, index: int, rows: Int64s, state: Int64s, kept: Sequence[Column]) -> Finished:
        """The state of one input."""
        parts = {accumulator: state[:, begin:end] for accumulator, begin, end in self._words_of[index]}
        asked = [aggregate for aggregate, of, _ in self.aggregates if of == index]
        chunks = bool(asked) and all(aggregate.reads_chunks for aggregate in asked)
        values: dict[Accumulator | Collected, Any] = {
            place.accumulator: column
            for place, column in zip(self.kept, kept, strict=False)
            if place.input == index
        }
        for item, column in zip(self.collected, kept[len(self.kept) :], strict=True):
            if item.input == index:
                whole = chunks or not isinstance(column, pa.ChunkedArray)
                values[item.collected] = column if whole else column.combine_chunks()
        valid = rows - parts[NULLS][:, 0] if NULLS in parts else rows
        return Finished(rows, valid, parts, self.input_names[index], self.ordered, values, {}, {}, asked)
