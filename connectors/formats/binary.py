"""What Parquet and Arrow IPC share: opening files, errors, schemas that must fit, gathering small batches."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa

from streamlib.connectors.formats.text import damaged
from streamlib.connectors.formats.widening import converted, holds
from streamlib.errors import SourceError

BATCH_ROWS_MAX = 65_536
"""Rows of one batch out of a reader."""
GROUP_BYTES_MAX = 64 << 20
"""A row group is written when it holds this many bytes, whatever its rows."""


def arrow_file(file: BinaryIO, mapped: bool = False) -> Any:
    """The same file as Arrow opens it: for real files without Python between, so that threads do not wait."""
    if isinstance(file, io.FileIO) and isinstance(file.name, str):
        return pa.memory_map(file.name) if mapped else pa.OSFile(file.name)
    return file


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turns Arrow's errors about a file into a SourceError that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise damaged(name, error) from error


def check_fits(found: pa.Schema, schema: pa.Schema, name: str, exact: bool) -> None:
    """Refuses a file whose columns are not those of `schema`, in any order.

    Raises:
        SourceError: a column is missing or of a type that its own does not hold; or, if `exact`, there is
            one more.
    """
    for field in schema:
        index = found.get_field_index(field.name)
        if index < 0:
            raise SourceError(
                f"the file has no column {field.name!r}",
                where=name,
                expected=f"{field.name}: {field.type}",
                got=f"the columns {', '.join(found.names) or '(none)'}",
            )
        kind = found.field(index).type
        if not holds(field.type, kind):
            raise SourceError(
                f"column {field.name!r} has another type in this file",
                where=name,
                expected=f"{field.name}: {field.type}",
                got=f"{field.name}: {kind}",
                hint=f"declare schema= with {field.name}: {kind}, which has room for both"
                if holds(kind, field.type)
                else "every file of a source has the same schema",
            )
    extra = [n for n in found.names if n not in schema.names]
    if exact and extra:
        raise SourceError(
            f"the file has a column {extra[0]!r} that the first file has not",
            where=name,
            expected=f"the columns {', '.join(schema.names)}",
            got=f"{extra[0]}: {found.field(extra[0]).type}",
            hint="declare schema= to read only the columns it names",
        )


def check_names(fields: Iterable[pa.Field]) -> None:
    """Reads every name in a schema, nested ones too. Raises UnicodeDecodeError where one is no text."""
    for field in fields:
        _ = field.name, str(field.type)
        if pa.types.is_nested(field.type):
            check_names(field.type.field(i) for i in range(field.type.num_fields))


def wanted_schema(schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    """The fields of `schema` that are read, in its order, without metadata."""
    keep = None if columns is None else set(columns)
    return pa.schema([f.remove_metadata() for f in schema if keep is None or f.name in keep])


def shaped(rows: pa.RecordBatch, schema: pa.Schema, where: str) -> pa.RecordBatch:
    """The columns of `rows` in the order and the types of `schema`; nothing is copied where these are theirs.

    Raises:
        SourceError: a value has no place in its type.
    """
    columns = []
    for field in schema:
        column = rows.column(field.name)
        try:
            columns.append(converted(column, field.type))
        except pa.ArrowException as error:
            raise SourceError(
                f"column {field.name!r} has a value that does not fit the type that it has in the first file",
                where=where,
                expected=f"{field.name}: {field.type}",
                got=f"{field.name}: {column.type}; {str(error).splitlines()[0]}",
                hint="declare schema= with a type that has room for all values",
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


class Gather:
    """Collects small batches until they make a group worth writing."""

    def __init__(self, rows_max: int, bytes_max: int = GROUP_BYTES_MAX) -> None:
        self._rows_max, self._bytes_max = rows_max, bytes_max
        self._batches: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def add(self, rows: pa.RecordBatch) -> Iterator[pa.Table]:
        """Takes rows; yields groups that are full, each of at most `rows_max` rows."""
        while rows.num_rows:
            part = rows.slice(0, self._rows_max - self._rows)
            rows = rows.slice(part.num_rows)
            self._batches.append(part)
            self._rows += part.num_rows
            self._bytes += part.nbytes
            if self._rows >= self._rows_max or self._bytes >= self._bytes_max:
                yield from self.rest()

    def rest(self) -> Iterator[pa.Table]:
        """Yields what is left, if anything."""
        if self._batches:
            table = pa.Table.from_batches(self._batches)
            self._batches, self._rows, self._bytes = [], 0, 0
            yield table
