"""What a worker's stacks are made of: frames, and which stage stands before which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

from streamlib.elements import Element
from streamlib.graph import Edge
from streamlib.runtime.run import SharedRun


class Status(Enum):
    """What one call of `Worker.step` did."""

    WORKED = "worked"
    WAITING = "waiting"
    """Nothing can be done until another worker or a source does something."""
    DONE = "done"


class Frame:
    """A step that is yielding for one element, and what it yielded last that is not delivered yet."""

    __slots__ = ("element", "outputs", "parts", "step")

    def __init__(self, step: int, outputs: Iterator[object], element: Element | None = None) -> None:
        self.step = step
        self.outputs = outputs
        self.element = element
        self.parts: list[tuple[Edge, int, Element]] = []  # (edge, receiving worker, element), next one last


def stage_heads(run: SharedRun, stages: int) -> list[int | None]:
    """For each stage the step that channels lead to; None where none do."""
    heads: list[int | None] = [None] * stages
    for step in run.plan.steps:
        if any(incoming.edge.channel for incoming in run.incoming[step.index]):
            heads[step.stage] = step.index
    return heads


def upstream_stages(run: SharedRun, heads: Sequence[int | None]) -> list[set[int]]:
    """For each stage those from which elements can reach it, itself included."""
    steps, plan = run.plan.steps, run.plan
    return [{0} if head is None else {steps[s].stage for s in plan.upstream(head)} for head in heads]
