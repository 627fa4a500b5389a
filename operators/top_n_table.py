"""`top_n` without windows: a table of the rows of each key in which an expression is largest so far.

The table has a row per key and rank. It is a running aggregate (see `running`): rows wait until the watermark has
passed them, so the table at a watermark is a function of the input. A row that takes a rank moves the others down:
only ranks whose row is another one than before change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.contracts import Operator
from streamlib.elements import Batch
from streamlib.expr import Expr
from streamlib.graph import BuildContext
from streamlib.operators.tables.running import TableNode
from streamlib.operators.tables.running_operator import TableOperator
from streamlib.operators.tables.table_step import CHANGE, DELETE, INSERT, UPDATE
from streamlib.operators.top_n import RANK, Ranking, plain_field, unnested
from streamlib.state import Touched

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class TopNTableNode(TableNode):
    """The first rows of each key so far.

    Attributes:
        ranking: which rows are the first.
    """

    kind: ClassVar[str] = "top_n"
    ranking: Ranking

    @cached_property
    def expressions(self) -> Mapping[str, Expr]:
        """The first rows as a list."""
        source = self.inputs[0]
        others = [name for name in source.schema.names if name not in source.keys]
        return {"top_n": self.ranking.first(source.schema, others)}

    @property
    def columns(self) -> Sequence[str]:
        source = self.inputs[0]
        others = [name for name in source.schema.names if name not in source.keys]
        return [*source.keys, RANK, *others, CHANGE]

    def derive_schema(self) -> pa.Schema:
        self.require_time("top_n")
        source = self.inputs[0]
        self.ranking.check(source)
        self.check_names()
        others = [plain_field(f) for f in source.schema if f.name not in source.keys]
        rank, change = pa.field(RANK, pa.int64()), pa.field(CHANGE, pa.string())
        return pa.schema([*self.key_fields, rank, *others, change])

    @property
    def table_keys(self) -> tuple[str, ...]:
        return (*self.keys, RANK)

    def describe(self) -> str:
        return f"{self.ranking.describe()}{', ' if self.options() else ''}{self.options()}"

    def build(self, context: BuildContext) -> Operator:
        return TopNTableOperator(self, context)


class TopNTableOperator(TableOperator):
    """Says of each key that was touched which of its ranks have another row."""

    def __init__(self, node: TopNTableNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self._known: npt.NDArray[np.bool_] = np.empty(0, dtype=np.bool_)
        self._before: pa.ListArray | None = None

    def _add(self, batches: list[Batch]) -> Touched:
        """As for any table; keeps what the keys had before."""
        slots = np.concatenate([self.table.find(batch.rows.select(self.keys)) for batch in batches])
        known = self.table.touched(slots, np.zeros(len(slots), dtype=np.int64)).slots
        self._known = self.known.upto(self.table.count)[known]
        known = known[self._known]
        self._before = self._lists(known) if len(known) else None
        touched = super()._add(batches)
        assert len(touched.slots) == len(self._known), "the same rows touch the same keys, in the same order"
        return touched

    def _lists(self, slots: Int64s) -> pa.ListArray:
        """The first rows of each slot."""
        found = pa.RecordBatch.from_arrays(
            self.table.read(slots).results(), schema=self.node.aggregation.intermediate
        )
        return self.finals.evaluate(found)[0]

    def _changes(self, touched: Touched) -> Iterator[Batch]:
        self.known.upto(self.table.count)[touched.slots] = True
        lists = self._lists(touched.slots)
        begins, sizes = _segments(lists)
        values, old_begins, old_sizes = lists.values, np.zeros_like(begins), np.zeros_like(sizes)
        if self._before is not None:
            old_begins[self._known], old_sizes[self._known] = _segments(self._before)
            old_begins += len(values)
            values = pa.concat_arrays([values, self._before.values])
        most = np.maximum(sizes, old_sizes)
        parents = np.repeat(np.arange(len(most)), most)
        places = np.arange(len(parents)) - np.repeat(np.cumsum(most) - most, most)
        is_new, was = places < sizes[parents], places < old_sizes[parents]
        new, old = begins[parents] + places, old_begins[parents] + places
        both = np.flatnonzero(is_new & was)
        differs = np.ones(len(parents), dtype=np.bool_)
        differs[both] = ~_same(values.take(pa.array(new[both])), values.take(pa.array(old[both])))
        change = np.where(is_new, np.where(was, UPDATE, INSERT), DELETE)
        which = np.flatnonzero(differs)
        yield from self._ranked(
            touched.slots[parents[which]],
            values.take(pa.array(np.where(is_new, new, old)[which])),
            places[which] + 1,
            change[which],
            touched.high[parents[which]],
        )

    def _rows(self, slots: Int64s, change: npt.NDArray[np.str_], times: Int64s) -> Iterator[Batch]:
        parents, ranks, values = unnested(self._lists(slots))
        yield from self._ranked(slots[parents], values, ranks, change[parents], times[parents])

    def _ranked(
        self,
        slots: Int64s,
        values: pa.StructArray,
        ranks: Int64s,
        change: npt.NDArray[np.str_],
        times: Int64s,
    ) -> Iterator[Batch]:
        """Changes as batches."""
        for begin in range(0, len(slots), self.batch_rows):
            part = slice(begin, begin + self.batch_rows)
            found: dict[str, Any] = {
                RANK: pa.array(ranks[part]),
                CHANGE: pa.array(change[part].tolist(), pa.string()),
            }
            if self.keys:
                found |= dict(zip(self.keys, self.table.read(slots[part]).keys.columns, strict=True))
            some = values.slice(begin, self.batch_rows)
            found |= {f.name: some.field(i) for i, f in enumerate(some.type) if f.name not in found}
            schema = self.node.schema
            rows = pa.RecordBatch.from_arrays([found[name] for name in schema.names], schema=schema)
            yield Batch(rows, times[part])


def _segments(lists: pa.ListArray) -> tuple[Int64s, Int64s]:
    """Where each list begins among the values, and how long it is."""
    offsets = np.asarray(lists.offsets).astype(np.int64)
    return offsets[:-1], np.diff(offsets)


def _same(one: pa.StructArray, other: pa.StructArray) -> npt.NDArray[np.bool_]:
    """Whether rows are equal in all columns: null is null, and NaN is NaN."""
    same = np.ones(len(one), dtype=np.bool_)
    for a, b in zip(one.flatten(), other.flatten(), strict=True):
        if pa.types.is_nested(a.type) or pa.types.is_null(a.type) or pa.types.is_interval(a.type):
            same &= np.array([x == y for x, y in zip(a, b, strict=True)], dtype=np.bool_)
            continue
        equal = pc.fill_null(pc.equal(a, b), False)
        if pa.types.is_floating(a.type):
            equal = pc.or_(equal, pc.fill_null(pc.and_(pc.is_nan(a), pc.is_nan(b)), False))
        missing = pc.and_(pc.is_null(a), pc.is_null(b))
        same &= np.asarray(pc.or_(equal, missing))
    return same
