"""`fill_gaps`, the verb of results of windows; `Stream` inherits it."""

from __future__ import annotations

import datetime as dt
from typing import Any, Self

from streamlib.elements import duration_ns
from streamlib.errors import BuildError, StreamlibError, user_location
from streamlib.graph import Node


class GapVerbs:
    """What can be done with results of windows only."""

    _node: Node

    def fill_gaps(self, *, up_to: str | dt.timedelta | None = None, **fills: Any) -> Self:
        """Rows for the windows of a key in which nothing happened, between its windows and after them.

        It works on what ``.window(...).agg(...)`` gave with windows by time. A row of an empty window
        comes out as soon as the watermark proves that it is empty, and not only when the key has a row
        again: a key that has become quiet goes on having windows, for `up_to`.

        Args:
            up_to: how long after the end of a key's last window with rows its windows are filled, such as
                ``"1h"``. It bounds the state: a key that is quiet for longer is forgotten.
            fills: by column ``"forward"`` for the value of the key's last window with rows, or a value of
                the column's type. Columns that are not named are null. ``sl.lit("forward")`` is that text.

        Raises:
            BuildError: the stream is no result of windows by time, there is no such column, or no ``up_to=``.
            TypeMismatchError: a value that the column cannot hold.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([1, 31], pa.timestamp("s")), "k": ["a", "a"], "price": [5.0, 6.0]})
        >>> ticks = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
        >>> bars = ticks.window(sl.tumbling("10s")).agg(close=sl.col("price").last(), n=sl.count())
        >>> bars.fill_gaps(close="forward", n=0, up_to="20s").collect().select(["close", "n"]).to_pylist()[:3]
        [{'close': 5.0, 'n': 1}, {'close': 5.0, 'n': 0}, {'close': 5.0, 'n': 0}]
        """
        from streamlib.operators.windows.fill_gaps import FillGapsNode

        at = user_location()
        try:
            if up_to is None:
                raise BuildError(
                    "fill_gaps() needs up_to=: for how long a key without rows goes on having windows",
                    expected='such as up_to="1h"',
                )
            span = duration_ns(up_to, "up_to")
        except StreamlibError as error:
            raise error.in_step("fill_gaps", at) from None
        return type(self)(FillGapsNode(inputs=(self._node,), at=at, fills=dict(fills), up_to=span))  # type: ignore[call-arg]
