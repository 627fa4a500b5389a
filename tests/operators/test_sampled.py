"""agg(..., every=): the state of each key at the end of each span of event time that has a row of it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.errors import BuildError
from tests.operators.test_running import SCHEMA, Row, contents, keyed, rows_of, table, times


def sampled(every: str, **options: object) -> sl.Stream:
    return keyed().agg(
        n=sl.count(),
        total=col("v").sum(),
        first=col("v").first(),
        last=col("v").last(),
        every=every,
        **options,  # type: ignore[call-overload]
    )


def states(rows: list[Row], before: int, reached: int | None, every: int, ttl: int | None) -> list[Any]:
    """The states at the multiples of `every` in [before, reached)."""
    found = []
    for key, end in {(row[1], row[0] // every * every + every) for row in rows}:
        if before < end and (reached is None or end <= reached):
            mine = [row for row in rows if row[1] == key]
            found.append((key, end, *contents(mine, end, None if ttl is None else ttl)[key]))
    return sorted(found, key=repr)


@given(
    steps=st.lists(st.tuples(rows_of, times), max_size=6),
    every=st.sampled_from([1, 7, 10]),
    ttl=st.sampled_from([None, 10, 25]),
    batch_rows=st.sampled_from([1, 100]),
    halt=st.integers(0, 6),
)
def test_a_state_comes_when_the_watermark_reaches_the_end_of_its_span(
    steps: list[tuple[list[Row], int]], every: int, ttl: int | None, batch_rows: int, halt: int
) -> None:
    options = {} if ttl is None else {"ttl": f"{ttl}ns"}
    driven = t.harness(sampled(f"{every}ns", **options), batch_rows=batch_rows)
    all_rows: list[Row] = []
    now, seen = -(2**63), 0
    for number, (rows, rise) in enumerate([*steps, ([], None)]):
        taken = [row for row in rows if row[0] >= now]
        all_rows += taken
        driven.feed(table(taken))
        before, sent = now, driven.forwarded
        if rise is None:
            driven.end()
        else:
            now = max(now, rise)
            driven.watermark(now)
        found = []
        for _, batch in driven.outputs[seen:]:
            assert batch.time is not None and (batch.time >= sent).all()
            times_shown = batch.rows["event_time"].cast(pa.int64())
            assert times_shown.to_pylist() == batch.time.tolist()
            whole = batch.rows.set_column(1, "event_time", times_shown)
            found += [tuple(row.values()) for row in whole.to_pylist()]
        seen = len(driven.outputs)
        assert sorted(found, key=repr) == states(all_rows, before, None if rise is None else now, every, ttl)
        if number == halt:
            forwarded, driven = driven.forwarded, driven.restored(driven.barrier())
            driven.forwarded, seen = forwarded, 0
    assert driven.operator.open_rows() == 0


def test_it_is_a_stream_of_the_same_rows_however_it_is_run() -> None:
    rows = [{"ts": f"00:00:{n * 7 % 40:02}", "k": "abc"[n % 3], "v": n} for n in range(25)]
    stream = sl.read(t.source(rows[:12], rows[12:])).event_time("ts", max_delay="40s").key_by("k")
    totals = stream.agg(total=col("v").sum(), every="5s")
    assert "deterministic" in totals.explain() and "every='5s'" in totals.explain()
    bars = totals.window(sl.tumbling("10s")).agg(highest=col("total").max())
    t.check([totals, bars], workers=[1, 2], batch_rows=[3], seeds=[1])


def test_it_is_timed_by_its_column_and_stays_keyed() -> None:
    days = pa.table({"day": pa.array([1, 2, 2], pa.date32()), "k": ["a", "a", "b"]})
    stream = sl.read_arrow(days).event_time("day", max_delay="0s").key_by("k").agg(n=sl.count(), every="1d")
    assert stream.schema == pa.schema({"k": pa.string(), "event_time": pa.timestamp("s"), "n": pa.int64()})
    assert stream.collect()["event_time"].cast(pa.date32()).cast(pa.int32()).to_pylist() == [2, 3, 3]
    again = stream.window(sl.tumbling("2d")).agg(n=col("n").last())
    assert again.schema.names == ["k", "window_start", "window_end", "n"]


def test_late_rows_can_be_read() -> None:
    driven = t.harness(sampled("10ns"))
    driven.feed(table([(5, "a", 1), (6, "a", 2)]), mark=[7, 6])
    assert driven.rows("late")["v"].to_pylist() == [1]
    driven.end()
    assert driven.rows()["total"].to_pylist() == [2]
    assert sampled("10ns").late.schema.names == [*SCHEMA.names, "late_by"]


def test_what_cannot_work_fails_when_it_is_built() -> None:
    for options, message in (
        ({"every": "0s"}, "every= must be positive"),
        ({"every": "1s", "max_rate": "1s"}, "max_rate= is for the changes of a table"),
        ({"every": "5s", "ttl": "1s"}, "ttl= is shorter than every="),
        ({"every": 5}, "every"),
    ):
        with pytest.raises(BuildError, match=message):
            keyed().agg(n=sl.count(), **options)  # type: ignore[call-overload]
    with pytest.raises(BuildError, match="'event_time' is taken"):
        keyed().agg(event_time=sl.count(), every="1s")
    live = sl.read_socket("tcp-listen://127.0.0.1:0", "jsonl", {"ts": "timestamp[ns]", "k": "string"})
    with pytest.raises(BuildError, match="ttl="):
        live.event_time("ts", max_delay="0s").key_by("k").agg(n=sl.count(), every="1s")
