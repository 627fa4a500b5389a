"""One operator, driven by hand and synchronously: batches and watermarks in, rows with their tags out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Operator, State, Tagged, Wait
from streamlib.elements import MIN_TIME, Batch, BlockEnd, Origin, times_ns
from streamlib.exchange import Partitioner
from streamlib.graph import BuildContext, Node
from streamlib.streams import Stream, Table
from streamlib.testing.tables import rows_to_table, table

Int64s = npt.NDArray[np.int64]


@dataclass(slots=True)
class Harness:
    """The operator of one step on one worker. Make one with `harness`.

    Attributes:
        node: the step.
        operator: what runs.
        outputs: all that came out: (tag, batch), the tag None for the main output.
        forwarded: the watermark that the step has sent on, ns.
    """

    node: Node
    operator: Operator
    context: BuildContext
    outputs: list[tuple[str | None, Batch]] = field(default_factory=list)
    forwarded: int = MIN_TIME
    _fed: int = 0
    _blocks: int = 0
    _seen: int = 0

    def feed(self, rows: Any, mark: int | Sequence[int] | None = None, side: int = 0) -> pa.Table:
        """Hands a batch over, and returns the rows of the main output that it made come out.

        Args:
            rows: a table, a batch, a list of dicts, or text as `table` takes it.
            mark: the mark of all rows, or of each, ns; None where no row is behind its own.
            side: the input.
        """
        batch = self._batch(rows, mark, side)
        self._take(self.operator.on_batch(batch, side))
        clock = self.context.clock
        if clock is not None:
            self._take(self.operator.on_block_end(BlockEnd(0, self._blocks, len(batch))))
            self._blocks += 1
            self.forwarded = clock.watermark()
        return self.new_rows()

    def watermark(self, time: int) -> pa.Table:
        """The merged watermark of the inputs rises to `time`, ns; returns the rows that came out."""
        self._take(self.operator.on_watermark(time))
        self.forwarded = max(self.forwarded, self.operator.forward(time))
        return self.new_rows()

    def barrier(self) -> State:
        """A barrier passes: what was only gathered comes out, and the state is taken."""
        self._take(self.operator.on_barrier())
        return self.operator.snapshot()

    def end(self) -> pa.Table:
        """The input ends; returns the rows that came out."""
        self._take(self.operator.on_end())
        return self.new_rows()

    def restored(self, state: State) -> Harness:
        """A fresh operator of the same step that has taken in `state`, as from two workers with keys of their own."""
        fresh = _made(self.node, self.context)
        for name, saved in state.items():
            keys = self.node.state_keys(name)
            parts = Partitioner(keys or (), 2, everywhere=False)
            for rows in saved.to_batches():
                for _, part in sorted(parts.parts(Batch(rows)), key=lambda found: found[0]):
                    fresh.operator.restore({name: pa.Table.from_batches([part.rows], saved.schema)})
        return fresh

    def rows(self, tag: str | None = None) -> pa.Table:
        """All rows that came out so far, of the main output or of a side output such as ``late``."""
        batches = [batch.rows for which, batch in self.outputs if which == tag]
        return pa.Table.from_batches(batches) if batches else self._empty(tag)

    def times(self, tag: str | None = None) -> list[int]:
        """The event times of these rows, ns."""
        return [int(t) for which, b in self.outputs if which == tag and b.time is not None for t in b.time]

    def new_rows(self) -> pa.Table:
        """The rows of the main output since the last call."""
        new = self.outputs[self._seen :]
        self._seen = len(self.outputs)
        batches = [batch.rows for tag, batch in new if tag is None]
        return pa.Table.from_batches(batches) if batches else self._empty(None)

    def _empty(self, tag: str | None) -> pa.Table:
        schema = self.node.schema if tag is None else getattr(self.node, f"{tag}_schema")
        return schema.empty_table()

    def _batch(self, rows: Any, mark: int | Sequence[int] | None, side: int) -> Batch:
        if isinstance(rows, str):
            rows = table(rows)
        elif isinstance(rows, Sequence):
            rows = rows_to_table(rows, self.node.inputs[side].schema)
        if isinstance(rows, pa.Table):
            rows = rows.combine_chunks().to_batches()[0] if rows.num_rows else _empty_batch(rows.schema)
        source = self.node.inputs[side]
        rows = rows.select(source.schema.names).cast(source.schema)
        count = rows.num_rows
        time: Int64s | None = None
        if source.timed:
            assert source.time is not None, "the harness finds times in the time column"
            time = times_ns(rows.column(source.time), source.time)
        marks = None if mark is None else np.full(count, mark, dtype=np.int64)
        order = np.arange(self._fed, self._fed + count, dtype=np.int64) if self.context.needs_order else None
        origin = Origin(0, self._blocks, "fed by hand", self._fed)
        self._fed += count
        return Batch(rows, time, marks, order, origin)

    def _take(self, outputs: Iterable[object]) -> None:
        for output in outputs:
            assert not isinstance(output, Wait), "a step alone has nobody to wait for"
            if isinstance(output, Tagged):
                self.outputs.append((output.tag, output.batch))
            elif isinstance(output, Batch) and len(output):
                self.outputs.append((None, output))


def harness(step: Stream | Table | Node, batch_rows: int = 65_536, ordered: bool = False) -> Harness:
    """The operator of a step, to be driven by hand.

    Args:
        step: the result of the step: what `.filter(...)` or `.agg(...)` returned; or its node.
        batch_rows: the largest batch it may yield.
        ordered: rows carry the order that decides ties, as they do when they come from several splits.

    >>> import streamlib as sl, streamlib.testing as t
    >>> ticks = sl.read_arrow(t.table("ts v\\n 00:00:01 1")).event_time("ts", max_delay="2s")
    >>> sums = t.harness(ticks.window(sl.tumbling("10s")).agg(total=sl.col("v").sum()))
    >>> sums.feed([{"ts": "00:00:01", "v": 1}, {"ts": "00:00:02", "v": 5}]).num_rows
    0
    >>> sums.watermark(10_000_000_000)["total"].to_pylist()
    [6]
    """
    node = step if isinstance(step, Node) else step._node
    context = BuildContext(
        batch_rows=batch_rows,
        needs_order=ordered and node.reads_order,
        late_read=True,
        sides_read=frozenset({"duplicates"}),
        clock=node.make_clock(),
    )
    if context.clock is not None:
        context.clock.add(0, "fed by hand")
    return _made(node, context)


def _made(node: Node, context: BuildContext) -> Harness:
    return Harness(node, node.build(context), context)


def _empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
