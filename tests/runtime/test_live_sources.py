"""Sources that announce splits and data while the run is on: who is asked, in which order, and what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib.contracts import PENDING, Block, Pending, Source, Split, SplitReader, Wake
from streamlib.errors import SourceError
from streamlib.runtime.splits import MAX_DRIFT_NS, SplitPool
from tests.runtime.sources import SCHEMA, ListSource, ManualClock, Run, rows


class LiveSource(Source):
    """Splits that a test opens, fills and ends by hand."""

    bounded = replayable = False
    grows = True

    def __init__(self, announces: bool = True) -> None:
        self.announces = announces
        self.items: dict[str, list[Any]] = {}
        self.new: list[str] = []
        self.complete = False
        self.error: Exception | None = None
        self.wake: Wake | None = None
        self.asked: list[str] = []
        self.closed = 0

    def schema(self) -> pa.Schema:
        return SCHEMA

    def splits(self) -> list[Split]:
        return []

    def bind(self, wake: Wake) -> bool:
        self.wake = wake
        return self.announces

    def new_splits(self) -> list[Split] | None:
        if self.error is not None:
            raise self.error
        found, self.new = self.new, []
        return None if self.complete and not found else [Split(name) for name in found]

    def open(self, split: Split, position: Any = None) -> SplitReader:
        return LiveReader(self, split.name)

    def close(self) -> None:
        self.closed += 1

    # What a test does.

    def appear(self, name: str, *items: Any) -> None:
        self.items[name] = list(items)
        self.new.append(name)
        self.tell(None)

    def send(self, name: str, *items: Any) -> None:
        """Batches, and None for the end of the split."""
        self.items[name] += items
        self.tell(name)

    def finish(self) -> None:
        self.complete = True
        self.tell(None)

    def tell(self, name: str | None) -> None:
        assert self.wake is not None
        if self.announces:
            self.wake(name)


class LiveReader(SplitReader):
    def __init__(self, source: LiveSource, name: str) -> None:
        self.source, self.name = source, name

    def read(self) -> Block | Pending | None:
        self.source.asked.append(self.name)
        items = self.source.items[self.name]
        if not items:
            return PENDING
        item = items.pop(0)
        if callable(item):
            item()
            return PENDING
        return None if item is None else Block(item, nbytes=item.nbytes)

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        yield block.data


def timed(source: Source, **options: Any) -> sl.Stream:
    return sl.read(source).event_time("ts", max_delay="0s", **options)


def done(run: Run) -> bool:
    return all(worker.done for worker in run.execution.workers)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("announces", [True, False])
def test_splits_come_and_go_and_the_run_ends_with_the_source(workers: int, announces: bool) -> None:
    source = LiveSource(announces)
    run = Run(timed(source), workers)
    run.steps(5)
    assert not done(run)
    source.appear("a", rows(1, 12), None)
    run.steps(20)
    source.appear("b", rows(13, 25))
    run.steps(20)
    assert not done(run)
    source.send("b", rows(31), None)
    source.finish()
    run.steps(60)
    assert done(run)
    run.finish()
    assert [bar[1:] for bar in run.bars] == [(0, 1, 1), (10, 2, 25), (20, 1, 25), (30, 1, 31)]
    assert source.closed == 1


def test_a_split_that_had_nothing_is_asked_again_only_when_it_has_something() -> None:
    source = LiveSource()
    run = Run(timed(source))
    source.appear("a")
    run.steps(20)
    assert source.asked == ["a"]
    source.send("a", rows(1))
    run.steps(20)
    assert source.asked == ["a"] * 3
    source.send("a", None)
    source.finish()
    run.steps(20)
    assert done(run)
    run.finish()


def test_data_that_comes_while_the_reader_says_that_there_is_none_is_not_missed() -> None:
    source = LiveSource()
    run = Run(timed(source))
    source.appear("a", lambda: source.send("a", rows(3), None))
    source.finish()
    run.steps(30)
    assert done(run)
    run.finish()
    assert [bar[1:] for bar in run.bars] == [(0, 1, 3)]


def test_a_split_that_floods_does_not_keep_others_waiting() -> None:
    """They are read in turn, though the flood's watermark is the lowest at all times."""
    source = LiveSource()
    run = Run(timed(source))
    source.appear("flood", *[rows(1)] * 50)
    source.appear("other", *[rows(100 + n) for n in range(5)])
    run.steps(400)
    assert source.asked.index("other") <= 2
    assert source.asked[:10].count("other") >= 4
    for name in ("flood", "other"):
        source.send(name, None)
    source.finish()
    run.steps(50)
    run.finish()


