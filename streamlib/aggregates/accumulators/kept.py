"""Values that are no machine words, as they are kept beside the records: strings, decimals, lists.

They are kept with large offsets, so that a pane may hold more than 2 GB of them; views, dictionaries
and runs, which Arrow does not take rows of or which hold on to memory, become plain columns.
"""

from __future__ import annotations

import pyarrow as pa

from streamlib.elements.dictionaries import as_dictionary
from streamlib.kernels.columns import decoded, decoded_type, without_views


def kept_type(data_type: pa.DataType) -> pa.DataType | None:
    """The type that values of `data_type` are kept as; None where they cannot be.

    >>> kept_type(pa.dictionary(pa.int8(), pa.string()))
    DataType(large_string)
    """
    kind = decoded_type(data_type)
    if isinstance(kind, pa.BaseExtensionType):
        return kept_type(kind.storage_type)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary(kind) or pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_decimal(kind) and kind.bit_width < 128:
        return pa.decimal128(kind.precision, kind.scale)  # Arrow does not sort the narrow ones
    return kind if _can_be_taken(kind) else None


def has_order(data_type: pa.DataType) -> bool:
    """Whether such values can be compared: strings, binary and decimals, and what fits a word."""
    kind = decoded_type(data_type)
    if isinstance(kind, pa.BaseExtensionType) or pa.types.is_nested(kind) or pa.types.is_interval(kind):
        return False
    return kept_type(kind) is not None


def readable(column: pa.Array) -> pa.Array:
    """The column in a form that Arrow takes rows of, a dictionary's being one."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return readable(column.storage)
    if pa.types.is_run_end_encoded(kind):
        return readable(decoded(column))
    if pa.types.is_dictionary(kind) and _is_view(kind.value_type):
        return decoded(column)
    return without_views(column)


def as_kept(values: pa.Array) -> pa.Array:
    """Values as they are kept."""
    values = decoded(values)
    if isinstance(values.type, pa.BaseExtensionType):
        return as_kept(values.storage)
    kind = kept_type(values.type)
    assert kind is not None, "refused when the graph was built"
    return values if values.type == kind else values.cast(kind)


def as_given(values: pa.Array, data_type: pa.DataType) -> pa.Array:
    """Kept values as `data_type`, which has no runs."""
    if pa.types.is_dictionary(data_type):
        return as_dictionary(values, data_type)
    if isinstance(data_type, pa.BaseExtensionType):
        return data_type.wrap_array(as_given(values, data_type.storage_type))
    return values if values.type == data_type else values.cast(data_type)


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))


def _can_be_taken(kind: pa.DataType) -> bool:
    """Whether Arrow takes and joins rows of such columns, and of all columns within."""
    if pa.types.is_union(kind) or pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return False
    if isinstance(kind, pa.BaseExtensionType) or _is_view(kind):
        return False
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return False
    return all(_can_be_taken(kind.field(i).type) for i in range(kind.num_fields))
