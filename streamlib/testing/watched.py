"""Nodes that watch a graph from within: probes that check every edge, and sinks that know where barriers stood."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from streamlib.contracts import Operator, Output, State, Wait
from streamlib.elements import MIN_TIME, Batch
from streamlib.graph import BuildContext, Node, SinkNode
from streamlib.graph.node import SinkOperator
from streamlib.testing.specs import RowData


class Progress:
    """What one edge has seen; checks the rule of SEMANTICS 4 that no row lies before the watermark.

    A row may lie before it only when its mark says so: then every step behind can refuse it.
    """

    def __init__(self, edge: str) -> None:
        self.edge = edge
        self.watermark = MIN_TIME

    def check(self, batch: Batch) -> None:
        """Raises AssertionError for a row that comes too late and does not say so."""
        if batch.time is None or self.watermark == MIN_TIME or not len(batch):
            return
        mark = batch.time if batch.mark is None else np.maximum(batch.time, batch.mark)
        low = int(mark.min())
        assert low >= self.watermark, f"{self.edge}: a row at {low} after watermark {self.watermark}"


@dataclass(frozen=True, eq=False, kw_only=True)
class ProbeNode(Node):
    """Passes everything and checks each edge. It may hold a batch up, so that others overtake its worker.

    Attributes:
        dice: decides when.
        stalls: how often, 0 to 1.
    """

    kind: ClassVar[str] = "probe"
    dice: random.Random
    stalls: float = 0.0

    def derive_schema(self) -> pa.Schema:
        return self.inputs[0].schema

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        return [wanted]

    def build(self, context: BuildContext) -> Operator:
        return ProbeOperator(self)


class ProbeOperator(Operator):
    """Passes everything, checks, and stalls."""

    def __init__(self, node: ProbeNode) -> None:
        self.progress = Progress(f"behind {node.inputs[0].label}")
        self.dice, self.stalls = node.dice, node.stalls

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """The batch, perhaps after a while."""
        if self.dice.random() < self.stalls:
            yield Wait(lambda: self.dice.random() < 0.2)
        self.progress.check(batch)
        yield batch

    def on_watermark(self, time: int) -> Sequence[Batch]:
        """Nothing."""
        assert time > self.progress.watermark, "a watermark rises"
        self.progress.watermark = time
        return ()


@dataclass(frozen=True, eq=False, kw_only=True)
class WatchedSink(SinkNode):
    """Keeps the rows that come, by worker, and where barriers stood between them."""

    kept: dict[int, list[pa.RecordBatch]] = field(default_factory=dict)
    cuts: dict[int, list[int]] = field(default_factory=dict)

    def build(self, context: BuildContext) -> Operator:
        return WatchedOperator(self, context)

    def table(self, barrier: int | None = None) -> pa.Table:
        """The rows before barrier `barrier`, or all, by worker and then as they came."""
        batches = []
        for worker, mine in sorted(self.kept.items()):
            cuts = self.cuts[worker]
            end = len(mine) if barrier is None or barrier > len(cuts) else cuts[barrier - 1]
            batches += mine[:end]
        return pa.Table.from_batches(batches, self.schema)


class WatchedOperator(SinkOperator):
    """Keeps rows in the node and checks the edge."""

    def __init__(self, node: WatchedSink, context: BuildContext) -> None:
        super().__init__(node, context)
        self.kept = node.kept.setdefault(context.worker, [])
        self.cuts = node.cuts.setdefault(context.worker, [])
        self.progress = Progress("before a sink")

    def on_batch(self, batch: Batch, side: int = 0) -> Sequence[Batch]:
        """Keeps it."""
        self.progress.check(batch)
        self.kept.append(batch.rows)
        return ()

    def on_watermark(self, time: int) -> Sequence[Batch]:
        """Nothing."""
        self.progress.watermark = time
        return ()

    def snapshot(self) -> State:
        """Notes what stands before the barrier."""
        self.cuts.append(len(self.kept))
        return {}


def rows_of(rows: pa.Table) -> list[RowData]:
    """Rows as dicts, with times and durations as int ns."""
    columns: dict[str, list[Any]] = {}
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        if pa.types.is_timestamp(column.type) or pa.types.is_duration(column.type):
            assert column.type.unit == "ns"
            column = column.cast(pa.int64())
        columns[name] = column.to_pylist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
