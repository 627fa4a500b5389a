"""`RollingStream`: rows of a key with the rows before them, waiting for their aggregation."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from streamlib.elements import duration_ns
from streamlib.errors import BuildError, StreamlibError, user_location
from streamlib.expr import Expr, named_exprs
from streamlib.graph import Node
from streamlib.streams.ordered import ttl_options
from streamlib.streams.stream import KeyedStream

if TYPE_CHECKING:
    from streamlib.streams.table import Forever


class RollingStream:
    """What `.rolling(...)` returns. It becomes a stream again by `.agg(...)`."""

    def __init__(
        self,
        node: Node,
        window: str | dt.timedelta | None,
        rows: int | None,
        allowed_lateness: str | dt.timedelta,
        ttl: str | dt.timedelta | Forever | None,
    ) -> None:
        self._node = node
        at = user_location()
        try:
            if (window is None) == (rows is None):
                raise BuildError(
                    "rolling() takes a length of time, or a number of rows",
                    expected='rolling("10m") or rolling(rows=20)',
                    got="neither" if window is None else f"{window!r} and rows={rows!r}",
                )
            if window is not None and ttl is not None:
                raise BuildError(
                    "rolling() by time needs no ttl=",
                    got=f"ttl={ttl!r}",
                    hint="what it keeps of a key goes with the window",
                )
            if rows is not None and (type(rows) is not int or rows < 1):
                raise BuildError("rows= is a number of rows", expected="1 or more", got=repr(rows))
            span = None if window is None else duration_ns(window, "rolling")
            if span is not None and span <= 0:
                raise BuildError("rolling() takes a positive length of time", got=repr(window))
            self._options: dict[str, Any] = {
                "span": span,
                "rows": rows,
                "allowed_lateness": duration_ns(allowed_lateness, "allowed_lateness"),
                **ttl_options(ttl),
            }
        except StreamlibError as error:
            raise error.in_step("rolling", at) from None

    def agg(self, *exprs: Expr, **named: Any) -> KeyedStream:
        """One row for each row: all its columns, and the aggregates over its window behind them.

        A row comes out when the watermark has passed it and the allowed lateness.

        Args:
            exprs: aggregates that know their name, such as ``col("price").mean().alias("mean")``.
            named: aggregates by column name; expressions over several are fine.

        Raises:
            BuildError: a name that a column of the row has, or what is no aggregate.
            TypeMismatchError: an aggregate that does not work on its column's type.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([1, 12, 14], pa.timestamp("s")), "k": ["a", "a", "a"], "v": [1, 2, 3]})
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="2s").key_by("k")
        >>> keyed.rolling("10s").agg(total=sl.col("v").sum()).collect()["total"].to_pylist()
        [1, 2, 5]
        """
        from streamlib.operators.rolling import RollingNode

        at = user_location()
        try:
            aggregates = named_exprs(exprs, named)
        except StreamlibError as error:
            raise error.in_step("rolling", at) from None
        return KeyedStream(RollingNode(inputs=(self._node,), at=at, aggregates=aggregates, **self._options))
