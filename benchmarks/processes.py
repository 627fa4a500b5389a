"""Workers that are processes: a Python function and bars on one and on two, and what a start costs.

One worker is a thread of this process: what a user has who asks for nothing. Times are those of whole runs,
with the start and the end of the processes. `cpu` is of this process and its workers together: on a machine
that others use too it tells what the work costs.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

import streamlib as sl
from benchmarks import answers, jobs
from benchmarks.compare.jobs.python_map import JOB as PYTHON_MAP
from benchmarks.measure import Row, Timing, kept_bytecode, one_arrow_thread, parser, report
from benchmarks.ticks import ticks
from streamlib.connectors.memory import CollectSink

Case = Callable[[], str]


def case(stream: Callable[[], sl.Stream], workers: Any, hashed: Callable[[pa.Table], str]) -> Case:
    """Runs a stream on some workers; returns the hash of the answer."""

    def run() -> str:
        sink = CollectSink()
        sl.run(stream().write(sink), workers=workers, progress=False, why=False)
        return hashed(sink.table())

    return run


def total(table: pa.Table) -> str:
    """The number of rows and the sum of the last column: an answer whose rows stand in no order."""
    return f"{table.num_rows}:{sum(table.column(-1).to_pylist())}"


def in_turns(cases: Mapping[str, Case], runs: int) -> dict[str, Timing]:
    """As `measure.in_turns`, with the CPU time of processes that have ended."""
    timings = {name: Timing() for name in cases}
    for _ in range(runs):
        for name, one in cases.items():
            gc.collect()
            cpu, wall = _cpu_seconds(), time.perf_counter()
            timings[name].returned = one()
            timings[name].wall.append(time.perf_counter() - wall)
            timings[name].cpu.append(_cpu_seconds() - cpu)
    return timings


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _rows(what: str, rows: int, timings: Mapping[str, Timing], target: str) -> list[Row]:
    first = next(iter(timings.values()))
    results = {timing.returned for timing in timings.values()}
    assert len(results) == 1, "the answer depends on the workers"
    made = []
    for name, timing in timings.items():
        notes = {"M rows/s": rows / timing.seconds / 1e6, "cpu s": timing.cpu_seconds}
        ratio = timing.seconds / first.seconds
        is_target = target if name == "2 processes" else ""
        made.append(
            Row(
                "processes",
                f"{what}, {name}",
                timing.seconds,
                "s",
                len(timing.wall),
                ratio,
                is_target,
                "",
                notes,
            )
        )
    return made


def started(runs: int) -> Row:
    """How long it takes to start and end one process, with a plan that does nothing."""
    one = pa.table({"n": [1]})
    run = case(lambda: sl.read_arrow(one), sl.processes(1), total)
    timing = in_turns({"start": run}, runs)["start"]
    notes = {"cpu s": statistics.median(timing.cpu)}
    return Row("processes", "start and end of one", timing.seconds, "s", runs, None, "", "", notes)


def measure(map_rows: int, bar_rows: int, runs: int) -> list[Row]:
    """All three."""
    few, many = ticks(map_rows), ticks(bar_rows)
    workers = {"1 worker": 1, "2 threads": 2, "1 process": sl.processes(1), "2 processes": sl.processes(2)}
    mapped = {n: case(lambda: PYTHON_MAP.streamlib(sl.read_arrow(few)), w, total) for n, w in workers.items()}
    bars = {n: case(lambda: jobs.bars(sl.read_arrow(many)), w, answers.hash_of) for n, w in workers.items()}
    for one in bars.values():
        one()  # compiles
    case(lambda: PYTHON_MAP.streamlib(sl.read_arrow(few.slice(0, 1000))), sl.processes(1), total)()
    made = _rows("a Python function", map_rows, in_turns(mapped, runs), "ratio at most 0.63")
    made += _rows("bars", bar_rows, in_turns(bars, runs), "")
    return [*made, started(runs)]


def main(arguments: list[str] | None = None) -> list[Row]:
    args = parser(__doc__, map_rows=5_000_000, bar_rows=20_000_000, runs=3).parse_args(arguments)
    one_arrow_thread()
    with kept_bytecode():
        rows = measure(args.map_rows, args.bar_rows, args.runs)
    report(rows, args.json)
    return rows


if __name__ == "__main__":
    main()
