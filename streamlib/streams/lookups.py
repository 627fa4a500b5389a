"""Lookup tables, and the verb of `Stream` that completes rows from them.

What each means stands on its node, in `streamlib.operators.lookup`.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import pyarrow as pa

from streamlib.contracts import Format, TableSource
from streamlib.elements import duration_ns
from streamlib.errors import BuildError, Retry, StreamlibError, user_location
from streamlib.graph import Node

if TYPE_CHECKING:
    from streamlib.connectors.lookup_tables import Query
    from streamlib.operators.lookup.table import LookupTableNode
    from streamlib.streams.readers import SchemaLike
    from streamlib.streams.table import Table

Paths: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
TableData: TypeAlias = "Paths | Query | Callable[[], Any] | TableSource | Any"
"""Files, Arrow data, a function that returns it, or a query."""


class LookupTable:
    """A table that rows are completed from: what `read_table` returns.

    >>> import pyarrow as pa, streamlib as sl
    >>> sl.read_table(pa.table({"symbol": ["A", "B"], "lot": [100, 10]}), key="symbol")
    LookupTable[arrow, 2 rows in memory; key=symbol](symbol: string, lot: int64)
    """

    def __init__(self, node: LookupTableNode) -> None:
        self._node = node

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        return self._node.schema

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns by which it is looked up."""
        return self._node.key

    def __repr__(self) -> str:
        columns = ", ".join(f"{field.name}: {field.type}" for field in self.schema)
        return f"LookupTable[{self._node.describe()}]({columns})"

    def collect(self) -> pa.Table:
        """Its rows, read now, in the order of their source.

        Raises:
            SourceError: they cannot be read.
        """
        import threading
        import time

        from streamlib.operators.lookup.table import Replica

        node = self._node
        try:
            version = Replica(node).version(time.monotonic_ns(), None, threading.Event().wait)
        except StreamlibError as error:
            raise error.in_step(node.label, node.at) from error.__cause__
        return pa.Table.from_batches([version.rows])

    def head(self, n: int = 5) -> pa.Table:
        """The first `n` rows, read now."""
        if n < 0:
            raise BuildError("head() takes a number of rows", expected="0 or more", got=repr(n))
        return self.collect().slice(0, n)


def read_table(
    source: TableData,
    key: str | Sequence[str],
    valid_from: str | None = None,
    refresh: str | dt.timedelta | None = None,
    *,
    format: str | Format | None = None,
    schema: SchemaLike | None = None,
    retry: Retry | None = None,
) -> LookupTable:
    """A table that rows of streams are completed from, by `Stream.lookup_join`.

    It is read whole when a run begins, and kept in memory once for all workers of a process.

    Args:
        source: files (a path, a pattern, a folder or a list of them); a `pyarrow` Table or RecordBatch, or
            anything else that hands out Arrow data, such as a Polars or pandas frame; a function without
            arguments that returns such data; or a query to a database, `sl.query(...)`.
        key: the column or columns by which it is looked up. Two rows of one key are an error; a row with
            a null key is never found.
        valid_from: a time column: a key may have several rows, of which each holds from this time until
            that of the next one. Null: from the beginning.
        refresh: the table is read again when it is older than this by the wall clock; None: once.
        format: of files, as in `read_files`.
        schema: the columns and their types. None: inferred, which asks a function or a query
            once when the script is built.
        retry: how often, and after which waits, it is tried again to read it. Then a run fails that
            begins; where it goes on, ``.on_error`` of the lookup decides.

    Raises:
        BuildError: the key is no column, or `refresh` is of no use.
        SourceError: it cannot be read.

    >>> import pyarrow as pa, streamlib as sl
    >>> symbols = sl.read_table(pa.table({"symbol": ["A", "B"], "lot": [100, 10]}), key="symbol")
    >>> trades = sl.read_arrow(pa.table({"symbol": ["B", "C"], "price": [2.0, 3.0]}))
    >>> trades.lookup_join(symbols).collect().to_pylist()
    [{'symbol': 'B', 'price': 2.0, 'lot': 10}, {'symbol': 'C', 'price': 3.0, 'lot': None}]
    """
    from streamlib.operators.lookup.table import LookupTableNode

    at = user_location()
    try:
        found = _source_of(source, format, schema)
        keys = (key,) if isinstance(key, str) else tuple(key)
        again = None if refresh is None else duration_ns(refresh, "refresh")
        if retry is not None and not isinstance(retry, Retry):
            raise BuildError("retry= needs a Retry", expected="such as sl.Retry(attempts=3)", got=repr(retry))
    except StreamlibError as error:
        raise error.in_step("read_table", at) from error.__cause__
    return LookupTable(
        LookupTableNode(source=found, key=keys, valid_from=valid_from, refresh=again, retry=retry, at=at)
    )


def _source_of(source: Any, format: str | Format | None, schema: SchemaLike | None) -> TableSource:
    from streamlib.connectors.files.source import FileSource
    from streamlib.connectors.lookup_tables import CalledTable, Query, QueryTable, SourceTable
    from streamlib.connectors.memory import ArrowSource
    from streamlib.connectors.schemas import schema_of
    from streamlib.contracts import Source

    paths = isinstance(source, str | os.PathLike) or (
        isinstance(source, list | tuple) and all(isinstance(p, str | os.PathLike) for p in source)
    )
    if paths:
        return SourceTable(partial(FileSource, source, format=format, schema=schema))
    if format is not None:
        raise BuildError("format= is that of files", got=f"format={format!r} for {type(source).__name__}")
    declared = None if schema is None else schema_of(schema)
    if isinstance(source, Query):
        return QueryTable(source, declared)
    if isinstance(source, TableSource):
        return source
    if isinstance(source, Source):
        return SourceTable(lambda: source, changes=False)
    if callable(source) and not hasattr(source, "__arrow_c_stream__"):
        return CalledTable(source, declared)
    if declared is not None:
        raise BuildError("schema= is for files, functions and queries", got=type(source).__name__)
    whole = ArrowSource(source)
    return SourceTable(lambda: whole, changes=False)


