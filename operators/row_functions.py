"""`shift`, `diff`, `cum_sum` and the like: expressions over a row and the rows of its key before it.

The functions in the expressions are computed one after another, innermost first, each over the rows in their
order (see `ordered`); then the expressions over their columns. What is kept of a key is a few words per
function, so a key is kept for ever unless `ttl` says otherwise: a row that comes more than `ttl` after the
last one of its key begins it anew, whatever else was there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan, Aggregate, Count, Max, Min, Sum
from streamlib.aggregates.accumulators import kept_type
from streamlib.contracts import Operator, Output, State
from streamlib.elements import Batch
from streamlib.errors import TypeMismatchError
from streamlib.expr import Expr, Program, col, refuse_aggregate
from streamlib.expr.keyed import RowFunction
from streamlib.expr.nodes import post_order, text_of
from streamlib.graph import BuildContext
from streamlib.kernels.columns import decoded, decoded_type, is_word
from streamlib.kernels.row_functions import begin_anew
from streamlib.operators.ordered import OrderedNode, OrderedOperator
from streamlib.operators.projection import SelectNode
from streamlib.state import Expiry, SlotColumn, SlotTable, with_fields
from streamlib.state.rolling.row_states import AddedUp, Filled, KeyRows, RowState, Shifted, Smoothed

_TIME = pa.timestamp("ns", "UTC")
_CUMULATIVE: Mapping[str, Aggregate] = {
    "cum_sum": Sum(),
    "cum_min": Min(),
    "cum_max": Max(),
    "cum_count": Count(),
}


def has_row_functions(exprs: Mapping[str, Expr]) -> bool:
    """Whether an expression asks for other rows of the key."""
    return any(isinstance(node, RowFunction) for expr in exprs.values() for node in post_order(expr.node))


@dataclass(frozen=True, slots=True)
class Step:
    """One function.

    Attributes:
        column: the name of the column that it makes.
        function: what it computes.
        input: over which values; may read the columns of the steps before it.
        type: of the values.
        direct: whether the input reads columns of the row alone.
        text: as the user wrote it.
    """

    column: str
    function: RowFunction
    input: Expr
    type: pa.DataType
    direct: bool
    text: str

    def state(self) -> RowState:
        """What it keeps of keys.

        Raises:
            TypeMismatchError: the function does not work on the type.
        """
        name, options, kind = self.function.name, self.function.option, self.type
        if name in _CUMULATIVE:
            return self._added_up(_CUMULATIVE[name])
        if name == "ewm_mean":
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
                raise self._mismatch("a column of numbers")
            return Smoothed(self.text, **options)
        if kept_type(kind) is None:
            raise self._mismatch("a column that is no union and no view of lists")
        if name == "shift":
            return Shifted(kind, options["n"], self.text)
        assert name == "forward_fill", "one of the functions of expr.keyed"
        return Filled(kind, options["limit"], self.text)

    def _added_up(self, aggregate: Aggregate) -> RowState:
        name = self.function.name
        counts = name == "cum_count"
        try:
            aggregate.result_type(self.type)
        except TypeMismatchError as error:
            raise self._mismatch(error.expected or "a column of numbers") from None
        if not counts and not is_word(self.type):
            raise self._mismatch("a column of numbers, booleans, times or durations")
        plan = AccumulatorPlan([(aggregate, 0, self.type)], [self.text])
        return AddedUp(plan, not counts, self.text)

    def _mismatch(self, expected: str) -> TypeMismatchError:
        return TypeMismatchError(
            f"{self.function.name}() does not work on {self.type}", expected=expected, got=str(self.type)
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class RowFunctionsNode(OrderedNode, SelectNode):  # type: ignore[misc]
    """`with_columns` or `select` whose expressions ask for other rows of the key."""

    kind: ClassVar[str] = "row functions"

    @property
    def what(self) -> str:
        return self.steps[0].text

    @cached_property
    def steps(self) -> list[Step]:
        """The functions, each behind those that it reads."""
        source, taken = self.plain_source, set(self.inputs[0].schema.names)
        found: list[Step] = []
        pairs: list[tuple[Expr, Expr]] = []
        nodes = dict.fromkeys(node for expr in self.exprs.values() for node in post_order(expr.node))
        for node in nodes:
            if not isinstance(node, RowFunction):
                continue
            column = f"function_{len(found)}"
            while column in taken:
                column += "_"
            written = Expr(node.input)
            given = written.replace(pairs)
            kind = decoded_type(given.type_in(source))
            direct = not has_row_functions({"": written})
            step = Step(column, node, given, kind, direct, text_of(node))
            found.append(step)
            source = source.append(pa.field(column, step.state().type))
            pairs.append((Expr(node), col(column)))
        return found

    @cached_property
    def finals(self) -> dict[str, Expr]:
        """The expressions over the columns of `steps`."""
        pairs = [(Expr(step.function), col(step.column)) for step in self.steps]
        return {name: expr.replace(pairs) for name, expr in self.exprs.items()}

    @property
    def inputs_of_rows(self) -> Mapping[str, Expr]:
        return {str(step.input): step.input for step in self.steps if step.direct}

    def derive_schema(self) -> pa.Schema:
        for expr in self.exprs.values():
            refuse_aggregate(expr)
        self.require_keys()
        plain = self.plain_source
        whole = plain
        for step in self.steps:
            whole = whole.append(pa.field(step.column, step.state().type))
        types = {name: expr.type_in(whole) for name, expr in self.finals.items()}
        if not self.keep:
            return pa.schema(list(types.items()))
        fields = [field.with_type(types.pop(field.name, field.type)) for field in plain]
        return pa.schema([*fields, *(pa.field(name, kind) for name, kind in types.items())])

    def describe(self) -> str:
        return ", ".join([super().describe(), *self.options()])

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        read = {name for expr in self.exprs.values() for name in expr.columns()}
        if not self.keep:
            return self.needs_for(frozenset(), read)
        passed = None if wanted is None else (wanted - set(self.exprs)) & set(self.inputs[0].schema.names)
        return self.needs_for(passed, read)

    def build(self, context: BuildContext) -> Operator:
        return RowFunctionsOperator(self, context)


class RowFunctionsOperator(OrderedOperator):
    """The keys, and what each function keeps of them."""

    def __init__(self, node: RowFunctionsNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self.node = node
        self.keys = list(node.inputs[0].keys)
        self.table = SlotTable(node.key_fields, AccumulatorPlan([]))
        self.states = [step.state() for step in node.steps]
        self.known = SlotColumn(np.uint8)
        self.last = SlotColumn(np.int64)
        self.expiry = None if node.ttl is None else Expiry(node.ttl)
        self.programs: dict[str, Program] = {}

    def work(self, rows: Batch) -> Iterator[Output]:
        """Yields the rows with their new columns."""
        assert rows.time is not None
        inputs = iter(self.columns.inputs_of(rows.rows))
        given = dict(zip(self.node.inputs_of_rows, inputs, strict=True))
        key_rows = self._key_rows(rows)
        passed = self.columns.passed(rows.rows)
        known = dict(zip(passed.schema.names, passed.columns, strict=True))
        for step, state in zip(self.node.steps, self.states, strict=True):
            if step.direct:
                column = given[str(step.input)]
            else:
                (column,) = self._evaluate(step.column, {"": step.input}, known)
            known[step.column] = state.of(key_rows, decoded(column))
        values = self._evaluate("", self.node.finals, known)
        made: dict[str, Any] = dict(zip(self.node.finals, values, strict=True))
        if self.node.keep:
            columns = {
                name: made.pop(name, column) for name, column in known.items() if name in passed.schema.names
            }
            made = {**columns, **made}
        yield Batch(pa.RecordBatch.from_arrays(list(made.values()), names=list(made)), rows.time)

    def _evaluate(
        self, which: str, exprs: Mapping[str, Expr], known: Mapping[str, pa.Array]
    ) -> list[pa.Array]:
        rows = pa.RecordBatch.from_arrays(list(known.values()), names=list(known))
        program = self.programs.get(which)
        if program is None:
            program = self.programs[which] = Program(exprs, rows.schema)
        return program.evaluate(rows)

    def _key_rows(self, rows: Batch) -> KeyRows:
        assert rows.time is not None
        times = np.ascontiguousarray(rows.time)
        slots = self.table.put(rows.rows.select(self.keys), [], times)
        count = self.table.count
        last, fresh = self.last.upto(count), np.empty(len(slots), dtype=np.uint8)
        begin_anew(slots, times, self.known.upto(count), last, self.node.ttl or 0, fresh)
        if self.expiry is not None:
            self.expiry.file(self.table.touched(slots, times).slots, last)
        return KeyRows(slots, count, times, fresh)

    def tidy(self, before: int) -> None:
        """Lets go of keys that had no row for long."""
        if self.expiry is None:
            return
        due = self.expiry.due(before, self.last.upto(self.table.count))
        if not len(due):
            return
        self.known.upto(self.table.count)[due] = 0
        for state in self.states:
            state.forget(due)
        live = self.table.free(due)
        if live is None:
            return
        self.known.keep(live)
        self.last.keep(live)
        for state in self.states:
            state.renumber(live)
        self.expiry.renumbered(np.arange(len(live)), self.last.upto(len(live)))

    # Barriers.

    @cached_property
    def _schema(self) -> pa.Schema:
        fields = [pa.field("last_time", _TIME)]
        for state in self.states:
            fields += state.fields()
        return with_fields(pa.schema(self.node.key_fields), fields)

    def snapshot(self) -> State:
        """The rows that wait, and the keys with the state of each function."""
        slots = self.table.live()
        if not len(slots):
            return {**super().snapshot(), "keys": self._schema.empty_table()}
        last = pa.array(self.last.upto(self.table.count)[slots]).view(_TIME)
        columns = [*self.table.read(slots).keys.columns, last]
        for state in self.states:
            columns += state.save(slots)
        return {**super().snapshot(), "keys": pa.Table.from_arrays(columns, schema=self._schema)}

    def restore(self, state: State) -> None:
        """Takes in this worker's keys and waiting rows."""
        super().restore(state)
        if "keys" not in state:
            return
        at = len(self.keys)
        for batch in state["keys"].to_batches():
            if not batch.num_rows:
                continue
            times = batch.column(at).view(pa.int64()).to_numpy(zero_copy_only=False)
            keys = pa.RecordBatch.from_arrays(batch.columns[:at], schema=pa.schema(self.node.key_fields))
            slots = self.table.put(keys, [], times)
            count = self.table.count
            last = self.last.upto(count)
            last[slots] = times
            self.known.upto(count)[slots] = 1
            begin = at + 1
            for part in self.states:
                end = begin + len(part.fields())
                part.load(slots, count, batch.columns[begin:end])
                begin = end
            if self.expiry is not None:
                self.expiry.file(slots, last)
