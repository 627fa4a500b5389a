"""What joins share: which columns are the keys of either side, what the result's are called, who is late.

Keys are paired by position and compared as one type. A null matches nothing, NaN is one value.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Tagged
from streamlib.elements import MIN_TIME, Batch
from streamlib.errors import BuildError, ColumnNotFoundError, TypeMismatchError
from streamlib.graph import Node
from streamlib.kernels.columns import decoded, decoded_type, without_views

LEFT, RIGHT = 0, 1
NAMES = ("left", "right")

Late = npt.NDArray[np.bool_]


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type as it is kept and comes out: without dictionary, runs or views.

    >>> plain_type(pa.dictionary(pa.int8(), pa.string()))
    DataType(string)
    """
    kind = decoded_type(kind)
    if pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(kind) else kind


def plain(column: pa.Array) -> pa.Array:
    """The column as `plain_type`."""
    return without_views(decoded(column))


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The columns as they are kept and come out."""
    return pa.schema([pa.field(field.name, plain_type(field.type)) for field in schema])


def selected(rows: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """Some columns, plain."""
    return pa.RecordBatch.from_arrays([plain(rows.column(name)) for name in names], names=list(names))


def paired_keys(
    left: Node, right: Node, left_on: tuple[str, ...] | None, right_on: tuple[str, ...] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The key columns of either side; those of the keyed streams where none are given.

    Raises:
        BuildError: there are none, they are not as many, or a column is not there.
    """
    mine = left_on if left_on is not None else left.keys
    if left_on is None and not mine and left.lost is not None:
        raise left.lost.refusal("a join without on=")
    if left_on is None and not mine:
        raise BuildError(
            "a join needs to know which rows belong together",
            expected='on="k", left_on= and right_on=, or keyed streams: .key_by("k")',
            got="none of them",
            hint="on=[] takes all rows as those of one key",
        )
    other = right_on if right_on is not None else (right.keys if left_on is None and right.keys else mine)
    for names, node, side in ((mine, left, "left"), (other, right, "right")):
        for name in names:
            if not isinstance(name, str):
                raise BuildError("join keys are named", expected='such as "symbol"', got=repr(name))
            if name not in node.schema.names:
                error = ColumnNotFoundError.of(name, node.schema.names)
                error.hint = error.hint or f"it is a key of the {side} side: see left_on= and right_on="
                raise error
        if len(set(names)) < len(names):
            raise BuildError(f"a key of the {side} side is given twice", got=", ".join(names))
    if len(mine) != len(other):
        raise BuildError(
            "the sides of a join have different numbers of keys",
            expected="as many on either side",
            got=f"left: {', '.join(mine)}; right: {', '.join(other)}",
        )
    return mine, other


def key_fields(
    left: Node, right: Node, left_on: tuple[str, ...], right_on: tuple[str, ...]
) -> list[pa.Field]:
    """The keys under the right side's names, of the type that both sides are compared as.

    Raises:
        TypeMismatchError: the types of a pair cannot be compared, or cannot be keys.
    """
    fields = []
    for mine, other in zip(left_on, right_on, strict=True):
        one, two = plain_type(left.schema.field(mine).type), plain_type(right.schema.field(other).type)
        kind = _common_type(one, two)
        if kind is None:
            raise TypeMismatchError(
                "the keys of a join have different types",
                expected=f"{other!r} of the right side as {one}",
                got=f"{mine!r} {one}, {other!r} {two}",
                hint=f'cast one of them before the join: .cast({{"{other}": "{one}"}})',
            )
        if pa.types.is_nested(kind):
            raise TypeMismatchError(
                f"column {mine!r} cannot be a key",
                expected="numbers, strings, binary, booleans, times or decimals",
                got=str(kind),
            )
        fields.append(pa.field(other, kind))
    return fields


