"""Runs every benchmark, each in a process of its own, and writes the figures to `out/benchmarks/`.

    python -m benchmarks.all
    python -m benchmarks.all --small                a check that all of them run; its figures mean nothing
    python -m benchmarks.all --readme README.md     also puts the table into the page

`figures.jsonl` has one JSON object a figure, `table.md` the same for people.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.child import ROOT
from benchmarks.measure import Row, markdown, versions, words

SCRIPTS: dict[str, list[str]] = {
    "bars": ["--rows", "60000", "--runs", "1"],
    "hopping": ["--rows", "60000", "--symbols", "50", "--runs", "1"],
    "csv_bars": ["--rows", "60000", "--runs", "1"],
    "memory": ["--megabytes", "3"],
    "import_time": ["--runs", "1"],
    "small_batches": ["--batches", "40", "--runs", "1"],
    "compile_time": ["--runs", "1", "--rows", "2000"],
    "processes": ["--map-rows", "2000", "--bar-rows", "20000", "--runs", "1"],
    "gil": ["--rows", "20000", "--seconds", "1"],
    "long_run": ["--rows", "400000", "--keys", "100000"],
    "socket_latency": ["--rate", "1000", "--seconds", "2"],
}
"""The scripts in the order in which they run, each with options that make it small."""

BEGIN, END = "<!-- benchmark table -->", "<!-- end of benchmark table -->"


def run_script(name: str, folder: Path, small: bool = False) -> list[Row]:
    """Runs one script and reads its figures from `folder`.

    Raises:
        subprocess.CalledProcessError: it failed, for example because two engines disagree.
    """
    path = folder / f"{name}.jsonl"
    options = SCRIPTS[name] if small else []
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(path.resolve()), *options]
    subprocess.run(command, cwd=ROOT, check=True)
    return read_rows(path)


def read_rows(path: Path) -> list[Row]:
    """The figures of a file that `--json` wrote."""
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Row(**{k: v for k, v in one.items() if k != "versions"}) for one in found]


def table(rows: list[Row]) -> str:
    """The page's table, with what was measured on."""
    return f"{markdown(rows)}\n\nMeasured with {words(versions())}.\n"


def put_into(page: Path, text: str, marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Replaces what stands between the two marks of a page.

    Raises:
        ValueError: the page has no such marks.
    """
    whole, (begin, end) = page.read_text(encoding="utf-8"), marks
    if begin not in whole or end not in whole:
        raise ValueError(f"{page} has no lines {begin} and {end}")
    before, _, rest = whole.partition(begin)
    after = rest.partition(end)[2]
    page.write_text(f"{before}{begin}\n\n{text}\n{end}{after}", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--only", nargs="+", choices=list(SCRIPTS), default=list(SCRIPTS))
    made.add_argument("--small", action="store_true", help="tiny inputs: checks that all of them run")
    made.add_argument("--output", type=Path, default=Path("out/benchmarks"))
    made.add_argument("--readme", type=Path, help="a page to put the table into")
    args = made.parse_args(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for name in args.only:
        print(f"\n== {name}", flush=True)
        rows += run_script(name, args.output, args.small)
    figures = [(args.output / f"{name}.jsonl").read_text(encoding="utf-8") for name in args.only]
    (args.output / "figures.jsonl").write_text("".join(figures), encoding="utf-8")
    (args.output / "table.md").write_text(table(rows), encoding="utf-8")
    if args.readme is not None:
        put_into(args.readme, table(rows))
    print(f"\n{len(rows)} figures in {args.output}")


if __name__ == "__main__":
    main()
