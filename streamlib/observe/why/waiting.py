"""Windows are open: which watermark closes the earliest, where it stands, and what holds it there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from streamlib.elements import MIN_TIME, add_time, format_duration
from streamlib.eventtime import EventClock, IdlePolicy
from streamlib.eventtime.splits import SplitState
from streamlib.graph import SinkNode
from streamlib.observe.report import NodeSteps
from streamlib.observe.why.facts import AtWork, Facts, Holder
from streamlib.observe.why.model import Cause, StepWhy
from streamlib.observe.why.words import Times, counted, span
from streamlib.operators.event_time import EventTimeNode

LONG_NS = 1_000_000_000
"""A worker that is inside one call for so long is worth a word, whatever the step."""


def waiting(facts: Facts, node: NodeSteps, count: int, earliest: int, say: Times | None = None) -> StepWhy:
    """What a step with open windows waits for.

    Args:
        facts: of the run.
        node: the step.
        count: how many windows are open.
        earliest: the end of the earliest, ns.
        say: how times are said.
    """
    say = say or Times()
    lateness = int(getattr(node.node, "closes_after", getattr(node.node, "allowed_lateness", 0)))
    needed = add_time(earliest, lateness)
    answer = StepWhy(
        node.name,
        Cause.BEHIND,
        f"{counted(count, 'window')} open",
        rows_in=facts.rows_in(node),
        rows_out=facts.rows_out(node),
        open_windows=count,
        waiting_for=needed,
    )
    found = facts.clock(node)
    assert found is not None, "a window stands below an event_time step"
    declared, clock = found
    if declared.max_delay is None:
        return replace(
            answer,
            cause=Cause.UNTIL_END,
            text=f"{answer.text}, waiting for the end of the input (max_delay=sl.UNTIL_END)",
            hint="on endless input say how far rows may be out of order instead, such as max_delay='5s'",
        )
    text = f"{answer.text}, waiting for {say(needed)}"
    if lateness:
        text += f" (its end and allowed_lateness={format_duration(lateness)!r})"
    above = facts.lateness_above(node)
    watermark = clock.watermark()
    if watermark >= add_time(needed, above):
        return _on_its_way(facts, replace(answer, text=text, watermark=watermark), say)
    if above:
        text += f"; windows above hold {format_duration(above)} back"
    answer = replace(answer, text=text, watermark=None if watermark == MIN_TIME else watermark)
    closing = add_time(add_time(needed, above), declared.max_delay)
    return _held(facts, answer, _Held(declared, clock, watermark, closing, say))


@dataclass(frozen=True, slots=True)
class _Held:
    """A watermark that does not rise.

    Attributes:
        declared: the `event_time` step.
        clock: its clock.
        watermark: where it stands, ns.
        closing: the event time of a row that would close the window, ns.
        say: how times are said.
    """

    declared: EventTimeNode
    clock: EventClock
    watermark: int
    closing: int
    say: Times

    @property
    def at(self) -> str:
        return "" if self.watermark == MIN_TIME else f" at {self.say(self.watermark)}"

    @property
    def cure(self) -> str:
        delay = format_duration(self.declared.max_delay or 0)
        return f"a row of {self.say(self.closing)} or later closes the earliest (max_delay={delay!r})"


def _held(facts: Facts, answer: StepWhy, held: _Held) -> StepWhy:
    holder = facts.holder(held.declared, held.clock)
    if holder is None:
        return _nobody_counts(facts, answer, held)
    answer = replace(answer, held_by=holder.name)
    text = f"{answer.text}; held{held.at} by {holder.name}"
    split = holder.split
    silent = facts.silent_ns(split)
    if split.suspect is not None:
        return replace(
            answer,
            cause=Cause.JUMP,
            text=f"{text}, whose last row jumps ahead to {held.say(split.suspect.time)}",
            hint="the next row of the split must confirm it (max_jump=)",
            silent_ns=silent,
        )
    if holder.quiet:
        return replace(
            answer,
            text=f"{text} (no row for {format_duration(holder.quiet)} of event time)",
            hint="with per= each value has its own progress: one that ends holds the others until the input ends",
            silent_ns=silent,
        )
    if silent is not None:
        shown = f"silent {span(silent)}" if split.rows else f"no row yet, silent {span(silent)}"
        return replace(
            answer,
            cause=Cause.SILENT,
            text=f"{text} ({shown})",
            hint=_silence_ends(facts, held),
            silent_ns=silent,
        )
    run = holder.run
    if not split.rows and run is not None and run.blocks == 0:
        return replace(
            answer, cause=Cause.UNREAD, text=f"{text}, which has not been read yet", hint=at_work(facts)
        )
    return _reading(facts, replace(answer, text=text), held, holder)


def _silence_ends(facts: Facts, held: _Held) -> str:
    after = span(held.declared.idle_after)
    if held.declared.idle is IdlePolicy.LEAVE:
        return f"{held.cure}; idle='leave' leaves the split out after {after} of silence"
    if held.declared.idle is IdlePolicy.ADVANCE:
        return f"{held.cure}; idle='advance' goes on with the clock after {after} of silence"
    if sum(state is SplitState.LIVE for state in facts.states(held.clock)) > 1:
        return f"{held.cure}; event_time(..., idle='leave') would leave silent splits out"
    return f"{held.cure}; event_time(..., idle='advance') would go on with the clock"


def _reading(facts: Facts, answer: StepWhy, held: _Held, holder: Holder) -> StepWhy:
    busy = _outside(facts)
    if busy is not None:
        return replace(answer, cause=Cause.BUSY, text=f"{answer.text}; {_at(busy)}", hint=None)
    latest = "" if holder.latest == MIN_TIME else f" (being read; latest row {held.say(holder.latest)})"
    return replace(answer, text=answer.text + latest, hint=held.cure)


def _nobody_counts(facts: Facts, answer: StepWhy, held: _Held) -> StepWhy:
    states = facts.states(held.clock)
    if SplitState.ENTERING in states:
        return replace(
            answer,
            cause=Cause.ON_ITS_WAY,
            text=f"{answer.text}; a split that was silent has rows again and is being counted",
        )
    idle = sum(state is SplitState.IDLE for state in states)
    if not idle and states and all(state is SplitState.ENDED for state in states):
        return replace(
            answer,
            cause=Cause.ON_ITS_WAY,
            text=f"{answer.text}; all splits have ended: what they sent is on its way",
            hint=at_work(facts),
        )
    who = (
        f"all {counted(idle, 'split')} are silent and left out"
        if idle != 1
        else "its only split is silent and left out"
    )
    if not idle:
        who = "no split is there"
    return replace(
        answer,
        cause=Cause.IDLE,
        text=f"{answer.text}; held{held.at}: {who} (idle={held.declared.idle.value!r})",
        hint=_silence_ends(facts, held)
        if held.declared.idle is IdlePolicy.ADVANCE
        else f"the watermark goes on when one has rows again; {held.cure}",
    )


def _on_its_way(facts: Facts, answer: StepWhy, say: Times) -> StepWhy:
    assert answer.watermark is not None
    text = f"{answer.text}; the watermark has come to {say(answer.watermark)}, results are on their way"
    asked = unanswered(facts)
    if asked is not None:
        return replace(answer, cause=Cause.BUSY, text=f"{text}; {asked}")
    busy = _outside(facts)
    if busy is not None:
        return replace(answer, cause=Cause.BUSY, text=f"{text}; {_at(busy)}")
    return replace(answer, cause=Cause.ON_ITS_WAY, text=text, hint=at_work(facts))


def unanswered(facts: Facts) -> str | None:
    """Which step waits for answers of a service, in a few words; None when none does."""
    for node in facts.nodes:
        count = facts.counter(node, "under_way")
        if count:
            return f"{node.name} waits for {counted(count, 'answer')}"
    return None


def _outside(facts: Facts) -> AtWork | None:
    """The worker that has been longest inside a sink or a function of the user's, or very long in any step."""
    found = [each for each in facts.at_work() if _is_outside(each) or each.since_ns >= LONG_NS]
    return max(found, key=lambda each: each.since_ns, default=None)


def _is_outside(work: AtWork) -> bool:
    return isinstance(work.step.node, SinkNode) or hasattr(work.step.node, "callee")


def _at(work: AtWork) -> str:
    node = work.step.node
    what = f"writing to {node.describe()}" if isinstance(node, SinkNode) else f"inside {work.step.name}"
    place = f" ({node.at})" if node.at is not None else ""
    long = f" for {span(work.since_ns)}" if work.since_ns >= LONG_NS else ""
    return f"worker {work.worker} is {what}{place}{long}"


def at_work(facts: Facts) -> str | None:
    """What keeps the workers busy outside the engine, in a sentence; None when nothing does."""
    busy = _outside(facts)
    return unanswered(facts) if busy is None else _at(busy)
