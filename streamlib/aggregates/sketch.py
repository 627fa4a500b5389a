"""The buckets of a DDSketch: numbers of buckets that ascend with their values (Masson et al. 2019)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

ZERO = 2**28
"""The bucket of 0; those of positive values are above, those of negative ones below."""
NAN = 2**30
BIAS = 2**26
INFINITE = 2**25
"""Logarithms, in units of a bucket, lie below this."""


def log_gamma(error: float) -> float:
    """The width of a bucket, as a logarithm (2.1)."""
    return math.log1p(error) - math.log1p(-error)


def bucket_values(buckets: npt.NDArray[np.int64], error: float) -> npt.NDArray[np.float64]:
    """The value that stands for each bucket: within `error` of all values in it.

    >>> bucket_values(np.array([ZERO, ZERO + BIAS]), 0.01).tolist()
    [0.0, 0.99]
    """
    part = buckets - ZERO
    exponent = np.abs(part) - BIAS
    with np.errstate(over="ignore"):
        size = np.exp(exponent * log_gamma(error)) * (1.0 - error)
    size = np.where(exponent == INFINITE, np.inf, size)
    values = np.where(part == 0, 0.0, np.copysign(size, part))
    return np.where(buckets == NAN, np.nan, values)
