"""The process of one engine. It reads one word a line and answers each with a JSON object.

    python -m benchmarks.compare.child TASK

``plans`` measures all plans once and says the fastest, ``run`` runs once, ``finish`` writes the answer and ends.
The first object says that all is ready, or why it is not.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from benchmarks.compare.engines import ENGINES
from benchmarks.compare.engines.base import Engine, NotBuilt, Task
from benchmarks.compare.job import Job, find_job
from benchmarks.measure import fastest, in_turns, peak_bytes

PLANS_RUNS = 2


def private_output() -> TextIO:
    """Standard output for the answers alone: what engines print goes to standard error."""
    kept = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return kept


def peak_mb() -> float:
    """The most memory that this process and the processes it has started have held, in MB."""
    return (peak_bytes() + sum(peak_bytes(pid) for pid in descendants(os.getpid()))) / 1e6


def forget_peak() -> None:
    """Begins anew with the peak, where the system can: what it took to make ready does not count."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def descendants(pid: int) -> Iterator[int]:
    """Processes that were started by `pid` and theirs, as far as the system says."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(path.parent.name)] = int(fields[1])
    found = {pid}
    for _ in parents:
        grown = found | {child for child, parent in parents.items() if parent in found}
        if grown == found:
            break
        found = grown
    yield from found - {pid}


def installed(package: str) -> str:
    """The version of a package, or that it is a checkout."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "checkout"


def serve(engine: Engine, job: Job, task: Task, words: Iterator[str], say: Callable[[Any], None]) -> None:
    """Answers each word until ``finish``, or until nobody asks."""
    first = next(words, "")
    if first == "plans":
        cases = engine.cases(job, task)
        say({"version": installed(engine.package)})
        say({"plan": fastest(cases, PLANS_RUNS) if len(cases) > 1 else next(iter(cases))})
        return
    if first != "measure":
        return
    ((plan, case),) = engine.cases(job, task, task.plan).items()
    forget_peak()
    say({"version": installed(engine.package), "plan": plan})
    answer = None
    for word in words:
        if word == "finish":
            peak = peak_mb()
            if callable(answer):
                answer()
            elif answer is not None:
                write(answer, task.target)
            say({"peak_rss_mb": peak})
            return
        answer = None
        gc.collect()
        timing = in_turns({plan: case}, 1)[plan]
        answer = timing.returned
        timing.returned = None
        say({"seconds": timing.seconds})


def write(answer: Any, target: str) -> None:
    """An answer in memory as an Arrow IPC file."""
    import pyarrow as pa

    with pa.ipc.new_file(target, answer.schema) as file:
        file.write_table(answer)


def main(text: str) -> None:
    """Does what the standard input says."""
    output = private_output()

    def say(what: Any) -> None:
        output.write(json.dumps(what) + "\n")
        output.flush()

    task = Task.of(text)
    engine = ENGINES[task.engine]
    if not engine.requirements:
        from benchmarks.measure import one_arrow_thread

        one_arrow_thread()
    try:
        serve(engine, find_job(task.job), task, (line.strip() for line in sys.stdin), say)
    except NotBuilt as error:
        say({"not_built": str(error)})


if __name__ == "__main__":
    main(sys.argv[1])
