"""What the first run on a new machine spends on kernels, which it compiles, and a later one, which loads them.

The import of numba is part of both. Each turn begins with an empty `STREAMLIB_CACHE_DIR`, and runs the
job twice, each in a fresh process.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks import answers, child
from benchmarks.measure import Row, parser, report
from benchmarks.ticks import write_csv


def measure(runs: int, rows: int) -> list[Row]:
    """Medians over `runs` turns of a first and a second run."""
    ran: dict[str, list[Any]] = {"first run": [], "second run": []}
    results = set()
    with tempfile.TemporaryDirectory(prefix="streamlib-benchmark-") as folder:
        source, target = Path(folder, "ticks.csv"), Path(folder, "bars")
        write_csv(source, rows)
        for _ in range(runs):
            with tempfile.TemporaryDirectory(prefix="streamlib-kernels-") as cache:
                for name in ran:
                    ran[name].append(child.job(source, target, 1, STREAMLIB_CACHE_DIR=cache))
                    results.add(answers.hash_of(pq.read_table(target)))
    assert len(results) == 1, "streamlib's answer depends on the run"
    made = []
    for name, target_words in (("first run", "under 6 s"), ("second run", "under 0.3 s")):
        compiling = statistics.median(one["kernels_seconds"] for one in ran[name])
        whole = statistics.median(one["seconds"] for one in ran[name])
        notes = {
            "kernels compiled": ran[name][0]["kernels_compiled"],
            "loaded": ran[name][0]["kernels_loaded"],
            "whole process s": whole,
        }
        made.append(Row("compile_time", name, compiling, "s", runs, None, target_words, min(results), notes))
    return made


def main(arguments: list[str] | None = None) -> list[Row]:
    args = parser(__doc__, runs=3, rows=100_000).parse_args(arguments)
    rows = measure(args.runs, args.rows)
    report(rows, args.json)
    return rows


if __name__ == "__main__":
    main()
