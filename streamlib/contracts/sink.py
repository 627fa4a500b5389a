"""Sinks: where results leave. Output appears whole or not at all.

A sink opens one writer per worker. Rows written become visible only by `commit`, which the run
calls once for all writers when everything before it has succeeded; `abort` removes what was
staged. `commit` and `abort` may be called again after a crash and must then do no harm.

Most sinks append. One that can replace the row of a key says so (`accepts_upserts`) and takes tables too.

A complete sink of 20 lines::

    class Lines(Sink):
        def __init__(self, path: str) -> None:
            self.path = path

        def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
            return LinesWriter(f"{self.path}.{worker}.part")

        def commit(self, staged: Sequence[Any]) -> None:
            with open(self.path, "a") as out:
                for part in staged:
                    out.write(Path(part).read_text())
                    os.unlink(part)

    class LinesWriter(SinkWriter):
        def __init__(self, part: str) -> None:
            self.part, self.file = part, open(part, "w")

        def write(self, rows: pa.RecordBatch) -> None:
            for row in rows.to_pylist():
                self.file.write(f"{row}\\n")

        def finish(self) -> Any:
            self.file.close()
            return self.part
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pyarrow as pa


class SinkWriter(ABC):
    """Takes the rows of one worker."""

    @abstractmethod
    def write(self, rows: pa.RecordBatch) -> None:
        """Stages rows. Raises SinkError when they cannot be stored, naming the file and the cause."""

    def finish(self) -> Any:
        """Makes what was written durable and says what was staged, as a JSON-like value for `commit`."""
        return None

    def abort(self) -> None:
        """Removes what was staged, after an error. Must not raise."""


class Sink(ABC):
    """A place for the rows of one stream."""

    guarantee: str = "at_least_once"
    """`exactly_once` where commit is atomic and idempotent, else `at_least_once`; `at_most_once` where rows
    that have left may be lost, as on a socket."""

    accepts_upserts: bool = False
    """Whether it takes the changes of a table: by `for_table`. Others append and refuse a table."""

    stages_apart: bool = False
    """Whether writers may work in processes of their own: on a copy of the sink, made by pickle after
    `prepare`, from which `commit` needs nothing but what `finish` returned. Else all rows of a run on
    processes come to the process that runs the job, and are written there."""

    def for_table(self, keys: Sequence[str]) -> Sink:
        """The sink to run for a table with a row per value of the columns `keys`: as a rule itself.

        It is given changes: the table's columns, and ``change`` as the last one. The row of a key is
        put in the place of the one before (``insert``, ``update``), or taken out (``delete``). Changes
        of one key come to one writer, in their order. Called before `prepare`.
        """
        return self

    def prepare(self, schema: pa.Schema) -> None:
        """Checks, before any row is read, that the output can be written; raises SinkError if not."""

    @abstractmethod
    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        """A writer for the rows of worker `worker`."""

    def commit(self, staged: Sequence[Any]) -> None:
        """Makes visible what the writers staged: `staged` has one `finish()` value per writer, by worker."""

    def cancel(self) -> None:
        """Another step has failed: a `write` that waits is to return or raise soon. Called from any thread."""

    def counters(self) -> dict[str, int]:
        """What the sink counts for the report, such as readers that it dropped."""
        return {}

    def abort(self) -> None:
        """After an error, when all writers have been aborted: removes what `prepare` made. Must not raise."""

    def describe(self) -> str:
        """A few words for `explain()` and messages."""
        return type(self).__name__
