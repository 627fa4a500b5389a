"""No row has come to a step, or none has left it: the steps above it tell where the rows stay."""

from __future__ import annotations

from streamlib.errors import Location
from streamlib.graph import SourceNode
from streamlib.graph.dead_letters import TAG
from streamlib.observe.report import NodeSteps
from streamlib.observe.why.facts import Facts
from streamlib.observe.why.model import Cause, StepWhy
from streamlib.observe.why.waiting import at_work, waiting
from streamlib.observe.why.words import Times, counted, span


def starved(facts: Facts, node: NodeSteps) -> StepWhy:
    """Where the rows stay that a step waits for, or, if it took rows, what it does with them."""
    cause, texts, hints = _where(facts, node, set())
    hint = next((each for each in hints if each), None)
    return StepWhy(
        node.name, cause, "; ".join(dict.fromkeys(texts)), hint, facts.rows_in(node), facts.rows_out(node)
    )


_Found = tuple[Cause, list[str], list[str | None]]


def _where(facts: Facts, node: NodeSteps, seen: set[str]) -> _Found:
    """The cause nearest to the sources, over all ways that lead to a node."""
    seen.add(node.name)
    if isinstance(node.node, SourceNode):
        return _source(facts, node)
    if facts.rows_in(node):
        return _swallowed(facts, node)
    found: list[_Found] = []
    for feeder, tag in facts.feeders(node):
        if tag is not None:
            found.append(_side(facts, feeder, tag))
        elif facts.rows_out(feeder):
            busy = at_work(facts)
            cause = Cause.BUSY if busy else Cause.ON_ITS_WAY
            found.append((cause, [f"rows from {feeder.name} are on their way"], [busy]))
        elif feeder.name not in seen:
            found.append(_where(facts, feeder, seen))
    causes = [cause for cause, _, _ in found]
    # one input that is on its way, or still silent, is the news; one that has ended without rows is not
    cause = next((c for c in causes if c is not Cause.EMPTY), causes[0] if causes else Cause.NOTHING_READ)
    kept = [each for each in found if each[0] is cause] or found
    return cause, [t for _, texts, _ in kept for t in texts], [h for _, _, hints in kept for h in hints]


def _source(facts: Facts, node: NodeSteps) -> _Found:
    label = facts.source_label(node)
    rows = facts.rows_in(node)
    if rows:
        return Cause.FLOWING, [f"{counted(rows, 'row')} read from {label}"], [at_work(facts)]
    if facts.execution.shared.pool.exhausted(node.first.index):
        return Cause.EMPTY, [f"{label} has ended without a row"], ["is it the right file, folder or topic?"]
    splits = facts.splits(node)
    if not splits:
        return (
            Cause.NOTHING_READ,
            [f"nothing has come from {label}: there is no split yet"],
            ["a file has to appear, or a peer to connect"],
        )
    times = [facts.split_time(run) for run in splits]
    quiet = [s for s in (facts.silent_ns(time) for time in times if time is not None) if s is not None]
    silent = f" (silent {span(min(quiet))})" if quiet else ""
    busy = at_work(facts)
    if busy:
        return Cause.BUSY, [f"nothing has been read from {label} yet"], [busy]
    return (
        Cause.NOTHING_READ,
        [f"nothing has come from {label}{silent}"],
        ["the engine is ready and waits for its first row"],
    )


def _side(facts: Facts, feeder: NodeSteps, tag: str) -> _Found:
    rows = facts.rows_in(feeder)
    what = "was refused" if tag == TAG else f"was {tag}"
    return Cause.NONE_LATE, [f"of {counted(rows, 'row')} in {feeder.name} none {what}"], [None]


def _swallowed(facts: Facts, node: NodeSteps) -> _Found:
    """A step took rows and gave none."""
    rows, at = facts.rows_in(node), _at(node.node.at)
    count, earliest = facts.windows(node)
    if count and earliest is not None:
        answer = waiting(facts, node, count, earliest, Times())
        return answer.cause, [f"waits for {node.name}: {answer.text}"], [answer.hint]
    refused = facts.counter(node, "skipped") + facts.counter(node, TAG)
    dropped, late = facts.counter(node, "dropped"), facts.counter(node, "late")
    if late and late == rows:
        return (
            Cause.ALL_LATE,
            [f"all {counted(rows, 'row')} that came to {node.name} were late"],
            [f"job.why({node.name!r}) says which max_delay would have kept them"],
        )
    if refused and refused >= rows:
        return (
            Cause.REFUSED,
            [f"all {counted(rows, 'row')} that came were refused by {node.name}{at}"],
            ["read .dead_letters of that step: each says what is wrong with its row"],
        )
    if dropped and dropped + refused >= rows:
        what = node.node.describe()
        shown = f"{node.name} {what}" if what else node.name
        return (
            Cause.DROPPED,
            [f"all {counted(rows, 'row')} that came were dropped by {shown}{at}"],
            ["look at the rows before it with .head()"],
        )
    if any(step.index in facts.execution.shared.clocks for step in node.steps):
        return (
            Cause.ON_ITS_WAY,
            [f"{counted(rows, 'row')} wait in {node.name} for the end of their block"],
            [at_work(facts)],
        )
    busy = at_work(facts)
    if busy:
        return (
            Cause.BUSY,
            [f"{counted(rows, 'row')} came to {node.name}{at}, which has given none yet"],
            [busy],
        )
    return Cause.NO_RESULT, [f"{node.name}{at} took {counted(rows, 'row')} and gave none"], [None]


def _at(at: Location | None) -> str:
    return "" if at is None else f" ({at})"
