"""`top_n`: of each key and window the rows in which an expression is largest, or smallest.

It is an aggregation by key and window: the top rows as one list, from which the others go while rows come,
and which becomes rows again when the window closes. So what is late, when results come out, what time they have
and how workers share the rows is as for any window.

Rows where the expression is null have no rank; NaN is the largest number. Ties go by (event time, split,
position), among results by event time and all columns: each row has a rank of its own, as by `row_number()`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates import TopKBy
from streamlib.aggregates.accumulators import has_order
from streamlib.contracts import Operator, OverlappingWindow, Window
from streamlib.elements import Batch, format_duration
from streamlib.errors import BuildError, TypeMismatchError
from streamlib.expr import Expr, col, struct
from streamlib.expr.aggregating import over_columns
from streamlib.graph import BuildContext, LostKeys, Node
from streamlib.kernels.columns import decoded_type
from streamlib.operators.windows.node import WindowAggregateNode
from streamlib.operators.windows.panes import Ripe, RipeTogether
from streamlib.operators.windows.results import BOUNDS, ResultBuilder
from streamlib.operators.windows.same_window import SameWindow
from streamlib.operators.windows.session import SessionAggregateNode, SessionWindow

Int64s = npt.NDArray[np.int64]

RANK = "rank"
"""The column behind keys and bounds: 1 for the first row of a key and window."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Which rows are the first ones.

    Attributes:
        n: how many of each key.
        by: what they are ranked by.
        descending: whether the largest comes first.
    """

    n: int
    by: Expr
    descending: bool = True

    def check(self, source: Node) -> None:
        """Raises BuildError where rows of `source` cannot be ranked."""
        if type(self.n) is not int or self.n < 1:
            raise BuildError("top_n() takes a number of rows", expected="1 or more", got=repr(self.n))
        if self.by.contains_aggregate:
            raise BuildError(
                f"by={self.by} is an aggregate", expected="an expression with a value for each row"
            )
        kind = self.by.type_in(source.schema)
        if not has_order(kind):
            raise TypeMismatchError(
                f"top_n() cannot rank by {self.by}",
                expected="numbers, decimals, booleans, strings, binary, dates, times or durations",
                got=str(kind),
            )
        if RANK in source.schema.names:
            raise BuildError(
                f"the name {RANK!r} is taken", hint=f'rename that column before: .rename({{"{RANK}": ...}})'
            )

    def first(self, source: pa.Schema, columns: Sequence[str]) -> Expr:
        """The aggregate: a list of structs of these columns, of the first rows."""
        together = struct(*(plain(source.field(name)) for name in columns)) if columns else struct(by=self.by)
        aggregate = TopKBy(self.n, smallest=not self.descending)
        return over_columns(aggregate, (together, self.by), f"{{0}}.top_k({self.n}, by={{1}})")

    def describe(self) -> str:
        """As the user wrote it."""
        return f"{self.n}, by={self.by}{'' if self.descending else ', descending=False'}"


def plain(column: pa.Field) -> Expr:
    """A column as it can be part of a struct: without its dictionary."""
    kind = decoded_type(column.type)
    if pa.types.is_string_view(kind):
        kind = pa.string()
    elif pa.types.is_binary_view(kind):
        kind = pa.binary()
    found = col(column.name)
    return found if kind == column.type else found.cast(kind).alias(column.name)


def plain_field(column: pa.Field) -> pa.Field:
    """The same as a field."""
    return pa.field(column.name, plain(column).type_in(pa.schema([column])))


@dataclass(frozen=True, eq=False, kw_only=True)
class Regrouped(Node):
    """Results of windows, without the bounds of their windows among the keys."""

    def derive_schema(self) -> pa.Schema:
        return self.inputs[0].schema

    def derive_keys(self) -> tuple[str, ...]:
        return tuple(key for key in self.inputs[0].keys if key not in BOUNDS)

    def derive_lost(self) -> LostKeys | None:
        return None

    def build(self, context: BuildContext) -> Operator:
        raise AssertionError("it says of other rows what they are, and is no step")


@dataclass(frozen=True, eq=False, kw_only=True)
class TopNNode(Node):
    """The first rows of each key and window: keys, the window's bounds, the rank, and all other columns.

    Attributes:
        ranking: which rows are the first.
        window: says which windows a row is in.
        allowed_lateness: how long after its end a window takes rows, ns.
    """

    kind: ClassVar[str] = "top_n"
    refuses = "checked"
    exchange_by: ClassVar[bool] = True
    makes_windows: ClassVar[bool] = True
    ranking: Ranking
    window: Window | OverlappingWindow | SessionWindow
    allowed_lateness: int = 0
    inner: WindowAggregateNode = field(init=False)
    """The aggregation that it is."""

    def derive_schema(self) -> pa.Schema:
        self.require_time("top_n by window")
        source = self.inputs[0]
        self.ranking.check(source)
        if not isinstance(self.window, SameWindow):
            taken = [name for name in BOUNDS if name in source.schema.names]
            if taken:
                raise BuildError(
                    f"the name {taken[0]!r} is taken: the result has the bounds of its own windows",
                    hint="rows of one window with one another: per=sl.same_window(); else rename the column",
                )
        self._set(inner=self.inner_of(None))
        *outer, _ = self.inner.schema
        others = [plain_field(f) for f in source.schema if f.name not in self.inner.schema.names]
        return pa.schema([*outer, pa.field(RANK, pa.int64()), *others])

    def inner_of(self, wanted: frozenset[str] | None) -> WindowAggregateNode:
        """The aggregation, when of its columns `wanted` are read (None: all)."""
        source = self.inputs[0]
        keys = {*source.keys, *(BOUNDS if isinstance(self.window, SameWindow) else ())}
        if self._keyed_by_bounds:
            source = Regrouped(inputs=self.inputs, at=self.at)
        chosen = [n for n in source.schema.names if n not in keys and (wanted is None or n in wanted)]
        kind: Any = SessionAggregateNode if isinstance(self.window, SessionWindow) else WindowAggregateNode
        inner: WindowAggregateNode = kind(
            inputs=(source,),
            at=self.at,
            name=self.name or self.kind,
            window=self.window,
            allowed_lateness=self.allowed_lateness,
            aggregates={_list_name(source.schema): self.ranking.first(source.schema, chosen)},
        )
        return inner

    @property
    def _keyed_by_bounds(self) -> bool:
        """Whether bounds are keys, which by the same window they are anyway."""
        return isinstance(self.window, SameWindow) and any(key in BOUNDS for key in self.inputs[0].keys)

    def derive_time(self) -> None:
        return None

    def derive_keys(self) -> tuple[str, ...]:
        return self.inputs[0].keys

    @property
    def combines(self) -> bool:  # type: ignore[override]
        """Each worker sends on its own first rows; partial results are not parted by the bounds of windows."""
        return self.inner.combines and not self._keyed_by_bounds

    @property
    def reads_order(self) -> bool:
        """Whether rows carry what decides between rows of one time."""
        return self.inner.reads_order

    @cached_property
    def late_schema(self) -> pa.Schema:
        """The columns of `.late`."""
        return self.inner.late_schema

    def describe(self) -> str:
        lateness = self.allowed_lateness
        late = f", allowed_lateness={format_duration(lateness)!r}" if lateness else ""
        return f"{self.ranking.describe()}, per={self.window.describe()}{late}"

    def state_bound(self) -> str:
        return self.inner.state_bound()

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        return self._chosen(wanted).needs(None)

    def _chosen(self, wanted: frozenset[str] | None) -> WindowAggregateNode:
        """The aggregation that runs: where all columns decide between rows, all are there."""
        return self.inner if wanted is None or self.inner.sorts else self.inner_of(wanted)

    def build(self, context: BuildContext) -> Operator:
        inner = self._chosen(context.wanted)
        if isinstance(inner, SessionAggregateNode):
            from streamlib.operators.top_n_sessions import RankedSessionOperator

            ranked = RankedResults(self, inner, context.batch_rows)
            return RankedSessionOperator(inner, context, ranked)
        return self._ranked(inner.build(context), context)

    def build_combiner(self, context: BuildContext) -> Operator:
        return self._chosen(context.wanted).build_combiner(context)

    def build_merger(self, context: BuildContext) -> Operator:
        return self._ranked(self._chosen(context.wanted).build_merger(context), context)

    def _ranked(self, operator: Operator, context: BuildContext) -> Operator:
        operator.results = RankedResults(  # type: ignore[attr-defined]
            self, self._chosen(context.wanted), context.batch_rows
        )
        return operator


def _list_name(source: pa.Schema) -> str:
    name = "top_n"
    while name in source.names:
        name += "_"
    return name


class RankedResults(ResultBuilder):
    """Builds the rows of closed windows: of each key the list as rows.

    Args:
        node: the step.
        inner: the aggregation that is run.
        batch_rows: the largest batch.
    """

    def __init__(self, node: TopNNode, inner: WindowAggregateNode, batch_rows: int) -> None:
        super().__init__(inner, batch_rows)
        *self.outer, self.list = inner.schema.names
        self.fields = node.schema

    def batches(self, windows: Iterable[Ripe | RipeTogether]) -> Iterator[Batch]:
        """Result rows of the windows, in their order; those of a key by their rank."""
        for batch in super().batches(windows):
            yield from self.of(batch)

    def of(self, batch: Batch) -> Iterator[Batch]:
        """The rows in the lists of some results of the aggregation."""
        assert batch.time is not None
        parents, ranks, values = unnested(batch.rows.column(self.list))
        if not len(ranks):
            return
        found: dict[str, Any] = {RANK: pa.array(ranks)}
        for name in self.outer:
            found[name] = batch.rows.column(name).take(pa.array(parents))
        found |= {f.name: values.field(i) for i, f in enumerate(values.type) if f.name not in found}
        schema = pa.schema([f for f in self.fields if f.name in found])
        rows = pa.RecordBatch.from_arrays([found[name] for name in schema.names], schema=schema)
        ranked = Batch(rows, batch.time[parents])
        for begin in range(0, len(ranked), self.batch_rows):
            yield ranked.slice(begin, min(self.batch_rows, len(ranked) - begin))


def unnested(lists: pa.ListArray) -> tuple[Int64s, Int64s, pa.StructArray]:
    """Of each item of lists which list it is in, its place there from 1, and the items."""
    offsets = np.asarray(lists.offsets).astype(np.int64)
    sizes = np.diff(offsets)
    parents = np.repeat(np.arange(len(sizes)), sizes)
    ranks = np.arange(len(parents)) - (offsets[:-1] - offsets[0])[parents] + 1
    return parents, ranks, lists.values.slice(int(offsets[0]), len(parents))
