"""What a run did: rows in and out, late rows with the `max_delay` that would have kept them, open windows."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamlib.elements import format_duration
from streamlib.graph import SinkNode, SourceNode
from streamlib.graph.plan import topological
from streamlib.operators.event_time import EventTimeNode
from streamlib.operators.windows.aggregate import WindowAggregateNode
from streamlib.runtime.execute import Execution


@dataclass(frozen=True, slots=True)
class Late:
    """Late rows of one window step.

    Attributes:
        rows: how many.
        read: whether `.late` was read; if not, they are only counted here.
        max_delay: the `max_delay` that would have kept all of them; None where it is not known.
    """

    rows: int
    read: bool
    max_delay: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did.

    Attributes:
        status: ``finished`` when the input ended, ``stopped`` when the run was stopped.
        seconds: wall time.
        rows_read: rows of each source.
        rows_written: rows of each sink.
        late: late rows by window step.
        dropped: rows a filter did not keep, by step.
        windows_left_open: windows that a stop left unfinished, by step.
        rows_left_open: the rows in them, which are in no output.
        compile_seconds: time spent compiling kernels; 0.0 when all were found on disk.
    """

    status: str
    seconds: float
    rows_read: dict[str, int] = field(default_factory=dict)
    rows_written: dict[str, int] = field(default_factory=dict)
    late: dict[str, Late] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    windows_left_open: dict[str, int] = field(default_factory=dict)
    rows_left_open: dict[str, int] = field(default_factory=dict)
    compile_seconds: float = 0.0

    @property
    def rows_in(self) -> int:
        """Rows read from all sources."""
        return sum(self.rows_read.values())

    @property
    def rows_out(self) -> int:
        """Rows written to all sinks."""
        return sum(self.rows_written.values())

    @property
    def rows_late(self) -> int:
        """Late rows of all steps."""
        return sum(late.rows for late in self.late.values())

    def __str__(self) -> str:
        busy = self.seconds - self.compile_seconds
        rate = self.rows_in / busy if busy > 0 else 0.0
        lines = [f"{self.status}: {self.rows_in:,} rows in {self.seconds:.2f} s ({rate:,.0f} rows/s)"]
        lines += [f"  read     {count:>14,}  {name}" for name, count in self.rows_read.items()]
        lines += [f"  written  {count:>14,}  {name}" for name, count in self.rows_written.items()]
        lines += [f"  dropped  {count:>14,}  {name}" for name, count in self.dropped.items() if count]
        for name, late in self.late.items():
            text = f"  late     {late.rows:>14,}  {name}"
            if late.max_delay is not None:
                text += f": max_delay={late.max_delay!r} would have kept them"
            if not late.read:
                text += f"; read them with .late on the result of {name}"
            lines.append(text)
        for name, count in self.windows_left_open.items():
            rows = self.rows_left_open.get(name, 0)
            lines.append(
                f"  open     {count:>14,}  windows of {name} with {rows:,} rows: stopped before they closed"
            )
        if self.compile_seconds:
            lines.append(
                f"  compiled kernels in {self.compile_seconds:.1f} s; they are kept for the next run"
            )
        return "\n".join(lines)


def report_of(execution: Execution, status: str, compile_seconds: float) -> Report:
    """The report of an execution that has ended or been stopped."""
    totals = execution.totals()
    report = Report(status, totals.seconds, compile_seconds=compile_seconds)
    for step in execution.plan.steps:
        node, name = step.node, step.name
        if isinstance(node, SourceNode):
            label = node.describe() or name
            report.rows_read[label] = report.rows_read.get(label, 0) + totals.rows_in[name]
        elif isinstance(node, SinkNode):
            label = node.describe() or name
            if label in report.rows_written:
                label = f"{label} <- {node.inputs[0].label}"
            report.rows_written[label] = report.rows_written.get(label, 0) + totals.rows_in[name]
        counts = totals.counters.get(name, {})
        if counts.get("dropped"):
            report.dropped[name] = counts["dropped"]
        if isinstance(node, WindowAggregateNode) and counts.get("late"):
            owner = name.removesuffix(" (combine)")
            report.late[owner] = Late(counts["late"], step.late_read, _kept_by(node, counts["late_by_max"]))
    if status == "stopped":
        report.windows_left_open.update(totals.open_windows)
        report.rows_left_open.update(totals.open_rows)
    return report


def _kept_by(node: WindowAggregateNode, late_by: int) -> str | None:
    """The max_delay that would have kept rows late by up to `late_by` ns, rounded up to be easy to read."""
    delays = {n.max_delay for n in topological([node]) if isinstance(n, EventTimeNode)}
    if len(delays) != 1 or None in delays:
        return None
    needed = (delays.pop() or 0) + late_by + 1
    for unit in (1, 1_000, 1_000_000, 1_000_000_000, 60_000_000_000):
        if needed >= 10 * unit:
            rounded = -(-needed // unit) * unit
    return format_duration(rounded if needed >= 10 else needed)
