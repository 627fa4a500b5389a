"""Bytewax, one worker: from the lines of a CSV file to the lines of another, or from lists to a list.

Rows are parsed in lists, not one by one, and the clock stands still, so that no row is late because the
machine is slow: the fastest that was found.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.compare.engines.base import Case, Engine, Task, csv_answer
from benchmarks.compare.job import BytewaxState, BytewaxStateful, BytewaxWindow, Job

if TYPE_CHECKING:
    import pyarrow as pa

LINES = 1_000
MAX_DELAY = timedelta(seconds=2)
EPOCH = datetime(2026, 1, 1, tzinfo=timezone.utc)  # noqa: UP017  # Bytewax also runs on a Python without datetime.UTC
"""What windows are counted from."""


class Bytewax(Engine):
    """Rows are Python objects, and a Python function folds each into its window."""

    name = "bytewax"
    method = "bytewax"
    package = "bytewax"
    requirements = ("bytewax==0.21.1",)
    reads_csv = True

    def cases(self, job: Job, task: Task, only: str | None = None) -> dict[str, Case]:
        from bytewax.testing import run_main

        def run() -> None:
            Path(task.target).unlink(missing_ok=True)
            run_main(flow(job, task))

        return {"": run}

    def answer(self, job: Job, target: Path) -> pa.Table:
        return csv_answer(job, [target], header=False)


class BytewaxMemory(Bytewax):
    """A `stateful_map` alone: its source hands out lists of rows that are there, its sink keeps what comes."""

    name = "bytewax-memory"
    in_memory = True

    @property
    def environment(self) -> str:
        return Bytewax.name

    def does(self, job: Job) -> bool:
        return super().does(job) and job.peers_in_memory

    def cases(self, job: Job, task: Task, only: str | None = None) -> dict[str, Case]:
        from bytewax.testing import run_main

        plan = job.bytewax()
        assert isinstance(plan, BytewaxState)
        with open(task.source, encoding="utf-8") as file:
            rows = [parse(line) for line in file if line[0] != '"']
        batches = [rows[at : at + LINES] for at in range(0, len(rows), LINES)]
        gc.freeze()  # Python's collector does not go through the input over and over

        def run() -> Callable[[], None]:
            found: list[Any] = []
            run_main(memory_flow(plan, batches, found))

            def write() -> None:
                with open(task.target, "w", encoding="utf-8") as file:
                    file.writelines(plan.line(*one) + "\n" for one in found)

            return write

        return {"": run}


def memory_flow(plan: BytewaxState, batches: list[list[Any]], found: list[Any]) -> Any:
    """The dataflow from `batches` to `found`."""
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.inputs import DynamicSource, StatelessSourcePartition
    from bytewax.outputs import DynamicSink, StatelessSinkPartition

    class Batches(DynamicSource, StatelessSourcePartition):  # type: ignore[misc]
        def build(self, step_id: str, worker_index: int, worker_count: int) -> Any:
            self.left = iter(batches)
            return self

        def next_batch(self) -> Any:
            return next(self.left)

    class Found(DynamicSink, StatelessSinkPartition):  # type: ignore[misc]
        def build(self, step_id: str, worker_index: int, worker_count: int) -> Any:
            return self

        def write_batch(self, items: list[Any]) -> None:
            found.extend(items)

    made = Dataflow("job")
    rows = op.input("rows", made, Batches())
    op.output("answer", op.stateful_map("state", rows, plan.step), Found())
    return made


def flow(job: Job, task: Task) -> Any:
    """The dataflow. The header is the only line that begins with a quote."""
    import bytewax.operators as op
    import bytewax.operators.windowing as windows
    from bytewax.connectors.files import FileSink, FileSource
    from bytewax.dataflow import Dataflow

    made = Dataflow("job")
    lines = op.input("lines", made, FileSource(task.source, batch_size=LINES))
    plan = job.bytewax()
    if isinstance(plan, BytewaxWindow):
        rows = op.flat_map_batch("parse", lines, lambda batch: [parse(x) for x in batch if x[0] != '"'])
        clock = windows.EventClock(
            lambda row: row[0], MAX_DELAY, now_getter=lambda: EPOCH, to_system_utc=lambda _: None
        )
        results = windows.fold_window(
            "fold", rows, clock, plan.windower(), lambda: None, plan.fold, lambda one, other: other
        )
        line = plan.line
        text = op.map("text", results.down, lambda result: (result[0], line(result[0], *result[1])))
    elif isinstance(plan, BytewaxState):
        rows = op.flat_map_batch("parse", lines, lambda batch: [parse(x) for x in batch if x[0] != '"'])
        made_of = plan.line
        text = op.map(
            "text",
            op.stateful_map("state", rows, plan.step),
            lambda result: (result[0], made_of(*result)),
        )
    elif isinstance(plan, BytewaxStateful):
        rows = op.flat_map_batch("parse", lines, lambda batch: [parse(x) for x in batch if x[0] != '"'])
        found, shown = op.stateful("state", rows, plan.logic()), plan.line
        text = op.map("text", found, lambda result: (result[0], shown(result[0], result[1])))
    else:
        work = plan
        text = op.flat_map_batch(
            "work", lines, lambda batch: [("", made) for made in work([x for x in batch if x[0] != '"'])]
        )
    op.output("answer", text, FileSink(task.target))
    return made


def parse(line: str) -> Any:
    """A row as its key and its other values: time, price, volume."""
    ts, key, price, volume = line.split(",")
    return key, (datetime.fromisoformat(ts).replace(tzinfo=EPOCH.tzinfo), float(price), int(volume))


def start_of(window: int, seconds: int) -> str:
    """When the window with this number begins, if windows begin every so many seconds.

    >>> start_of(1, 10)
    '2026-01-01 00:00:10'
    """
    return str((EPOCH + timedelta(seconds=window * seconds)).replace(tzinfo=None))


def tumbling(seconds: int) -> Any:
    """Bytewax's tumbling windows."""
    from bytewax.operators.windowing import TumblingWindower

    return TumblingWindower(timedelta(seconds=seconds), EPOCH)


def sliding(seconds: int, every: int) -> Any:
    """Bytewax's sliding windows."""
    from bytewax.operators.windowing import SlidingWindower

    return SlidingWindower(timedelta(seconds=seconds), timedelta(seconds=every), EPOCH)


def session(gap: timedelta) -> Any:
    """Bytewax's sessions."""
    from bytewax.operators.windowing import SessionWindower

    return SessionWindower(gap)
