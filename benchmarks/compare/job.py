"""What a job of the comparison is: an input, an answer, and what each engine is asked for.

A class below with `JOB = Name()` at the end of its module. A job leaves out the engines that cannot do it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import pyarrow as pa

    import streamlib as sl

TICKS = {"ts": "timestamp[us]", "symbol": "string", "price": "double", "volume": "int64"}
"""The columns of most inputs."""

MAX_DELAY = "2s"
"""How far rows may be out of order, for the engines that work by event time: what the inputs need."""

JOBS = (
    "map_filter",
    "tumbling_bars",
    "hopping_60_panes",
    "sessions",
    "tick_bars",
    "count_distinct",
    "quantiles",
    "many_keys",
    "many_keys_text",
    "dedup",
    "dedup_text",
    "hot_key",
    "interval_join",
    "interval_join_turned",
    "asof_join",
    "window_join",
    "scan",
    "scan_disorder",
    "stateful_batch",
    "process_timers",
    "python_map",
    "csv_to_parquet",
)
"""The jobs, in the order in which they run."""


class NotOffered(Exception):
    """The engine has no way to do this job, or nobody has written it."""


@dataclass(frozen=True)
class BytewaxWindow:
    """A keyed window for Bytewax: its windower, the state's first value and how a row is folded into it.

    Attributes:
        windower: makes the windower, once Bytewax can be imported.
        fold: the state after one more row, a tuple of its columns' values; the state is None at first.
        line: the text of a result, from the key, the window's number and the state.
    """

    windower: Callable[[], Any]
    fold: Callable[[Any, Any], Any]
    line: Callable[[str, int, Any], str]


@dataclass(frozen=True)
class BytewaxState:
    """A `stateful_map` by key for Bytewax.

    Attributes:
        step: the state and the result, from the state, None at first, and a row's other values.
        line: the text of a result, from the key and the result.
    """

    step: Callable[[Any, Any], Any]
    line: Callable[[str, Any], str]


@dataclass(frozen=True)
class BytewaxStateful:
    """State by key of one's own for Bytewax.

    Attributes:
        logic: gives what builds a key's logic, once Bytewax can be imported.
        line: the text of a result, from the key and what the logic gave.
    """

    logic: Callable[[], Any]
    line: Callable[[str, Any], str]


class Job:
    """One job. Attributes are the same for all engines, methods are what one engine needs.

    Attributes:
        name: also the module's name.
        columns: of the input, with Arrow's names of their types. ``ts`` is the event time.
        answer: the columns that are compared.
        read: what libraries read: the table in memory, or the CSV file.
        write: where libraries put the answer: into memory, or into a Parquet file.
        workers: numbers of workers that streamlib runs with; all others run with one.
        processes: whether several workers of streamlib are processes; else they are threads.
        targets: of how many times an engine's rate streamlib's shall be at least, by engine.
        scaling: of how many times streamlib's rate with one worker that with two shall be; 0: not asked.
        peers_in_memory: whether engines that work from file to file are measured from memory to memory too.
        sides: for jobs on two inputs, the column that is 0 in the rows of the first and 1 in those of the
            second. Libraries get them as two; `streamlib` and the plans of `polars` then take two, and
            queries of `duckdb` have ``{source}`` and ``{other}``.
    """

    name: str
    columns: Mapping[str, str] = TICKS
    answer: Shape
    read: Literal["memory", "csv"] = "memory"
    write: Literal["memory", "parquet"] = "memory"
    workers: tuple[int, ...] = (1,)
    processes: bool = False
    targets: Mapping[str, float] = {}
    scaling: float = 0.0
    peers_in_memory: bool = False
    sides: str = ""

    def data(self, rows: int) -> pa.Table:
        """The input: ticks as they arrive, unless a job says otherwise."""
        import pyarrow as pa

        from benchmarks.ticks import pieces

        return pa.concat_tables(pieces(rows)).combine_chunks()

    def inputs(self, table: pa.Table) -> list[pa.Table]:
        """What libraries read: the input, or its two sides without the column that tells them apart."""
        import pyarrow.compute as pc

        if not self.sides:
            return [table]
        parts = [table.filter(pc.equal(table[self.sides], side)) for side in (0, 1)]
        return [part.drop_columns([self.sides]).combine_chunks() for part in parts]

    def streamlib(self, rows: sl.Stream, *others: sl.Stream) -> sl.Stream:
        """The pipeline, from the input to the answer."""
        raise NotOffered

    def duckdb(self) -> dict[str, str]:
        """Plans by name: a query each, with ``{source}`` for the input."""
        raise NotOffered

    def polars(self) -> dict[str, Callable[..., Any]]:
        """Plans by name: each makes the answer's lazy frame from the input's."""
        raise NotOffered

    def pyarrow(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """One batch of the answer from one of the input, with nothing but `pyarrow.compute`."""
        raise NotOffered

    def flink(self) -> str:
        """A query on the view ``events``, whose column ``t`` is the event time in milliseconds."""
        raise NotOffered

    def bytewax(self) -> BytewaxWindow | BytewaxState | BytewaxStateful | Callable[[list[str]], list[str]]:
        """A window or state by key, or what becomes of a list of lines."""
        raise NotOffered

    def pathway(self, table: Any) -> Any:
        """The answer's table from the input's."""
        raise NotOffered

    def offers(self, method: str) -> bool:
        """Whether the job has its own `method`."""
        return getattr(type(self), method) is not getattr(Job, method)


def find_job(name: str) -> Job:
    """A job by its name; one of your own by the name of its module, such as ``my_package.my_job``.

    Raises:
        ModuleNotFoundError: there is no such module.
        AttributeError: the module has no `JOB`.
    """
    job: Job = importlib.import_module(f"benchmarks.compare.jobs.{name}" if name in JOBS else name).JOB
    return job
