"""What is known of a run from outside: rows at each step, watermarks, splits, and what workers are at.

Everything is read while the workers go on, and nothing is written: a look costs the run nothing. What
is read may be a moment old, and two values read after one another need not fit each other exactly.
"""

from __future__ import annotations

import sys
import weakref
from dataclasses import dataclass
from types import FrameType

from streamlib.elements import MIN_TIME, add_time
from streamlib.eventtime import EventClock, SplitTime
from streamlib.eventtime.splits import SplitState
from streamlib.graph import SourceNode
from streamlib.graph.plan import Step
from streamlib.observe.report import NodeSteps, node_steps, open_windows, steady
from streamlib.operators.event_time import EventTimeNode
from streamlib.runtime.execute import Execution
from streamlib.runtime.splits import SplitRun
from streamlib.runtime.worker import Worker

_WORK = Worker.step.__code__


@dataclass(frozen=True, slots=True)
class AtWork:
    """A worker inside a step.

    Attributes:
        worker: its index.
        step: where it is.
        since_ns: for how long at least, seen by earlier looks; ns of the processing clock.
    """

    worker: int
    step: Step
    since_ns: int


@dataclass(frozen=True, slots=True)
class Holder:
    """The split that holds a watermark.

    Attributes:
        name: of the split, and behind it the value of ``per=`` columns.
        split: its progress.
        run: how it is read; None when it is not known any more.
        latest: the event time of its last row, or of its value's, ns; MIN_TIME before the first.
        quiet: of a value of ``per=``: by how much of event time its last row is behind its split, ns.
    """

    name: str
    split: SplitTime
    run: SplitRun | None
    latest: int
    quiet: int | None = None


_seen: weakref.WeakKeyDictionary[Execution, dict[int, tuple[int, int, int]]] = weakref.WeakKeyDictionary()
"""What each worker was at when it was looked at: (step, rows in, since when)."""


