"""`Stream` and `KeyedStream`: each method builds one node; what a step means is written on its node.

A stream is rows that never change. Methods return new streams; the one they are called on stays as
it was, so that several steps may read it.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

import pyarrow as pa

from streamlib.contracts import Format, OverlappingWindow, Sink, Window
from streamlib.elements import duration_ns
from streamlib.errors import BuildError, user_location
from streamlib.eventtime import IdlePolicy
from streamlib.expr import Expr, col, named_exprs, to_expr
from streamlib.graph import SideNode, SinkNode, is_endless
from streamlib.streams.dedup import DedupVerbs
from streamlib.streams.effects import EffectVerbs
from streamlib.streams.errors import ErrorVerbs
from streamlib.streams.foreign import ForeignVerbs
from streamlib.streams.functions import FunctionVerbs
from streamlib.streams.gaps import GapVerbs
from streamlib.streams.joins import JoinVerbs
from streamlib.streams.looking import LookingVerbs
from streamlib.streams.lookups import LookupVerbs
from streamlib.streams.ordered import OrderedVerbs
from streamlib.streams.processes import ProcessVerbs
from streamlib.streams.rows import RowVerbs
from streamlib.streams.running import RunningVerbs
from streamlib.streams.sockets import SocketVerbs
from streamlib.streams.stateful import StatefulVerbs
from streamlib.streams.top_n import TopNVerbs
from streamlib.workers import Processes

if TYPE_CHECKING:
    from streamlib.operators.windows.rows import RowWindow, SumWindow
    from streamlib.operators.windows.session import SessionWindow
    from streamlib.streams.table import Forever
    from streamlib.streams.windowed import WindowedStream, WindowedUpdates

T = TypeVar("T")


class UntilEnd:
    """The type of `UNTIL_END`."""

    def __repr__(self) -> str:
        return "UNTIL_END"


UNTIL_END = UntilEnd()
"""A `max_delay` for batch work: the watermark waits for the end of the input, and no row is late."""


class Stream(
    LookingVerbs,
    RowVerbs,
    FunctionVerbs,
    JoinVerbs,
    LookupVerbs,
    DedupVerbs,
    TopNVerbs,
    EffectVerbs,
    ErrorVerbs,
    SocketVerbs,
    GapVerbs,
    ForeignVerbs,
):
    """Rows that never change, on their way."""

    # Time.

    def event_time(
        self,
        column: str,
        max_delay: str | dt.timedelta | UntilEnd | None = None,
        per: str | Sequence[str] | None = None,
        idle: Literal["wait", "leave", "advance"] = "wait",
        idle_after: str | dt.timedelta = "30s",
        max_jump: str | dt.timedelta | None = None,
    ) -> Stream:
        """Says which column is the time at which a row's event happened.

        Args:
            column: a timestamp (without a zone: UTC) or date column, without nulls.
            max_delay: how far a row may be behind the latest row of its split and still be on time;
                `sl.UNTIL_END` to wait for the end of the input. Windows close that much later.
            per: columns whose every value is a split of its own, with its own progress.
            idle: what a silent split does to the watermark: it is waited for, it is left out after
                `idle_after`, or the watermark advances with the wall clock.
            idle_after: silence after which a split is idle.
            max_jump: a row that jumps further ahead than this must be confirmed by the next one.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([0, 1], pa.timestamp("s")), "v": [1, 2]})
        >>> sl.read_arrow(rows).event_time("ts", max_delay="2s").schema.names
        ['ts', 'v']
        """
        from streamlib.operators.event_time import EventTimeNode

        if max_delay is None:
            raise BuildError(
                "event_time needs max_delay: how far rows may be out of order",
                at=user_location(),
                expected='such as max_delay="2s", or max_delay=sl.UNTIL_END to wait for the end of the input',
                hint="the report of a run says which value would have kept late rows",
            )
        per_columns = (per,) if isinstance(per, str) else tuple(per or ())
        choices = [policy.value for policy in IdlePolicy]
        if idle not in choices:
            raise BuildError(
                "no such idle policy", at=user_location(), expected=", ".join(choices), got=repr(idle)
            )
        return Stream(
            EventTimeNode(
                inputs=(self._node,),
                at=user_location(),
                column=column,
                max_delay=None if isinstance(max_delay, UntilEnd) else _duration(max_delay, "max_delay"),
                per=per_columns,
                idle=IdlePolicy(idle),
                idle_after=_duration(idle_after, "idle_after"),
                max_jump=None if max_jump is None else _duration(max_jump, "max_jump"),
            )
        )

    # Rows.

    def filter(self, predicate: Expr | str) -> Self:
        """Keeps the rows for which `predicate`, or the column of this name, is true (null counts as false).

        >>> import pyarrow as pa, streamlib as sl
        >>> sl.read_arrow(pa.table({"n": [1, None, 3]})).filter(sl.col("n") > 1).collect().to_pydict()
        {'n': [3]}
        """
        from streamlib.operators.filter import FilterNode

        at, chosen = user_location(), col(predicate) if isinstance(predicate, str) else to_expr(predicate)
        return type(self)(FilterNode(inputs=(self._node,), at=at, predicate=chosen))

    def select(self, *exprs: Expr | str, **named: Any) -> Self:
        """Only the given columns: names, expressions, or new names for them as keywords.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = sl.read_arrow(pa.table({"price": [2.0], "volume": [3]}))
        >>> rows.select("price", turnover=sl.col("price") * sl.col("volume")).collect().to_pydict()
        {'price': [2.0], 'turnover': [6.0]}
        """
        return self._select(exprs, named, keep=False)

    def with_columns(self, *exprs: Expr | str, **named: Any) -> Self:
        """All columns, and the given ones added or replaced.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = sl.read_arrow(pa.table({"price": [2.0]}))
        >>> rows.with_columns(double=sl.col("price") * 2).collect().to_pydict()
        {'price': [2.0], 'double': [4.0]}
        """
        return self._select(exprs, named, keep=True)

    def _select(self, exprs: tuple[Expr | str, ...], named: dict[str, Any], keep: bool) -> Self:
        from streamlib.operators.projection import SelectNode

        at = user_location()
        with _AtLine("with_columns" if keep else "select"):
            chosen = named_exprs(exprs, named)
        node = SelectNode(inputs=(self._node,), at=at, exprs=chosen, keep=keep)
        return type(self)(node)

    def union(self, *others: Stream) -> Stream:
        """The rows of this stream and the others; all have the same columns.

        It is keyed where all of them are, by the same columns.

        >>> import pyarrow as pa, streamlib as sl
        >>> one, two = sl.read_arrow(pa.table({"n": [1]})), sl.read_arrow(pa.table({"n": [2]}))
        >>> one.union(two).collect().num_rows
        2
        """
        from streamlib.operators.union import UnionNode

        nodes = (self._node, *(other._node for other in others))
        node = UnionNode(inputs=nodes, at=user_location())
        return KeyedStream(node) if node.keys else Stream(node)

    def pipe(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """`function(stream, *args, **kwargs)`: for steps of one's own in a chain."""
        return function(self, *args, **kwargs)

    # Keys and windows.

    def key_by(self, *columns: str, **named: Any) -> KeyedStream:
        """Says which rows belong together: the steps that follow keep state for each key.

        A stream stays keyed while its key columns stay, also under other names. Where a step lets go of one,
        steps that work by key are refused, until it is said anew which rows belong together: by
        ``key_by(...)``, or by ``key_by()`` for all rows as one.

        Args:
            columns: key columns. None on a keyed stream: from here it has no keys.
            named: key columns computed by expressions, added under these names.

        Raises:
            BuildError: no column, on a stream that was never keyed; a column that cannot be a key.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([1, 2], pa.timestamp("s")), "k": ["a", "b"], "v": [1, 2]})
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
        >>> sums = keyed.select("v", key="k").window(sl.tumbling("10s")).agg(v=sl.col("v").sum())
        >>> sums.select("key", "v").collect().to_pylist()
        [{'key': 'a', 'v': 1}, {'key': 'b', 'v': 2}]
        >>> sums.key_by().window(sl.same_window()).agg(v=sl.col("v").sum()).collect()["v"].to_pylist()
        [3]
        """
        from streamlib.operators.key_by import KeyByNode

        stream = self.with_columns(**named) if named else self
        return KeyedStream(KeyByNode(inputs=(stream._node,), at=user_location(), columns=(*columns, *named)))

    @overload
    def window(
        self,
        window: Window | OverlappingWindow | SessionWindow | RowWindow | SumWindow,
        allowed_lateness: str | dt.timedelta = "0s",
        emit: Literal["final"] = "final",
        early: None = None,
        ttl: str | dt.timedelta | Forever | None = None,
    ) -> WindowedStream: ...

    @overload
    def window(
        self,
        window: Window | OverlappingWindow | SessionWindow,
        allowed_lateness: str | dt.timedelta = "0s",
        *,
        emit: Literal["updates"],
        early: str | dt.timedelta | None = None,
    ) -> WindowedUpdates: ...

    def window(
        self,
        window: Window | OverlappingWindow | SessionWindow | RowWindow | SumWindow,
        allowed_lateness: str | dt.timedelta = "0s",
        emit: Literal["final", "updates"] = "final",
        early: str | dt.timedelta | None = None,
        ttl: str | dt.timedelta | Forever | None = None,
    ) -> WindowedStream | WindowedUpdates:
        """Groups rows by event time, to be aggregated by `.agg(...)`.

        Args:
            window: such as ``sl.tumbling("10s")``.
            allowed_lateness: how long after its end a window still takes late rows.
            emit: ``final`` gives a stream: results come out once, when the watermark passes the window's end
                and the allowed lateness. ``updates`` gives a table: a row when the watermark passes the
                window's end, and one correction when it passes the allowed lateness too, if later rows
                changed it.
            early: with ``updates``: previews of open windows, for each key and window at most one in each
                span of event time of this length.
            ttl: of windows by rows and sums: a key without rows for longer than this, in event time,
                begins anew. `sl.FOREVER` keeps every key; an input without an end needs one of both.

        Raises:
            BuildError: a duration of no sense, or `early` without ``emit="updates"``.
        """
        from streamlib.operators.windows.rows import RowWindow, SumWindow
        from streamlib.streams.windowed import WindowedStream, WindowedUpdates

        lateness = _duration(allowed_lateness, "allowed_lateness")
        if isinstance(window, RowWindow | SumWindow):
            from streamlib.streams.row_windows import row_windowed

            return row_windowed(self._node, window, lateness, ttl, emit, early)
        if ttl is not None:
            raise BuildError(
                "windows by time need no ttl=",
                at=user_location(),
                step="window",
                got=f"ttl={ttl!r}",
                hint="what they keep of a key goes with its last window",
            )
        if emit == "updates":
            span = None if early is None else _duration(early, "early")
            return WindowedUpdates(self._node, window, lateness, span)
        if emit != "final":
            raise BuildError(
                "emit= says when results come out",
                at=user_location(),
                step="window",
                expected="'final' or 'updates'",
                got=repr(emit),
            )
        if early is not None:
            raise BuildError(
                "previews are replaced later, and the rows of a stream never change",
                at=user_location(),
                step="window",
                expected="a table, whose rows are replaced",
                got=f"early={early!r} with emit='final'",
                hint='add emit="updates"',
            )
        return WindowedStream(self._node, window, lateness)

    @property
    def late(self) -> Stream:
        """The input rows that came too late for the window step before this, once each.

        Columns: those of the input, ``late_by`` (by how much its mark had passed the closing of its
        first missed window: more than that as additional `max_delay` would have kept it),
        ``windows_late`` and the bounds of that window, ``window_start`` and ``window_end``.
        """
        schema = getattr(self._node, "late_schema", None)
        if schema is None:
            raise BuildError(
                "only the result of a window step has late rows",
                at=user_location(),
                step=self._node.label,
                hint="call .late on what .agg(...) returned",
            )
        time = self._node.inputs[0].time
        return Stream(
            SideNode(inputs=(self._node,), at=user_location(), tag="late", side_schema=schema, side_time=time)
        )

    # Any step.

    def named(self, name: str) -> Self:
        """Names the step before: in messages, the report and `explain()`, and as its identity.

        The step has one name: other streams that lead from it show it too.
        """
        object.__setattr__(self._node, "name", name)
        return self

    # Sinks.

    def write(self, sink: Sink) -> SinkNode:
        """Writes to any sink (see `streamlib.contracts.Sink`). Nothing is run before `sl.run`."""
        return _made(SinkNode(inputs=(self._node,), at=user_location(), sink=sink))

    def write_files(
        self,
        path: str | os.PathLike[str],
        format: str | Format | None = None,
        *,
        partition_by: str | Sequence[str] = (),
        roll: int | None = None,
        if_exists: Literal["error", "replace", "append"] = "error",
    ) -> SinkNode:
        """Writes files that appear whole, when the run has succeeded, or not at all.

        A run over endless input has succeeded when it is stopped. What must be seen before that goes to
        `for_each_batch`, to a socket, or to a sink of one's own.

        Args:
            path: a folder, or a single file when it has the ending of a format.
            format: ``csv``, ``jsonl``, ``parquet`` or ``arrow``; by the file's ending when None.
            partition_by: columns whose values become folders ``column=value``.
            roll: begin a new file after this many rows.
            if_exists: what to do where there is output already.
        """
        from streamlib.connectors.files.sink import FileSink

        columns = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
        with _AtLine("write_files"):
            sink = FileSink(path, format=format, partition_by=columns, roll=roll, if_exists=if_exists)
        return self.write(sink)

    def print(self, rows: int = 20) -> SinkNode:
        """Prints the first `rows` rows as a table, and how many more there were, when the run has ended.

        A run over endless input ends when it is stopped: of such a one each of these rows is printed when
        it comes. `iter_batches` has them all, and ``for_each(print)`` prints them all.
        """
        from streamlib.connectors.console import PrintSink

        return self.write(PrintSink(rows=rows, live=is_endless(self._node)))

    def collect(self, workers: int | Processes = 1, batch_rows: int = 65_536) -> pa.Table:
        """Runs the stream and returns all its rows, sorted by event time, key and position.

        Streams without event time keep the order of their input where one worker runs them.
        """
        from streamlib.job import collect

        return collect(self._node, workers=workers, batch_rows=batch_rows)


class KeyedStream(OrderedVerbs, ProcessVerbs, RunningVerbs, StatefulVerbs, Stream):
    """A stream whose rows belong to keys."""


def _made(sink: SinkNode) -> SinkNode:
    from streamlib.graph.never_run import remember

    remember(sink)
    return sink


def _duration(value: str | dt.timedelta, what: str) -> int:
    with _AtLine(what):
        return duration_ns(value, what)


class _AtLine:
    """Names the user's line in errors that are raised before there is a node."""

    def __init__(self, step: str) -> None:
        self.step = step

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from streamlib.errors import StreamlibError

        if isinstance(error, StreamlibError):
            error.in_step(self.step, user_location())
