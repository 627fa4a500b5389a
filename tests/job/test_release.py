"""What a run used is free as soon as it has ended: input and output do not wait for the garbage collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib.connectors import ArrowSource, CollectSink

ROWS = pa.table({"ts": pa.array([1, 2, 30], pa.timestamp("s")), "k": ["a", "b", "a"]})


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def bars(source: ArrowSource) -> Any:
    timed = sl.read(source).event_time("ts", max_delay="1s")
    return timed.key_by("k").window(sl.tumbling("10s")).agg(n=sl.count())


def ran(workers: int) -> list[weakref.ref[Any]]:
    source, sink = ArrowSource(ROWS), CollectSink()
    assert sl.run(bars(source).write(sink), workers=workers, progress=False).rows_out == 3
    return [weakref.ref(source), weakref.ref(sink)]


def collected(workers: int) -> list[weakref.ref[Any]]:
    source = ArrowSource(ROWS)
    assert bars(source).collect(workers=workers).num_rows == 3
    return [weakref.ref(source)]


@pytest.mark.parametrize("use", [ran, collected])
@pytest.mark.parametrize("workers", [1, 2])
def test_input_and_output_are_free_when_a_run_has_ended(
    use: Callable[[int], list[weakref.ref[Any]]], workers: int
) -> None:
    assert not [ref() for ref in use(workers) if ref() is not None]
