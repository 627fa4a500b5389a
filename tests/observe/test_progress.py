"""The progress line says what holds the earliest window open, once none has closed for some seconds."""

from __future__ import annotations

import pytest

import streamlib as sl
from streamlib import testing as t
from streamlib.observe.progress import QUIET_SECONDS, Progress
from tests.observe.paused import Run, bars, opened, row


def line(run: Run, progress: Progress) -> list[str]:
    run.go()
    return progress.line().splitlines()


def test_it_names_what_holds_a_window_open_and_only_after_a_while() -> None:
    clock = t.ManualClock()
    source = t.source([row(1), row(15), t.IDLE("10s"), row(25), t.IDLE("1h")], clock=clock)
    timed = sl.read(source).event_time("ts", max_delay="2s")
    with opened(bars(timed), clock=clock) as run:
        progress = Progress(run.execution, None, now=lambda: clock() / 1e9)
        assert len(line(run, progress)) == 1
        run.wait(QUIET_SECONDS - 0.5)
        assert len(line(run, progress)) == 1
        run.wait(1)
        counts, held = line(run, progress)
        assert "watermark 2026-01-05 12:00:13  1 open windows" in counts
        assert held == "bars: 1 window open, waiting for 12:00:20; held at 12:00:13 by split 0 (silent 3.5 s)"
        run.wait(8)  # the second window closes
        assert len(line(run, progress)) == 1
        run.wait(QUIET_SECONDS)
        assert line(run, progress)[1].startswith(
            "bars: 1 window open, waiting for 12:00:30; held at 12:00:23"
        )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_without_windows_is_never_held(workers: int) -> None:
    clock = t.ManualClock()
    source = t.source([row(1), t.IDLE("1h")], clock=clock)
    with opened(sl.read(source).event_time("ts", max_delay="2s"), clock=clock, workers=workers) as run:
        progress = Progress(run.execution, None, now=lambda: clock() / 1e9)
        run.wait(60)
        assert len(line(run, progress)) == 1
