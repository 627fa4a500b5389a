"""The benchmarks themselves: their input, their checks of answers, and that each script runs, small.

A benchmark is a test with a larger parameter, so a small one must pass here.
"""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import streamlib as sl
from benchmarks import all as every
from benchmarks import answers, child, csv_bars, import_time, jobs, measure, small_batches
from benchmarks.measure import Row
from benchmarks.ticks import DISORDER_US, pieces, ticks, write_csv
from tests.house import repository

ROW = Row("bars", "streamlib", 0.25, "s", 5, 1.0, "", "ab12", {"CPU s": 0.2})


def test_ticks_are_the_same_each_time_and_no_two_have_one_time() -> None:
    table = ticks(5_000, 50)
    assert table.equals(ticks(5_000, 50))
    assert not table.equals(ticks(5_000, 50, seed=8))
    assert len(table.column("ts").unique()) == 5_000


def test_ticks_are_out_of_order_by_no_more_than_the_delay() -> None:
    times = np.asarray(ticks(50_000).column("ts")).astype(np.int64)
    behind = np.maximum.accumulate(times) - times
    assert DISORDER_US // 2 < behind.max() <= DISORDER_US
    report = sl.run(jobs.bars(sl.read_arrow(ticks(50_000))).print(rows=0), progress=False)
    assert report.rows_late == 0


def test_pieces_go_on_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.ticks.PIECE_ROWS", 1_000)
    found = list(pieces(2_500))
    assert [table.num_rows for table in found] == [1_000, 1_000, 500]
    table = pa.concat_tables(found)
    assert len(table.column("ts").unique()) == 2_500
    assert jobs.bars(sl.read_arrow(table)).late.collect().num_rows == 0


def test_the_file_of_ticks_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    assert write_csv(path, 1_000) == path.stat().st_size
    assert sl.read_files(path, schema=jobs.CSV_SCHEMA).collect().equals(ticks(1_000))


def test_the_hash_sees_every_value_and_no_order() -> None:
    bars = jobs.bars(sl.read_arrow(ticks(2_000, 5))).collect()
    known = answers.hash_of(bars)
    assert answers.hash_of(bars.take(list(range(len(bars)))[::-1])) == known
    for name in jobs.BAR_COLUMNS:
        index = bars.column_names.index(name)
        column = bars.column(name)
        changed = pa.chunked_array(
            [pa.nulls(1, column.type).fill_null(_other(column[0])), column[1:].combine_chunks()]
        )
        assert answers.hash_of(bars.set_column(index, name, changed)) != known, name


def _other(value: pa.Scalar) -> pa.Scalar:
    if pa.types.is_string(value.type):
        return pa.scalar(value.as_py() + "x")
    if pa.types.is_timestamp(value.type):
        return pa.scalar(value.value + 1, pa.int64()).cast(value.type)
    return pa.scalar(value.as_py() + 1, value.type)


def test_engines_that_disagree_are_found() -> None:
    bars = jobs.bars(sl.read_arrow(ticks(2_000, 5))).collect()
    answers.check_same(bars, bars, "itself")
    index = bars.column_names.index("open")
    wrong = bars.set_column(index, "open", pc.add(bars.column("open"), 0.01))
    with pytest.raises(AssertionError, match="duckdb and streamlib differ in open"):
        answers.check_same(bars, wrong, "duckdb")
    with pytest.raises(AssertionError, match="bars, streamlib"):
        answers.check_same(bars, bars.slice(1), "duckdb")


@pytest.mark.slow
def test_cases_run_in_turns() -> None:
    ran: list[str] = []
    timings = measure.in_turns({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, runs=3)
    assert ran == ["a", "b"] * 3
    assert [len(timing.wall) for timing in timings.values()] == [3, 3]


def test_figures_can_be_written_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measure.report([ROW, replace(ROW, case="duckdb")], tmp_path / "figures.jsonl")
    assert every.read_rows(tmp_path / "figures.jsonl") == [ROW, replace(ROW, case="duckdb")]
    assert "| bars | streamlib (CPU s 0.2) | 0.25 s | 5 | 1.00 |  | ab12 |" in capsys.readouterr().out
    page = tmp_path / "page.md"
    page.write_text(f"before\n{every.BEGIN}\nold\n{every.END}\nafter\n")
    every.put_into(page, every.table([ROW]))
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text and "ab12" in text
    every.put_into(page, every.table([ROW]))
    assert page.read_text() == text
    with pytest.raises(ValueError, match="no lines"):
        every.put_into(tmp_path / "figures.jsonl", "")


def test_the_readme_has_a_place_for_the_table() -> None:
    page = repository.text(Path("README.md"))
    assert page.count(every.BEGIN) == page.count(every.END) == 1


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(measure).failed == 0


def test_csv_bars_runs_small() -> None:
    rows = csv_bars.measure(rows=5_000, symbols=20, runs=1)
    assert [row.case.partition(",")[0] for row in rows] == ["streamlib", "duckdb"]


def test_small_batches_runs_small() -> None:
    rows = small_batches.measure(batches=20, runs=1, symbols=20)
    assert [row.runs for row in rows] == [20, 5, 1]


def test_import_time_runs_small() -> None:
    assert all(row.value > 0 for row in import_time.measure(runs=1))


def test_a_child_reports_what_it_used(tmp_path: Path) -> None:
    write_csv(tmp_path / "ticks.csv", 2_000)
    ran = child.job(tmp_path / "ticks.csv", tmp_path / "bars", 1)
    assert ran["rows"] == 2_000 and ran["peak_bytes"] >= ran["peak_bytes_before"] > 1_000_000
    assert pq.read_table(tmp_path / "bars").num_rows > 0


@pytest.mark.slow
def test_bars_runs_small(tmp_path: Path) -> None:
    """In a process of its own: it sets the number of Polars' threads before Polars is imported."""
    path = tmp_path / "bars.jsonl"
    command = [sys.executable, "-m", "benchmarks.bars", "--rows", "20000", "--runs", "1", "--json", str(path)]
    subprocess.run(command, cwd=repository.ROOT, check=True, capture_output=True)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 7
    assert len({row["result"] for row in rows} - {answers.AGREES}) == 1
