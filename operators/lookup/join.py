"""`lookup_join` with a table that is read: each row is completed from the row of its key, at once.

It has no state of its own and no event time is needed, except for versions: there the row counts that
held at the event time. Time, mark and order of a row are kept; a table has at most one row for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from streamlib.contracts import Operator, Output, Refusal
from streamlib.elements import Batch
from streamlib.errors import BuildError, StreamlibError
from streamlib.graph import BuildContext, Node
from streamlib.operators.joins.sides import (
    key_fields,
    keys_of,
    plain,
    plain_schema,
    right_names,
)
from streamlib.operators.lookup.index import Index, KeyIndex, VersionIndex
from streamlib.operators.lookup.table import LookupTableNode, Replica, Version

How = Literal["left", "inner", "semi", "anti"]
HOWS = ("left", "inner", "semi", "anti")


def check_how(how: str) -> None:
    """Raises BuildError for one that a lookup does not have."""
    if how not in HOWS:
        raise BuildError(
            "a lookup has no such how=",
            expected=", ".join(map(repr, HOWS)),
            got=repr(how),
            hint="rows that only the table has never come out" if how in ("right", "full", "outer") else None,
        )


def described(left_on: Sequence[str], right_on: Sequence[str], how: str) -> str:
    """Keys and kind, as the user wrote them."""
    pairs = [a if a == b else f"{a}={b}" for a, b in zip(left_on, right_on, strict=True)]
    return ", ".join(pairs) + ("" if how == "left" else f", how={how!r}")


@dataclass(frozen=True, eq=False, kw_only=True)
class LookupJoinNode(Node):
    """Completes each row from a table.

    Attributes:
        table: which.
        left_on, right_on: the keys of both, in the same order; `right_on` are those of the table.
        how: ``left`` keeps rows without a match, ``inner`` drops them; ``semi`` and ``anti`` only choose.
        suffix: of columns of the table whose name is taken.
    """

    kind: ClassVar[str] = "lookup_join"
    refuses = "checked"
    table: LookupTableNode
    left_on: tuple[str, ...]
    right_on: tuple[str, ...]
    how: How = "left"
    suffix: str = "_right"

    def derive_schema(self) -> pa.Schema:
        check_how(self.how)
        self.require_columns(self.left_on)
        _ = self.key_fields
        fields = list(plain_schema(self.inputs[0].schema))
        fields += [pa.field(out, self.table.schema.field(own).type) for own, out in self.right_columns]
        return pa.schema(fields)

    def validate(self) -> None:
        if self.table.valid_from is not None:
            self.require_time("a lookup of versions (valid_from=)")

    @cached_property
    def key_fields(self) -> list[pa.Field]:
        """The keys as both sides are compared by."""
        return key_fields(self.inputs[0], self.table, self.left_on, self.right_on)

    @cached_property
    def right_columns(self) -> list[tuple[str, str]]:
        """The table's columns that come out, with their names there."""
        if self.how in ("semi", "anti"):
            return []
        return right_names(self.inputs[0].schema, self.table.schema, self.right_on, self.suffix)

    def describe(self) -> str:
        return f"{described(self.left_on, self.right_on, self.how)}; {self.table.describe()}"

    def timing_because(self) -> str | None:
        reason = self.table.timing_because()
        return None if reason is None else f"{self.label}: {reason}"

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        left = self.inputs[0].schema.names
        needed = {n for n in left if wanted is None or n in wanted} | set(self.left_on)
        return [frozenset(needed)]

    def share(self) -> Replica:
        return Replica(self.table)

    def build(self, context: BuildContext) -> Operator:
        return LookupJoinOperator(self, context)


class LookupJoinOperator(Operator):
    """The index of one worker over the table that all share."""

    def __init__(self, node: LookupJoinNode, context: BuildContext) -> None:
        self.node, self.context = node, context
        wanted = context.wanted
        left = [n for n in node.inputs[0].schema.names if wanted is None or n in wanted]
        self.right = [(own, out) for own, out in node.right_columns if wanted is None or out in wanted]
        self.left = left if left or self.right else node.inputs[0].schema.names[:1]
        names = [*self.left, *(out for _, out in self.right)]
        self.schema = pa.schema([node.schema.field(name) for name in names])
        self.replica: Replica = context.shared or node.share()
        self.known: Version | None = None
        self.index: Index
        self.matched = self.unmatched = 0
        self._renew()

    def _renew(self) -> Version:
        """The table as it has to be now, with its index."""
        context = self.context
        version = self.replica.version(context.now_ns(), context.retry, context.pause)
        if version is not self.known:
            table, node = self.node.table, self.node
            keys = node.right_on, node.key_fields
            if table.valid_from is None:
                self.index = KeyIndex(version.rows, *keys)
            else:
                self.index = VersionIndex(version.rows, *keys, table.valid_from)
            self.known = version
        return version

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Yields the rows with what the table has for them."""
        if not len(batch):
            return
        try:
            version = self._renew()
        except StreamlibError as error:
            if not self.context.refuse:
                raise
            yield Refusal(batch, [error] * len(batch), [1] * len(batch))
            return
        node = self.node
        keys = [plain(batch.rows.column(name)) for name in node.left_on]
        named = pa.RecordBatch.from_arrays(keys, names=list(node.left_on))
        found = self.index.rows(keys_of(named, node.left_on, node.key_fields), batch.time)
        missing = found < 0
        without = int(missing.sum())
        self.unmatched += without
        self.matched += len(batch) - without
        keep = None
        if node.how in ("inner", "semi"):
            keep = ~missing
        elif node.how == "anti":
            keep = missing
        if keep is not None and not keep.all():
            batch, found, missing = batch.filter(keep), found[keep], missing[keep]
        if len(batch):
            yield batch.with_rows(self._completed(batch.rows, version, found, missing))

    def _completed(
        self, rows: pa.RecordBatch, version: Version, found: np.ndarray, missing: np.ndarray
    ) -> pa.RecordBatch:
        columns = [plain(rows.column(name)) for name in self.left]
        if self.right:
            places = pa.array(found, mask=missing if missing.any() else None)
            columns += [version.rows.column(own).take(places) for own, _ in self.right]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def counters(self) -> dict[str, int]:
        """Rows that the table had nothing for, and how often it was read."""
        found = {"unmatched": self.unmatched, "table_reads_max": self.replica.reads}
        return {name: count for name, count in found.items() if count}
