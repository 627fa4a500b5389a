"""`scan`: a function of the user's, from the state of a key and a row to the next state and new columns.

Rows of a key come in their order (see `ordered`), or as they arrive: then nothing waits and nothing is late,
and the answer depends on how splits interleave. Where the function can be compiled, a kernel does the rows; the
results are the same (see `scan_rows`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from streamlib.contracts import Operator, Output, Refusal, State
from streamlib.elements import Batch
from streamlib.errors import BuildError, UserFunctionError
from streamlib.expr import Expr, col
from streamlib.graph import BuildContext
from streamlib.operators.functions.callee import Callee, Made
from streamlib.operators.functions.row_arguments import RowArguments
from streamlib.operators.ordered import OrderedNode
from streamlib.operators.own_state.keyed_states import KeyedStates
from streamlib.operators.own_state.scan_function import KEPT, as_given, how, translated, usable
from streamlib.operators.own_state.scan_order import arrival_is_timing, arrival_needs_one_worker, refuse_retry
from streamlib.operators.own_state.scan_rows import StepRows, kept_rows, row_named
from streamlib.state import with_fields
from streamlib.state.steps.python_text import NoText
from streamlib.state.steps.step_kernel import StepKernel
from streamlib.state.steps.step_states import StepStates

_TIME = pa.timestamp("ns", "UTC")


@dataclass(frozen=True, eq=False, kw_only=True)
class ScanNode(OrderedNode):
    """All columns of each row, and those that the function makes of it.

    Attributes:
        callee: the function.
        arguments: what it is given besides the state.
        init: the state of a key without rows.
        into: the columns it makes.
        order: ``time``, or ``arrival`` to take rows as they come.
        compiles: whether it is compiled where it can be; set to False by tests that compare.
    """

    kind: ClassVar[str] = "scan"
    callee: Callee
    arguments: RowArguments
    init: Any
    into: pa.Schema
    order: Literal["time", "arrival"] = "time"
    compiles: bool = field(default=True, repr=False)

    @property
    def what(self) -> str:
        return "scan"

    @property
    def inputs_of_rows(self) -> Mapping[str, Expr]:
        return {name: col(name) for name in self.read}

    @property
    def read(self) -> tuple[str, ...]:
        """The columns that the function reads."""
        columns = self.arguments.columns
        return tuple(self.inputs[0].schema.names) if columns is None else columns

    def derive_schema(self) -> pa.Schema:
        self.require_keys()
        for name in self.into.names:
            if name in self.inputs[0].schema.names:
                raise BuildError(
                    f"the name {name!r} is taken",
                    hint="the columns of the row stay, and those of into= come behind them: choose another name",
                )
        return pa.schema([*self.plain_source, *self.into])

    @cached_property
    def compiled(self) -> StepKernel | str:
        """The function, translated for a kernel; or why it is not."""
        if not self.compiles:
            return "not asked for"
        if self.arguments.whole:
            return "it is given whole rows"
        return translated(self.callee, self.read, self.plain_source, self.init, self.into)

    def describe(self) -> str:
        parts = [self.callee.short, *self.options()]
        if self.order == "arrival":
            parts.append("order='arrival'")
        return ", ".join([*parts, how(self.compiled)])

    def timing_because(self) -> str | None:
        return arrival_is_timing(self) if self.order == "arrival" else None

    @property
    def reads_order(self) -> bool:
        return self.order == "time" and super().reads_order

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        passed = None if wanted is None else wanted & frozenset(self.inputs[0].schema.names)
        return self.needs_for(passed, set(self.read))

    def build(self, context: BuildContext) -> Operator:
        if self.order == "arrival":
            arrival_needs_one_worker(self, context)
        refuse_retry(self)
        return ScanOperator(self, context)


class ScanOperator(KeyedStates):
    """The keys with their states."""

    def __init__(self, node: ScanNode, context: BuildContext) -> None:
        kernel = usable(node.compiled)
        self.states = StepStates(copy.deepcopy(node.init), None if kernel is None else kernel.state)
        super().__init__(node, context, self.states)
        self.node = node
        self.rows = StepRows(node.callee, node.arguments, node.into, kernel, self.states, context.refuse)

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Has rows wait, or takes them as they come."""
        if self.node.order == "time":
            yield from super().on_batch(batch, side)
            return
        yield from self.work(self.columns.of(batch, None))

    def forward(self, watermark: int) -> int:
        """W - L; where nothing waits W."""
        return super().forward(watermark) if self.node.order == "time" else watermark

    def work(self, rows: Batch) -> Iterator[Output]:
        """Yields the rows with their new columns, and those that failed."""
        assert rows.time is not None
        times = np.ascontiguousarray(rows.time)
        slots = self.table.put(rows.rows.select(self.keys), [], times)
        fresh = self.lives.seen(self.table, slots, times)
        given = rows.rows.select(list(self.node.read))
        try:
            made, failed = self.rows.run(given, slots, self.table.count, fresh)
        except UserFunctionError as error:
            row_named(error, rows, self.keys)
            raise
        passed = self.columns.passed(rows.rows)
        schema = pa.schema([*passed.schema, *self.node.into])
        out = rows.with_rows(pa.RecordBatch.from_arrays([*passed.columns, *made], schema=schema))
        out = Batch(out.rows, out.time, rows.mark)
        if not failed:
            yield out
            return
        for _, failure in failed:
            row_named(failure, rows, self.keys)
        places = np.array([at for at, _ in failed], dtype=np.int64)
        refused = as_given(rows.with_rows(passed).take(places), self.node.inputs[0].schema)
        yield Refusal(refused, [error for _, error in failed])
        yield out.filter(kept_rows(len(rows), failed))

    @property
    def called(self) -> Made:
        return self.rows.made

    def counters(self) -> dict[str, int]:
        """Late rows, and rows that a compiled function left to Python."""
        found = super().counters()
        if self.rows.kernel is not None and self.rows.in_python:
            found["in_python"] = self.rows.in_python
        return found

    # Barriers.

    def snapshot(self) -> State:
        """The rows that wait, and the keys with their states.

        Raises:
            UserFunctionError: a state holds what a checkpoint cannot keep.
        """
        slots = self.table.live()
        try:
            saved = self.states.save(slots)
        except NoText as error:
            raise UserFunctionError(
                f"the state that {self.node.callee.described} returned cannot be kept in a checkpoint",
                expected=KEPT,
                got=str(error),
            ) from None
        keys = (
            self.table.read(slots).keys.columns
            if len(slots)
            else [pa.array([], f.type) for f in self.node.key_fields]
        )
        fields = [pa.field("last_time", _TIME), *self.states.fields()]
        schema = with_fields(pa.schema(self.node.key_fields), fields)
        last = pa.array(self.lives.times(self.table.count)[slots]).view(_TIME)
        columns = [*keys, last, *(column.combine_chunks() for column in saved.columns)]
        return {**super().snapshot(), "keys": pa.Table.from_arrays(columns, schema=schema)}

    def restore(self, state: State) -> None:
        """Takes in this worker's keys and waiting rows."""
        super().restore(state)
        if "keys" not in state or not state["keys"].num_rows:
            return
        at = len(self.keys)
        table = state["keys"]
        for begin in range(0, table.num_rows, self.batch_rows):
            part = table.slice(begin, self.batch_rows).combine_chunks()
            batch = part.to_batches()[0]
            times = np.asarray(batch.column(at).view(pa.int64()))
            keys = pa.RecordBatch.from_arrays(batch.columns[:at], schema=pa.schema(self.node.key_fields))
            slots = self.table.put(keys, [], times)
            self.lives.restored(self.table, slots, times)
            saved = pa.Table.from_batches([batch.select(list(range(at + 1, batch.num_columns)))])
            self.states.load(slots, saved)
