"""The number of rows whose value is null: valid values = rows - nulls. Without nulls it costs nothing."""

from __future__ import annotations

from streamlib.aggregates.accumulators.base import Accumulator, Style, Word
from streamlib.kernels._jit import inline
from streamlib.kernels.memory import I64, load_i64, store_i64


@inline
def add_null(record: I64, word: I64) -> None:
    """Counts one null."""
    store_i64(record, word, load_i64(record, word) + 1)


@inline
def merge_nulls(record: I64, source: I64, word: I64) -> None:
    """Adds the other record's count."""
    store_i64(record, word, load_i64(record, word) + load_i64(source, word))


NULLS = Accumulator("nulls", (Word("count", "int64"),), "int64", Style.NULL, add_null, merge_nulls)
