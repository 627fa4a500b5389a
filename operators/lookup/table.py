"""A lookup table: what it is read from, its key, and the one replica that the workers of a process share.

It is read whole when a run begins. With `refresh` it is read again by the worker that finds it too old:
no row is looked up in a table that was read longer ago than that. It is no part of a snapshot.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import pyarrow as pa

from streamlib.contracts import Operator, TableSource
from streamlib.elements import format_duration, times_ns
from streamlib.errors import BuildError, Retry, SourceError, StreamlibError
from streamlib.graph import BuildContext, Node
from streamlib.operators.joins.sides import plain, plain_type

T = TypeVar("T")

ASKED_AGAIN_NS = 1_000_000_000
"""A source that was down is not asked again for so long."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LookupTableNode(Node):
    """What `read_table` returned: no step of a plan, but what a lookup knows of its table.

    Attributes:
        source: what is read.
        key: the key columns.
        valid_from: the column with the time from which a row holds; None where a key has one row.
        refresh: how old it may become, ns; None to read it once.
        retry: how often it is tried again to read it.
    """

    kind: ClassVar[str] = "read_table"
    source: TableSource
    key: tuple[str, ...]
    valid_from: str | None = None
    refresh: int | None = None
    retry: Retry | None = None

    def derive_schema(self) -> pa.Schema:
        found = tried(self.source, self.source.schema, self.retry, threading.Event().wait)
        return pa.schema([pa.field(f.name, plain_type(f.type)) for f in found])

    def derive_keys(self) -> tuple[str, ...]:
        return self.key

    def validate(self) -> None:
        if not self.key:
            raise BuildError("a lookup table has a key", expected='key="symbol", or a list of columns')
        names = [*self.key, *([] if self.valid_from is None else [self.valid_from])]
        self.require_columns(names, self.schema)
        if len(set(names)) < len(names):
            raise BuildError("a column is named twice", got=", ".join(names))
        for name in self.key:
            kind = self.schema.field(name).type
            if pa.types.is_nested(kind) or pa.types.is_null(kind):
                raise BuildError(
                    f"column {name!r} cannot be a key",
                    expected="numbers, strings, binary, booleans, times or decimals",
                    got=str(kind),
                )
        if self.valid_from is not None:
            times_ns(pa.array([], self.schema.field(self.valid_from).type), self.valid_from)
        self._check_refresh()

    def _check_refresh(self) -> None:
        if self.refresh is None:
            return
        if self.refresh <= 0:
            raise BuildError("refresh= must be longer than zero", got=format_duration(self.refresh))
        if not self.source.changes:
            raise BuildError(
                "refresh= reads a table again, and this one stays as it is",
                expected="files, a function or a query",
                got=self.source.describe(),
                hint="hand over a function that returns the data as it is by then",
            )

    def describe(self) -> str:
        parts = [self.source.describe(), f"key={', '.join(self.key)}"]
        if self.valid_from is not None:
            parts.append(f"valid_from={self.valid_from!r}")
        if self.refresh is not None:
            parts.append(f"refresh={format_duration(self.refresh)!r}")
        return "; ".join(parts)

    def timing_because(self) -> str | None:
        if self.refresh is not None:
            return f"{self.source.describe()} is a lookup outside, read again every {format_duration(self.refresh)}"
        return f"{self.source.describe()} is a lookup outside" if self.source.outside else None

    def build(self, context: BuildContext) -> Operator:
        raise AssertionError("a lookup table is no step")


def tried(
    source: TableSource, ask: Callable[[], T], retry: Retry | None, pause: Callable[[float], object]
) -> T:
    """What `ask` answers, tried as often as `retry` says; `pause` answers true when it is no longer wanted.

    Raises:
        StreamlibError: the last error, with what was being read.
    """
    waits = [] if retry is None else retry.waits()
    for attempt, wait in enumerate([*waits, None], 1):
        try:
            return ask()
        except Exception as error:
            if wait is None or isinstance(error, BuildError) or pause(wait):
                raise _explained(source, error, attempt) from error
    raise AssertionError("the last attempt returns or raises")


def _explained(source: TableSource, error: Exception, attempts: int) -> StreamlibError:
    if isinstance(error, BuildError):
        return error
    times = f" in {attempts} attempts" if attempts > 1 else ""
    problem = f"the lookup table could not be read{times}"
    if isinstance(error, StreamlibError):
        return SourceError(
            f"{problem}: {error.problem}",
            where=error.where or source.describe(),
            expected=error.expected,
            got=error.got,
            hint=error.hint,
        )
    return SourceError(
        f"{problem}: {type(error).__name__}",
        where=source.describe(),
        got=str(error) or type(error).__name__,
        hint=None if attempts > 1 else "retry=sl.Retry(...) asks again",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """The table as it was read once.

    Attributes:
        rows: plain columns.
        read_ns: when, on the processing clock.
    """

    rows: pa.RecordBatch
    read_ns: int


class Replica:
    """The table as the workers of one process share it.

    Args:
        table: what is read.
    """

    def __init__(self, table: LookupTableNode) -> None:
        self.table = table
        self.reads = 0
        self._lock = threading.Lock()
        self._version: Version | None = None
        self._failed: StreamlibError | None = None
        self._failed_ns = 0

    def version(self, now_ns: int, retry: Retry | None, pause: Callable[[float], object]) -> Version:
        """The table; read now if it has not been, or is too old.

        Raises:
            StreamlibError: it cannot be read.
        """
        with self._lock:
            version, refresh = self._version, self.table.refresh
            if version is not None and (refresh is None or now_ns - version.read_ns < refresh):
                return version
            if self._failed is not None and now_ns - self._failed_ns < ASKED_AGAIN_NS:
                raise self._failed
            try:
                source = self.table.source
                rows = tried(source, source.read, self.table.retry or retry, pause)
            except StreamlibError as error:
                self._failed, self._failed_ns = error, now_ns
                raise
            self._failed, self.reads = None, self.reads + 1
            self._version = Version(_whole(rows, self.table.schema), now_ns)
            return self._version


def _whole(table: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    """One array a column, plain."""
    columns = []
    for name, field in zip(table.schema.names, schema, strict=True):
        chunks = table.column(name)
        column = chunks.combine_chunks() if chunks.num_chunks != 1 else chunks.chunk(0)
        columns.append(plain(column).cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
