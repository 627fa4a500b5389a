"""Watermarks of real runs: marks across blocks, idle splits, splits that enter, jumps that nobody confirms."""

from __future__ import annotations

import pytest

import streamlib as sl
from streamlib.connectors.memory import CollectSink
from streamlib.contracts import PENDING
from streamlib.errors import DataError
from streamlib.graph import explain
from streamlib.runtime.inline import run_inline
from tests.runtime.sources import ListSource, ManualClock, Run, rows


def timed(source: ListSource, delay: str = "0s", **options: object) -> sl.Stream:
    return sl.read(source).event_time("ts", max_delay=delay, **options)  # type: ignore[arg-type]


def run_to_end(run: Run, clock: ManualClock | None = None, seconds: int = 1) -> None:
    """Time passes whenever nobody can do anything."""

    def wait() -> bool:
        if clock is not None:
            clock.now += seconds
        return True

    run_inline(run.execution, idle=wait)
    run.finish()


# ---- marks -------------------------------------------------------------------------------------------


def test_a_block_that_is_decoded_before_its_predecessor_waits_for_its_turn() -> None:
    """Worker 1 decodes block 1 while worker 0 still decodes block 0: the marks of block 1 know block 0."""
    run: Run

    def decoding(_: str, block: int) -> None:
        if block == 0:
            for _ in range(3):
                run.execution.workers[1].step()

    source = ListSource({"x": [rows(50), rows(3, 51)]}, decoding)
    run = Run(timed(source), workers=2)
    while 0 not in {worker.rows_in[0] for worker in run.execution.workers} and not source.read_order:
        run.execution.workers[0].step()
    run_to_end(run)
    assert run.late == [3]
    assert run.bars == [("a", 50, 2, 101)]


def test_the_watermark_is_that_of_the_split_furthest_behind() -> None:
    source = ListSource(
        {"x": [rows(n) for n in range(0, 100, 5)], "y": [rows(30), *[PENDING] * 30, rows(40)]}
    )
    run = Run(timed(source))
    run.steps(30)
    assert run.watermark == 30
    run_to_end(run)
    assert run.late == []


def test_the_last_windows_close_at_the_end_also_those_of_silent_keys() -> None:
    source = ListSource({"x": [rows(1, key="silent"), rows(12, 25, key="busy")]})
    run = Run(timed(source))
    run_to_end(run)
    assert run.bars == [("busy", 10, 1, 12), ("busy", 20, 1, 25), ("silent", 0, 1, 1)]
    assert run.open_windows() == 0


def test_the_window_of_a_key_that_has_gone_silent_closes_by_the_rows_of_other_keys() -> None:
    """A watermark per key would keep it open until the end."""
    source = ListSource({"x": [rows(1, key="silent"), rows(25, key="busy"), *[PENDING] * 30, rows(26)]})
    run = Run(timed(source))
    run.steps(10)
    assert run.open_windows() == 1
    run_to_end(run)


# ---- idle --------------------------------------------------------------------------------------------


def a_quiet_and_a_busy_split(**options: object) -> tuple[ListSource, ManualClock, Run]:
    """At second 0 of the processing clock both have a row; at 29 the busy one has its next, of 30 s."""
    source, clock = ListSource({"quiet": [rows(2)], "busy": [rows(1)]}, live=True), ManualClock()
    run = Run(timed(source, **options), clock=clock)
    run.steps(12)
    clock.now = 29
    source.add("busy", rows(30))
    run.steps(8)
    assert run.watermark == 2, "nothing has been silent for 30 s yet"
    return source, clock, run


def end(source: ListSource, run: Run, clock: ManualClock) -> None:
    source.end()
    run_to_end(run, clock)


def test_a_silent_split_is_waited_for_unless_it_is_said_otherwise() -> None:
    source, clock, run = a_quiet_and_a_busy_split()
    clock.now = 1_000_000
    run.steps(8)
    assert run.watermark == 2
    end(source, run, clock)
    assert run.late == []


def test_a_split_leaves_after_its_silence_and_the_others_go_on() -> None:
    source, clock, run = a_quiet_and_a_busy_split(idle="leave", idle_after="30s")
    clock.now = 31
    run.steps(8)
    assert run.watermark == 30
    assert run.open_windows() == 1, "the window of 1 s and 2 s has closed"
    end(source, run, clock)


def test_a_split_that_enters_again_has_rows_late_by_its_entry_mark_and_only_those() -> None:
    """It enters at the watermark of the others, 30 s: a row of 8 s is late for its window, one of 35 s is not."""
    source, clock, run = a_quiet_and_a_busy_split(idle="leave", idle_after="30s")
    clock.now = 31
    run.steps(8)
    source.add("quiet", rows(8, 35), rows(29))
    run.steps(12)
    end(source, run, clock)
    assert run.late == [8, 29]
    assert run.bars == [("a", 0, 2, 3), ("a", 30, 2, 65)]


