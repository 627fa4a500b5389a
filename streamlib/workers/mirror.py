"""What the process that runs the job knows of a worker in another one: its counts, as it told them last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from streamlib.elements import MIN_TIME
from streamlib.graph import Plan

Restore = Callable[[int, str, pa.Table], None]


@dataclass
class MirrorOperator:
    """One step's counts on one worker."""

    step: int
    restored: Restore
    counts: dict[str, int] = field(default_factory=dict)
    windows: tuple[int, int | None] = (0, None)
    waiting_rows: int = 0

    def counters(self) -> Mapping[str, int]:
        """As of an operator, with what was refused."""
        return self.counts

    def open_windows(self) -> tuple[int, int | None]:
        """As of an operator."""
        return self.windows

    def open_rows(self) -> int:
        """As of an operator; known once the run was stopped."""
        return self.waiting_rows

    def restore(self, state: Mapping[str, pa.Table]) -> None:
        """Sends the worker what belongs to it."""
        for name, table in state.items():
            self.restored(self.step, name, table)


@dataclass
class MirrorPanes(MirrorOperator):
    """The same of a step whose windows have numbers, so that one on several workers is counted once."""

    ranges: list[tuple[int, int]] = field(default_factory=list)

    def open_ranges(self) -> list[tuple[int, int]]:
        """As of an operator with panes."""
        return self.ranges


class Mirror:
    """A worker in another process, with as much of `Worker` as is looked at from outside.

    Args:
        index: of the worker.
        plan: the steps.
        restored: sends the worker rows of a checkpoint.
    """

    def __init__(self, index: int, plan: Plan, restored: Restore) -> None:
        self.index = index
        self.done = False
        self.rows_in = [0] * len(plan.steps)
        self.rows_out = [0] * len(plan.steps)
        self.refusers: dict[int, Any] = {}
        self.operators: list[MirrorOperator] = []
        self.compile_seconds = 0.0
        self._restored = restored
        self._receivers = [SimpleNamespace(progress=SimpleNamespace(watermark=MIN_TIME)) for _ in plan.steps]
        self._sent: dict[int, int] = {}

    def update(self, told: dict[str, Any]) -> None:
        """Takes what the worker told."""
        operators = []
        for step, (counts, windows, ranges, waiting) in enumerate(told["steps"]):
            made = MirrorOperator(step, self._restored, counts, (windows[0], windows[1]), waiting)
            if ranges is not None:
                made = MirrorPanes(
                    step, self._restored, counts, made.windows, waiting, [(a, b) for a, b in ranges]
                )
            operators.append(made)
        self.operators = operators
        self.rows_in, self.rows_out = told["rows_in"], told["rows_out"]
        for receiver, time in zip(self._receivers, told["watermarks"], strict=True):
            receiver.progress.watermark = time
        self._sent = dict(told["sent"])
        self.compile_seconds = told["compiled"]

    def has_sent(self, stamping: int, time: int) -> bool:
        """Whether the `event_time` step `stamping` has sent on the watermark `time`, as far as is known."""
        return self._sent.get(stamping, MIN_TIME) >= time

    def close(self) -> None:
        """The worker frees what it holds itself."""
