from __future__ import annotations

import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.connectors import CollectSink
from streamlib.graph import SinkNode
from streamlib.runtime.execute import Execution
from streamlib.testing.running import jumping

ROWS = [{"ts": f"00:00:{second:02}", "k": "ab"[second % 2], "n": second} for second in range(40)]


def bars(*, seed: int | None = None) -> sl.Stream:
    source = t.source(ROWS[:25], ROWS[25:], seed=seed, block_rows=4)
    timed = sl.read(source).event_time("ts", max_delay="3s")
    return timed.key_by("k").window(sl.tumbling("10s")).agg(n=col("n").sum(), last=col("n").last())


def test_nothing_of_how_it_is_run_changes_the_rows() -> None:
    wanted = t.run(bars())
    assert wanted.num_rows == 8
    for workers in (1, 2, 4):
        for seed in range(3):
            found = t.run(bars(seed=seed), workers=workers, batch_rows=3, channel_bytes_max=1, seed=seed)
            assert found.equals(wanted)


def test_several_streams_are_run_together() -> None:
    stream = bars()
    results, late = t.run([stream, stream.late])
    assert results.num_rows == 8 and late.num_rows == 0
    assert late.schema.names[-4:] == ["late_by", "windows_late", "window_start", "window_end"]


def test_of_a_table_the_last_state_comes_out() -> None:
    timed = sl.read(t.source(ROWS, block_rows=4)).event_time("ts", max_delay="3s")
    table = timed.key_by("k").agg(n=sl.count(), total=col("n").sum())
    wanted = [
        {"k": name, "n": 20, "total": sum(row["n"] for row in ROWS if row["k"] == name)} for name in "ab"
    ]
    for workers in (1, 3):
        assert t.run(table, workers=workers, batch_rows=3).to_pylist() == wanted
    states, late = t.run([table, table.late])
    assert states.to_pylist() == wanted and late.num_rows == 0


def test_errors_come_out_and_nothing_runs_on() -> None:
    def fails(rows: object) -> object:
        raise ValueError("no")

    stream = sl.read(t.source([{"n": 1}])).map_batches(fails, schema=t.table("n:int64").schema)  # type: ignore[arg-type]
    with pytest.raises(sl.UserFunctionError, match="raised ValueError"):
        t.run(stream, workers=2)


def test_a_clock_that_jumps_in_vain_gives_up() -> None:
    clock = t.ManualClock(step_ns=3)
    execution = Execution([SinkNode(inputs=(bars()._node,), sink=CollectSink())])
    idle = jumping(clock, execution, jumps_max=2)
    assert [idle(), idle(), idle()] == [True, True, False]
    assert clock() == 9


def test_the_clock_jumps_to_the_earliest_moment_waited_for() -> None:
    clock = t.ManualClock(now_ns=10, step_ns=100)
    for moment in (50, 30, 5):
        clock.wait_until(moment)
    assert [clock.jump(), clock.jump(), clock.jump()] == [30, 50, 150]
    clock.advance(7)
    assert clock() == 157
    with pytest.raises(AssertionError):
        clock.advance(-1)
