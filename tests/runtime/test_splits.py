"""The pool of splits: what is read next, and how much state that leaves open."""

from __future__ import annotations

import pytest

import streamlib as sl
from streamlib.contracts import PENDING
from streamlib.errors import SourceError
from streamlib.runtime.inline import run_inline
from streamlib.runtime.splits import MAX_DRIFT_NS
from tests.runtime.sources import ListSource, Run, rows, untimed

HOUR, DAY = 3_600, 86_400
DRIFT = MAX_DRIFT_NS // 1_000_000_000


def timed(source: ListSource, delay: str = "0s", **options: object) -> sl.Stream:
    return sl.read(source).event_time("ts", max_delay=delay, **options)  # type: ignore[arg-type]


def largest_number_of_open_windows(run: Run) -> int:
    """Runs to the end, one step at a time."""
    most = 0
    while not all(worker.done for worker in run.execution.workers):
        run.steps(1)
        most = max(most, run.open_windows())
    run.finish()
    return most


@pytest.mark.parametrize("workers", [1, 3])
def test_a_month_of_daily_files_is_read_in_the_order_of_time(workers: int) -> None:
    """With windows of an hour a handful is open at any time, not the 720 of the month."""
    days = {
        f"day {day:02}": [
            rows(*range(day * DAY + h * HOUR, day * DAY + (h + 1) * HOUR, 1_800)) for h in range(24)
        ]
        for day in range(30)
    }
    source = ListSource(days)
    run = Run(timed(source, "10m"), workers, size="1h")
    assert largest_number_of_open_windows(run) <= 2 + 2 * workers
    assert source.read_order == sorted(source.read_order)
    assert len(run.bars) == 720 and run.late == []


@pytest.mark.parametrize("workers", [1, 3])
def test_files_by_venue_over_the_same_day_advance_together(workers: int) -> None:
    venues = {
        f"venue {v}": [rows(*range(h * HOUR, (h + 1) * HOUR, 600)) for h in range(24)] for v in range(12)
    }
    run = Run(timed(ListSource(venues), "10m"), workers, size="1h")
    assert largest_number_of_open_windows(run) <= 2 + 2 * workers
    assert [bar[2] for bar in run.bars] == [12 * 6] * 24


def test_history_joined_with_history_of_another_source_advances_together() -> None:
    sources = [ListSource({name: [rows(h * HOUR) for h in range(48)]}) for name in ("x", "y")]
    run = Run(timed(sources[0]).union(timed(sources[1])), size="1h")
    assert largest_number_of_open_windows(run) <= 3
    assert [bar[2] for bar in run.bars] == [2] * 48


def test_a_split_that_cannot_be_peeked_at_is_read_first() -> None:
    """Nothing is known of it, so nothing may close before its first row."""
    source = ListSource({"later": [rows(100), rows(200)], "earlier": [rows(10), rows(20)]}, peeks=False)
    run = Run(timed(source))
    run_inline(run.execution)
    run.finish()
    assert run.late == []
    assert source.read_order == ["later", "earlier", "earlier", "later"]


def test_a_split_far_ahead_of_one_that_has_nothing_now_waits_for_it() -> None:
    ahead = [rows(n * DRIFT // 4) for n in range(12)]
    source = ListSource({"behind": [rows(0), *[PENDING] * 50, rows(1)], "ahead": ahead})
    run = Run(timed(source))
    run.steps(20)
    read = source.read_order.count("ahead")
    assert 4 <= read <= 6, "at most the drift ahead of the lowest live split, and a block over it"
    run_inline(run.execution, idle=lambda: True)
    run.finish()
    assert source.read_order.count("ahead") == 12 and run.late == []


def test_without_event_time_splits_are_read_one_after_another() -> None:
    source = ListSource({"x": [rows(1), rows(2)], "y": [rows(3), rows(4)], "z": [rows(5)]})
    sink, _ = untimed(source)
    sl.run(sink)
    assert source.read_order == ["x", "x", "y", "y", "z"]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_reader_is_closed_once_also_after_an_error(workers: int) -> None:
    source = ListSource({"x": [rows(1), rows(2)], "y": [rows(1), SourceError("the disk is gone"), rows(3)]})
    with pytest.raises(SourceError):
        timed(source).collect(workers=workers)
    assert source.open_readers == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_split_that_has_nothing_now_does_not_end_the_run(workers: int) -> None:
    """Also on one worker, where nobody else could do anything meanwhile."""
    source = ListSource({"x": [PENDING, rows(1), PENDING, PENDING, rows(2), PENDING]})
    assert timed(source).collect(workers=workers)["v"].to_pylist() == [1, 2]


def test_an_error_while_a_split_is_read_names_the_step_that_reads_it() -> None:
    source = ListSource({"x": [rows(1), SourceError("the disk is gone", where="x")]})
    with pytest.raises(SourceError) as caught:
        sl.read(source).named("ticks").collect()
    assert caught.value.step == "ticks"
    assert caught.value.at is not None and caught.value.at.file.endswith("test_splits.py")
