"""The as-of join: to each left row the right row of its key that held at its time.

``backward`` is the latest right row at or before the left row's time t, ``forward`` the earliest at or after
it, ``nearest`` the nearer of both (the earlier one when they are equally far). Among right rows of one
time the last in order counts backward and the first forward (SEMANTICS 3).

A left row comes out once, with its own time, when the watermark of the right side Wb proves that no right
row can come any more that would be its match: Wb > t + L, and forward or nearest Wb > t + tolerance + L,
with the allowed lateness L. Neither the order of arrival nor the watermark of the left side has a say in
it. Sent on is min(Wa, Wb) - L, or min(Wa, Wb - tolerance) - L. A row of either side is refused by its own
mark: mark > t + L.

Of the right side the rows stay that a left row still to come can be matched with: those at or after what
is sent on and, backward, the last one before it of each key, as long as that is within the tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import pyarrow as pa

from streamlib.aggregates.accumulators import kept_type
from streamlib.contracts import Operator
from streamlib.elements import format_duration
from streamlib.errors import BuildError, TypeMismatchError
from streamlib.graph import BuildContext, Node, SourceNode
from streamlib.graph.plan import topological
from streamlib.operators.input_rows import from_input
from streamlib.operators.joins.sides import (
    LEFT,
    RIGHT,
    key_fields,
    late_schema,
    paired_keys,
    plain_schema,
    right_names,
)

Direction = Literal["backward", "forward", "nearest"]
DIRECTIONS = ("backward", "forward", "nearest")


@dataclass(frozen=True, eq=False, kw_only=True)
class AsOfJoinNode(Node):
    """Joins each row of the first input with at most one row of the second.

    Attributes:
        left_on: key columns of the first input; None for those it is keyed by.
        right_on: those of the second; None for the same.
        tolerance: how far the match may be away, ns; None for any distance.
        forever: the user said that a row of each key is kept for ever.
        direction: where the match lies.
        how: ``left`` keeps rows without a match, ``inner`` drops them.
        allow_exact: whether a right row of the very same time is a match.
        suffix: of right columns whose name is taken.
        allowed_lateness: how much longer left rows wait for late right rows, ns.
    """

    kind: ClassVar[str] = "asof_join"
    exchange_by: ClassVar[bool] = True
    goes_by_keys: ClassVar[bool] = False
    left_on: tuple[str, ...] | None = None
    right_on: tuple[str, ...] | None = None
    tolerance: int | None = None
    forever: bool = False
    direction: Direction = "backward"
    how: Literal["left", "inner"] = "left"
    allow_exact: bool = True
    suffix: str = "_right"
    allowed_lateness: int = 0

    def derive_schema(self) -> pa.Schema:
        for side, node in zip(("left", "right"), self.inputs, strict=True):
            if not node.timed:
                raise BuildError(
                    "an as-of join needs event time on both sides",
                    got=f"a {side} side without event time",
                    hint='add .event_time("ts", max_delay="2s") after its source',
                )
        self._check_options()
        left, right = (plain_schema(node.schema) for node in self.inputs)
        fields = list(left)
        for own, out in self.right_columns:
            kind = right.field(own).type
            if kept_type(kind) is None:
                raise TypeMismatchError(
                    f"column {own!r} of the right side cannot be kept",
                    expected="a type whose rows can be taken one by one",
                    got=str(kind),
                    hint=f'drop it before the join: .drop("{own}")',
                )
            fields.append(pa.field(out, kind))
        _ = self.key_fields
        return pa.schema(fields)

    def _check_options(self) -> None:
        choices = {"direction": (self.direction, DIRECTIONS), "how": (self.how, ("left", "inner"))}
        for name, (value, known) in choices.items():
            if value not in known:
                raise BuildError(f"no such {name}", expected=", ".join(known), got=repr(value))
        for name, duration in (("tolerance", self.tolerance), ("allowed_lateness", self.allowed_lateness)):
            if duration is not None and duration < 0:
                raise BuildError(f"{name}= must not be negative", got=format_duration(duration))
        if self.direction != "backward" and self.tolerance is None:
            raise BuildError(
                f"an as-of join {self.direction} needs a tolerance: how long a row waits for its match",
                expected='such as tolerance="5m"',
                got="tolerance=FOREVER" if self.forever else "no tolerance=",
                hint="without one a row that has no match would wait for the end of the input",
            )

    def validate(self) -> None:
        if self.tolerance is not None or self.forever:
            return
        for node in topological([self.inputs[RIGHT]]):
            if isinstance(node, SourceNode) and not node.source.bounded:
                raise BuildError(
                    "an as-of join with a source without an end would keep a row of every key for ever",
                    expected='tolerance=, such as tolerance="1h": a match is no older than that',
                    got=f"no tolerance=, and {node.describe() or node.label}",
                    hint="if the keys are few, say tolerance=sl.FOREVER",
                )

    @cached_property
    def on(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The key columns of either side."""
        left, right = self.inputs
        return paired_keys(left, right, self.left_on, self.right_on)

    @cached_property
    def key_fields(self) -> list[pa.Field]:
        """The keys as both sides are compared by."""
        (left, right), (left_on, right_on) = self.inputs, self.on
        return key_fields(left, right, left_on, right_on)

    @cached_property
    def right_columns(self) -> list[tuple[str, str]]:
        """The right columns that come out, with their names there."""
        left, right = self.inputs
        return right_names(left.schema, right.schema, self.on[RIGHT], self.suffix)

    @cached_property
    def late_left_schema(self) -> pa.Schema:
        """The columns of `.late_left`."""
        return late_schema(self.inputs[LEFT].schema, LEFT)

    @cached_property
    def late_right_schema(self) -> pa.Schema:
        """The columns of `.late_right`."""
        return late_schema(self.inputs[RIGHT].schema, RIGHT)

    @property
    def reach(self) -> int:
        """How far behind a left row's time its match may lie, ns: so much longer it waits."""
        return 0 if self.direction == "backward" or self.tolerance is None else self.tolerance

    @cached_property
    def sorts(self) -> bool:
        """Whether right rows are results, which carry no order: all their columns decide ties."""
        return not from_input(self.inputs[RIGHT])[0]

    @property
    def reads_order(self) -> bool:
        """Whether right rows carry what decides between those of one time."""
        return not self.sorts

    def exchange_keys(self, side: int) -> tuple[str, ...]:
        return self.on[side]

    def state_keys(self, table: str) -> tuple[str, ...]:
        return self.on[LEFT if table == "left" else RIGHT]

    def state_bound(self) -> str:
        return "keys" if self.tolerance is None else "within x rate"

    def describe(self) -> str:
        left, right = self.on
        parts = [
            name if name == other else f"{name}={other}" for name, other in zip(left, right, strict=True)
        ]
        if self.direction != "backward":
            parts.append(f"direction={self.direction!r}")
        if self.forever or self.tolerance is not None:
            shown = "FOREVER" if self.tolerance is None else repr(format_duration(self.tolerance))
            parts.append(f"tolerance={shown}")
        if self.how != "left":
            parts.append(f"how={self.how!r}")
        if not self.allow_exact:
            parts.append("allow_exact=False")
        if self.allowed_lateness:
            parts.append(f"allowed_lateness={format_duration(self.allowed_lateness)!r}")
        return ", ".join(parts)

    def columns_out(self, wanted: frozenset[str] | None) -> tuple[list[str], list[tuple[str, str]]]:
        """The left columns that come out when `wanted` are read, and the right ones; at least one."""
        left = [name for name in self.inputs[LEFT].schema.names if wanted is None or name in wanted]
        right = [(own, out) for own, out in self.right_columns if wanted is None or out in wanted]
        return left if left or right else self.inputs[LEFT].schema.names[:1], right

    def columns_in(self, wanted: frozenset[str] | None) -> tuple[list[str], list[str]]:
        """The columns that are needed of either side: at least one, so that rows can be counted."""
        left, right = self.inputs[LEFT].schema.names, self.inputs[RIGHT].schema.names
        mine, others = self.columns_out(wanted)
        needed = {*mine, *self.on[LEFT]}, {*(own for own, _ in others), *self.on[RIGHT]}
        return (
            [name for name in left if name in needed[LEFT]] or left[:1],
            [name for name in right if self.sorts or name in needed[RIGHT]] or right[:1],
        )

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        left, right = self.columns_in(wanted)
        return [frozenset(left), frozenset(right)]

    def build(self, context: BuildContext) -> Operator:
        from streamlib.operators.joins.asof_operator import AsOfJoinOperator

        return AsOfJoinOperator(self, context)
