"""A worker process from its start to its end: ``python -m streamlib.workers``, begun by the process that runs the job.

It obeys only the socket that it was started with. Signals that stop a program are that process's business:
this one ignores them, and ends when it is told to, or when that process has gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from streamlib.contracts import Operator
from streamlib.graph import BuildContext, Plan, SinkNode
from streamlib.graph.node import SinkOperator
from streamlib.graph.plan import Step
from streamlib.kernels import compilations
from streamlib.runtime.allocation import keep_freed_memory
from streamlib.runtime.splits import POLL_SECONDS
from streamlib.runtime.worker import Status, Worker
from streamlib.workers.failures import to_values
from streamlib.workers.link import LeaveError, Link
from streamlib.workers.plans import AbsentSink, read_plan
from streamlib.workers.remote import WorkerRun
from streamlib.workers.rows import read_table
from streamlib.workers.wire import Connection, Message

STATUS_SECONDS = 0.25
"""How often a worker that works tells its counts."""
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def main(arguments: list[str]) -> None:
    """Runs the worker whose socket and parent are named by the command line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    fd, parent = int(arguments[0]), int(arguments[1])
    _die_with(parent)
    link = Link(Connection(socket.socket(fileno=fd), blocking=False))
    process = WorkerProcess(link)
    try:
        process.work()
    except LeaveError as told:
        process.leave(told.abort)


def _die_with(parent: int) -> None:
    """Has the system end this process when its parent does, where it can; elsewhere the socket's end tells."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


class WorkerProcess:
    """The one worker of this process.

    Args:
        link: to the process that runs the job.
        alone: whether the process is the worker's alone, so that it may be made like the one that runs the job.
    """

    def __init__(self, link: Link, alone: bool = True) -> None:
        self.link, self.alone = link, alone
        self.worker: Worker | None = None
        self.run: WorkerRun | None = None
        self._sent: list[tuple[int, int]] = []
        self._told_at = 0.0
        self._started = False
        link.handlers.update(
            init=self._init,
            peer=self._peer,
            go=self._go,
            restore=self._restore,
            finish=self._finish,
            leave=self._leave,
            nothing=link.replied,
            block=link.replied,
            ended=link.replied,
        )

    def work(self) -> None:
        """Works until the parent says to leave; never returns."""
        link = self.link
        while self.run is None:
            link.wait(None)
        try:
            self._open()
            assert self.worker is not None
            while (status := self.worker.step()) is not Status.DONE:
                if status is Status.WAITING:
                    if self._sent != self._forwarded():
                        self.tell()
                    link.wait(
                        POLL_SECONDS if any(self.worker._ready) else self.run.pool.wait_seconds() or None
                    )
                else:
                    link.wait(0)
                    if time.monotonic() > self._told_at + STATUS_SECONDS:
                        self.tell()
        except Exception as error:
            link.send(["error", to_values(error)])
        except SystemExit as error:
            link.send(["error", to_values(error)])
        else:
            self.tell()
            link.send(["done"])
        while True:
            link.wait(None)

    def _open(self) -> None:
        assert self.run is not None
        self.worker = Worker(self.run.index, self.run)
        self.worker.open()
        self.tell()
        self.link.send(["opened"])
        while not self._started:
            self.link.wait(None)

    def leave(self, abort: bool) -> None:
        """Frees what is open; after an error removes what was staged. Says so, and leaves."""
        failed = None
        if self.worker is not None:
            for operator in self.worker.operators:
                if abort and isinstance(operator, SinkOperator):
                    operator.writer.abort()
            try:
                self.worker.close()
            except Exception as error:
                failed = to_values(error)
            self.tell()
        for out in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, AttributeError):  # nobody reads it, or there is none
                out.flush()
        self.link.send(["left", failed])
        self.link.finish()

    # What the parent says.

    def _init(self, _: int, message: Message) -> None:
        about, part = message.values[1], message.parts[0]
        if self.alone:
            keep_freed_memory()
            _resemble(about)
        try:
            plan, options = read_plan(about["plan"], part)
        except Exception as error:
            self.link.send(["error", to_values(error)])
            return
        self.run = WorkerRun(plan, options, about["index"], self.link)
        _connect_sinks(plan, self.run)

    def _peer(self, _: int, message: Message) -> None:
        self.link.add_peer(message.values[1], Connection(message.parts[0], blocking=False))

    def _go(self, _: int, message: Message) -> None:
        self._started = True

    def _restore(self, _: int, message: Message) -> None:
        assert self.worker is not None
        _, step, name = message.values
        self.worker.operators[step].restore({name: read_table(message.parts[0])})

    def _finish(self, _: int, message: Message) -> None:
        assert self.worker is not None
        operator = self.worker.operators[message.values[1]]
        assert isinstance(operator, SinkOperator)
        try:
            staged = operator.writer.finish()
        except Exception as error:
            self.link.send(["not finished", to_values(error)])
        else:
            self.link.send(["finished", staged])

    def _leave(self, _: int, message: Message) -> None:
        raise LeaveError(message.values[1])

    # What this process says.

    def _forwarded(self) -> list[tuple[int, int]]:
        assert self.worker is not None and self.run is not None
        return [(step, self.worker._receivers[step].forwarded) for step in self.run.clocks]

    def tell(self) -> None:
        """Sends what the report, `why` and the progress line read of a worker."""
        worker, run = self.worker, self.run
        assert worker is not None and run is not None
        self._told_at, self._sent = time.monotonic(), self._forwarded()
        counted = compilations()
        self.link.send(
            [
                "status",
                {
                    "rows_in": worker.rows_in,
                    "rows_out": worker.rows_out,
                    "steps": [self._step_status(step) for step in range(len(worker.operators))],
                    "watermarks": [receiver.progress.watermark for receiver in worker._receivers],
                    "sent": self._sent,
                    "compiled": counted.seconds if counted.compiled else 0.0,
                },
            ]
        )

    def _step_status(self, step: int) -> list[Any]:
        assert self.worker is not None and self.run is not None
        operator = self.worker.operators[step]
        refuser = self.worker.refusers.get(step)
        ranges = getattr(operator, "open_ranges", None)
        return [
            {**operator.counters(), **({} if refuser is None else refuser.counters())},
            operator.open_windows(),
            None if ranges is None else ranges(),
            operator.open_rows() if self.run.pool.stopped else 0,
        ]


def _resemble(about: dict[str, Any]) -> None:
    """Has functions of the user's find modules and arguments as in the process that runs the job."""
    if about["path_before"] is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = about["path_before"]
    sys.path[:] = about["path"]
    sys.argv = about["arguments"]


def _connect_sinks(plan: Plan, run: WorkerRun) -> None:
    """Has sinks that are written elsewhere send their rows there."""
    for step in plan.steps:
        if isinstance(step.node, SinkNode) and isinstance(step.node.sink, AbsentSink):
            step.build = _shipping(step.node.sink, step, run)


def _shipping(sink: AbsentSink, step: Step, run: WorkerRun) -> Callable[[BuildContext], Operator]:
    build = step.build

    def built(context: BuildContext) -> Operator:
        sink.opener = lambda: run.open_sink(step.index)
        return build(context)

    return built
