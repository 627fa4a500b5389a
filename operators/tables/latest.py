"""`latest`: of each key the row with the largest (event time, order).

It is a running aggregate: the last of a struct of all columns but the keys. Columns that cannot be
part of a struct's state (dictionaries, views) are kept each by itself, which is the same row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import pyarrow as pa

from streamlib.aggregates import Last
from streamlib.errors import TypeMismatchError
from streamlib.expr import Expr, col, struct
from streamlib.operators.tables.running import TableNode
from streamlib.operators.tables.table_step import CHANGE


@dataclass(frozen=True, eq=False, kw_only=True)
class LatestNode(TableNode):
    """Keeps the latest row of each key."""

    kind: ClassVar[str] = "latest"

    @cached_property
    def expressions(self) -> Mapping[str, Expr]:
        """Per column the value in the latest row."""
        schema, keys = self.inputs[0].schema, set(self.inputs[0].keys)
        together = [f.name for f in schema if f.name not in keys and _in_struct(f)]
        row = struct(*together).last() if together else None
        found: dict[str, Expr] = {}
        for name in schema.names:
            if name not in keys:
                whole = row is not None and name in together
                found[name] = row.struct.field(name) if whole and row is not None else col(name).last()
        return found

    @property
    def columns(self) -> Sequence[str]:
        return [*self.inputs[0].schema.names, CHANGE]

    def derive_time(self) -> str | None:
        """The input's; with `ttl` there are changes without a row of that time."""
        return None if self.ttl is not None else self.inputs[0].time

    def describe(self) -> str:
        return self.options()


def _in_struct(field: pa.Field) -> bool:
    try:
        Last().result_type(pa.struct([field]))
    except TypeMismatchError:
        return False
    return True
