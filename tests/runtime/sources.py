"""Sources for tests: splits written out as lists of blocks, silences and things that happen in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

import streamlib as sl
from streamlib.connectors.memory import CollectSink
from streamlib.contracts import PENDING, Block, Pending, Source, Split, SplitReader
from streamlib.graph import SinkNode
from streamlib.runtime.execute import Execution
from streamlib.runtime.run import RunOptions

Item = pa.RecordBatch | Pending | Exception
"""A block's rows; PENDING, once for each look at the split; or an error that `read` raises."""

SCHEMA = pa.schema({"ts": pa.timestamp("s"), "k": pa.string(), "v": pa.int64()})


def rows(*seconds: int, key: str = "a") -> pa.RecordBatch:
    """Rows at these seconds; `v` is the second too."""
    return pa.record_batch(
        [pa.array(seconds, pa.timestamp("s")), [key] * len(seconds), list(seconds)], schema=SCHEMA
    )


class ListSource(Source):
    """A split per entry of `splits`.

    Args:
        splits: the items of each split. While `live`, a test may add to them.
        decoding: called with the name and number of each block that is decoded.
        peeks: whether the first row of a split can be looked at.
        live: whether splits have nothing for now, and no end, after their last item; until `end()`.
    """

    bounded = False

    def __init__(
        self,
        splits: Mapping[str, Sequence[Item]],
        decoding: Callable[[str, int], None] | None = None,
        peeks: bool = True,
        live: bool = False,
    ) -> None:
        self.splits_of = {name: list(items) for name, items in splits.items()}
        self.decoding, self.peeks, self.live = decoding, peeks, live
        self.read_order: list[str] = []
        self.open_readers = 0

    def add(self, split: str, *items: Item) -> None:
        """More of a split."""
        self.splits_of[split].extend(items)

    def end(self) -> None:
        """Nothing more will come."""
        self.live = False

    def schema(self) -> pa.Schema:
        return SCHEMA

    def splits(self) -> list[Split]:
        return [Split(name) for name in self.splits_of]

    def open(self, split: Split, position: Any = None) -> SplitReader:
        self.open_readers += 1
        return ListReader(self, split.name, 0 if position is None else int(position))


class ListReader(SplitReader):
    """The position is the number of the next item."""

    def __init__(self, source: ListSource, name: str, at: int) -> None:
        self.source, self.name, self.at = source, name, at

    def read(self) -> Block | Pending | None:
        items = self.source.splits_of[self.name]
        if self.at == len(items):
            return PENDING if self.source.live else None
        item = items[self.at]
        self.at += 1
        if isinstance(item, Exception):
            raise item
        if item is PENDING:
            return PENDING
        self.source.read_order.append(self.name)
        return Block((self.at - 1, item), self.at, nbytes=item.nbytes)

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        number, batch = block.data
        if self.source.decoding is not None:
            self.source.decoding(self.name, number)
        yield batch

    def peek(self) -> pa.RecordBatch | None:
        ahead = self.source.splits_of[self.name][self.at : self.at + 1]
        return ahead[0] if self.source.peeks and ahead and isinstance(ahead[0], pa.RecordBatch) else None

    def close(self) -> None:
        self.source.open_readers -= 1


class ManualClock:
    """The processing clock of a run, moved by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now * 1_000_000_000


class Run:
    """An opened execution of bars over a timed stream, stepped by the test.

    Attributes:
        bars: where the bars went, as (key, window start in s, rows, sum of v).
        late: where the late rows went, as seconds.
    """

    def __init__(
        self,
        stream: sl.Stream,
        workers: int = 1,
        size: str = "10s",
        clock: Callable[[], int] | None = None,
        **options: Any,
    ) -> None:
        result = stream.key_by("k").window(sl.tumbling(size)).agg(n=sl.count(), total=sl.col("v").sum())
        self.sinks = CollectSink(), CollectSink()
        if clock is not None:
            options["now_ns"] = clock
        self.execution = Execution(
            [result.write(self.sinks[0]), result.late.write(self.sinks[1])], workers, RunOptions(**options)
        )
        self.execution.open()

    @property
    def clock(self) -> Any:
        (clock,) = self.execution.shared.clocks.values()
        return clock

    @property
    def watermark(self) -> int:
        """In seconds."""
        return self.clock.watermark() // 1_000_000_000

    def steps(self, count: int) -> None:
        """Lets every worker do `count` things."""
        for _ in range(count):
            for worker in self.execution.workers:
                worker.step()

    def open_windows(self) -> int:
        return sum(self.execution.totals().open_windows.values())

    def finish(self) -> None:
        self.execution.finish()
        self.execution.close()

    @property
    def bars(self) -> list[tuple[str, int, int, int]]:
        table = self.sinks[0].table()
        starts = table["window_start"].cast(pa.timestamp("s")).cast(pa.int64())
        return sorted(
            zip(
                *(column.to_pylist() for column in (table["k"], starts, table["n"], table["total"])),
                strict=True,
            )
        )

    @property
    def late(self) -> list[int]:
        return sorted(self.sinks[1].table()["v"].to_pylist())


def untimed(source: Source) -> tuple[SinkNode, CollectSink]:
    """A source straight into memory."""
    sink = CollectSink()
    return sl.read(source).write(sink), sink
