"""The run as a worker process sees it: pool, clocks and channels whose other end is in another process.

The process that runs the job keeps splits and clocks. A block comes with the turn of its split as soon as
all earlier blocks have passed; what the clocks have come to is told by `news`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from streamlib.contracts import Block, Refused, SinkWriter, Split, SplitReader, State
from streamlib.elements import MIN_TIME, Barrier
from streamlib.errors import DataError
from streamlib.eventtime import EventClock
from streamlib.exchange.channel import CHANNEL_BYTES_MAX, Channel
from streamlib.graph import Plan, SourceNode
from streamlib.graph.plan import Step
from streamlib.runtime.run import Checkpoint, Entry, RunOptions, SharedRun
from streamlib.runtime.splits import Claim, SplitPool, SplitRun
from streamlib.workers.channels import IncomingChannel, OutgoingChannel, control_of
from streamlib.workers.failures import from_values
from streamlib.workers.link import Link
from streamlib.workers.rows import read_batch, read_rows, write_rows, write_table
from streamlib.workers.turns import read_split, write_split
from streamlib.workers.wire import Message


class ShippedReader(SplitReader):
    """Hands out blocks that another process has read and decoded."""

    def read(self) -> Block | None:
        raise AssertionError("the process that runs the job reads")

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        part, _ = block.data
        yield from read_rows(part)[1]

    def decode_leniently(self, block: Block, refused: list[Refused]) -> Iterator[pa.RecordBatch]:
        part, letters = block.data
        for row, values, number in letters:
            error = from_values(values)
            assert isinstance(error, DataError), "records are refused by data errors"
            refused.append(Refused(row, error, number))
        yield from read_rows(part)[1]


class RemotePool(SplitPool):
    """The pool of splits of the process that runs the job."""

    def __init__(self, plan: Plan, link: Link) -> None:
        super().__init__(lambda: 0)
        self._link = link
        self._left = {step.index for step in plan.steps if step.is_source}
        self._steps = plan.steps
        self._wait_seconds = 0.0
        self.clocks: dict[int, RemoteClock] = {}

    def claim(self, worker: int) -> Claim | None:
        if self.stopped or not self._left:
            return None
        reply = self._link.call(["claim"])
        if reply.values[0] == "nothing":
            self._wait_seconds = reply.values[1]
            return None
        _, step, split, name, number, first_row, first_line, turns, refused, *_ = reply.values
        parts = list(reply.parts)
        rows = parts.pop(0)
        letters = []
        if refused:
            data = read_rows(parts.pop(0))[1][0].column(0).to_pylist()
            letters = [(row, *about) for row, about in zip(data, refused, strict=True)]
        for clock, values, count in turns:
            self.clocks[clock].splits[split] = read_split(values, parts[:count])
            del parts[:count]
        node = self._steps[step].node
        assert isinstance(node, SourceNode)
        run = SplitRun(split, step, node.source, Split(name), [])
        block = Block((rows, letters), None, first_row, first_line)
        return Claim(run, block, number, ShippedReader())

    def done(self, claim: Claim) -> None:
        """Known where it was decoded."""

    def exhausted(self, step: int) -> bool:
        return step not in self._left

    def all_exhausted(self) -> bool:
        return not self._left

    def wait_seconds(self) -> float:
        return self._wait_seconds

    def told(self, exhausted: Sequence[int], stopped: bool) -> None:
        """What has become of the sources."""
        self._left -= set(exhausted)
        self.stopped = stopped


class RemoteClock(EventClock):
    """The clock of an `event_time` step: its splits are here while a block of theirs has the turn here."""

    def __init__(self, step: Step, like: EventClock, link: Link) -> None:
        super().__init__(like.max_delay, like.idle, like.idle_after)
        self._step, self._link = step, link
        self._told = (MIN_TIME, True, False)

    def told(self, watermark: int, any_live: bool, all_idle: bool) -> None:
        """What the clock has come to."""
        self._told = (watermark, any_live, all_idle)

    def is_turn(self, split: int, block: int) -> bool:
        known = self.splits.get(split)
        return known is not None and known.next_block == block

    def pass_block(self, split: int, now_ns: int | None = None) -> None:
        known = self.splits.pop(split)
        values, parts = write_split(known, per_schema(self._step))
        self._link.send(["passed", self._step.index, split, known.next_block, values], parts)

    def watermark(self) -> int:
        return self._told[0]

    def any_live(self) -> bool:
        return self._told[1]

    def all_idle(self) -> bool:
        return self._told[2]

    def worker_ended(self) -> int:
        reply = self._link.call(["ended", self._step.index])
        _, ended, splits = reply.values
        parts = list(reply.parts)
        for split, values, count in splits:
            self.splits[split] = read_split(values, parts[:count])
            del parts[:count]
        return int(ended)


def per_schema(step: Step) -> pa.Schema | None:
    """The columns of ``per=`` of an `event_time` step."""
    names: Sequence[str] = getattr(step.node, "per", ())
    fields = [step.node.inputs[0].schema.field(name) for name in names]
    plain = [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in fields]
    return pa.schema(plain) if plain else None


class ShippedWriter(SinkWriter):
    """Sends the rows of one step to the process that runs the job, where they are written.

    Args:
        step: the sink's.
        link: the way.
    """

    def __init__(self, step: int, link: Link) -> None:
        self._step, self._link = step, link
        self.in_flight_bytes = 0

    def write(self, rows: pa.RecordBatch) -> None:
        while self.in_flight_bytes >= CHANNEL_BYTES_MAX:
            self._link.wait(None)
        self.in_flight_bytes += rows.nbytes
        self._link.send(["write", self._step, rows.nbytes], [write_rows([rows], rows.schema)])


class WorkerRun(SharedRun):
    """What the one worker of this process shares with the others.

    Args:
        plan: the steps.
        options: limits.
        index: of the worker.
        link: to all others.
    """

    shares_memory = False

    def __init__(self, plan: Plan, options: RunOptions, index: int, link: Link) -> None:
        super().__init__(plan, options)
        self.index, self.link = index, link
        self.remote_pool = RemotePool(plan, link)
        self.pool = self.remote_pool
        self.remote_clocks = {
            step: RemoteClock(plan.steps[step], clock, link) for step, clock in self.clocks.items()
        }
        self.clocks = dict(self.remote_clocks)
        self.remote_pool.clocks = self.remote_clocks
        self.writers: dict[int, ShippedWriter] = {}
        self._leaving: dict[tuple[int, int], dict[int, OutgoingChannel]] = {}
        self._arriving: dict[tuple[int, int], IncomingChannel] = {}
        self.channels = dict(self._own_channels())
        link.handlers.update(
            news=self._news,
            turn=self._turn,
            batch=self._batch,
            element=self._element,
            credit=self._credit,
            written=self._written,
        )

    def _own_channels(self) -> Iterator[tuple[tuple[int, int, int], Channel]]:
        """The channels that this worker reads, and those that it writes."""
        limit = self.options.channel_bytes_max
        for step, incoming in enumerate(self.incoming):
            for number, one in enumerate(incoming):
                if not one.edge.channel:
                    continue
                here = (step, number)
                if one.sender in (None, self.index):
                    yield (*here, self.index), Channel(limit)
                    if one.sender is None:
                        continue
                    self._leaving[here] = {}
                    for worker in range(self.plan.workers):
                        if worker != self.index:
                            channel = OutgoingChannel(limit, self.link, worker, here, self._entering)
                            self._leaving[here][worker] = channel
                            yield (*here, worker), channel
                else:
                    self._arriving[here] = IncomingChannel(limit, self._giver(here, one.sender or 0))
                    yield (*here, self.index), self._arriving[here]

    def _giver(self, here: tuple[int, int], sender: int) -> Any:
        return lambda size: self.link.send(["credit", *here, size], to=sender)

    # What comes from the others.

    def _batch(self, sender: int, message: Message) -> None:
        _, step, number, size, about = message.values
        self._arriving[step, number].arrived(read_batch(about, message.parts[0]), size)

    def _element(self, sender: int, message: Message) -> None:
        _, step, number, *values = message.values
        if values[0] == "active":
            self._entry_known(values[1], values.pop())
        element = control_of(*values)
        if isinstance(element, Barrier):
            self._barrier_known(element.checkpoint)
        self._arriving[step, number].send(element)

    def _credit(self, receiver: int, message: Message) -> None:
        _, step, number, size = message.values
        self._leaving[step, number][receiver].given_back(size)

    # What comes from the process that runs the job.

    def _news(self, _: int, message: Message) -> None:
        _, clocks, exhausted, stopped, flush, barrier, entry, wait = message.values
        for step, *state in clocks:
            self.remote_clocks[step].told(*state)
        self.remote_pool.told(exhausted, stopped)
        self.remote_pool._wait_seconds = wait
        self.flush = flush
        if barrier is not None:
            self._barrier_known(barrier)
        begun, clock_step = entry
        if clock_step is not None:
            self._entry_known(begun, clock_step)
        elif self.entry is not None and self.entry.number <= begun:
            self.entry = None
        self.link.send(["heard"])

    def _entering(self) -> int:
        assert self.entry is not None, "an edge counts again only while a split enters"
        return self.entry.clock_step

    def _barrier_known(self, number: int) -> None:
        """A barrier is under way; another worker may be the first to say so."""
        if self.barrier is None or self.barrier.number < number:
            self.barrier = Checkpoint(number)

    def _entry_known(self, number: int, clock_step: int) -> None:
        """A split enters; another worker may be the first to say so."""
        if self.entry is None or self.entry.number < number:
            node = next(step.node for step in self.plan.steps if isinstance(step.node, SourceNode))
            run = SplitRun(-1, -1, node.source, Split("?"), [])
            self.entry = Entry(number, run, clock_step, 0)

    def _turn(self, _: int, message: Message) -> None:
        _, clock, split, values = message.values
        self.remote_clocks[clock].splits[split] = read_split(values, message.parts)

    def _written(self, _: int, message: Message) -> None:
        _, step, size = message.values
        self.writers[step].in_flight_bytes -= size

    # What the worker says.

    def wake(self, worker: int) -> None:
        if worker == self.index:
            self.link.wake()

    def wake_all(self) -> None:
        self.link.wake()

    def pause(self, seconds: float) -> object:
        return self.link.pause(seconds)

    def announce(self) -> Entry | None:
        return self.entry

    def answer(self, number: int, mark: int) -> None:
        self.link.send(["answer", number, mark])

    def barrier_injected(self, worker: int, number: int) -> None:
        self.link.send(["injected", number])

    def barrier_passed(
        self, worker: int, number: int, states: dict[int, State], reached: dict[int, int]
    ) -> None:
        tables = [(step, name, table) for step, state in states.items() for name, table in state.items()]
        for step, name, table in tables:
            self.link.send(["state", number, step, name], [write_table(table)])
        self.link.send(["barrier_passed", number, sorted(states), sorted(reached.items())])

    def open_sink(self, step: int) -> SinkWriter:
        """A writer for a sink that is written by the process that runs the job."""
        self.writers[step] = ShippedWriter(step, self.link)
        return self.writers[step]
