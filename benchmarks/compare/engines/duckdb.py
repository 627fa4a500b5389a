"""DuckDB, one thread: from Arrow and from its own table in memory, whichever is faster; or from file to file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.compare.engines.base import Case, Engine, Task, chosen, memory_table
from benchmarks.compare.job import Job

TYPES = {"timestamp[us]": "TIMESTAMP", "string": "VARCHAR", "double": "DOUBLE", "int64": "BIGINT"}

NAMES = ("input", "other")
SOURCES = {"from its own table": "own_input", "from Arrow": "arrow_input"}


def read_csv(path: Any, columns: Mapping[str, str]) -> str:
    """A `read_csv` of a file with a header and declared types, for a query.

    >>> read_csv("ticks.csv", {"ts": "timestamp[us]"})
    "read_csv('ticks.csv', header = true, auto_detect = false, columns = {'ts': 'TIMESTAMP'})"
    """
    types = ", ".join(f"'{name}': '{TYPES[kind]}'" for name, kind in columns.items())
    return f"read_csv('{path}', header = true, auto_detect = false, columns = {{{types}}})"


class DuckDB(Engine):
    """Batch, without event time: a limit of what one core does."""

    name = "duckdb"
    method = "duckdb"
    package = "duckdb"

    def cases(self, job: Job, task: Task, only: str | None = None) -> dict[str, Case]:
        import duckdb

        config: dict[str, Any] = {"threads": task.workers, "preserve_insertion_order": False}
        connection = duckdb.connect(config=config)
        if job.read == "csv":
            sources = {"": read_csv(task.source, job.columns)}
        else:
            for name, table in zip(NAMES, job.inputs(memory_table(task.source)), strict=False):
                connection.register(f"arrow_{name}", table)
            sources = SOURCES
        plans = {
            ", ".join(filter(None, (name, where))): query.format(source=source, other=source.replace(*NAMES))
            for name, query in job.duckdb().items()
            for where, source in sources.items()
        }
        plans = chosen(plans, only)
        if any("own_input" in query for query in plans.values()):
            for name in NAMES if job.sides else NAMES[:1]:
                connection.execute(f"CREATE TABLE own_{name} AS SELECT * FROM arrow_{name}")
                if all("own_input" in query for query in plans.values()):
                    connection.unregister(f"arrow_{name}")

        def case(query: str) -> Case:
            if job.write == "parquet":
                copy = f"COPY ({query}) TO '{task.target}' (FORMAT parquet, COMPRESSION snappy)"
                return lambda: connection.execute(copy) and None
            return lambda: connection.sql(query).to_arrow_table()

        return {name: case(query) for name, query in plans.items()}
