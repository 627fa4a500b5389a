"""`silence`: a row for each time that a key had no row for so long.

A key is silent from a row at t when it has none in (t, t + d]: a row exactly d later breaks the silence, as with
sessions. The result has the time t + d. It comes out when the watermark has proved it, t + d + L < W, or when
a later row of the key has: so W - L is sent on. The next row arms the key again; until then nothing is kept of it.

The end of the input is no silence. What is said then goes by the largest event time H that any row of the input
had, whatever its key: silences with t + d <= H come out, others do not. The last watermark would not do:
how far it had come before the end is timing. H is that of the `event_time` steps above, behind which rows may be
filtered, since their watermark knows of those rows too; a small step tells every worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan
from streamlib.contracts import Operator, Output, State
from streamlib.elements import MAX_TIME, MIN_TIME, Batch, format_duration
from streamlib.errors import BuildError
from streamlib.expr import Expr
from streamlib.graph import BuildContext, Node
from streamlib.graph.plan import topological
from streamlib.kernels.columns import decoded
from streamlib.operators.ordered import OrderedNode, OrderedOperator
from streamlib.state import Expiry, Order, OrderedBuffer, SlotColumn, SlotTable, with_fields

Int64s = npt.NDArray[np.int64]

_TIME = pa.timestamp("ns", "UTC")
_UNITS_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
BOUNDS = ("silence_start", "silence_end")


@dataclass(frozen=True, eq=False, kw_only=True)
class HorizonNode(Node):
    """The latest event time of each batch, for those who need to know how far the input went."""

    kind: ClassVar[str] = "horizon"

    def derive_schema(self) -> pa.Schema:
        return pa.schema({"horizon": _TIME})

    def derive_keys(self) -> tuple[str, ...]:
        return ()

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        return [frozenset()]

    def build(self, context: BuildContext) -> Operator:
        return HorizonOperator()


class HorizonOperator(Operator):
    """Makes one row of each batch."""

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Yields the latest time."""
        if len(batch):
            assert batch.time is not None
            latest = np.array([batch.time.max()], dtype=np.int64)
            yield Batch(pa.record_batch([pa.array(latest).view(_TIME)], names=["horizon"]), latest)


@dataclass(frozen=True, eq=False, kw_only=True)
class SilenceNode(OrderedNode):
    """Says when keys fell silent. The first input has the rows, the others are horizons.

    Attributes:
        duration: of the silence, ns.
    """

    kind: ClassVar[str] = "silence"
    duration: int

    @property
    def what(self) -> str:
        return "silence"

    @property
    def inputs_of_rows(self) -> Mapping[str, Expr]:
        return {}

    @property
    def is_bounded(self) -> bool:
        return True

    def derive_schema(self) -> pa.Schema:
        self.require_keys()
        if self.duration <= 0:
            raise BuildError("a silence has a length", got=format_duration(self.duration))
        keys = self.inputs[0].keys
        taken = [name for name in BOUNDS if name in keys]
        if taken:
            raise BuildError(
                f"the key column {taken[0]!r} has the name of a column of the result", hint="rename it before"
            )
        bounds = [pa.field(name, self.bounds_type, False) for name in BOUNDS]
        return pa.schema([*self.key_fields, *bounds])

    def derive_time(self) -> None:
        """None: rows have the time of the end of the silence."""
        return

    @cached_property
    def bounds_type(self) -> pa.DataType:
        """That of the time column where it is fine enough."""
        source = self.inputs[0]
        kind = None if source.time is None else source.schema.field(source.time).type
        if kind is None or not pa.types.is_timestamp(kind):
            return pa.timestamp("ns")
        fine = self.duration % _UNITS_NS[kind.unit] == 0
        return kind if fine else pa.timestamp("ns", kind.tz)

    @property
    def reads_order(self) -> bool:
        return False

    def broadcasts(self, side: int) -> bool:
        return side > 0

    def exchange_keys(self, side: int) -> tuple[str, ...]:
        return () if side else self.inputs[0].keys

    def state_keys(self, table: str) -> tuple[str, ...] | None:
        return None if table == "horizon" else self.inputs[0].keys

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        return [frozenset(self.inputs[0].keys), *[None] * (len(self.inputs) - 1)]

    def describe(self) -> str:
        return ", ".join(
            [", ".join(self.inputs[0].keys), repr(format_duration(self.duration)), *self.options()]
        )

    def build(self, context: BuildContext) -> Operator:
        return SilenceOperator(self, context)


def horizons_of(node: Node) -> tuple[Node, ...]:
    """A horizon for each `event_time` step that leads to a node."""
    return tuple(HorizonNode(inputs=(each,), at=node.at) for each in topological([node]) if each.gives_order)


