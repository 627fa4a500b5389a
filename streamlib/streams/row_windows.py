"""`RowWindowedStream`: rows grouped by key into windows of rows or of a sum, waiting for their aggregation."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from streamlib.errors import BuildError, StreamlibError, user_location
from streamlib.expr import Expr, named_exprs
from streamlib.graph import Node
from streamlib.streams.ordered import ttl_options
from streamlib.streams.stream import KeyedStream, Stream
from streamlib.streams.windowed import WindowedStream

if TYPE_CHECKING:
    from streamlib.operators.windows.rows import RowWindow, SumWindow
    from streamlib.streams.table import Forever


def row_windowed(
    node: Node,
    window: RowWindow | SumWindow,
    allowed_lateness: int,
    ttl: str | dt.timedelta | Forever | None,
    emit: str,
    early: object,
) -> RowWindowedStream:
    """The rows of a stream in such windows.

    Raises:
        BuildError: `emit` or `early` ask for results before a window is full.
    """
    if emit != "final" or early is not None:
        raise BuildError(
            "windows by rows and sums come out once, when they are full",
            at=user_location(),
            step="window",
            expected="emit='final', without early=",
            got=f"emit={emit!r}" + ("" if early is None else f", early={early!r}"),
            hint="rows are taken in order, so that none comes later which could correct a result",
        )
    return RowWindowedStream(node, window, allowed_lateness, ttl)


class RowWindowedStream(WindowedStream):
    """What `.window(...)` returns of windows by rows and sums. It becomes a stream again by `.agg(...)`."""

    def __init__(
        self,
        node: Node,
        window: RowWindow | SumWindow,
        allowed_lateness: int,
        ttl: str | dt.timedelta | Forever | None,
    ) -> None:
        at = user_location()
        self._node, self._window, self._allowed_lateness = node, window, allowed_lateness  # type: ignore[assignment]
        try:
            self._options: dict[str, Any] = {
                "inputs": (node,),
                "window": window,
                "allowed_lateness": allowed_lateness,
                **ttl_options(ttl),
            }
        except BuildError as error:
            raise error.in_step("window", at) from None

    def agg(self, *exprs: Expr, **named: Any) -> Stream:
        """One row per key and window: the keys, ``window_start``, ``window_end`` and the aggregates.

        The two are the times of the window's first and last row. A row comes out when the watermark has
        passed the row that filled the window, and the allowed lateness; it has that row's time.

        Args:
            exprs: aggregates that know their name, such as ``col("price").mean().alias("mean")``.
            named: aggregates by column name; expressions over several are fine.

        Raises:
            BuildError: over an input without an end, no ``ttl=``.
            TypeMismatchError: an aggregate that does not work on its column's type.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([1, 2, 7], pa.timestamp("s")), "v": [40, 70, 20]})
        >>> stream = sl.read_arrow(rows).event_time("ts", max_delay="2s")
        >>> bars = stream.window(sl.tumbling(sum="v", size=100)).agg(v=sl.col("v").sum(), n=sl.count())
        >>> bars.collect().select(["v", "n"]).to_pylist()
        [{'v': 110, 'n': 2}]
        """
        from streamlib.operators.windows.rows_node import RowWindowNode

        at = user_location()
        try:
            aggregates = named_exprs(exprs, named)
        except StreamlibError as error:
            raise error.in_step("window", at) from None
        node = RowWindowNode(at=at, aggregates=aggregates, **self._options)
        return KeyedStream(node) if node.keys else Stream(node)
