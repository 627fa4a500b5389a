"""Which state a list of aggregates needs: accumulators without repetition, and their place in a record.

A record's state is a row of 8-byte words: the row count, then the words of each accumulator. This
is what partial results and merges carry. Values that are no words (strings, decimals, lists) lie in
columns beside the records; the words of their accumulators say where.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import NULLS, Accumulator, Finished, Style, Word, kept_type
from streamlib.aggregates.base import Aggregate

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Placed:
    """An accumulator over one input, and the index of its first word in the state."""

    accumulator: Accumulator
    input: int
    word: int


class AccumulatorPlan:
    """The state behind a list of aggregates.

    Args:
        aggregates: each with the index of its input column and that column's type; (None, None) for
            an aggregate without input.
        input_names: names of the inputs, for messages and snapshots.
        ordered: rows carry `order`; `first` and `last` keep it.

    Attributes:
        placed: the accumulators, in record order.
        words: the state's words with their names in a snapshot; the first is the row count.
        input_types: the types of the inputs.
        kept: those of `placed` whose values lie beside the records.
        kept_fields: the names and types of these values' columns in snapshots and partial results.
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
        wanted: dict[tuple[Accumulator, int], None] = {}
        for aggregate, index, kind in self.aggregates:
            if index is None:
                continue
            assert types.setdefault(index, kind) == kind, "an input has one type"
            for accumulator in aggregate.accumulators(kind, ordered):
                wanted[accumulator, index] = None
        assert sorted(types) == list(range(len(types))), "inputs are numbered from 0"
        self.input_types = [types[index] for index in range(len(types))]
        self.input_names = list(input_names or (f"input{index}" for index in range(len(types))))
        assert len(self.input_names) == len(self.input_types)

        self.words = [Word("rows", "int64")]
        placed = []
        for accumulator, index in sorted(wanted, key=lambda pair: pair[0].style is Style.NULL):
            placed.append(Placed(accumulator, index, len(self.words)))
            prefix = f"{self.input_names[index]}.{accumulator.name}"
            self.words += [replace(word, name=f"{prefix}.{word.name}") for word in accumulator.words]
        self.placed = tuple(placed)
        self.kept = tuple(place for place in placed if place.accumulator.keeps_values)
        self.kept_fields = [
            pa.field(
                f"{self.input_names[place.input]}.{place.accumulator.name}.value",
                kept_type(self.input_types[place.input]),
            )
            for place in self.kept
        ]
        self.reads_words = [
            any(p.input == index and not p.accumulator.keeps_values for p in placed)
            for index in range(len(types))
        ]

    @property
    def initial(self) -> Int64s:
        """The state of a key without rows; shape (words,)."""
        return np.array([word.initial for word in self.words], dtype=np.int64)

    def finish(self, state: Int64s, kept: Sequence[pa.Array] = ()) -> list[pa.Array]:
        """The results of the aggregates, in their order.

        Args:
            state: shape (keys, words); may be a strided view.
            kept: the values beside the records, by `kept_fields`.

        Raises:
            DataError: an integer sum that does not fit its result type.
        """
        assert len(kept) == len(self.kept), "one array per kept value"
        rows = np.ascontiguousarray(state[:, 0])
        inputs = []
        for index, name in enumerate(self.input_names):
            parts = {
                place.accumulator: state[:, place.word : place.word + len(place.accumulator.words)]
                for place in self.placed
                if place.input == index
            }
            valid = rows - parts[NULLS][:, 0] if NULLS in parts else rows
            values = {
                place.accumulator: column
                for place, column in zip(self.kept, kept, strict=True)
                if place.input == index
            }
            inputs.append(Finished(rows, valid, parts, name, self.ordered, values))
        alone = Finished(rows, rows, {}, "")
        return [
            aggregate.finish(alone if index is None else inputs[index], kind)
            for aggregate, index, kind in self.aggregates
        ]
