"""Rolling aggregates: for each row the aggregates over the last rows of its key, itself included.

The window of a row at t is (t - span, t] of its key, as Polars' `rolling` has it (closed="right"), or the
last so many rows. Rows of the same time are in their order (SEMANTICS 3), and a window ends with its row: of
rows of one time it holds those up to its own. See `ordered` for who waits and who is late.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.aggregates import AccumulatorPlan
from streamlib.contracts import Operator, Output, State
from streamlib.elements import Batch, format_duration
from streamlib.errors import BuildError
from streamlib.expr import Expr
from streamlib.graph import BuildContext
from streamlib.operators.aggregation import Aggregation, InputColumns
from streamlib.operators.ordered import OrderedNode, OrderedOperator
from streamlib.state import Expiry, SlotColumn, SlotTable, with_fields
from streamlib.state.rolling.rings import RollingState
from streamlib.state.rolling.rolling_values import Part, WindowValues, in_words

Int64s = npt.NDArray[np.int64]

_TIME = pa.timestamp("ns", "UTC")


@dataclass(frozen=True, eq=False, kw_only=True)
class RollingNode(OrderedNode):
    """All columns of each row, and the aggregates over its window.

    Attributes:
        span: the length of the window, ns; None for a window by rows.
        rows: how many rows the window has at most; None for a window by time.
        aggregates: expressions over aggregates, by column name.
    """

    kind: ClassVar[str] = "rolling"
    span: int | None = None
    rows: int | None = None
    aggregates: Mapping[str, Expr]

    @property
    def what(self) -> str:
        return "rolling"

    @property
    def is_bounded(self) -> bool:
        return self.span is not None

    @cached_property
    def aggregation(self) -> Aggregation:
        """The expressions, taken apart."""
        return Aggregation(self.aggregates, self.inputs[0].schema)

    @property
    def inputs_of_rows(self) -> Mapping[str, Expr]:
        return self.aggregation.inputs

    def derive_schema(self) -> pa.Schema:
        self.require_keys()
        if not self.aggregates:
            raise BuildError("agg() was given no aggregate", expected="such as n=sl.count()")
        for name in self.aggregates:
            if name in self.inputs[0].schema.names:
                raise BuildError(
                    f"the name {name!r} is taken",
                    hint="the columns of the row stay, and the aggregates come behind them: choose another name",
                )
        self.aggregation.check("row")
        finals = self.aggregation.results.schema
        return pa.schema([*self.plain_source, *finals])

    def describe(self) -> str:
        window = f"rows={self.rows}" if self.span is None else repr(format_duration(self.span))
        named = [f"{name}={expr}" for name, expr in self.aggregates.items()]
        return ", ".join([window, *named, *self.options()])

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        passed = None if wanted is None else wanted & frozenset(self.inputs[0].schema.names)
        return self.needs_for(passed, self.aggregation.columns())

    @cached_property
    def parts(self) -> list[Part]:
        """The aggregates in the expressions."""
        aggregation, names = self.aggregation, list(self.aggregation.inputs)
        found: list[Part] = []
        for part in aggregation.parts:
            if part.input is None:
                found.append((part.aggregate, None, None))
            else:
                kind = part.input.type_in(aggregation.source)
                found.append((part.aggregate, names.index(str(part.input)), kind))
        return found

    def build(self, context: BuildContext) -> Operator:
        return RollingOperator(self, context)


class RollingOperator(OrderedOperator):
    """The keys, their windows, and the values of rows in them."""

    def __init__(self, node: RollingNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self.node = node
        self.keys = list(node.keys)
        self.names = list(node.aggregation.inputs)
        self.fast = [part for part in node.parts if in_words(part)]
        slow = [part for part in node.parts if not in_words(part)]
        self.is_fast = [in_words(part) for part in node.parts]
        self.read = sorted({index for _, index, _ in self.fast if index is not None})
        self.plan = AccumulatorPlan(
            [(a, None if index is None else self.read.index(index), kind) for a, index, kind in self.fast],
            [self.names[index] for index in self.read],
        )
        self.finals = node.aggregation.results
        self.values = WindowValues(slow, self.names) if slow else None
        self.expiry = None if node.ttl is None else Expiry(node.ttl)
        self._restored: list[pa.Table] = []
        self._begin()

    def _begin(self) -> None:
        node = self.node
        self.table = SlotTable(node.key_fields, AccumulatorPlan([]))
        self.state = RollingState(self.plan, node.span, node.rows, node.ttl)
        self.last = SlotColumn(np.int64)

    def check(self, batch: Batch, side: int = 0) -> None:
        """Raises for a row whose inputs cannot be computed, or added; those of late rows are not."""
        super().check(batch, side)
        aggregation = self.node.aggregation
        inputs = InputColumns((), aggregation.inputs, aggregation.source)
        aggregation.try_rows(inputs.evaluate(batch, self._late_rows(batch)))

    # Rows in order.

    def work(self, rows: Batch) -> Iterator[Output]:
        """Yields the rows with their aggregates."""
        assert rows.time is not None
        inputs = self.columns.inputs_of(rows.rows)
        slots = self.table.put(rows.rows.select(self.keys), [], rows.time)
        rolled = self.state.add(slots, self.table.count, rows.time, [inputs[index] for index in self.read])
        if self.values is not None:
            self.values.append([inputs[index] for index in self.values.inputs])
        if self.expiry is not None:
            self._note(slots, rows.time)
        fast = iter(self.plan.finish(rolled.state))
        slow = iter([] if self.values is None else self.values.results(self.state, rolled))
        finished = [next(fast) if is_fast else next(slow) for is_fast in self.is_fast]
        self._compact()
        made = self.finals.evaluate(
            pa.RecordBatch.from_arrays(finished, schema=self.node.aggregation.intermediate)
        )
        passed = self.columns.passed(rows.rows)
        schema = pa.schema([*passed.schema, *(self.node.schema.field(name) for name in self.node.aggregates)])
        out = pa.RecordBatch.from_arrays([*passed.columns, *made], schema=schema)
        yield Batch(out, rows.time)

    def _note(self, slots: Int64s, times: Int64s) -> None:
        """When keys had their last rows."""
        assert self.expiry is not None
        touched = self.table.touched(slots, times)
        last = self.last.upto(self.table.count)
        last[touched.slots] = touched.high
        self.expiry.file(touched.slots, last)

    # What goes.

    def tidy(self, before: int) -> None:
        """Lets go of rows that are too old, and keys."""
        if self.expiry is not None:
            due = self.expiry.due(before, self.last.upto(self.table.count))
            if len(due):
                self.state.drop(due)
                self._free(due)
        if self.state.by_time:
            self.state.evict(before)
        self._compact()

    def _compact(self) -> None:
        places = self.state.compact()
        if places is None:
            return
        if self.values is not None:
            self.values.keep(places)
        if self.state.by_time:
            self._free(self.state.empty(self.table.live()))

    def _free(self, slots: Int64s) -> None:
        live = self.table.free(slots)
        if live is None:
            return
        self.state.renumber(live)
        if self.expiry is not None:
            self.last.keep(live)
            self.expiry.renumbered(np.arange(len(live)), self.last.upto(len(live)))

    # Barriers.

    def snapshot(self) -> State:
        """The rows that wait, and the rows that are in a window with their state."""
        places, slots, times, front = self.state.live()
        schema = self._schema()
        if not len(places):
            return {**super().snapshot(), "rows": schema.empty_table()}
        columns = [*self.table.read(slots).keys.columns, pa.array(times).view(_TIME), pa.array(front)]
        columns += self.state.words(places)
        if self.values is not None:
            columns += self.values.take(places)
        return {**super().snapshot(), "rows": pa.Table.from_arrays(columns, schema=schema)}

    def _schema(self) -> pa.Schema:
        fields = [pa.field("event_time", _TIME), pa.field("in_front", pa.bool_()), *self.state.fields()]
        if self.values is not None:
            kept = self.values.take(np.empty(0, dtype=np.int64))
            fields += [
                pa.field(f"{self.names[index]}.value", column.type)
                for index, column in zip(self.values.inputs, kept, strict=True)
            ]
        return with_fields(pa.schema(self.node.key_fields), fields)

    def restore(self, state: State) -> None:
        """Takes in this worker's rows, of one snapshot after another."""
        super().restore(state)
        if "rows" not in state:
            return
        self._restored.append(state["rows"])
        whole = pa.concat_tables(self._restored)
        at = len(self.keys)
        order = pc.sort_indices(pa.table([whole.column(at)], names=["t"]), sort_keys=[("t", "ascending")])
        rows = whole.take(order).combine_chunks()
        self._begin()
        for batch in rows.to_batches():
            times = batch.column(at).view(pa.int64()).to_numpy(zero_copy_only=False)
            keys = pa.RecordBatch.from_arrays(batch.columns[:at], schema=pa.schema(self.node.key_fields))
            slots = self.table.put(keys, [], times)
            front = batch.column(at + 1).to_numpy(zero_copy_only=False)
            words = batch.columns[at + 2 : at + 2 + len(self.plan.words)]
            self.state.take_in(slots, self.table.count, times, front, words)
            if self.values is not None:
                self.values.begin(batch.columns[at + 2 + len(self.plan.words) :])
            if self.expiry is not None:
                self.expiry = Expiry(self.expiry.ttl)
                self._note(slots, times)
