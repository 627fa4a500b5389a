"""`Table`: one current row per key, and its history."""

from __future__ import annotations

import datetime as dt
from typing import Any, NoReturn

import pyarrow as pa

from streamlib.contracts import Sink
from streamlib.elements import duration_ns
from streamlib.errors import BuildError, StreamlibError, user_location
from streamlib.graph import SideNode, SinkNode, explain
from streamlib.operators.tables.table_step import TableStep
from streamlib.streams.errors import ErrorVerbs
from streamlib.streams.stream import KeyedStream, Stream
from streamlib.workers import Processes


class Forever:
    """The type of `FOREVER`."""

    def __repr__(self) -> str:
        return "FOREVER"


FOREVER = Forever()
"""A `ttl` for keys that are to be kept for ever although the input has no end: they must be few."""


class Table(ErrorVerbs):
    """One current row per key, and its history.

    A running aggregate, `latest`, and windows with ``emit="updates"`` give one. Its contents at a watermark
    are a function of the input. How many intermediate changes of running aggregates are seen is not.

    It is collected or printed (the last state), written to sinks that replace the row of a key, or
    read as a stream of its changes. A sink that appends refuses it.

    >>> import pyarrow as pa, streamlib as sl
    >>> rows = pa.table({"ts": pa.array([1, 2, 3], pa.timestamp("s")), "k": ["a", "b", "a"], "v": [1, 2, 4]})
    >>> ticks = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
    >>> ticks.agg(total=sl.col("v").sum()).collect().to_pylist()
    [{'k': 'a', 'total': 5}, {'k': 'b', 'total': 2}]
    """

    def __init__(self, node: TableStep) -> None:
        self._node: TableStep = node

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types, known before any row is read."""
        return self._node.table_schema

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of which it has one row per value."""
        return self._node.table_keys

    def explain(self) -> str:
        """The steps that lead here, with types, keys, event time and what bounds their state."""
        return explain([self._node])

    def __repr__(self) -> str:
        columns = ", ".join(f"{f.name}: {f.type}" for f in self.schema)
        return f"Table[{self._node.label} by {', '.join(self.keys)}]({columns})"

    def named(self, name: str) -> Table:
        """Names the step that makes it, as `Stream.named`."""
        object.__setattr__(self._node, "name", name)
        return self

    def changes(self) -> Stream:
        """Its history: a row for each change that is seen, with the column ``change`` as the last.

        ``insert`` and ``update`` carry the key's new row, ``delete`` the row that is gone. The time of a
        change is that of the newest input row in it, or the end of the key's `ttl`; of a window's result the
        last nanosecond before its end.

        How many changes are seen between two states is timing: the more often the watermark rises, the
        more. With `max_rate` it is not, nor are the changes of windows without `early`.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([1, 2, 3], pa.timestamp("s")), "k": ["a", "b", "a"]})
        >>> counts = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k").agg(
        ...     n=sl.count(), max_rate="1s"
        ... )
        >>> for row in counts.changes().collect().to_pylist():
        ...     print(row)
        {'k': 'a', 'n': 1, 'change': 'insert'}
        {'k': 'b', 'n': 1, 'change': 'insert'}
        {'k': 'a', 'n': 2, 'change': 'update'}
        """
        from streamlib.operators.tables.changes import ChangesNode

        node = ChangesNode(inputs=(self._node,), at=user_location())
        return KeyedStream(node) if node.keys else Stream(node)

    @property
    def late(self) -> Stream:
        """The input rows that came too late.

        Of running aggregates those whose mark lay after them: all before that mark had already been counted.
        Columns: those of the input, and ``late_by``: how much more `max_delay` would have kept the row. Of
        windows those that no correction takes, as `Stream.late` has them.
        """
        node, time = self._node, self._node.inputs[0].time
        schema = node.late_schema
        return Stream(
            SideNode(inputs=(node,), at=user_location(), tag="late", side_schema=schema, side_time=time)
        )

    # Sinks.

    def write(self, sink: Sink) -> SinkNode:
        """Writes to a sink that replaces the row of a key. Nothing is run before `sl.run`.

        Raises:
            BuildError: the sink appends.
        """
        if not sink.accepts_upserts:
            self._refuse(sink.describe())
        from streamlib.graph.never_run import remember

        made = SinkNode(inputs=(self._node,), at=user_location(), sink=sink.for_table(self.keys))
        remember(made)
        return made

    def write_files(self, *args: Any, **options: Any) -> NoReturn:
        """Files are appended to: they take `changes`, or the table that `collect` returns.

        Raises:
            BuildError: always.
        """
        self._refuse("write_files")

    def _refuse(self, sink: str) -> NoReturn:
        raise BuildError(
            f"{sink} appends rows, and the rows of a table are replaced",
            at=user_location(),
            step=self._node.label,
            expected="a sink that replaces the row of a key, or a stream",
            got=repr(self),
            hint="write its history, .changes(), or run it with .collect() and write what that returns",
        )

    def print(self, rows: int = 20) -> SinkNode:
        """Prints the first `rows` rows of the last state, sorted by key, when the input has ended."""
        from streamlib.connectors.tables import PrintTableSink

        return self.write(PrintTableSink(rows=rows))

    def collect(self, workers: int | Processes = 1, batch_rows: int = 65_536) -> pa.Table:
        """Runs it to the end of the input and returns the last state: a row per key, sorted by key."""
        from streamlib.connectors.tables import TableSink
        from streamlib.job import run

        sink = TableSink()
        node = SinkNode(inputs=(self._node,), at=user_location(), sink=sink.for_table(self.keys))
        report = run(node, workers=workers, batch_rows=batch_rows, progress=False)
        return self.schema.empty_table() if report.status == "explained" else sink.table()

    def head(self, n: int = 5) -> pa.Table:
        """The first `n` rows of the last state. What they are is known when the input has ended."""
        if n < 0:
            raise BuildError("head() takes a number of rows", expected="0 or more", got=repr(n))
        return self.collect().slice(0, n)


def table_options(
    ttl: str | dt.timedelta | Forever | None,
    span: str | dt.timedelta | None,
    step: str,
    span_name: str = "max_rate",
) -> dict[str, Any]:
    """The options of a step with state by key, as its node takes them."""
    try:
        lives = None if ttl is None or isinstance(ttl, Forever) else duration_ns(ttl, "ttl")
        rate = None if span is None else duration_ns(span, span_name)
    except StreamlibError as error:
        raise error.in_step(step, user_location()) from None
    return {"ttl": lives, "forever": isinstance(ttl, Forever), "max_rate": rate}
