"""What an engine of the comparison is: how a job is prepared, run, and its answer read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import Job

if TYPE_CHECKING:
    import pyarrow as pa

Case = Callable[[], Any]
"""One run of a job. Gives the answer as a table, or None when it is in the file that was asked for, or a
function that puts it there, for an answer in an engine's own form: its time does not count."""


class NotBuilt(Exception):
    """The engine does not have what the job needs yet."""


@dataclass(frozen=True)
class Task:
    """What the process of an engine is told.

    Attributes:
        job: a job's name.
        engine: an engine's name.
        workers: how many workers it may use.
        source: the input: an Arrow IPC file for libraries, a CSV file for the others.
        target: where the answer goes: a file, or a folder of files.
        plan: one of the engine's plans; the first when empty.
    """

    job: str
    engine: str
    workers: int
    source: str
    target: str
    plan: str = ""

    def text(self) -> str:
        """As one argument of a command.

        >>> task = Task("sessions", "duckdb", 1, "ticks.arrow", "answer")
        >>> Task.of(task.text()) == task
        True
        """
        return json.dumps(asdict(self))

    @staticmethod
    def of(text: str) -> Task:
        """A task from its text."""
        return Task(**json.loads(text))


class Engine:
    """One engine.

    Attributes:
        name: in tables and options.
        method: the method of a job that this engine needs.
        package: whose version is shown.
        requirements: what an environment of its own gets; none when it runs in this one.
        reads_csv: whether it works from a CSV file to a CSV file, whatever the job says.
        in_memory: whether it reads that file before it is measured, and keeps its answer in memory: it is
            measured beside libraries then, with their rows.
    """

    name: str
    method: str
    package: str
    requirements: tuple[str, ...] = ()
    reads_csv: bool = False
    in_memory: bool = False

    @property
    def environment(self) -> str:
        """The name of its environment; engines may share one."""
        return self.name

    @property
    def from_files(self) -> bool:
        """Whether a file is what it is measured from."""
        return self.reads_csv and not self.in_memory

    def does(self, job: Job) -> bool:
        """Whether the job can be given to this engine."""
        return job.offers(self.method) and not (self.reads_csv and job.read == "csv")

    def missing(self) -> str:
        """What the machine lacks, other than packages; empty when nothing."""
        return ""

    def cases(self, job: Job, task: Task, only: str | None = None) -> dict[str, Case]:
        """Makes everything ready, so that a run of a case is what is measured.

        Args:
            job: what to run.
            task: with which files.
            only: the one plan that is wanted; all when None.

        Raises:
            NotBuilt: the engine cannot do this yet.
        """
        raise NotImplementedError

    def answer(self, job: Job, target: Path) -> pa.Table:
        """The answer, from where `cases` or the process put it. Runs in the process of the suite."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if job.write == "parquet":
            return pq.read_table(target)
        with pa.memory_map(str(target)) as file:
            return pa.ipc.open_file(file).read_all()


def chosen(plans: dict[str, Any], only: str | None) -> dict[str, Any]:
    """All plans, or only the one that is wanted; its first when that has no name."""
    if only is None:
        return plans
    name = only or next(iter(plans))
    return {name: plans[name]}


def memory_table(path: str) -> pa.Table:
    """An Arrow IPC file as a table that is read into memory, not mapped."""
    import pyarrow as pa

    with pa.OSFile(path) as file:
        return pa.ipc.open_file(file).read_all()


def csv_answer(job: Job, files: list[Path], header: bool, time: str = "timestamp[us]") -> pa.Table:
    """The answer from CSV files.

    Args:
        job: says the columns and their types.
        files: all of them.
        header: whether each begins with the names; else the columns are those of the answer, in its order.
        time: the type that the engine writes times in.
    """
    import pyarrow as pa
    import pyarrow.csv as pacsv

    kinds = {name: time if kind.startswith("timestamp") else kind for name, kind in job.answer.types.items()}
    types = {name: pa.type_for_alias(kind) for name, kind in kinds.items()}
    read = pacsv.ReadOptions(column_names=None if header else list(types))
    convert = pacsv.ConvertOptions(column_types=types, include_columns=list(types))
    tables = [pacsv.read_csv(f, read, None, convert) for f in sorted(files) if f.stat().st_size]
    empty = pa.schema(list(types.items())).empty_table()
    return pa.concat_tables([empty, *tables])
