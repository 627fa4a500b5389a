"""`select` and `with_columns`: columns computed from the columns of the same row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from streamlib.contracts import Operator, Output
from streamlib.elements import Batch
from streamlib.errors import BuildError, ColumnNotFoundError
from streamlib.expr import Expr, Program, refuse_aggregate
from streamlib.graph import BuildContext, Node


@dataclass(frozen=True, eq=False, kw_only=True)
class SelectNode(Node):
    """The named expressions become the columns; `with_columns` keeps the others.

    Attributes:
        exprs: expressions by the name of their column, in order.
        keep: whether the input's columns stay, with those of the same name replaced in place.
    """

    kind: ClassVar[str] = "select"
    refuses = "rows"
    exprs: Mapping[str, Expr]
    keep: bool = False

    @property
    def label(self) -> str:
        return self.name or ("with_columns" if self.keep else "select")

    def derive_schema(self) -> pa.Schema:
        schema = self.inputs[0].schema
        if not self.exprs:
            raise BuildError(f"{self.label} was given no column")
        for expr in self.exprs.values():
            refuse_aggregate(expr)
        types = {name: self._type_of(name, expr, schema) for name, expr in self.exprs.items()}
        if not self.keep:
            return pa.schema(list(types.items()))
        fields = [pa.field(f.name, types.pop(f.name)) if f.name in types else f for f in schema]
        return pa.schema([*fields, *(pa.field(name, kind) for name, kind in types.items())])

    def _type_of(self, name: str, expr: Expr, schema: pa.Schema) -> pa.DataType:
        try:
            return expr.type_in(schema)
        except ColumnNotFoundError as error:
            if error.hint is None and expr.is_column and expr.columns() != [name]:
                error.hint = f"a constant text is written {name}=sl.lit({error.got})"
            raise

    def derive_time(self) -> str | None:
        time = self.inputs[0].time
        if time is None:
            return None
        if self.keep:
            return None if time in self.exprs else time
        same = [name for name, expr in self.exprs.items() if expr.columns() == [time] and expr.is_column]
        return same[0] if same else None

    def derive_keys(self) -> tuple[str, ...]:
        """The keys, under the names that they have; none where one of them is gone."""
        named: dict[str, str] = {}
        for name, expr in self.exprs.items():
            if expr.is_column:
                source = expr.columns()[0]
                named[source] = source if name == source else named.get(source, name)
        if self.keep:
            named |= {k: k for k in self.inputs[0].keys if k not in self.exprs}
        keys = [named.get(key) for key in self.inputs[0].keys]
        return tuple(key for key in keys if key is not None) if None not in keys else ()

    def describe(self) -> str:
        return ", ".join(
            str(e) if e.is_column and e.columns() == [n] else f"{n}={e}" for n, e in self.exprs.items()
        )

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        if self.keep and wanted is None:
            return [None]
        needed: set[str] = set()
        for expr in self.exprs.values():
            needed.update(expr.columns())
        if self.keep and wanted is not None:
            needed |= wanted - set(self.exprs)
        return [frozenset(needed)]

    def build(self, context: BuildContext) -> Operator:
        return SelectOperator(self)


class SelectOperator(Operator):
    """Evaluates the expressions together; the rows, their times and their order stay."""

    def __init__(self, node: SelectNode) -> None:
        self.exprs = node.exprs
        self.keep = node.keep
        self.program: Program | None = None

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Yields the rows with their new columns."""
        if self.program is None:
            self.program = Program(self.exprs, batch.rows.schema)
        made = dict(zip(self.exprs, self.program.evaluate(batch.rows), strict=True))
        if self.keep:
            names = batch.rows.schema.names
            columns = {name: made.pop(name) if name in made else batch.rows.column(name) for name in names}
            made = {**columns, **made}
        yield batch.with_rows(pa.RecordBatch.from_arrays(list(made.values()), names=list(made)))
