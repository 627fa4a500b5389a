"""A thread a worker. Kernels release the GIL; a waiting worker sleeps until another one wakes it."""

from __future__ import annotations

import threading
from functools import partial

from streamlib.runtime.execute import Execution
from streamlib.runtime.run import ring
from streamlib.runtime.worker import Status, Worker


def run_threads(execution: Execution) -> None:
    """Runs an opened execution to its end; raises the first error of any worker, once.

    The calling thread waits. Ctrl-C stops the run as any exception here does: workers finish their
    batch and leave.
    """
    shared = execution.shared
    events = [threading.Event() for _ in execution.workers]
    shared.wakers.extend(partial(ring, event) for event in events)
    errors: list[BaseException] = []
    finished = threading.Semaphore(0)

    def work(worker: Worker, event: threading.Event) -> None:
        try:
            while not shared.cancelled and not execution.stopped:
                event.clear()
                status = worker.step()
                if status is Status.DONE:
                    break
                if status is Status.WAITING:
                    event.wait(shared.pool.wait_seconds())
        except BaseException as error:  # handed to the caller's thread
            errors.append(error)
            shared.cancelled = True
            execution.cancel()
        finally:
            shared.wake_all()
            finished.release()

    threads = [
        threading.Thread(
            target=work, args=(worker, event), name=f"streamlib-worker-{worker.index}", daemon=True
        )
        for worker, event in zip(execution.workers, events, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            while not finished.acquire(timeout=0.2):
                pass  # so that Ctrl-C is seen while the workers run
    except BaseException:
        execution.cancel()
        raise
    finally:
        shared.cancelled = True
        shared.wake_all()
        for thread in threads:
            thread.join()
        shared.cancelled = bool(errors)
    if errors:
        raise errors[0]
