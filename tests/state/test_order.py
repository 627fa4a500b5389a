"""Order given by its first value is the same order, however a batch is cut, and costs no memory."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from streamlib.aggregates import AccumulatorPlan, First, Last
from streamlib.elements import Batch
from streamlib.state import PaneStore, Tumbling


def pair(rows: int, first: int = 1 << 45) -> tuple[Batch, Batch]:
    """A batch twice: its order by the first value, and as an array."""
    table = pa.record_batch({"n": pa.array(range(rows), pa.int64())})
    time = np.arange(rows, dtype=np.int64)
    return (
        Batch(table, time, order=first),
        Batch(table, time, order=np.arange(first, first + rows, dtype=np.int64)),
    )


def test_every_cut_of_a_batch_keeps_each_rows_order() -> None:
    rng = random.Random(1)
    for _ in range(200):
        short, plain = pair(rng.choice([0, 1, 7, 100]))
        for _ in range(4):
            rows = len(short)
            match rng.randrange(4):
                case 0:
                    offset = rng.randrange(rows + 1)
                    length = rng.randrange(rows - offset + 1)
                    short, plain = short.slice(offset, length), plain.slice(offset, length)
                case 1:
                    keep = np.array([rng.random() < 0.7 for _ in range(rows)], dtype=np.bool_)
                    short, plain = short.filter(keep), plain.filter(keep)
                case 2:
                    indices = np.array([rng.randrange(rows) for _ in range(rows)], dtype=np.int64)
                    short, plain = short.take(indices), plain.take(indices)
                case _:
                    short, plain = short.with_rows(short.rows), plain.with_rows(plain.rows)
            got, want = short.orders(), plain.orders()
            assert got is not None and want is not None
            assert got.dtype == np.int64 and got.tolist() == want.tolist()
            assert len(got) == len(short) == len(plain)


def test_a_slice_stays_one_number_and_takes_no_memory() -> None:
    short, plain = pair(100)
    assert short.slice(10, 50).order == (1 << 45) + 10
    assert plain.nbytes - short.nbytes == 800
    assert Batch(short.rows).orders() is None


@pytest.mark.parametrize("rows", [1, 1000, 5000])
def test_differential_a_store_takes_both_forms(rows: int) -> None:
    rng = np.random.default_rng(rows)
    plan = AccumulatorPlan([(First(), 0, pa.int64()), (Last(), 0, pa.int64())], ordered=True)
    stores = [PaneStore([], plan) for _ in range(2)]
    keys = pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    for number in rng.permutation(4).tolist():
        time, values = rng.integers(0, 3, rows), pa.array(np.arange(rows) + number * rows)
        first = number << 40
        for store, order in zip(stores, [first, np.arange(first, first + rows)], strict=True):
            store.add(keys, Tumbling(1), [values], time, order)
    one, two = ([r.to_pylist() for c in store.close(10) for r in c.results()] for store in stores)
    assert one == two
