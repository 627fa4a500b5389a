"""`WindowedStream`: rows grouped by key and window, waiting for their aggregation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamlib.contracts import OverlappingWindow, Window
from streamlib.errors import BuildError, user_location
from streamlib.expr import Expr, named_exprs
from streamlib.graph import Node
from streamlib.streams.stream import KeyedStream, Stream

if TYPE_CHECKING:
    from streamlib.operators.windows.session import SessionWindow
    from streamlib.streams.table import Table


class WindowedStream:
    """What `.window(...)` returns. It becomes a stream again by `.agg(...)`."""

    def __init__(
        self, node: Node, window: Window | OverlappingWindow | SessionWindow, allowed_lateness: int
    ) -> None:
        check_windowed(node, window)
        self._node = node
        self._window = window
        self._allowed_lateness = allowed_lateness

    def agg(self, *exprs: Expr, **named: Any) -> Stream:
        """One row per key and window: the keys, ``window_start``, ``window_end`` and the aggregates.

        A row comes out when the watermark passes the window's end and the allowed lateness.

        Args:
            exprs: aggregates that know their name, such as ``col("price").mean().alias("mean")``.
            named: aggregates by column name; expressions over several are fine.

        Raises:
            TypeMismatchError: an aggregate that does not work on its column's type.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([1, 12, 14], pa.timestamp("s")), "k": ["a", "a", "a"], "v": [1, 2, 3]})
        >>> stream = sl.read_arrow(rows).event_time("ts", max_delay="2s").key_by("k")
        >>> bars = stream.window(sl.tumbling("10s")).agg(total=sl.col("v").sum())
        >>> bars.collect().select(["k", "total"]).to_pydict()
        {'k': ['a', 'a'], 'total': [1, 5]}
        """
        from streamlib.operators.windows.node import WindowAggregateNode
        from streamlib.operators.windows.session import SessionAggregateNode, SessionWindow

        given: dict[str, Any] = {
            "inputs": (self._node,),
            "at": user_location(),
            "window": self._window,
            "allowed_lateness": self._allowed_lateness,
            "aggregates": named_exprs(exprs, named),
        }
        is_session = isinstance(self._window, SessionWindow)
        node = SessionAggregateNode(**given) if is_session else WindowAggregateNode(**given)
        return KeyedStream(node) if node.keys else Stream(node)

    def top_n(self, n: int, by: Expr | str, *, descending: bool = True) -> Stream:
        """The `n` rows of each key and window in which `by` is largest; see `Stream.top_n` with `per`.

        Args:
            n: how many rows of a key and window.
            by: a column, or an expression of columns.
            descending: whether the largest is the first; else the smallest.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([1, 2, 3], pa.timestamp("s")), "k": ["a", "b", "a"], "v": [1, 5, 3]})
        >>> ticks = sl.read_arrow(rows).event_time("ts", max_delay="0s")
        >>> bars = ticks.key_by("k").window(sl.tumbling("10s")).agg(volume=sl.col("v").sum())
        >>> first = bars.key_by("window_start").window(sl.same_window()).top_n(1, by="volume")
        >>> first.select("rank", "k", "volume").collect().to_pylist()
        [{'rank': 1, 'k': 'b', 'volume': 5}]
        """
        from streamlib.streams.top_n import ranked

        node = ranked(self._node, n, by, self._window, descending, self._allowed_lateness)
        return KeyedStream(node) if node.keys else Stream(node)


class WindowedUpdates:
    """What `.window(..., emit="updates")` returns. `.agg(...)` makes a table of it."""

    def __init__(
        self,
        node: Node,
        window: Window | OverlappingWindow | SessionWindow,
        allowed_lateness: int,
        early: int | None,
    ) -> None:
        check_windowed(node, window)
        self._node = node
        self._options = {"window": window, "allowed_lateness": allowed_lateness, "early": early}

    def agg(self, *exprs: Expr, **named: Any) -> Table:
        """A table with one row per key and window: the keys, ``window_start``, ``window_end``, the aggregates.

        A row comes when the watermark passes the window's end, with ``revision`` 0. Rows that come later,
        within the allowed lateness, make one correction, when the watermark passes that too, with
        ``revision`` 1; there is none where they change nothing. Previews (``early=``) have none.

        Args:
            exprs: aggregates that know their name, such as ``col("price").mean().alias("mean")``.
            named: aggregates by column name; expressions over several are fine.

        Raises:
            TypeMismatchError: an aggregate that does not work on its column's type.
            BuildError: an aggregate named ``revision`` or ``change``.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([1, 12, 4, 30], pa.timestamp("s")), "v": [1, 2, 4, 8]})
        >>> ticks = sl.read_arrow(rows).event_time("ts", max_delay="0s")
        >>> bars = ticks.window(sl.tumbling("10s"), allowed_lateness="5s", emit="updates").agg(total=sl.col("v").sum())
        >>> for row in bars.changes().collect().to_pylist():
        ...     print(row["window_end"].time(), row["total"], row["revision"], row["change"])
        00:00:10 1 0 insert
        00:00:10 5 1 update
        00:00:20 2 0 insert
        00:00:40 8 0 insert
        """
        from streamlib.operators.windows.session import SessionWindow
        from streamlib.operators.windows.updates import SessionTableNode, WindowTableNode
        from streamlib.streams.table import Table

        is_session = isinstance(self._options["window"], SessionWindow)
        kind: Any = SessionTableNode if is_session else WindowTableNode
        at, aggregates = user_location(), named_exprs(exprs, named)
        return Table(kind(inputs=(self._node,), at=at, aggregates=aggregates, **self._options))


def check_windowed(node: Node, window: object) -> None:
    """Raises BuildError for what is no window, and where rows have no event time."""
    from streamlib.operators.windows.session import SessionWindow

    if not isinstance(window, Window | OverlappingWindow | SessionWindow):
        raise BuildError(
            "window() needs a window",
            at=user_location(),
            expected='such as sl.tumbling("10s")',
            got=repr(window),
        )
    if not node.timed:
        raise BuildError(
            "a window needs event time",
            at=user_location(),
            step="window",
            expected="a stream with .event_time(...) before this step",
            got="a stream without event time",
            hint='add .event_time("ts", max_delay="2s") after the source',
        )
