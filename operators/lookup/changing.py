"""`lookup_join` with a table that changes: each row is completed from the state as of its event time.

The state as of t has all rows of the table's input with times up to t, t included: what a backward
as-of join finds among the states of the table, provided that there is one for each key and time. Of
`latest` these are the rows themselves; a running aggregate has a step that yields all of them
(`history`). A key whose time to live has passed is not found: its last row is further away than that.

A row waits until the watermark of the table's input has passed it, and comes out once (SEMANTICS 4,
as-of backward).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.contracts import Operator, Output
from streamlib.elements import Batch
from streamlib.errors import BuildError
from streamlib.graph import BuildContext, Node
from streamlib.operators.input_rows import from_input
from streamlib.operators.joins.asof import AsOfJoinNode
from streamlib.operators.joins.asof_operator import AsOfJoinOperator
from streamlib.operators.joins.sides import LEFT, RIGHT, right_names
from streamlib.operators.lookup.history import HistoryNode
from streamlib.operators.lookup.join import How, check_how, described
from streamlib.operators.own_state.fold import FoldNode
from streamlib.operators.tables.latest import LatestNode
from streamlib.operators.tables.running import RunningAggregateNode, TableNode
from streamlib.operators.tables.table_step import CHANGE, DELETE, TableStep


def states_of(table: TableStep) -> Node:
    """A step that yields each state of the table: of each key and time the last row counts.

    Raises:
        BuildError: the table has several rows of a key, such as one for each window or rank.
    """
    if not isinstance(table, LatestNode | RunningAggregateNode | FoldNode):
        raise BuildError(
            f"a table by {', '.join(table.table_keys)} cannot be looked up",
            expected="one with a row per key: of .latest(), .fold(...), or .agg(...) without a window",
            got=table.label,
            hint='results of windows with emit="final" are a stream, which asof_join looks into',
        )
    if isinstance(table, LatestNode):
        return table.inputs[0]
    if isinstance(table, RunningAggregateNode):
        return HistoryNode(
            inputs=table.inputs,
            at=table.at,
            on_error=table.on_error,
            aggregates=table.aggregates,
            ttl=table.ttl,
            forever=table.forever,
        )
    return replace(table, max_rate=1, name=None)  # a change for each key and time


@dataclass(frozen=True, eq=False, kw_only=True)
class TableLookupNode(AsOfJoinNode):
    """Completes each row of the first input from a table, whose states are the second.

    Attributes:
        table: which.
        kept: ``left`` keeps rows without a match, ``inner`` drops them; ``semi`` and ``anti`` only choose.
    """

    kind: ClassVar[str] = "lookup_join"
    table: TableNode
    kept: How = "left"

    @classmethod
    def of(cls, left: Node, states: Node, table: TableStep, kept: How, **options: Any) -> TableLookupNode:
        """The step, for what `states_of` gave of the table."""
        assert isinstance(table, TableNode), "states_of says which tables there are"
        return cls(
            inputs=(left, states),
            table=table,
            kept=kept,
            tolerance=table.ttl,
            forever=table.ttl is None,
            **options,
        )

    def derive_schema(self) -> pa.Schema:
        check_how(self.kept)
        if not self.inputs[LEFT].timed:
            raise BuildError(
                "a table that changes is looked up as of the event time of each row",
                expected="a stream with .event_time(...) before this step",
                got="a stream without event time",
            )
        return super().derive_schema()

    @cached_property
    def right_columns(self) -> list[tuple[str, str]]:
        if self.kept in ("semi", "anti"):
            return []
        left, table = self.inputs[LEFT].schema, self.table.table_schema
        return right_names(left, table, self.on[RIGHT], self.suffix)

    @property
    def is_history(self) -> bool:
        """Whether the states are changes of a table."""
        return isinstance(self.inputs[RIGHT], TableNode)

    @cached_property
    def sorts(self) -> bool:
        if self.is_history:
            return False  # no two of a key have one time, so nothing decides between them
        return not from_input(self.inputs[RIGHT])[0]

    @property
    def reads_order(self) -> bool:
        return not self.is_history and not self.sorts

    def describe(self) -> str:
        return f"{described(*self.on, self.kept)}; as of {self.table.label}"

    def build(self, context: BuildContext) -> Operator:
        return TableLookupOperator(self, context)


class TableLookupOperator(AsOfJoinOperator):
    """An as-of join that knows which rows to keep, and that a deleted row is none."""

    def __init__(self, node: TableLookupNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self.kept = node.kept
        self.deletes = node.is_history and node.table.ttl is not None

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """As that of an as-of join, without the rows that say that a key has gone."""
        if side == RIGHT and self.deletes:
            batch = batch.filter(np.asarray(pc.not_equal(batch.rows.column(CHANGE), DELETE)))
        return super().on_batch(batch, side)

    def _results(self, batch: Batch, found: npt.NDArray[np.int64]) -> Iterator[Batch]:
        if self.kept != "left":
            keep = found < 0 if self.kept == "anti" else found >= 0
            if not keep.all():
                batch, found = batch.filter(keep), found[keep]
        return super()._results(batch, found)
