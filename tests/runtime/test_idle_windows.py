"""A source that has gone quiet closes its windows by its idle policy: no further row is needed, and no end."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib.contracts import Sink, SinkWriter
from streamlib.runtime.execute import Execution
from streamlib.runtime.inline import run_inline
from streamlib.runtime.run import RunOptions
from tests.runtime.sources import ListSource, ManualClock, rows


class Seen(Sink, SinkWriter):
    """What has come so far."""

    accepts_upserts = True

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        return self

    def write(self, rows: pa.RecordBatch) -> None:
        self.rows += rows.to_pylist()

    def totals(self) -> list[int]:
        return sorted(row["total"] for row in self.rows)


class Live:
    """A run over a live source, by hand; each step of `workers` is taken in turn."""

    def __init__(self, source: ListSource, workers: int, window: Any, emit: str, **options: Any) -> None:
        self.source, self.clock, self.seen = source, ManualClock(), Seen()
        stream = sl.read(source).event_time("ts", max_delay="0s", **options).key_by("k")
        result = stream.window(window, emit=emit).agg(total=sl.col("v").sum())  # type: ignore[call-overload]
        options_of_run = RunOptions(now_ns=self.clock)
        self.execution = Execution([result.write(self.seen)], workers, options_of_run)
        self.execution.open()

    def steps(self, count: int = 40) -> None:
        for _ in range(count):
            for worker in self.execution.workers:
                worker.step()

    def end(self) -> None:
        self.source.end()

        def wait() -> bool:
            self.clock.now += 1
            return True

        run_inline(self.execution, idle=wait)
        self.execution.finish()
        self.execution.close()


WINDOWS = [
    sl.tumbling("10s"),
    sl.hopping("10s", every="10s"),
    sl.cumulative("10s", every="10s"),
    sl.session("10s"),
]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("window", WINDOWS, ids=["tumbling", "hopping", "cumulative", "session"])
@pytest.mark.parametrize("emit", ["final", "updates"])
def test_a_window_closes_when_its_quiet_split_leaves(window: Any, emit: str, workers: int) -> None:
    source = ListSource({"quiet": [rows(2)], "busy": [rows(1)]}, live=True)
    run = Live(source, workers, window, emit, idle="leave", idle_after="30s")
    run.steps()
    run.clock.now = 29
    source.add("busy", rows(30))
    run.steps()
    assert run.seen.rows == [], "the quiet split may still have rows"
    run.clock.now = 31
    run.steps()
    assert run.seen.totals() == [3]
    run.end()
    assert run.seen.totals() == [3, 30]


@pytest.mark.parametrize("window", WINDOWS, ids=["tumbling", "hopping", "cumulative", "session"])
@pytest.mark.parametrize("emit", ["final", "updates"])
def test_a_window_closes_when_the_wall_clock_has_advanced(window: Any, emit: str) -> None:
    run = Live(ListSource({"x": [rows(5)]}, live=True), 2, window, emit, idle="advance", idle_after="10s")
    run.steps()
    run.clock.now = 9
    run.steps()
    assert run.seen.rows == []
    run.clock.now = 20
    run.steps()
    assert run.seen.totals() == [5], "its last row's 5 s and the 20 s since then"
    run.end()
    assert run.seen.totals() == [5]
