"""`filter`: keeps the rows for which a predicate is true; null counts as false.

A row that is filtered after `event_time` has moved the watermark; one filtered before has not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.contracts import Operator, Output
from streamlib.elements import Batch
from streamlib.errors import ColumnNotFoundError, TypeMismatchError
from streamlib.expr import Expr, refuse_aggregate
from streamlib.graph import BuildContext, Node
from streamlib.kernels.selecting import filtered


@dataclass(frozen=True, eq=False, kw_only=True)
class FilterNode(Node):
    """Keeps rows.

    Attributes:
        predicate: a boolean expression over the input's columns.
    """

    kind: ClassVar[str] = "filter"
    refuses = "rows"
    predicate: Expr

    def derive_schema(self) -> pa.Schema:
        schema = self.inputs[0].schema
        refuse_aggregate(self.predicate)
        kind = self._kind(schema)
        if not (pa.types.is_boolean(kind) or pa.types.is_null(kind)):
            raise TypeMismatchError(
                f"filter needs a condition: {self.predicate} is not true or false",
                expected="bool",
                got=str(kind),
                hint=f"compare it with a value, or say {self.predicate}.is_not_null()",
            )
        return schema

    def _kind(self, schema: pa.Schema) -> pa.DataType:
        try:
            return self.predicate.type_in(schema)
        except ColumnNotFoundError as error:
            if self.predicate.is_column and not self.predicate.columns()[0].isidentifier():
                error.hint = 'a condition is an expression, such as col("price") > 0, or the name of a column'
            raise

    def describe(self) -> str:
        return str(self.predicate)

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        return [None if wanted is None else wanted | set(self.predicate.columns())]

    def build(self, context: BuildContext) -> Operator:
        return FilterOperator(self.predicate)


class FilterOperator(Operator):
    """A batch whose rows are all kept passes without a copy."""

    def __init__(self, predicate: Expr) -> None:
        self.predicate = predicate
        self.dropped = 0

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Yields the kept rows, if there are any."""
        keep = self.predicate.evaluate(batch.rows)
        kept = keep.true_count if keep.type == pa.bool_() else 0
        self.dropped += len(batch) - kept
        if kept == len(batch):
            yield batch
        elif kept:
            mask = pc.fill_null(keep, False) if keep.null_count else keep
            yield filtered(batch, mask)

    def counters(self) -> dict[str, int]:
        """Rows that were not kept."""
        return {"dropped": self.dropped}
