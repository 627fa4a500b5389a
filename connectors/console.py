"""The console as a place for results: the first rows as a table."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any, TextIO

import pyarrow as pa

from streamlib.contracts import Sink, SinkWriter
from streamlib.errors import BuildError

CELL_CHARS_MAX = 40
"""A longer value is cut in a table for people."""


class PrintSink(Sink):
    """Prints the first rows when the run has ended well, and how many more there were.

    Args:
        rows: how many rows are printed.
        file: where to; standard output when None.
        live: prints each of them when it comes: for runs that end when they are stopped.

    >>> sink = PrintSink(rows=1)
    >>> writer = sink.open(pa.schema({"n": pa.int64()}), worker=0)
    >>> writer.write(pa.record_batch({"n": [1, 2]}))
    >>> sink.commit([writer.finish()])
    n
    -
    1
    ... and 1 more row
    """

    def __init__(self, rows: int = 20, file: TextIO | None = None, live: bool = False) -> None:
        if rows < 0:
            raise BuildError("rows= of print is not usable", expected="a number from 0", got=repr(rows))
        self._rows, self._file = rows, file
        self._schema: pa.Schema | None = None
        self._live = LiveTable(rows, file) if live else None

    def prepare(self, schema: pa.Schema) -> None:
        self._schema = schema

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        self._schema = schema
        return PrintWriter(self._rows, worker, self._live)

    def commit(self, staged: Sequence[Any]) -> None:
        staged = sorted(staged, key=lambda one: int(one["worker"]))
        total = sum(int(one["count"]) for one in staged)
        out = self._file or sys.stdout
        if self._live is not None:
            shown = self._live.shown
        else:
            head = [row for one in staged for row in one["head"]][: self._rows]
            names = self._schema.names if self._schema is not None else []
            numeric = [] if self._schema is None else [_is_numeric(f.type) for f in self._schema]
            print(table_text(names, head, numeric), file=out)
            shown = len(head)
        more = total - shown
        if more:
            print(f"... and {more:,} more row{'s' if more > 1 else ''}", file=out)

    def describe(self) -> str:
        return f"print {self._rows} rows"


class LiveTable:
    """A table that is printed row by row, by all workers; a column grows when a value is wider.

    Args:
        rows: how many are printed.
        file: where to; standard output when None.

    Attributes:
        shown: how many have been printed.
    """

    def __init__(self, rows: int, file: TextIO | None) -> None:
        self._rows, self._file = rows, file
        self._widths: list[int] = []
        self._lock = threading.Lock()
        self.shown = 0

    def write(self, rows: pa.RecordBatch) -> None:
        """Prints rows as long as there is room for them, and first of all the names of their columns."""
        with self._lock:
            rows = rows.slice(0, self._rows - self.shown)
            if not rows.num_rows:
                return
            columns = [[cell_text(v) for v in plain_text(column)] for column in rows.columns]
            right = [_is_numeric(kind) for kind in rows.schema.types]
            names = rows.schema.names
            head = [] if self._widths else [names]
            before = self._widths or [0] * len(names)
            wide = [max([w, *map(len, c)]) for w, c in zip(before, columns, strict=True)]
            self._widths = [max(w, len(n)) if head else w for w, n in zip(wide, names, strict=True)]
            lines = [*head, *(["-" * w for w in self._widths] for _ in head), *zip(*columns, strict=True)]
            print(aligned(lines, self._widths, right), file=self._file or sys.stdout, flush=True)
            self.shown += rows.num_rows


class PrintWriter(SinkWriter):
    """Keeps the first rows of one worker as text, or has them printed."""

    def __init__(self, rows: int, worker: int, live: LiveTable | None = None) -> None:
        self._rows, self._worker, self._live, self._count = rows, worker, live, 0
        self._head: list[list[str]] = []

    def write(self, rows: pa.RecordBatch) -> None:
        self._count += rows.num_rows
        if self._live is not None:
            self._live.write(rows)
            return
        missing = self._rows - len(self._head)
        if missing > 0:
            columns = [[cell_text(v) for v in plain_text(c.slice(0, missing))] for c in rows.columns]
            self._head.extend([list(row) for row in zip(*columns, strict=True)])

    def finish(self) -> Any:
        return {"worker": self._worker, "count": self._count, "head": self._head}


def plain_text(column: pa.Array) -> list[Any]:
    """Values as they are shown: times as text, since Python has none with nanoseconds."""
    kind = column.type
    if pa.types.is_duration(kind):
        return [None if v is None else f"{v} {kind.unit}" for v in column.cast(pa.int64()).to_pylist()]
    if pa.types.is_temporal(kind):
        return short_times(column.cast(pa.string()).to_pylist())
    if pa.types.is_floating(kind):
        return [v if v is None or abs(v) < 1e-3 else round(v, 6) for v in column.to_pylist()]
    try:
        return column.to_pylist()
    except ValueError:  # nanoseconds within a list or struct
        return [column.slice(i, 1).to_string(skip_new_lines=True) for i in range(len(column))]


def short_times(texts: list[str | None]) -> list[str | None]:
    """Times without the zeros that all of them end in.

    >>> short_times(["10:00:00.500000", None, "10:00:01.000000"])
    ['10:00:00.5', None, '10:00:01.0']
    >>> short_times(["10:00:00.000", "10:00:10.000"])
    ['10:00:00', '10:00:10']
    >>> short_times(["10:00:00.000Z"])
    ['10:00:00Z']
    """
    if any(text is not None and text.endswith("Z") for text in texts):
        plain = short_times([None if text is None else text.removesuffix("Z") for text in texts])
        return [None if text is None else f"{text}Z" for text in plain]
    fractions = [text.partition(".")[2] for text in texts if text is not None]
    if not all(fraction.isdigit() for fraction in fractions):
        return texts
    digits = max((len(fraction.rstrip("0")) for fraction in fractions), default=0)
    whole = [None if text is None else text.partition(".") for text in texts]
    return [None if w is None else (f"{w[0]}.{w[2][:digits]}" if digits else w[0]) for w in whole]


def cell_text(value: Any) -> str:
    """A value as people read it: null as ``-``, long values cut."""
    if value is None:
        return "-"
    text = str(value).replace("\n", "\\n").replace("\r", "\\r")
    return text if len(text) <= CELL_CHARS_MAX else text[: CELL_CHARS_MAX - 3] + "..."


def table_text(names: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Rows of text under their names, in columns; `right` says which are aligned right.

    >>> print(table_text(["a", "n"], [["x", "10"], ["yy", "9"]], [False, True]))
    a    n
    --  --
    x   10
    yy   9
    """
    widths = [max([len(n), *(len(r[i]) for r in rows)]) for i, n in enumerate(names)]
    return aligned([list(names), ["-" * w for w in widths], *rows], widths, right)


def aligned(lines: Sequence[Sequence[str]], widths: Sequence[int], right: Sequence[bool]) -> str:
    """Lines of cells in columns of these widths."""
    return "\n".join(
        "  ".join(
            c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