def _common_type(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    """The type in which the values of both can be compared exactly; None where there is none."""
    if one.equals(two):
        return one
    for is_kind in (pa.types.is_signed_integer, pa.types.is_unsigned_integer, pa.types.is_floating):
        if is_kind(one) and is_kind(two):
            return one if one.bit_width >= two.bit_width else two
    for texts in ((pa.string(), pa.large_string()), (pa.binary(), pa.large_binary())):
        if one in texts and two in texts:
            return texts[1]
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(two) and one.unit == two.unit:
        return one
    return None


def keys_of(rows: pa.RecordBatch, names: Sequence[str], fields: Sequence[pa.Field]) -> pa.RecordBatch:
    """The key columns of rows, as `fields`."""
    columns = [rows.column(name) for name in names]
    columns = [c if c.type == f.type else c.cast(f.type) for c, f in zip(columns, fields, strict=True)]
    if not columns:
        return rows.select([])
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def without_null_keys(batch: Batch, names: Sequence[str]) -> Batch:
    """The rows whose keys are all there."""
    columns = [batch.rows.column(name) for name in names]
    if not any(column.null_count for column in columns):
        return batch
    return batch.filter(np.logical_and.reduce([np.asarray(column.is_valid()) for column in columns]))


def right_names(left: pa.Schema, right: pa.Schema, keys: Sequence[str], suffix: Any) -> list[tuple[str, str]]:
    """The right side's columns that come out, and their names in the result.

    Raises:
        BuildError: two columns would have one name.
    """
    if not isinstance(suffix, str) or not suffix:
        raise BuildError("suffix= must be a text", expected='such as "_right"', got=repr(suffix))
    named = []
    taken = set(left.names) | {name for name in right.names if name not in keys}
    for name in right.names:
        if name in keys:
            continue
        out = name + suffix if name in left.names else name
        if out != name and out in taken:
            raise BuildError(
                f"the join would give two columns the name {out!r}",
                expected="a suffix that makes the right side's columns differ",
                got=f"suffix={suffix!r}",
                hint=f'say another suffix=, or rename one before: .rename({{"{name}": ...}})',
            )
        named.append((name, out))
    return named


def late_schema(source: pa.Schema, side: int) -> pa.Schema:
    """The columns of `.late_left` and `.late_right`: those of the input, and ``late_by``.

    Raises:
        BuildError: the input has a column of that name.
    """
    if "late_by" in source.names:
        raise BuildError(
            "column 'late_by' of the input has the name of a column of the late rows",
            hint=f'rename it on the {NAMES[side]} side: .rename({{"late_by": ...}})',
        )
    return source.append(pa.field("late_by", pa.duration("ns")))


class LateRows:
    """Refuses the rows of one side whose mark has passed them: mark > t + L.

    Args:
        source: the columns of the side.
        side: LEFT or RIGHT.
        lateness: L, ns.
        read: whether the rows themselves are read.
    """

    def __init__(self, source: pa.Schema, side: int, lateness: int, read: bool) -> None:
        self.rows = 0
        self.by_max = 0
        self._source, self._side, self._lateness, self._read = source, side, lateness, read

    @cached_property
    def _schema(self) -> pa.Schema:
        return late_schema(self._source, self._side)

    def parted(self, batch: Batch) -> tuple[Batch, Tagged | None]:
        """The rows that are on time; and the others, if there are any and somebody reads them."""
        if batch.mark is None:
            return batch, None
        assert batch.time is not None
        due = np.maximum(batch.mark, MIN_TIME + self._lateness) - np.int64(self._lateness)
        late: Late = due > batch.time
        if not late.any():
            return batch, None
        refused, over = batch.filter(late), due[late] - batch.time[late]
        self.rows += len(refused)
        self.by_max = max(self.by_max, int(over.max()))
        return batch.filter(~late), self._tagged(refused, over) if self._read else None

    def _tagged(self, refused: Batch, over: npt.NDArray[np.int64]) -> Tagged:
        columns = [*refused.rows.columns, pa.array(over, pa.duration("ns"))]
        rows = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        late = Batch(rows, refused.time, refused.mark, refused.order, refused.origin)
        return Tagged(f"late_{NAMES[self._side]}", late)
