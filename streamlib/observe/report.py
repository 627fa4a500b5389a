"""What a run did: rows in and out, late rows with the `max_delay` that would have kept them, open windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from streamlib.elements import format_duration
from streamlib.graph import Node, SinkNode, SourceNode
from streamlib.graph.plan import Step, topological
from streamlib.operators.event_time import EventTimeNode
from streamlib.operators.windows.aggregate import count_numbers
from streamlib.runtime.execute import Execution, Totals

T = TypeVar("T")

READS_MAX = 100
"""How often a look at what a worker changes meanwhile is repeated."""


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
    """What a run did. Printed, it is a table; `to_dict` has the same for programs.

    Attributes:
        status: ``finished`` when the input ended, ``stopped`` when the run was stopped, ``failed`` after
            an error, ``aborted`` when it was called off; before its end ``starting``, ``running`` or
            ``stopping``.
        seconds: wall time.
        rows_read: rows of each source.
        rows_written: rows of each sink.
        late: late rows by window step.
        dropped: rows a filter did not keep, or of a window by rows or a sum that was never full, by step.
        skipped: rows that a step refused and left out, by step.
        dead_letters: rows that a step refused and sent to `.dead_letters`, by step.
        retried: calls that were repeated after an error, by step.
        connectors: what sources and sinks count themselves, such as clients, by source or sink.
        windows_left_open: windows that a stop left unfinished, or that are open now, by step.
        rows_left_open: the rows in them, which are in no output; counted once the run was stopped.
        compile_seconds: time spent compiling kernels; 0.0 when all were found on disk.
        name: of the run.
        error: the message of the error that ended it.
    """

    status: str
    seconds: float
    rows_read: dict[str, int] = field(default_factory=dict)
    rows_written: dict[str, int] = field(default_factory=dict)
    late: dict[str, Late] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    dead_letters: dict[str, int] = field(default_factory=dict)
    retried: dict[str, int] = field(default_factory=dict)
    connectors: dict[str, dict[str, int]] = field(default_factory=dict)
    windows_left_open: dict[str, int] = field(default_factory=dict)
    rows_left_open: dict[str, int] = field(default_factory=dict)
    compile_seconds: float = 0.0
    name: str | None = None
    error: str | None = None

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

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, which `json.dumps` takes.

        >>> Report("finished", 0.5, rows_read={"ticks.csv": 3}).to_dict()["rows_in"]
        3
        """
        sums = {"rows_in": self.rows_in, "rows_out": self.rows_out, "rows_late": self.rows_late}
        return {"name": self.name, "status": self.status, **sums, **asdict(self)}

    def __str__(self) -> str:
        busy = self.seconds - self.compile_seconds
        rate = self.rows_in / busy if busy > 0 else 0.0
        lines = [f"{self.status}: {self.rows_in:,} rows in {self.seconds:.2f} s ({rate:,.0f} rows/s)"]
        if self.error is not None:
            lines.append(f"  error    {self.error.splitlines()[0] if self.error else 'without a message'}")
        for word, counts in (("read", self.rows_read), ("written", self.rows_written)):
            lines += [_line(word, count, name) for name, count in counts.items()]
        for word, counts in (("dropped", self.dropped), ("skipped", self.skipped)):
            lines += [_line(word, count, name) for name, count in counts.items() if count]
        lines += [
            _line("letters", count, f"{name}: rows that it refused, in its .dead_letters")
            for name, count in self.dead_letters.items()
        ]
        lines += [_line("retried", count, f"calls of {name}") for name, count in self.retried.items()]
        for name, late in self.late.items():
            text = name
            if late.max_delay is not None:
                text += f": max_delay={late.max_delay!r} would have kept them"
            if not late.read:
                text += f"; read them with .late on the result of {name}"
            lines.append(_line("late", late.rows, text))
        lines += [self._open_line(name, count) for name, count in self.windows_left_open.items()]
        for name, counts in self.connectors.items():
            text = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in counts.items() if count)
            if text:
                lines.append(f"  {name}: {text}")
        if self.compile_seconds:
            lines.append(
                f"  compiled kernels in {self.compile_seconds:.1f} s; they are kept for the next run"
            )
        return "\n".join(lines)

    def _open_line(self, name: str, count: int) -> str:
        rows = self.rows_left_open.get(name)
        if rows is None:
            return _line("open", count, f"windows of {name}")
        return _line("open", count, f"windows of {name} with {rows:,} rows: stopped before they closed")


def _line(word: str, count: int, text: str) -> str:
    return f"  {word:<7}  {count:>14,}  {text}"


