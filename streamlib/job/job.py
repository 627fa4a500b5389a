"""`Job`: a run that goes on in the background.

A job has one thread of its own, which opens sources and sinks, runs the worker (or starts one thread
a worker), and commits. Whoever holds the job looks on from other threads: they only read counters,
so that a run cannot fail or slow down by being looked at.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from streamlib.errors import BuildError, StreamlibError, nearest_names, user_location
from streamlib.graph import SourceNode
from streamlib.job.drive import drive
from streamlib.job.options import JobOptions
from streamlib.observe.report import Report, report_of
from streamlib.runtime.execute import Execution

if TYPE_CHECKING:
    from streamlib.observe.why import Why

LEAVE_SECONDS_MAX = 10.0
"""How long the end of the program waits for each job that still ran."""

_jobs: weakref.WeakSet[Job] = weakref.WeakSet()
_unseen: dict[int, str] = {}
"""The errors of jobs that failed in the background, until somebody asks for them."""


class Job:
    """A run that goes on in the background. Made by `sl.start`.

    As a context manager it waits at the end of its block; when the block raises, the job is stopped as
    by Ctrl-C.

    Attributes:
        name: given by ``name=``, else that of the script.

    >>> import pyarrow as pa, streamlib as sl
    >>> with sl.start(sl.read_arrow(pa.table({"n": [1, 2]})).print(), name="numbers") as job:
    ...     report = job.wait()
    n
    -
    1
    2
    >>> job.running, report.status, report.rows_out
    (False, 'finished', 2)
    """

    def __init__(
        self,
        execution: Execution,
        options: JobOptions,
        name: str,
        output_stays: bool = True,
        ended: Callable[[], object] = bool,
    ) -> None:
        self.name = name
        self._output_stays = output_stays
        self._tell_ended = ended
        self._execution = execution
        self._options = options
        self._opened = threading.Event()
        self._went_on = False  # what fails before is raised by `start`, what fails later by `wait`
        self._ended = threading.Event()
        self._aborted = threading.Event()
        self._stop_lock = threading.Lock()
        self._report: Report | None = None
        self._error: BaseException | None = None
        self._trace: TracebackType | None = None
        self._thread = threading.Thread(target=self._work, name=f"streamlib-job-{name}", daemon=True)

    @classmethod
    def ended(cls, execution: Execution, options: JobOptions, name: str) -> Job:
        """One that was only explained: it has ended, without a row."""
        job = cls(execution, options, name)
        job._report = Report("explained", 0.0, name=name)
        job._opened.set()
        job._ended.set()
        return job

    def __repr__(self) -> str:
        return f"<Job {self.name!r}: {self.status}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.wait()
            return
        self._interrupt()
        self._ended.wait()
        self._join()

    # What users ask.

    @property
    def running(self) -> bool:
        """Whether the job goes on."""
        return not self._ended.is_set()

    @property
    def status(self) -> str:
        """``starting``, ``running``, ``stopping``; in the end ``finished``, ``stopped``, ``failed``, ``aborted``."""
        if self._report is not None:
            return self._report.status
        if self._execution.shared.pool.stopped:
            return "stopping"
        return "running" if self._opened.is_set() else "starting"

    def wait(self, timeout: float | None = None) -> Report:
        """Waits until the job has ended.

        Args:
            timeout: seconds after which to give up waiting; the job goes on. None: for ever.

        Raises:
            StreamlibError: the first error of any worker, from where it began.
            TimeoutError: the job still runs after `timeout`.
        """
        if not self._ended.wait(timeout):
            raise TimeoutError(f"job {self.name!r} still runs after {timeout:g} s: it was not stopped")
        self._join()
        if self._error is not None:
            _unseen.pop(id(self), None)
            raise self._error.with_traceback(self._trace)
        assert self._report is not None, "a job ends with a report or with an error"
        return self._report

    def stop(self, flush: bool | None = None) -> Report:
        """Ends reading, finishes what is in flight, makes the output visible and waits for that.

        Windows that are still open stay without a result; the report counts them and their rows.

        Args:
            flush: close the open windows too, as at the end of the input; as ``on_stop`` says when None.

        Raises:
            StreamlibError: as `wait`.
        """
        self._request_stop(self._options.flush if flush is None else bool(flush))
        return self.wait()

    def report(self) -> Report:
        """What the job has done so far; when it has ended, what it did. Raises nothing."""
        _unseen.pop(id(self), None)
        return self._report or report_of(self._execution, self.status, name=self.name)

    def why(self, step: str | None = None) -> Why:
        """Why steps have no output now: how many windows are open, what for they wait, and what holds them.

        Args:
            step: the name of one, as `explain` shows it; all that need a word when None.

        Raises:
            BuildError: there is no such step.
        """
        from streamlib.observe.why import step_names, why

        names = step_names(self._execution)
        if step is not None and step not in names:
            near = nearest_names(step, names)
            raise BuildError(
                f"job {self.name!r} has no step {step!r}",
                at=user_location(),
                expected=f"one of: {', '.join(names)}",
                got=repr(step),
                hint=f"did you mean {' or '.join(map(repr, near))}?" if near else "name it with .named(...)",
            )
        return why(self._execution, step, job=self.name, status=self.status, error=self._error)

    # What the engine asks.

    def _begin(self) -> None:
        """Starts the thread, and returns when sources and sinks are open; raises what went wrong until then."""
        _jobs.add(self)
        self._thread.start()
        try:
            self._opened.wait()
        except BaseException:  # Ctrl-C while files are opened
            self._abort()
            raise
        if not self._went_on:
            self.wait()

    def _work(self) -> None:
        try:
            self._report = self._drive()
        except BaseException as error:
            self._failed(error)
        finally:
            self._ended.set()
            self._opened.set()
            self._tell_ended()

    def _failed(self, error: BaseException) -> None:
        status, trace = "failed", error.__traceback__
        if self._aborted.is_set():
            status = "aborted"
            error = StreamlibError(f"job {self.name!r} was called off: it left no output")
        else:
            _unseen[id(self)] = f"job {self.name!r} failed, and nobody asked: {error}"
        self._error, self._trace = error, trace
        self._report = Report(status, 0.0, name=self.name, error=str(error))
        with contextlib.suppress(Exception):  # counting is not what the job is for
            self._report = report_of(self._execution, status, name=self.name, error=error)

    def _drive(self) -> Report:
        from streamlib.job.reach import Reachable

        shown = self._options.progress is True
        if self._options.progress == "auto":
            shown = sys.stderr is not None and sys.stderr.isatty()
        with Reachable(self) if self._options.why else contextlib.nullcontext():
            return drive(
                self._execution,
                name=self.name,
                shown=shown,
                opened=self._go_on,
                aborted=self._aborted.is_set,
            )

    def _go_on(self) -> None:
        self._went_on = True
        self._opened.set()

    def _join(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()

    def _request_stop(self, flush: bool) -> None:
        """Asks for a stop; a second one changes nothing."""
        with self._stop_lock:
            if not self._execution.shared.pool.stopped and not self._ended.is_set():
                self._execution.stop(flush)

    @property
    def _stops_cleanly(self) -> bool:
        """Whether what a stop leaves is a result: not where it would cut an input that ends."""
        if not self._output_stays:
            return False
        nodes = [step.node for step in self._execution.plan.steps]
        return self._options.flush or any(isinstance(n, SourceNode) and not n.source.bounded for n in nodes)

    def _interrupt(self) -> None:
        """Somebody wants the program to end."""
        if self._stops_cleanly and self._opened.is_set():
            self._request_stop(self._options.flush)
        else:
            self._abort()

    def _abort(self) -> None:
        """Calls the run off: workers finish their batch and leave, and no output stays."""
        self._aborted.set()
        shared = self._execution.shared
        shared.cancelled = True
        self._execution.cancel()
        shared.wake_all()


@atexit.register
def _leave() -> None:
    """At the end of the program no job is left behind half-done, and no error unseen."""
    left = [job for job in _jobs if job.running]
    for job in left:
        if job._output_stays:
            told = f"job {job.name!r} still ran at the end of the program: call job.wait() or job.stop()"
            print(f"streamlib: {told}", file=sys.stderr)
        job._interrupt()
    for job in left:
        job._ended.wait(LEAVE_SECONDS_MAX)
    for told in _unseen.values():
        print(f"streamlib: {told}", file=sys.stderr)
