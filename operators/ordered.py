"""What steps share that take the rows of a key in their order: who waits, who is late, what is kept for how long.

A row waits until the watermark W has passed it and the allowed lateness L: t + L < W. No row before it can
come any more, so rows go on in the order of (event time, split, position), and the answer depends on the
input alone. A row is refused by its own mark: mark > t + L. Results have the time of their row, and what is
sent on is W - L.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa

from streamlib.contracts import Operator, Output, State, Tagged
from streamlib.elements import MIN_TIME, Batch, format_duration
from streamlib.errors import BuildError, DataError
from streamlib.expr import Expr, Program
from streamlib.graph import BuildContext, Node, SourceNode
from streamlib.graph.plan import topological
from streamlib.kernels.columns import decoded, decoded_type
from streamlib.operators.aggregation import Late
from streamlib.operators.input_rows import from_input
from streamlib.state import Order, OrderedBuffer


@dataclass(frozen=True, eq=False, kw_only=True)
class OrderedNode(Node):
    """A step that takes each key's rows in order and gives a row for each.

    Attributes:
        allowed_lateness: how long rows wait besides, ns.
        ttl: a key without rows for longer than this begins anew, ns; None for never.
        forever: the user said that keys are kept for ever.
    """

    exchange_by: ClassVar[bool] = True
    refuses = "checked"
    allowed_lateness: int = 0
    ttl: int | None = None
    forever: bool = False

    @property
    @abstractmethod
    def what(self) -> str:
        """The step as messages name it."""

    @property
    @abstractmethod
    def inputs_of_rows(self) -> Mapping[str, Expr]:
        """What is computed of each row while it comes in, by a name for messages."""

    @property
    def is_bounded(self) -> bool:
        """Whether what it keeps of a key goes by itself."""
        return False

    def require_keys(self) -> None:
        """Raises BuildError where rows have no keys, or no event time."""
        if not self.inputs[0].keys:
            raise BuildError(
                f"{self.what} needs to know which rows belong together",
                expected="a keyed stream",
                hint='say it before: .key_by("k")',
            )
        self.require_time(self.what)

    def validate(self) -> None:
        if self.allowed_lateness < 0:
            raise BuildError("allowed_lateness= must not be negative")
        if self.ttl is not None and self.ttl <= 0:
            raise BuildError("ttl= must be positive", got=format_duration(self.ttl))
        if self.is_bounded or self.ttl is not None or self.forever:
            return
        for node in topological([self]):
            if isinstance(node, SourceNode) and not node.source.bounded:
                raise BuildError(
                    f"{self.what} over a source without an end would keep every key for ever",
                    expected='ttl=, such as ttl="1h": a key begins anew when it had no row for so long',
                    got=f"no ttl=, and {node.describe() or node.label}",
                    hint="if the keys are few, say ttl=sl.FOREVER",
                )

    @cached_property
    def plain_source(self) -> pa.Schema:
        """The columns that come in, dictionaries decoded: as they go on."""
        source = self.inputs[0].schema
        return pa.schema([field.with_type(decoded_type(field.type)) for field in source])

    @cached_property
    def key_fields(self) -> list[pa.Field]:
        """The key columns."""
        return [self.plain_source.field(key) for key in self.inputs[0].keys]

    @cached_property
    def sorts(self) -> bool:
        """Whether it works on results, which carry no order: all their columns decide."""
        return not from_input(self.inputs[0])[0]

    @property
    def reads_order(self) -> bool:
        """Whether rows carry what decides between rows of one time."""
        return not self.sorts

    @cached_property
    def late_schema(self) -> pa.Schema:
        """The columns of `.late`."""
        source = self.inputs[0].schema
        if "late_by" in source.names:
            raise BuildError("column 'late_by' of the input has the name of a column of .late")
        return source.append(pa.field("late_by", pa.duration("ns")))

    def state_bound(self) -> str:
        return "within x rate" if self.is_bounded or self.ttl is not None else "keys"

    def options(self) -> list[str]:
        """The options, as the user wrote them."""
        parts = []
        if self.allowed_lateness:
            parts.append(f"allowed_lateness={format_duration(self.allowed_lateness)!r}")
        if self.forever or self.ttl is not None:
            parts.append("ttl=" + ("FOREVER" if self.ttl is None else repr(format_duration(self.ttl))))
        return parts

    def needs_for(self, passed: frozenset[str] | None, read: set[str]) -> Sequence[frozenset[str] | None]:
        """`needs`, when of the columns that pass through `passed` are wanted (None: all) and `read` are read."""
        if self.sorts or passed is None:
            return [None]
        return [passed | read | set(self.inputs[0].keys)]


class WaitingColumns:
    """Rows as they wait: the columns that came, decoded, and behind them what was computed of them.

    Args:
        inputs: what the step reads, by name; plain columns are not kept twice.
        source: all columns of the rows that come, though not all may be needed.
    """

    def __init__(self, inputs: Mapping[str, Expr], source: pa.Schema) -> None:
        self._inputs = list(inputs.values())
        self._computed = {n: expr for n, expr in inputs.items() if not expr.is_column}
        self._types = [expr.type_in(source) for expr in self._computed.values()]
        self._program: Program | None = None
        self.schema: pa.Schema | None = None
        self._count = 0

    @property
    def columns(self) -> int:
        """How many columns came."""
        return self._count

    def begin(self, schema: pa.Schema) -> None:
        """The columns that come."""
        if self.schema is None:
            fields = [field.with_type(decoded_type(field.type)) for field in schema]
            self._count = len(fields)
            taken = set(schema.names)
            for number, kind in enumerate(self._types):
                name = f"input_{number}"
                while name in taken:
                    name += "_"
                fields.append(pa.field(name, kind))
            self.schema = pa.schema(fields)

    def restored(self, schema: pa.Schema) -> None:
        """The columns of rows that wait in a snapshot: those here, and event time and order."""
        self.begin(pa.schema(list(schema)[: len(schema) - 2 - len(self._types)]))

    def of(self, batch: Batch, late: Late | None) -> Batch:
        """The batch, without its late rows, in this form.

        Raises:
            DataError: an input cannot be computed of a row.
        """
        self.begin(batch.rows.schema)
        values = self.evaluate(batch, late)
        batch = batch if late is None else batch.filter(~late)
        columns = [decoded(column) for column in batch.rows.columns]
        return batch.with_rows(pa.RecordBatch.from_arrays([*columns, *values], schema=self.schema))

    def evaluate(self, batch: Batch, late: Late | None) -> list[pa.Array]:
        """What is computed of the rows that are not late."""
        if not self._computed:
            return []
        rows = batch.rows if late is None else batch.rows.filter(pa.array(~late))
        if self._program is None:
            self._program = Program(self._computed, rows.schema)
        try:
            return self._program.evaluate(rows)
        except DataError as error:
            if late is not None and error.row is not None:
                error.row = int(np.flatnonzero(~late)[error.row])
            raise

    def inputs_of(self, rows: pa.RecordBatch) -> list[pa.Array]:
        """Of rows in this form what the step reads, in its order."""
        computed = iter(rows.columns[self._count :])
        return [rows.column(expr.columns()[0]) if expr.is_column else next(computed) for expr in self._inputs]

    def passed(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Of rows in this form the columns that came."""
        return rows.select(rows.schema.names[: self._count])


