"""Sums of squared deviations, computed from sums without losing what cancels.

n * sum(xy) - sum(x) * sum(y) is taken exactly, as a sum of products that are split into two doubles
each, and rounded once (SumK: Ogita, Rump and Oishi 2005).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.aggregates.accumulators.squares import product_error, sum_error
from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.memory import F64, I64

Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

_TERMS = 20
_PASSES = 5


@inline
def put_product(a: F64, b: F64, terms: Float64s, at: I64) -> I64:
    """Appends `a * b` as two terms; returns where the next one goes."""
    product = a * b
    terms[at] = product
    terms[at + 1] = product_error(a, b, product)
    return at + 2


@inline
def sum_terms(terms: Float64s, count: I64) -> F64:
    """The sum, rounded once, as if taken with `_PASSES` times the digits."""
    for _ in range(_PASSES):
        for i in range(1, count):
            total = terms[i] + terms[i - 1]
            terms[i - 1] = sum_error(terms[i], terms[i - 1], total)
            terms[i] = total
    rest = 0.0
    for i in range(count - 1):
        rest += terms[i]
    return terms[count - 1] + rest


@kernel("void(ints, float64[:,::1], float64[:,::1], float64[:,::1], float64[::1], float64[::1])")
def write_comoments(
    counts: Int64s, x: Float64s, y: Float64s, products: Float64s, terms: Float64s, out: Float64s
) -> None:
    """Writes n * sum(xy) - sum(x) * sum(y) for each row.

    Args:
        x, y, products: sums, as doubles that add up to them; shape (rows, doubles).
        terms: room to work in.
    """
    for row in range(len(counts)):
        at = 0
        for k in range(products.shape[1]):
            at = put_product(np.float64(counts[row]), products[row, k], terms, at)
        for i in range(x.shape[1]):
            for k in range(y.shape[1]):
                at = put_product(-x[row, i], y[row, k], terms, at)
        out[row] = sum_terms(terms, at)


@kernel("void(float64[::1], float64[::1], float64[::1], float64[::1])")
def write_products(a: Float64s, b: Float64s, product: Float64s, error: Float64s) -> None:
    """Writes the products, rounded, and what rounding lost."""
    for i in range(len(a)):
        product[i] = a[i] * b[i]
        error[i] = product_error(a[i], b[i], product[i])


def comoments(counts: Int64s, x: Float64s, y: Float64s, products: Float64s) -> Float64s:
    """The sum of the products of the deviations of two columns, for each key; shape (keys,).

    Args:
        counts: rows of each key.
        x, y, products: sums, shape (keys, doubles).
    """
    out = np.empty(len(counts), dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        a, b, c = (np.ascontiguousarray(part) for part in (x, y, products))
        write_comoments(np.ascontiguousarray(counts), a, b, c, np.empty(_TERMS), out)
        found = out / np.maximum(counts, 1)
        # Of infinite values there is no variance; squares above 1e308 have an infinite one.
        finite = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
        infinite = finite & ~np.isfinite(products[:, 0])
    return np.where(infinite, products[:, 0], np.where(finite, found, np.nan))


def doubles(words: Int64s, *others: Int64s) -> Float64s:
    """The words of float sums as doubles, side by side; those of a sum that is not finite spoil the row."""
    parts = [np.ascontiguousarray(part).view(np.float64) for part in (words, *others)]
    return np.concatenate(parts, axis=1)
