"""How long `import streamlib` takes in a fresh process, beside what it stands on."""

from __future__ import annotations

import statistics

from benchmarks.child import python
from benchmarks.measure import Row, parser, report

CASES = {
    "import streamlib": "import streamlib",
    "import pyarrow, numpy": "import pyarrow, numpy",
}
TIMED = "import time; began = time.perf_counter(); {code}; print(time.perf_counter() - began)"


def measure(runs: int) -> list[Row]:
    """The cases in turns; one turn before the first that counts, which compiles bytecode."""
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for turn in range(runs + 1):
        for name, code in CASES.items():
            seconds = float(python("-c", TIMED.format(code=code)))
            if turn:
                times[name].append(seconds)
    medians = {name: statistics.median(found) for name, found in times.items()}
    first = medians["import streamlib"]
    targets = {"import streamlib": "under 0.3 s"}
    return [
        Row("import_time", name, value, "s", runs, value / first, targets.get(name, ""))
        for name, value in medians.items()
    ]


def main(arguments: list[str] | None = None) -> list[Row]:
    args = parser(__doc__, runs=11).parse_args(arguments)
    rows = measure(args.runs)
    report(rows, args.json)
    return rows


if __name__ == "__main__":
    main()
