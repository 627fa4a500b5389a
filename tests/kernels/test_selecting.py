"""Rows that a condition keeps, by kernels, against Arrow's filter."""

from __future__ import annotations

import decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlib.elements import Batch
from streamlib.kernels.selecting import ROWS_MIN, choose_rows, filtered

WIDEST = 3 * ROWS_MIN
RANDOM = np.random.default_rng(5)


def table() -> pa.RecordBatch:
    numbers = RANDOM.integers(-(2**62), 2**62, WIDEST)
    lengths = RANDOM.integers(0, 21, WIDEST)
    texts = ["é" * (n // 2) + "x" * (n % 2) for n in lengths.tolist()]
    nulls = RANDOM.random(WIDEST) < 0.2
    return pa.record_batch(
        {
            "int64": numbers,
            "int32": (numbers >> 40).astype(np.int32),
            "int16": (numbers >> 50).astype(np.int16),
            "uint8": (numbers & 255).astype(np.uint8),
            "float64": numbers / 7,
            "time": pa.array(numbers).view(pa.timestamp("us")),
            "bool": numbers > 0,
            "text": texts,
            "bytes": pa.array([text.encode() for text in texts], pa.binary()),
            "large": pa.array(texts, pa.large_string()),
            "nullable": pa.array(numbers, mask=nulls),
            "nullable_text": pa.array(texts, mask=nulls),
            "list": [[n] * (n % 3) for n in lengths.tolist()],
            "coded": pa.array(texts).dictionary_encode(),
            "decimal": pa.array([decimal.Decimal(n) for n in lengths.tolist()], pa.decimal128(9, 2)),
        }
    )


ROWS = table()


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32),
    share=st.sampled_from([0.0, 0.01, 0.5, 0.99, 1.0]),
    begin=st.integers(0, 70),
    rows=st.integers(ROWS_MIN, 2 * ROWS_MIN),
    bit=st.integers(0, 17),
    order=st.sampled_from(["none", "first", "each"]),
)
def test_as_arrow_filters(seed: int, share: float, begin: int, rows: int, bit: int, order: str) -> None:
    drawn = np.random.default_rng(seed)
    keep = pa.array(drawn.random(rows + bit) < share).slice(bit)
    orders = {"none": None, "first": 40, "each": drawn.integers(0, 99, rows)}[order]
    batch = Batch(ROWS.slice(begin, rows), drawn.integers(0, 99, rows), order=orders)
    got, want = filtered(batch, keep), batch.filter(keep)
    got.rows.validate(full=True)
    assert got.rows.equals(want.rows)
    assert got.time is not None and want.time is not None
    np.testing.assert_array_equal(got.time, want.time)
    np.testing.assert_array_equal(got.orders(), want.orders())
    assert got.mark is None


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 200])
@pytest.mark.parametrize("bit", [0, 3, 8])
def test_rows_are_chosen_by_their_bits(rows: int, bit: int) -> None:
    mask = np.random.default_rng(rows).random(rows) < 0.5
    keep = pa.array([False] * bit + mask.tolist(), pa.bool_())
    for choose in (choose_rows, choose_rows.py):
        which = np.full(rows + 1, -1, dtype=np.int64)
        bits = keep.buffers()[1].address if len(keep) else 0
        count = choose(bits, bit, rows, which)
        assert which[:count].tolist() == np.flatnonzero(mask).tolist()