class Facts:
    """One look at a run.

    Args:
        execution: made, opened, running or ended.
    """

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.plan = execution.plan
        self.now_ns = execution.options.now_ns()
        self.totals = steady(execution.totals)
        self.nodes = node_steps(execution)

    def rows_in(self, node: NodeSteps) -> int:
        """Rows that a node took."""
        return self.totals.rows_in[node.first.name]

    def rows_out(self, node: NodeSteps) -> int:
        """Rows that a node gave, side outputs apart."""
        return self.totals.rows_out[node.last.name]

    def counter(self, node: NodeSteps, name: str) -> int:
        """A count of the node's own, such as ``late``."""
        return sum(self.totals.counters.get(step.name, {}).get(name, 0) for step in node.steps)

    def windows(self, node: NodeSteps) -> tuple[int, int | None]:
        """How many windows are open, and the end of the earliest, ns."""
        return open_windows(self.execution, node)

    def node_of(self, step: int) -> NodeSteps:
        """The node that a step belongs to."""
        return next(node for node in self.nodes if any(s.index == step for s in node.steps))

    def feeders(self, node: NodeSteps) -> list[tuple[NodeSteps, str | None]]:
        """The nodes that feed a node, each with the tag of the side output by which it does."""
        own = {step.index for step in node.steps}
        return [
            (self.node_of(step.index), edge.tag)
            for step in self.plan.steps
            if step.index not in own
            for edge in step.edges
            if edge.target == node.first.index
        ]

    def reached(self, node: NodeSteps) -> int:
        """The merged watermark at a node's inputs on the worker where it is lowest, ns."""
        step = node.first.index
        marks = [w._receivers[step].progress.watermark for w in list(self.execution.workers)]
        return min(marks, default=MIN_TIME)

    def clock(self, node: NodeSteps) -> tuple[EventTimeNode, EventClock] | None:
        """Of the `event_time` steps above a node the one with the lowest watermark; None without one."""
        above = self.plan.upstream(node.first.index)
        found = [(s, c) for s, c in self.execution.shared.clocks.items() if s in above]
        if not found:
            return None
        step, clock = min(found, key=lambda each: each[1].watermark())
        declared = self.plan.steps[step].node
        assert isinstance(declared, EventTimeNode)
        return declared, clock

    def holder(self, declared: EventTimeNode, clock: EventClock) -> Holder | None:
        """The split that holds a clock's watermark; None where none counts."""
        slowest = clock.slowest()
        if slowest is None:
            return None
        splits = steady(lambda: list(clock.splits.items()))
        index = next((number for number, split in splits if split is slowest), None)
        run = None if index is None else self.execution.shared.pool.splits.get(index)
        per, name = slowest.per, slowest.name
        if per is None or not len(per.max_time):
            return Holder(name, slowest, run, slowest.max_time)
        code = int(per.max_time.argmin())
        value = next(value for value, known in steady(lambda: list(per.codes.items())) if known == code)
        shown = ",".join(f"{c}={v}" for c, v in zip(declared.per, value, strict=True))
        latest = int(per.max_time[code])
        return Holder(f"{name}/{shown}", slowest, run, latest, slowest.max_time - latest)

    def states(self, clock: EventClock) -> list[SplitState]:
        """What the splits of a clock do now."""
        return [split.state for split in steady(lambda: list(clock.splits.values()))]

    def silent_ns(self, split: SplitTime) -> int | None:
        """For how long a split has had nothing to read; None where it has, or where that is not known."""
        since = split.last_row_ns
        return None if since is None else max(0, self.now_ns - since)

    def splits(self, source: NodeSteps) -> list[SplitRun]:
        """The splits of a source that are known now."""
        pool = self.execution.shared.pool
        return [run for run in steady(lambda: list(pool.splits.values())) if run.step == source.first.index]

    def split_time(self, run: SplitRun) -> SplitTime | None:
        """A split's progress in event time; None without an `event_time` step."""
        return run.clocks[0].splits.get(run.index) if run.clocks else None

    def lateness_above(self, node: NodeSteps) -> int:
        """By how much the windows above a node hold its watermark back, ns."""
        above = self.plan.upstream(node.first.index) - {step.index for step in node.steps}
        seen = {id(self.plan.steps[s].node): self.plan.steps[s].node for s in above}
        total = 0
        for one in seen.values():
            total = add_time(total, int(getattr(one, "allowed_lateness", 0)))
        return total

    def source_label(self, node: NodeSteps) -> str:
        """A source as the user wrote it."""
        assert isinstance(node.node, SourceNode)
        return node.node.name or node.node.describe() or node.name

    # What workers are at.

    def at_work(self) -> list[AtWork]:
        """The steps that workers are inside of, innermost; workers that wait are not listed."""
        before = _seen.setdefault(self.execution, {})
        now: dict[int, tuple[int, int, int]] = {}
        found = []
        for worker, step in _inside(self.execution):
            rows = worker.rows_in[step.index]
            known = before.get(worker.index)
            since = known[2] if known is not None and known[:2] == (step.index, rows) else self.now_ns
            now[worker.index] = (step.index, rows, since)
            found.append(AtWork(worker.index, step, self.now_ns - since))
        _seen[self.execution] = now
        return sorted(found, key=lambda each: each.worker)


def _inside(execution: Execution) -> list[tuple[Worker, Step]]:
    """Each worker that works, with the innermost step of its thread's stack."""
    steps = {
        id(operator): (worker, execution.plan.steps[index])
        for worker in list(execution.workers)
        for index, operator in enumerate(list(worker.operators))
    }
    found: dict[int, tuple[Worker, Step]] = {}
    for frame in sys._current_frames().values():
        inner: tuple[Worker, Step] | None = None
        at: FrameType | None = frame
        while at is not None:
            names = at.f_code.co_varnames
            if names and names[0] == "self":
                own = at.f_locals.get("self")
                if inner is None:
                    inner = steps.get(id(own))
                if at.f_code is _WORK:
                    if inner is not None and own is inner[0]:
                        found[inner[0].index] = inner
                    break
            at = at.f_back
    return list(found.values())
