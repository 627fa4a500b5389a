"""Memory as a source and as a place for results."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from streamlib.connectors.plain import plain_column, plain_type
from streamlib.contracts import Block, Sink, SinkWriter, Source, Split, SplitReader
from streamlib.errors import BuildError, ColumnNotFoundError, SinkError

BLOCK_ROWS = 65_536
"""The least rows of one block of a table in memory, where nothing else is asked for."""
BLOCK_ROWS_MAX = 1 << 20
BLOCK_BYTES_MAX = 64 * 1024 * 1024
SHARES = 8
"""A block of a large table is this part of the rows that are left: so several workers end together."""


class ArrowSource(Source):
    """Rows of a table in memory: one split, in the table's order.

    Nothing is copied, except that views and dictionaries become plain columns, block by block.

    Args:
        data: a `pyarrow` Table, RecordBatch or RecordBatchReader, or any object that hands out an Arrow
            stream or array (a PyCapsule): a Polars or pandas frame, a DuckDB relation. What can be read
            only once is read whole, now.
        block_rows: the most rows of one block; by the size of the table when None.
        name: the split's name, for messages.

    Raises:
        BuildError: `data` is none of these, or has no columns.

    >>> source = ArrowSource(pa.table({"n": [1, 2, 3]}), block_rows=2)
    >>> reader = source.open(source.splits()[0])
    >>> reader.read().position, reader.read().position, reader.read()
    (2, 3, None)
    """

    def __init__(self, data: Any, block_rows: int | None = None, name: str = "arrow") -> None:
        if block_rows is not None and block_rows < 1:
            raise BuildError("block_rows= must be at least 1", got=repr(block_rows))
        self._table, self._name = _table_of(data), name
        self._block_rows = block_rows

    def schema(self) -> pa.Schema:
        return pa.schema([f.with_type(plain_type(f.type)) for f in self._table.schema])

    def splits(self) -> list[Split]:
        return [Split(self._name)]

    def open(self, split: Split, position: Any = None) -> SplitReader:
        return ArrowReader(self._table, self._block_rows, 0 if position is None else int(position))

    def with_columns(self, columns: Sequence[str]) -> ArrowSource:
        for name in columns:
            if name not in self._table.schema.names:
                raise ColumnNotFoundError.of(name, self._table.schema.names)
        keep = [n for n in self._table.schema.names if n in set(columns)] or self._table.schema.names[:1]
        return ArrowSource(self._table.select(keep), self._block_rows, self._name)

    def total_bytes(self) -> int:
        return int(self._table.nbytes)

    def describe(self) -> str:
        return f"{self._name}, {self._table.num_rows:,} rows in memory"


def _table_of(data: Any) -> pa.Table:
    if isinstance(data, pa.Table):
        table = data
    elif isinstance(data, pa.RecordBatch):
        table = pa.Table.from_batches([data])
    elif isinstance(data, pa.RecordBatchReader):
        table = data.read_all()
    elif hasattr(data, "__arrow_c_stream__"):
        table = _streamed(data)
    elif hasattr(data, "__arrow_c_array__"):
        table = pa.Table.from_batches([pa.record_batch(data)])
    else:
        raise BuildError(
            "this cannot be read as Arrow data",
            expected="a pyarrow Table, a Polars or pandas frame, or another object with __arrow_c_stream__",
            got=f"a {_class_name(type(data))}",
            hint=_made_readable(data),
        )
    if not table.num_columns:
        raise BuildError("the table has no columns", got=repr(data)[:80])
    names = table.schema.names
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise BuildError("the table has two columns of one name", got=", ".join(map(repr, twice)))
    return table.replace_schema_metadata(None)


def _streamed(data: Any) -> pa.Table:
    try:
        return pa.RecordBatchReader.from_stream(data).read_all()
    except pa.ArrowException as error:
        raise BuildError(
            "this cannot be read as Arrow data",
            expected="columns whose values are all of one type",
            got=", ".join(str(part) for part in error.args),
            hint="convert the column before",
        ) from None


def _class_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _made_readable(data: Any) -> str | None:
    """The hint for what holds rows and hands out no Arrow data."""
    if isinstance(data, (str, os.PathLike)):
        return "a file is read by sl.read_files(...)"
    if isinstance(data, dict):
        return "pa.table(...) makes a table of a dict of columns"
    if isinstance(data, (list, tuple)):
        return "pa.Table.from_pylist(...) makes a table of a list of dicts"
    return "a lazy frame is collected first: .collect()" if hasattr(data, "collect") else None


class ArrowReader(SplitReader):
    """Slices of a table. The position is the number of the next row.

    Without `block_rows` blocks are large at first: windows that lie in one block cost a worker nothing to
    share with the others.
    """

    def __init__(self, table: pa.Table, block_rows: int | None, row: int) -> None:
        self._batches = [b for b in table.to_batches() if b.num_rows]
        self._block_rows = block_rows
        self._rows = table.num_rows
        self._row_bytes = table.nbytes / max(1, table.num_rows)
        self._most = max(BLOCK_ROWS, min(BLOCK_ROWS_MAX, int(BLOCK_BYTES_MAX / max(1.0, self._row_bytes))))
        self._plain = all(plain_type(kind).equals(kind) for kind in table.schema.types)
        self._index, self._row = 0, row
        skip = row
        while self._index < len(self._batches) and skip >= self._batches[self._index].num_rows:
            skip -= self._batches[self._index].num_rows
            self._index += 1
        self._within = skip

    def read(self) -> Block | None:
        if self._index == len(self._batches):
            return None
        wanted = self._block_rows or self._share()
        parts: list[pa.RecordBatch] = []
        first_row = self._row
        while wanted and self._index < len(self._batches):
            batch = self._batches[self._index]
            part = batch.slice(self._within, wanted)
            parts.append(part)
            wanted -= part.num_rows
            self._row += part.num_rows
            self._within += part.num_rows
            if self._within == batch.num_rows:
                self._index, self._within = self._index + 1, 0
        return Block(parts, self._row, first_row, nbytes=int((self._row - first_row) * self._row_bytes))

    def _share(self) -> int:
        """How many rows the next block is to have: whole batches."""
        rows = min((self._rows - self._row) // SHARES, self._most)
        return max(BLOCK_ROWS, rows - rows % BLOCK_ROWS)

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        yield from block.data if self._plain else map(_plain, block.data)

    def peek(self) -> pa.RecordBatch | None:
        if self._index == len(self._batches):
            return None
        return _plain(self._batches[self._index].slice(self._within, 1))


def _plain(rows: pa.RecordBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([plain_column(c) for c in rows.columns], names=rows.schema.names)


class CollectSink(Sink):
    """Keeps all rows in memory; `table()` gives them after the run.

    Rows stand by worker, then as they came. Nothing is there before `commit`.

    >>> sink = CollectSink()
    >>> writer = sink.open(pa.schema({"n": pa.int64()}), worker=0)
    >>> writer.write(pa.record_batch({"n": [1, 2]}))
    >>> sink.commit([writer.finish()])
    >>> sink.table().to_pylist()
    [{'n': 1}, {'n': 2}]
    """

    guarantee = "exactly_once"

    def __init__(self) -> None:
        self._schema: pa.Schema | None = None
        self._kept: dict[int, list[pa.RecordBatch]] = {}
        self._visible: list[pa.RecordBatch] | None = None

    def prepare(self, schema: pa.Schema) -> None:
        self._schema, self._visible = schema, None
        self._kept = {}

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        self._schema = schema
        return CollectWriter(self._kept.setdefault(worker, []), worker)

    def commit(self, staged: Sequence[Any]) -> None:
        self._visible = [batch for worker in sorted(staged) for batch in self._kept[worker]]

    def table(self) -> pa.Table:
        """All rows.

        Raises:
            SinkError: the run has not ended well.
        """
        if self._visible is None or self._schema is None:
            raise SinkError("there are no rows yet", hint="they are here when the run has ended")
        return pa.Table.from_batches(self._visible, self._schema)

    def describe(self) -> str:
        return "collect"


class CollectWriter(SinkWriter):
    """Keeps the rows of one worker."""

    def __init__(self, kept: list[pa.RecordBatch], worker: int) -> None:
        self._kept, self._worker = kept, worker

    def write(self, rows: pa.RecordBatch) -> None:
        self._kept.append(rows)

    def finish(self) -> int:
        return self._worker

    def abort(self) -> None:
        self._kept.clear()
