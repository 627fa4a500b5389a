"""Running aggregation: one current row per key, and each change of it.

Rows wait until the watermark W has passed them (t < W); then they are added, and each key that they
touched gives one change with its new values. So the table at a watermark is a function of the input,
while how often W rises, and with it how many changes are seen between, is timing. A row is refused
by its mark alone, when the mark lies after it. A change has the time of its key's newest row: that
row came out now, so it is not before the watermark sent on last.

With `max_rate` rows are added span by span of event time, whole spans only: one change per key and
span, and then the changes too are a function of the input. With `ttl` a key goes when it had no row
for longer than that: a row that comes later begins anew, whatever was added in one step.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Operator, Output, State, Tagged
from streamlib.elements import MAX_TIME, MIN_TIME, Batch, format_duration
from streamlib.errors import BuildError
from streamlib.expr import Expr, Program
from streamlib.graph import BuildContext, SourceNode
from streamlib.graph.plan import topological
from streamlib.kernels.columns import decoded_type
from streamlib.operators.aggregation import Aggregation, InputColumns, Late, from_input
from streamlib.operators.tables import CHANGE, DELETE, INSERT, UPDATE, TableStep
from streamlib.state import Expiry, Order, OrderedBuffer, SlotColumn, SlotTable, Touched, with_fields

Int64s = npt.NDArray[np.int64]

_UNUSED_TIME = MIN_TIME


@dataclass(frozen=True, eq=False, kw_only=True)
class TableNode(TableStep):
    """A table of all rows of a key so far.

    Attributes:
        ttl: a key without rows for longer than this goes, ns; None for never.
        forever: the user said that keys are kept for ever.
        max_rate: at most one change per key in each span of this length, ns; None for no limit.
    """

    exchange_by: ClassVar[bool] = True
    refuses = "checked"
    ttl: int | None = None
    forever: bool = False
    max_rate: int | None = None

    @property
    @abstractmethod
    def expressions(self) -> Mapping[str, Expr]:
        """The aggregates by column name."""

    @property
    @abstractmethod
    def columns(self) -> Sequence[str]:
        """The table's columns in order: keys and names of `expressions`."""

    def derive_schema(self) -> pa.Schema:
        source = self.inputs[0]
        if not source.keys:
            raise BuildError("a table has a row per key", hint='say which rows belong together: .key_by("k")')
        self.require_time(f"{self.kind} by key")
        self.check_names()
        self.aggregation.check("key")
        finals = Program(self.aggregation.finals, self.aggregation.intermediate).schema
        fields = {field.name: field for field in [*self.key_fields, *finals]}
        return pa.schema([*(fields[name] for name in self.columns), pa.field(CHANGE, pa.string())])

    def check_names(self) -> None:
        """Raises BuildError where a column of the result has the name of another."""
        for name in self.columns:
            if name == CHANGE:
                raise BuildError(
                    f"the name {CHANGE!r} is taken",
                    hint=f"the changes of a table have a column {CHANGE!r}: choose another name",
                )

    def validate(self) -> None:
        for name, value in (("ttl", self.ttl), ("max_rate", self.max_rate)):
            if value is not None and value <= 0:
                raise BuildError(f"{name}= must be positive", got=format_duration(value))
        if self.ttl is not None and self.max_rate is not None and self.ttl < self.max_rate:
            raise BuildError(
                "ttl= is shorter than max_rate=",
                expected="a key that lives through a span at least",
                got=f"ttl={format_duration(self.ttl)!r}, max_rate={format_duration(self.max_rate)!r}",
            )
        if self.ttl is None and not self.forever:
            for node in topological([self]):
                if isinstance(node, SourceNode) and not node.source.bounded:
                    raise BuildError(
                        "a table over a source without an end would keep every key for ever",
                        expected='ttl=, such as ttl="1h": a key goes when it had no row for so long',
                        got=f"no ttl=, and {node.describe() or node.label}",
                        hint="if the keys are few, say ttl=sl.FOREVER",
                    )

    @cached_property
    def key_fields(self) -> list[pa.Field]:
        """The key columns; dictionaries come out decoded."""
        source = self.inputs[0]
        return [pa.field(k, decoded_type(source.schema.field(k).type)) for k in source.keys]

    @cached_property
    def aggregation(self) -> Aggregation:
        """The expressions, taken apart."""
        return Aggregation(self.expressions, self.inputs[0].schema)

    @cached_property
    def sorts(self) -> bool:
        """Whether `first` or `last` works on results, which carry no order."""
        return self.aggregation.reads_edges and not from_input(self.inputs[0])[0]

    @property
    def reads_order(self) -> bool:
        """Whether ties in event time matter to an aggregate, and rows carry what decides them."""
        return self.aggregation.reads_edges and not self.sorts

    @cached_property
    def late_schema(self) -> pa.Schema:
        """The columns of `.late`."""
        source = self.inputs[0].schema
        if "late_by" in source.names:
            raise BuildError("column 'late_by' of the input has the name of a column of .late")
        return source.append(pa.field("late_by", pa.duration("ns")))

    def derive_time(self) -> str | None:
        return None

    def derive_keys(self) -> tuple[str, ...]:
        return self.inputs[0].keys

    def state_bound(self) -> str:
        return "keys" if self.ttl is None else "within x rate"

    def timing_because(self) -> str | None:
        if self.ttl is None:
            return None
        return f"{self.label}: which keys have outlived their ttl when the input ends"

    def history_because(self) -> str | None:
        return None if self.max_rate is not None else f"{self.label}: running updates, without max_rate="

    def options(self) -> str:
        """The options, as the user wrote them."""
        parts = []
        if self.forever or self.ttl is not None:
            parts.append("ttl=" + ("FOREVER" if self.ttl is None else repr(format_duration(self.ttl))))
        if self.max_rate is not None:
            parts.append(f"max_rate={format_duration(self.max_rate)!r}")
        return ", ".join(parts)

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        if self.sorts:
            return [None]  # every column decides between rows of one time
        return [frozenset(self.aggregation.columns() | set(self.inputs[0].keys))]

    def build(self, context: BuildContext) -> Operator:
        return TableOperator(self, context)