def test_rows_that_are_late_only_since_their_split_entered_late_are_counted_by_split() -> None:
    """SEMANTICS 1: they go to `.late` too, and are counted by split."""
    source, clock, run = a_quiet_and_a_busy_split(idle="leave", idle_after="30s")
    clock.now = 31
    run.steps(8)
    source.add("quiet", rows(8, 35))
    run.steps(12)
    counted = {split.name: split.late_entry_rows for split in run.clock.splits.values()}
    end(source, run, clock)
    assert counted == {"quiet": 1, "busy": 0}


def test_when_all_splits_are_idle_the_watermark_stays() -> None:
    source, clock, run = a_quiet_and_a_busy_split(idle="leave", idle_after="30s")
    for _ in range(4):
        clock.now += 100
        run.steps(8)
    stays = run.watermark
    assert stays in (2, 30), "by which of them left last"
    clock.now += 1_000_000
    run.steps(8)
    assert run.watermark == stays
    source.add("quiet", rows(31))
    end(source, run, clock)
    assert run.late == []
    assert run.bars == [("a", 0, 2, 3), ("a", 30, 2, 61)]


def test_the_watermark_advances_with_the_wall_clock_from_the_last_row() -> None:
    source, clock = ListSource({"x": [rows(5)]}, live=True), ManualClock()
    run = Run(timed(source, idle="advance", idle_after="10s"), clock=clock)
    run.steps(8)
    clock.now = 9
    run.steps(4)
    assert run.watermark == 5
    clock.now = 15
    run.steps(4)
    assert run.watermark == 20, "the last row's 5 s and the 15 s since then"
    assert run.open_windows() == 0, "the window of 5 s has closed without a further row"
    source.add("x", rows(9, 21), rows(22))
    run.steps(4)
    assert run.watermark == 22, "with rows it is theirs again"
    end(source, run, clock)
    assert run.late == [9]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_splits_leave_and_enter_on_any_number_of_workers_without_a_lost_row(workers: int) -> None:
    source = ListSource(
        {
            "x": [rows(5), *[PENDING] * 9, rows(25), *[PENDING] * 9, rows(45)],
            "y": [rows(6), *[PENDING] * 14, rows(26, 36)],
            "z": [PENDING, PENDING, rows(7), *[PENDING] * 20, rows(8)],
        }
    )
    clock = ManualClock()
    run = Run(timed(source, idle="leave", idle_after="2s"), workers, clock=clock)
    run_to_end(run, clock)
    assert sum(bar[3] for bar in run.bars) + sum(run.late) == 5 + 25 + 45 + 6 + 26 + 36 + 7 + 8
    assert sum(bar[2] for bar in run.bars) + len(run.late) == 8


def test_idle_policies_are_named_as_a_reason_for_timing() -> None:
    source = ListSource({"x": [rows(1)]})
    for idle, timing in (("leave", True), ("advance", True), ("wait", False)):
        plan = explain([timed(source, idle=idle).write(CollectSink())])
        assert ("timing, because" in plan) is timing


# ---- max_jump ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_jump_is_real_when_the_next_row_confirms_it_wherever_the_blocks_are_cut(
    cut: int, workers: int
) -> None:
    seconds = [1, 2, 1000, 1001, 3, 1002]
    blocks = [rows(*seconds[i : i + cut]) for i in range(0, 6, cut)]
    run = Run(timed(ListSource({"x": blocks}), max_jump="60s"), workers)
    run_to_end(run)
    assert run.late == [3]
    assert sum(bar[2] for bar in run.bars) == 5


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
@pytest.mark.parametrize("seconds", [[1, 2, 1000, 3], [1, 2, 3, 1000]], ids=["in the middle", "at the end"])
def test_a_jump_that_the_next_row_does_not_confirm_is_an_error_that_names_the_row(
    seconds: list[int], cut: int
) -> None:
    blocks = [rows(*seconds[i : i + cut]) for i in range(0, 4, cut)]
    with pytest.raises(DataError) as caught:
        timed(ListSource({"the split": blocks}), max_jump="60s").collect()
    assert "the split" in str(caught.value)
    assert "00:16:40" in str(caught.value), "the time that came"
    assert caught.value.step == "event_time"


def test_a_jump_at_the_end_of_a_block_may_be_confirmed_by_a_block_that_another_worker_still_decodes() -> None:
    """Worker 0 finds the source exhausted before worker 1 has brought the row that confirms the jump."""
    run: Run

    def decoding(_: str, block: int) -> None:
        if block == 1:
            for _ in range(6):
                run.execution.workers[0].step()

    run = Run(timed(ListSource({"x": [rows(1, 2, 1000), rows(1001)]}, decoding), max_jump="60s"), workers=2)
    first, second = run.execution.workers
    while sum(first.rows_in) < 3:
        first.step()
    while not run.execution.shared.pool.exhausted(0):
        second.step()
    run_to_end(run)
    assert sum(bar[2] for bar in run.bars) == 4
