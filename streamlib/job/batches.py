"""`iter_batches`: the rows of a stream, batch by batch as they come, pulled by the caller.

The job runs in the background and is at most `AHEAD_MAX` batches ahead: then its sink waits, and with
it the sources. Who closes the generator, or drops it, calls the job off.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

import pyarrow as pa

from streamlib.contracts import Sink, SinkWriter
from streamlib.errors import SinkError
from streamlib.graph import Node, SinkNode
from streamlib.job.job import Job
from streamlib.job.launch import explained_instead, script_name
from streamlib.job.options import JobOptions
from streamlib.workers import Processes

AHEAD_MAX = 4
"""Batches that wait for the caller before the run waits too."""


class HandoverSink(Sink, SinkWriter):
    """Hands batches from the workers to one thread that takes them.

    Args:
        ahead_max: batches that may wait.
    """

    def __init__(self, ahead_max: int = AHEAD_MAX) -> None:
        self._ahead_max = ahead_max
        self._batches: deque[pa.RecordBatch] = deque()
        self._changed = threading.Condition()
        self._cancelled = False
        self._complete = False

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        return self

    def write(self, rows: pa.RecordBatch) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled or len(self._batches) < self._ahead_max)
            if self._cancelled:
                raise SinkError("nobody takes the rows any more")
            self._batches.append(rows)
            self._changed.notify_all()

    def cancel(self) -> None:
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()

    def complete(self) -> None:
        """No batch will come: `take` gives None once the others are taken."""
        with self._changed:
            self._complete = True
            self._changed.notify_all()

    def take(self) -> pa.RecordBatch | None:
        """The next batch, waiting for it; None when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._complete or self._batches)
            if not self._batches:
                return None
            batch = self._batches.popleft()
            self._changed.notify_all()
            return batch

    def describe(self) -> str:
        return "iter_batches"


def iter_batches(node: Node, workers: int | Processes, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The batches of a node as they come; see `Stream.iter_batches`."""
    options = JobOptions(workers=workers, batch_rows=batch_rows, progress=False)
    return _pull(node, options)


def _pull(node: Node, options: JobOptions) -> Iterator[pa.RecordBatch]:
    if explained_instead([node]):
        return
    sink = HandoverSink()
    execution = options.execution([SinkNode(inputs=(node,), at=node.at, sink=sink)])
    job = Job(execution, options, script_name(), output_stays=False, ended=sink.complete)
    try:
        job._begin()
        while (batch := sink.take()) is not None:
            yield batch
        job.wait()
    finally:
        if job.running:
            job._abort()
        job._ended.wait()
        job._join()
