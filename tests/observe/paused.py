"""A run on the test's own thread that stands still wherever nothing can go on, to be looked at there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import streamlib as sl
from streamlib import testing as t
from streamlib.connectors.memory import CollectSink
from streamlib.graph import SinkNode
from streamlib.observe.why import StepWhy, Why, why
from streamlib.runtime.execute import Execution
from streamlib.runtime.inline import run_inline
from streamlib.runtime.run import RunOptions

NOON = dt.datetime(2026, 1, 5, 12)
SECOND = 1_000_000_000


def row(seconds: float, **more: Any) -> dict[str, Any]:
    return {"ts": NOON + dt.timedelta(seconds=seconds), **more}


def ns(seconds: float) -> int:
    """The event time of `row(seconds)`."""
    since = NOON + dt.timedelta(seconds=seconds) - dt.datetime(1970, 1, 1)
    return since // dt.timedelta(microseconds=1) * 1_000


def bars(stream: sl.Stream, size: str = "10s", lateness: str = "0s") -> sl.Stream:
    return stream.window(sl.tumbling(size), allowed_lateness=lateness).agg(n=sl.count()).named("bars")


class Standstill(Exception):
    """Nothing can go on."""


class Run:
    """An opened run.

    Attributes:
        clock: the processing clock; it stands unless the test moves it.
        finished: whether the input has ended.
    """

    def __init__(self, sinks: list[SinkNode], clock: t.ManualClock, workers: int) -> None:
        self.clock = clock
        self.execution = Execution(sinks, workers, RunOptions(now_ns=clock))
        self.execution.open()
        self.finished = False

    def go(self) -> Run:
        """Runs until nothing can go on."""

        def stand() -> bool:
            raise Standstill

        try:
            run_inline(self.execution, idle=stand)
            self.finished = True
        except Standstill:
            pass
        return self

    def wait(self, seconds: float) -> Run:
        """Lets time pass, and the run go on with it."""
        self.clock.advance(int(seconds * SECOND))
        return self.go()

    def steps_until(self, reached: Callable[[], bool]) -> Run:
        """Single steps of the first worker."""
        for _ in range(10_000):
            if reached():
                return self
            self.execution.workers[0].step()
        raise AssertionError("it is never reached")

    def why(self, step: str | None = None, status: str = "running") -> Why:
        return why(self.execution, step, "job", status)

    def of(self, step: str, status: str = "running") -> StepWhy:
        (found,) = self.why(step, status).steps
        return found


@contextmanager
def opened(
    *ends: sl.Stream | SinkNode, clock: t.ManualClock | None = None, workers: int = 1
) -> Iterator[Run]:
    """A run of streams, each into memory, or of sinks."""
    sinks = [end if isinstance(end, SinkNode) else end.write(CollectSink()) for end in ends]
    run = Run(sinks, clock or t.ManualClock(), workers)
    try:
        yield run
    finally:
        run.execution.abort()
        run.execution.close()
