"""What the workers of a run share: channels, clocks, the pool of splits, and who waits for what.

The runtime of one process. Workers reach each other only by elements in channels and by the calls
of `SharedRun`, which are events ("barrier 3 has passed step 4 on worker 1") with plain values.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from streamlib.contracts import NewLoop, State
from streamlib.elements import MIN_TIME
from streamlib.errors import FAIL, OnError
from streamlib.eventtime import ClockState, EventClock
from streamlib.exchange import Channel
from streamlib.exchange.channel import CHANNEL_BYTES_MAX
from streamlib.graph import BuildContext, Edge, Plan, Step
from streamlib.runtime.splits import SplitPool, SplitRun


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run a plan.

    Attributes:
        batch_rows: the largest batch an operator may yield.
        channel_bytes_max: when a channel stops admitting batches.
        now_ns: the processing clock; only idle policies and reports read it.
        checkpoints: whether the run's checkpoints may be restored on another number of workers: ties in
            event time then carry their order even where one worker on one split does not need it.
        on_error: what becomes of rows that a step without a policy of its own cannot work on.
        pause: waits so many seconds before a step is tried again; by the clock when None.
        watermark_every: while there is more to read, watermarks are sent on no more often than this, ns.
        new_loop: what `async` functions run on; an event loop on a thread of its own when None.
    """

    batch_rows: int = 65_536
    channel_bytes_max: int = CHANNEL_BYTES_MAX
    now_ns: Callable[[], int] = time.monotonic_ns
    checkpoints: bool = False
    on_error: OnError = FAIL
    pause: Callable[[float], object] | None = None
    watermark_every: int = 0
    new_loop: NewLoop | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """One input of a step on one worker: a local call or a channel."""

    side: int
    feeder: int
    edge: Edge
    sender: int | None
    """The sending worker of a channel between workers; None where the worker itself sends."""


@dataclass(slots=True)
class Checkpoint:
    """What one barrier collected: where to read on, the clocks' splits, and the steps' states.

    Attributes:
        number: of the barrier, in its run.
        steps: the names of the plan's steps, by which a plan for another number of workers finds its own.
        positions: where to read on, by ``step/split``.
        states: of each step on each worker.
        watermarks: the largest watermark that a step had met on any worker.
        clocks: by step.
        workers_done: whom the barrier has passed.
    """

    number: int
    steps: list[str] = field(default_factory=list)
    positions: dict[str, Any] = field(default_factory=dict)
    states: dict[tuple[int, int], State] = field(default_factory=dict)
    watermarks: dict[int, int] = field(default_factory=dict)
    clocks: dict[int, ClockState | None] = field(default_factory=dict)
    workers_done: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Entry:
    """A split that enters: how many terminals have still to answer, and the largest answer."""

    number: int
    run: SplitRun
    clock_step: int
    answers_due: int
    mark: int = MIN_TIME


def ring(bell: threading.Event) -> None:
    """Sets an event; asking whether it is set already costs less than to set it again."""
    if not bell.is_set():
        bell.set()


