"""What the simulation has found. What is still open is to be marked `xfail`, and out of what it draws.

A fix makes its test pass, which `xfail_strict` reports: then take the mark off, and let
`streamlib.testing.scenario` draw it again.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

import streamlib as sl
import streamlib.testing as t
from streamlib import col

ROWS = [{"ts": f"00:00:{second:02}", "v": v} for second, v in [(1, 1), (1, 2), (5, 3), (5, 4), (12, 5)]]


def test_first_and_last_work_on_results() -> None:
    ticks = sl.read(t.source(ROWS[:3], ROWS[3:])).event_time("ts", max_delay="2s")
    sums = ticks.window(sl.tumbling("5s")).agg(v=col("v").sum())
    t.check(sums.window(sl.tumbling("10s")).agg(first=col("v").first(), last=col("v").last()))


def test_branches_of_one_stream_keep_the_order_of_ties() -> None:
    ticks = sl.read(t.source(ROWS)).event_time("ts", max_delay="2s")
    parted = ticks.filter(col("v") > 0).union(
        ticks.map_batches(lambda rows: rows).with_columns(v=col("v") + 100)
    )
    t.check(parted.window(sl.tumbling("10s")).agg(first=col("v").first(), last=col("v").last()))


def test_rows_that_stem_from_one_keep_their_order_through_branches() -> None:
    ticks = sl.read(t.source(ROWS)).event_time("ts", max_delay="2s")
    flat = ticks.flat_map(lambda row: [row, {**row, "v": row["v"] + 10}], schema=ticks.schema)
    batches = ticks.map_batches(lambda rows: pa.concat_tables([pa.table(rows)] * 2))
    exploded = ticks.with_columns(v=sl.lit([1, 2])).explode("v")
    for two in (flat, batches, exploded, flat.map_batches(lambda rows: rows)):
        parted = two.filter(col("v") > 0).union(two.with_columns(v=col("v") + 100))
        t.check(parted.window(sl.tumbling("10s")).agg(all=col("v").list()))


def test_branches_behind_a_batch_function_keep_the_order_of_ties() -> None:
    """Also where both branches have one, where one makes several rows of one, and where rows are dropped."""
    ticks = sl.read(t.source(ROWS[:3], ROWS[3:])).event_time("ts", max_delay="2s")
    same = ticks.map_batches(lambda rows: rows)
    twice = same.map_batches(lambda rows: pa.concat_tables([pa.table(rows)] * 2)).with_columns(
        v=col("v") + 100
    )
    some = ticks.map_batches(lambda rows: rows.filter(pc.field("v") > 1)).with_columns(v=col("v") + 200)
    for parted in (same.filter(col("v") < 5).union(twice), twice.union(some), some.union(ticks, twice)):
        windows = parted.window(sl.tumbling("10s"))
        t.check(windows.agg(first=col("v").first(), last=col("v").last(), all=col("v").list()))


def test_a_batch_function_behind_united_branches_keeps_the_order_of_ties() -> None:
    """The copies of one row come in batches that begin with different rows."""
    ticks = sl.read(t.source(ROWS[:3], ROWS[3:])).event_time("ts", max_delay="2s")
    some = ticks.filter(col("v") % 2 == 0).with_columns(v=col("v") + 100)
    united = some.union(ticks).map_batches(lambda rows: rows)
    windows = united.window(sl.tumbling("10s"))
    t.check(windows.agg(first=col("v").first(), last=col("v").last(), all=col("v").list()))


def test_rows_that_stem_from_one_and_were_on_several_workers_are_ordered_by_their_columns() -> None:
    """Duplicates, and late rows of a step by key, go on to the workers of other keys."""
    rows = [{"ts": "00:00:01", "k": "a", "n": n} for n in range(12)] * 2
    ticks = sl.read(t.source(rows)).event_time("ts", max_delay="0s")
    both = ticks.union(ticks.with_columns(n=11 - col("n")))
    duplicates = both.dedup("n", within="1h").duplicates
    windows = duplicates.key_by("k").window(sl.tumbling("10s"))
    found = windows.agg(first=col("n").first(), all=col("n").list())
    assert found.collect(workers=4)["all"].to_pylist() == [sorted([*range(12)] * 3)]
    t.check(found, seeds=[1, 2])

    late = sl.read(t.source([{"ts": "00:00:09", "k": "a", "n": 0}, *rows])).event_time("ts", max_delay="0s")
    refused = (
        late.union(late.with_columns(n=11 - col("n"))).key_by("n").rolling(rows=2).agg(m=sl.count()).late
    )
    found = refused.key_by("k").window(sl.tumbling("10s"), allowed_lateness="1h").agg(all=col("n").list())
    assert found.collect(workers=4)["all"].to_pylist() == [sorted([*range(12)] * 4)]
    t.check(found, seeds=[1, 2])
