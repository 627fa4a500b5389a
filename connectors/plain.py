"""Columns as types that Arrow's functions take: data frames export views, dictionaries and runs."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type without view, dictionary or runs, which few Arrow functions take.

    >>> plain_type(pa.list_(pa.string_view()))
    ListType(list<item: string>)
    """
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    return without_views(kind)


def without_views(kind: pa.DataType) -> pa.DataType:
    """The type without views and runs, also in lists and structs; a dictionary stays one."""
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_run_end_encoded(kind):
        return without_views(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([_field(field) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_field(kind.value_field))
    return pa.large_list(_field(kind.value_field)) if pa.types.is_large_list(kind) else kind


def _field(field: pa.Field) -> pa.Field:
    return field.with_type(without_views(field.type))


def plain_column(column: pa.Array) -> pa.Array:
    """A column as its plain type."""
    kind = plain_type(column.type)
    if kind.equals(column.type):
        return column
    if isinstance(column, pa.DictionaryArray):
        values = plain_column(column.dictionary)
        return pa.DictionaryArray.from_arrays(column.indices, values).dictionary_decode()
    if pa.types.is_run_end_encoded(column.type):
        return plain_column(pc.run_end_decode(column))
    return column.cast(kind)
