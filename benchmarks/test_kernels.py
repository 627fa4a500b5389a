"""Kernels on one batch of 65,536 rows, and on one of 1,024."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.ticks import ticks
from streamlib.elements import MIN_TIME, times_ns
from streamlib.kernels.keys import KeyEncoder, exchange_order, partition
from streamlib.kernels.marks import advance

Benchmark = Callable[..., Any]

SECOND = 1_000_000_000


@pytest.fixture(params=[65_536, 1_024], ids=lambda rows: f"{rows}-rows")
def batch(request: pytest.FixtureRequest) -> pa.RecordBatch:
    return ticks(request.param).to_batches()[0]


def test_words_of_short_strings(benchmark: Benchmark, batch: pa.RecordBatch) -> None:
    encoder = KeyEncoder([pa.string()])
    column = batch.column("symbol")
    words = benchmark(lambda: encoder.words(encoder.encode([column], len(column))))
    assert len(np.unique(words)) == len(column.unique())


def test_words_of_long_strings(benchmark: Benchmark, batch: pa.RecordBatch) -> None:
    encoder = KeyEncoder([pa.string()])
    column = pa.array([f"a-rather-long-name-{name}" for name in batch.column("symbol").to_pylist()])
    words = benchmark(lambda: encoder.words(encoder.encode([column], len(column))))
    assert len(np.unique(words)) == len(column.unique())


def test_hashes_of_integers(benchmark: Benchmark, batch: pa.RecordBatch) -> None:
    encoder = KeyEncoder([pa.int64()])
    column = batch.column("volume")
    hashes = benchmark(lambda: encoder.hashes(encoder.encode([column], len(column))))
    assert len(np.unique(hashes)) == len(column.unique())


@pytest.mark.parametrize("workers", [2, 8])
def test_order_of_an_exchange(benchmark: Benchmark, batch: pa.RecordBatch, workers: int) -> None:
    encoder = KeyEncoder([pa.string()])
    column = batch.column("symbol")
    hashes = encoder.hashes(encoder.encode([column], len(column)))
    order = benchmark(lambda: exchange_order(partition(hashes, workers), workers))
    assert sum(len(part) for part in order) >= len(column)


@pytest.mark.parametrize("delay", [2 * SECOND, SECOND // 2], ids=["none-behind", "some-behind"])
def test_marks(benchmark: Benchmark, batch: pa.RecordBatch, delay: int) -> None:
    times = times_ns(batch.column("ts"), "ts")
    progress = benchmark(advance, times, MIN_TIME, MIN_TIME, delay)
    assert progress.running_max == times.max()
