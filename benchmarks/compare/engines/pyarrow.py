"""Bare `pyarrow.compute`, one thread, on batches of the size that streamlib reads: what a stateless job may cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.compare.engines.base import Case, Engine, Task, memory_table
from benchmarks.compare.job import Job

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 65_536


class PyArrow(Engine):
    """Batch for batch, without an engine."""

    name = "pyarrow"
    method = "pyarrow"
    package = "pyarrow"

    def cases(self, job: Job, task: Task, only: str | None = None) -> dict[str, Case]:
        import pyarrow as pa

        table = memory_table(task.source)

        def run() -> pa.Table:
            return pa.Table.from_batches([job.pyarrow(b) for b in table.to_batches(BATCH_ROWS)])

        return {"": run}
