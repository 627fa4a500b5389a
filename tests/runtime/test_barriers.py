"""Barriers and parked stacks: whatever works next, a barrier cuts the input in one place and nothing locks."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

import streamlib as sl
from streamlib.runtime.inline import run_inline
from streamlib.runtime.worker import Worker
from tests.runtime.sources import ListSource, Run, rows

SPLITS = {
    name: [rows(*range(n, n + 4), key=key) for n, key in zip(range(0, 60, 4), "abcdefghijklmno", strict=True)]
    for name in ("x", "y", "z")
}
ROWS = 3 * 60
TINY = {"channel_bytes_max": 1, "batch_rows": 2}


def timed(source: ListSource, delay: str = "5s") -> sl.Stream:
    return sl.read(source).event_time("ts", max_delay=delay)


def anybody(seed: int):
    generator = random.Random(seed)

    def schedule(workers: Sequence[Worker]) -> Worker:
        return generator.choice(workers)

    return schedule


@pytest.fixture(scope="module")
def expected() -> list[tuple[str, int, int, int]]:
    """Counted by hand."""
    bars: dict[tuple[str, int], list[int]] = {}
    for blocks in SPLITS.values():
        for block in blocks:
            for key, value in zip(block["k"].to_pylist(), block["v"].to_pylist(), strict=True):
                bar = bars.setdefault((key, value // 10 * 10), [0, 0])
                bar[0] += 1
                bar[1] += value
    return sorted((*key, *bar) for key, bar in bars.items())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("workers", [2, 4])
def test_channels_of_one_batch_never_lock_whoever_works_next(
    seed: int, workers: int, expected: list[tuple[str, int, int, int]]
) -> None:
    run = Run(timed(ListSource(SPLITS)), workers, **TINY)
    run_inline(run.execution, anybody(seed))
    run.finish()
    assert run.bars == expected and run.late == []


@pytest.mark.parametrize("seed", range(4))
def test_a_diamond_over_channels_of_one_batch_never_locks(seed: int) -> None:
    """One branch is a window of its own, exchanged; the other goes straight to the union."""
    source = timed(ListSource(SPLITS))
    counted = source.key_by("k").window(sl.tumbling("4s")).agg(n=sl.count())
    branch = counted.select(k="k", v="n")
    both = branch.union(source.select("k", "v")).union(branch.filter(sl.col("v") > 3))
    run = Run(both, 3, size="20s", **TINY)
    run_inline(run.execution, anybody(seed))
    run.finish()
    assert sum(bar[2] for bar in run.bars) >= ROWS


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("workers", [1, 3])
def test_a_barrier_cuts_the_input_in_one_place(
    seed: int, workers: int, expected: list[tuple[str, int, int, int]]
) -> None:
    """What stands in the checkpoint's windows and what had come out before it are the rows before its positions."""
    run = Run(timed(ListSource(SPLITS)), workers, **TINY)
    execution, schedule = run.execution, anybody(seed)
    for _ in range(workers * (4 + 5 * seed)):
        schedule(execution.workers).step()
    assert not any(worker.done for worker in execution.workers), "the barrier comes while the run goes on"
    number = execution.shared.start_barrier()
    assert number is not None
    assert execution.shared.start_barrier() is None, "one checkpoint at a time"
    checkpoint = execution.shared.checkpoints[number]
    written_at_barrier: dict[int, int] = {}
    while len(checkpoint.workers_done) < workers:
        schedule(execution.workers).step()
        for worker in execution.workers:
            if worker.index in checkpoint.workers_done and worker.index not in written_at_barrier:
                written_at_barrier[worker.index] = written(run, worker.index)
    read = sum(4 * int(position) for position in checkpoint.positions.values() if position is not None)
    held = sum(
        sum(table["rows"].to_pylist()) for state in checkpoint.states.values() for table in state.values()
    )
    assert held + sum(written_at_barrier.values()) == read
    run_inline(execution, schedule)
    run.finish()
    assert run.bars == expected and run.late == []


def written(run: Run, worker: int) -> int:
    """Input rows counted in the bars that a worker has written so far."""
    return sum(sum(batch["n"].to_pylist()) for batch in run.sinks[0]._kept.get(worker, []))


@pytest.mark.parametrize("workers", [1, 3])
def test_stop_finishes_what_is_in_flight_and_leaves_windows_open(workers: int) -> None:
    run = Run(timed(ListSource(SPLITS)), workers, **TINY)
    run.steps(25)
    run.execution.stop()
    run_inline(run.execution)
    totals = run.execution.totals()
    run.finish()
    taken = totals.rows_in["read"]
    assert 0 < taken < ROWS
    assert sum(bar[2] for bar in run.bars) < taken, "open windows are in no output"
    assert sum(totals.open_windows.values()) > 0


@pytest.mark.parametrize("workers", [1, 3])
def test_stop_with_flush_closes_the_open_windows_over_what_was_read(workers: int) -> None:
    run = Run(timed(ListSource(SPLITS)), workers, **TINY)
    run.steps(25)
    run.execution.stop(flush=True)
    run_inline(run.execution)
    totals = run.execution.totals()
    run.finish()
    assert 0 < totals.rows_in["read"] < ROWS
    assert sum(bar[2] for bar in run.bars) == totals.rows_in["read"]
    assert totals.open_windows == {}


def test_stop_when_all_has_been_read_already_just_ends() -> None:
    run = Run(timed(ListSource(SPLITS)), 2)
    run_inline(run.execution)
    run.execution.stop()
    run_inline(run.execution)
    run.finish()
    assert sum(bar[2] for bar in run.bars) == ROWS
