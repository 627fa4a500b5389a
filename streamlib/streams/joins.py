"""Joins with another stream: verbs of `Stream`. What each means stands on its node, in `streamlib.operators.joins`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from streamlib.elements import duration_ns
from streamlib.errors import BuildError, StreamlibError, user_location
from streamlib.graph import Node, SideNode

if TYPE_CHECKING:
    from streamlib.contracts import OverlappingWindow, Window
    from streamlib.expr import Expr
    from streamlib.operators.windows.session import SessionWindow
    from streamlib.streams.stream import Stream
    from streamlib.streams.table import Forever


class JoinVerbs:
    """Rows of two streams that belong together."""

    _node: Node

    def join(
        self,
        other: Stream,
        on: str | Sequence[str] | None = None,
        *,
        left_on: str | Sequence[str] | None = None,
        right_on: str | Sequence[str] | None = None,
        within: tuple[str | dt.timedelta, str | dt.timedelta] | None = None,
        window: Window | OverlappingWindow | SessionWindow | None = None,
        ttl: str | dt.timedelta | None = None,
        how: Literal["inner", "left", "right", "full", "semi", "anti"] = "inner",
        suffix: str = "_right",
        where: Expr | None = None,
        allowed_lateness: str | dt.timedelta = "0s",
        unbounded: bool = False,
    ) -> Self:
        """Puts together rows of both streams that have equal keys and belong together in time.

        Say one of `within`, `window` and `ttl`: it decides what belongs together, and with it how long a
        row is kept. Each pair comes out once, in whatever order its rows arrive. The columns are those of
        this stream, then those of `other` without its keys.

        With `within` a pair comes out when its second row arrives, and has the later time of both. A
        row without a match (`how` left, right, full, anti) comes out with its own time, when the other
        side's watermark proves that none can come any more; one of ``semi`` at its first match. With
        `window` all results come out when the window closes: the keys' rows of both sides that are in the
        same window, with the columns ``window_start`` and ``window_end``.

        Args:
            other: the other stream, with event time. The same stream twice is fine.
            on: key columns of both. None, without `left_on`: those that the streams are keyed by;
                `[]`: all rows have one key. A null key matches nothing.
            left_on: key columns of this stream, where they have other names in `other`.
            right_on: those of `other`, in the same order.
            within: the least and the greatest distance, the time of `other` minus the time here, both
                included: ``("-5s", "2m")`` is from five seconds before to two minutes after.
            window: `sl.tumbling(...)`, `sl.hopping(...)` and the like, or `sl.session(...)`: a session is made
                by the rows of both sides.
            ttl: how far apart a pair may be, either way: ``"10m"`` is ``within=("-10m", "10m")``.
            how: ``"inner"`` gives pairs; ``"left"``, ``"right"`` and ``"full"`` also the rows of that side,
                or of both, that have no match; ``"semi"`` and ``"anti"`` give rows of this stream only,
                once each: those with and those without a match.
            suffix: for columns of `other` whose name is taken.
            where: a further condition of a match, over the columns of both sides as they are called in the
                result: what it is not true for is no match, as with SQL's ON.
            allowed_lateness: how much longer rows, or windows, wait for late ones.
            unbounded: keep all rows of both sides for as long as the job runs: for inputs that end.

        Raises:
            BuildError: there are no keys or no bounds, an interval is upside down, a side has no event time.
            ColumnNotFoundError: a key is no column.
            TypeMismatchError: the keys cannot be compared, or `where` is no condition.

        >>> import streamlib as sl, streamlib.testing as t
        >>> orders = sl.read_arrow(t.table("ts id item\\n 00:00:02 1 pen\\n 00:00:05 2 ink"))
        >>> payments = sl.read_arrow(t.table("ts id paid\\n 00:01:00 1 10.0"))
        >>> joined = orders.event_time("ts", max_delay="1s").join(
        ...     payments.event_time("ts", max_delay="1s"), on="id", within=("0s", "15m"), how="left"
        ... )
        >>> joined.select("id", "item", "paid").collect().to_pylist()
        [{'id': 2, 'item': 'ink', 'paid': None}, {'id': 1, 'item': 'pen', 'paid': 10.0}]
        """
        from streamlib.operators.joins.interval import IntervalJoinNode
        from streamlib.operators.joins.window_join import window_join_node

        at = user_location()
        try:
            right = _other(other, "join")
            left_keys, right_keys = _keys(on, left_on, right_on)
            interval = _interval(within, window, ttl, unbounded)
            lateness = duration_ns(allowed_lateness, "allowed_lateness")
            options: dict[str, Any] = {
                "inputs": (self._node, right),
                "at": at,
                "left_on": left_keys,
                "right_on": right_keys,
                "how": how,
                "suffix": suffix,
                "where": where,
                "allowed_lateness": lateness,
            }
        except StreamlibError as error:
            raise error.in_step("join", at) from None
        if window is not None:
            return type(self)(window_join_node(window, options))  # type: ignore[call-arg]
        return type(self)(IntervalJoinNode(within=interval, **options))  # type: ignore[call-arg]

    def asof_join(
        self,
        other: Stream,
        on: str | Sequence[str] | None = None,
        *,
        left_on: str | Sequence[str] | None = None,
        right_on: str | Sequence[str] | None = None,
        tolerance: str | dt.timedelta | Forever | None = None,
        direction: Literal["backward", "forward", "nearest"] = "backward",
        how: Literal["left", "inner"] = "left",
        allow_exact: bool = True,
        suffix: str = "_right",
        allowed_lateness: str | dt.timedelta = "0s",
    ) -> Self:
        """Adds to each row the columns of the row of `other` that held at its time: trades with their quotes.

        Each row comes out once, with its own time, when the watermark of `other` has passed what it
        could still be matched with; in which order rows arrive does not matter. The columns are those of
        this stream, then those of `other` without its keys, null where there is no match.

        Args:
            other: the stream that is looked into, with event time.
            on: key columns of both. None, without `left_on`: those that the streams are keyed by;
                `[]`: all rows belong together. A null key matches nothing.
            left_on: key columns of this stream, where they have other names in `other`.
            right_on: those of `other`, in the same order.
            tolerance: how far the match may be away in event time; None for any distance. An `other`
                without an end needs one, or `sl.FOREVER` where the keys are few.
            direction: ``"backward"`` takes the latest row at or before this one's time, ``"forward"``
                the earliest at or after it, ``"nearest"`` the nearer of both, the earlier one when they are
                equally far. The last two need a tolerance: so long a row waits for its match. Of
                several rows of one time the last in order counts backward, the first forward.
            how: ``"left"`` keeps rows without a match, ``"inner"`` drops them.
            allow_exact: whether a row of the very same time is a match.
            suffix: for columns of `other` whose name is taken.
            allowed_lateness: how much longer rows wait, so that late ones of either side still count.

        Raises:
            BuildError: there are no keys, a side has no event time, or state would grow without end.
            ColumnNotFoundError: a key is no column.
            TypeMismatchError: the keys cannot be compared.

        >>> import streamlib as sl, streamlib.testing as t
        >>> trades = sl.read_arrow(t.table("ts sym price\\n 00:00:02 A 10.0\\n 00:00:05 A 11.0"))
        >>> quotes = sl.read_arrow(t.table("ts sym bid\\n 00:00:01 A 9.5\\n 00:00:04 A 10.5"))
        >>> joined = trades.event_time("ts", max_delay="1s").asof_join(
        ...     quotes.event_time("ts", max_delay="1s"), on="sym"
        ... )
        >>> joined.select("sym", "price", "bid").collect().to_pylist()
        [{'sym': 'A', 'price': 10.0, 'bid': 9.5}, {'sym': 'A', 'price': 11.0, 'bid': 10.5}]
        """
        from streamlib.operators.joins.asof import AsOfJoinNode
        from streamlib.streams.table import Forever

        at = user_location()
        try:
            source = _other(other, "asof_join")
            left, right = _keys(on, left_on, right_on)
            forever = isinstance(tolerance, Forever)
            limited = None if isinstance(tolerance, Forever) else tolerance
            within = None if limited is None else duration_ns(limited, "tolerance")
            lateness = duration_ns(allowed_lateness, "allowed_lateness")
        except StreamlibError as error:
            raise error.in_step("asof_join", at) from None
        node = AsOfJoinNode(
            inputs=(self._node, source),
            at=at,
            left_on=left,
            right_on=right,
            tolerance=within,
            forever=forever,
            direction=direction,
            how=how,
            allow_exact=bool(allow_exact),
            suffix=suffix,
            allowed_lateness=lateness,
        )
        return type(self)(node)  # type: ignore[call-arg]

    @property
    def late_left(self) -> Stream:
        """The rows of the first stream that came too late for the join before this, once each.

        Columns: those of that stream, and ``late_by``: more than that as additional `max_delay` would
        have kept the row.
        """
        return self._late("late_left", 0)

    @property
    def late_right(self) -> Stream:
        """The rows of the other stream that came too late for the join before this; see `late_left`."""
        return self._late("late_right", 1)

    def _late(self, tag: str, side: int) -> Stream:
        from streamlib.streams.stream import Stream

        schema = getattr(self._node, f"{tag}_schema", None)
        if schema is None:
            raise BuildError(
                f"only the result of a join has {tag} rows",
                at=user_location(),
                step=self._node.label,
                hint=f"call .{tag} on what the join returned; windows and tables have .late",
            )
        time = self._node.inputs[side].time
        at = user_location()
        return Stream(SideNode(inputs=(self._node,), at=at, tag=tag, side_schema=schema, side_time=time))


Keys = tuple[str, ...]
_BOUNDS = 'within=("0s", "10m"), window=sl.tumbling("1m") or ttl="10m"'


def _other(other: object, verb: str) -> Node:
    """The node of the other stream."""
    from streamlib.streams.stream import Stream

    if not isinstance(other, Stream):
        raise BuildError(
            f"{verb} takes a stream",
            expected='a stream with .event_time(...), such as quotes.event_time("ts", max_delay="2s")',
            got=f"{type(other).__name__}",
        )
    return other._node


def _interval(within: Any, window: Any, ttl: Any, unbounded: bool) -> tuple[int, int] | None:
    """The bounds of an interval join, ns; None for a window join, and for one without bounds."""
    options = {"within": within, "window": window, "ttl": ttl}
    given = [f"{name}=" for name, value in options.items() if value is not None]
    given += ["unbounded=True"] if unbounded else []
    if len(given) > 1:
        raise BuildError(
            "a join takes one of within=, window= and ttl=", expected=_BOUNDS, got=" and ".join(given)
        )
    if not given:
        raise BuildError(
            "a join without bounds would keep all rows of both sides for ever",
            expected=f"how far apart in time rows may be: {_BOUNDS}",
            got="none of them",
            hint="for inputs that end and fit into memory say unbounded=True",
        )
    if ttl is not None:
        reach = duration_ns(ttl, "ttl")
        if reach < 0:
            raise BuildError("ttl= must not be negative", expected='such as ttl="10m"', got=repr(ttl))
        return -reach, reach
    if within is None:
        return None
    if not isinstance(within, tuple | list) or len(within) != 2:
        raise BuildError(
            "within= is a pair of durations",
            expected='right time minus left time, at least and at most: within=("-5s", "2m")',
            got=repr(within),
            hint=f"the same distance either way is ttl={within!r}" if isinstance(within, str) else None,
        )
    low, high = within
    return duration_ns(low, "within"), duration_ns(high, "within")


def _keys(
    on: str | Sequence[str] | None, left_on: str | Sequence[str] | None, right_on: str | Sequence[str] | None
) -> tuple[Keys | None, Keys | None]:
    """The key columns of both sides as they were given; None where they were not."""
    if on is not None and (left_on is not None or right_on is not None):
        raise BuildError(
            "a join takes on=, or left_on= and right_on=", got="both", hint="on= is for names that both have"
        )
    if right_on is not None and left_on is None:
        raise BuildError("right_on= is given without left_on=", expected="both, in the same order")
    both = _names(on)
    return (both, both) if on is not None else (_names(left_on), _names(right_on))


def _names(given: str | Sequence[str] | None) -> Keys | None:
    if given is None:
        return None
    return (given,) if isinstance(given, str) else tuple(given)
