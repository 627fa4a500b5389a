"""Running: `run` takes sinks and runs what leads to them, `collect` returns a stream's rows."""

from __future__ import annotations

import sys
from typing import Literal, TypeGuard

import pyarrow as pa

from streamlib.errors import BuildError, user_location
from streamlib.graph import Node, SinkNode
from streamlib.graph import explain as explain_nodes
from streamlib.graph.never_run import taken
from streamlib.graph.plan import topological
from streamlib.observe.report import Report, report_of
from streamlib.runtime.execute import Execution
from streamlib.runtime.inline import run_inline, wait_for_sources
from streamlib.runtime.run import RunOptions
from streamlib.runtime.threads import run_threads

WORKERS_MAX = 256


def run(
    *sinks: SinkNode,
    workers: int = 1,
    batch_rows: int = 65_536,
    progress: bool | Literal["auto"] = "auto",
) -> Report:
    """Runs the pipelines that lead to `sinks` until their input ends.

    Output becomes visible when the whole run has succeeded. Ctrl-C, or any error, leaves none.

    Args:
        sinks: what `.write_files(...)`, `.print()` and `.write(...)` returned.
        workers: threads. The rows that come out do not depend on it.
        batch_rows: the largest micro-batch. The rows that come out do not depend on it either.
        progress: show a line with rows, rate, watermark and open windows; ``"auto"``: on a terminal.

    Returns:
        What was read, written, late and dropped.

    Raises:
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
    at = user_location()
    for sink in sinks:
        if not isinstance(sink, SinkNode):
            raise BuildError(
                "run() takes sinks",
                at=at,
                expected="what .write_files(...), .print() or .write(...) returns",
                got=repr(sink),
                hint="end the stream with a sink, or use .collect()",
            )
    _check(workers, batch_rows, progress)
    execution = Execution(sinks, workers, RunOptions(batch_rows=batch_rows))
    shown = progress is True or (progress == "auto" and sys.stderr.isatty())
    return _execute(execution, shown)


def collect(node: Node, workers: int = 1, batch_rows: int = 65_536) -> pa.Table:
    """The rows of a node as a table, sorted by event time, key and position; see `Stream.collect`."""
    from streamlib.connectors.memory import CollectSink
    from streamlib.operators.hidden import HiddenColumnsNode

    _check(workers, batch_rows, False)
    sink = CollectSink()
    hidden = HiddenColumnsNode(inputs=(node,), at=node.at)
    execution = Execution(
        [SinkNode(inputs=(hidden,), at=node.at, sink=sink)], workers, RunOptions(batch_rows)
    )
    _execute(execution, shown=False)
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


def _check(workers: object, batch_rows: object, progress: object) -> None:
    for name, value, right, expected in (
        ("workers", workers, _whole(workers) and 1 <= workers <= WORKERS_MAX, f"1 to {WORKERS_MAX} threads"),
        ("batch_rows", batch_rows, _whole(batch_rows) and batch_rows >= 1, "1 row or more"),
        ("progress", progress, progress in (True, False, "auto"), 'True, False or "auto"'),
    ):
        if not right:
            raise BuildError(
                f"{name}= has no such value", at=user_location(), expected=expected, got=repr(value)
            )


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _execute(execution: Execution, shown: bool) -> Report:
    from contextlib import nullcontext

    from streamlib.kernels import compilations
    from streamlib.observe.progress import Progress

    before = compilations()
    try:
        execution.open()
        with Progress(execution, execution.total_bytes()) if shown else nullcontext():
            if execution.plan.workers == 1:
                run_inline(execution, idle=lambda: wait_for_sources(execution))
            else:
                run_threads(execution)
        execution.finish()
    except BaseException:
        execution.abort()
        raise
    finally:
        execution.close()
    after = compilations()
    compiled = after.seconds - before.seconds if after.compiled > before.compiled else 0.0
    return report_of(execution, "finished", compiled)
