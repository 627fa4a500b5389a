"""The engine's graph of a scenario: probes stand between its steps, and its clocks withhold watermarks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from streamlib.eventtime import EventClock, IdlePolicy
from streamlib.expr import col
from streamlib.graph import SourceNode
from streamlib.operators.event_time import EventTimeNode
from streamlib.streams import Stream
from streamlib.streams.table import Table
from streamlib.testing.build_steps import built
from streamlib.testing.list_source import Item, ListSource, Pause
from streamlib.testing.manual_clock import ManualClock
from streamlib.testing.scenario import Scenario, Settings
from streamlib.testing.specs import (
    Apply,
    Filled,
    Late,
    Read,
    RowData,
    Side,
    Spec,
    Timed,
    Union,
    all_specs,
    inputs_of,
)
from streamlib.testing.watched import ProbeNode, WatchedSink, rows_of

SCHEMA = pa.schema(
    {
        "ts": pa.timestamp("ns"),
        "k": pa.string(),
        "g": pa.int64(),
        "v": pa.float64(),
        "n": pa.int64(),
        "id": pa.int64(),
    }
)


class LateClock(EventClock):
    """A clock that often hands out an older watermark than it knows: SEMANTICS 6 says that it may.

    Args:
        dice: decides when.
        withheld: how often, 0 to 1.
    """

    def __init__(self, max_delay: int | None, idle: IdlePolicy, dice: random.Random, withheld: float) -> None:
        super().__init__(max_delay, idle, idle_after=10)
        self.dice, self.withheld = dice, withheld

    def watermark(self) -> int:
        """The frontier, or what was handed out before."""
        if self.dice.random() < self.withheld:
            return self._handed_out
        return super().watermark()

    def wake(self, split: int) -> bool:
        """A split enters at the true frontier: only what is sent on may be old."""
        super().watermark()
        return super().wake(split)


@dataclass(frozen=True, eq=False, kw_only=True)
class LateTimeNode(EventTimeNode):
    """`event_time` with a clock that withholds."""

    dice: random.Random
    withheld: float

    def make_clock(self) -> EventClock:
        return LateClock(self.max_delay, self.idle, self.dice, self.withheld)


class Graph:
    """The graph of one attempt.

    Args:
        scenario: what is run.
        settings: how.
        clock: the processing clock.
        hidden: the splits that are not known yet.

    Attributes:
        sinks: in the scenario's order.
        failures: how often a function of the user's raised.
    """

    def __init__(
        self, scenario: Scenario, settings: Settings, clock: ManualClock, hidden: Collection[tuple[int, int]]
    ) -> None:
        from streamlib.connectors.memory import CollectSink

        self.scenario, self.settings, self.clock, self.hidden = scenario, settings, clock, hidden
        self.dice = random.Random(settings.seed)
        self.streams: dict[int, Stream] = {}
        self.owners: dict[int, Any] = {}
        self.failures = 0
        for spec in all_specs(scenario.sinks):
            made = self._made(spec)
            self.owners[id(spec)] = made
            stream = made.changes() if isinstance(made, Table) else made
            probe = ProbeNode(inputs=(stream._node,), dice=self.dice, stalls=settings.stalls)
            stream = type(stream)(probe)
            self.streams[id(spec)] = stream
        self.sinks = [
            WatchedSink(inputs=(self.streams[id(spec)]._node,), sink=CollectSink()) for spec in scenario.sinks
        ]

    def _made(self, spec: Spec) -> Any:
        if isinstance(spec, Read):
            return Stream(SourceNode(source=self._source(spec.source)))
        if isinstance(spec, Apply):
            return self._applied(self.streams[id(spec.input)], spec.function)
        if isinstance(spec, Timed):
            timed = Stream(
                LateTimeNode(
                    inputs=(self.streams[id(spec.input)]._node,),
                    column="ts",
                    max_delay=spec.max_delay,
                    per=spec.per,
                    idle=IdlePolicy.LEAVE if spec.leaves else IdlePolicy.WAIT,
                    dice=self.dice,
                    withheld=self.settings.withheld,
                )
            )
            return self._asked(timed) if self.settings.asks else timed
        if isinstance(spec, Union):
            first, *others = (self.streams[id(s)] for s in spec.inputs)
            return first.union(*others)
        if isinstance(spec, Late | Side | Filled):  # these belong to the step itself, without its probe
            return built(spec, [self.owners[id(source)] for source in inputs_of(spec)])
        return built(spec, [self.streams[id(source)] for source in inputs_of(spec)])

    def _source(self, number: int) -> ListSource:
        splits: dict[str, list[Item]] = {}
        peeks = []
        for index, rows in enumerate(self.scenario.sources[number]):
            name = f"{number}.{index}"
            if (number, index) not in self.scenario.unpeeked:
                peeks.append(name)
            splits[name] = list(self._items(rows))
        return ListSource(
            splits,
            SCHEMA,
            seed=self.settings.seed,
            block_rows=self.settings.block_rows,
            clock=self.clock,
            peeks=peeks,
            hidden=[f"{s}.{p}" for s, p in self.hidden if s == number],
        )

    def _items(self, rows: list[RowData]) -> Iterator[Item]:
        """The rows of a split. Where marks stand is a function of the seed of the scenario: positions count them."""
        dice = random.Random(self.scenario.seed)
        table = pa.RecordBatch.from_pylist(rows, SCHEMA)
        begin = 0
        while begin < len(rows):
            end = dice.randint(begin + 1, len(rows))
            yield table.slice(begin, end - begin)
            long, often = dice.choice((1, 3, 30)), dice.random()
            yield Pause(long if self.scenario.idles else int(often * 4 * self.settings.pauses))
            begin = end

    def _asked(self, stream: Stream) -> Stream:
        """The same rows, each after a while. Two rows that stem from one are told apart by their order only."""
        dice = random.Random(self.settings.seed)

        async def answered(row: dict[str, Any]) -> dict[str, Any]:
            for _ in range(dice.choice((0, 0, 1, 5))):
                await asyncio.sleep(dice.choice((0, 0, 1e-9, 1e-8)))
            return row

        specs = all_specs(self.scenario.sinks)
        ordered = any(isinstance(spec, Apply) and spec.function == "twice" for spec in specs)
        return stream.map_async(
            answered, self.settings.asks, ordered=ordered or dice.random() < 0.5, timeout=None, schema=SCHEMA
        )

    def _applied(self, stream: Stream, function: str) -> Stream:
        if function == "keep_large":
            stream = stream.filter(col("n") > 2)
        elif function == "keep_keyed":
            stream = stream.filter(col("k").is_not_null())
        elif function == "keep_valued":
            stream = stream.filter(col("v") < 6)
        elif function == "add_one":
            stream = stream.with_columns(n=col("n") + 1)
        elif function == "double":
            stream = stream.with_columns(v=col("v") * 2)
        else:
            stream = stream.map_batches(self._function(function), SCHEMA)
        if self.scenario.fails_at is not None and "id" in stream.schema.names:
            stream = stream.map_batches(self._fail, stream.schema)
        return stream

    def _fail(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        if self.scenario.fails_at in rows.column("id").to_pylist():
            self.failures += 1
            raise ValueError(f"row {self.scenario.fails_at} was told to fail")
        return rows

    def _function(self, name: str) -> Any:
        def same(rows: pa.RecordBatch) -> pa.RecordBatch:
            return rows

        def drop_even(rows: pa.RecordBatch) -> pa.RecordBatch:
            return rows.filter(pa.array([n % 2 == 1 for n in rows.column("n").to_pylist()], pa.bool_()))

        def twice(rows: pa.RecordBatch) -> pa.RecordBatch:
            found = rows_of(pa.Table.from_batches([rows]))
            doubled = [made for row in found for made in (row, {**row, "n": int(str(row["n"])) + 10})]
            return pa.RecordBatch.from_pylist(doubled, SCHEMA)

        return {"same": same, "drop_even": drop_even, "twice": twice}[name]