@dataclass(frozen=True, eq=False, kw_only=True)
class RunningAggregateNode(TableNode):
    """Aggregates all rows of a key so far.

    Attributes:
        aggregates: expressions over aggregates, by column name.
    """

    kind: ClassVar[str] = "running aggregate"
    aggregates: Mapping[str, Expr]

    @property
    def expressions(self) -> Mapping[str, Expr]:
        return self.aggregates

    @property
    def columns(self) -> Sequence[str]:
        return [*self.inputs[0].keys, *self.aggregates]

    def check_names(self) -> None:
        if not self.aggregates:
            raise BuildError("agg() was given no aggregate", expected="such as n=sl.count()")
        for name in self.aggregates:
            if name in self.inputs[0].keys:
                raise BuildError(
                    f"the name {name!r} is taken", hint="keys are columns of the result: choose another"
                )
        super().check_names()

    def describe(self) -> str:
        named = ", ".join(f"{name}={expr}" for name, expr in self.aggregates.items())
        return f"{named}{', ' if self.options() else ''}{self.options()}"


class TableOperator(Operator):
    """Rows that wait, and the state of each key."""

    def __init__(self, node: TableNode, context: BuildContext) -> None:
        self.node = node
        self.batch_rows = context.batch_rows
        self.late_read = context.late_read
        source = node.inputs[0].schema
        self.keys = list(node.keys)
        kept = source.names if node.sorts else self.keys
        self.inputs = InputColumns(kept, node.aggregation.inputs, source)
        self.in_spans = node.max_rate is not None or node.ttl is not None
        order = Order.COLUMNS if node.sorts else Order.TIME if self.in_spans else Order.ARRIVAL
        self.waiting = OrderedBuffer(order, len(kept))
        self.table = SlotTable(node.key_fields, node.aggregation.plan(ordered=context.needs_order))
        self.finals = Program(node.aggregation.finals, node.aggregation.intermediate)
        self.known = SlotColumn(np.bool_, False)
        self.last = SlotColumn(np.int64, _UNUSED_TIME)
        self.expiry = None if node.ttl is None else Expiry(node.ttl)
        self.late = 0
        self.late_by_max = 0

    # Rows in.

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Has rows wait; yields those that are late, if somebody reads them."""
        late = _late_rows(batch)
        self.waiting.add(self.inputs.of(batch, late))
        if late is not None:
            tagged = self._refuse_late(batch.filter(late))
            if tagged is not None:
                yield tagged

    def check(self, batch: Batch, side: int = 0) -> None:
        """Raises for a row whose inputs cannot be computed, or added; those of late rows are not."""
        self.node.aggregation.try_rows(self.inputs.evaluate(batch, _late_rows(batch)))

    def _refuse_late(self, refused: Batch) -> Tagged | None:
        assert refused.time is not None and refused.mark is not None
        over = refused.mark - refused.time
        self.late += len(refused)
        self.late_by_max = max(self.late_by_max, int(over.max()))
        if not self.late_read:
            return None  # nor are all columns there
        rows = pa.RecordBatch.from_arrays(
            [*refused.rows.columns, pa.array(over, pa.duration("ns"))], schema=self.node.late_schema
        )
        return Tagged("late", Batch(rows, refused.time, refused.mark, refused.order, refused.origin))

    # Changes out.

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Adds the rows before it, and lets go of keys that had none for long."""
        before = self.forward(time)
        yield from self._add_until(before)
        yield from self._expire(before)

    def on_end(self) -> Iterator[Output]:
        """Adds all rows. Keys stay: how far event time came in the whole input is not known here."""
        yield from self._add_until(None)

    def forward(self, watermark: int) -> int:
        """W; with `max_rate` the beginning of the span that it has come to."""
        span = self.node.max_rate
        if span is None or watermark <= MIN_TIME or watermark >= MAX_TIME:
            return watermark
        return max(MIN_TIME, watermark // span * span)

    def _add_until(self, before: int | None) -> Iterator[Output]:
        released = self.waiting.release(before)
        if not released:
            return
        if not self.in_spans:
            yield from self._changes(self._add(released))
            return
        for begin, part in self._spans(released[0]):
            if before is not None:
                yield from self._expire(begin)
            yield from self._changes(self._add([part]))

    def _spans(self, rows: Batch) -> Iterator[tuple[int, Batch]]:
        """Rows in the order of time, cut into spans; and the beginning of each.

        The rows of one key in a span are no further apart than `ttl`.
        """
        assert rows.time is not None
        begin, time = 0, rows.time
        while begin < len(rows):
            low = int(time[begin])
            if self.node.max_rate is not None:
                low = max(MIN_TIME, low // self.node.max_rate * self.node.max_rate)
                high = low + self.node.max_rate
            else:
                assert self.node.ttl is not None
                high = low + self.node.ttl
            end = len(rows) if high >= MAX_TIME else int(np.searchsorted(time, high))
            yield low, rows.slice(begin, end - begin)
            begin = end

    def _add(self, batches: list[Batch]) -> Touched:
        slots, times = [], []
        for batch in batches:
            assert batch.time is not None
            keys = batch.rows.select(self.keys)
            if self.expiry is not None:
                self._begin_anew(keys, batch.time, self.expiry)
            slots.append(self.table.put(keys, self.inputs.inputs_of(batch.rows), batch.time, batch.order))
            times.append(batch.time)
        touched = self.table.touched(np.concatenate(slots), np.concatenate(times))
        if self.expiry is not None:
            last = self.last.upto(self.table.count)
            last[touched.slots] = touched.high
            self.expiry.file(touched.slots, last)
        return touched

    def _begin_anew(self, keys: pa.RecordBatch, times: Int64s, expiry: Expiry) -> None:
        """Empties the state of keys whose first row of this span comes after their time to live."""
        touched = self.table.touched(self.table.find(keys), times)
        known = self.known.upto(self.table.count)[touched.slots]
        over = touched.low > expiry.deadlines(touched.slots, self.last.upto(self.table.count))
        self.table.reset(touched.slots[known & over])

    def _changes(self, touched: Touched) -> Iterator[Batch]:
        known = self.known.upto(self.table.count)
        change = np.where(known[touched.slots], UPDATE, INSERT)
        known[touched.slots] = True
        yield from self._rows(touched.slots, change, touched.high)

    def _expire(self, before: int) -> Iterator[Output]:
        if self.expiry is None:
            return
        slots = self.expiry.due(before, self.last.upto(self.table.count))
        if not len(slots):
            return
        # A deadline that is due lies before `before`: the next nanosecond is a time.
        times = self.expiry.deadlines(slots, self.last.upto(self.table.count)) + np.int64(1)
        yield from self._rows(slots, np.full(len(slots), DELETE), times)
        self.known.upto(self.table.count)[slots] = False
        self.last.upto(self.table.count)[slots] = _UNUSED_TIME
        live = self.table.free(slots)
        if live is not None:
            self.known.keep(live)
            self.last.keep(live)
            self.expiry.renumbered(np.arange(len(live)), self.last.upto(len(live)))

    def _rows(self, slots: Int64s, change: npt.NDArray[np.str_], times: Int64s) -> Iterator[Batch]:
        names, schema = self.node.columns, self.node.schema
        for begin in range(0, len(slots), self.batch_rows):
            part = slice(begin, begin + self.batch_rows)
            state = self.table.read(slots[part])
            finished = state.results()
            values = self.finals.evaluate(
                pa.RecordBatch.from_arrays(finished, schema=self.node.aggregation.intermediate)
                if finished
                else state.keys.select([])
            )
            columns = dict(zip(self.node.expressions, values, strict=True))
            columns |= dict(zip(self.keys, state.keys.columns, strict=True))
            kinds = pa.array(change[part].tolist(), pa.string())
            rows = pa.RecordBatch.from_arrays([*(columns[name] for name in names), kinds], schema=schema)
            yield Batch(rows, times[part])

    # Barriers and looks.

    def snapshot(self) -> State:
        """The keys with their named state and the time of their last row; and the rows that wait."""
        live = self.table.snapshot()
        state = {"waiting": self.waiting.snapshot(self.inputs.schema)}
        if self.expiry is not None:
            last = self.last.upto(self.table.count)[self.table.live()]
            field = pa.field("last_time", pa.timestamp("ns", "UTC"))
            whole = with_fields(live.schema, [field])
            live = pa.Table.from_arrays([*live.columns, pa.array(last).view(field.type)], schema=whole)
        return {"keys": live, **state}

    def restore(self, state: State) -> None:
        """Takes in this worker's keys and waiting rows."""
        if "waiting" in state:
            self.waiting.restore(state["waiting"])
        if "keys" not in state:
            return
        keys, times = state["keys"], None
        if self.expiry is not None:
            times = keys.column(-1).cast(pa.int64()).to_numpy()
            keys = keys.remove_column(keys.num_columns - 1)
        begin = 0
        for slots in self.table.take_in(keys):
            self.known.upto(self.table.count)[slots] = True
            if self.expiry is not None and times is not None:
                last = self.last.upto(self.table.count)
                last[slots] = times[begin : begin + len(slots)]
                self.expiry.file(slots, last)
            begin += len(slots)

    def open_windows(self) -> tuple[int, int | None]:
        """1 while rows wait: what they will change is not out yet."""
        return (1, self.waiting.low) if self.waiting.rows else (0, None)

    def open_rows(self) -> int:
        """Rows that wait."""
        return self.waiting.rows

    def counters(self) -> dict[str, int]:
        """Late rows, and by how much the latest missed its turn, ns."""
        return {"late": self.late, "late_by_max": self.late_by_max} if self.late else {}


def _late_rows(batch: Batch) -> Late | None:
    """Which rows their mark refuses; None when it refuses none."""
    if batch.mark is None:
        return None
    assert batch.time is not None
    late: Late = batch.mark > batch.time
    return late if late.any() else None
