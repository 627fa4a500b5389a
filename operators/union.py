"""`union`: the rows of several streams of one schema. Its watermark is the lowest of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from streamlib.contracts import Operator
from streamlib.elements import Batch
from streamlib.errors import BuildError, TypeMismatchError
from streamlib.graph import BuildContext, LostKeys, Node, SourceNode
from streamlib.graph.plan import topological


@dataclass(frozen=True, eq=False, kw_only=True)
class UnionNode(Node):
    """Rows of all inputs; columns are matched by name, in the first input's order."""

    kind: ClassVar[str] = "union"
    interleaves: ClassVar[bool] = True

    def derive_schema(self) -> pa.Schema:
        first = self.inputs[0].schema
        for other in self.inputs[1:]:
            if set(other.schema.names) != set(first.names):
                raise BuildError(
                    "union needs streams with the same columns",
                    expected=", ".join(first.names),
                    got=", ".join(other.schema.names),
                    hint="bring them to the same columns with .select(...)",
                )
            for field in first:
                if other.schema.field(field.name).type != field.type:
                    raise TypeMismatchError(
                        f"union: column {field.name!r} has different types",
                        expected=str(field.type),
                        got=str(other.schema.field(field.name).type),
                        hint=f'cast one of them: .with_columns({field.name}=col("{field.name}").cast(...))',
                    )
        return pa.schema([pa.field(f.name, f.type) for f in first])

    def derive_time(self) -> str | None:
        times = {n.time for n in self.inputs}
        return times.pop() if len(times) == 1 else None

    def derive_keys(self) -> tuple[str, ...]:
        keys = {n.keys for n in self.inputs}
        return keys.pop() if len(keys) == 1 else ()

    def derive_lost(self) -> LostKeys | None:
        keyed = [n.keys for n in self.inputs if n.keys]
        if self.keys or not keyed:
            return next((n.lost for n in self.inputs if n.lost is not None), None)
        return LostKeys(keyed[0], self.label, self.at)

    def validate(self) -> None:
        timed = {n.timed for n in self.inputs}
        if len(timed) > 1:
            raise BuildError(
                "union of a stream with event time and one without",
                hint="give event time to all of them before, or to their union after",
            )
        if timed == {False}:
            seen: set[int] = set()
            for node in self.inputs:
                sources = {id(n) for n in topological([node]) if isinstance(n, SourceNode)}
                if seen & sources:
                    raise BuildError(
                        "union of two branches of one source before event_time",
                        hint="put .event_time(...) before the branches part, or into each of them: "
                        "rows without a time are ordered by their source alone",
                    )
                seen |= sources

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        return [wanted] * len(self.inputs)

    def build(self, context: BuildContext) -> Operator:
        return UnionOperator(self.schema.names)


class UnionOperator(Operator):
    """Passes batches on, with their columns in one order."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def on_batch(self, batch: Batch, side: int = 0) -> Sequence[Batch]:
        """Yields the batch."""
        have = batch.rows.schema.names
        order = [name for name in self.names if name in have]
        return (batch,) if order == have else (batch.with_rows(batch.rows.select(order)),)
