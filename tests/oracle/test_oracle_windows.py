"""Bars and late rows equal those of DuckDB, whatever the splits, the disorder, the cuts and the workers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import ArrowSource, CollectSink
from streamlib.elements import format_duration
from tests.oracle import queries
from tests.oracle.drawn import Input, inputs


def answers(stream: sl.Stream, case: Input) -> tuple[list, list]:
    """Bars and late rows of one run over a timed stream."""
    result = queries.ticks_to_bars(
        stream, format_duration(case.size), format_duration(case.lateness), format_duration(case.offset)
    )
    bars, late = CollectSink(), CollectSink()
    report = sl.run(
        result.write(bars), result.late.write(late), workers=case.workers, batch_rows=case.batch_rows
    )
    assert report.rows_late == late.table().num_rows
    return queries.found(bars.table()), queries.found(late.table())


def check(stream: sl.Stream, case: Input) -> None:
    rows = queries.numbered(case.splits)
    how = {"delay": case.delay, "size": case.size, "lateness": case.lateness, "offset": case.offset}
    bars, late = answers(stream, case)
    assert late == queries.late(rows, **how)
    assert bars == queries.bars(rows, **how)
    assert sum(bar[3] for bar in bars) + len(late) == len(rows), "a row vanished"


def sources(case: Input) -> list[sl.Stream]:
    return [
        sl.read(ArrowSource(table, case.block_rows, name=f"split {n}")) for n, table in enumerate(case.splits)
    ]


@given(case=inputs())
def test_splits_united_before_event_time_equal_duckdb(case: Input) -> None:
    first, *others = sources(case)
    delay = format_duration(case.delay)
    check(first.union(*others).event_time("ts", max_delay=delay), case)


@given(case=inputs(most_splits=3))
def test_splits_united_after_event_time_equal_duckdb(case: Input) -> None:
    first, *others = (s.event_time("ts", max_delay=format_duration(case.delay)) for s in sources(case))
    check(first.union(*others), case)


@given(case=inputs())
def test_splits_in_files_equal_duckdb(case: Input) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, table in enumerate(case.splits):
            pq.write_table(table, Path(folder, f"{number}.parquet"), row_group_size=case.block_rows)
        stream = sl.read_files(folder).event_time("ts", max_delay=format_duration(case.delay))
        check(stream, case)


@given(case=inputs(most_splits=1))
def test_without_keys_all_rows_are_one_window_a_time(case: Input) -> None:
    """The same query as with one key: a constant, which no key column may change."""
    stream = sources(case)[0].event_time("ts", max_delay=format_duration(case.delay))
    windows = stream.window(sl.tumbling(format_duration(case.size), offset=format_duration(case.offset)))
    found = windows.agg(trades=sl.count(), volume=col("volume").sum()).collect(
        workers=case.workers, batch_rows=case.batch_rows
    )
    rows = queries.numbered(case.splits)
    rows = rows.set_column(1, "symbol", pa.array([""] * len(rows), pa.string()))
    expected = queries.bars(rows, delay=case.delay, size=case.size, offset=case.offset)
    assert queries.found(found) == queries.canonical((b[1], b[2], b[3], b[8]) for b in expected)


@given(case=inputs(most_splits=2))
def test_windows_over_windows_equal_duckdb(case: Input) -> None:
    """The second window goes by the first one's `window_end - 1 ns`, and nothing is late for it."""
    first, *others = sources(case)
    stream = first.union(*others).event_time("ts", max_delay=format_duration(case.delay))
    inner = stream.key_by("symbol").window(
        sl.tumbling(format_duration(case.size)), allowed_lateness=format_duration(case.lateness)
    )
    outer = (
        inner.agg(trades=sl.count())
        .window(sl.tumbling("30s"))
        .agg(trades=col("trades").sum(), windows=sl.count())
    )
    found = outer.collect(workers=case.workers, batch_rows=case.batch_rows)
    rows = queries.numbered(case.splits)
    bars = queries.bars(rows, delay=case.delay, size=case.size, lateness=case.lateness)
    sums: dict[tuple, list[int]] = {}
    for symbol, _, end, trades, *_ in bars:
        start = (end - 1) - (end - 1) % (30 * queries.SECOND)
        bounds = max(start, queries.MIN), min(start + 30 * queries.SECOND, queries.MAX)
        total = sums.setdefault((symbol, *bounds), [0, 0])
        total[0] += trades
        total[1] += 1
    assert queries.found(found) == queries.canonical((*key, *total) for key, total in sums.items())
