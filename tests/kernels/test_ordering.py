"""The order of rows by time is NumPy's stable one."""

from __future__ import annotations

import numpy as np
import pytest

from streamlib.kernels import ordering


@pytest.mark.parametrize("span", [1, 2, 2_000, 10**6, 2 * 10**9, 10**14, 2**62])
@pytest.mark.parametrize("origin", [0, -(2**63), 2**63 - 1 - 2**62, -(10**6)])
def test_the_order_is_stable_whatever_the_times(span: int, origin: int) -> None:
    for rows in (0, 1, ordering.ROWS_MIN - 1, ordering.ROWS_MIN, 3_000, 4_096):
        times = origin + np.random.default_rng(rows).integers(0, span, rows)
        for given in (times, np.sort(times), np.sort(times)[::-1], times.repeat(2)[::2]):
            assert np.array_equal(ordering.time_order(given), np.argsort(given, kind="stable"))


def test_the_plain_function_agrees() -> None:
    times = np.random.default_rng(1).integers(0, 3 * 10**6, 600)
    order, counts = np.empty(600, dtype=np.int64), np.zeros((2, 2048), dtype=np.int64)
    words, spare = np.empty(600, dtype=np.int64), np.empty(600, dtype=np.int64)
    ordering.sort_words.py(times, 0, 10, 2, counts, words, spare, order)
    assert np.array_equal(order, np.argsort(times, kind="stable"))
