"""Aggregation over windows: when they close, what they free, and the columns of late rows."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import DataError, col
from streamlib.connectors.memory import ArrowSource, CollectSink
from streamlib.runtime.execute import Execution
from streamlib.runtime.inline import run_inline
from streamlib.runtime.run import RunOptions

SECOND = dt.timedelta(seconds=1)


def ticks(*seconds: float, **columns: list) -> pa.Table:
    times = pa.array([round(1000 * s) for s in seconds], pa.int64()).cast(pa.timestamp("ms"))
    return pa.table({"ts": times, "n": range(len(seconds)), **columns})


def windows(table: pa.Table, delay: str = "0s", lateness: str = "0s") -> sl.Stream:
    timed = sl.read_arrow(table).event_time("ts", max_delay=delay)
    return timed.window(sl.tumbling("10s"), allowed_lateness=lateness).agg(n=sl.count(), last=col("n").last())


def late(stream: sl.Stream, **how: int) -> list[int]:
    return sorted(stream.late.collect(**how)["n"].to_pylist())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("delay", "lateness", "refused"),
    [
        ("0s", "0s", [1, 3]),
        ("1s", "0s", [1, 3]),
        ("3s", "0s", [3]),
        ("0s", "3s", [3]),
        ("2s", "1s", [3]),
        ("0s", "16s", []),
    ],
)
@pytest.mark.parametrize("how", [{}, {"batch_rows": 1}, {"workers": 3}])
def test_a_row_is_late_when_its_mark_has_reached_its_window_s_end_and_the_lateness(
    delay: str, lateness: str, refused: list[int], how: dict[str, int]
) -> None:
    """Delay and lateness add up for what is refused: row 1 is behind 12 s, row 3 behind 25 s."""
    assert late(windows(ticks(12, 9.999, 25, 9, 24), delay, lateness), **how) == refused


def test_the_bounds_of_lateness_are_exact_to_the_nanosecond() -> None:
    table = pa.table({"ts": pa.array([10 * 10**9 - 1, 5, 10 * 10**9, 6], pa.timestamp("ns")), "n": range(4)})
    assert late(windows(table)) == [3], "the mark 10 s closes [0, 10 s), one nanosecond less does not"


def test_a_late_row_has_all_columns_of_the_input_and_says_what_it_missed() -> None:
    table = ticks(25, 3, 12, venue=["x", "y", "z"])
    found = windows(table, delay="1s", lateness="2s").late.collect()
    assert found.schema.names == ["ts", "n", "venue", "late_by", "windows_late", "window_start", "window_end"]
    zero = dt.datetime(1970, 1, 1)
    assert found.to_pylist() == [
        {
            "ts": zero + 3 * SECOND,
            "n": 1,
            "venue": "y",
            "late_by": 12 * SECOND,
            "windows_late": 1,
            "window_start": zero,
            "window_end": zero + 10 * SECOND,
        },
        {
            "ts": zero + 12 * SECOND,
            "n": 2,
            "venue": "z",
            "late_by": 2 * SECOND,
            "windows_late": 1,
            "window_start": zero + 10 * SECOND,
            "window_end": zero + 20 * SECOND,
        },
    ]


def test_late_rows_have_a_time_and_go_through_windows_of_their_own() -> None:
    """They carry their old marks, so the second window has to allow for how late they are."""
    rest = windows(ticks(25, 3, 4, 12)).late.window(sl.tumbling("10s"), allowed_lateness="1m")
    assert rest.agg(n=sl.count()).collect()["n"].to_pylist() == [2, 1]


def test_window_bounds_are_columns_of_the_result() -> None:
    found = windows(ticks(1, 12), delay="1s")
    assert found.schema.names == ["window_start", "window_end", "n", "last"]


@pytest.mark.parametrize("workers", [1, 2])
def test_two_hundred_thousand_keys_of_one_row_leave_no_state_behind(workers: int) -> None:
    """Windows are freed whole: while the keys go by, only those of the open windows are held."""
    count, keys_a_window = 200_000, 10_000
    seconds = np.arange(count) // (keys_a_window // 10)
    table = pa.table(
        {"ts": pa.array(seconds, pa.timestamp("s")), "k": pa.array([f"key {n}" for n in range(count)])}
    )
    timed = sl.read(ArrowSource(table, block_rows=5_000)).event_time("ts", max_delay="1s")
    sink = CollectSink()
    result = timed.key_by("k").window(sl.tumbling("10s")).agg(n=sl.count())
    execution = Execution([result.write(sink)], workers, RunOptions())
    execution.open()
    stores = [o.store for w in execution.workers for o in w.operators if hasattr(o, "store")]
    most = 0

    def watched(workers: object) -> object:
        nonlocal most
        most = max(most, sum(store.rows for store in stores))
        return min(execution.workers, key=lambda worker: (worker.done, sum(worker.rows_in)))

    run_inline(execution, watched)  # type: ignore[arg-type]
    execution.finish()
    assert sink.table().num_rows == count
    assert most <= 4 * keys_a_window
    assert [(len(store), store.rows, store.nbytes) for store in stores] == [(0, 0, 0)] * len(stores)
    execution.close()


def test_a_sum_that_does_not_fit_is_an_error_and_one_that_passes_through_is_none() -> None:
    big = 2**62
    fits = ticks(1, 2, 3, 4, v=[big, big, big, -big])
    timed = sl.read_arrow(fits).event_time("ts", max_delay="1s").window(sl.tumbling("10s"))
    total = timed.agg(v=col("v").sum())
    with pytest.raises(DataError) as caught:
        total.named("totals").collect()
    assert "int64" in str(caught.value) and "'v'" in str(caught.value).replace('"', "'")
    assert caught.value.step == "totals"
    passes = ticks(1, 2, 3, v=[big, big, -big - 5])
    timed = sl.read_arrow(passes).event_time("ts", max_delay="1s").window(sl.tumbling("10s"))
    assert timed.agg(v=col("v").sum()).collect()["v"].to_pylist() == [big - 5]


def test_equal_aggregates_are_computed_once_and_expressions_over_them_are_right() -> None:
    table = ticks(1, 2, 3, v=[1.0, 2.0, 6.0])
    result = (
        sl.read_arrow(table)
        .event_time("ts", max_delay="1s")
        .window(sl.tumbling("10s"))
        .agg(
            a=col("v").sum(),
            b=col("v").sum() / sl.count(),
            c=(col("v").max() - col("v").min()) * 2,
            n=sl.count() + 1,
        )
    )
    assert result.collect().select(["a", "b", "c", "n"]).to_pylist() == [
        {"a": 9.0, "b": 3.0, "c": 10.0, "n": 4}
    ]
    assert len(result._node.aggregation.parts) == 4  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [1, 3])
def test_result_batches_are_at_most_batch_rows_and_small_windows_are_gathered(workers: int) -> None:
    """A thousand windows of three keys must not be a thousand batches, on one worker or between several."""
    count = 3_000
    table = pa.table(
        {"ts": pa.array(np.arange(count) * 10 // 3, pa.timestamp("s")), "k": np.arange(count) % 3}
    )
    timed = sl.read(ArrowSource(table)).event_time("ts", max_delay="1s")
    result = timed.key_by("k").window(sl.tumbling("10s")).agg(n=sl.count())
    sink = CollectSink()
    execution = Execution([result.write(sink)], workers, RunOptions(batch_rows=500))
    execution.open()
    sizes: list[int] = []
    for worker in execution.workers:
        for operator in worker.operators:
            operator.on_batch = _counted(operator.on_batch, sizes)  # type: ignore[method-assign]
    run_inline(execution)
    execution.finish()
    execution.close()
    assert sink.table().num_rows == count
    assert max(sizes) <= 500
    assert len(sizes) < count / 10, "batches of a few rows cost more than their rows"


def _counted(on_batch, sizes: list[int]):
    def counted(batch, side=0):
        sizes.append(len(batch))
        return on_batch(batch, side)

    return counted
