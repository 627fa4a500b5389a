"""The rows that rank first: verbs of `Stream`. What they mean stands on the nodes, in `streamlib.operators.top_n`."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Self, overload

from streamlib.contracts import OverlappingWindow, Window
from streamlib.elements import duration_ns
from streamlib.errors import BuildError, Location, StreamlibError, user_location
from streamlib.expr import Expr, col
from streamlib.graph import Node

if TYPE_CHECKING:
    from streamlib.operators.top_n import TopNNode
    from streamlib.operators.windows.session import SessionWindow
    from streamlib.streams.table import Forever, Table


class TopNVerbs:
    """`top_n`."""

    _node: Node

    if TYPE_CHECKING:

        def __init__(self, node: Node) -> None: ...

    @overload
    def top_n(
        self,
        n: int,
        by: Expr | str,
        per: None = None,
        *,
        descending: bool = True,
        ttl: str | dt.timedelta | Forever | None = None,
        max_rate: str | dt.timedelta | None = None,
    ) -> Table: ...

    @overload
    def top_n(
        self,
        n: int,
        by: Expr | str,
        per: str | dt.timedelta | Window | OverlappingWindow | SessionWindow,
        *,
        descending: bool = True,
        allowed_lateness: str | dt.timedelta = "0s",
    ) -> Self: ...

    def top_n(
        self,
        n: int,
        by: Expr | str,
        per: str | dt.timedelta | Window | OverlappingWindow | SessionWindow | None = None,
        *,
        descending: bool = True,
        allowed_lateness: str | dt.timedelta | None = None,
        ttl: str | dt.timedelta | Forever | None = None,
        max_rate: str | dt.timedelta | None = None,
    ) -> Self | Table:
        """The `n` rows of each key in which `by` is largest: in each window, or so far.

        With `per` a stream: when a window closes its first rows come out, as the keys, ``window_start``,
        ``window_end``, ``rank`` (from 1), and all other columns of the row. Without `per` a `Table` with a row
        per key and ``rank``, which follows the input: `.changes()` has an insert, update or delete for each
        rank whose row is another one than before. On a stream without keys all rows are ranked together.

        Rows where `by` is null have no rank. NaN is the largest number. Ties go to the row that is first
        in event time, then in the input; every row has a rank of its own.

        Args:
            n: how many rows of a key.
            by: a column, or an expression of columns.
            per: the length of tumbling windows, such as ``"10s"``, or a window: ``sl.hopping(...)``,
                ``sl.session(...)``; ``sl.same_window()`` ranks results of one window with one another.
            descending: whether the largest is the first; else the smallest.
            allowed_lateness: with `per`, how long after its end a window still takes late rows.
            ttl: without `per`: a key without rows for longer than this, in event time, is dropped. `sl.FOREVER`
                keeps every key; an input without an end needs one of both.
            max_rate: without `per`: changes of a key at most once in each span of this length, in event time.

        Raises:
            BuildError: a number of rows below 1, a name that is taken, options that do not belong together.
            TypeMismatchError: values of `by` have no order.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([1, 2, 3, 12], pa.timestamp("s")), "k": ["a"] * 4, "v": [5, 9, 7, 1]})
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
        >>> keyed.top_n(2, by="v", per="10s").select("k", "rank", "v").collect().to_pylist()
        [{'k': 'a', 'rank': 1, 'v': 9}, {'k': 'a', 'rank': 2, 'v': 7}, {'k': 'a', 'rank': 1, 'v': 1}]
        >>> keyed.top_n(2, by="v").collect().select(["k", "rank", "v"]).to_pylist()
        [{'k': 'a', 'rank': 1, 'v': 9}, {'k': 'a', 'rank': 2, 'v': 7}]
        """
        from streamlib.operators.top_n import Ranking
        from streamlib.operators.top_n_table import TopNTableNode
        from streamlib.streams.table import Table, table_options

        at = user_location()
        if per is not None:
            if ttl is not None or max_rate is not None:
                raise BuildError(
                    "ttl= and max_rate= belong to the table of top_n() without per=",
                    at=at,
                    step="top_n",
                    hint="what a window keeps goes when it closes",
                )
            lateness = _lateness(allowed_lateness or "0s", at)
            return type(self)(ranked(self._node, n, by, per, descending, lateness))
        if allowed_lateness is not None:
            raise BuildError(
                "allowed_lateness= belongs to the windows of top_n(per=...)",
                at=at,
                step="top_n",
                hint="a table takes all rows that are within max_delay of event_time(...)",
            )
        options = table_options(ttl, max_rate, "top_n")
        ranking = Ranking(n, _by(by), descending)
        return Table(TopNTableNode(inputs=(self._node,), at=at, ranking=ranking, **options))


def ranked(
    node: Node,
    n: int,
    by: Expr | str,
    per: Any,
    descending: bool,
    allowed_lateness: int,
) -> TopNNode:
    """The step that ranks rows by window; `allowed_lateness` in ns."""
    from streamlib.operators.top_n import Ranking, TopNNode
    from streamlib.operators.windows.session import SessionWindow
    from streamlib.operators.windows.tumbling import tumbling

    at = user_location()
    try:
        if isinstance(per, str | dt.timedelta):
            per = tumbling(per)
        if not isinstance(per, Window | OverlappingWindow | SessionWindow):
            raise BuildError(
                "top_n(per=...) takes a length of time, or windows by time",
                expected='such as "10s", sl.hopping("1m", every="10s") or sl.session("30m")',
                got=repr(per),
                hint='of windows by rows: .window(sl.tumbling(rows=100)).agg(top=sl.col("k").top_k(3, by="v"))',
            )
        ranking = Ranking(n, _by(by), descending)
    except StreamlibError as error:
        raise error.in_step("top_n", at) from None
    return TopNNode(inputs=(node,), at=at, ranking=ranking, window=per, allowed_lateness=allowed_lateness)


def _lateness(given: str | dt.timedelta, at: Location | None) -> int:
    try:
        return duration_ns(given, "allowed_lateness")
    except StreamlibError as error:
        raise error.in_step("top_n", at) from None


def _by(by: Expr | str) -> Expr:
    if isinstance(by, Expr):
        return by
    if not isinstance(by, str):
        raise BuildError("by= is a column or an expression", got=repr(by), hint='such as by="volume"')
    return col(by)
