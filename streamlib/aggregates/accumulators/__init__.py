"""Accumulators: the words of state behind the aggregates, one file each: add, merge, finish.

The functions of an accumulator work on one record by address and are compiled into the fused loop
of a plan (`streamlib.state.fused`); in plain Python they run as they are.
"""

from streamlib.aggregates.accumulators.base import Accumulator, Finished, Style, Word, typed_values
from streamlib.aggregates.accumulators.edge import edge_of
from streamlib.aggregates.accumulators.extreme import extreme_of
from streamlib.aggregates.accumulators.kept import as_given, as_kept, has_order, kept_type, readable
from streamlib.aggregates.accumulators.nulls import NULLS
from streamlib.aggregates.accumulators.sums import exact_integers, sum_of, total

__all__ = [
    "NULLS",
    "Accumulator",
    "Finished",
    "Style",
    "Word",
    "as_given",
    "as_kept",
    "edge_of",
    "exact_integers",
    "extreme_of",
    "has_order",
    "kept_type",
    "readable",
    "sum_of",
    "total",
    "typed_values",
]
