"""Aggregation over windows by rows and sums: what the user asked for.

Such a window takes each key's rows in their order, so rows wait until the watermark has passed them (see
`ordered`). A result has the time of the row that filled its window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa

from streamlib.contracts import Operator
from streamlib.errors import BuildError
from streamlib.expr import Expr, Program, lit
from streamlib.graph import BuildContext
from streamlib.kernels.columns import decoded_type
from streamlib.operators.aggregation import Aggregation
from streamlib.operators.ordered import OrderedNode
from streamlib.operators.windows.results import BOUNDS
from streamlib.operators.windows.rows import RowHops, RowWindow, SumWindow
from streamlib.state import BarSize

COMPLETE = "window_complete"


@dataclass(frozen=True, eq=False, kw_only=True)
class RowWindowNode(OrderedNode):
    """The aggregates over each window by rows or a sum.

    Attributes:
        window: when it is full.
        aggregates: expressions over aggregates, by column name.
    """

    kind: ClassVar[str] = "window"
    window: RowWindow | SumWindow
    aggregates: Mapping[str, Expr]

    @property
    def what(self) -> str:
        return self.window.describe()

    @property
    def is_bounded(self) -> bool:
        return not self.inputs[0].keys  # all rows are in one open window

    @cached_property
    def aggregation(self) -> Aggregation:
        """The expressions, taken apart."""
        return Aggregation(self.aggregates, self.inputs[0].schema)

    @cached_property
    def measure(self) -> tuple[str, Expr] | None:
        """What is added up, by its name among `inputs_of_rows`; None where rows are counted."""
        measure = self.window.measure
        if measure is None:
            return None
        name = str(measure)
        known = self.aggregation.inputs.get(name)
        while known is not None and known.key() != measure.key():
            name += "_"
            known = self.aggregation.inputs.get(name)
        return name, measure

    @cached_property
    def inputs_of_rows(self) -> Mapping[str, Expr]:
        """What the aggregates read, then what is added up, unless it is among that."""
        inputs = dict(self.aggregation.inputs)
        if self.measure is not None:
            inputs.setdefault(*self.measure)
        return inputs or {"True": lit(True)}  # rows without columns could not wait

    @cached_property
    def bar_size(self) -> BarSize:
        """When a window is full."""
        measure = self.window.measure
        kind: Any = None if measure is None else decoded_type(measure.type_in(self.inputs[0].schema))
        return self.window.bar_size(kind)

    def derive_schema(self) -> pa.Schema:
        self.require_time("a window")
        source = self.inputs[0]
        if not self.aggregates:
            raise BuildError("agg() was given no aggregate", expected="such as n=sl.count()")
        given = [*BOUNDS, COMPLETE] if self.window.partial else list(BOUNDS)
        for key in source.keys:
            if key in given:
                raise BuildError(
                    f"the name {key!r} is taken",
                    hint=f"rename the key before the window: .key_by(w=col({key!r}))",
                )
        for name in self.aggregates:
            if name in source.keys or name in given:
                raise BuildError(
                    f"the name {name!r} is taken",
                    hint="keys and what says of a window are columns of the result: choose another",
                )
        self.aggregation.check("window")
        assert self.bar_size, "it can be full"
        fields = [*self.key_fields, *(pa.field(name, self.bounds_type) for name in BOUNDS)]
        if self.window.partial:
            fields.append(pa.field(COMPLETE, pa.bool_()))
        finals = Program(self.aggregation.finals, self.aggregation.intermediate)
        return pa.schema([*fields, *finals.schema])

    def validate(self) -> None:
        if self.ttl is not None and not self.inputs[0].keys:
            raise BuildError(
                "ttl= says how long keys are kept, and the stream has none",
                hint="say which rows belong together: .key_by(...)",
            )
        super().validate()

    @cached_property
    def bounds_type(self) -> pa.DataType:
        """The type of ``window_start`` and ``window_end``, which are times of rows."""
        source = self.inputs[0]
        kind = None if source.time is None else source.schema.field(source.time).type
        if kind is not None and pa.types.is_timestamp(kind):
            return kind
        return pa.timestamp("ns" if kind is None or not pa.types.is_date(kind) else "s")

    def derive_time(self) -> None:
        return None

    def describe(self) -> str:
        named = ", ".join(f"{name}={expr}" for name, expr in self.aggregates.items())
        return ", ".join([self.window.describe(), *self.options()]) + f": {named}"

    @cached_property
    def reads(self) -> set[str]:
        """The columns that are read."""
        measure = self.window.measure
        more = () if measure is None else measure.columns()
        return {*self.aggregation.columns(), *more, *self.inputs[0].keys}

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        return self.needs_for(frozenset(), self.reads)

    def build(self, context: BuildContext) -> Operator:
        from streamlib.operators.windows.rows_operator import RowHopsOperator, RowWindowOperator

        return (RowHopsOperator if isinstance(self.window, RowHops) else RowWindowOperator)(self, context)
