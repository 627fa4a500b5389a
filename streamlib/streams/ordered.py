"""The verbs of a keyed stream that take each key's rows in order; `KeyedStream` inherits them.

What each means stands on its node, in `streamlib.operators`.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Self

from streamlib.elements import duration_ns
from streamlib.errors import BuildError, StreamlibError, user_location
from streamlib.expr import Expr, named_exprs
from streamlib.graph import Node

if TYPE_CHECKING:
    from streamlib.streams.rolling import RollingStream
    from streamlib.streams.table import Forever


class OrderedVerbs:
    """Steps whose answer depends on the order of a key's rows."""

    _node: Node

    if TYPE_CHECKING:

        def __init__(self, node: Node) -> None: ...

        def _select(self, exprs: tuple[Expr | str, ...], named: dict[str, Any], keep: bool) -> Self: ...

    def select(
        self, *exprs: Expr | str, ttl: str | dt.timedelta | Forever | Expr | None = None, **named: Any
    ) -> Self:
        """As `Stream.select`; expressions may ask for other rows of the key, see `with_columns`."""
        return self._keyed_select(exprs, named, False, ttl)

    def with_columns(
        self, *exprs: Expr | str, ttl: str | dt.timedelta | Forever | Expr | None = None, **named: Any
    ) -> Self:
        """As `Stream.with_columns`; expressions may ask for other rows of the key.

        With `shift`, `diff`, `pct_change`, `cum_sum`, `cum_min`, `cum_max`, `cum_count`, `forward_fill` or
        `ewm_mean` in an expression, each key's rows are taken in the order of event time, and a row comes out
        when the watermark has passed it.

        Args:
            exprs: names or expressions.
            ttl: with such expressions: a key without rows for longer than this, in event time, begins anew.
                `sl.FOREVER` keeps every key; an input without an end needs one of both. An expression is a
                column of this name.
            named: expressions by the name of their column.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([1, 2, 3], pa.timestamp("s")), "k": ["a", "b", "a"], "v": [5, 6, 8]})
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
        >>> keyed.with_columns(change=sl.col("v").diff()).select("k", "change").collect().to_pylist()
        [{'k': 'a', 'change': None}, {'k': 'b', 'change': None}, {'k': 'a', 'change': 3}]
        """
        return self._keyed_select(exprs, named, True, ttl)

    def _keyed_select(
        self,
        exprs: tuple[Expr | str, ...],
        named: dict[str, Any],
        keep: bool,
        ttl: str | dt.timedelta | Forever | Expr | None,
    ) -> Self:
        from streamlib.operators.row_functions import RowFunctionsNode, has_row_functions

        if isinstance(ttl, Expr):
            named, ttl = {**named, "ttl": ttl}, None
        at = user_location()
        try:
            chosen = named_exprs(exprs, named)
            options = ttl_options(ttl)
            if ttl is not None and not has_row_functions(chosen):
                raise BuildError(
                    "ttl= says how long keys are kept, and no expression needs them",
                    got=f"ttl={ttl!r}",
                    hint="a column named ttl is made by an expression: ttl=sl.lit(...)",
                )
        except StreamlibError as error:
            raise error.in_step("with_columns" if keep else "select", at) from None
        if has_row_functions(chosen):
            return type(self)(
                RowFunctionsNode(inputs=(self._node,), at=at, exprs=chosen, keep=keep, **options)
            )
        return self._select(exprs, named, keep)

    def rolling(
        self,
        window: str | dt.timedelta | None = None,
        *,
        rows: int | None = None,
        allowed_lateness: str | dt.timedelta = "0s",
        ttl: str | dt.timedelta | Forever | None = None,
    ) -> RollingStream:
        """For each row the last rows of its key, itself included, to be aggregated by `.agg(...)`.

        Args:
            window: the last rows by event time, such as ``"10m"``: of a row at t those in (t - 10m, t]. Of
                rows of one time a window holds those up to its own row.
            rows: instead, how many rows, the row itself included; fewer at the beginning of a key.
            allowed_lateness: how much longer rows wait for others that come late.
            ttl: of windows by rows: a key without rows for longer than this, in event time, begins anew.
                `sl.FOREVER` keeps every key; an input without an end needs one of both.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([1, 2, 3], pa.timestamp("s")), "k": ["a", "a", "a"], "v": [1, 5, 3]})
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
        >>> keyed.rolling(rows=2).agg(high=sl.col("v").max(), n=sl.count()).select("high", "n").collect().to_pylist()
        [{'high': 1, 'n': 1}, {'high': 5, 'n': 2}, {'high': 5, 'n': 2}]
        """
        from streamlib.streams.rolling import RollingStream

        return RollingStream(self._node, window, rows, allowed_lateness, ttl)


def ttl_options(ttl: str | dt.timedelta | Forever | None) -> dict[str, Any]:
    """`ttl=` as nodes take it."""
    from streamlib.streams.table import Forever

    forever = isinstance(ttl, Forever)
    return {
        "ttl": None if ttl is None or isinstance(ttl, Forever) else duration_ns(ttl, "ttl"),
        "forever": forever,
    }