class OrderedOperator(Operator):
    """Rows that wait; a subclass takes them in order."""

    def __init__(self, node: OrderedNode, context: BuildContext) -> None:
        self.ordered_node = node
        self.batch_rows = context.batch_rows
        self.late_read = context.late_read
        self.columns = WaitingColumns(node.inputs_of_rows, node.inputs[0].schema)
        order = Order.COLUMNS if node.sorts else Order.TIME
        self.waiting = OrderedBuffer(order, len(node.inputs[0].schema), context.wanted)
        self.late = 0
        self.late_by_max = 0

    @abstractmethod
    def work(self, rows: Batch) -> Iterator[Output]:
        """Takes the next rows, in order; yields what comes of them."""

    @abstractmethod
    def tidy(self, before: int) -> None:
        """No row below `before`, ns, comes any more: lets go of what is not needed then."""

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Has rows wait; yields those that are late, if somebody reads them."""
        late = self._late_rows(batch)
        self.waiting.add(self.columns.of(batch, late))
        if late is not None:
            tagged = self._refuse_late(batch.filter(late))
            if tagged is not None:
                yield tagged

    def check(self, batch: Batch, side: int = 0) -> None:
        """Raises for a row whose inputs cannot be computed; those of late rows are not."""
        self.columns.evaluate(batch, self._late_rows(batch))

    def _late_rows(self, batch: Batch) -> Late | None:
        """Which rows their mark refuses; None when it refuses none."""
        if batch.mark is None:
            return None
        assert batch.time is not None
        allowed = self.ordered_node.allowed_lateness
        late: Late = (batch.mark > batch.time) & (batch.mark >= MIN_TIME + allowed)
        late &= batch.mark - np.int64(allowed) > batch.time
        return late if late.any() else None

    def _refuse_late(self, refused: Batch) -> Tagged | None:
        assert refused.time is not None and refused.mark is not None
        over = refused.mark - np.int64(self.ordered_node.allowed_lateness) - refused.time
        self.late += len(refused)
        self.late_by_max = max(self.late_by_max, int(over.max()))
        if not self.late_read:
            return None  # nor are all columns there
        rows = pa.RecordBatch.from_arrays(
            [*refused.rows.columns, pa.array(over, pa.duration("ns"))], schema=self.ordered_node.late_schema
        )
        return Tagged("late", Batch(rows, refused.time, refused.mark, refused.order, refused.origin))

    def forward(self, watermark: int) -> int:
        """W - L."""
        allowed = self.ordered_node.allowed_lateness
        return max(MIN_TIME, watermark - allowed)

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Takes the rows that nothing can come before any more."""
        before = self.forward(time)
        yield from self._release(before)
        self.tidy(before)

    def on_end(self) -> Iterator[Output]:
        """Takes all rows."""
        yield from self._release(None)

    def _release(self, before: int | None) -> Iterator[Output]:
        for batch in self.waiting.release(before):
            for begin in range(0, len(batch), self.batch_rows):
                yield from self.work(batch.slice(begin, min(self.batch_rows, len(batch) - begin)))

    def snapshot(self) -> State:
        """The rows that wait."""
        if self.columns.schema is None:
            return {}
        return {"waiting": self.waiting.snapshot(self.columns.schema)}

    def restore(self, state: State) -> None:
        """Takes in rows that wait."""
        if "waiting" in state:
            self.columns.restored(state["waiting"].schema)
            self.waiting.restore(state["waiting"])

    def open_windows(self) -> tuple[int, int | None]:
        """1 while rows wait: their results are not out yet."""
        return (1, self.waiting.low) if self.waiting.rows else (0, None)

    def open_rows(self) -> int:
        """Rows that wait."""
        return self.waiting.rows

    def counters(self) -> dict[str, int]:
        """Late rows, and by how much the latest missed its turn, ns."""
        return {"late": self.late, "late_by_max": self.late_by_max} if self.late else {}
