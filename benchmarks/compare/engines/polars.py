"""Polars, one thread: from its own frame, in-memory and streaming, whichever is faster; or from file to file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from benchmarks.compare.engines.base import Case, Engine, Task, chosen, memory_table
from benchmarks.compare.job import Job

KINDS = ("in-memory", "streaming")


class Polars(Engine):
    """Batch, without event time: a limit of what one core does. Its frame is made before the clock starts."""

    name = "polars"
    method = "polars"
    package = "polars"

    def cases(self, job: Job, task: Task, only: str | None = None) -> dict[str, Case]:
        os.environ["POLARS_MAX_THREADS"] = str(task.workers)  # read when polars is imported
        import polars as pl

        if job.read == "csv":
            lazy: list[Any] = [scan_csv(job, task.source)]
        else:
            frames: list[Any] = [pl.from_arrow(table) for table in job.inputs(memory_table(task.source))]
            lazy = [frame.lazy() for frame in frames]

        def case(build: Callable[[Any], Any], kind: Any) -> Case:
            if job.write == "parquet":
                return lambda: build(*lazy).sink_parquet(task.target, compression="snappy", engine=kind)
            return lambda: build(*lazy).collect(engine=kind).to_arrow()

        plans = {f"{name}, {kind}": (build, kind) for name, build in job.polars().items() for kind in KINDS}
        return {name: case(*plan) for name, plan in chosen(plans, only).items()}


def scan_csv(job: Job, source: str) -> Any:
    """The input from a CSV file. Polars takes no type for times: it parses them, with the format declared."""
    import polars as pl

    types: dict[str, Any] = {
        "timestamp[us]": pl.String,
        "string": pl.String,
        "double": pl.Float64,
        "int64": pl.Int64,
    }
    rows = pl.scan_csv(source, schema={name: types[kind] for name, kind in job.columns.items()})
    times = [name for name, kind in job.columns.items() if kind == "timestamp[us]"]
    return rows.with_columns(pl.col(times).str.to_datetime("%Y-%m-%d %H:%M:%S%.6f", time_unit="us"))
