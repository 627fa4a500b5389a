from __future__ import annotations

import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import col

SECOND = 1_000_000_000
TICKS = t.table("ts k n\n00:00:01 a 1\n00:00:02 b 2\n00:00:11 a 4")


def ticks() -> sl.Stream:
    return sl.read_arrow(TICKS).event_time("ts", max_delay="2s")


def test_a_window_gives_its_rows_when_the_watermark_says_so() -> None:
    step = t.harness(
        ticks().key_by("k").window(sl.tumbling("10s"), allowed_lateness="5s").agg(n=col("n").sum())
    )
    assert step.feed(TICKS).num_rows == 0
    assert step.watermark(14 * SECOND).num_rows == 0
    assert step.forwarded == 9 * SECOND
    assert sorted(step.watermark(15 * SECOND)["n"].to_pylist()) == [1, 2]
    assert step.times() == [10 * SECOND - 1] * 2
    assert step.end()["n"].to_pylist() == [4]
    assert step.rows().num_rows == 3


def test_late_rows_come_out_by_their_tag() -> None:
    step = t.harness(ticks().window(sl.tumbling("10s")).agg(n=col("n").sum()))
    step.feed("ts k n\n00:00:01 a 1", mark=9 * SECOND)
    step.feed("ts k n\n00:00:02 a 8", mark=10 * SECOND)
    assert step.rows("late")["n"].to_pylist() == [8]
    assert step.end()["n"].to_pylist() == [1]


def test_state_goes_to_a_fresh_operator() -> None:
    step = t.harness(ticks().key_by("k").window(sl.tumbling("10s")).agg(last=col("n").last()), ordered=True)
    step.feed(TICKS)
    state = step.barrier()
    assert state["panes"].num_rows == 3
    fresh = step.restored(state)
    assert sorted(fresh.end()["last"].to_pylist()) == sorted(step.end()["last"].to_pylist()) == [1, 2, 4]


def test_event_time_is_driven_with_its_clock() -> None:
    step = t.harness(ticks())
    assert step.feed(TICKS).equals(TICKS)
    assert step.forwarded == 9 * SECOND
    step.feed([{"ts": "00:00:03", "k": "a", "n": 1}])
    assert step.outputs[-1][1].mark is not None, "the row is behind"


def test_rows_as_they_are_written() -> None:
    step = t.harness(sl.read_arrow(pa.table({"n": [1]})).filter(col("n") > 1))
    assert step.feed([{"n": 1}, {"n": 5}])["n"].to_pylist() == [5]
    assert step.feed("n\n7")["n"].to_pylist() == [7]
    assert step.feed(pa.table({"n": pa.array([], pa.int64())})).num_rows == 0
    with pytest.raises(KeyError):
        step.feed("m\n7")
