"""Running pipelines in a test: on the calling thread, with chosen cuts, workers, schedule and clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import overload

import pyarrow as pa

from streamlib.connectors.memory import CollectSink
from streamlib.connectors.tables import TableSink
from streamlib.errors import BuildError, user_location
from streamlib.eventtime import IdlePolicy
from streamlib.exchange.channel import CHANNEL_BYTES_MAX
from streamlib.graph import SinkNode
from streamlib.graph.plan import topological
from streamlib.operators.hidden import HiddenColumnsNode
from streamlib.runtime.execute import Execution
from streamlib.runtime.inline import Schedule, run_inline
from streamlib.runtime.run import RunOptions
from streamlib.runtime.worker import Worker
from streamlib.streams import Stream, Table
from streamlib.testing.manual_clock import ManualClock
from streamlib.testing.stepped_loop import SteppedLoop

JUMPS_MAX = 10_000
"""How often the clock may jump without anything happening before a run counts as stuck."""


@overload
def run(
    pipeline: Stream | Table,
    *,
    workers: int = ...,
    batch_rows: int = ...,
    channel_bytes_max: int = ...,
    seed: int | None = ...,
    clock: ManualClock | None = ...,
) -> pa.Table: ...


@overload
def run(
    pipeline: Sequence[Stream | Table],
    *,
    workers: int = ...,
    batch_rows: int = ...,
    channel_bytes_max: int = ...,
    seed: int | None = ...,
    clock: ManualClock | None = ...,
) -> list[pa.Table]: ...


def run(
    pipeline: Stream | Table | Sequence[Stream | Table],
    *,
    workers: int = 1,
    batch_rows: int = 65_536,
    channel_bytes_max: int = CHANNEL_BYTES_MAX,
    seed: int | None = None,
    clock: ManualClock | None = None,
) -> pa.Table | list[pa.Table]:
    """The rows of a stream, or of several that are run together, sorted as `collect` sorts them.

    Of a `Table` it is the last state.

    All workers run on the calling thread. When none can go on the clock jumps, so that idle splits
    come back at once and nothing sleeps.

    Args:
        pipeline: what to run.
        workers: how many.
        batch_rows: the largest batch.
        channel_bytes_max: from which size a channel admits no batch; 1 parks all the time.
        seed: chooses which worker goes on; in turn when None.
        clock: the processing clock; its own when None.

    Raises:
        StreamlibError: as the run raises it.
        AssertionError: the run is stuck, which is a bug of the engine or of a source.

    >>> import streamlib as sl
    >>> from streamlib.testing.list_source import source
    >>> run(sl.read(source([{"n": 1}, {"n": 2}])).filter(sl.col("n") > 1), workers=2).to_pydict()
    {'n': [2]}
    """
    ends = [_End(each) for each in as_list(pipeline)]
    nodes = [end.node for end in ends]
    clock = clock or ManualClock()
    options = RunOptions(batch_rows, channel_bytes_max, clock, new_loop=partial(SteppedLoop, clock))
    execution = Execution(nodes, workers, options)
    try:
        execution.open()
        run_inline(execution, None if seed is None else schedule_of(seed), jumping(clock, execution))
        execution.finish()
    except BaseException:
        execution.abort()
        raise
    finally:
        execution.close()
    tables = [end.rows() for end in ends]
    return tables[0] if isinstance(pipeline, Stream | Table) else tables


def as_list(pipeline: Stream | Table | Sequence[Stream | Table]) -> list[Stream | Table]:
    """The streams and tables of what a test hands over.

    Raises:
        BuildError: something else, such as a sink.
    """
    given = [pipeline] if isinstance(pipeline, Stream | Table | SinkNode) else list(pipeline)
    for each in given:
        if not isinstance(each, Stream | Table):
            raise BuildError(
                "a test runs streams and tables",
                at=user_location(),
                expected="what comes before .print(), .write(...) or .write_files(...)",
                got=repr(each),
            )
    return given


class _End:
    """Where a stream's rows, or a table's last state, are collected."""

    def __init__(self, given: Stream | Table) -> None:
        self._sink: CollectSink | TableSink
        self._hidden: HiddenColumnsNode | None = None
        if isinstance(given, Table):
            self._sink = TableSink()
            self.node = SinkNode(inputs=(given._node,), sink=self._sink.for_table(given.keys))
        else:
            self._sink = CollectSink()
            self._hidden = HiddenColumnsNode(inputs=(given._node,))
            self.node = SinkNode(inputs=(self._hidden,), sink=self._sink)

    def rows(self) -> pa.Table:
        """What came, sorted as `collect` sorts it."""
        rows = self._sink.table()
        if self._hidden is None:
            return rows
        (node,) = self._hidden.inputs
        results = node.timed and any(n.state_bound() != "none" for n in topological([node]))
        return self._hidden.sorted(rows, results)


def schedule_of(seed: int) -> Schedule:
    """A schedule that favours some workers for a while, then others, as threads of a busy machine do."""
    dice = random.Random(seed)
    weights: list[float] = []
    left = 0

    def choose(workers: Sequence[Worker]) -> Worker:
        nonlocal left
        if left == 0:
            weights[:] = [dice.choice((0.01, 0.2, 1.0, 1.0)) for _ in workers]
            left = dice.randint(1, 20)
        left -= 1
        return dice.choices(workers, weights)[0]

    return choose


def jumping(clock: ManualClock, execution: Execution, jumps_max: int = JUMPS_MAX) -> Callable[[], bool]:
    """What a run does when no worker can go on: lets the clock jump, but not for ever.

    It jumps to the next moment that a source waits for, or at which a silent split would be idle.
    """
    jumps = 0

    def idle() -> bool:
        nonlocal jumps
        jumps += 1
        for event_clock in execution.shared.clocks.values():
            if event_clock.idle is not IdlePolicy.WAIT:
                for number, split in event_clock.splits.items():
                    if event_clock.is_live(number) and split.last_row_ns is not None:
                        clock.wait_until(split.last_row_ns + event_clock.idle_after)
        clock.jump()
        return jumps <= jumps_max

    return idle
