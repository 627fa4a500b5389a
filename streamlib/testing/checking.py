"""`check`: one pipeline, many runs that must not differ.

The promise is that output is a function of the input. So the pipeline is run again with other batch
cuts, other numbers of workers, other schedules, tiny channels, another order of arrival within
`max_delay`, and killed and restored from its last barrier; all must give the rows of the first run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from streamlib.connectors.memory import CollectSink
from streamlib.connectors.tables import LastState
from streamlib.contracts import Source
from streamlib.errors import StreamlibError
from streamlib.graph import Node, SourceNode
from streamlib.graph.plan import topological
from streamlib.operators.tables.table_step import TableStep
from streamlib.runtime.execute import Execution
from streamlib.runtime.inline import run_inline
from streamlib.runtime.run import Checkpoint, RunOptions
from streamlib.runtime.worker import Worker
from streamlib.streams import Stream, Table
from streamlib.testing.compare import assert_same
from streamlib.testing.list_source import ListSource
from streamlib.testing.manual_clock import ManualClock
from streamlib.testing.rebuild import as_list_source, max_delays, rebuild, shuffled
from streamlib.testing.recut import function_that_sees_the_cut
from streamlib.testing.running import as_list, jumping, schedule_of
from streamlib.testing.stepped_loop import SteppedLoop
from streamlib.testing.watched import WatchedSink

WHOLE = 65_536


@dataclass(frozen=True, slots=True)
class Variation:
    """One way to run the pipeline.

    Attributes:
        workers: how many.
        batch_rows: the largest batch, and block.
        seed: chooses schedule, cuts, order of arrival and the moments of kills; None: plain.
        channel_bytes_max: from which size a channel admits no batch.
        shuffle: rows arrive in another order, none later than `max_delay`.
        kills: how often the run is killed and restored, each time on another number of workers.
    """

    workers: int = 1
    batch_rows: int = WHOLE
    seed: int | None = None
    channel_bytes_max: int = 8 * 1024 * 1024
    shuffle: bool = False
    kills: int = 0

    def __str__(self) -> str:
        plain = Variation()
        shown = ("workers", "batch_rows", "seed", "channel_bytes_max", "shuffle", "kills")
        parts = [f"{n}={getattr(self, n)}" for n in shown if getattr(self, n) != getattr(plain, n)]
        return ", ".join(parts) or "one worker, whole batches"


class _KilledError(Exception):
    """The run was killed on purpose."""


def check(
    pipeline: Stream | Table | Sequence[Stream | Table],
    *,
    workers: Sequence[int] = (1, 2, 3),
    batch_rows: Sequence[int] = (1, 7, WHOLE),
    seeds: Sequence[int] = (1, 2),
    shuffle: bool = True,
    crashes: bool = True,
) -> int:
    """Runs a pipeline in many ways that must not matter, and compares the rows.

    Sources of any kind that end will do; they are read once and played again from memory. Marks of
    `t.source` are played too. Shuffling and crashing use every seed. Functions that were handed to `map`,
    `flat_map` and `map_batches` are called with their rows cut in other places, too.

    Args:
        pipeline: a stream, or several that are run together. Of a `Table` the last states are compared.
        workers: numbers of workers.
        batch_rows: sizes of batches.
        seeds: of schedules, cuts, orders of arrival and crash points.
        shuffle: also let rows arrive in another order within `max_delay`.
        crashes: also kill the run and restore it from its last barrier, on other numbers of workers.

    Returns:
        How many runs were compared.

    Raises:
        AssertionError: two runs differ; the message has the first rows that do, and the variation. Or a
            function sees where its batches are cut, though no result shows it; the message has the cut.

    >>> import streamlib as sl, streamlib.testing as t
    >>> rows = [{"ts": f"00:00:{second:02}", "v": second} for second in (3, 1, 4, 15, 9, 26)]
    >>> ticks = sl.read(t.source(rows)).event_time("ts", max_delay="6s")
    >>> t.check(ticks.window(sl.tumbling("10s")).agg(total=sl.col("v").sum()), seeds=[1], workers=[1, 2])
    9
    """
    nodes: list[Node] = [each._node for each in as_list(pipeline)]
    lists = {
        id(n): as_list_source(n.source, lenient=n.on_error is not None and n.on_error.policy != "fail")
        for n in topological(nodes)
        if isinstance(n, SourceNode)
    }
    wanted = play(nodes, lists, Variation())
    compared = 0
    try:
        for variation in variations(workers, batch_rows, seeds, shuffle, crashes):
            _compare(wanted, nodes, lists, variation)
            compared += 1
    except AssertionError as error:
        guilty = function_that_sees_the_cut(nodes, lambda node: play([node], lists, Variation())[0])
        raise AssertionError(f"{error}\n{guilty}" if guilty else str(error)) from error
    guilty = function_that_sees_the_cut(nodes, lambda node: play([node], lists, Variation())[0])
    if guilty:
        raise AssertionError(guilty)
    return compared


def _compare(
    wanted: Sequence[pa.Table], nodes: Sequence[Node], lists: dict[int, ListSource], variation: Variation
) -> None:
    try:
        found = play(nodes, lists, variation)
    except StreamlibError as error:
        raise AssertionError(f"with {variation} the run fails, plainly it does not: {error}") from error
    for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
        which = f"stream {number + 1}: " if len(wanted) > 1 else ""
        assert_same(one, other, f"{which}with {variation} the rows are not those of a plain run")


def variations(
    workers: Sequence[int], batch_rows: Sequence[int], seeds: Sequence[int], shuffle: bool, crashes: bool
) -> Iterator[Variation]:
    """The runs that `check` makes: few rather than all combinations, each thing with each other once."""
    for count in workers:
        for rows in batch_rows:
            yield Variation(count, rows, seed=seeds[0] if seeds else None)
    for seed in seeds:
        dice = random.Random(seed)
        yield Variation(max(workers), dice.choice(batch_rows), seed, channel_bytes_max=1)
        if shuffle:
            yield Variation(dice.choice(workers), dice.choice(batch_rows), seed, shuffle=True)
        if crashes:
            yield Variation(dice.choice(workers), min(batch_rows), seed, kills=2)


def play(nodes: Sequence[Node], lists: dict[int, ListSource], variation: Variation) -> list[pa.Table]:
    """The rows of each node in one way to run."""
    dice = random.Random(variation.seed)
    committed: list[list[pa.Table]] = [[] for _ in nodes]
    resume: Checkpoint | None = None
    sources = dict(lists)
    if variation.shuffle:
        for node in topological(nodes):
            if isinstance(node, SourceNode):
                for step in max_delays(node, nodes)[:1]:
                    sources[id(node)] = shuffled(sources[id(node)], step, dice)
    for attempt in range(variation.kills + 1):
        attempted = variation if attempt == 0 else replace(variation, workers=dice.choice((1, 2, 3)))
        run = _Run(nodes, sources, attempted, dice, dies=attempt < variation.kills)
        ended = run.run(resume)
        last = None if ended else run.last_checkpoint()
        if ended or last is not None:
            for mine, sink in zip(committed, run.sinks, strict=True):
                mine.append(sink.table(None if ended or last is None else last.number))
        if ended:
            break
        resume = last or resume
    return [_result(node, pa.concat_tables(tables)) for node, tables in zip(nodes, committed, strict=True)]


def _result(node: Node, rows: pa.Table) -> pa.Table:
    """The rows of a stream; of a table the last state that its changes lead to."""
    if not isinstance(node, TableStep):
        return rows
    state = LastState(rows.schema, node.table_keys)
    for batch in rows.to_batches():
        state.apply(batch)
    return state.table()


class _Run:
    """One attempt: to its end, or until it is killed."""

    def __init__(
        self,
        nodes: Sequence[Node],
        sources: dict[int, ListSource],
        how: Variation,
        dice: random.Random,
        dies: bool,
    ) -> None:
        def change(node: SourceNode) -> Source:
            source = sources[id(node)]
            seed = None if how.seed is None else dice.randrange(2**31)
            return source.rebuilt(source.items, seed, how.batch_rows)

        self.sinks = [WatchedSink(inputs=(node,), sink=CollectSink()) for node in rebuild(nodes, change)]
        self.dice, self.dies, self.kills = dice, dies, how.kills
        self.life = dice.randint(1, 60) if dies else 0
        self.clock = ManualClock()
        self.schedule = schedule_of(how.seed or 0)
        options = RunOptions(
            how.batch_rows,
            how.channel_bytes_max,
            self.clock,
            checkpoints=True,
            new_loop=partial(SteppedLoop, self.clock),
        )
        self.execution = Execution(self.sinks, how.workers, options)
        self.choose: Callable[[Sequence[Worker]], Worker] | None = None if how.seed is None else self._choose

    def run(self, resume: Checkpoint | None) -> bool:
        """Whether it came to its end."""
        try:
            self.execution.open(resume)
            run_inline(self.execution, self.choose, jumping(self.clock, self.execution))
        except _KilledError:
            return False
        finally:
            self.execution.close()
        return True

    def last_checkpoint(self) -> Checkpoint | None:
        """The last complete one."""
        shared, workers = self.execution.shared, self.execution.plan.workers
        done = [c for c in shared.checkpoints.values() if len(c.workers_done) == workers]
        return done[-1] if done else None

    def _choose(self, workers: Sequence[Worker]) -> Worker:
        if self.kills and self.dice.random() < 0.2:
            self.execution.shared.start_barrier()
        if self.dies:
            self.life -= 1
            if self.life < 0:
                raise _KilledError
        return self.schedule(workers)
