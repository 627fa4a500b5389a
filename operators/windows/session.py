"""Session windows: the rows of a key that follow one another closely, however long that goes on.

Two rows of a key are in one session when they are at most `gap` apart, or when rows between them join
them. A session has no place in time before its rows come: it begins with its first row and ends one gap
after its last one. Rows may come in any order; what a session is follows from their times alone.

With `max_length` the sessions of a key are cut in the order of time: a row further from the first row
of its session than that begins the next one. Only rows that the watermark has passed can be cut, so
rows wait for it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import pyarrow as pa

from streamlib.contracts import Operator
from streamlib.elements import duration_ns, format_duration
from streamlib.errors import BuildError, user_location
from streamlib.graph import BuildContext
from streamlib.kernels.columns import decoded_type
from streamlib.operators.windows.node import WindowAggregateNode


@dataclass(frozen=True)
class SessionWindow:
    """Rows that are no further apart than `gap`.

    Attributes:
        gap: ns.
        max_length: from the first to the last row of a session, ns; None for no limit.
    """

    gap: int
    max_length: int | None = None

    def granularity(self) -> int:
        """A duration that divides the distance of a session's end from its last row, ns."""
        return self.gap

    def describe(self) -> str:
        """As the user wrote it."""
        limit = "" if self.max_length is None else f", max_length={format_duration(self.max_length)!r}"
        return f"session({format_duration(self.gap)!r}{limit})"


def session(gap: str | dt.timedelta, max_length: str | dt.timedelta | None = None) -> SessionWindow:
    """Windows of rows that follow one another closely: a session ends when a key has no row for longer than `gap`.

    Two rows exactly one gap apart are in one session. ``window_start`` is the time of its first row and
    ``window_end`` that of its last row plus `gap`. It comes out when the watermark lies after
    ``window_end`` and the allowed lateness. A row is late when its mark lies after its time and the
    allowed lateness, whatever sessions are open.

    Args:
        gap: such as ``"30m"``.
        max_length: how long a session may go on, from its first to its last row. A row after that begins a
            new one, which may overlap the end of the one before: that still ends one gap after its last row.

    Raises:
        BuildError: a gap of zero or less, a negative `max_length`, or a bare number.

    >>> import pyarrow as pa, streamlib as sl
    >>> times = pa.array([0, 30, 50, 130, 160], pa.timestamp("s"))
    >>> clicks = sl.read_arrow(pa.table({"ts": times, "user": ["a"] * 5})).event_time("ts", max_delay="5s")
    >>> visits = clicks.key_by("user").window(sl.session("30s")).agg(clicks=sl.count())
    >>> for row in visits.collect().to_pylist():
    ...     print(row["user"], row["window_start"].time(), row["window_end"].time(), row["clicks"])
    a 00:00:00 00:01:20 3
    a 00:02:10 00:03:10 2
    """
    at = user_location()
    try:
        gap_ns = duration_ns(gap, "gap")
        if gap_ns <= 0:
            raise BuildError(
                "the gap of a session must be longer than zero", expected='such as "30m"', got=repr(gap)
            )
        length_ns = None if max_length is None else duration_ns(max_length, "max_length")
        if length_ns is not None and length_ns < 0:
            raise BuildError(
                "max_length must not be negative", expected='such as "12h"', got=repr(max_length)
            )
    except BuildError as error:
        raise error.in_step("session", at) from None
    return SessionWindow(gap_ns, length_ns)


@dataclass(frozen=True, eq=False, kw_only=True)
class SessionAggregateNode(WindowAggregateNode):
    """Aggregates rows by key and session.

    Sessions are not combined before the exchange: which rows are one session only shows where they meet.
    Dictionaries among the keys come out decoded.
    """

    combines: ClassVar[bool] = False
    window: SessionWindow  # type: ignore[assignment]

    def derive_schema(self) -> pa.Schema:
        schema = super().derive_schema()
        kinds = {field.name: field for field in self.key_fields}
        return pa.schema([kinds.get(field.name, field) for field in schema])

    @cached_property
    def key_fields(self) -> list[pa.Field]:
        """The key columns."""
        source = self.inputs[0]
        return [pa.field(key, decoded_type(source.schema.field(key).type)) for key in source.keys]

    @property
    def waits(self) -> bool:
        """Whether rows have to come in order, and wait for it."""
        return self.sorts or self.window.max_length is not None

    def state_bound(self) -> str:
        return "within x rate" if self.waits else "open windows"

    def build(self, context: BuildContext) -> Operator:
        from streamlib.operators.windows.session_operator import SessionOperator

        return SessionOperator(self, context)
