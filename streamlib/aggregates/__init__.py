"""Aggregates over the rows of a key and window: what `agg(...)` accepts, and the state behind it."""

from streamlib.aggregates.base import Aggregate
from streamlib.aggregates.count import Count
from streamlib.aggregates.first_last import First, Last
from streamlib.aggregates.mean import Mean
from streamlib.aggregates.min_max import Max, Min
from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.aggregates.sum import Sum

__all__ = ["AccumulatorPlan", "Aggregate", "Count", "First", "Last", "Max", "Mean", "Min", "Sum"]