@dataclass(frozen=True, slots=True)
class NodeSteps:
    """The steps of the plan that one node became: two where it combines rows before the exchange.

    Attributes:
        name: as the user knows it.
        steps: in the order that rows take.
    """

    name: str
    node: Node
    steps: tuple[Step, ...]

    @property
    def first(self) -> Step:
        """The step that takes the rows."""
        return self.steps[0]

    @property
    def last(self) -> Step:
        """The step that yields the results."""
        return self.steps[-1]


def node_steps(execution: Execution) -> list[NodeSteps]:
    """The nodes of a plan, in its order, each with its steps."""
    found: dict[int, list[Step]] = {}
    for step in execution.plan.steps:
        found.setdefault(id(step.node), []).append(step)
    return [NodeSteps(steps[-1].name, steps[-1].node, tuple(steps)) for steps in found.values()]


def steady(look: Callable[[], T]) -> T:
    """The result of a look at containers that workers change meanwhile: repeated when one changed under it."""
    for _ in range(READS_MAX - 1):
        try:
            return look()
        except (RuntimeError, IndexError, KeyError):
            continue
    return look()


def open_windows(execution: Execution, node: NodeSteps) -> tuple[int, int | None]:
    """How many windows of a node are open, over all workers, and the end of the earliest, ns.

    A window is counted once, however many keys it has and workers hold them.
    """
    ranges: list[tuple[int, int]] = []
    others, ends = 0, []
    for worker in list(execution.workers):
        for step in node.steps:
            if step.index >= len(worker.operators):
                continue
            operator = worker.operators[step.index]
            ranged = getattr(operator, "open_ranges", None)
            count, end = steady(operator.open_windows)
            if ranged is not None:
                mine = steady(ranged)
                ranges += mine
                if mine and end is not None:
                    ends.append(end)
            else:
                others += count
                if end is not None:
                    ends.append(end)
    return count_numbers(ranges) + others, min(ends, default=None)


def report_of(
    execution: Execution,
    status: str,
    compile_seconds: float = 0.0,
    name: str | None = None,
    error: BaseException | None = None,
) -> Report:
    """The report of an execution: when it has ended, or of what it did so far."""
    totals = steady(execution.totals)
    text = None if error is None else str(error) or type(error).__name__
    report = Report(status, totals.seconds, compile_seconds=compile_seconds, name=name, error=text)
    for node in node_steps(execution):
        _count_connector(report, node, totals)
        _count_refused(report, node, totals)
        if status != "finished":
            windows, _ = open_windows(execution, node)
            if windows:
                report.windows_left_open[node.name] = windows
            if status == "stopped" and node.last.name in totals.open_rows:
                report.rows_left_open[node.name] = totals.open_rows[node.last.name]
    return report


def _count_connector(report: Report, node: NodeSteps, totals: Totals) -> None:
    name = node.name
    rows = totals.rows_in[name]
    if isinstance(node.node, SourceNode):
        label = node.node.describe() or name
        report.rows_read[label] = report.rows_read.get(label, 0) + rows
    elif isinstance(node.node, SinkNode):
        label = node.node.describe() or name
        if label in report.rows_written:
            label = f"{label} <- {node.node.inputs[0].label}"
        report.rows_written[label] = report.rows_written.get(label, 0) + rows
    else:
        return
    known = ("dropped", "skipped", "dead_letters", "retried")
    own = {what: count for what, count in totals.counters.get(name, {}).items() if what not in known}
    if any(own.values()):
        report.connectors[label] = own


def _count_refused(report: Report, node: NodeSteps, totals: Totals) -> None:
    for step in node.steps:
        counts = totals.counters.get(step.name, {})
        for what, kept in (
            ("dropped", report.dropped),
            ("skipped", report.skipped),
            ("dead_letters", report.dead_letters),
            ("retried", report.retried),
        ):
            if counts.get(what):
                kept[node.name] = kept.get(node.name, 0) + counts[what]
        if counts.get("late"):
            delay = kept_by(node.node, counts["late_by_max"])
            report.late[node.name] = Late(counts["late"], step.late_read, delay)


def kept_by(node: Node, late_by: int) -> str | None:
    """The max_delay that would have kept rows late by up to `late_by` ns, rounded up to be easy to read."""
    delays = {n.max_delay for n in topological([node]) if isinstance(n, EventTimeNode)}
    if len(delays) != 1 or None in delays:
        return None
    needed = (delays.pop() or 0) + late_by + 1
    for unit in (1, 1_000, 1_000_000, 1_000_000_000, 60_000_000_000):
        if needed >= 5 * unit:
            rounded = -(-needed // unit) * unit
    return format_duration(rounded if needed >= 5 else needed)
