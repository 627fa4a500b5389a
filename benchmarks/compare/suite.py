"""Runs jobs on engines: all engines of a job are made ready, run in turns, and their answers compared.

What counts is an answer that DuckDB's confirms (any other engine's, where DuckDB is not there). An engine
that is not there, fails or differs gets a note in place of figures, and the rest goes on.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import answers
from benchmarks.compare.engines import ENGINES
from benchmarks.compare.engines.base import NotBuilt, Task
from benchmarks.compare.job import Job
from benchmarks.compare.outcome import FAILED, NOT_AVAILABLE, NOT_BUILT, OURS, WRONG, Outcome
from benchmarks.compare.process import EngineFailed, EngineProcess
from benchmarks.compare.venvs import NotAvailable, python_of
from benchmarks.measure import kept_bytecode

if TYPE_CHECKING:
    import pyarrow as pa

ORACLE = "duckdb"
SLOW_SECONDS = 60.0
"""An engine whose first run takes longer is not run again: that run is its figure. For all others it is not counted."""


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        rows: of the inputs of libraries.
        csv_rows: of those of the engines that work from file to file.
        runs: counted runs of each engine.
        plans: whether to look for each engine's fastest plan; else its first one runs.
        seconds_max: how long one run may take.
        folder: for inputs, answers and logs.
        venvs: for the environments of engines.
        interpreter: to make these with.
    """

    rows: int
    csv_rows: int
    runs: int
    plans: bool
    seconds_max: float
    folder: Path
    venvs: Path
    interpreter: str


@dataclass
class Entry:
    """An engine that takes part in a job: its process, and what is known of it so far."""

    outcome: Outcome
    task: Task
    process: EngineProcess | None = None
    seconds: list[float] | None = None

    @property
    def live(self) -> bool:
        """Whether it is still in the race."""
        return not self.outcome.note

    def note(self, text: str) -> None:
        """Takes it out."""
        self.outcome = replace(
            self.outcome, note=text, seconds=None, rows_per_second=None, peak_rss_mb=None, result_hash=None
        )


def run_job(job: Job, engines: Sequence[str], options: Options) -> list[Outcome]:
    """One job on all `engines` that can do it: first from memory (or as the job says), then from file to file."""
    found: list[Outcome] = []
    for from_csv in (False, True):
        names = [n for n in engines if ENGINES[n].from_files is from_csv and ENGINES[n].does(job)]
        if from_csv and not set(names) - set(OURS):
            continue  # nothing to compare streamlib with
        if names:
            found += Race(job, names, options.csv_rows if from_csv else options.rows, options).run()
    return found


