"""Flink SQL on Java, in streaming mode with event time, one slot: from a CSV file to CSV files.

What is measured begins when the statement is sent: the Java process is up and the table declared before.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.compare.engines.base import Case, Engine, Task, csv_answer
from benchmarks.compare.job import Job

if TYPE_CHECKING:
    import pyarrow as pa

JAVA_AT_LEAST = 11
TYPES = {"timestamp[us]": "TIMESTAMP(6)", "string": "STRING", "double": "DOUBLE", "int64": "BIGINT"}
SETTINGS = {
    "parallelism.default": "1",
    "pipeline.object-reuse": "true",
    "table.local-time-zone": "UTC",
}


class Flink(Engine):
    """PyFlink without a Python function: all of the work is Java's."""

    name = "flink"
    method = "flink"
    package = "apache-flink"
    requirements = ("apache-flink==2.3.0", "setuptools<81")
    reads_csv = True

    def missing(self) -> str:
        java = shutil.which("java")
        if java is None:
            return f"needs Java {JAVA_AT_LEAST} or later, and there is no java"
        told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
        found = re.search(r'version "(\d+)', told)
        if found is None or int(found[1]) < JAVA_AT_LEAST:
            return (
                f"needs Java {JAVA_AT_LEAST} or later, and java is {told.partition(chr(10))[0] or 'broken'}"
            )
        return ""

    def cases(self, job: Job, task: Task, only: str | None = None) -> dict[str, Case]:
        from pyflink.table import EnvironmentSettings, TableEnvironment

        environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
        for name, value in SETTINGS.items():
            environment.get_config().set(name, value)
        declare(environment, job, task)

        def run() -> None:
            shutil.rmtree(task.target, ignore_errors=True)
            environment.execute_sql(f"INSERT INTO answer {job.flink()}").wait()

        return {"": run}

    def answer(self, job: Job, target: Path) -> pa.Table:
        return csv_answer(job, [f for f in target.rglob("part-*") if f.is_file()], header=False)


def declare(environment: object, job: Job, task: Task) -> None:
    """The input as a view `events` and the answer as a table.

    Flink's CSV cannot skip a header: that line has no values that parse, and is filtered by its null time.
    """
    run = environment.execute_sql  # type: ignore[attr-defined]
    columns = ", ".join(f"`{name}` {TYPES[kind]}" for name, kind in job.columns.items())
    zero = "TIMESTAMP '1970-01-01 00:00:00.000'"
    run(f"""
        CREATE TABLE file ({columns}, t AS COALESCE(CAST(ts AS TIMESTAMP(3)), {zero}),
                           WATERMARK FOR t AS t - INTERVAL '2' SECOND)
        WITH ('connector' = 'filesystem', 'path' = '{task.source}', 'format' = 'csv',
              'csv.ignore-parse-errors' = 'true')
    """)
    run("CREATE TEMPORARY VIEW events AS SELECT * FROM file WHERE ts IS NOT NULL")
    columns = ", ".join(f"`{name}` {TYPES[kind]}" for name, kind in job.answer.types.items())
    run(f"""
        CREATE TABLE answer ({columns})
        WITH ('connector' = 'filesystem', 'path' = '{task.target}', 'format' = 'csv')
    """)
