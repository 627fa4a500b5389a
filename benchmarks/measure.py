"""How the benchmarks measure: cases in turns, medians, and one form for every figure.

Wall time is what a user waits for; CPU time is what the work costs when other programs share the
machine. Both are taken, and each row says which it is.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("streamlib", "pyarrow", "numpy", "numba", "polars", "duckdb")


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        benchmark: the script, such as ``bars``.
        case: what ran, such as ``polars, 1 thread``.
        value: the median.
        unit: of the value.
        runs: of how many runs it is the median.
        ratio: to the first case of the benchmark, above 1 where this one is slower or larger.
        target: what the value or a ratio is held to, in words.
        result: hash of what was computed; for another engine, that its answer agrees.
        notes: further figures of the case, such as its CPU time.
    """

    benchmark: str
    case: str
    value: float
    unit: str
    runs: int = 1
    ratio: float | None = None
    target: str = ""
    result: str = ""
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Timing:
    """The runs of one case: wall and CPU seconds of each, and what the last one returned."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    returned: Any = None

    @property
    def seconds(self) -> float:
        """Median wall time."""
        return statistics.median(self.wall)

    @property
    def cpu_seconds(self) -> float:
        """Median CPU time of the process, over all its threads."""
        return statistics.median(self.cpu)


@contextmanager
def kept_bytecode() -> Iterator[None]:
    """Has processes that are started keep the bytecode of what they import, as installed packages do."""
    names = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    before = {name: os.environ.pop(name, None) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        try:
            yield
        finally:
            del os.environ["PYTHONPYCACHEPREFIX"]
            os.environ.update({name: value for name, value in before.items() if value is not None})


def in_turns(cases: Mapping[str, Callable[[], Any]], runs: int) -> dict[str, Timing]:
    """Runs each case once, then each again, `runs` times: what slows the machine slows all of them."""
    timings = {name: Timing() for name in cases}
    for _ in range(runs):
        for name, case in cases.items():
            timing = timings[name]
            timing.returned = None
            gc.collect()
            cpu, wall = time.process_time(), time.perf_counter()
            timing.returned = case()
            timing.wall.append(time.perf_counter() - wall)
            timing.cpu.append(time.process_time() - cpu)
    return timings


def fastest(cases: Mapping[str, Callable[[], Any]], runs: int = 2) -> str:
    """The name of the case with the least CPU time: the plan that an engine is compared by."""
    timings = in_turns(cases, runs)
    return min(timings, key=lambda name: min(timings[name].cpu))


def versions() -> dict[str, str]:
    """Of Python, the machine, and what is compared."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "cpu": _cpu()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "checkout" if name == "streamlib" else "-"
    return found


def _cpu() -> str:
    name = platform.processor() or "?"
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} cores"


def parser(doc: str | None, **numbers: int) -> argparse.ArgumentParser:
    """The options of a script: ``--json`` and a number for each keyword."""
    made = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    for name, value in numbers.items():
        made.add_argument(f"--{name.replace('_', '-')}", type=int, default=value, help=f"default {value:,}")
    made.add_argument("--json", type=Path, help="also write the figures to this file, a JSON object a line")
    return made


def report(rows: Sequence[Row], path: Path | None = None) -> None:
    """Prints the figures as a table and writes them to `path`."""
    print(markdown(rows))
    print(f"\n{words(versions())}")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({**asdict(row), "versions": versions()}) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def markdown(rows: Sequence[Row]) -> str:
    """The figures as a Markdown table.

    >>> print(markdown([Row("bars", "streamlib", 0.25, "s", 5, 1.0, "", "ab12")]))
    | benchmark | case | median | runs | ratio | target | result |
    | --- | --- | ---: | ---: | ---: | --- | --- |
    | bars | streamlib | 0.25 s | 5 | 1.00 |  | ab12 |
    """
    lines = [
        "| benchmark | case | median | runs | ratio | target | result |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        notes = f" ({words(row.notes)})" if row.notes else ""
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append(
            f"| {row.benchmark} | {row.case}{notes} | {number(row.value)} {row.unit} | {row.runs} "
            f"| {ratio} | {row.target} | {row.result} |"
        )
    return "\n".join(lines)


def words(values: Mapping[str, Any]) -> str:
    """``name value`` of each, joined by commas."""
    return ", ".join(f"{name} {number(v) if isinstance(v, float) else v}" for name, v in values.items())


def number(value: float) -> str:
    """Three digits that count; whole numbers from a hundred.

    >>> number(0.123456), number(12.3456), number(1234.5)
    ('0.123', '12.3', '1,234')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def one_arrow_thread() -> None:
    """Keeps Arrow's own pool from helping: a figure for one thread must come from one."""
    import pyarrow as pa

    pa.set_cpu_count(1)


def peak_bytes(pid: int | None = None) -> int:
    """The most memory that this process has held, in bytes; or another one, where the system tells.

    Not `ru_maxrss` where it can be had otherwise: on Linux a child inherits its parent's there.
    """
    try:
        for line in Path(f"/proc/{pid or 'self'}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if pid is not None:
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
