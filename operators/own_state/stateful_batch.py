"""`stateful_batch`: a function of the user's, called once a batch with rows and the states of their keys.

Rows come in their order (see `ordered`). The function is given a copy of the states of the keys that the batch
has, so nothing is changed before what it returned has been checked. Its contract is that of `map_batches` with
a state between: f(x + y) = f(x) then f(y), because batches are cut anywhere. So where rows may be refused a
batch that fails is halved until the rows that fail are alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Operator, Output, Refusal, State
from streamlib.elements import Batch, times_ns
from streamlib.errors import StreamlibError, UserFunctionError
from streamlib.expr import Expr
from streamlib.graph import BuildContext
from streamlib.operators.functions.batch_forms import Form, given_as
from streamlib.operators.functions.batch_results import fitted, rows_of
from streamlib.operators.functions.brief import brief
from streamlib.operators.functions.callee import Callee, Made
from streamlib.operators.functions.event_times import keeps_time
from streamlib.operators.functions.tried import tried
from streamlib.operators.ordered import OrderedNode
from streamlib.operators.own_state.keyed_states import KeyedStates
from streamlib.operators.own_state.scan_function import as_given
from streamlib.operators.own_state.scan_order import refuse_retry
from streamlib.operators.own_state.stateful_batch_state import new_state
from streamlib.state import with_fields
from streamlib.state.steps.array_states import ArrayStates

Array = npt.NDArray[Any]
Int64s = npt.NDArray[np.int64]

_TIME = pa.timestamp("ns", "UTC")


@dataclass(frozen=True, eq=False, kw_only=True)
class StatefulBatchNode(OrderedNode):
    """What the function makes of rows and states.

    Attributes:
        callee: the function, or the class that each worker builds one object of.
        form: how it is given rows.
        initial: the state of a key without rows.
        given: the schema of what it returns; found with an empty batch when None.
    """

    kind: ClassVar[str] = "stateful_batch"
    callee: Callee
    form: Form
    initial: Mapping[str, Array]
    given: pa.Schema | None = None

    @property
    def what(self) -> str:
        return "stateful_batch"

    @property
    def inputs_of_rows(self) -> Mapping[str, Expr]:
        return {}

    def derive_schema(self) -> pa.Schema:
        self.require_keys()
        if self.given is not None:
            return self.given
        return tried(self.callee, self.form, self.plain_source, self._call_empty)

    def _call_empty(self, function: Callable[..., Any], empty: Any) -> Any:
        state = {name: np.empty((0, *v.shape), dtype=v.dtype) for name, v in self.initial.items()}
        result = function(empty, state, np.empty(0, dtype=np.int64))
        rows, kept = pair(result, self.callee.described)
        new_state(kept, self.initial, 0, self.callee.described)
        return rows

    def validate(self) -> None:
        super().validate()
        keeps_time(self, self.callee.described, may_go=True)

    def describe(self) -> str:
        kept = [f"{name} {value.dtype}" for name, value in self.initial.items()]
        return ", ".join([self.callee.short, f"state: {', '.join(kept)}", *self.options()])

    def build(self, context: BuildContext) -> Operator:
        refuse_retry(self)
        return StatefulBatchOperator(self, context)


class StatefulBatchOperator(KeyedStates):
    """The keys with their states."""

    def __init__(self, node: StatefulBatchNode, context: BuildContext) -> None:
        self.states = ArrayStates(node.initial)
        super().__init__(node, context, self.states)
        self.node = node
        self.given_as = given_as(node.form)
        self.made = Made(node.callee)

    def work(self, rows: Batch) -> Iterator[Output]:
        """Yields what the function makes of the rows."""
        assert rows.time is not None
        times = np.ascontiguousarray(rows.time)
        slots = self.table.put(rows.rows.select(self.keys), [], times)
        fresh = self.lives.seen(self.table, slots, times)
        for begin, end in pairwise([0, *_cuts(slots, fresh), len(rows)]):
            if fresh is not None:
                anew = slots[begin:end][fresh[begin:end] > 0]
                self.states.forget(anew)
            yield from self._part(rows.slice(begin, end - begin), slots[begin:end])

    def _part(self, rows: Batch, slots: Int64s) -> Iterator[Output]:
        """The rows, of which no key begins anew behind another row of it."""
        refused: list[tuple[Batch, UserFunctionError]] = []
        todo = [(rows, slots)]
        while todo:
            part, of = todo.pop()
            try:
                yield from self._called(part, of)
            except UserFunctionError as error:
                if not self.refuse:
                    error.where = error.where or self._where(part)
                    raise
                if len(part) == 1:
                    error.where = self._where(part)
                    refused.append((part, error))
                    continue
                half = len(part) // 2
                todo.append((part.slice(half, len(part) - half), of[half:]))
                todo.append((part.slice(0, half), of[:half]))
        for part, failure in refused:
            given = part.with_rows(self.columns.passed(part.rows))
            yield Refusal(as_given(given, self.node.inputs[0].schema), [failure])

    def _called(self, rows: Batch, slots: Int64s) -> list[Batch]:
        """What one call makes; states are kept when all of it is right."""
        node, described = self.node, self.node.callee.described
        assert rows.time is not None
        touched = self.table.touched(slots, np.ascontiguousarray(rows.time)).slots
        places = np.empty(self.table.count, dtype=np.int64)
        places[touched] = np.arange(len(touched))
        local = places[slots]
        local.flags.writeable = False
        given = self.columns.passed(rows.rows)
        try:
            result = self.made.function()(self.given_as(given), self.states.get(touched), local)
        except StreamlibError:
            raise
        except Exception as error:
            problem, hint = node.callee.raised(error), None
            if "read-only" in str(error):
                hint = "rows and slot are the engine's: make a copy before changing them"
            raise UserFunctionError(problem, got=str(error) or type(error).__name__, hint=hint) from error
        out, kept = pair(result, described)
        states = new_state(kept, node.initial, len(touched), described)
        made = [self._timed(part, rows) for part in self._fitted(out, rows, described)]
        self.states.put(touched, states)
        return [
            batch.slice(begin, min(self.batch_rows, len(batch) - begin))
            for batch in made
            for begin in range(0, len(batch), self.batch_rows)
        ]

    def _fitted(self, out: Any, rows: Batch, described: str) -> Sequence[pa.RecordBatch]:
        found = fitted(rows_of(out, described), self.node.schema, described)
        total = sum(part.num_rows for part in found)
        if self.node.time is None and total != len(rows):
            raise UserFunctionError(
                f"{described} returned another number of rows than it was given",
                expected=f"{len(rows)} rows: without an event-time column each has the time of its row",
                got=f"{total} rows",
                hint="return the event-time column as well: then there may be any number of rows",
            )
        return found

    def _timed(self, made: pa.RecordBatch, rows: Batch) -> Batch:
        """Rows with their time: that of their event-time column, which is one of those given."""
        name = self.node.time
        assert rows.time is not None
        if name is None:
            return Batch(made, rows.time)
        column = made.column(name)
        described = self.node.callee.described
        if column.null_count:
            raise UserFunctionError(f"{described} returned a null event time", where=f"column {name!r}")
        time = times_ns(column, name)
        if not np.array_equal(time, rows.time) and not np.isin(time, rows.time).all():
            raise UserFunctionError(
                f"{described} changed the event time {name!r}",
                expected="the times of the rows it was given",
                hint="put the new time into another column",
            )
        return Batch(made, time)

    def _where(self, rows: Batch) -> str:
        assert rows.time is not None
        first = np.datetime_as_string(np.datetime64(int(rows.time[0]), "ns"), unit="auto")
        if len(rows) > 1:
            return f"a batch of {len(rows)} rows from {first} on"
        keys = ", ".join(f"{name}={rows.rows.column(name)[0].as_py()!r}" for name in self.keys)
        return f"the row of {keys} at {first}"

    @property
    def called(self) -> Made:
        return self.made

    # Barriers.

    def snapshot(self) -> State:
        """The rows that wait, and the keys with their states."""
        slots = self.table.live()
        schema = with_fields(
            pa.schema(self.node.key_fields), [pa.field("last_time", _TIME), *self.states.fields()]
        )
        if not len(slots):
            return {**super().snapshot(), "keys": schema.empty_table()}
        last = pa.array(self.lives.times(self.table.count)[slots]).view(_TIME)
        columns = [*self.table.read(slots).keys.columns, last, *self.states.save(slots)]
        return {**super().snapshot(), "keys": pa.Table.from_arrays(columns, schema=schema)}

    def restore(self, state: State) -> None:
        """Takes in this worker's keys and waiting rows."""
        super().restore(state)
        at = len(self.keys)
        for batch in state["keys"].to_batches() if "keys" in state else ():
            if batch.num_rows:
                times = np.asarray(batch.column(at).view(pa.int64()))
                keys = pa.RecordBatch.from_arrays(batch.columns[:at], schema=pa.schema(self.node.key_fields))
                slots = self.table.put(keys, [], times)
                self.lives.restored(self.table, slots, times)
                self.states.load(slots, batch.columns[at + 1 :])


def pair(result: Any, described: str) -> tuple[Any, Any]:
    """What a function returned, as rows and state.

    Raises:
        UserFunctionError: it is no pair.
    """
    if type(result) is not tuple or len(result) != 2:
        raise UserFunctionError(
            f"{described} returned no pair",
            expected="return rows_out, new_state",
            got="nothing: is a return missing?" if result is None else brief(result),
        )
    return result[0], result[1]


def _cuts(slots: Int64s, fresh: npt.NDArray[np.uint8] | None) -> list[int]:
    """Where a batch has to be cut: before rows whose key begins anew and had a row in the batch before."""
    if fresh is None or not fresh.any():
        return []
    _, first = np.unique(slots, return_index=True)
    anew = fresh > 0
    anew[first] = False
    found: list[int] = np.flatnonzero(anew).tolist()
    return found
