"""Joins with another stream: verbs of `Stream`. What each means stands on its node, in `streamlib.operators.joins`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Self

from streamlib.elements import duration_ns
from streamlib.errors import BuildError, StreamlibError, user_location
from streamlib.graph import Node, SideNode

if TYPE_CHECKING:
    from streamlib.streams.stream import Stream
    from streamlib.streams.table import Forever


class JoinVerbs:
    """Rows of two streams that belong together."""

    _node: Node

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
        from streamlib.streams.stream import Stream
        from streamlib.streams.table import Forever

        at = user_location()
        try:
            if not isinstance(other, Stream):
                raise BuildError(
                    "asof_join takes a stream",
                    expected='a stream with .event_time(...), such as quotes.event_time("ts", max_delay="2s")',
                    got=f"{type(other).__name__}",
                )
            left, right = _keys(on, left_on, right_on)
            forever = isinstance(tolerance, Forever)
            limited = None if isinstance(tolerance, Forever) else tolerance
            within = None if limited is None else duration_ns(limited, "tolerance")
            lateness = duration_ns(allowed_lateness, "allowed_lateness")
        except StreamlibError as error:
            raise error.in_step("asof_join", at) from None
        node = AsOfJoinNode(
            inputs=(self._node, other._node),
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