class Race:
    """Some engines on one input.

    Args:
        job: what they do.
        engines: their names.
        rows: of the input.
        options: how to measure.
    """

    def __init__(self, job: Job, engines: Sequence[str], rows: int, options: Options) -> None:
        self.job, self.engines, self.rows, self.options = job, engines, rows, options
        self.folder = options.folder / job.name
        self.csv, self.arrow = self.folder / "input.csv", self.folder / "input.arrow"
        self.oracle_source = self.csv if job.read == "csv" else self.arrow

    def run(self) -> list[Outcome]:
        """All of them; what they leave on the disk is removed."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        try:
            write_input(self.job, self.rows, {self.oracle_source, *map(self._source, self.engines)})
            entries = [self._entry(name, workers) for name in self.engines for workers in self._workers(name)]
            with ExitStack() as open_processes:
                open_processes.enter_context(kept_bytecode())
                self._start(entries, open_processes)
                self._take_turns(entries)
            self._compare(entries)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        return [entry.outcome for entry in entries]

    def _source(self, name: str) -> Path:
        return self.csv if self.job.read == "csv" or ENGINES[name].reads_csv else self.arrow

    def _workers(self, name: str) -> tuple[int, ...]:
        return self.job.workers if name == OURS[0] else (1,)

    def _entry(self, name: str, workers: int, label: str = "") -> Entry:
        target = self.folder / f"{label}{name}-{workers}"
        return Entry(
            Outcome(self.job.name, name, workers, self.rows),
            Task(self.job.name, name, workers, str(self._source(name)), str(target)),
        )

    def _process(self, entry: Entry) -> EngineProcess:
        engine = ENGINES[entry.task.engine]
        python = python_of(engine, self.options.venvs, self.options.interpreter)
        log = Path(f"{entry.task.target}.log")
        return EngineProcess(python, entry.task, log, self.options.seconds_max)

    def _start(self, entries: list[Entry], open_processes: ExitStack) -> None:
        """Finds plans, one engine at a time, then makes all ready and lets each run once."""
        if self.options.plans:
            for entry in entries:
                with _Noting(entry), self._process(entry) as process:
                    process.ask("plans")
                    entry.task = replace(entry.task, plan=process.answer()["plan"])
        for entry in entries:
            if not entry.live:
                continue
            with _Noting(entry):
                entry.process = open_processes.enter_context(self._process(entry))
                ready = entry.process.ask("measure")
                entry.outcome = replace(entry.outcome, version=ready["version"], plan=ready["plan"])
                first = entry.process.ask("run")["seconds"]
                entry.seconds = [first] if first > SLOW_SECONDS else None

    def _take_turns(self, entries: list[Entry]) -> None:
        """Counted runs: each engine once, then each again, so that what slows the machine slows all."""
        counted = [entry for entry in entries if entry.live and entry.seconds is None]
        for entry in counted:
            entry.seconds = []
        for _ in range(self.options.runs):
            for entry in counted:
                if entry.live and entry.process is not None and entry.seconds is not None:
                    with _Noting(entry):
                        entry.seconds.append(entry.process.ask("run")["seconds"])
        for entry in entries:
            if not entry.live or entry.process is None or not entry.seconds:
                continue
            with _Noting(entry):
                peak = entry.process.ask("finish")["peak_rss_mb"]
                seconds = statistics.median(entry.seconds)
                entry.outcome = replace(
                    entry.outcome,
                    seconds=seconds,
                    rows_per_second=self.rows / seconds,
                    peak_rss_mb=peak,
                    runs=len(entry.seconds),
                )
                entry.process.close()

    def _compare(self, entries: list[Entry]) -> None:
        """Every answer with the oracle's."""
        want, who = self._oracle(), ORACLE
        for entry in entries:
            if not entry.live:
                continue
            name = entry.task.engine
            try:
                got = ENGINES[name].answer(self.job, Path(entry.task.target))
                if want is None:
                    want, who = got, name
                answers.check_same(want, got, name, self.job.answer, who)
                found = answers.hash_of(got, self.job.answer, near=False)
                entry.outcome = replace(entry.outcome, result_hash=found)
            except (AssertionError, OSError, ValueError, KeyError) as error:
                entry.note(f"{WRONG}{error}")

    def _oracle(self) -> pa.Table | None:
        entry = self._entry(ORACLE, 1, "oracle-")
        entry.task = replace(entry.task, source=str(self.oracle_source))
        if not ENGINES[ORACLE].does(self.job):
            return None
        with _Noting(entry), self._process(entry) as process:
            for word in ("measure", "run", "finish"):
                process.ask(word)
        return ENGINES[ORACLE].answer(self.job, Path(entry.task.target)) if entry.live else None


class _Noting:
    """Writes down why an engine has no figure, and lets the others go on."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def __enter__(self) -> None:
        """Nothing to do before."""

    def __exit__(self, kind: type[BaseException] | None, error: Any, where: object) -> bool:
        said = {NotBuilt: NOT_BUILT, NotAvailable: NOT_AVAILABLE, EngineFailed: FAILED}
        if kind not in said:
            return False
        text = str(error)
        missing = kind is EngineFailed and "No module named" in text and "ModuleNotFoundError" in text
        self._entry.note((NOT_AVAILABLE if missing else said[kind]) + text)
        return True


def write_input(job: Job, rows: int, paths: set[Path]) -> None:
    """The job's input as each of `paths`: Arrow IPC or CSV, by the ending."""
    import pyarrow as pa
    import pyarrow.csv as pacsv

    table = job.data(rows)
    for path in paths:
        if path.suffix == ".csv":
            pacsv.write_csv(table, path, pacsv.WriteOptions(quoting_style="none"))
        else:
            with pa.ipc.new_file(path, table.schema) as file:
                file.write_table(table)
