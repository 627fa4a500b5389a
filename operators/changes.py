"""`changes`: a table's history as a stream. How many changes are seen is timing, unless `max_rate` sets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from streamlib.contracts import Operator
from streamlib.graph import BuildContext, Node
from streamlib.operators.key_by import PassOperator
from streamlib.operators.running import TableNode


@dataclass(frozen=True, eq=False, kw_only=True)
class ChangesNode(Node):
    """The rows of a table's step, as they come."""

    kind: ClassVar[str] = "changes"

    def derive_schema(self) -> pa.Schema:
        return self.inputs[0].schema

    def timing_because(self) -> str | None:
        table = self.inputs[0]
        if isinstance(table, TableNode) and table.max_rate is not None:
            return None
        return f"{table.label}: running updates, without max_rate="

    def build(self, context: BuildContext) -> Operator:
        return PassOperator()
