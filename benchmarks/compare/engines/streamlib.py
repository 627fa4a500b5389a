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

        table = memory_table(task.source) if job.read == "memory" else None
        apart = job.processes and task.workers > 1
        workers = sl.processes(task.workers) if apart else task.workers

        def rows() -> sl.Stream:
            return csv_input(job, task.source) if table is None else sl.read_arrow(table)

        def run() -> Any:
            answer = job.streamlib(rows())
            if job.write == "parquet":
                kind = sl.parquet(compression="snappy")
                answer = answer.write_files(task.target, format=kind, if_exists="replace")
                sl.run(answer, workers=workers, progress=False)
                return None
            sink = CollectSink()
            sl.run(answer.write(sink), workers=workers, progress=False)
            return sink.table()

        built(job, rows())
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
            answer = job.streamlib(csv_input(job, task.source))
            sink = answer.write_files(task.target, format="csv", if_exists="replace")
            sl.run(sink, workers=task.workers, progress=False)

        built(job, csv_input(job, task.source))
        return {"": run}

    def answer(self, job: Job, target: Path) -> pa.Table:
        return csv_answer(job, list(target.rglob("*.csv")), header=True)


def csv_input(job: Job, source: str) -> sl.Stream:
    """The job's input from a CSV file, its types declared."""
    import pyarrow as pa

    import streamlib as sl

    types = [(name, pa.type_for_alias(kind)) for name, kind in job.columns.items()]
    return sl.read_files(source, schema=pa.schema(types))


def built(job: Job, rows: sl.Stream) -> None:
    """Builds the job's graph once.

    Raises:
        NotBuilt: a name that the job uses is not there.
    """
    try:
        job.streamlib(rows)
    except AttributeError as error:
        raise NotBuilt(str(error)) from error
