"""Aggregates over the rows of a key and window: what `agg(...)` accepts, and the state behind it."""

from streamlib.aggregates.any_all import All, Any
from streamlib.aggregates.base import Aggregate
from streamlib.aggregates.best_by import MaxBy, MinBy
from streamlib.aggregates.count import Count
from streamlib.aggregates.custom import Custom
from streamlib.aggregates.distinct import ApproxCountDistinct, CountDistinct, NUnique
from streamlib.aggregates.first_last import First, Last
from streamlib.aggregates.lists import List, TopK, TopKBy
from streamlib.aggregates.mean import Mean
from streamlib.aggregates.min_max import Max, Min
from streamlib.aggregates.moments import Corr, Cov, Std, Var, WeightedMean
from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.aggregates.quantile import ApproxQuantile, Median, Quantile
from streamlib.aggregates.sum import Sum

__all__ = [
    "AccumulatorPlan",
    "Aggregate",
    "All",
    "Any",
    "ApproxCountDistinct",
    "ApproxQuantile",
    "Corr",
    "Count",
    "CountDistinct",
    "Cov",
    "Custom",
    "First",
    "Last",
    "List",
    "Max",
    "MaxBy",
    "Mean",
    "Median",
    "Min",
    "MinBy",
    "NUnique",
    "Quantile",
    "Std",
    "Sum",
    "TopK",
    "TopKBy",
    "Var",
    "WeightedMean",
]
