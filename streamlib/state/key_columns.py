"""Key columns beside state: their form, and the names of what stands next to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from streamlib.kernels.columns import values_of, without_views


def with_fields(schema: pa.Schema, fields: Sequence[pa.Field]) -> pa.Schema:
    """The schema with more fields, which give way to names that are taken."""
    taken, found = set(schema.names), list(schema)
    for field in fields:
        name = field.name
        while name in taken:
            name += "_"
        found.append(field.with_name(name))
    return pa.schema(found)


def keys_of(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The first columns of a batch, which are its keys, as `schema` says."""
    if len(schema) == 0:
        return batch.select([])
    return pa.RecordBatch.from_arrays(batch.columns[: len(schema)], schema=schema)


def keys_without_views(keys: pa.RecordBatch) -> pa.RecordBatch:
    """The keys, with string and binary views as plain strings and binary."""
    if not any(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind) for kind in keys.schema.types):
        return keys
    columns = [without_views(column) for column in keys.columns]
    return pa.RecordBatch.from_arrays(columns, names=keys.schema.names)


def canonical_floats(keys: pa.RecordBatch) -> pa.RecordBatch:
    """-0.0 and 0.0 are one key; which of them came first is not to be seen."""
    if not any(pa.types.is_floating(kind) for kind in keys.schema.types):
        return keys
    columns = []
    for column in keys.columns:
        if pa.types.is_floating(column.type):
            values = values_of(column) + values_of(column).dtype.type(0)
            mask = None if column.null_count == 0 else np.asarray(column.is_null())
            column = pa.array(values, mask=mask, from_pandas=False)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=keys.schema)
