"""What steps that aggregate share: their expressions taken apart, checked, and their inputs computed.

An expression such as ``sum(a) / count()`` has *parts*, the aggregates in it. A store keeps the state
of the parts; when rows come out, the expression over the finished parts gives the column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan, Custom
from streamlib.elements import Batch
from streamlib.errors import BuildError, DataError
from streamlib.expr import Expr, Program, col, factors_of
from streamlib.kernels.columns import Product, decoded, decoded_type

Late = npt.NDArray[np.bool_]


class Aggregation:
    """Expressions over aggregates.

    Args:
        aggregates: by column name.
        source: the columns that they read.
    """

    def __init__(self, aggregates: Mapping[str, Expr], source: pa.Schema) -> None:
        self.aggregates = aggregates
        self.source = source
        self._plans: dict[bool, AccumulatorPlan] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Aggregation, (self.aggregates, self.source)

    def check(self, unit: str) -> None:
        """Refuses what is no aggregate.

        Args:
            unit: what there is one value for, such as ``window``.

        Raises:
            BuildError: an expression without an aggregate, or with a column outside of one.
        """
        for name, expr in self.aggregates.items():
            if not expr.contains_aggregate:
                raise BuildError(
                    f"{name}={expr} is no aggregate",
                    expected=f"one value per {unit}",
                    hint=f"such as {expr}.last()",
                )
            loose = expr.columns_outside_aggregates()
            if loose:
                raise BuildError(
                    f"{name}={expr} uses column {loose[0]!r} outside an aggregate",
                    hint=f'say which row it is taken from, such as col("{loose[0]}").last()',
                )

    @cached_property
    def parts(self) -> list[Any]:
        """The distinct aggregates in all expressions."""
        found: dict[Any, Any] = {}
        for expr in self.aggregates.values():
            for part in expr.aggregates():
                found.setdefault(part.key(), part)
        return list(found.values())

    @cached_property
    def kinds(self) -> list[pa.DataType | None]:
        """The type of what each of `parts` reads; None where it reads nothing."""
        return [None if part.input is None else part.input.type_in(self.source) for part in self.parts]

    @cached_property
    def inputs(self) -> dict[str, Expr]:
        """The distinct expressions that the aggregates read, by a name for messages and snapshots."""
        found: dict[Any, tuple[str, Expr]] = {}
        for part in self.parts:
            if part.input is not None:
                found.setdefault(part.input.key(), (str(part.input), part.input))
        return dict(found.values())

    @cached_property
    def reads_edges(self) -> bool:
        """Whether the order of rows matters to an aggregate, as to `first`: its state keeps it where it is known."""
        for part, kind in zip(self.parts, self.kinds, strict=True):
            states = [tuple(part.aggregate.accumulators(kind, ordered)) for ordered in (False, True)]
            if states[0] != states[1]:
                return True
        return False

    def plan(self, ordered: bool) -> AccumulatorPlan:
        """The state that the aggregates need; the workers of a process share it."""
        plan = self._plans.get(ordered)
        if plan is None:
            names = list(self.inputs)
            aggregates = []
            for part, kind in zip(self.parts, self.kinds, strict=True):
                index = None if part.input is None else names.index(str(part.input))
                aggregates.append((part.aggregate, index, kind))
            plan = self._plans[ordered] = AccumulatorPlan(aggregates, names, ordered)
        return plan

    def try_rows(self, inputs: Sequence[pa.Array]) -> None:
        """Tries whether the user's own aggregates take rows, and adds nothing.

        Args:
            inputs: by `inputs`.

        Raises:
            UserFunctionError: one does not.
        """
        names = list(self.inputs)
        for part in self.parts:
            if isinstance(part.aggregate, Custom):
                part.aggregate.try_rows(inputs[names.index(str(part.input))])

    @cached_property
    def intermediate(self) -> pa.Schema:
        """One column per part, which the final expressions read."""
        kinds = [part.aggregate.result_type(kind) for part, kind in zip(self.parts, self.kinds, strict=True)]
        return pa.schema([(f"aggregate_{i}", kind) for i, kind in enumerate(kinds)])

    @cached_property
    def finals(self) -> dict[str, Expr]:
        """The expressions over columns of `intermediate`."""
        pairs = [(part, col(f"aggregate_{i}")) for i, part in enumerate(self.parts)]
        return {name: expr.replace(pairs) for name, expr in self.aggregates.items()}

    @cached_property
    def results(self) -> Program:
        """What computes the results, of rows of `intermediate`."""
        return Program(self.finals, self.intermediate)

    def columns(self) -> set[str]:
        """The columns of the source that are read."""
        return {name for expr in self.inputs.values() for name in expr.columns()}


class InputColumns:
    """Rows as they wait for their turn: some columns as they came, then what the aggregates read.

    Args:
        kept: the columns that stay; dictionaries are decoded.
        inputs: by name.
        source: the columns of the rows that come.
    """

    def __init__(self, kept: Sequence[str], inputs: Mapping[str, Expr], source: pa.Schema) -> None:
        self._kept = list(kept)
        self._inputs = inputs
        self._program: Program | None = None
        found = ((number, factors_of(expr, source)) for number, expr in enumerate(inputs.values()))
        self._factors = {number: factors for number, factors in found if factors is not None}
        self._factored: dict[frozenset[int], _Factored] = {}
        fields = [pa.field(name, decoded_type(source.field(name).type)) for name in self._kept]
        for number, expr in enumerate(inputs.values()):
            name = f"input_{number}"
            while name in self._kept:
                name += "_"
            fields.append(pa.field(name, expr.type_in(source)))
        self.schema = pa.schema(fields)

    def of(self, batch: Batch, late: Late | None = None) -> Batch:
        """The batch, without its late rows, in this form.

        Raises:
            DataError: an input cannot be computed of a row.
        """
        values = self.evaluate(batch, late)
        batch = batch if late is None else batch.filter(~late)
        columns = [decoded(batch.rows.column(name)) for name in self._kept]
        return batch.with_rows(pa.RecordBatch.from_arrays([*columns, *values], schema=self.schema))

    def evaluate(self, batch: Batch, late: Late | None = None) -> list[pa.Array]:
        """The inputs of the rows that are not late."""
        rows = batch.rows if late is None else batch.rows.filter(pa.array(~late))
        if self._program is None:
            self._program = Program(self._inputs, rows.schema)
        return _evaluated(self._program, rows, late)

    def multiplied(self, batch: Batch, late: Late | None, taken: frozenset[int]) -> list[pa.Array | Product]:
        """As `evaluate`; inputs whose numbers are in `taken` may come as their two factors.

        They do where they multiply two columns, and no such column has nulls in this batch.
        """
        rows = batch.rows if late is None else batch.rows.filter(pa.array(~late))
        factored = self._factored.get(taken)
        if factored is None:
            factored = self._factored[taken] = self._factored_of(taken, rows.schema)
        values = _evaluated(factored.program, rows, late)
        for place in factored.factors:
            if values[place].null_count:
                return self.evaluate(batch, late)
        return [
            values[place] if isinstance(place, int) else Product(values[place[0]], values[place[1]])
            for place in factored.inputs
        ]

    def _factored_of(self, taken: frozenset[int], schema: pa.Schema) -> _Factored:
        exprs: dict[str, Expr] = {}  # an expression under its own text: each is computed once
        inputs: list[int | tuple[int, int]] = []

        def place_of(expr: Expr) -> int:
            exprs.setdefault(str(expr), expr)
            return list(exprs).index(str(expr))

        for number, expr in enumerate(self._inputs.values()):
            factors = self._factors.get(number) if number in taken else None
            if factors is None:
                inputs.append(place_of(expr))
            else:
                inputs.append((place_of(col(factors[0])), place_of(col(factors[1]))))
        needed = {place for place in inputs if isinstance(place, tuple)}
        return _Factored(Program(exprs, schema), inputs, sorted({place for pair in needed for place in pair}))

    def inputs_of(self, rows: pa.RecordBatch) -> list[pa.Array]:
        """Of rows in this form the inputs."""
        inputs: list[pa.Array] = rows.columns[len(self._kept) :]
        return inputs


@dataclass(frozen=True, slots=True)
class _Factored:
    """How inputs are computed some of which come as their factors.

    Attributes:
        program: gives the other inputs, and the factors.
        inputs: for each input where it is among these; of both factors.
        factors: where all factors are.
    """

    program: Program
    inputs: list[int | tuple[int, int]]
    factors: list[int]


def _evaluated(program: Program, rows: pa.RecordBatch, late: Late | None) -> list[pa.Array]:
    """What a program makes of the rows that are not late; an error names the row among all."""
    try:
        return program.evaluate(rows)
    except DataError as error:
        if late is not None and error.row is not None:
            error.row = int(np.flatnonzero(~late)[error.row])
        raise
