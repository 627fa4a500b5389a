"""`union`: all rows of all inputs, the lowest of their watermarks, and one order of ties."""

from __future__ import annotations

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import col


def rows(*seconds: int, n: int = 0) -> sl.Stream:
    return sl.read_arrow(pa.table({"ts": pa.array(seconds, pa.timestamp("s")), "n": [n] * len(seconds)}))


RUNS = [(workers, batch_rows) for workers in (1, 2, 4) for batch_rows in (1, 100)]


@pytest.mark.parametrize(("workers", "batch_rows"), RUNS)
def test_a_branch_that_is_behind_holds_the_windows_of_all_open(workers: int, batch_rows: int) -> None:
    ahead = rows(*range(0, 100, 5), n=1).event_time("ts", max_delay="0s")
    behind = rows(*range(1, 100, 5), n=2).event_time("ts", max_delay="50s")
    both = ahead.union(behind).window(sl.tumbling("10s")).agg(n=sl.count())
    assert both.collect(workers=workers, batch_rows=batch_rows)["n"].to_pylist() == [4] * 10
    assert both.late.collect(workers=workers, batch_rows=batch_rows).num_rows == 0


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "batch_rows"), RUNS)
def test_ties_between_inputs_go_by_their_order_in_the_union(workers: int, batch_rows: int) -> None:
    streams = [rows(1, 2, 2, n=n).event_time("ts", max_delay="1s") for n in (1, 2, 3)]
    for inputs, first, last in ((streams, 1, 3), (streams[::-1], 3, 1)):
        united = inputs[0].union(*inputs[1:]).window(sl.tumbling("10s"))
        table = united.agg(first=col("n").first(), last=col("n").last()).collect(
            workers=workers, batch_rows=batch_rows
        )
        assert table.select(["first", "last"]).to_pylist() == [{"first": first, "last": last}]


@pytest.mark.parametrize(("workers", "batch_rows"), RUNS)
def test_ties_between_branches_of_one_stream_go_by_branch(workers: int, batch_rows: int) -> None:
    source = rows(1, 2, 2, 2).event_time("ts", max_delay="1s")
    united = source.with_columns(n=1).union(source.with_columns(n=2)).window(sl.tumbling("10s"))
    table = united.agg(first=col("n").first(), last=col("n").last(), n=sl.count()).collect(
        workers=workers, batch_rows=batch_rows
    )
    assert table.select(["first", "last", "n"]).to_pylist() == [{"first": 1, "last": 2, "n": 8}]


@pytest.mark.parametrize(("workers", "batch_rows"), RUNS)
def test_what_one_window_refused_can_be_joined_to_what_it_took(workers: int, batch_rows: int) -> None:
    source = rows(5, 30, 1, 2, 31).event_time("ts", max_delay="0s")
    bars = source.window(sl.tumbling("10s")).agg(n=sl.count())
    both = bars.select("n").union(bars.late.select(n="windows_late"))
    assert sum(both.collect(workers=workers, batch_rows=batch_rows)["n"].to_pylist()) == 5


def test_columns_are_matched_by_name() -> None:
    one, two = rows(1, n=1), rows(2, n=2).select("n", "ts")
    assert one.union(two).collect().to_pydict()["n"] == [1, 2]
    assert one.union(two).schema.names == ["ts", "n"]
