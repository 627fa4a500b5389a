"""What the interval join and the window join have in common: the columns that go in and come out.

`how` is as in SQL: ``inner``, ``left``, ``right``, ``full``, and ``semi`` and ``anti``, which give rows of
the left side only, those with a match and those without. A condition `where` over both sides' columns
belongs to the match: it is decided before a row counts as one without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import pyarrow as pa

from streamlib.aggregates.accumulators import kept_type
from streamlib.elements import format_duration
from streamlib.errors import BuildError, ColumnNotFoundError, TypeMismatchError
from streamlib.expr import Expr, refuse_aggregate
from streamlib.graph import Node
from streamlib.operators.joins.sides import (
    LEFT,
    NAMES,
    RIGHT,
    key_fields,
    paired_keys,
    plain_schema,
    right_names,
)

How = Literal["inner", "left", "right", "full", "semi", "anti"]
HOWS = ("inner", "left", "right", "full", "semi", "anti")


@dataclass(frozen=True, eq=False, kw_only=True)
class TwoSidedJoinNode(Node):
    """Joins rows of two inputs that have equal keys.

    Attributes:
        left_on: key columns of the first input; None for those it is keyed by.
        right_on: those of the second; None for the same.
        how: which rows come out; see the module.
        suffix: of right columns whose name is taken.
        where: a further condition of a match, over the columns of both sides; None for none.
        allowed_lateness: ns.
    """

    kind: ClassVar[str] = "join"
    exchange_by: ClassVar[bool] = True
    goes_by_keys: ClassVar[bool] = False
    left_on: tuple[str, ...] | None = None
    right_on: tuple[str, ...] | None = None
    how: How = "inner"
    suffix: str = "_right"
    where: Expr | None = None
    allowed_lateness: int = 0

    def derive_schema(self) -> pa.Schema:
        for side, node in zip(NAMES, self.inputs, strict=True):
            if not node.timed:
                raise BuildError(
                    "a join needs event time on both sides",
                    got=f"a {side} side without event time",
                    hint='add .event_time("ts", max_delay="2s") after its source',
                )
        if self.how not in HOWS:
            raise BuildError("no such how", expected=", ".join(HOWS), got=repr(self.how))
        if self.allowed_lateness < 0:
            raise BuildError(
                "allowed_lateness= must not be negative", got=format_duration(self.allowed_lateness)
            )
        left, right = (plain_schema(node.schema) for node in self.inputs)
        fields, keys = list(left), dict(zip(self.on[LEFT], self.key_fields, strict=True))
        if self.gives_right_alone:
            fields = [
                pa.field(field.name, keys[field.name].type) if field.name in keys else field
                for field in fields
            ]
        if self.gives_right:
            fields += [pa.field(out, right.field(own).type) for own, out in self.right_columns]
        self._check_kept()
        self._check_where()
        return pa.schema(fields)

    def _check_kept(self) -> None:
        for side, node in zip(NAMES, self.inputs, strict=True):
            for field in plain_schema(node.schema):
                if kept_type(field.type) is None:
                    raise TypeMismatchError(
                        f"column {field.name!r} of the {side} side cannot be kept",
                        expected="a type whose rows can be taken one by one",
                        got=str(field.type),
                        hint=f'drop it before the join: .drop("{field.name}")',
                    )

    def _check_where(self) -> None:
        if self.where is None:
            return
        if not isinstance(self.where, Expr):
            raise BuildError(
                "where= is a condition over the columns of both sides",
                expected=f'such as col("amount") <= col("limit{self.suffix}")',
                got=repr(self.where),
            )
        refuse_aggregate(self.where)
        try:
            kind = self.where.type_in(self.where_schema)
        except ColumnNotFoundError as error:
            error.hint = error.hint or f"columns of the right side whose name is taken end in {self.suffix!r}"
            raise
        if not (pa.types.is_boolean(kind) or pa.types.is_null(kind)):
            raise TypeMismatchError(
                f"where= needs a condition: {self.where} is not true or false",
                expected="bool",
                got=str(kind),
            )

    # Which rows come out.

    @property
    def gives_right(self) -> bool:
        """Whether columns of the right side come out."""
        return self.how not in ("semi", "anti")

    @property
    def gives_left_alone(self) -> bool:
        """Whether left rows without a match come out."""
        return self.how in ("left", "full", "anti")

    @property
    def gives_right_alone(self) -> bool:
        """Whether right rows without a match come out."""
        return self.how in ("right", "full")

    # Columns.

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
        """The right columns that can come out, with their names there."""
        left, right = self.inputs
        if self.gives_right:
            return right_names(left.schema, right.schema, self.on[RIGHT], self.suffix)
        names = [name for name in right.schema.names if name not in self.on[RIGHT]]
        return [(name, name + self.suffix if name in left.schema.names else name) for name in names]

    @cached_property
    def where_sides(self) -> dict[str, tuple[int, str]]:
        """What `where` can name: the side and the column that is meant."""
        left, _right = self.inputs
        named = {name: (LEFT, name) for name in left.schema.names}
        for own, out in self.right_columns:
            named.setdefault(out, (RIGHT, own))
        for key in self.on[RIGHT]:
            named.setdefault(key, (RIGHT, key))
        return named

    @cached_property
    def where_schema(self) -> pa.Schema:
        """The columns that `where` can name."""
        plain = [plain_schema(node.schema) for node in self.inputs]
        return pa.schema(
            [pa.field(name, plain[side].field(own).type) for name, (side, own) in self.where_sides.items()]
        )

    def where_columns(self, side: int) -> set[str]:
        """The columns of a side that `where` reads."""
        if self.where is None:
            return set()
        found = (self.where_sides[name] for name in self.where.columns())
        return {own for at, own in found if at == side}

    def columns_out(self, wanted: frozenset[str] | None) -> tuple[list[str], list[tuple[str, str]]]:
        """The left columns that come out when `wanted` are read, and the right ones; at least one."""
        left = [name for name in self.inputs[LEFT].schema.names if wanted is None or name in wanted]
        right = [
            (own, out)
            for own, out in self.right_columns
            if self.gives_right and (wanted is None or out in wanted)
        ]
        return left if left or right else self.inputs[LEFT].schema.names[:1], right

    def columns_in(self, wanted: frozenset[str] | None) -> tuple[list[str], list[str]]:
        """The columns that are needed of either side: at least one, so that rows can be counted."""
        left, right = self.columns_out(wanted)
        needed = (
            {*left, *self.on[LEFT], *self.where_columns(LEFT)},
            {*(own for own, _ in right), *self.on[RIGHT], *self.where_columns(RIGHT)},
        )
        names = [node.schema.names for node in self.inputs]
        found = [[name for name in names[side] if name in needed[side]] for side in (LEFT, RIGHT)]
        return found[LEFT] or names[LEFT][:1], found[RIGHT] or names[RIGHT][:1]

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        left, right = self.columns_in(wanted)
        return [frozenset(left), frozenset(right)]

    def exchange_keys(self, side: int) -> tuple[str, ...]:
        return self.on[side]

    def state_keys(self, table: str) -> tuple[str, ...]:
        return self.on[NAMES.index(table)]

    def described(self, bound: str) -> str:
        """The options, with what bounds the join."""
        left, right = self.on
        parts = [
            name if name == other else f"{name}={other}" for name, other in zip(left, right, strict=True)
        ]
        parts.append(bound)
        if self.how != "inner":
            parts.append(f"how={self.how!r}")
        if self.where is not None:
            parts.append(f"where={self.where}")
        if self.allowed_lateness:
            parts.append(f"allowed_lateness={format_duration(self.allowed_lateness)!r}")
        return ", ".join(parts)
