"""Dictionary columns in a form that counts and joins as other columns do."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def without_null_words(column: pa.Array) -> pa.Array:
    """A dictionary none of whose words is null: Arrow does not count these, and joins no such dictionaries.

    >>> column = pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(["a", None]))
    >>> column.null_count, without_null_words(column).null_count
    (1, 2)
    """
    if not pa.types.is_dictionary(column.type) or not column.dictionary.null_count:
        return column
    valid = np.asarray(column.dictionary.is_valid())
    places = pa.array(np.cumsum(valid) - 1, pa.int64(), mask=~valid).cast(column.type.index_type)
    words = column.dictionary.drop_null()
    return pa.DictionaryArray.from_arrays(places.take(column.indices), words, ordered=column.type.ordered)


def as_dictionary(values: pa.Array, data_type: pa.DictionaryType) -> pa.Array:
    """Values as a dictionary of some type; Arrow casts to few of these."""
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    indices, words = encoded.indices.cast(data_type.index_type), encoded.dictionary.cast(data_type.value_type)
    return pa.DictionaryArray.from_arrays(indices, words, ordered=data_type.ordered)
