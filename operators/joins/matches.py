"""From pairs of rows to rows of the result: which pairs match, and their columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.graph import BuildContext
from streamlib.kernels.hashing import LONG_TAG
from streamlib.kernels.keys import KeyEncoder, KeyKind
from streamlib.operators.joins.sides import LEFT, RIGHT, keys_of, plain_schema
from streamlib.operators.joins.two_sided import TwoSidedJoinNode

Mask = npt.NDArray[np.bool_]
Columns = Callable[[Sequence[str]], Sequence[pa.Array]]
"""Gives the columns of some names, of the rows of one side of pairs."""
UInt64s = npt.NDArray[np.uint64]


class Matches:
    """What a join does with pairs, and with rows that have no partner.

    Args:
        node: the join.
        context: what is read of its result.
    """

    def __init__(self, node: TwoSidedJoinNode, context: BuildContext) -> None:
        self.node = node
        self.left_out, self.right_out = node.columns_out(context.wanted)
        self.own_right = [own for own, _ in self.right_out]
        self.columns_in = node.columns_in(context.wanted)
        names = {*self.left_out, *(out for _, out in self.right_out)}
        self.fields = [field for field in node.schema if field.name in names]
        plain = [plain_schema(source.schema) for source in node.inputs]
        self.schemas = [
            pa.schema([s.field(name) for name in c]) for s, c in zip(plain, self.columns_in, strict=True)
        ]
        self.encoder = KeyEncoder([field.type for field in node.key_fields])
        self._keys_of_left = dict(zip(*node.on, strict=True))
        where = node.where.columns() if node.where is not None else []
        self._where = [(name, *node.where_sides[name]) for name in where]

    @property
    def is_exact(self) -> bool:
        """Whether rows with one word always match."""
        return self.encoder.kind is not KeyKind.BYTES and self.node.where is None

    def words(self, rows: pa.RecordBatch, side: int) -> UInt64s:
        """The word of each row's key, which is not null."""
        keys = keys_of(rows, self.node.on[side], self.node.key_fields)
        return self.encoder.words(self.encoder.encode(keys.columns, rows.num_rows))

    def of_pairs(self, words: UInt64s, left: Columns, right: Columns) -> Mask | None:
        """Which pairs with one word match: whose keys are equal, and `where` is true. None for all."""
        match = self._same_keys(words, left, right)
        if self.node.where is None:
            return match
        columns = [(left if side == LEFT else right)([own])[0] for _, side, own in self._where]
        if not columns:
            columns, names = [pa.nulls(len(words))], ["rows"]
        else:
            names = [name for name, _, _ in self._where]
        found = self.node.where.evaluate(pa.RecordBatch.from_arrays(columns, names=names))
        true = np.asarray(pc.fill_null(found.cast(pa.bool_()), False))
        return true if match is None else match & true

    def _same_keys(self, words: UInt64s, left: Columns, right: Columns) -> Mask | None:
        """Long keys stand in their word as a digest: they are compared."""
        if self.encoder.kind is not KeyKind.BYTES or not (words >= LONG_TAG).any():
            return None
        same = np.ones(len(words), dtype=np.bool_)
        on = self.node.on
        for one, two, field in zip(left(on[LEFT]), right(on[RIGHT]), self.node.key_fields, strict=True):
            one, two = (column.cast(field.type) for column in (one, two))
            equal = pc.equal(one, two)
            if pa.types.is_floating(field.type):
                equal = pc.or_(equal, pc.and_(pc.is_nan(one), pc.is_nan(two)))
            same &= np.asarray(equal)
        return None if same.all() else same

    def result(self, rows: int, left: Columns | None, right: Columns | None) -> pa.RecordBatch:
        """Rows of the result; null for the columns of a side that has no row."""
        mine: dict[str, Any] = {}
        if left is not None:
            mine = dict(zip(self.left_out, left(self.left_out), strict=True))
        elif right is not None:
            keys = [name for name in self.left_out if name in self._keys_of_left]
            values = right([self._keys_of_left[name] for name in keys])
            mine = dict(zip(keys, values, strict=True))
        others = dict(zip(self.own_right, right(self.own_right), strict=True)) if right is not None else {}
        columns = [mine.get(name) for name in self.left_out] + [others.get(own) for own in self.own_right]
        arrays = []
        for column, field in zip(columns, self.fields, strict=True):
            if column is None:
                arrays.append(pa.nulls(rows, field.type))
            else:
                arrays.append(column if column.type == field.type else column.cast(field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(self.fields))