class SilenceOperator(OrderedOperator):
    """The keys that were not silent yet, with the time of their last row."""

    def __init__(self, node: SilenceNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self.node = node
        self.waiting = OrderedBuffer(Order.TIME)
        self.key_schema = pa.schema(node.key_fields)
        self.columns.begin(self.key_schema)
        self.table = SlotTable(node.key_fields, AccumulatorPlan([]))
        self.known = SlotColumn(np.uint8)
        self.last = SlotColumn(np.int64)
        self.expiry = Expiry(node.duration)
        self.horizon = MIN_TIME

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Has rows wait; yields those that are late, if somebody reads them."""
        assert batch.time is not None
        if side:
            self.horizon = max(self.horizon, int(batch.time.max(initial=MIN_TIME)))
            return
        late = self._late_rows(batch)
        if late is not None:
            tagged = self._refuse_late(batch.filter(late))
            if tagged is not None:
                yield tagged
            batch = batch.filter(~late)
        columns = [decoded(batch.rows.column(field.name)) for field in self.key_schema]
        self.waiting.add(batch.with_rows(pa.RecordBatch.from_arrays(columns, schema=self.key_schema)))

    def check(self, batch: Batch, side: int = 0) -> None:
        """Nothing of a row is computed, so that none can be wrong."""

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Yields the silences that nothing can break any more."""
        before = self.forward(time)
        yield from self._release(before)
        yield from self._fallen_silent(before)

    def on_end(self) -> Iterator[Output]:
        """Yields the silences that were over by the input's last row."""
        yield from self._release(None)
        yield from self._fallen_silent(min(MAX_TIME, self.horizon + 1))

    def work(self, rows: Batch) -> Iterator[Output]:
        """Takes the next rows; yields the silences between them."""
        assert rows.time is not None
        times = np.ascontiguousarray(rows.time)
        slots = self.table.put(rows.rows, [], times)
        last, known = self.last.upto(self.table.count), self.known.upto(self.table.count)
        order = np.argsort(slots, kind="stable")
        slots, times = slots[order], times[order]
        begins = np.ones(len(slots), dtype=np.bool_)
        begins[1:] = slots[1:] != slots[:-1]
        before = np.empty_like(times)
        before[1:] = times[:-1]
        before[begins] = last[slots[begins]]
        silent = (~begins | (known[slots] == 1)) & (times > self._ends(before))
        ends = np.append(begins[1:], True)
        newest = slots[ends]
        last[newest], known[newest] = times[ends], 1
        self.expiry.file(newest, last)
        yield from self._results(slots[silent], before[silent])

    def _ends(self, starts: Int64s) -> Int64s:
        """When silences that begin then are proved, ns; it does not wrap."""
        duration = self.node.duration
        return np.where(starts > MAX_TIME - duration, MAX_TIME, starts + np.int64(duration))

    def _fallen_silent(self, before: int) -> Iterator[Output]:
        """The keys whose silence was over before a time; they are forgotten."""
        last = self.last.upto(self.table.count)
        due = self.expiry.due(before, last)
        if not len(due):
            return
        starts = last[due].copy()
        self.known.upto(self.table.count)[due] = 0
        yield from self._results(due, starts)
        live = self.table.free(due)
        if live is not None:
            self.known.keep(live)
            self.last.keep(live)
            self.expiry.renumbered(np.arange(len(live)), self.last.upto(len(live)))

    def _results(self, slots: Int64s, starts: Int64s) -> Iterator[Batch]:
        for begin in range(0, len(slots), self.batch_rows):
            some = starts[begin : begin + self.batch_rows]
            ends = self._ends(some)
            keys = self.table.read(slots[begin : begin + self.batch_rows]).keys.columns
            kind = self.node.bounds_type
            bounds = [pa.array(each).view(pa.timestamp("ns", kind.tz)).cast(kind) for each in (some, ends)]
            rows = pa.RecordBatch.from_arrays([*keys, *bounds], schema=self.node.schema)
            yield Batch(rows, ends)

    def tidy(self, before: int) -> None:
        """Keys are let go of as they fall silent."""

    # Barriers.

    @cached_property
    def _keys_schema(self) -> pa.Schema:
        return with_fields(self.key_schema, [pa.field("last_time", _TIME)])

    def snapshot(self) -> State:
        """The rows that wait, the keys that were not silent yet, and how far the input went."""
        slots = self.table.live()
        last = pa.array(self.last.upto(self.table.count)[slots]).view(_TIME)
        keys = (
            self.table.read(slots).keys.columns
            if len(slots)
            else [pa.array([], f.type) for f in self.key_schema]
        )
        horizon = pa.array([self.horizon], pa.int64()).view(_TIME)
        return {
            "waiting": self.waiting.snapshot(self.key_schema),
            "keys": pa.Table.from_arrays([*keys, last], schema=self._keys_schema),
            "horizon": pa.table([horizon], names=["horizon"]),
        }

    def restore(self, state: State) -> None:
        """Takes in this worker's keys and waiting rows, and the latest horizon."""
        if "waiting" in state:
            self.waiting.restore(state["waiting"])
        if "horizon" in state:
            for time in state["horizon"].column(0).cast(pa.int64()).to_pylist():
                self.horizon = max(self.horizon, time)
        for rows in state["keys"].to_batches() if "keys" in state else ():
            if not rows.num_rows:
                continue
            times = rows.column(len(self.key_schema)).view(pa.int64()).to_numpy(zero_copy_only=False)
            keys = pa.RecordBatch.from_arrays(rows.columns[:-1], schema=self.key_schema)
            slots = self.table.put(keys, [], times)
            last = self.last.upto(self.table.count)
            last[slots] = times
            self.known.upto(self.table.count)[slots] = 1
            self.expiry.file(slots, last)
