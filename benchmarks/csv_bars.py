"""From a CSV file with declared types to bars in Parquet: streamlib with one worker, DuckDB with one thread."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

import streamlib as sl
from benchmarks import answers, jobs
from benchmarks.compare.engines.duckdb import read_csv
from benchmarks.compare.job import TICKS
from benchmarks.measure import Row, fastest, in_turns, one_arrow_thread, parser, report
from benchmarks.ticks import write_csv


def streamlib_case(source: Path, target: Path) -> Callable[[], Path]:
    """The job from file to folder."""

    def run() -> Path:
        bars = jobs.bars(sl.read_files(source, schema=jobs.CSV_SCHEMA))
        sl.run(bars.write_files(target, format="parquet", if_exists="replace"), progress=False)
        return target

    return run


def duckdb_plans(source: Path, target: Path) -> dict[str, Callable[[], Path]]:
    """The same as one statement, by the way in which the window's start is computed."""
    import duckdb

    connection = duckdb.connect(config={"threads": 1, "preserve_insertion_order": False})
    read = read_csv(source, TICKS)

    def plan(query: str) -> Callable[[], Path]:
        def run() -> Path:
            connection.execute(f"COPY ({query.format(source=read)}) TO '{target}' (FORMAT parquet)")
            return target

        return run

    return {name: plan(query) for name, query in jobs.duckdb_queries().items()}


def measure(rows: int, symbols: int, runs: int) -> list[Row]:
    """Writes the file, checks that both give the same bars, then runs them in turns."""
    with tempfile.TemporaryDirectory(prefix="streamlib-benchmark-") as folder:
        source = Path(folder, "ticks.csv")
        size = write_csv(source, rows, symbols)
        ours = streamlib_case(source, Path(folder, "bars"))
        want = pq.read_table(ours())
        plans = duckdb_plans(source, Path(folder, "duckdb.parquet"))
        for name, plan in plans.items():
            answers.check_same(want, pq.read_table(plan()), f"duckdb ({name})")
        best = fastest(plans, 1)
        timings = in_turns({"streamlib, 1 worker": ours, f"duckdb, 1 thread ({best})": plans[best]}, runs)
        result = answers.hash_of(pq.read_table(timings["streamlib, 1 worker"].returned))
        assert result == answers.hash_of(want), "streamlib's answer depends on the run"
    first = timings["streamlib, 1 worker"].seconds
    made = []
    for name, timing in timings.items():
        notes = {
            "M rows/s": rows / timing.seconds / 1e6,
            "MB/s": size / timing.seconds / 1e6,
            "CPU s": timing.cpu_seconds,
        }
        made.append(
            Row("csv_bars", name, timing.seconds, "s", runs, timing.seconds / first, "", result, notes)
        )
    return [made[0], replace(made[1], target="ratio at least 1.0", result=answers.AGREES)]


def main(arguments: list[str] | None = None) -> list[Row]:
    args = parser(__doc__, rows=5_000_000, symbols=1_000, runs=5).parse_args(arguments)
    one_arrow_thread()
    rows = measure(args.rows, args.symbols, args.runs)
    report(rows, args.json)
    return rows


if __name__ == "__main__":
    main()
