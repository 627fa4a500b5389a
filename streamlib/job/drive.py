"""One execution from beginning to end: open, run the workers, commit or abort, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from streamlib.observe.report import Report, report_of
from streamlib.runtime.allocation import keep_freed_memory
from streamlib.runtime.execute import Execution
from streamlib.runtime.inline import run_inline, wait_for_sources
from streamlib.runtime.threads import run_threads
from streamlib.runtime.worker import Worker


class Aborted(BaseException):
    """The run was called off: it leaves nothing. Never seen by users."""


def drive(
    execution: Execution,
    *,
    name: str | None = None,
    shown: bool = False,
    opened: Callable[[], object] = bool,
    aborted: Callable[[], bool] | None = None,
) -> Report:
    """Runs an execution on this thread, and on others where it has several workers.

    Args:
        execution: not opened yet.
        name: for the report.
        shown: whether the progress line is drawn.
        opened: called when sources and sinks are open.
        aborted: asked between units of work; once it answers true the run ends in `Aborted`.
    """
    from streamlib.kernels import compilations
    from streamlib.observe.progress import Progress

    before = compilations()
    keep_freed_memory()
    try:
        execution.open()
        opened()
        with Progress(execution, execution.total_bytes()) if shown else nullcontext():
            if execution.apart:
                execution.run()
            elif execution.plan.workers == 1:
                schedule = None if aborted is None else _unless(aborted)
                run_inline(execution, schedule, idle=lambda: wait_for_sources(execution))
            else:
                run_threads(execution)
        if aborted is not None and aborted():
            raise Aborted
        status = "stopped" if was_stopped(execution) else "finished"
        execution.finish()
    except BaseException:
        execution.abort()
        raise
    finally:
        execution.close()
    after = compilations()
    compiled = after.seconds - before.seconds if after.compiled > before.compiled else 0.0
    compiled = max(compiled, execution.compile_seconds)
    return report_of(execution, status, compiled, name)


def was_stopped(execution: Execution) -> bool:
    """Whether a stop came before the end of the input, or left windows open that this would have closed."""
    pool = execution.shared.pool
    return pool.stopped and (execution.stopped or not pool.all_exhausted())


def _unless(aborted: Callable[[], bool]) -> Callable[[Sequence[Worker]], Worker]:
    def schedule(workers: Sequence[Worker]) -> Worker:
        if aborted():
            raise Aborted
        return workers[0]

    return schedule
