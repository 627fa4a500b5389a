"""Makes the hidden columns visible, so that what is collected can be sorted as SEMANTICS 3 orders rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa

from streamlib.contracts import Operator
from streamlib.elements import Batch
from streamlib.graph import BuildContext, Node
from streamlib.operators.event_time import POSITION_BITS


@dataclass(frozen=True, eq=False, kw_only=True)
class HiddenColumnsNode(Node):
    """Adds the event time (where there is one) and the order as the last int64 columns."""

    kind: ClassVar[str] = "collect"

    def derive_schema(self) -> pa.Schema:
        schema = self.inputs[0].schema
        for name in self.hidden_names:
            schema = schema.append(pa.field(name, pa.int64()))
        return schema

    @cached_property
    def hidden_names(self) -> list[str]:
        """Names of the hidden columns that no other column has."""
        names, taken = [], set(self.inputs[0].schema.names)
        for name in ["__time", "__order"] if self.inputs[0].timed else ["__order"]:
            while name in taken:
                name += "_"
            names.append(name)
        return names

    @property
    def reads_order(self) -> bool:
        """Rows are sorted by it."""
        return True

    def build(self, context: BuildContext) -> Operator:
        return HiddenColumnsOperator(self)

    def sorted(self, table: pa.Table, results: bool) -> pa.Table:
        """What was collected, sorted by event time, key and position, without the hidden columns.

        Args:
            table: of this node's schema.
            results: whether rows come from a stateful step: they have no position, all columns decide.
        """
        source = self.inputs[0]
        *time, order = self.hidden_names
        by = [*time, *(k for k in source.keys if _sortable(table.schema.field(k).type)), order]
        if not time:
            by = [order]
        if results:
            visible = source.schema.names
            by += [n for n in visible if n not in by and _sortable(table.schema.field(n).type)]
        return table.sort_by([(name, "ascending") for name in by]).select(source.schema.names)


class HiddenColumnsOperator(Operator):
    """Rows without an order column take the number of the block they were read in: within it they stay in order."""

    def __init__(self, node: HiddenColumnsNode) -> None:
        self.timed = node.inputs[0].timed
        self.schema = node.schema

    def on_batch(self, batch: Batch, side: int = 0) -> Sequence[Batch]:
        """Yields the batch with its hidden columns."""
        columns = list(batch.rows.columns)
        if self.timed:
            assert batch.time is not None
            columns.append(pa.array(batch.time))
        order = batch.orders()
        if order is None:
            origin = batch.origin
            block = 0 if origin is None else (origin.split << POSITION_BITS) + origin.block
            order = np.full(len(batch), block, dtype=np.int64)
        columns.append(pa.array(order))
        return (batch.with_rows(pa.RecordBatch.from_arrays(columns, schema=self.schema)),)


def _sortable(kind: pa.DataType) -> bool:
    """Whether Arrow sorts rows by such a column."""
    types = pa.types
    if types.is_nested(kind) or types.is_dictionary(kind) or types.is_null(kind) or types.is_interval(kind):
        return False
    return not (types.is_float16(kind) or types.is_string_view(kind) or types.is_binary_view(kind))