def test_no_split_gets_further_ahead_than_the_drift() -> None:
    """What is open stays bounded: the split that is far ahead waits for the one that is behind."""
    drift = MAX_DRIFT_NS // 1_000_000_000
    source = LiveSource()
    run = Run(timed(source))
    source.appear("behind", rows(1))
    source.appear("ahead", rows(1), *[rows(drift * n) for n in range(1, 9)])
    run.steps(200)
    assert len(source.items["ahead"]) >= 6
    source.send("behind", None)
    source.send("ahead", None)
    source.finish()
    run.steps(100)
    assert done(run)
    run.finish()
    assert len(run.bars) == 9 and run.late == []


def test_ended_splits_leave_nothing_behind() -> None:
    source = LiveSource()
    run = Run(timed(source))
    for number in range(300):
        source.appear(f"client {number}", rows(number), None)
        run.steps(8)
    pool = run.execution.shared.pool
    assert len(pool.splits) <= 1 and len(run.clock.splits) <= 1
    assert run.clock.high() == 299 * 1_000_000_000
    source.finish()
    run.steps(30)
    assert done(run)
    run.finish()
    assert sum(bar[2] for bar in run.bars) == 300 and run.late == []


def test_where_nobody_is_there_others_go_on_after_a_while() -> None:
    """A server without clients holds back what it is joined with, until it is left out."""
    clock = ManualClock()
    server = LiveSource()
    other = ListSource({"x": [rows(1), rows(25), rows(45)]}, live=True)
    stream = timed(other).union(timed(server, idle="leave", idle_after="5s"))
    run = Run(stream, clock=clock)
    run.steps(40)
    assert run.open_windows() == 3
    clock.now = 1
    run.steps(40)
    assert run.open_windows() == 3
    clock.now = 7
    run.steps(40)
    assert run.open_windows() == 1
    server.appear("a", rows(3, 47), None)
    server.finish()
    other.end()
    run.steps(60)
    assert done(run)
    run.finish()
    assert [bar[1:] for bar in run.bars] == [(0, 1, 1), (20, 1, 25), (40, 2, 92)]
    assert run.late == [3]


def test_the_last_windows_close_by_the_clock_when_the_last_client_has_left() -> None:
    clock = ManualClock()
    source = LiveSource()
    run = Run(timed(source, idle="advance", idle_after="5s"), clock=clock)
    source.appear("a", rows(1, 12), None)
    run.steps(40)
    assert run.open_windows() == 1 and run.watermark == 12
    clock.now = 1
    run.steps(20)
    clock.now = 30
    run.steps(20)
    assert run.open_windows() == 0 and run.watermark == 12 + 29
    source.finish()
    run.steps(20)
    assert done(run)
    run.finish()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_source_that_fails_while_it_is_asked_ends_the_run_in_its_step(workers: int) -> None:
    source = LiveSource()
    run = Run(timed(source), workers)
    source.error = SourceError("the network is gone")
    source.tell(None)
    with pytest.raises(SourceError, match="network") as caught:
        run.steps(5)
    assert caught.value.step == "read"
    run.execution.abort()
    run.execution.close()
    assert source.closed == 1


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("clients", [0, 1, 3])
def test_a_stop_is_a_whole_one_whoever_is_there(workers: int, clients: int) -> None:
    """The cut knows every clock, also one that has no split now, or whose splits have all been forgotten."""
    source = LiveSource()
    run = Run(timed(source), workers)
    for number in range(clients):
        source.appear(f"client {number}", rows(number), *([None] if number else []))
        run.steps(20)
    run.execution.stop()
    assert any(run.execution.stopped or run.steps(1) for _ in range(100))
    checkpoint = run.execution.shared.checkpoints[1]
    assert all(state is not None for state in checkpoint.clocks.values())
    run.finish()


def test_waits_are_long_only_where_data_is_announced() -> None:
    def waits(*sources: Source, **options: Any) -> float:
        run = Run(timed(sources[0], **options).union(*[timed(s) for s in sources[1:]]))
        seconds = run.execution.shared.pool.wait_seconds()
        run.execution.abort()
        run.execution.close()
        return seconds

    assert waits(LiveSource()) == 0.2
    assert waits(LiveSource(), ListSource({"x": []})) == 0.005
    assert waits(LiveSource(), idle="leave", idle_after="100ms") == 0.025
    assert SplitPool(lambda: 0).wait_seconds() >= 0.005
