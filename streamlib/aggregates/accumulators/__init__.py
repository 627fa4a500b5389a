"""Accumulators: the state behind the aggregates, one file each: add, merge, finish.

The functions of an accumulator work on one record by address and are compiled into the fused loop
of a plan (`streamlib.state.fused`); in plain Python they run as they are. What is no few words per
key is collected beside the records (`collected`).
"""

from streamlib.aggregates.accumulators.base import (
    Accumulator,
    Derived,
    Finished,
    Over,
    Style,
    Word,
    own_values,
    typed_values,
)
from streamlib.aggregates.accumulators.best import best_by
from streamlib.aggregates.accumulators.collected import (
    Buckets,
    Collected,
    Distinct,
    Registers,
    Rows,
    StateColumns,
    arrow_type,
    columns_of,
    lengths,
    lists_of,
    plain_type,
    segments,
)
from streamlib.aggregates.accumulators.edge import edge_of
from streamlib.aggregates.accumulators.extreme import NO_FLOAT, extreme_of
from streamlib.aggregates.accumulators.kept import as_given, as_kept, has_order, kept_type, readable
from streamlib.aggregates.accumulators.nulls import NULLS
from streamlib.aggregates.accumulators.squares import SQUARES, product_error, sum_error
from streamlib.aggregates.accumulators.sums import FLOAT_SUM, exact_integers, sum_of, total

__all__ = [
    "FLOAT_SUM",
    "NO_FLOAT",
    "NULLS",
    "SQUARES",
    "Accumulator",
    "Buckets",
    "Collected",
    "Derived",
    "Distinct",
    "Finished",
    "Over",
    "Registers",
    "Rows",
    "StateColumns",
    "Style",
    "Word",
    "arrow_type",
    "as_given",
    "as_kept",
    "best_by",
    "columns_of",
    "edge_of",
    "exact_integers",
    "extreme_of",
    "has_order",
    "kept_type",
    "lengths",
    "lists_of",
    "own_values",
    "plain_type",
    "product_error",
    "readable",
    "segments",
    "sum_error",
    "sum_of",
    "total",
    "typed_values",
]
