"""The window join: rows of both sides that are in the same window of the same key.

All results of a window come out when it closes, with its bounds and the time that comes before its end:
fixed windows when W >= window_end + L, sessions when W > last + gap + L, with the watermark W of both
sides and the allowed lateness L. Sent on is W - L, for sessions W - L - 1 ns. A session is made by the rows of
both sides. A row is refused by its mark as any window does it: window by window where they are fixed
(mark >= window_end + L), by its own time for sessions (mark > t + L).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa

from streamlib.contracts import Operator, OverlappingWindow, Window
from streamlib.errors import BuildError
from streamlib.graph import BuildContext
from streamlib.operators.joins.sides import LEFT, NAMES, RIGHT, plain_type
from streamlib.operators.joins.two_sided import TwoSidedJoinNode
from streamlib.operators.windows.results import BOUNDS, bounds_type
from streamlib.operators.windows.same_window import SameWindow
from streamlib.operators.windows.session import SessionWindow


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowJoinNode(TwoSidedJoinNode):
    """Joins rows by key and window.

    Attributes:
        window: says which windows a row is in.
    """

    kind: ClassVar[str] = "window join"
    makes_windows: ClassVar[bool] = True
    window: Window | OverlappingWindow | SessionWindow

    def derive_schema(self) -> pa.Schema:
        self._check_window()
        schema = super().derive_schema()
        taken = [name for name in BOUNDS if name in schema.names]
        if taken:
            raise BuildError(
                f"the name {taken[0]!r} is taken",
                expected="a name that is free: the window's bounds are columns of the result",
                hint='rename or drop it before; results of one window are joined by on=[..., "window_start", '
                '"window_end"] and within=("0s", "0s")',
            )
        return pa.schema([*schema, *(pa.field(name, self.bounds_type) for name in BOUNDS)])

    def _check_window(self) -> None:
        window: object = self.window
        if isinstance(window, SameWindow):
            raise BuildError(
                "same_window() is no window of a join",
                expected='such as window=sl.tumbling("10s")',
                got="window=same_window()",
                hint='results of one window are joined by on=[..., "window_start", "window_end"] and '
                'within=("0s", "0s")',
            )
        if not isinstance(window, Window | OverlappingWindow | SessionWindow):
            raise BuildError(
                "window= must be a window", expected='such as sl.tumbling("10s")', got=repr(window)
            )
        if isinstance(window, SessionWindow) and window.max_length is not None:
            raise BuildError("a join takes sessions without max_length", got=window.describe())

    @cached_property
    def bounds_type(self) -> pa.DataType:
        """The type of ``window_start`` and ``window_end``: that of the left time column where it is fine enough."""
        source = self.inputs[LEFT]
        kind = None if source.time is None else plain_type(source.schema.field(source.time).type)
        if isinstance(self.window, SessionWindow):
            other = self.inputs[RIGHT]
            times = [kind, None if other.time is None else plain_type(other.schema.field(other.time).type)]
            if times[LEFT] != times[RIGHT]:
                return pa.timestamp("ns", getattr(kind, "tz", None))
        return bounds_type(kind, self.window)  # type: ignore[arg-type]

    def derive_time(self) -> None:
        return None

    @cached_property
    def late_left_schema(self) -> pa.Schema:
        """The columns of `.late_left`."""
        return self._late_schema(LEFT)

    @cached_property
    def late_right_schema(self) -> pa.Schema:
        """The columns of `.late_right`."""
        return self._late_schema(RIGHT)

    def _late_schema(self, side: int) -> pa.Schema:
        fields = [pa.field("late_by", pa.duration("ns")), pa.field("windows_late", pa.int64())]
        fields += [pa.field(name, self.bounds_type) for name in BOUNDS]
        source = self.inputs[side].schema
        for field in fields:
            if field.name in source.names:
                raise BuildError(
                    f"column {field.name!r} of the input has the name of a column of the late rows",
                    hint=f'rename it on the {NAMES[side]} side: .rename({{"{field.name}": ...}})',
                )
        return pa.schema([*source, *fields])

    def state_bound(self) -> str:
        return "open windows"

    def describe(self) -> str:
        return self.described(self.window.describe())

    def build(self, context: BuildContext) -> Operator:
        from streamlib.operators.joins.window_join_operator import WindowJoinOperator

        return WindowJoinOperator(self, context)


def window_join_node(
    window: Window | OverlappingWindow | SessionWindow, options: Mapping[str, Any]
) -> WindowJoinNode:
    """The node of a window join."""
    return WindowJoinNode(window=window, **options)
