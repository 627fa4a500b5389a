"""Ctrl-C and SIGTERM while `run` waits: the first stops the job, the second calls it off.

What stopping means depends on the input. An endless one can end in no other way: what was read is
finished, the output becomes visible, and `run` returns its report. An input that ends was cut short,
and half of it is no result: no output stays, and `run` raises, as any Python program does on Ctrl-C.
With ``on_stop="flush"`` every input is stopped like an endless one.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from streamlib.job.job import Job
from streamlib.observe.report import Report

LOOK_SECONDS = 0.1
"""How often the waiting thread looks whether a signal came."""


class Interrupts:
    """Notes SIGINT and SIGTERM instead of obeying them, on the main thread, where nobody else handles them."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
            for number, handler in usual.items():
                if signal.getsignal(number) is handler or signal.getsignal(number) == handler:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen.append(number)


def attend(begin: Callable[[], Job]) -> Report:
    """Begins a job and waits until it has ended, minding signals.

    Raises:
        KeyboardInterrupt: Ctrl-C called the job off: it left no output.
        SystemExit: SIGTERM did, with code 143.
    """
    with Interrupts() as interrupts:
        job = begin()
        try:
            minded = 0
            while not job._ended.wait(LOOK_SECONDS):
                if len(interrupts.seen) > minded:
                    minded += 1
                    if not _mind(job):
                        break
        except BaseException:  # a handler of the user's own
            job._abort()
            job._ended.wait()
            raise
    if interrupts.seen and (job.running or job._aborted.is_set()):
        if not job.running:
            job._join()
        raise SystemExit(128 + signal.SIGTERM) if interrupts.seen[0] == signal.SIGTERM else KeyboardInterrupt
    report = job.wait()
    job._execution.release()
    return report


def _mind(job: Job) -> bool:
    """Acts on a signal; False when the job was called off before and still does not end."""
    if job._aborted.is_set():
        return False
    if job._execution.shared.pool.stopped:
        _tell("calling the run off: no output stays")
        job._abort()
        return True
    if job._stops_cleanly and job._opened.is_set():
        _tell("stopping: what was read is finished; press Ctrl-C again to call the run off")
    job._interrupt()
    return True


def _tell(text: str) -> None:
    if sys.stderr is not None:
        print(f"\nstreamlib: {text}", file=sys.stderr)
