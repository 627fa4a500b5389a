"""`map_async`: an `async` function of the user's, called for many rows at a time.

A row keeps its time, its mark and its order. Rows come out in the order in which they came, or each as
its answer comes; the watermark sent on is min(W, times under way). At a barrier, and where the input
goes idle or ends, the rows under way are waited for: so no call is part of a snapshot, and a restore
calls again only for rows that had not left before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from streamlib.contracts import Operator
from streamlib.elements import format_duration
from streamlib.errors import BuildError, Retry
from streamlib.graph import BuildContext
from streamlib.operators.map_rows import MapRowsNode

CONCURRENCY_MAX = 100_000


@dataclass(frozen=True, eq=False, kw_only=True)
class MapAsyncNode(MapRowsNode):
    """Calls an `async` function for each row.

    Attributes:
        concurrency: how many rows each worker calls for at a time.
        ordered: whether rows come out in the order in which they came.
        timeout: of each call, ns; None for none.
        retry: how often a call that failed is made again.
    """

    kind: ClassVar[str] = "map_async"
    refuses = "checked"
    concurrency: int = 100
    ordered: bool = True
    timeout: int | None = None
    retry: Retry | None = None

    @property
    def label(self) -> str:
        return self.name or self.kind

    def validate(self) -> None:
        super().validate()
        if type(self.concurrency) is not int or not 1 <= self.concurrency <= CONCURRENCY_MAX:
            raise BuildError(
                "concurrency= is a number of rows",
                expected=f"1 to {CONCURRENCY_MAX:,}",
                got=repr(self.concurrency),
            )
        if self.timeout is not None and self.timeout <= 0:
            raise BuildError("timeout= must be longer than zero", got=format_duration(self.timeout))
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise BuildError(
                "retry= needs a Retry", expected="such as sl.Retry(attempts=3)", got=repr(self.retry)
            )

    def describe(self) -> str:
        parts = [self.callee.short, f"concurrency={self.concurrency}"]
        if not self.ordered:
            parts.append("ordered=False")
        parts.append(f"timeout={None if self.timeout is None else format_duration(self.timeout)!r}")
        if self.retry is not None:
            parts.append(f"retry={self.retry!r}")
        return ", ".join(parts)

    def timing_because(self) -> str | None:
        return f"{self.label}: a lookup outside"

    def build(self, context: BuildContext) -> Operator:
        from streamlib.operators.map_async.async_operator import MapAsyncOperator

        return MapAsyncOperator(self, context)


@dataclass(frozen=True, eq=False, kw_only=True)
class MapAsyncUnorderedNode(MapAsyncNode):
    """The same, with rows that come out as their answers come."""

    interleaves: ClassVar[bool] = True
    ordered: bool = False
