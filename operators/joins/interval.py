"""The interval join: each pair of rows of one key whose times are no further apart than an interval says.

A pair is a left row a and a right row b with ``lo <= b.t - a.t <= hi``, both ends included. It comes out
once, when the second of them arrives, in whatever order they do, and has the later time of the two. A row
without a match comes out, with its own time, when the watermark of the other side proves that none can
come: left rows when Wb > a.t + hi + L, right rows when Wa > b.t - lo + L, with the allowed lateness L.
A row of ``semi`` comes out at its first match, with its own time: which match was first is nothing that
could decide. A row of either side is refused by its own mark: mark > t + L.

Sent on is min(Wa, Wb) - L; where left rows come out with their own time, at most Wb - max(hi, 0) - L; where
right rows do, at most Wa + min(lo, 0) - L.

Rows are kept until the same watermark passes the same time: what could still match, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import pyarrow as pa

from streamlib.contracts import Operator
from streamlib.elements import MAX_TIME, MIN_TIME, format_duration
from streamlib.errors import BuildError
from streamlib.graph import BuildContext
from streamlib.operators.joins.sides import LEFT, RIGHT, late_schema
from streamlib.operators.joins.two_sided import TwoSidedJoinNode


@dataclass(frozen=True, eq=False, kw_only=True)
class IntervalJoinNode(TwoSidedJoinNode):
    """Joins rows by key and distance in time.

    Attributes:
        within: the least and the greatest right time minus left time, ns; None for all of time.
    """

    kind: ClassVar[str] = "join"
    within: tuple[int, int] | None = None

    def derive_schema(self) -> pa.Schema:
        low, high = self.interval
        if low > high:
            shown = tuple(format_duration(end) for end in (low, high))
            raise BuildError(
                "within= is upside down: no row can match",
                expected="the earlier end first, as right time minus left time",
                got=f"within={shown}",
                hint=f"within={shown[::-1]}",
            )
        return super().derive_schema()

    @property
    def interval(self) -> tuple[int, int]:
        """The least and the greatest right time minus left time, ns."""
        low, high = (MIN_TIME, MAX_TIME) if self.within is None else self.within
        return max(low, -MAX_TIME), max(high, -MAX_TIME)

    def derive_time(self) -> str | None:
        """The column that holds the result's time, where one always does."""
        low, high = self.interval
        left, right = (node.time for node in self.inputs)
        if self.how in ("semi", "anti") or (self.how in ("inner", "left") and high <= 0):
            return left
        if self.how in ("inner", "right") and low >= 0:
            return next((out for own, out in self.right_columns if own == right), None)
        return None

    @cached_property
    def late_left_schema(self) -> pa.Schema:
        """The columns of `.late_left`."""
        return late_schema(self.inputs[LEFT].schema, LEFT)

    @cached_property
    def late_right_schema(self) -> pa.Schema:
        """The columns of `.late_right`."""
        return late_schema(self.inputs[RIGHT].schema, RIGHT)

    def state_bound(self) -> str:
        return "input" if self.within is None else "within x rate"

    def describe(self) -> str:
        if self.within is None:
            return self.described("unbounded=True")
        shown = tuple(format_duration(end) for end in self.within)
        return self.described(f"within={shown}")

    def build(self, context: BuildContext) -> Operator:
        from streamlib.operators.joins.interval_operator import IntervalJoinOperator

        return IntervalJoinOperator(self, context)
