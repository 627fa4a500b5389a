"""`with_row_id`: a number for each input row that is the same in every run over the same input.

It is the row's order of SEMANTICS 3: the index of its split, above 40 bits of its position among the
rows of the split that reached `event_time`. Workers, batch cuts and timing have no part in it. It
tells rows apart while no step between has multiplied or gathered them, which is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from streamlib.contracts import Operator
from streamlib.elements import Batch
from streamlib.errors import BuildError
from streamlib.graph import BuildContext, Node
from streamlib.operators.event_time import EventTimeNode
from streamlib.operators.filter import FilterNode
from streamlib.operators.key_by import KeyByNode
from streamlib.operators.projection import SelectNode


@dataclass(frozen=True, eq=False, kw_only=True)
class RowIdNode(Node):
    """Adds the column.

    Attributes:
        column: its name.
    """

    kind: ClassVar[str] = "with_row_id"
    interleaves: ClassVar[bool] = True  # asks for the order also where arrival alone would decide ties
    column: str

    def derive_schema(self) -> pa.Schema:
        if self.column in self.inputs[0].schema.names:
            raise BuildError(f"there is a column {self.column!r} already", hint='with_row_id("another_name")')
        self.require_time("with_row_id")
        return self.inputs[0].schema.insert(0, pa.field(self.column, pa.int64()))

    def validate(self) -> None:
        node = self.inputs[0]
        while isinstance(node, (SelectNode, FilterNode, KeyByNode, RowIdNode)):
            node = node.inputs[0]
        if not isinstance(node, EventTimeNode):
            result = node.state_bound() != "none"
            raise BuildError(
                f"rows behind {node.label!r} have no position of their own",
                expected="with_row_id() between event_time and the first step that makes new rows",
                got=f"with_row_id() behind {node.label!r}",
                hint=f"its results are told apart by {', '.join([*node.keys, 'window_start'])}"
                if result and "window_start" in node.schema.names
                else f"put with_row_id() before {node.label!r}",
            )

    @property
    def reads_order(self) -> bool:
        """It is the order."""
        return True

    def describe(self) -> str:
        return repr(self.column)

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        return [None if wanted is None else wanted - {self.column}]

    def build(self, context: BuildContext) -> Operator:
        return RowIdOperator(self.column)


class RowIdOperator(Operator):
    """Makes the hidden order visible."""

    def __init__(self, column: str) -> None:
        self.column = column

    def on_batch(self, batch: Batch, side: int = 0) -> Sequence[Batch]:
        """Yields the rows with their number in front."""
        order = batch.orders()
        assert order is not None, "the plan gives order to a step that reads it"
        columns = [pa.array(order), *batch.rows.columns]
        rows = pa.RecordBatch.from_arrays(columns, names=[self.column, *batch.rows.schema.names])
        return (batch.with_rows(rows),)
