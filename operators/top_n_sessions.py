"""What runs for `top_n` over sessions: the first rows of each session, as rows of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from streamlib.elements import Batch
from streamlib.graph import BuildContext
from streamlib.operators.windows.session import SessionAggregateNode
from streamlib.operators.windows.session_operator import SessionOperator
from streamlib.state import ClosedSessions

if TYPE_CHECKING:
    from streamlib.operators.top_n import RankedResults


class RankedSessionOperator(SessionOperator):
    """The open sessions of one worker's keys, of which the first rows come out.

    Args:
        inner: the aggregation of each session's first rows as a list.
        context: of the run.
        ranked: makes rows of lists.
    """

    def __init__(self, inner: SessionAggregateNode, context: BuildContext, ranked: RankedResults) -> None:
        super().__init__(inner, context)
        self.ranked = ranked

    def _emit(self, parts: Iterable[ClosedSessions]) -> Iterator[Batch]:
        for batch in super()._emit(parts):
            yield from self.ranked.of(batch)
