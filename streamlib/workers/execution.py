"""An execution whose workers are processes. This one keeps the splits, the clocks, and the commit.

Each worker is ``python -m streamlib.workers``, with a socket to this process and one to each other worker.
Here a thread attends to each (`attendant`); the workers run the same plan as threads do (`child`).
"""

from __future__ import annotations

import os
import site
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import streamlib
from streamlib.contracts import SinkWriter
from streamlib.errors import StreamlibError, WorkerError
from streamlib.eventtime import EventClock
from streamlib.graph import SinkNode
from streamlib.runtime.execute import Execution
from streamlib.workers.attendant import Attendant
from streamlib.workers.failures import from_values
from streamlib.workers.plans import write_plan
from streamlib.workers.segments import Segment

ABORT_SECONDS_MAX = 5.0
"""How long a worker may go on with what it is at when the run is called off, before it is killed."""
LEAVE_SECONDS_MAX = 60.0
"""How long it may take to close what is open when all has ended well."""


class ProcessExecution(Execution):
    """One run of a graph on processes; the arguments are those of `Execution`."""

    apart = True
    look_seconds = 0.2
    """How often the thread that runs the job looks around if nobody wakes it."""
    attendants: list[Attendant]
    writers: dict[int, list[SinkWriter]]

    def open(self, resume: Any = None) -> None:
        self.attendants, self.writers = [], {}
        self.failures: list[BaseException] = []
        self.not_closed: list[BaseException] = []
        """What went wrong after all that counts was done."""
        self._leaving = self._called_off = False
        self._turns: dict[tuple[int, int, int], Attendant] = {}
        self._turns_lock = threading.Lock()
        self._failures_lock = threading.Lock()
        self.shared.wakers.append(self._nudge)
        for index in range(self.plan.workers):
            self.start_worker(index)  # it takes a while, in which sources and sinks open
        super().open(resume)
        for attendant in self.attendants:
            attendant.send(["go"])
        self._nudge()

    def open_workers(self) -> None:
        """Gives the processes the plan, and waits until all have built their operators."""
        self._open_writers()
        sizes, segment = write_plan(self.plan, self.options)
        try:
            for attendant in self.attendants:
                attendant.send(["init", self._about(attendant.index, sizes)], [_same(segment)])
                self._connect(attendant)
                attendant.thread.start()
        finally:
            segment.close()
        for attendant in self.attendants:
            while not (attendant.opened.wait(self.look_seconds) or self.shared.cancelled):
                pass
        self._check()
        if self.shared.cancelled:
            raise StreamlibError("the run was called off before its workers were ready")
        self.workers = [attendant.mirror for attendant in self.attendants]  # type: ignore[misc]

    def _open_writers(self) -> None:
        """Opens the writers of sinks that are written here."""
        for step in self.plan.steps:
            node = step.node
            if isinstance(node, SinkNode) and not node.sink.stages_apart:
                opened = self.writers.setdefault(step.index, [])
                try:
                    for worker in range(self.plan.workers):
                        opened.append(node.sink.open(node.schema, worker))
                except StreamlibError as error:
                    error.in_step(step.name, node.at)
                    raise

    def start_worker(self, index: int) -> None:
        """Starts one process, and makes its attendant."""
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with there:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "streamlib.workers", str(there.fileno()), str(os.getpid())],
                    pass_fds=(there.fileno(),),
                    stdin=subprocess.DEVNULL,
                    env=_environment(),
                )
        except OSError as error:
            here.close()
            raise WorkerError("a worker process cannot be started", got=str(error)) from error
        self.attendants.append(Attendant(index, self, process, here))

    def _about(self, index: int, sizes: list[tuple[int, bool]]) -> dict[str, Any]:
        return {
            "index": index,
            "plan": sizes,
            "path": [str(entry) for entry in sys.path],
            "path_before": os.environ.get("PYTHONPATH"),
            "arguments": [str(argument) for argument in sys.argv],
        }

    def _connect(self, attendant: Attendant) -> None:
        """Gives a worker, and those before it, the ends of sockets to each other."""
        for other in self.attendants[: attendant.index]:
            one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            attendant.send(["peer", other.index], [one])
            other.send(["peer", attendant.index], [two])

    # While it runs.

    @property
    def compile_seconds(self) -> float:
        return max((attendant.mirror.compile_seconds for attendant in self.attendants), default=0.0)

    def run(self) -> None:
        """Waits until all workers have ended, or the run was stopped or called off; raises the first error."""
        shared = self.shared
        try:
            while not (self.failures or shared.cancelled or self.stopped):
                if all(attendant.mirror.done for attendant in self.attendants):
                    break
                if not shared.bell.wait(self.look_seconds):
                    self._nudge()
                shared.bell.clear()
        except BaseException:
            self.cancel()
            raise
        self._check()

    def _check(self) -> None:
        """Raises the first error."""
        if self.failures:
            raise self.failures[0]

    def failed(self, error: BaseException) -> None:
        """Something went wrong: the first error is that of the run."""
        with self._failures_lock:
            self.failures.append(error)
        self.shared.cancelled = True
        self.cancel()
        self.shared.bell.set()

    def _nudge(self) -> None:
        for attendant in self.attendants:
            attendant.nudge()

    def news(self) -> list[Any]:
        """What all workers must know: clocks, ended sources, stop, barrier, entering split, how long to wait."""
        shared = self.shared
        # In this order: an entry may have ended since its number was read, and a clock that is seen idle
        # after its entry was seen ended would be left out again by who has just counted it.
        begun, entry, barrier = shared.entries_begun, shared.entry, shared.barrier
        clocks = [[s, c.watermark(), c.any_live(), c.all_idle()] for s, c in shared.clocks.items()]
        ended = [s.index for s in self.plan.steps if s.is_source and shared.pool.exhausted(s.index)]
        return [
            clocks,
            ended,
            shared.pool.stopped,
            shared.flush,
            None if barrier is None else barrier.number,
            [begun, None] if entry is None else [entry.number, entry.clock_step],
            self.wait_seconds(),
        ]

    def wait_seconds(self) -> float:
        """How long a worker with nothing to do may wait for messages; 0 for as long as it takes."""
        pool = self.shared.pool
        return 0.0 if pool.all_exhausted() else pool.wait_seconds()

    def step_of(self, clock: EventClock) -> int:
        """The `event_time` step of a clock."""
        return next(step for step, one in self.shared.clocks.items() if one is clock)

    def takes_turn(self, attendant: Attendant, step: int, split: int, block: int) -> bool:
        """Whether a block has the turn of its split now. If not, its worker is told when it has."""
        with self._turns_lock:
            if self.shared.clocks[step].is_turn(split, block):
                return True
            self._turns[step, split, block] = attendant
            return False

    def turn_over(self, step: int, split: int, block: int) -> None:
        """All blocks before `block` have passed: whoever waits for that is told."""
        with self._turns_lock:
            waiting = self._turns.pop((step, split, block), None)
        if waiting is not None:
            waiting.send_turn(step, split)

    # The end.

    def writers_of(self, sink: SinkNode) -> list[Any]:
        found: list[Any] = []
        for step in self.plan.steps:
            if step.node is sink:
                if not sink.sink.stages_apart:
                    found += self.writers.get(step.index, [])
                else:
                    found += [WriterApart(attendant, step.index) for attendant in self.attendants]
        return found

    def finish(self) -> None:
        self._check()
        super().finish()

    def abort(self) -> None:
        self.leave(abort=True)
        super().abort()

    def close(self) -> None:
        self.leave(abort=False)
        super().close()
        if self.not_closed and not self._called_off:
            raise self.not_closed[0]

    def leave(self, abort: bool) -> None:
        """Ends all workers and waits for it. One that does not end is killed."""
        if self._leaving:
            return
        self._leaving, self._called_off = True, abort
        for attendant in self.attendants:
            attendant.leaving = True
            attendant.send(["leave", abort])
            if attendant.thread.ident is None:
                attendant.process.terminate()  # it has no plan yet; past its start it takes the message
        until = time.monotonic() + (ABORT_SECONDS_MAX if abort else LEAVE_SECONDS_MAX)
        for attendant in self.attendants:
            try:
                attendant.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                attendant.process.kill()
                attendant.process.wait()
                self.not_closed.append(WorkerError(f"{attendant.name} did not end, and was killed"))
        for attendant in self.attendants:
            if attendant.thread.ident is not None:
                attendant.thread.join()
            attendant.connection.close()


class WriterApart:
    """The writer of a worker process, for the one commit.

    Args:
        attendant: of the process.
        step: the sink's.
    """

    def __init__(self, attendant: Attendant, step: int) -> None:
        self._attendant, self._step = attendant, step

    def finish(self) -> Any:
        """Has the worker make what it wrote durable, and says what was staged."""
        reply = self._attendant.call(["finish", self._step])
        if reply is None:
            raise self._attendant.execution.failures[0]
        if reply.values[0] == "not finished":
            raise from_values(reply.values[1])
        return reply.values[1]

    def abort(self) -> None:
        """The worker does that itself when it leaves."""


def _same(segment: Segment) -> Segment:
    """The same memory once more, to be handed over."""
    again = Segment.__new__(Segment)
    again.nbytes, again.memory, again.fd = segment.nbytes, segment.memory, os.dup(segment.fd)
    return again


def _environment() -> dict[str, str]:
    """That of this process, with a search path by which a new one finds this streamlib."""
    own = str(Path(streamlib.__file__).parent.parent)
    if own in (*site.getsitepackages(), site.getusersitepackages()):
        return dict(os.environ)
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": own if not before else os.pathsep.join([own, before])}
