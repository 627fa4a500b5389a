"""`explode`: one row per value of a list.

The rows of one input row keep its time, its mark and its order, and come in the order of the list. A
row whose list is empty or null stays as one row with null, so that no row vanishes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.contracts import Operator, Output
from streamlib.elements import Batch
from streamlib.errors import BuildError, DataError, TypeMismatchError
from streamlib.graph import BuildContext, Node
from streamlib.operators.functions.layers import layers

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplodeNode(Node):
    """Rows multiply.

    Attributes:
        columns: list columns, of equal length in every row.
    """

    kind: ClassVar[str] = "explode"
    refuses = "rows"
    blurs_order: ClassVar[bool] = True
    columns: tuple[str, ...]

    def derive_schema(self) -> pa.Schema:
        if not self.columns:
            raise BuildError("explode() was given no column", expected='such as explode("prices")')
        self.require_columns(self.columns)
        fields = []
        for field in self.inputs[0].schema:
            if field.name not in self.columns:
                fields.append(field)
                continue
            kind = field.type
            if not (
                pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
            ):
                raise TypeMismatchError(
                    f"column {field.name!r} is no list",
                    expected="a list",
                    got=str(kind),
                    hint=f'cut the text first: col("{field.name}").str.split(",")'
                    if pa.types.is_string(kind)
                    else None,
                )
            fields.append(pa.field(field.name, kind.value_type))
        return pa.schema(fields)

    def derive_keys(self) -> tuple[str, ...]:
        keys = self.inputs[0].keys
        return () if set(keys) & set(self.columns) else keys

    def describe(self) -> str:
        return ", ".join(self.columns)

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        return [None if wanted is None else wanted | set(self.columns)]

    def build(self, context: BuildContext) -> Operator:
        return ExplodeOperator(self, context)


class ExplodeOperator(Operator):
    """Takes so many input rows at a time that what they become fits one batch, but for one long list."""

    def __init__(self, node: ExplodeNode, context: BuildContext) -> None:
        self.columns = node.columns
        self.batch_rows = context.batch_rows
        self.exact = context.needs_order

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Yields the rows, in order."""
        counts = self._counts(batch)
        ends = np.cumsum(counts)
        begin = 0
        while begin < len(batch):
            before = int(ends[begin - 1]) if begin else 0
            end = max(int(np.searchsorted(ends, before + self.batch_rows, side="right")), begin + 1)
            made = self._exploded(batch.slice(begin, end - begin), counts[begin:end])
            for part in layers(made) if self.exact else (made,):
                for offset in range(0, len(part), self.batch_rows):
                    yield part if len(part) <= self.batch_rows else part.slice(offset, self.batch_rows)
            begin = end

    def _counts(self, batch: Batch) -> Int64s:
        """How many rows each row becomes."""
        found = None
        for name in self.columns:
            lengths = pc.fill_null(pc.list_value_length(batch.rows.column(name)), 0)
            counts = np.asarray(lengths).astype(np.int64)
            if found is None:
                found = counts
            elif not np.array_equal(found, counts):
                row = int(np.flatnonzero(found != counts)[0])
                error = DataError(
                    f"the lists of {self.columns[0]!r} and {name!r} differ in length",
                    where=f"row {row} of the batch",
                    expected=f"{found[row]} values in {name!r}",
                    got=str(counts[row]),
                )
                error.row = row
                raise error
        assert found is not None
        return np.maximum(found, 1)

    def _exploded(self, batch: Batch, counts: Int64s) -> Batch:
        parents = np.repeat(np.arange(len(batch), dtype=np.int64), counts)
        lists = {name: batch.rows.column(name) for name in self.columns}
        others = [name for name in batch.rows.schema.names if name not in self.columns]
        made = batch.with_rows(batch.rows.select(others)).take(parents) if others else None
        values = {name: _values(column) for name, column in lists.items()}
        arrays = []
        for name in batch.rows.schema.names:
            if name in values:
                arrays.append(values[name])
            else:
                assert made is not None
                arrays.append(made.rows.column(name))
        rows = pa.RecordBatch.from_arrays(arrays, names=batch.rows.schema.names)
        if made is not None:
            return made.with_rows(rows)
        hidden = Batch(batch.rows, batch.time, batch.mark, batch.order, batch.origin).take(parents)
        return hidden.with_rows(rows)


def _values(lists: pa.Array) -> pa.Array:
    """The values of the lists, one null for each list without any."""
    if pa.types.is_fixed_size_list(lists.type):
        lists = lists.cast(pa.list_(lists.type.value_type))
    values = lists.flatten()
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)
    empty = lengths == 0
    if not empty.any():
        return values
    counts = np.maximum(lengths, 1)
    taken = np.arange(int(counts.sum()), dtype=np.int64)
    nothing = np.zeros(len(taken), dtype=np.bool_)
    nothing[(np.cumsum(counts) - counts)[empty]] = True
    taken -= np.cumsum(nothing)
    return values.take(pa.array(taken, pa.int64(), mask=nothing))