class LookupVerbs:
    """Rows that are completed from tables."""

    _node: Node

    def lookup_join(
        self,
        table: LookupTable | Table,
        on: str | Sequence[str] | None = None,
        *,
        left_on: str | Sequence[str] | None = None,
        right_on: str | Sequence[str] | None = None,
        how: Literal["left", "inner", "semi", "anti"] = "left",
        suffix: str = "_right",
    ) -> Self:
        """Adds to each row the columns of the row that a table has for its key.

        A table of `read_table` answers at once. With ``valid_from=`` it is the row that held at the event
        time. Of a `Table`, such as that of ``.latest()`` or a running ``.agg(...)``, a row gets the state
        as of its event time: with all rows of the table's input up to that time, that one included. So it
        waits until the watermark of that input has passed it, and rows of either input that are late by
        their mark are refused: `.late_left`, and ``.late`` of the table.

        Args:
            table: what is looked up.
            on: its key columns, which this stream has under the same names. None, without `left_on`: its
                key.
            left_on: the columns of this stream that are compared with the table's key, where they have
                other names.
            right_on: the table's key columns, in that order; its key as it is when None.
            how: ``"left"`` keeps rows without a match, with nulls; ``"inner"`` drops them; ``"semi"``
                keeps rows with a match and ``"anti"`` those without, both without columns of the table.
            suffix: for columns of the table whose name is taken.

        Raises:
            BuildError: the keys are not those of the table, or there is no event time where it counts.
            TypeMismatchError: the keys cannot be compared.

        >>> import streamlib as sl, streamlib.testing as t
        >>> prices = t.table("item from price\\n A 00:00:00 1.0\\n A 00:01:00 1.5")
        >>> orders = sl.read_arrow(t.table("ts item\\n 00:00:30 A\\n 00:01:00 A"))
        >>> versions = sl.read_table(prices, key="item", valid_from="from")
        >>> priced = orders.event_time("ts", max_delay="0s").lookup_join(versions)
        >>> priced.select("item", "price").collect().to_pylist()
        [{'item': 'A', 'price': 1.0}, {'item': 'A', 'price': 1.5}]
        """
        from streamlib.operators.lookup.changing import TableLookupNode, states_of
        from streamlib.operators.lookup.join import LookupJoinNode
        from streamlib.streams.stream import Stream
        from streamlib.streams.table import Table

        at = user_location()
        try:
            if not isinstance(table, LookupTable | Table):
                raise BuildError(
                    "lookup_join takes a table",
                    expected="sl.read_table(...), or a Table such as stream.key_by(...).latest()",
                    got=type(table).__name__,
                    hint="rows of another stream are matched by asof_join"
                    if isinstance(table, Stream)
                    else None,
                )
            states = None if isinstance(table, LookupTable) else states_of(table._node)
            left, right = _paired(self._node, table.keys, on, left_on, right_on)
        except StreamlibError as error:
            raise error.in_step("lookup_join", at) from None
        keys: dict[str, Any] = {"left_on": left, "right_on": right, "suffix": suffix, "at": at}
        if isinstance(table, LookupTable):
            made: Node = LookupJoinNode(inputs=(self._node,), table=table._node, how=how, **keys)
        else:
            assert states is not None
            made = TableLookupNode.of(self._node, states, table._node, how, **keys)
        return type(self)(made)  # type: ignore[call-arg]


def _paired(
    left: Node,
    keys: tuple[str, ...],
    on: str | Sequence[str] | None,
    left_on: str | Sequence[str] | None,
    right_on: str | Sequence[str] | None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys of both sides, in the same order.

    Raises:
        BuildError: they are not those of the table, or not as many.
    """
    if on is not None and (left_on is not None or right_on is not None):
        raise BuildError(
            "a lookup takes on=, or left_on= and right_on=",
            got="both",
            hint="on= is for names that both have",
        )
    if right_on is not None and left_on is None:
        raise BuildError("right_on= is given without left_on=", expected="both, in the same order")
    mine = _names(on if on is not None else left_on)
    other = _names(right_on if on is None else on) or keys
    if mine is None:
        mine = keys
        missing = [name for name in keys if name not in left.schema.names]
        if missing:
            raise BuildError(
                f"the stream has no column {missing[0]!r}, which is a key of the table",
                expected=f"left_on=, with the columns that are compared with {', '.join(keys)}",
                got=f"columns {', '.join(left.schema.names)}",
            )
    if sorted(other) != sorted(keys):
        raise BuildError(
            "a table is looked up by its whole key",
            expected=", ".join(keys),
            got=", ".join(other),
            hint="left_on= names the columns of the stream, where they are called otherwise",
        )
    if len(mine) != len(other):
        raise BuildError(
            "as many columns are needed as the table's key has",
            expected=", ".join(other),
            got=", ".join(mine),
        )
    return mine, other


def _names(given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    return (given,) if isinstance(given, str) else tuple(given)
