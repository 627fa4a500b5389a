"""Bars from ticks in Arrow: streamlib, Polars and DuckDB with one thread each, then two workers.

Polars and DuckDB get their fastest plan with the same answer, found by trying. Each runs twice: from
Arrow, as streamlib does, and from its own form of memory, made before the clock starts. streamlib does
event time, marks and late rows besides, which a batch engine need not.
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"  # read when polars is imported

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa

import streamlib as sl
from benchmarks import answers, jobs
from benchmarks.measure import Row, Timing, fastest, in_turns, one_arrow_thread, parser, report
from benchmarks.ticks import ticks
from streamlib.connectors.memory import CollectSink

Case = Callable[[], pa.Table]

POLARS, DUCKDB, TWO_WORKERS = "ratio at least 1.0", "ratio at least 2.0", "ratio at most 0.63"


def streamlib_case(table: pa.Table, workers: int) -> Case:
    """The job into memory. Not `.collect()`, which sorts: the others do not."""

    def run() -> pa.Table:
        sink = CollectSink()
        sl.run(jobs.bars(sl.read_arrow(table)).write(sink), workers=workers, progress=False)
        return sink.table()

    return run


def polars_plans(table: pa.Table) -> dict[str, dict[str, Case]]:
    """The plans that give the same answer, by source and name."""
    import polars as pl

    ready: Any = pl.from_arrow(table)
    sources: dict[str, Callable[[], Any]] = {
        "from Arrow": lambda: pl.from_arrow(table),
        "from its own frame": lambda: ready,
    }

    def plan(source: Callable[[], Any], build: Callable[[Any], Any], engine: Any) -> Case:
        def run() -> pa.Table:
            table: pa.Table = build(source().lazy()).collect(engine=engine).to_arrow()
            return table

        return run

    plans = jobs.polars_plans()
    return {
        where: {f"{n}, {e}": plan(source, plans[n], e) for n in plans for e in ("in-memory", "streaming")}
        for where, source in sources.items()
    }


def duckdb_plans(table: pa.Table) -> dict[str, dict[str, Case]]:
    """The plans that give the same answer, by source and name."""
    import duckdb

    connection = duckdb.connect(config={"threads": 1, "preserve_insertion_order": False})
    connection.register("arrow_ticks", table)
    connection.execute("CREATE TABLE own_ticks AS SELECT * FROM arrow_ticks")

    def plan(query: str, source: str) -> Case:
        return lambda: connection.sql(query.format(source=source)).to_arrow_table()

    return {
        where: {name: plan(query, source) for name, query in jobs.duckdb_queries().items()}
        for where, source in (("from Arrow", "arrow_ticks"), ("from its own table", "own_ticks"))
    }


def best_plans(who: str, want: pa.Table, plans: dict[str, dict[str, Case]], runs: int) -> dict[str, Case]:
    """The fastest plan of each source, by a name for the table. All are checked first."""
    best = {}
    for where, cases in plans.items():
        for name, case in cases.items():
            answers.check_same(want, case(), f"{who} {where} ({name})")
        name = fastest(cases, runs)
        best[f"{who} {where}, 1 thread ({name})"] = cases[name]
    return best


def measure(rows: int, symbols: int, runs: int, pilot_runs: int = 2) -> list[Row]:
    """One worker against one thread, in turns; then one worker and two, in turns."""
    table = ticks(rows, symbols)
    one, two = streamlib_case(table, 1), streamlib_case(table, 2)
    want = one()
    assert two().num_rows == want.num_rows  # compiles what is left to compile
    cases = {
        "streamlib, 1 worker": one,
        **best_plans("polars", want, polars_plans(table), pilot_runs),
        **best_plans("duckdb", want, duckdb_plans(table), pilot_runs),
    }
    alone = in_turns(cases, runs)
    scaling = in_turns({"streamlib, 1 worker": one, "streamlib, 2 workers": two}, runs)
    result = answers.hash_of(want)
    for timing in [*scaling.values(), alone["streamlib, 1 worker"]]:
        assert answers.hash_of(timing.returned) == result, "streamlib's answer depends on the run"
    targets = ["", POLARS, POLARS, DUCKDB, DUCKDB, "", TWO_WORKERS]
    made = [_row("bars", n, t, alone, rows, result) for n, t in alone.items()]
    made += [_row("bars, workers", n, t, scaling, rows, result) for n, t in scaling.items()]
    return [replace(row, target=target) for row, target in zip(made, targets, strict=True)]


def _row(name: str, case: str, timing: Timing, among: dict[str, Timing], rows: int, result: str) -> Row:
    first = next(iter(among.values())).seconds
    notes = {"M rows/s": rows / timing.seconds / 1e6, "CPU s": timing.cpu_seconds}
    shown = result if case.startswith("streamlib") else answers.AGREES
    return Row(name, case, timing.seconds, "s", len(timing.wall), timing.seconds / first, "", shown, notes)


def main(arguments: list[str] | None = None) -> list[Row]:
    args = parser(__doc__, rows=10_000_000, symbols=1_000, runs=7).parse_args(arguments)
    one_arrow_thread()
    rows = measure(args.rows, args.symbols, args.runs)
    report(rows, args.json)
    return rows


if __name__ == "__main__":
    main()
