"""The order of rows by time and then by their columns, for rows that nothing else tells apart: results."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.kernels.columns import decoded

Int64s = npt.NDArray[np.int64]


def by_columns(rows: pa.RecordBatch, time: Int64s, compared: int) -> Int64s:
    """The order of rows by time, then their first `compared` columns, nulls last."""
    columns = [pa.array(time)]
    unsorted: list[pa.Array] = []
    for column in rows.columns[:compared]:
        ranked = _comparable(column)
        if ranked is None:
            unsorted.append(column)
        else:
            columns.append(ranked)
    indices = _sorted_by(columns)
    if not unsorted:
        return indices
    # Values that Arrow does not compare go by how they are written, where nothing else decides.
    texts = [pa.array([repr(value) for value in column.to_pylist()]) for column in unsorted]
    return _sorted_by([*columns, *texts]) if _ties(columns, indices) else indices


def _sorted_by(columns: list[pa.Array]) -> Int64s:
    names = [f"c{number}" for number in range(len(columns))]
    table = pa.table(columns, names=names)
    found: Int64s = np.asarray(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names]))
    return found.astype(np.int64)


def _ties(columns: list[pa.Array], indices: Int64s) -> bool:
    """Whether two rows are equal in all columns."""
    equal = np.ones(max(0, len(indices) - 1), dtype=np.bool_)
    for column in columns:
        ordered = column.take(pa.array(indices))
        this, other = ordered.slice(1), ordered.slice(0, max(0, len(ordered) - 1))
        same = pc.equal(this, other)
        if pa.types.is_floating(column.type):
            same = pc.or_(same, pc.and_(pc.is_nan(this), pc.is_nan(other)))
        equal &= np.asarray(pc.fill_null(same, True))
    return bool(equal.any())


def _comparable(column: pa.Array) -> pa.Array | None:
    """The column in a form that Arrow sorts; None where there is none."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _comparable(column.storage)
    column = decoded(column)
    kind = column.type
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.int8())
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    if pa.types.is_decimal(kind) and kind.bit_width < 128:
        return column.cast(pa.decimal128(kind.precision, kind.scale))
    if pa.types.is_duration(kind):
        return column.view(pa.int64())
    if pa.types.is_nested(kind) or pa.types.is_interval(kind):
        return None
    return column
