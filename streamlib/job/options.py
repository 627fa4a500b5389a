"""How a run is asked for: the options of `run` and `start`, checked before anything begins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from streamlib.errors import BuildError, ErrorPolicy, OnError, user_location
from streamlib.graph import SinkNode
from streamlib.graph.plan import topological
from streamlib.job.dead_letters import dead_letter_sinks
from streamlib.runtime.execute import Execution
from streamlib.runtime.run import RunOptions
from streamlib.workers import Processes

WORKERS_MAX = 256
NAME_CHARS_MAX = 100
WATERMARK_EVERY_NS = 10_000_000
"""How often watermarks are sent on while there is more to read: what they close is closed together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """The options of `run` and `start`; what they mean is written there."""

    name: str | None = None
    workers: int | Processes = 1
    batch_rows: int = 65_536
    progress: bool | Literal["auto"] = "auto"
    deterministic: bool = False
    on_stop: Literal["checkpoint", "flush"] = "checkpoint"
    why: bool = True
    on_error: ErrorPolicy = "fail"
    dead_letters: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        OnError(self.on_error)
        workers: object = self.workers
        for option, right, expected in (
            ("name", _is_name(self.name), f"up to {NAME_CHARS_MAX} letters on one line, such as 'bars'"),
            ("workers", _are_workers(workers), f"1 to {WORKERS_MAX} threads, or sl.processes(n)"),
            ("batch_rows", is_whole(self.batch_rows) and self.batch_rows >= 1, "1 row or more"),
            ("progress", self.progress in (True, False, "auto"), 'True, False or "auto"'),
            ("deterministic", isinstance(self.deterministic, bool), "True or False"),
            ("on_stop", self.on_stop in ("checkpoint", "flush"), '"checkpoint" or "flush"'),
            ("why", isinstance(self.why, bool), "True or False"),
            ("dead_letters", isinstance(self.dead_letters, str | os.PathLike | None), "a folder, or None"),
        ):
            if not right:
                raise BuildError(
                    f"{option}= has no such value",
                    at=user_location(),
                    expected=expected,
                    got=repr(getattr(self, option)),
                )

    @property
    def flush(self) -> bool:
        """Whether a stop closes the open windows."""
        return self.on_stop == "flush"

    def execution(self, sinks: Sequence[SinkNode]) -> Execution:
        """A run of what leads to `sinks`, on these workers."""
        if isinstance(self.workers, Processes):
            from streamlib.workers.execution import ProcessExecution

            return ProcessExecution(sinks, self.workers.count, self.for_runtime())
        return Execution(sinks, self.workers, self.for_runtime())

    def for_runtime(self) -> RunOptions:
        """What the workers have to know of them."""
        return RunOptions(
            batch_rows=self.batch_rows, on_error=OnError(self.on_error), watermark_every=WATERMARK_EVERY_NS
        )

    def with_dead_letters(self, sinks: Sequence[SinkNode]) -> list[SinkNode]:
        """The sinks, and one more for each step whose dead letters go to the folder."""
        if self.dead_letters is None:
            return list(sinks)
        policy, at = OnError(self.on_error), user_location()
        return [*sinks, *dead_letter_sinks(sinks, self.dead_letters, policy, at)]


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def _are_workers(workers: object) -> bool:
    return isinstance(workers, Processes) or (is_whole(workers) and 1 <= workers <= WORKERS_MAX)


def _is_name(name: object) -> bool:
    if name is None:
        return True
    return (
        isinstance(name, str) and name.isprintable() and 0 < len(name.strip()) == len(name) <= NAME_CHARS_MAX
    )


def refuse_timing(sinks: Sequence[SinkNode]) -> None:
    """Raises BuildError when the output of a sink may depend on timing, naming the first step that makes it so."""
    for sink in sinks:
        for node in topological([sink]):
            reason = node.timing_because()
            if reason is not None:
                raise BuildError(
                    f"deterministic=True: the output of {sink.describe()} may depend on timing",
                    step=node.label,
                    at=node.at,
                    expected="steps whose result is a function of the input",
                    got=reason,
                    hint="change that step, or leave deterministic= out; sl.explain(...) says the same of each sink",
                )
