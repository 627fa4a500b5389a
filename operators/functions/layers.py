"""Rows of one place in the input, one after another: what a step does whose rows meet those of other branches.

Rows that stem from one row have its order. Where they part into branches that come together again, arrival
decides between them; so that it does not depend on the cut into batches, no two of them go on in one batch:
first the first rows of all, through all branches, then the second ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streamlib.elements import Batch


def layers(batch: Batch) -> Iterator[Batch]:
    """The rows of a batch in parts, of which none has two rows of one place.

    >>> import pyarrow as pa
    >>> rows = pa.record_batch({"n": [1, 2, 3, 4]})
    >>> [part.rows["n"].to_pylist() for part in layers(Batch(rows, order=np.array([7, 7, 8, 7])))]
    [[1, 3], [2], [4]]
    """
    order = batch.order
    if not isinstance(order, np.ndarray) or len(order) < 2:
        yield batch
        return
    by_order = np.argsort(order, kind="stable")
    begins = np.append(True, order[by_order[1:]] != order[by_order[:-1]])
    number = np.arange(len(order))
    nth = np.empty(len(order), dtype=np.int64)
    nth[by_order] = number - np.maximum.accumulate(np.where(begins, number, 0))
    for layer in range(int(nth.max()) + 1):
        yield batch if begins.all() else batch.take(np.flatnonzero(nth == layer))
