"""Pathway, one thread: from a CSV file to a CSV file, in static mode, which it is fastest in and which ends.

The part that is used needs no licence key.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.compare.engines.base import Case, Engine, Task, csv_answer
from benchmarks.compare.job import Job

if TYPE_CHECKING:
    import pyarrow as pa

TYPES = {"timestamp[us]": str, "string": str, "double": float, "int64": int}


class Pathway(Engine):
    """A batch that is computed by an incremental engine: no watermark, all windows close at the end."""

    name = "pathway"
    method = "pathway"
    package = "pathway"
    requirements = ("pathway==0.33.0",)
    reads_csv = True

    def cases(self, job: Job, task: Task, only: str | None = None) -> dict[str, Case]:
        os.environ["PATHWAY_THREADS"] = str(task.workers)
        import pathway as pw
        from pathway.internals.parse_graph import G

        schema = pw.schema_from_types(**{name: TYPES[kind] for name, kind in job.columns.items()})

        def run() -> None:
            G.clear()
            rows = pw.io.csv.read(task.source, schema=schema, mode="static")
            rows = rows.with_columns(ts=rows.ts.dt.strptime("%Y-%m-%d %H:%M:%S.%f"))
            pw.io.csv.write(job.pathway(rows), task.target)
            pw.run(monitoring_level=pw.MonitoringLevel.NONE)

        return {"": run}

    def answer(self, job: Job, target: Path) -> pa.Table:
        return csv_answer(job, [target], header=True, time="timestamp[ns]")
