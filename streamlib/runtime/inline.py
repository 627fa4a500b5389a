"""All workers on the calling thread, one unit of work at a time, in an order that a schedule chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamlib.runtime.execute import Execution
from streamlib.runtime.worker import Status, Worker

Schedule = Callable[[Sequence[Worker]], Worker]


def wait_for_sources(execution: Execution) -> bool:
    """Waits for a source that has nothing now, or for an answer; False when nothing will come.

    Cleared after the wait, not before it: what is announced while the worker looks around is not missed.
    """
    shared = execution.shared
    if shared.pool.all_exhausted() and not any(worker.between.is_busy for worker in execution.workers):
        return False
    shared.bell.wait(shared.pool.wait_seconds())
    shared.bell.clear()
    return True


def run_inline(
    execution: Execution, schedule: Schedule | None = None, idle: Callable[[], bool] | None = None
) -> None:
    """Runs an opened execution to its end.

    Args:
        execution: opened.
        schedule: chooses who works next; in turn when None.
        idle: called when no worker can go on; does something about it (moves a manual clock, feeds
            a source) and returns True, or returns False: then the run is stuck, which is a bug.
    """
    workers = list(execution.workers)
    turn = 0
    while not (all(worker.done for worker in workers) or execution.stopped):
        if schedule is not None:
            chosen = [schedule(workers)]
            if chosen[0].step() is Status.WORKED:
                continue
        chosen = workers[turn:] + workers[:turn]
        turn = (turn + 1) % len(workers)
        worked = [worker.step() is Status.WORKED for worker in chosen]
        if any(worked):
            continue
        if all(worker.done for worker in workers) or execution.stopped:
            return
        if idle is None or not idle():
            raise AssertionError("the run is stuck: no worker can go on and none has ended")
