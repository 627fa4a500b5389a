"""The same jobs on streamlib and its peers, in one run, on the same file, with answers that must agree.

python -m benchmarks.compare
python -m benchmarks.compare --small                  a check that all of it runs; its figures mean nothing
python -m benchmarks.compare --jobs sessions --engines streamlib duckdb polars
python -m benchmarks.compare --readme README.md       also puts the table into the page
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.all import put_into
from benchmarks.compare.chart import chart
from benchmarks.compare.engines import ENGINES
from benchmarks.compare.job import JOBS, find_job
from benchmarks.compare.outcome import Outcome, as_json, table
from benchmarks.compare.suite import Options, run_job
from benchmarks.compare.venvs import default_folder
from benchmarks.measure import number, versions, words

MARKS = ("<!-- comparison table -->", "<!-- end of comparison table -->")
SMALL_ROWS = 20_000


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        "python -m benchmarks.compare", description=(__doc__ or "").partition("\n")[0]
    )
    made.add_argument("--rows", type=int, default=10_000_000, help="rows for libraries, default 10,000,000")
    made.add_argument(
        "--csv-rows",
        type=int,
        default=1_000_000,
        help="rows for engines from file to file, default 1,000,000",
    )
    made.add_argument("--runs", type=int, default=5, help="counted runs of each engine, default 5")
    made.add_argument(
        "--jobs",
        nargs="+",
        default=list(JOBS),
        metavar="JOB",
        help=f"of {', '.join(JOBS)}; or your own module",
    )
    made.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES), metavar="ENGINE")
    made.add_argument("--small", action="store_true", help=f"{SMALL_ROWS:,} rows, one run, first plans")
    made.add_argument("--seconds-max", type=float, default=300.0, help="for one run, default 300")
    made.add_argument("--json", type=Path, help="a file for the rows, a JSON object a line")
    made.add_argument("--chart", type=Path, help="a file for the chart, SVG")
    made.add_argument("--readme", type=Path, help="a page to put the table into")
    made.add_argument("--venvs", type=Path, default=default_folder(), help="environments of engines")
    made.add_argument("--peer-python", default=sys.executable, help="the Python to make these with")
    return made


def page_table(outcomes: Sequence[Outcome], jobs: Sequence[str]) -> str:
    """The table, with what was measured on and with which versions."""
    found = versions() | {one.engine: one.version for one in outcomes if one.version not in ("", "checkout")}
    return f"{table(outcomes, [find_job(name) for name in jobs])}\n\nMeasured with {words(found)}.\n"


def said(one: Outcome) -> str:
    """An outcome in one line."""
    name = f"{one.job}, {one.engine}, {one.workers} worker{'s' if one.workers > 1 else ''}"
    if one.rows_per_second is None:
        return f"{name}: {one.note}"
    return f"{name}: {number(one.rows_per_second / 1e6)} M rows/s, {one.result_hash}"


def main(arguments: list[str] | None = None) -> int:
    """Runs what the options say; 1 when an engine failed or gave a wrong answer."""
    args = parser().parse_args(arguments)
    rows, csv_rows, runs = (
        (SMALL_ROWS, SMALL_ROWS, 1) if args.small else (args.rows, args.csv_rows, args.runs)
    )
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="streamlib-compare-") as folder:
        options = Options(
            rows,
            csv_rows,
            runs,
            not args.small,
            args.seconds_max,
            Path(folder),
            args.venvs.resolve(),
            args.peer_python,
        )
        for name in args.jobs:
            for one in run_job(find_job(name), args.engines, options):
                print(said(one), file=sys.stderr, flush=True)
                outcomes.append(one)
    text = page_table(outcomes, args.jobs)
    print(text)
    for path, content in ((args.json, as_json(outcomes)), (args.chart, chart(outcomes))):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    if args.readme is not None:
        put_into(args.readme, text, MARKS)
    return int(any(one.failed for one in outcomes))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing is left behind
    sys.exit(main())
