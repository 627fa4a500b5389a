"""Rows that come again: a verb of `Stream`. What it means stands on its node, in `streamlib.operators.dedup`."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Literal, Self

from streamlib.elements import duration_ns
from streamlib.errors import BuildError, StreamlibError, user_location
from streamlib.graph import Node, SideNode

if TYPE_CHECKING:
    from streamlib.streams.stream import Stream
    from streamlib.streams.table import Forever


class DedupVerbs:
    """`dedup`, and the rows that it drops."""

    _node: Node

    if TYPE_CHECKING:

        def __init__(self, node: Node) -> None: ...

    def dedup(
        self,
        *ids: str,
        within: str | dt.timedelta | Forever | None = None,
        keep: Literal["first", "last", "any"] = "first",
        allowed_lateness: str | dt.timedelta = "0s",
    ) -> Self:
        """Drops rows whose id came before: of each id one row comes out, within some time.

        The first row of an id opens a run. Rows of the same id up to `within` later, in event time, the
        end included, belong to it; the next one after that opens a new run. `keep` chooses the row of a
        run that comes out. The time counts from the row that opened the run: repeats do not prolong it.
        `.duplicates` are the other rows.

        Ids are compared exactly. Null is an id, all NaN are one, and so are 0.0 and -0.0.

        Args:
            ids: the columns that are an id together. On a keyed stream the keys belong to every id, and
                may be all of it.
            within: how long a run is, such as ``"10m"``; so long an id is kept in memory. An input
                without an end needs it, or `sl.FOREVER` where the ids are few. None: as long as the input.
            keep: ``"first"``: the first row by event time, then by place in the input, when the watermark
                has passed it. ``"last"``: the last one, when the watermark has passed the end of the run.
                ``"any"``: what arrives first, at once; which row of an id that is can be timing, which ids
                come out is not. Here a row is also dropped when the one that came out is up to `within` later.
            allowed_lateness: how much longer rows wait for others that come late, and are not late themselves.

        Raises:
            BuildError: no id, or an input without an end and no `within`.
            TypeMismatchError: a list or struct as an id.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([1, 2, 3, 99], pa.timestamp("s")), "id": [7, 8, 7, 7], "n": [1, 2, 3, 4]})
        >>> trades = sl.read_arrow(rows).event_time("ts", max_delay="2s").dedup("id", within="10s")
        >>> trades.select("id", "n").collect().to_pylist()
        [{'id': 7, 'n': 1}, {'id': 8, 'n': 2}, {'id': 7, 'n': 4}]
        >>> trades.duplicates.collect()["n"].to_pylist()
        [3]
        """
        from streamlib.operators.dedup import KEEPS, DedupNode
        from streamlib.streams.table import Forever

        at = user_location()
        try:
            if keep not in KEEPS:
                raise BuildError(
                    "no such way to choose a row", expected=", ".join(map(repr, KEEPS)), got=f"keep={keep!r}"
                )
            forever = isinstance(within, Forever)
            span = None if within is None or isinstance(within, Forever) else duration_ns(within, "within")
            lateness = duration_ns(allowed_lateness, "allowed_lateness")
        except StreamlibError as error:
            raise error.in_step("dedup", at) from None
        node = DedupNode(
            inputs=(self._node,),
            at=at,
            ids=ids,
            within=span,
            forever=forever,
            keep=keep,
            allowed_lateness=lateness,
        )
        return type(self)(node)

    @property
    def duplicates(self) -> Stream:
        """The rows that `dedup` before this dropped, with their own columns and time.

        Raises:
            BuildError: the step before is no `dedup`.
        """
        from streamlib.operators.dedup import DUPLICATES, DedupNode
        from streamlib.streams.stream import Stream

        node = self._node
        if not isinstance(node, DedupNode):
            raise BuildError(
                "only the result of dedup has duplicates",
                at=user_location(),
                step=node.label,
                hint="call .duplicates on what .dedup(...) returned",
            )
        return Stream(
            SideNode(
                inputs=(node,),
                at=user_location(),
                tag=DUPLICATES,
                side_schema=node.duplicates_schema,
                side_time=node.time,
            )
        )
