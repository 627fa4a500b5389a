"""Windows whose results are a table: a row when the watermark reaches a window's end, and one correction.

Which rows the first result has follows from their marks, as lateness does: those that would not be
late without allowed lateness. The rows that are taken after that, because of it, are the correction's.
So revision 0 is what the window would have given without `allowed_lateness`, and where it is corrected,
revision 1 is what ``emit="final"`` gives. Both, and whether there is a correction at all, are functions
of the input, however the rows of several splits come together.

Previews of open windows (`early`) have what has come so far: which of them are seen is timing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from streamlib.contracts import Operator
from streamlib.elements import format_duration
from streamlib.errors import BuildError
from streamlib.graph import BuildContext
from streamlib.operators.input_rows import from_input
from streamlib.operators.tables.table_step import CHANGE, TableStep
from streamlib.operators.windows.node import WindowAggregateNode
from streamlib.operators.windows.results import BOUNDS
from streamlib.operators.windows.session import SessionAggregateNode

REVISION = "revision"
"""0 for a window's first result, 1 for its correction, null for a preview."""


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowTableNode(WindowAggregateNode, TableStep):
    """Aggregates rows by key and window, into a table with a row for each.

    Attributes:
        early: at most one preview per key and window in each span of event time of this length, ns;
            None for none.
    """

    early: int | None = None

    def derive_schema(self) -> pa.Schema:
        schema = super().derive_schema()
        for name in (REVISION, CHANGE):
            if name in schema.names:
                raise BuildError(
                    f"the name {name!r} is taken",
                    hint=f'results with emit="updates" have a column {name!r}: choose another name',
                )
        if self.allowed_lateness and self.sorts and from_input(self.inputs[0])[1]:
            raise BuildError(
                "first() and last() have no order among rows of the input and results together",
                expected="the one or the other, or no allowed_lateness",
                hint="aggregate each stream by itself before the union",
            )
        return pa.schema([*schema, pa.field(REVISION, pa.int64()), pa.field(CHANGE, pa.string())])

    def validate(self) -> None:
        if self.early is not None and self.early <= 0:
            raise BuildError("early= must be positive", got=format_duration(self.early))

    @property
    def result_schema(self) -> pa.Schema:
        """The columns of a window's result, without those that say what becomes of it."""
        return pa.schema(list(self.schema)[:-2])

    @property
    def table_keys(self) -> tuple[str, ...]:
        return (*self.keys, *BOUNDS)

    @property
    def combines(self) -> bool:  # type: ignore[override]
        """Previews show rows as they come."""
        return self.early is None and not self.sorts

    @property
    def closes_after(self) -> int:
        return 0

    @property
    def emission(self) -> str:
        early = "" if self.early is None else f", early={format_duration(self.early)!r}"
        return f', emit="updates"{early}'

    def history_because(self) -> str | None:
        return None if self.early is None else f"{self.label}: early updates"

    def build(self, context: BuildContext) -> Operator:
        from streamlib.operators.windows.updating import UpdatingOperator

        return UpdatingOperator(self, context, combine=False)

    def build_combiner(self, context: BuildContext) -> Operator:
        from streamlib.operators.windows.updating import UpdatingOperator

        return UpdatingOperator(self, context, combine=True)

    def build_merger(self, context: BuildContext) -> Operator:
        from streamlib.operators.windows.updating import UpdatingMerger

        return UpdatingMerger(self, context)


@dataclass(frozen=True, eq=False, kw_only=True)
class SessionTableNode(SessionAggregateNode, WindowTableNode):
    """Aggregates rows by key and session, into a table with a row for each.

    A row that comes late may make a session longer, or one of two. Its key in the table, which has
    the bounds, is then another one: so the sessions that it takes the place of are deleted.
    """

    combines: ClassVar[bool] = False

    def validate(self) -> None:
        super().validate()
        if self.allowed_lateness and self.window.max_length is not None:
            raise BuildError(
                "sessions with max_length and allowed_lateness cannot be corrected: a late row moves all later cuts",
                hint='say emit="final", leave out allowed_lateness, or give rows more time by max_delay',
            )

    def build(self, context: BuildContext) -> Operator:
        from streamlib.operators.windows.session_updates import SessionTableOperator

        return SessionTableOperator(self, context)
