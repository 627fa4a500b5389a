"""From what is known of a run to a cause, in the order in which a beginner would have to ask.

Has anything been read? Did rows get as far as the step? Were they late? Are windows open, and what
holds the watermark that would close them? The first question with a bad answer is the cause.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamlib.contracts import Sink
from streamlib.graph import SideNode, SinkNode
from streamlib.kernels import busy_with
from streamlib.observe.report import NodeSteps, kept_by, node_steps
from streamlib.observe.why.facts import Facts
from streamlib.observe.why.model import Cause, StepWhy, Why
from streamlib.observe.why.starved import starved
from streamlib.observe.why.waiting import at_work, waiting
from streamlib.observe.why.words import Times, counted
from streamlib.runtime.execute import Execution

ENDED = ("finished", "stopped", "failed", "aborted", "explained")


def step_names(execution: Execution) -> list[str]:
    """The steps that can be asked for."""
    return [node.name for node in node_steps(execution)]


def why(
    execution: Execution,
    step: str | None = None,
    job: str = "job",
    status: str = "running",
    error: BaseException | None = None,
) -> Why:
    """Why steps have no output now.

    Args:
        execution: may run meanwhile.
        step: one of `step_names`; None for all that keep windows, and all sinks that need a word.
        job: the name of the run.
        status: of the run, as in its report.
        error: what ended it.
    """
    facts = Facts(execution)
    if status in ENDED:
        return Why(tuple(_ended(facts, job, step, status, error)), job, status)
    if status == "starting":
        found = StepWhy(step or job, Cause.STARTING, "sources and sinks are being opened")
        return Why((found,), job, status)
    if busy_with() is not None:
        found = StepWhy(step or job, Cause.COMPILING, "kernels are being compiled, once on this machine")
        return Why((found,), job, status)
    chosen = [node for node in facts.nodes if node.name == step] if step else _worth_a_word(facts)
    answers = tuple(step_why(facts, node) for node in chosen)
    return Why(answers, job, status)


def _worth_a_word(facts: Facts) -> list[NodeSteps]:
    """Steps with windows; and sinks but those that only wait for one of these."""
    chosen: list[NodeSteps] = []
    for node in facts.nodes:
        if isinstance(node.node, SinkNode):
            above = facts.plan.upstream(node.first.index)
            behind = any(s.index in above for each in chosen for s in each.steps)
            if facts.rows_in(node) or not behind:
                chosen.append(node)
        elif node.node.state_bound() != "none":
            chosen.append(node)
    return chosen


def step_why(facts: Facts, node: NodeSteps) -> StepWhy:
    """Why one step has no output now."""
    count, earliest = facts.windows(node)
    if count and earliest is not None:
        return waiting(facts, node, count, earliest)
    if facts.rows_in(node) == 0:
        return starved(facts, node)
    if isinstance(node.node, SinkNode):
        return _sink(facts, node)
    if facts.rows_out(node) == 0:
        late = facts.counter(node, "late")
        if late and late == facts.rows_in(node):
            return _all_late(facts, node, late)
        return starved(facts, node)
    return _flowing(facts, node)


def waiting_line(execution: Execution) -> str | None:
    """What holds the earliest open window, for one line on a terminal; None where none is open."""
    facts = Facts(execution)
    found = [(*facts.windows(node), node) for node in facts.nodes]
    open_now = [(end, count, node) for count, end, node in found if count and end is not None]
    if not open_now:
        return None
    end, count, node = min(open_now, key=lambda each: each[0])
    answer = waiting(facts, node, count, end, Times(dated=False))
    return f"{answer.step}: {answer.text}"


def _ended(
    facts: Facts, job: str, step: str | None, status: str, error: BaseException | None
) -> Iterator[StepWhy]:
    """How the run ended; of a step that was asked for, and of each that gave nothing, also why."""
    text = f"the run has {status}" if status in ("finished", "failed") else f"the run was {status}"
    if error is not None:
        told = str(error).splitlines() or [type(error).__name__]
        yield StepWhy(job, Cause.ENDED, f"{text}: {told[0]}", "job.wait() raises the whole error")
        return
    if step is None:
        yield StepWhy(job, Cause.ENDED, text)
    for node in facts.nodes:
        rows_in, rows_out = facts.rows_in(node), facts.rows_out(node)
        windows, _ = facts.windows(node)
        gave = rows_in if isinstance(node.node, SinkNode) else rows_out
        if node.name != step and (step is not None or gave or not isinstance(node.node, SinkNode)):
            continue
        if not gave and not windows and status in ("finished", "stopped"):
            yield step_why(facts, node)
            continue
        said = f"{text}; {counted(rows_in, 'row')} came, {rows_out:,} went on"
        said += f", {counted(windows, 'window')} stayed open" if windows else ""
        yield StepWhy(node.name, Cause.ENDED, said, None, rows_in, rows_out, windows)


def _all_late(facts: Facts, node: NodeSteps, late: int) -> StepWhy:
    delay = kept_by(node.node, facts.counter(node, "late_by_max"))
    return StepWhy(
        node.name,
        Cause.ALL_LATE,
        f"all {counted(late, 'row')} that came were late",
        None
        if delay is None
        else f"max_delay={delay!r} would have kept them; .late on its result has the rows",
        rows_in=facts.rows_in(node),
    )


def _sink(facts: Facts, node: NodeSteps) -> StepWhy:
    assert isinstance(node.node, SinkNode)
    rows = facts.rows_in(node)
    shown_by_commit = type(node.node.sink).commit is not Sink.commit
    if shown_by_commit:
        return StepWhy(
            node.name,
            Cause.STAGED,
            f"{counted(rows, 'row')} written to {node.node.describe()}, which shows them when the run has ended",
            "stop the run (Ctrl-C, or job.stop()) to see them now",
            rows_in=rows,
        )
    return StepWhy(node.name, Cause.FLOWING, f"{counted(rows, 'row')} written", at_work(facts), rows_in=rows)


def _flowing(facts: Facts, node: NodeSteps) -> StepWhy:
    rows_in, rows_out = facts.rows_in(node), facts.rows_out(node)
    text = f"{counted(rows_in, 'row')} came, {rows_out:,} went on"
    if not isinstance(node.node, SideNode) and node.node.state_bound() == "open windows":
        text += ", no window is open"
    late = facts.counter(node, "late")
    hint = f"{counted(late, 'row')} came too late" if late else None
    return StepWhy(node.name, Cause.FLOWING, text, hint or at_work(facts), rows_in=rows_in, rows_out=rows_out)
