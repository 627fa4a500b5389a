"""`head`: a run on the caller's thread that ends when there are rows enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from streamlib.contracts import Sink, SinkWriter
from streamlib.graph import Node, SinkNode
from streamlib.job.launch import explained_instead
from streamlib.runtime.execute import Execution
from streamlib.runtime.inline import run_inline, wait_for_sources
from streamlib.runtime.run import RunOptions
from streamlib.runtime.worker import Worker


class _EnoughError(Exception):
    """There are rows enough."""


class _FirstRows(Sink, SinkWriter):
    """Keeps the first rows."""

    def __init__(self, wanted: int) -> None:
        self.missing = wanted
        self.kept: list[pa.RecordBatch] = []

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        return self

    def write(self, rows: pa.RecordBatch) -> None:
        if self.missing:
            self.kept.append(rows.slice(0, self.missing))
            self.missing -= self.kept[-1].num_rows
        if not self.missing:
            raise _EnoughError  # a step above may have much more of its batch

    def finish(self) -> None:
        return None

    def commit(self, staged: Sequence[Any]) -> None:
        return None

    def abort(self) -> None:
        return None

    def describe(self) -> str:
        return "head"


def head(node: Node, n: int) -> pa.Table:
    """The first `n` rows that come out of `node` where one worker runs.

    The clock stands still meanwhile, so that no order depends on how fast it goes.
    """
    if explained_instead([node]):
        return node.schema.empty_table()
    sink = _FirstRows(n)
    execution = Execution([SinkNode(inputs=(node,), at=node.at, sink=sink)], 1, RunOptions(now_ns=lambda: 0))

    def next_worker(workers: Sequence[Worker]) -> Worker:
        if not sink.missing:
            raise _EnoughError
        return workers[0]

    try:
        execution.open()
        run_inline(execution, schedule=next_worker, idle=lambda: wait_for_sources(execution))
    except _EnoughError:
        pass
    finally:
        execution.abort()
        execution.close()
    return pa.Table.from_batches(sink.kept, node.schema)
