"""Why there is no output: every common cause, each made to happen and asked for."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib import testing as t
from streamlib.connectors.memory import ArrowSource, CollectSink
from streamlib.contracts import Sink, SinkWriter
from streamlib.elements import duration_ns
from streamlib.observe.why import Cause, StepWhy, answer, waiting_line
from streamlib.observe.why.waiting import _Held, _nobody_counts
from streamlib.observe.why.words import Times
from streamlib.operators.event_time import EventTimeNode
from tests.observe.paused import NOON, bars, ns, opened, row

SCHEMA = {"ts": "timestamp[us]", "n": "int64"}


def timed(source, delay="2s", **options) -> sl.Stream:
    return sl.read(source).event_time("ts", max_delay=delay, **options)


# ---- windows are open --------------------------------------------------------------------------------


def test_a_silent_split_holds_the_others() -> None:
    clock = t.ManualClock()
    source = t.source(
        clock=clock, spot=[row(3), row(44), t.IDLE("1h"), row(60)], usdm=[row(9), t.IDLE("1h"), row(61)]
    )
    with opened(bars(timed(source)), clock=clock) as run:
        found = run.go().wait(12).of("bars")
        assert str(found).splitlines() == [
            "bars: 2 windows open, waiting for 2026-01-05 12:00:10; held at 12:00:07 by usdm (silent 12 s)",
            "  a row of 12:00:12 or later closes the earliest (max_delay='2s');"
            " event_time(..., idle='leave') would leave silent splits out",
        ]
        assert found.cause is Cause.SILENT
        assert (found.open_windows, found.rows_in, found.rows_out) == (2, 3, 0)
        assert (found.waiting_for, found.watermark) == (ns(10), ns(7))
        assert (found.held_by, found.silent_ns) == ("usdm", duration_ns("12s"))
        assert waiting_line(run.execution) == (
            "bars: 2 windows open, waiting for 12:00:10; held at 12:00:07 by usdm (silent 12 s)"
        )


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_window_counts_once_whatever_the_keys_and_workers(workers: int) -> None:
    clock = t.ManualClock()
    source = t.source([*(row(s, k=s % 5) for s in range(20)), t.IDLE("1h"), row(99, k=0)], clock=clock)
    keyed = timed(source, "1h").key_by("k").window(sl.tumbling("10s")).agg(n=sl.count()).named("bars")
    with opened(keyed, clock=clock, workers=workers) as run:
        found = run.go().of("bars")
        assert (found.open_windows, found.waiting_for, found.rows_in) == (2, ns(10), 20)


def test_a_split_that_sent_nothing_yet() -> None:
    clock = t.ManualClock()
    source = t.source(
        [row(1), t.IDLE("1h")], [t.IDLE("1h"), row(2)], clock=clock, schema={"ts": "timestamp[us]"}
    )
    with opened(bars(timed(source)), clock=clock) as run:
        found = run.go().wait(5).of("bars")
        assert found.text.endswith("held by split 1 (no row yet, silent 5.0 s)")
        assert (found.cause, found.watermark) == (Cause.SILENT, None)


def test_a_split_that_was_not_read_yet() -> None:
    source = t.source([row(1)], [row(2)])
    source.peeks = set()
    with opened(bars(timed(source))) as run:
        run.steps_until(lambda: run.why("bars").steps[0].open_windows > 0)
        found = run.of("bars")
        assert found.cause is Cause.UNREAD
        assert found.text.endswith("held by split 1, which has not been read yet")


def test_a_value_of_per_that_is_behind() -> None:
    clock = t.ManualClock()
    rows = [row(3, venue="usdm"), row(4, venue="spot"), row(50, venue="spot"), t.IDLE("1h")]
    source = t.source(ticks=rows, clock=clock)
    with opened(bars(timed(source, per="venue")), clock=clock) as run:
        found = run.go().of("bars")
        assert found.held_by == "ticks/venue=usdm"
        assert "held at 12:00:01 by ticks/venue=usdm (no row for 47s of event time)" in found.text
        assert found.hint is not None and "per=" in found.hint


def test_a_split_that_will_be_left_out() -> None:
    clock = t.ManualClock()
    source = t.source([row(1), t.IDLE("1h"), row(30)], [row(9), row(30), t.IDLE("1h"), row(31)], clock=clock)
    with opened(bars(timed(source, idle="leave", idle_after="30s")), clock=clock) as run:
        found = run.go().wait(10).of("bars")
        assert found.cause is Cause.SILENT and found.held_by == "split 0"
        assert found.hint is not None
        assert found.hint.endswith("idle='leave' leaves the split out after 30 s of silence")


def test_all_splits_are_left_out() -> None:
    clock = t.ManualClock()
    source = t.source([row(1), t.IDLE("1h"), row(30)], [row(9), t.IDLE("1h"), row(31)], clock=clock)
    with opened(bars(timed(source, idle="leave")), clock=clock) as run:
        found = run.go().wait(31).of("bars")
        assert found.cause is Cause.IDLE
        assert "held at 12:00:07: all 2 splits are silent and left out (idle='leave')" in found.text
        assert found.hint is not None and "12:00:12 or later" in found.hint


def test_the_clock_will_go_on() -> None:
    clock = t.ManualClock()
    source = t.source([row(1), t.IDLE("1h"), row(30)], clock=clock)
    with opened(bars(timed(source, idle="advance", idle_after="20s")), clock=clock) as run:
        found = run.go().wait(5).of("bars")
        assert found.cause is Cause.SILENT
        assert found.hint is not None and "idle='advance' goes on with the clock after 20 s" in found.hint


def test_the_clock_goes_on_also_where_no_split_is_left() -> None:
    node = timed(t.source([row(1)]), idle="advance", idle_after="20s")._node
    assert isinstance(node, EventTimeNode)
    held = _Held(node, node.make_clock(), ns(0), ns(10), Times())
    nobody: Any = SimpleNamespace(states=lambda clock: [])
    answer = _nobody_counts(nobody, StepWhy("bars", Cause.IDLE, "1 window open"), held)
    assert answer.hint is not None and answer.hint.endswith("goes on with the clock after 20 s of silence")


def test_a_jump_that_is_not_confirmed() -> None:
    clock = t.ManualClock()
    source = t.source([row(1), row(5), row(9_000), t.IDLE("1h")], clock=clock)
    with opened(bars(timed(source, max_jump="1m")), clock=clock) as run:
        found = run.go().of("bars")
        assert found.cause is Cause.JUMP
        assert found.text.endswith("by split 0, whose last row jumps ahead to 14:30:00")


def test_windows_that_wait_for_the_end() -> None:
    clock = t.ManualClock()
    source = t.source([row(1), row(500), t.IDLE("1h")], clock=clock)
    with opened(bars(timed(source, sl.UNTIL_END)), clock=clock) as run:
        found = run.go().of("bars")
        assert found.cause is Cause.UNTIL_END
        assert "2 windows open, waiting for the end of the input" in found.text


def test_allowed_lateness_is_part_of_what_is_waited_for() -> None:
    clock = t.ManualClock()
    source = t.source([row(1), row(15), t.IDLE("1h")], clock=clock)
    with opened(bars(timed(source), lateness="1m"), clock=clock) as run:
        found = run.go().of("bars")
        assert found.waiting_for == ns(70)
        assert "waiting for 2026-01-05 12:01:10 (its end and allowed_lateness='1m')" in found.text


def test_with_updates_a_window_waits_for_its_end_alone() -> None:
    clock = t.ManualClock()
    source = t.source([row(1), row(5), t.IDLE("1h")], clock=clock)
    windows = timed(source).window(sl.tumbling("10s"), "1m", emit="updates").agg(n=sl.count()).named("bars")
    with opened(windows.changes(), clock=clock) as run:
        found = run.go().of("bars")
        assert found.waiting_for == ns(10) and found.open_windows == 1
        assert "allowed_lateness" not in found.text


def test_a_window_over_windows_waits_for_those_above() -> None:
    clock = t.ManualClock()
    source = t.source([row(1), row(25), row(75), t.IDLE("1h")], clock=clock)
    first = bars(timed(source), lateness="30s")
    second = first.window(sl.tumbling("1m")).agg(n=col("n").sum()).named("minutes")
    with opened(second, clock=clock) as run:
        run.go()
        found = run.of("minutes")
        assert found.open_windows == 1 and found.waiting_for == ns(60)
        assert "windows above hold 30s back" in found.text
        assert found.hint is not None and "a row of 12:01:32 or later" in found.hint


def test_results_that_are_on_their_way() -> None:
    """Worker 0 has sent everything on, and worker 1 has done nothing yet."""
    rows = [row(s, k=s) for s in range(20)]
    keyed = timed(t.source(rows)).key_by("k").window(sl.tumbling("10s")).agg(n=sl.count()).named("bars")
    with opened(keyed, workers=2) as run:
        first = run.execution.workers[0]
        run.steps_until(lambda: first.step().value == "waiting")
        assert run.of("bars").cause is Cause.ON_ITS_WAY


# ---- no row has come so far --------------------------------------------------------------------------


def test_nothing_has_been_read() -> None:
    clock = t.ManualClock()
    source = t.source([t.IDLE("1h"), row(1)], clock=clock)
    source.peeks = set()
    with opened(bars(timed(source)), clock=clock) as run:
        found = run.go().wait(12).of("bars")
        assert found.cause is Cause.NOTHING_READ
        assert found.text == "nothing has come from list of 1 splits (silent 12 s)"


def test_a_filter_drops_everything() -> None:
    clock = t.ManualClock()
    source = t.source([row(1, price=1.0), row(2, price=2.0), t.IDLE("1h")], clock=clock)
    dear = timed(source).filter(col("price") > 1_000)
    with opened(bars(dear), clock=clock) as run:
        found = run.go().of("bars")
        assert found.cause is Cause.DROPPED
        assert found.text.startswith('all 2 rows that came were dropped by filter col("price") > 1000 (')
        assert "test_why.py:" in found.text


def test_a_policy_takes_every_row() -> None:
    clock = t.ManualClock()
    source = t.source([row(1, text="x"), row(2, text="y"), t.IDLE("1h")], clock=clock)
    numbers = timed(source).with_columns(n=col("text").cast("int64")).on_error("skip").named("numbers")
    with opened(bars(numbers), clock=clock) as run:
        found = run.go().of("bars")
        assert found.cause is Cause.REFUSED
        assert found.text.startswith("all 2 rows that came were refused by numbers (")


def test_a_function_returns_nothing() -> None:
    def nothing(rows: pa.RecordBatch) -> pa.RecordBatch:
        return rows.slice(0, 0)

    clock = t.ManualClock()
    source = t.source([row(1), t.IDLE("1h")], clock=clock)
    with opened(bars(timed(source).map_batches(nothing).named("nothing")), clock=clock) as run:
        found = run.go().of("bars")
        assert found.cause is Cause.NO_RESULT
        assert found.text.startswith("nothing (") and found.text.endswith("took 1 row and gave none")


def test_every_row_is_late() -> None:
    """The one row that is ahead of all others is filtered away behind `event_time`."""
    clock = t.ManualClock()
    source = t.source([row(100, n=0), row(1, n=1), row(2, n=2), t.IDLE("1h")], clock=clock)
    with opened(bars(timed(source).filter(col("n") > 0)), clock=clock) as run:
        found = run.go().of("bars")
        assert (found.cause, found.text) == (Cause.ALL_LATE, "all 2 rows that came were late")
        assert found.hint is not None and found.hint.startswith("max_delay='1m31s'")


def test_no_row_was_late() -> None:
    clock = t.ManualClock()
    source = t.source([row(1), row(2), t.IDLE("1h")], clock=clock)
    result = bars(timed(source))
    with opened(result, result.late.write(CollectSink()), clock=clock) as run:
        found = run.go().of("write 2")
        assert (found.cause, found.text) == (Cause.NONE_LATE, "of 2 rows in bars none was late")


def test_a_step_below_windows_tells_of_them() -> None:
    clock = t.ManualClock()
    source = t.source([row(1), t.IDLE("1h")], clock=clock)
    with opened(bars(timed(source)).filter(col("n") > 0).named("some"), clock=clock) as run:
        found = run.go().of("some")
        assert found.cause is Cause.SILENT or found.cause is Cause.BEHIND
        assert found.text.startswith("waits for bars: 1 window open, waiting for 2026-01-05 12:00:10")


def test_one_empty_input_of_a_union_does_not_hide_the_other() -> None:
    clock = t.ManualClock()
    empty = t.source([], schema={"ts": "timestamp[us]"})
    silent = t.source([t.IDLE("1h"), row(1)], clock=clock)
    both = sl.read(silent).union(sl.read(empty))
    with opened(both.named("both"), clock=clock) as run:
        found = run.go().of("both")
        assert found.cause is Cause.NOTHING_READ
        assert found.text.startswith("nothing has come from list of 1 splits")


# ---- sinks -------------------------------------------------------------------------------------------


class Immediate(Sink, SinkWriter):
    """Shows each row when it is written."""

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        return self

    def write(self, rows: pa.RecordBatch) -> None:
        return None

    def describe(self) -> str:
        return "immediate"


def test_a_sink_that_shows_its_rows_at_the_end() -> None:
    clock = t.ManualClock()
    source = t.source([row(1), row(2), t.IDLE("1h")], clock=clock)
    rows = sl.read(source)
    with opened(rows.write(CollectSink()), rows.write(Immediate()), clock=clock) as run:
        staged, shown = run.go().why().steps
        assert staged.cause is Cause.STAGED
        assert staged.text == "2 rows written to collect, which shows them when the run has ended"
        assert (shown.cause, shown.text) == (Cause.FLOWING, "2 rows written")


# ---- the run itself ----------------------------------------------------------------------------------


def test_a_run_that_is_being_opened_or_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(bars(timed(t.source([row(1)])))) as run:
        assert run.of("bars", "starting").cause is Cause.STARTING
        monkeypatch.setattr(answer, "busy_with", lambda: "add_rows")
        assert run.of("bars").cause is Cause.COMPILING


def test_a_run_that_has_ended_without_output_still_says_why() -> None:
    ticks = timed(t.source([row(1, price=1.0)])).filter(col("price") > 5)
    with opened(bars(ticks)) as run:
        assert run.go().finished
        told = str(run.why(status="finished"))
    assert told.startswith("job: the run has finished\n")
    assert 'all 1 row that came were dropped by filter col("price") > 5 (' in told


def test_a_source_without_a_row() -> None:
    table = pa.table({"ts": pa.array([], pa.timestamp("s"))})
    with opened(bars(timed(ArrowSource(table)))) as run:
        found = run.go().of("bars", "finished")
        assert (found.cause, found.text) == (Cause.EMPTY, "arrow, 0 rows in memory has ended without a row")


def test_after_output_it_says_how_much() -> None:
    clock = t.ManualClock()
    source = t.source([row(1), row(30), t.IDLE("1h")], clock=clock)
    with opened(timed(source).filter(col("ts") > NOON).named("rest"), clock=clock) as run:
        found = run.go().of("rest")
        assert (found.cause, found.text) == (Cause.FLOWING, "2 rows came, 2 went on")


def test_it_is_plain_values_too() -> None:
    clock = t.ManualClock()
    source = t.source([row(1), t.IDLE("1h")], clock=clock)
    with opened(bars(timed(source)), clock=clock) as run:
        told = json.loads(json.dumps(run.go().why().to_dict()))
    assert told["steps"][0]["cause"] in [cause.value for cause in Cause]
    assert told["steps"][0]["waiting_for"] == ns(10)


# ---- what it says is so ------------------------------------------------------------------------------


@given(
    seconds=st.lists(st.integers(0, 100), min_size=1, max_size=12),
    delay=st.sampled_from(["0s", "3s", "20s"]),
    lateness=st.sampled_from(["0s", "5s"]),
)
def test_the_row_that_it_names_closes_the_window_and_one_just_before_does_not(
    seconds: list[int], delay: str, lateness: str
) -> None:
    def after(*more: int) -> tuple[int, int | None]:
        clock = t.ManualClock()
        source = t.source(
            [*map(row, seconds), t.WATERMARK, *({"ts": at} for at in more), t.IDLE("1h")], clock=clock
        )
        with opened(bars(timed(source, delay), lateness=lateness), clock=clock) as run:
            found = run.go().go().of("bars")
            return found.rows_out, found.waiting_for

    def at(time: int) -> object:
        return pa.scalar(time // 1_000, pa.timestamp("us")).as_py()

    before, waits = after()
    assert waits is not None, "the latest row's window is open"
    named = waits + duration_ns(delay)
    assert after(at(named))[0] > before
    assert after(at(named - 1_000))[0] == before
