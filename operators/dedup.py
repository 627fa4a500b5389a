"""`dedup`: one row of each id, where rows of the same id that follow within some time are repeats of it.

The first row of an id opens a *run*: the rows of the id up to and including `within` later belong to it, however
many there are. The next one after that opens a new run. `keep` says which row of a run comes out. With
``first`` and ``last`` rows are taken in their order (see `ordered`), so the answer depends on the input alone.

With ``any`` nothing waits: a row passes unless one of its id that has passed is no further than `within` away
from it, before or after. Which row of an id is the first to arrive can be timing, the ids that come out are not.

An id is known until the watermark has passed all that it could repeat: W - L > t + within. Null is an id, and
all NaN are one. Results of ``first`` and ``any`` have their row's time, and what is sent on is W - L. A run is
over for ``last`` when W - L has passed its end, and its row may be as old as its beginning: W - L - within.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Operator, Output, State, Tagged
from streamlib.elements import Batch, format_duration
from streamlib.errors import BuildError, TypeMismatchError
from streamlib.expr import Expr
from streamlib.graph import BuildContext, SourceNode
from streamlib.graph.plan import topological
from streamlib.kernels.selecting import filtered
from streamlib.operators.ordered import OrderedNode, OrderedOperator
from streamlib.state import SeenKeys, with_fields

Int64s = npt.NDArray[np.int64]

Keep = Literal["first", "last", "any"]
KEEPS: tuple[Keep, ...] = ("first", "last", "any")

DUPLICATES = "duplicates"
"""The tag of the rows that were dropped."""
_TIME = pa.timestamp("ns", "UTC")


@dataclass(frozen=True, eq=False, kw_only=True)
class DedupNode(OrderedNode):
    """One row of each run of an id.

    Attributes:
        ids: the columns that tell rows apart, beside the keys of the stream.
        within: how long a run is, ns; None: all rows of an id are one run.
        keep: which of its rows comes out.
    """

    kind: ClassVar[str] = "dedup"
    refuses = "never"  # type: ignore[assignment]
    ids: tuple[str, ...]
    within: int | None = None
    keep: Keep = "first"

    @property
    def what(self) -> str:
        return "dedup"

    @property
    def inputs_of_rows(self) -> Mapping[str, Expr]:
        return {}

    @property
    def is_bounded(self) -> bool:
        return self.within is not None

    def derive_schema(self) -> pa.Schema:
        for name in self.ids:
            if not isinstance(name, str):
                raise BuildError(
                    "dedup() takes names of columns",
                    got=repr(name),
                    hint="an expression is made a column before: .with_columns(id=...)",
                )
        if not self.columns:
            raise BuildError(
                "dedup() needs to know what tells rows apart",
                expected='columns that are an id together, such as .dedup("trade_id", within="10m")',
                got="no column, on a stream without keys",
            )
        self.require_columns(self.ids)
        if len(set(self.ids)) < len(self.ids):
            raise BuildError("dedup() was given a column twice", got=", ".join(self.ids))
        for field in self.id_fields:
            if pa.types.is_nested(field.type):
                raise TypeMismatchError(
                    f"column {field.name!r} cannot be an id",
                    expected="numbers, strings, binary, booleans, times or decimals",
                    got=str(field.type),
                )
        if self.keep != "any" or self.within is not None or self.inputs[0].timed:
            self.require_time("dedup")
        return self.plain_source

    def validate(self) -> None:
        if self.allowed_lateness < 0:
            raise BuildError("allowed_lateness= must not be negative")
        if self.within is not None and self.within < 0:
            raise BuildError("within= must not be negative", got=format_duration(self.within))
        if self.within is not None or (self.forever and self.keep != "last"):
            return
        for node in topological([self]):
            if isinstance(node, SourceNode) and not node.source.bounded:
                self._refuse_endless(node)

    def _refuse_endless(self, node: SourceNode) -> None:
        if self.forever:
            raise BuildError(
                'keep="last" over a source without an end gives nothing without within=',
                expected='within=, such as within="10m": the last row comes out when that time has passed',
                got=f"within=FOREVER, and {node.describe() or node.label}",
                hint='.key_by(...).latest() is a table of the last rows so far; keep="first" needs no end',
            )
        raise BuildError(
            "dedup over a source without an end would keep every id for ever",
            expected='within=, such as within="10m": how long after a row others of its id are repeats',
            got=f"no within=, and {node.describe() or node.label}",
            hint="if the ids are few, say within=sl.FOREVER",
        )

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """All columns that tell rows apart."""
        return tuple(dict.fromkeys((*self.inputs[0].keys, *self.ids)))

    @cached_property
    def id_fields(self) -> list[pa.Field]:
        """These columns."""
        return [self.plain_source.field(name) for name in self.columns]

    def exchange_keys(self, side: int) -> tuple[str, ...]:
        return self.columns

    def state_keys(self, table: str) -> tuple[str, ...]:
        return self.columns

    @property
    def reads_order(self) -> bool:
        """Whether it takes rows in order, and they carry what decides between rows of one time."""
        return self.keep != "any" and not self.sorts

    @property
    def duplicates_schema(self) -> pa.Schema:
        """The columns of `.duplicates`."""
        return self.plain_source

    def timing_because(self) -> str | None:
        if self.keep != "any":
            return None
        return f"{self.label}: of the rows of an id the one that arrives first is kept"

    def describe(self) -> str:
        parts = [repr(name) for name in self.ids]
        if self.forever or self.within is not None:
            parts.append(
                "within=" + ("FOREVER" if self.within is None else repr(format_duration(self.within)))
            )
        if self.keep != "first":
            parts.append(f"keep={self.keep!r}")
        return ", ".join([*parts, *self.options()])

    def options(self) -> list[str]:
        if not self.allowed_lateness:
            return []
        return [f"allowed_lateness={format_duration(self.allowed_lateness)!r}"]

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        if self.keep != "any":
            return self.needs_for(wanted, set(self.columns))
        return [None if wanted is None else wanted | set(self.columns)]

    def build(self, context: BuildContext) -> Operator:
        if self.keep == "last":
            from streamlib.operators.dedup_last import KeepLastOperator

            return KeepLastOperator(self, context)
        return KeepFirstOperator(self, context) if self.keep == "first" else KeepAnyOperator(self, context)


class DedupOperator(OrderedOperator):
    """What the ways to choose a row share: the rows that come out, and those that are dropped."""

    def __init__(self, node: DedupNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self.node = node
        self.duplicates_read = DUPLICATES in context.sides_read
        self.duplicates = 0

    def dropped(self, rows: Batch) -> Iterator[Output]:
        """Counts rows that are dropped; yields them where somebody reads them. They keep their order."""
        self.duplicates += len(rows)
        if self.duplicates_read and len(rows):
            yield Tagged(DUPLICATES, Batch(rows.rows, rows.time, order=rows.order))

    def counters(self) -> dict[str, int]:
        """Rows dropped; late rows, and by how much the latest missed its turn, ns."""
        counted = {"dropped": self.duplicates} if self.duplicates else {}
        return {**counted, **super().counters()}


class KeepFirstOperator(DedupOperator):
    """The ids of rows that have come out."""

    def __init__(self, node: DedupNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self.seen = SeenKeys(node.id_fields, node.within)
        self.wanted = None if self.duplicates_read else context.wanted

    def work(self, rows: Batch) -> Iterator[Output]:
        """Yields the rows whose id has not come out within the time before."""
        assert rows.time is not None
        self.seen.forget(int(rows.time[0]))
        yield from self.chosen(rows)

    def chosen(self, rows: Batch) -> Iterator[Output]:
        """The rows whose id is new."""
        times = rows.time if rows.time is not None else np.zeros(len(rows), dtype=np.int64)
        new = self.seen.add(rows.rows.select(self.node.columns), times)
        if self.wanted is not None:
            names = [name for name in rows.rows.schema.names if name in self.wanted]
            rows = rows.with_rows(rows.rows.select(names))
        if new.all():
            yield Batch(rows.rows, rows.time)
            return
        if self.duplicates_read:
            yield from self.dropped(rows.filter(~new))
        else:
            self.duplicates += len(new) - int(new.sum())
        kept = filtered(rows, pa.array(new))
        if len(kept):
            yield Batch(kept.rows, kept.time)

    def tidy(self, before: int) -> None:
        """Forgets ids that no row can repeat any more."""
        self.seen.forget(before)

    def snapshot(self) -> State:
        """The ids with the times of their rows, and the rows that wait."""
        schema = with_fields(self.seen.schema, [pa.field("event_time", _TIME)])
        parts = [
            pa.RecordBatch.from_arrays([*keys.columns, pa.array(times).view(_TIME)], schema=schema)
            for keys, times in self.seen.snapshot()
        ]
        return {**super().snapshot(), "ids": pa.Table.from_batches(parts, schema)}

    def restore(self, state: State) -> None:
        """Takes in this worker's ids, of one snapshot after another."""
        super().restore(state)
        if "ids" in state:
            for batch in state["ids"].to_batches():
                *_, time = batch.columns
                self.seen.add(batch.select(self.seen.schema.names), np.asarray(time.view(pa.int64())))


class KeepAnyOperator(KeepFirstOperator):
    """As rows arrive: nothing waits."""

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Yields the rows whose id is new, and those that are late, if somebody reads them."""
        late = self._late_rows(batch)
        if late is not None:
            tagged = self._refuse_late(batch.filter(late))
            if tagged is not None:
                yield tagged
        rows = self.columns.of(batch, late)
        if len(rows):
            yield from self.chosen(rows)
