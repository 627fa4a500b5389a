"""`run` and `start` take sinks and run what leads to them, `collect` returns a stream's rows."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pyarrow as pa

from streamlib.errors import BuildError, ErrorPolicy, user_location
from streamlib.graph import Node, SinkNode
from streamlib.graph import explain as explain_nodes
from streamlib.graph.never_run import taken
from streamlib.graph.plan import topological
from streamlib.job.drive import drive
from streamlib.job.interrupts import attend
from streamlib.job.job import Job
from streamlib.job.options import NAME_CHARS_MAX, JobOptions, refuse_timing
from streamlib.observe.report import Report
from streamlib.runtime.execute import Execution
from streamlib.workers import Processes

_instead: Callable[[Sequence[Node]], None] | None = None
"""What is done with sinks instead of running them; see `instead_of_running`."""


def run(
    *sinks: SinkNode,
    name: str | None = None,
    workers: int | Processes = 1,
    batch_rows: int = 65_536,
    progress: bool | Literal["auto"] = "auto",
    deterministic: bool = False,
    on_stop: Literal["checkpoint", "flush"] = "checkpoint",
    on_error: ErrorPolicy = "fail",
    dead_letters: str | os.PathLike[str] | None = None,
    why: bool = True,
) -> Report:
    """Runs the pipelines that lead to `sinks` until their input ends.

    Output becomes visible when the whole run has succeeded; any error leaves none. Ctrl-C (or
    SIGTERM) stops a run over endless input: what was read is finished, the output becomes visible,
    and the report has the status ``stopped``. A run over input that ends is called off by it: it
    leaves no output, and `KeyboardInterrupt` is raised. Ctrl-C a second time calls off any run.

    Args:
        sinks: what `.write_files(...)`, `.print()` and `.write(...)` returned.
        name: what `streamlib why`, messages and the report call the run; that of the script when None.
        workers: threads, or `sl.processes(n)`. The rows that come out do not depend on it.
        batch_rows: the largest micro-batch. The rows that come out do not depend on it either.
        progress: show a line with rows, rate, watermark and open windows; ``"auto"``: on a terminal.
        deterministic: refuse steps whose output may depend on timing.
        on_stop: what a stop does with open windows: ``"checkpoint"`` keeps them for the next run where
            there are checkpoints, and else counts them in the report; ``"flush"`` closes them as the
            end of the input does.
        on_error: what becomes of rows that a step cannot work on, where it has no `.on_error(...)` of
            its own: ``"fail"``, ``"skip"`` or ``"dead_letter"``.
        dead_letters: a folder for dead letters that nothing reads: one JSON Lines file a step, such as
            ``select.jsonl``.
        why: let `streamlib why` ask this run, from another terminal of the same user.

    Returns:
        What was read, written, late and dropped.

    Raises:
        BuildError: options that cannot be, or a plan that may depend on timing with `deterministic`.
        StreamlibError: the first error of any worker, once, from where it began.

    >>> import pyarrow as pa, streamlib as sl
    >>> report = sl.run(sl.read_arrow(pa.table({"n": [1, 2]})).print())
    n
    -
    1
    2
    >>> report.rows_in, report.rows_out
    (2, 2)
    """
    options = JobOptions(
        name=name,
        workers=workers,
        batch_rows=batch_rows,
        progress=progress,
        deterministic=deterministic,
        on_stop=on_stop,
        on_error=on_error,
        dead_letters=dead_letters,
        why=why,
    )
    return attend(lambda: _start("run", sinks, options))


def start(
    *sinks: SinkNode,
    name: str | None = None,
    workers: int | Processes = 1,
    batch_rows: int = 65_536,
    progress: bool | Literal["auto"] = False,
    deterministic: bool = False,
    on_stop: Literal["checkpoint", "flush"] = "checkpoint",
    on_error: ErrorPolicy = "fail",
    dead_letters: str | os.PathLike[str] | None = None,
    why: bool = True,
) -> Job:
    """Runs the pipelines that lead to `sinks` in the background, and returns at once with the `Job`.

    The arguments are those of `run`; the progress line is off, since the terminal is the script's own.
    A job that still runs at the end of the program is stopped as by Ctrl-C.

    Raises:
        BuildError: as `run`.
        StreamlibError: a source or sink cannot be opened. Later errors are raised by `Job.wait`.

    >>> import pyarrow as pa, streamlib as sl
    >>> job = sl.start(sl.read_arrow(pa.table({"n": [1, 2]})).write_files("numbers.csv"))
    >>> job.wait().rows_out
    2
    """
    options = JobOptions(
        name=name,
        workers=workers,
        batch_rows=batch_rows,
        progress=progress,
        deterministic=deterministic,
        on_stop=on_stop,
        on_error=on_error,
        dead_letters=dead_letters,
        why=why,
    )
    return _start("start", sinks, options)


def collect(node: Node, workers: int | Processes = 1, batch_rows: int = 65_536) -> pa.Table:
    """The rows of a node as a table, sorted by event time, key and position; see `Stream.collect`."""
    from streamlib.connectors.memory import CollectSink
    from streamlib.operators.hidden import HiddenColumnsNode

    options = JobOptions(workers=workers, batch_rows=batch_rows, progress=False)
    if explained_instead([node]):
        return node.schema.empty_table()
    sink = CollectSink()
    hidden = HiddenColumnsNode(inputs=(node,), at=node.at)
    execution = options.execution([SinkNode(inputs=(hidden,), at=node.at, sink=sink)])
    drive(execution)
    execution.release()
    results = node.timed and any(n.state_bound() != "none" for n in topological([node]))
    return hidden.sorted(sink.table(), results)


def explain(*sinks: SinkNode) -> str:
    """The plan of what `run(*sinks)` would do: steps, types, keys, event time, state bounds.

    Of each sink it says whether its output is a function of the input alone (``deterministic``), or
    why it may depend on timing, and its guarantee.

    >>> import pyarrow as pa, streamlib as sl
    >>> print(sl.explain(sl.read_arrow(pa.table({"n": [1]})).print()).splitlines()[-2].strip())
    output: deterministic
    """
    for sink in sinks:
        taken(sink)
    return explain_nodes(sinks)


@contextmanager
def instead_of_running(act: Callable[[Sequence[Node]], None]) -> Iterator[None]:
    """Within it `run`, `start` and all that would run a stream call `act` with the plan's ends, and run nothing.

    For `streamlib explain`. Results are empty: a report without rows, a table without rows.
    """
    global _instead
    before, _instead = _instead, act
    try:
        yield
    finally:
        _instead = before


def explained_instead(ends: Sequence[Node]) -> bool:
    """Whether something else was done with the plan than to run it: then nothing is to be run."""
    if _instead is None:
        return False
    _instead(ends)
    return True


def _start(verb: str, sinks: Sequence[SinkNode], options: JobOptions) -> Job:
    _check_sinks(verb, sinks)
    if options.deterministic:
        refuse_timing(sinks)
    sinks = options.with_dead_letters(sinks)
    name = options.name or script_name()
    if explained_instead(sinks):
        return Job.ended(Execution(sinks), options, name)
    job = Job(options.execution(sinks), options, name)
    job._begin()
    return job


def _check_sinks(verb: str, sinks: Sequence[object]) -> None:
    for sink in sinks:
        if not isinstance(sink, SinkNode):
            raise BuildError(
                f"{verb}() takes sinks",
                at=user_location(),
                expected="what .write_files(...), .print() or .write(...) returns",
                got=repr(sink),
                hint="give the sinks one by one, or as *sinks"
                if isinstance(sink, list | tuple)
                else "end the stream with a sink, or use .collect()",
            )


def script_name() -> str:
    """The name of the script that runs, without its ending; ``job`` where there is none."""
    program = sys.argv[0] if sys.argv else ""
    stem = "" if program in ("-c", "-m") else Path(program).stem
    kept = "".join(letter for letter in stem if letter.isprintable()).strip()
    return kept[:NAME_CHARS_MAX] or "job"
