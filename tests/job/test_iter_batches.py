"""`iter_batches`: rows as they come, pulled by the caller, and nothing left when the caller leaves."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import BuildError, UserFunctionError
from streamlib.connectors.memory import ArrowSource
from streamlib.job.batches import AHEAD_MAX, HandoverSink
from tests.job.live import Feed


@given(
    rows=st.integers(0, 60),
    block=st.integers(1, 20),
    batch_rows=st.integers(1, 20),
    workers=st.integers(1, 3),
)
def test_all_rows_come_once_in_batches_that_are_neither_empty_nor_too_large(
    rows: int, block: int, batch_rows: int, workers: int
) -> None:
    table = pa.table({"n": pa.array(range(rows), pa.int64())})
    stream = sl.read(ArrowSource(table, block))
    batches = list(stream.iter_batches(workers=workers, batch_rows=batch_rows))
    assert all(0 < batch.num_rows <= batch_rows for batch in batches)
    assert all(batch.schema == stream.schema for batch in batches)
    numbers = [n for batch in batches for n in batch["n"].to_pylist()]
    assert sorted(numbers) == list(range(rows))
    if workers == 1:
        assert numbers == list(range(rows))


@pytest.mark.parametrize("workers", [1, 2])
def test_endless_input_gives_rows_while_it_goes_on_and_ends_when_the_caller_leaves(workers: int) -> None:
    feed = Feed()
    batches = sl.read(feed).iter_batches(workers=workers)
    for n in (1, 2, 3):
        feed.send(n)
        assert next(batches)["n"].to_pylist() == [n]
    batches.close()  # no thread stays: the fixture of all tests looks


def test_a_loop_that_is_broken_off_calls_the_run_off() -> None:
    seen = []
    table = pa.table({"n": range(1_000)})
    for batch in sl.read(ArrowSource(table, 1)).iter_batches(workers=2):
        seen += batch["n"].to_pylist()
        if len(seen) == 3:
            break
    assert len(seen) == 3


def test_the_run_waits_for_a_caller_that_is_slower() -> None:
    """The sink lets no more than its limit wait: with nobody taking, a write does not return."""
    made: list[int] = []

    def note(rows: pa.RecordBatch) -> pa.RecordBatch:
        made.extend(rows["n"].to_pylist())
        return rows

    table = pa.table({"n": range(500)})
    batches = sl.read(ArrowSource(table, 1)).map_batches(note).iter_batches()
    for taken in range(1, 6):
        next(batches)
        assert len(made) <= taken + AHEAD_MAX + 2
    batches.close()


def test_an_error_comes_after_the_batches_before_it() -> None:
    def fails(rows: pa.RecordBatch) -> pa.RecordBatch:
        if 2 in rows["n"].to_pylist():
            raise ValueError("two")
        return rows

    batches = sl.read(ArrowSource(pa.table({"n": range(5)}), 1)).map_batches(fails).iter_batches()
    seen: list[int] = []
    with pytest.raises(UserFunctionError, match="two"):
        seen.extend(n for batch in batches for n in batch["n"].to_pylist())
    assert seen == [0, 1]


def test_nothing_runs_before_the_first_batch_is_asked_for() -> None:
    feed = Feed().send(1)
    batches = sl.read(feed).iter_batches()
    assert len(feed._rows) == 1
    del batches


def test_options_are_checked_at_once() -> None:
    with pytest.raises(BuildError, match="workers= has no such value"):
        sl.read(Feed()).iter_batches(workers=0)


def test_a_sink_that_is_cancelled_lets_its_writer_go() -> None:
    sink = HandoverSink(ahead_max=1)
    rows = pa.record_batch({"n": [1]})
    sink.write(rows)
    sink.cancel()
    with pytest.raises(sl.SinkError):
        sink.write(rows)
    sink.complete()
    assert sink.take() is rows and sink.take() is None
