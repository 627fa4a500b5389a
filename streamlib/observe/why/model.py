"""The answer to "why is there no output?", for programs and, printed, for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Cause(Enum):
    """Why a step has no output now. The values are stable: a program may compare them."""

    STARTING = "starting"
    """Sources and sinks are being opened."""
    COMPILING = "compiling"
    """Kernels are compiled, once on a machine."""
    NOTHING_READ = "nothing read"
    """The source has sent nothing yet."""
    EMPTY = "empty"
    """The source has ended without a row."""
    DROPPED = "dropped"
    """A filter kept no row."""
    REFUSED = "refused"
    """A step's policy for bad rows took all of them."""
    NO_RESULT = "no result"
    """A step took rows and gave none."""
    NONE_LATE = "none late"
    """A side output, such as `.late`, has had no row."""
    ALL_LATE = "all late"
    """Every row was late."""
    BEHIND = "behind"
    """The watermark is behind the window's end: a split has not come so far."""
    SILENT = "silent"
    """As BEHIND, and the split that holds the watermark sends nothing."""
    UNREAD = "unread"
    """As BEHIND, and the split that holds the watermark has not been read yet."""
    JUMP = "jump"
    """As BEHIND, and a row that jumped ahead waits for the next one to confirm it."""
    IDLE = "idle"
    """All splits are silent and left out: the watermark stays."""
    UNTIL_END = "until end"
    """`max_delay=sl.UNTIL_END`: windows close when the input ends."""
    BUSY = "busy"
    """A sink or a function of the user's is at work, and everything waits for it."""
    ON_ITS_WAY = "on its way"
    """Rows or results are between steps."""
    STAGED = "staged"
    """The sink has rows and shows them when the run has ended."""
    FLOWING = "flowing"
    """There was output; the next waits for more rows."""
    ENDED = "ended"
    """The run has ended."""


@dataclass(frozen=True, slots=True)
class StepWhy:
    """What one step waits for.

    Attributes:
        step: its name.
        cause: what kind of thing keeps it.
        text: the same in a sentence.
        hint: what to do about it, or what will end it.
        rows_in: rows it took.
        rows_out: rows it gave.
        open_windows: windows that are open.
        waiting_for: the watermark that closes the earliest, ns since 1970.
        watermark: where it stands, ns since 1970; None before the first row.
        held_by: the split, or its value of ``per=``, that holds it there.
        silent_ns: for how long that has been silent, ns of the processing clock.
    """

    step: str
    cause: Cause
    text: str
    hint: str | None = None
    rows_in: int = 0
    rows_out: int = 0
    open_windows: int = 0
    waiting_for: int | None = None
    watermark: int | None = None
    held_by: str | None = None
    silent_ns: int | None = None

    def __str__(self) -> str:
        return f"{self.step}: {self.text}" + (f"\n  {self.hint}" if self.hint else "")


@dataclass(frozen=True, slots=True)
class Why:
    """Why steps have no output now; printed, a line or two for each.

    Attributes:
        steps: those that were asked for, or all that keep state or write, in the order of the plan.
        job: the name of the run.
        status: of the run.
    """

    steps: tuple[StepWhy, ...]
    job: str = "job"
    status: str = "running"

    def __str__(self) -> str:
        return "\n".join(map(str, self.steps)) or f"{self.job}: nothing waits"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, which `json.dumps` takes."""
        steps = [{**asdict(step), "cause": step.cause.value} for step in self.steps]
        return {"job": self.job, "status": self.status, "steps": steps}
