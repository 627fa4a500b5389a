"""`changes`: a table's history as a stream. How many changes are seen may be timing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from streamlib.contracts import Operator
from streamlib.graph import BuildContext, Node
from streamlib.operators.key_by import PassOperator
from streamlib.operators.tables.table_step import TableStep


@dataclass(frozen=True, eq=False, kw_only=True)
class ChangesNode(Node):
    """The rows of a table's step, as they come."""

    kind: ClassVar[str] = "changes"

    def derive_schema(self) -> pa.Schema:
        return self.inputs[0].schema

    def timing_because(self) -> str | None:
        table = self.inputs[0]
        assert isinstance(table, TableStep)
        return table.history_because()

    def build(self, context: BuildContext) -> Operator:
        return PassOperator()
