"""`fold`: a table whose row of a key is the state that a function of the user's has made of its rows so far.

What a table is, who waits and who is late, is that of running aggregates (see `running`); rows always come in
the order of time. The function is compiled where it can be (see `scan_rows`); a row that fails leaves its key's
state as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan
from streamlib.contracts import Operator, Output, Refusal, State
from streamlib.elements import Batch
from streamlib.errors import BuildError, UserFunctionError
from streamlib.expr import Expr
from streamlib.graph import BuildContext
from streamlib.kernels.columns import decoded_type
from streamlib.operators.functions.arrays import array_of
from streamlib.operators.functions.callee import Callee
from streamlib.operators.functions.row_arguments import RowArguments
from streamlib.operators.input_rows import from_input
from streamlib.operators.ordered import WaitingColumns
from streamlib.operators.own_state.scan_function import KEPT, as_given, how, translated, usable
from streamlib.operators.own_state.scan_order import refuse_retry
from streamlib.operators.own_state.scan_rows import StepRows, kept_rows, row_named
from streamlib.operators.tables.running import TableNode
from streamlib.operators.tables.running_operator import TableOperator, late_rows
from streamlib.state import Order, OrderedBuffer, SlotTable, Touched, joined, with_fields
from streamlib.state.steps.python_text import NoText
from streamlib.state.steps.step_kernel import StepKernel
from streamlib.state.steps.step_states import StepStates

Int64s = npt.NDArray[np.int64]

_TIME = pa.timestamp("ns", "UTC")


@dataclass(frozen=True, eq=False, kw_only=True)
class FoldNode(TableNode):
    """Folds the rows of each key.

    Attributes:
        callee: the function, ``step(state, ...) -> new state``.
        arguments: what it is given besides the state.
        init: the state of a key without rows.
        into: the columns of the state.
        compiles: whether it is compiled where it can be.
    """

    kind: ClassVar[str] = "fold"
    callee: Callee
    arguments: RowArguments
    init: Any
    into: pa.Schema
    compiles: bool = True

    @property
    def expressions(self) -> Mapping[str, Expr]:
        return {}

    @property
    def columns(self) -> Sequence[str]:
        return [*self.inputs[0].keys, *self.into.names, self.added.name]

    @property
    def read(self) -> tuple[str, ...]:
        """The columns that the function reads."""
        columns = self.arguments.columns
        return tuple(self.inputs[0].schema.names) if columns is None else columns

    def derive_schema(self) -> pa.Schema:
        source = self.inputs[0]
        if not source.keys:
            raise BuildError("a table has a row per key", hint='say which rows belong together: .key_by("k")')
        self.require_time("fold")
        for name in self.into.names:
            if name in source.keys:
                raise BuildError(
                    f"the name {name!r} is taken", hint="keys are columns of the result: choose another"
                )
        self.check_names()
        return pa.schema([*self.key_fields, *self.into, self.added])

    @cached_property
    def sorts(self) -> bool:
        """Whether it works on results, which carry no order."""
        return not from_input(self.inputs[0])[0]

    @property
    def reads_order(self) -> bool:
        return not self.sorts

    @cached_property
    def compiled(self) -> StepKernel | str:
        """The function, translated for a kernel; or why it is not."""
        if not self.compiles:
            return "not asked for"
        if self.arguments.whole:
            return "it is given whole rows"
        source = self.inputs[0].schema
        plain = pa.schema([field.with_type(decoded_type(field.type)) for field in source])
        return translated(self.callee, self.read, plain, self.init, self.into, folds=True)

    def describe(self) -> str:
        return ", ".join(part for part in [self.callee.short, self.options(), how(self.compiled)] if part)

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        if self.sorts:
            return [None]  # every column decides between rows of one time
        return [frozenset(self.read) | frozenset(self.inputs[0].keys)]

    def build(self, context: BuildContext) -> Operator:
        refuse_retry(self)
        return FoldOperator(self, context)


class FoldOperator(TableOperator):
    """Rows that wait, and the states of keys."""

    def __init__(self, node: FoldNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self.fold_node = node
        self.table = SlotTable(node.key_fields, AccumulatorPlan([]))
        source = node.inputs[0].schema
        self.given = WaitingColumns({}, source)
        self.waiting = OrderedBuffer(Order.COLUMNS if node.sorts else Order.TIME, len(source))
        kernel = usable(node.compiled)
        self.states = StepStates(copy.deepcopy(node.init), None if kernel is None else kernel.state)
        self.rows = StepRows(
            node.callee, node.arguments, node.into, kernel, self.states, context.refuse, folds=True
        )
        self.refused: list[tuple[Batch, UserFunctionError]] = []

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Has rows wait; yields those that are late, if somebody reads them."""
        late = late_rows(batch)
        self.waiting.add(self.given.of(batch, late))
        if late is not None:
            tagged = self._refuse_late(batch.filter(late))
            if tagged is not None:
                yield tagged

    def check(self, batch: Batch, side: int = 0) -> None:
        """No row is refused before its turn."""

    def on_end(self) -> Iterator[Output]:
        """Folds all rows; an object that was built is closed by the thread that called it."""
        yield from super().on_end()
        self.rows.made.close()

    def close(self) -> None:
        """Closes what was built, where the run ended before the input."""
        self.rows.made.close()

    def _add_until(self, before: int | None) -> Iterator[Output]:
        yield from super()._add_until(before)
        if not self.refused:
            return
        refused, self.refused = self.refused, []
        for rows, error in refused:
            yield Refusal(rows, [error])
        # A key of which every row failed is none.
        slots = np.unique(self.table.find(joined([rows for rows, _ in refused]).rows.select(self.keys)))
        self._free(slots[~self.known.upto(self.table.count)[slots]])

    def _add(self, batches: list[Batch]) -> Touched:
        slots, times = [], []
        for batch in batches:
            assert batch.time is not None
            keys = batch.rows.select(self.keys)
            if self.expiry is not None:
                self._begin_anew(keys, batch.time, self.expiry)
            of_rows = self.table.put(keys, [], np.ascontiguousarray(batch.time))
            failed = self._fold(batch, of_rows)
            good = kept_rows(len(batch), failed)
            slots.append(of_rows[good] if failed else of_rows)
            times.append(batch.time[good] if failed else batch.time)
        touched = self.table.touched(np.concatenate(slots), np.concatenate(times))
        if self.expiry is not None:
            last = self.last.upto(self.table.count)
            last[touched.slots] = touched.high
            self.expiry.file(touched.slots, last)
        return touched

    def _fold(self, batch: Batch, slots: Int64s) -> list[tuple[int, UserFunctionError]]:
        given = batch.rows.select(list(self.fold_node.read))
        try:
            _, failed = self.rows.run(given, slots, self.table.count, None)
        except UserFunctionError as error:
            row_named(error, batch, self.keys)
            raise
        for at, failure in failed:
            row_named(failure, batch, self.keys)
            row = batch.slice(at, 1)
            given_row = Batch(self.given.passed(row.rows), row.time)
            self.refused.append((as_given(given_row, self.fold_node.inputs[0].schema), failure))
        return failed

    def _reset(self, slots: Int64s) -> None:
        super()._reset(slots)
        self.states.forget(slots)

    def _free(self, slots: Int64s) -> Int64s | None:
        self.states.forget(slots)
        live = super()._free(slots)
        if live is not None:
            self.states.renumber(live)
        return live

    def _columns(self, slots: Int64s) -> dict[str, pa.Array]:
        into = self.fold_node.into
        made = self.states.columns(slots)
        if made is None:
            rows = [self.states.get(slot, False) for slot in slots.tolist()]
            values = [[row] if len(into) == 1 else row for row in rows]
            arrays = [array_of([row[at] for row in values], f.type) for at, f in enumerate(into)]
        else:
            arrays = [column.cast(f.type) for column, f in zip(made, into, strict=True)]
        keys = self.table.read(slots).keys
        return dict(zip([*self.keys, *into.names], [*keys.columns, *arrays], strict=True))

    # Barriers.

    def _schema(self) -> pa.Schema:
        return with_fields(
            pa.schema(self.fold_node.key_fields), [pa.field("last_time", _TIME), *self.states.fields()]
        )

    def snapshot(self) -> State:
        """The keys with their states and the time of their last row; and the rows that wait.

        Raises:
            UserFunctionError: a state holds what a checkpoint cannot keep.
        """
        waiting = {}
        if self.given.schema is not None:
            waiting["waiting"] = self.waiting.snapshot(self.given.schema)
        slots = self.table.live()
        slots = slots[self.known.upto(self.table.count)[slots]]
        if not len(slots):
            return {"keys": self._schema().empty_table(), **waiting}
        try:
            saved = self.states.save(slots)
        except NoText as error:
            raise UserFunctionError(
                f"the state that {self.fold_node.callee.described} returned cannot be kept in a checkpoint",
                expected=KEPT,
                got=str(error),
            ) from None
        last = pa.array(self.last.upto(self.table.count)[slots]).view(_TIME)
        columns = [*self.table.read(slots).keys.columns, last, *(c.combine_chunks() for c in saved.columns)]
        return {"keys": pa.Table.from_arrays(columns, schema=self._schema()), **waiting}

    def restore(self, state: State) -> None:
        """Takes in this worker's keys and waiting rows."""
        if "waiting" in state:
            self.given.restored(state["waiting"].schema)
            self.waiting.restore(state["waiting"])
        at = len(self.keys)
        for batch in state["keys"].to_batches() if "keys" in state else ():
            if not batch.num_rows:
                continue
            times = np.asarray(batch.column(at).view(pa.int64()))
            keys = pa.RecordBatch.from_arrays(batch.columns[:at], schema=pa.schema(self.fold_node.key_fields))
            slots = self.table.put(keys, [], times)
            self.known.upto(self.table.count)[slots] = True
            if self.expiry is not None:
                last = self.last.upto(self.table.count)
                last[slots] = times
                self.expiry.file(slots, last)
            self.states.load(slots, pa.Table.from_batches([batch]).select(range(at + 1, batch.num_columns)))
