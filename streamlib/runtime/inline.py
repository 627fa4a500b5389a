"""All workers on the calling thread, one unit of work at a time, in an order that a schedule chooses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from streamlib.runtime.execute import Execution
from streamlib.runtime.worker import Status, Worker

POLL_SECONDS = 0.005
"""How often a worker that found nothing looks again at sources that cannot announce their data."""

Schedule = Callable[[Sequence[Worker]], Worker]


def wait_for_sources(execution: Execution) -> bool:
    """Waits a moment for a source that has nothing now; False when all have ended: then nothing will come."""
    if all(run.ended for run in execution.shared.pool.splits):
        return False
    threading.Event().wait(POLL_SECONDS)
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
