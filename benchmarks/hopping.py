"""Hopping windows: a minute that begins every second, against Polars and DuckDB; and what closing one costs.

The queries of the others are those of `python -m benchmarks.compare`, the fastest of each with the same
answer. A close is measured alone, with a thousand keys in each slice, at 6, 60 and 600 slices a window.
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"  # read when polars is imported

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

import streamlib as sl
from benchmarks import answers
from benchmarks.compare.jobs.hopping_60_panes import JOB
from benchmarks.measure import Row, fastest, in_turns, one_arrow_thread, parser, report
from benchmarks.ticks import ticks
from streamlib.aggregates import AccumulatorPlan, Count, Max, Min, Sum
from streamlib.connectors.memory import CollectSink
from streamlib.state import TwoStacks

Case = Callable[[], pa.Table]

POLARS, CLOSE = "ratio at least 3.0", "ratio at most 1.3"
KEYS = 1_000
SLICES = (6, 60, 600)


def streamlib_case(table: pa.Table) -> Case:
    """The job into memory."""

    def run() -> pa.Table:
        sink = CollectSink()
        sl.run(JOB.streamlib(sl.read_arrow(table)).write(sink), progress=False)
        return sink.table()

    return run


def polars_cases(table: pa.Table) -> dict[str, Case]:
    """Polars' plans from its own frame."""
    import polars as pl

    frame: Any = pl.from_arrow(table)

    def case(build: Callable[[Any], Any], engine: Any) -> Case:
        return lambda: build(frame.lazy()).collect(engine=engine).to_arrow()

    engines = ("in-memory", "streaming")
    return {f"{name}, {kind}": case(build, kind) for name, build in JOB.polars().items() for kind in engines}


def duckdb_cases(table: pa.Table) -> dict[str, Case]:
    """DuckDB's plans from its own table."""
    import duckdb

    connection = duckdb.connect(config={"threads": 1, "preserve_insertion_order": False})
    connection.register("given", table)
    connection.execute("CREATE TABLE ticks AS SELECT * FROM given")

    def case(query: str) -> Case:
        return lambda: connection.sql(query.format(source="ticks")).to_arrow_table()

    return {name: case(query) for name, query in JOB.duckdb().items()}


def compare(table: pa.Table, runs: int) -> list[Row]:
    """All engines in turns, on one thread each."""
    one = streamlib_case(table)
    want = one()
    cases = {"streamlib, 1 worker": one}
    targets = [""]
    for who, plans, target in (("polars", polars_cases(table), POLARS), ("duckdb", duckdb_cases(table), "")):
        for name, case in plans.items():
            answers.check_same(want, case(), f"{who} ({name})", JOB.answer)
        best = fastest(plans, 1)
        cases[f"{who}, 1 thread ({best})"] = plans[best]
        targets.append(target)
    timings = in_turns(cases, runs)
    first = timings["streamlib, 1 worker"]
    rows = []
    for (name, timing), target in zip(timings.items(), targets, strict=True):
        shown = answers.hash_of(want, JOB.answer) if timing is first else answers.AGREES
        notes = {"M rows/s": len(table) / timing.seconds / 1e6, "CPU s": timing.cpu_seconds}
        ratio = timing.seconds / first.seconds
        rows.append(Row("hopping", name, timing.seconds, "s", runs, ratio, target, shown, notes))
    return rows


def closes(keys: int, runs: int) -> list[Row]:
    """The median time of a close, CPU seconds, by the number of slices; in turns."""
    seconds: dict[int, list[float]] = {slices: [] for slices in SLICES}
    for _ in range(runs):
        for slices in SLICES:
            seconds[slices].append(seconds_a_close(slices, keys))
    medians = {slices: float(np.median(found)) for slices, found in seconds.items()}
    return [
        Row(
            "hopping, one close",
            f"{slices} slices, {keys:,} keys",
            1e6 * value,
            "us",
            runs,
            value / medians[SLICES[0]],
            CLOSE if slices == SLICES[-1] else "",
        )
        for slices, value in medians.items()
    ]


def seconds_a_close(slices: int, keys: int) -> float:
    """CPU seconds of one close, flips included, over two windows' length."""
    plan = AccumulatorPlan(
        [(Count(), None, None), (Sum(), 0, pa.int64()), (Min(), 1, pa.float64()), (Max(), 1, pa.float64())]
    )
    stacks = TwoStacks([pa.field("symbol", pa.string())], plan)
    names = pa.record_batch({"symbol": [f"S{number:04d}" for number in range(keys)]})
    inputs = [pa.array(np.arange(keys)), pa.array(np.arange(keys) / 4)]

    def feed(number: int) -> None:
        starts = np.full(keys, number, dtype=np.int64)
        stacks.slices.add(names, starts, inputs, starts)

    def close(number: int) -> None:
        stacks.drop(number - slices + 1)
        stacks.push(number + 1)
        closed = stacks.closed()
        assert closed is not None and len(closed.state) == keys, "every key is in each window"

    total = 0.0
    for number in range(3 * slices):
        feed(number)
        begin = time.process_time()
        close(number)
        if number >= slices:
            total += time.process_time() - begin
    return total / (2 * slices)


def measure(rows: int, symbols: int, runs: int) -> list[Row]:
    """The comparison, then the closes."""
    return [*compare(ticks(rows, symbols), runs), *closes(symbols, runs)]


def main(arguments: list[str] | None = None) -> list[Row]:
    args = parser(__doc__, rows=10_000_000, symbols=KEYS, runs=5).parse_args(arguments)
    one_arrow_thread()
    rows = measure(args.rows, args.symbols, args.runs)
    report(rows, args.json)
    return rows


if __name__ == "__main__":
    main()
