"""The verbs of a keyed stream that keep state over all rows of a key so far; `KeyedStream` inherits them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, overload

from streamlib.errors import BuildError, StreamlibError, user_location
from streamlib.expr import Expr, named_exprs
from streamlib.graph import Node

if TYPE_CHECKING:
    from streamlib.streams.stream import KeyedStream
    from streamlib.streams.table import Forever, Table


class RunningVerbs:
    """Running aggregates and the latest row."""

    _node: Node

    @overload
    def agg(
        self,
        *exprs: Expr,
        ttl: str | dt.timedelta | Forever | None = None,
        max_rate: str | dt.timedelta | None = None,
        every: None = None,
        **named: Any,
    ) -> Table: ...

    @overload
    def agg(
        self,
        *exprs: Expr,
        ttl: str | dt.timedelta | Forever | None = None,
        max_rate: None = None,
        every: str | dt.timedelta,
        **named: Any,
    ) -> KeyedStream: ...

    def agg(
        self,
        *exprs: Expr,
        ttl: str | dt.timedelta | Forever | None = None,
        max_rate: str | dt.timedelta | None = None,
        every: str | dt.timedelta | None = None,
        **named: Any,
    ) -> Table | KeyedStream:
        """Running aggregates: a table with one row per key, over all its rows so far.

        With `every` it is a stream instead: for each key and each span of that length in which it had a row,
        the state at the span's end, which is the row's time and the column ``event_time``. What a key gave
        last holds until it gives another.

        Args:
            exprs: aggregates that know their name, such as ``col("price").mean().alias("mean")``.
            ttl: a key without rows for longer than this, in event time, is dropped, and begins anew
                when it comes back. `sl.FOREVER` keeps every key; an input without an end needs one of both.
            max_rate: at most one change per key in each span of this length, in event time.
            every: the length of the spans, such as ``"1s"``; they begin at whole multiples of it since 1970.
            named: aggregates by column name; expressions over several are fine.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([1, 2, 3], pa.timestamp("s")), "k": ["a", "b", "a"]})
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
        >>> keyed.agg(n=sl.count()).collect().to_pylist()
        [{'k': 'a', 'n': 2}, {'k': 'b', 'n': 1}]
        >>> for row in keyed.agg(n=sl.count(), every="2s").collect().to_pylist():
        ...     print(row["event_time"].time(), row["k"], row["n"])
        00:00:02 a 1
        00:00:04 a 2
        00:00:04 b 1
        """
        from streamlib.operators.tables.running import RunningAggregateNode
        from streamlib.operators.tables.sampled import SampledNode
        from streamlib.streams.stream import KeyedStream
        from streamlib.streams.table import Table, table_options

        at = user_location()
        if every is not None and max_rate is not None:
            raise BuildError(
                "every= gives a stream of states, and max_rate= is for the changes of a table",
                at=at,
                step="agg",
                expected="one of both",
                got=f"every={every!r}, max_rate={max_rate!r}",
            )
        try:
            aggregates = named_exprs(exprs, named)
        except StreamlibError as error:
            raise error.in_step("agg", at) from None
        if every is not None:
            options = table_options(ttl, every, "agg", "every")
            return KeyedStream(SampledNode(inputs=(self._node,), at=at, aggregates=aggregates, **options))
        options = table_options(ttl, max_rate, "agg")
        return Table(RunningAggregateNode(inputs=(self._node,), at=at, aggregates=aggregates, **options))

    def latest(
        self, ttl: str | dt.timedelta | Forever | None = None, max_rate: str | dt.timedelta | None = None
    ) -> Table:
        """The latest row of each key by event time, as a table; ties go by place in the input.

        Args:
            ttl: a key without rows for longer than this, in event time, is dropped; see `agg`.
            max_rate: at most one change per key in each span of this length, in event time.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([5, 4, 3], pa.timestamp("s")), "k": ["a", "b", "a"], "v": [1, 2, 3]})
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="2s").key_by("k")
        >>> keyed.latest().collect().select(["k", "v"]).to_pylist()
        [{'k': 'a', 'v': 1}, {'k': 'b', 'v': 2}]
        """
        from streamlib.operators.tables.latest import LatestNode
        from streamlib.streams.table import Table, table_options

        options = table_options(ttl, max_rate, "latest")
        return Table(LatestNode(inputs=(self._node,), at=user_location(), **options))
