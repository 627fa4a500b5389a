"""streamlib: as a library from memory to memory, and from a CSV file to CSV files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.compare.engines.base import Case, Engine, NotBuilt, Task, csv_answer, memory_table
from benchmarks.compare.job import Job

if TYPE_CHECKING:
    import pyarrow as pa

    import streamlib as sl


class Streamlib(Engine):
    """From what the job reads to what it writes. Event time, marks and late rows are on."""

    name = "streamlib"
    method = "streamlib"
    package = "streamlib"

    def cases(self, job: Job, task: Task, only: str | None = None) -> dict[str, Case]:
        import streamlib as sl
        from streamlib.connectors.memory import CollectSink

        tables = job.inputs(memory_table(task.source)) if job.read == "memory" else None
        apart = job.processes and task.workers > 1
        workers = sl.processes(task.workers) if apart else task.workers

        def rows() -> list[sl.Stream]:
            return (
                csv_inputs(job, task.source) if tables is None else [sl.read_arrow(table) for table in tables]
            )

        def run() -> Any:
            answer = job.streamlib(*rows())
            if job.write == "parquet":
                kind = sl.parquet(compression="snappy")
                answer = answer.write_files(task.target, format=kind, if_exists="replace")
                sl.run(answer, workers=workers, progress=False)
                return None
            sink = CollectSink()
            sl.run(answer.write(sink), workers=workers, progress=False)
            return sink.table()

        built(job, *rows())
        return {"": run}


class StreamlibCsv(Engine):
    """From the file that Flink, Bytewax and Pathway read, to files as they write them."""

    name = "streamlib-csv"
    method = "streamlib"
    package = "streamlib"
    reads_csv = True

    def cases(self, job: Job, task: Task, only: str | None = None) -> dict[str, Case]:
        import streamlib as sl

        def run() -> None:
            answer = job.streamlib(*csv_inputs(job, task.source))
            sink = answer.write_files(task.target, format="csv", if_exists="replace")
            sl.run(sink, workers=task.workers, progress=False)

        built(job, *csv_inputs(job, task.source))
        return {"": run}

    def answer(self, job: Job, target: Path) -> pa.Table:
        return csv_answer(job, list(target.rglob("*.csv")), header=True)


def csv_input(job: Job, source: str) -> sl.Stream:
    """The job's input from a CSV file, its types declared."""
    import pyarrow as pa

    import streamlib as sl

    types = [(name, pa.type_for_alias(kind)) for name, kind in job.columns.items()]
    return sl.read_files(source, schema=pa.schema(types))


def csv_inputs(job: Job, source: str) -> list[sl.Stream]:
    """That input, or its two sides."""
    import streamlib as sl

    rows = csv_input(job, source)
    return [rows.filter(sl.col(job.sides) == side) for side in (0, 1)] if job.sides else [rows]


def built(job: Job, *rows: sl.Stream) -> None:
    """Builds the job's graph once.

    Raises:
        NotBuilt: a name that the job uses is not there.
    """
    try:
        job.streamlib(*rows)
    except AttributeError as error:
        raise NotBuilt(str(error)) from error