class SharedRun:
    """The state that the workers of one process share.

    Args:
        plan: the steps.
        options: limits and the clock.
    """

    shares_memory: ClassVar[bool] = True
    """Whether all workers are in this process."""

    def __init__(self, plan: Plan, options: RunOptions) -> None:
        self.plan = plan
        self.options = options
        self.pool = SplitPool(options.now_ns, self.wake_all)
        self.clocks: dict[int, EventClock] = {}
        self.shared: dict[int, Any] = {}  # by step, what its node's `share` made
        self.incoming: list[list[Incoming]] = [self._incoming(step.index) for step in plan.steps]
        self.channels: dict[tuple[int, int, int], Channel] = {}  # (step, input, receiving worker)
        self._cancelled = threading.Event()
        self.flush = False
        self.barrier: Checkpoint | None = None
        self.checkpoints: dict[int, Checkpoint] = {}
        self.entries: dict[int, Entry] = {}
        self.entry: Entry | None = None
        self.wakers: list[Callable[[], None]] = []
        self.bell = threading.Event()
        """Set when something has changed: what one worker on the caller's thread waits for."""
        self._lock = threading.RLock()
        self._numbers = 0
        made = {id(node): node.share() for node in {id(s.node): s.node for s in plan.steps}.values()}
        for step in plan.steps:
            self.shared[step.index] = made[id(step.node)]
            clock = step.node.make_clock()
            if clock is not None:
                self.clocks[step.index] = clock
                clock.listener = self._listener(clock)
            for number, incoming in enumerate(self.incoming[step.index]):
                if incoming.edge.channel:
                    for worker in range(plan.workers):
                        self.channels[step.index, number, worker] = Channel(options.channel_bytes_max)
        self.terminals = [step.index for step in plan.steps if not step.edges]

    @property
    def cancelled(self) -> bool:
        """Whether all workers are to leave at once, because one of them failed."""
        return self._cancelled.is_set()

    @cancelled.setter
    def cancelled(self, value: bool) -> None:
        if value:
            self._cancelled.set()
        else:
            self._cancelled.clear()

    def context(self, step: Step, worker: int) -> BuildContext:
        """What the operator of `step` on one worker may know of the run."""
        return BuildContext(
            worker=worker,
            workers=self.plan.workers,
            batch_rows=self.options.batch_rows,
            shares_memory=self.shares_memory,
            needs_order=step.needs_order,
            wanted=step.wanted,
            late_read=step.late_read,
            sides_read=step.sides_read,
            clock=self.clocks.get(step.index),
            refuse=step.on_error.policy != "fail",
            retry=step.on_error.retry,
            shared=self.shared[step.index],
            now_ns=self.options.now_ns,
            pause=self.pause,
            new_loop=self.options.new_loop,
        )

    @property
    def entries_begun(self) -> int:
        """How many splits have been announced that enter."""
        return self._numbers

    def pause(self, seconds: float) -> object:
        """Waits before a step is tried again; returns true at once when the run was cancelled."""
        return (self.options.pause or self._cancelled.wait)(seconds)

    def _incoming(self, target: int) -> list[Incoming]:
        found: list[Incoming] = []
        for step in self.plan.steps:
            for edge in step.edges:
                if edge.target == target:
                    senders: list[int | None] = [None]
                    if edge.keys is not None:
                        senders = list(range(self.plan.workers))
                    found.extend(Incoming(edge.side, step.index, edge, sender) for sender in senders)
        return found

    def _listener(self, clock: EventClock) -> Callable[[int], None]:
        def passed(split: int) -> None:
            self.pool.passed(split, clock)
            self.wake_all()

        return passed

    def release(self) -> None:
        """See `Execution.release`."""
        self.wakers.clear()
        self.pool.wake = _nobody
        for clock in self.clocks.values():
            clock.listener = _nobody

    def wake_all(self) -> None:
        """Something changed that a waiting worker may wait for."""
        ring(self.bell)
        for wake in self.wakers:
            wake()

    def wake_up(self, worker: int) -> None:
        """As `wake`, from any thread: also where the worker runs on the caller's thread."""
        self.bell.set()
        self.wake(worker)

    def wake(self, worker: int) -> None:
        """Something changed for one worker."""
        if self.wakers:
            self.wakers[worker]()

    # Splits that enter: announced to all receivers, read when all have answered.

    def announce(self) -> Entry | None:
        """The entry being announced, after starting the next one that waits."""
        with self._lock:
            if self.entry is None and self.pool.entering:
                run = self.pool.entering[0]
                step = next(s for s, c in self.clocks.items() if c in run.clocks and not c.is_live(run.index))
                below = self.plan.downstream(step)
                self._numbers += 1
                due = self.plan.workers * sum(1 for t in self.terminals if t in below)
                self.entry = Entry(self._numbers, run, step, due)
                self.wake_all()
            return self.entry

    def answer(self, number: int, mark: int) -> None:
        """A terminal step of one worker has counted the edge again, at watermark `mark`."""
        with self._lock:
            entry = self.entry
            if entry is None or entry.number != number:
                return
            entry.mark = max(entry.mark, mark)
            entry.answers_due -= 1
            if entry.answers_due == 0:
                self.clocks[entry.clock_step].enter(entry.run.index, entry.mark)
                if all(c.is_live(entry.run.index) for c in entry.run.clocks):
                    self.pool.entered(entry.run)
                self.entry = None
                self.wake_all()

    # Barriers.

    def start_barrier(self) -> int | None:
        """Asks all workers to inject a barrier; None while another one is under way."""
        with self._lock:
            if self.barrier is not None:
                return None
            number = len(self.checkpoints) + 1
            self.barrier = self.checkpoints[number] = Checkpoint(
                number, [step.name for step in self.plan.steps]
            )
            self.wake_all()
            return number

    def barrier_injected(self, worker: int, number: int) -> None:
        """Worker `worker` has put the barrier behind everything it has read."""
        with self._lock:
            positions = self.pool.injected(worker, number, self.plan.workers)
            if positions is not None:
                self.checkpoints[number].positions = positions
                self.wake_all()

    def barrier_passed(
        self, worker: int, number: int, states: dict[int, State], reached: dict[int, int]
    ) -> None:
        """The barrier has passed all steps of worker `worker`; `reached` is the watermark of each."""
        with self._lock:
            checkpoint = self.checkpoints[number]
            for step, time in reached.items():
                checkpoint.watermarks[step] = max(time, checkpoint.watermarks.get(step, MIN_TIME))
            checkpoint.states.update({(step, worker): state for step, state in states.items()})
            checkpoint.workers_done.add(worker)
            if len(checkpoint.workers_done) == self.plan.workers:
                for step, clock in self.clocks.items():
                    checkpoint.clocks[step] = clock.cut_state(number)
                self.barrier = None
                self.wake_all()

    def stop(self, flush: bool = False) -> None:
        """Ends reading. What is in flight is finished; with `flush` the open windows are closed too."""
        with self._lock:
            self.pool.stopped = True
            self.flush = flush
            self.wake_all()


def _nobody(*event: object) -> None:
    """Whom a run that is over tells of anything."""
