"""What lookup tables are read from: files, Arrow data in memory, a function, or a query to a database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from streamlib.connectors.memory import ArrowSource
from streamlib.contracts import Block, Source, TableSource
from streamlib.errors import BuildError, SourceError

QUERY_SHOWN = 60
ARROW_METHODS = ("fetch_arrow_table", "fetch_arrow_all", "to_arrow")
"""What drivers call the method of a cursor that gives Arrow data: ADBC and others, Snowflake, BigQuery."""


class SourceTable(TableSource):
    """All rows of a source that ends, such as files.

    Args:
        make: the source, made anew for each read.
        changes: whether its rows may be others when it is read again.
    """

    def __init__(self, make: Callable[[], Source], changes: bool = True) -> None:
        self._make, self.changes = make, changes
        self._first = make()
        if not self._first.bounded:
            raise BuildError(
                "a lookup table is read whole", expected="a source that ends", got=self._first.describe()
            )

    def schema(self) -> pa.Schema:
        return self._first.schema()

    def read(self) -> pa.Table:
        source, wanted = self._make(), self.schema()
        found = source.schema()
        if not found.equals(wanted):
            raise SourceError("the columns have changed", expected=_columns(wanted), got=_columns(found))
        batches: list[pa.RecordBatch] = []
        for split in source.splits():
            reader = source.open(split)
            try:
                while isinstance(block := reader.read(), Block):
                    batches += reader.decode(block)
            finally:
                reader.close()
        return pa.Table.from_batches(batches, wanted)

    def describe(self) -> str:
        return self._first.describe()


class CalledTable(TableSource):
    """What a function returns: anything that hands out Arrow data.

    Args:
        function: without arguments.
        declared: its columns; found by calling it when None.

    >>> table = CalledTable(lambda: pa.table({"n": [1]}))
    >>> table.schema().names, table.read().num_rows
    (['n'], 1)
    """

    outside = True

    def __init__(self, function: Callable[[], Any], declared: pa.Schema | None = None) -> None:
        self._function, self._declared = function, declared

    def schema(self) -> pa.Schema:
        if self._declared is None:
            self._declared = self._called().schema
        return self._declared

    def read(self) -> pa.Table:
        return fitted(self._called(), self.schema())

    def describe(self) -> str:
        return str(getattr(self._function, "__qualname__", type(self._function).__name__)) + "()"

    def _called(self) -> pa.Table:
        given = self._function()
        try:
            return _table_of(given)
        except BuildError as error:
            raise SourceError(
                f"{self.describe()} returned no Arrow data", expected=error.expected, got=error.got
            ) from None


@dataclass(frozen=True, slots=True)
class Query:
    """A query and how to connect: see `query`.

    Attributes:
        sql: the text.
        connect: returns a connection.
        parameters: for the placeholders of the text.
    """

    sql: str
    connect: Callable[[], Any]
    parameters: Sequence[Any] | Mapping[str, Any] | None = None


def query(
    sql: str,
    connect: Callable[[], Any],
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
) -> Query:
    """A query to a database, as a source for `read_table`.

    Args:
        sql: the query.
        connect: returns a new connection of any DB-API driver: ADBC, DuckDB, sqlite3, psycopg and
            others. It is opened for each read and closed after it. Arrow data is taken as such where
            the driver hands it out.
        parameters: for the query's placeholders, in the style of the driver.

    Raises:
        BuildError: `sql` is no text, or `connect` cannot be called.

    >>> import sqlite3, streamlib as sl
    >>> symbols = sl.query("select 'A' as symbol, 100 as lot", lambda: sqlite3.connect(":memory:"))
    >>> sl.read_table(symbols, key="symbol").collect().to_pylist()
    [{'symbol': 'A', 'lot': 100}]
    """
    if not isinstance(sql, str):
        raise BuildError("query() takes the text of a query", got=repr(sql))
    if not callable(connect):
        raise BuildError(
            "query() opens its own connections",
            expected='a function that returns one, such as lambda: sqlite3.connect("reference.db")',
            got=type(connect).__name__,
        )
    return Query(sql, connect, parameters)


class QueryTable(TableSource):
    """The rows of a query.

    Args:
        query: what is asked, and whom.
        declared: the columns; found by asking when None.
    """

    outside = True

    def __init__(self, query: Query, declared: pa.Schema | None = None) -> None:
        self._query, self._declared = query, declared

    def schema(self) -> pa.Schema:
        if self._declared is None:
            self._declared = self._asked(None).schema
            untyped = [f.name for f in self._declared if pa.types.is_null(f.type)]
            if untyped:
                named, self._declared = self._declared.names, None
                raise SourceError(
                    f"the type of column {untyped[0]!r} is not known: the query gave no value for it",
                    expected=f"schema= in read_table, with the types of {', '.join(named)}",
                )
        return self._declared

    def read(self) -> pa.Table:
        schema = self.schema()
        return fitted(self._asked(schema), schema)

    def describe(self) -> str:
        text = " ".join(self._query.sql.split())
        return f"query {text if len(text) <= QUERY_SHOWN else text[: QUERY_SHOWN - 3] + '...'}"

    def _asked(self, schema: pa.Schema | None) -> pa.Table:
        connection = self._query.connect()
        try:
            if hasattr(connection, "sql"):  # DuckDB's own way, whose result hands out Arrow data
                given = {} if self._query.parameters is None else {"params": self._query.parameters}
                return _table_of(connection.sql(self._query.sql, **given))
            cursor = connection.cursor()
            try:
                return self._fetched(cursor, schema)
            finally:
                cursor.close()
        finally:
            connection.close()

    def _fetched(self, cursor: Any, schema: pa.Schema | None) -> pa.Table:
        given = () if self._query.parameters is None else (self._query.parameters,)
        cursor.execute(self._query.sql, *given)
        for name in ARROW_METHODS:
            if hasattr(cursor, name):
                return _table_of(getattr(cursor, name)())
        if cursor.description is None:
            raise SourceError("the query gives no rows", expected="a query such as select ...")
        return _of_rows([column[0] for column in cursor.description], cursor.fetchall(), schema)


def _table_of(data: Any) -> pa.Table:
    """Arrow data as a table of plain columns."""
    source = ArrowSource(data)
    return SourceTable(lambda: source).read()


def _of_rows(names: Sequence[str], rows: Sequence[Sequence[Any]], schema: pa.Schema | None) -> pa.Table:
    """The rows of a driver without Arrow, with the types of `schema` or else of the values."""
    if schema is not None and any(name not in names for name in schema.names):
        schema = None  # `fitted` says which column is missing
    columns: list[pa.Array] = []
    for place, name in enumerate(names):
        known = schema is not None and name in schema.names
        kind = schema.field(name).type if schema is not None and known else None
        try:
            columns.append(pa.array([row[place] for row in rows], kind))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise SourceError(
                f"column {name!r} has values that are not of one type",
                expected=str(kind or "values of one type"),
                got=str(error),
                hint="say the types with schema=, or cast the column in the query",
            ) from error
    return pa.Table.from_arrays(columns, names=list(names))


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema`, as its types.

    Raises:
        SourceError: one is missing, or its values do not fit.
    """
    for name in schema.names:
        if name not in table.schema.names:
            raise SourceError(
                f"there is no column {name!r} any more", expected=_columns(schema), got=_columns(table.schema)
            )
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise SourceError(
            "the values do not fit the columns", expected=_columns(schema), got=str(error)
        ) from error


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
