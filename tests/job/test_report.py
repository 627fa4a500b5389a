"""The report: every row that was read is in an output, late, dropped, or counted; and what would have kept it."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import ArrowSource, CollectSink
from streamlib.elements import duration_ns, format_duration
from streamlib.observe.progress import Progress
from streamlib.runtime.execute import Execution
from streamlib.runtime.inline import run_inline
from streamlib.runtime.run import RunOptions


def ticks(seconds: list[int]) -> pa.Table:
    return pa.table({"ts": pa.array(seconds, pa.timestamp("s")), "n": range(len(seconds))})


def bars(table: pa.Table, delay: str, lateness: str = "0s") -> sl.Stream:
    timed = sl.read(ArrowSource(table, 3)).event_time("ts", max_delay=delay).filter(col("n") != 2)
    return timed.window(sl.tumbling("10s"), allowed_lateness=lateness).agg(n=sl.count()).named("bars")


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("batch_rows", [1, 100])
def test_counts_do_not_depend_on_workers_and_cuts(workers: int, batch_rows: int) -> None:
    sink = CollectSink()
    result = bars(ticks([1, 30, 31, 2, 12, 45, 3]), "0s")
    report = sl.run(result.write(sink), workers=workers, batch_rows=batch_rows)
    assert report.status == "finished"
    assert (report.rows_in, report.rows_out, report.rows_late) == (7, 3, 3)
    assert list(report.rows_read.values()) == [7]
    assert list(report.rows_written.values()) == [3]
    assert report.dropped == {"filter": 1}
    assert (
        sum(sink.table()["n"].to_pylist()) + report.rows_late + sum(report.dropped.values()) == report.rows_in
    )
    assert report.windows_left_open == {}


def test_late_rows_that_nobody_reads_are_counted_with_the_delay_that_keeps_them() -> None:
    report = sl.run(bars(ticks([1, 30, 31, 2]), "0s").write(CollectSink()))
    late = report.late["bars"]
    assert (late.rows, late.read) == (1, False)
    text = str(report)
    assert f"max_delay={late.max_delay!r}" in text and "read them with .late" in text
    result = bars(ticks([1, 30, 31, 2]), "0s")
    report = sl.run(result.write(CollectSink()), result.late.write(CollectSink()))
    assert report.late["bars"].read
    assert "read them with .late" not in str(report)


@given(
    seconds=st.lists(st.integers(0, 100_000), min_size=1, max_size=20),
    delay=st.sampled_from(["0s", "7s", "90s"]),
    lateness=st.sampled_from(["0s", "3s"]),
    workers=st.sampled_from([1, 2]),
)
def test_the_delay_that_is_suggested_keeps_every_row_and_one_much_smaller_does_not(
    seconds: list[int], delay: str, lateness: str, workers: int
) -> None:
    def late(max_delay: str) -> sl.Report:
        return sl.run(bars(ticks(seconds), max_delay, lateness).write(CollectSink()), workers=workers)

    report = late(delay)
    if report.rows_late == 0:
        assert report.late == {}
        return
    suggested = report.late["bars"].max_delay
    assert suggested is not None
    assert late(suggested).rows_late == 0
    assert late(format_duration(duration_ns(suggested) * 4 // 5)).rows_late > 0, (
        "it is rounded up, but not much"
    )


def test_a_run_without_rows_has_a_report() -> None:
    report = sl.run(bars(ticks([]), "0s").write(CollectSink()))
    assert (report.rows_in, report.rows_out, report.rows_late) == (0, 0, 0)
    assert "0 rows in" in str(report)


def test_two_sinks_are_counted_apart(tmp_path) -> None:
    stream = sl.read_arrow(ticks([1, 2, 3]))
    report = sl.run(
        stream.write_files(tmp_path / "all", "csv"),
        stream.filter(col("n") > 0).write_files(tmp_path / "some", "csv"),
    )
    assert sorted(report.rows_written.values()) == [2, 3]
    assert report.rows_in == 3, "a source that two sinks need is read once"


@pytest.mark.parametrize("workers", [1, 2])
def test_the_progress_line_shows_rows_watermark_and_open_windows(workers: int) -> None:
    execution = Execution(
        [bars(ticks([1, 12, 23]), "5s").write(CollectSink())], workers, RunOptions(batch_rows=1)
    )
    execution.open()
    progress = Progress(execution, execution.total_bytes())
    before = progress.line()
    assert "0 rows" in before and "watermark -" in before and "0 open windows" in before
    run_inline(execution)
    after = progress.line()
    execution.finish()
    execution.close()
    assert "3 rows" in after and "100%" in after and "watermark 1970-01-01 00:00:18" in after
    assert "0 open windows" in after


def test_the_progress_line_of_a_source_of_unknown_size_has_no_bar() -> None:
    execution = Execution([sl.read_arrow(ticks([1])).write(CollectSink())], 1)
    execution.open()
    line = Progress(execution, None).line()
    execution.close()
    assert "%" not in line and "watermark" not in line, "and without event time no watermark"
