"""What a step does with rows that it cannot work on: fail, skip them, or send them out as dead letters."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from streamlib.errors.location import user_location
from streamlib.errors.tree import BuildError

ErrorPolicy: TypeAlias = Literal["fail", "skip", "dead_letter"]

ATTEMPTS_MAX = 1_000


@dataclass(frozen=True)
class Retry:
    """How often and when a function that raised is called again with the same rows.

    It is for functions that ask something outside, which may be down for a moment. The worker waits
    meanwhile: its rows stay in their order.

    Args:
        attempts: calls in all, 1 to 1,000.
        wait: seconds, or a timedelta, before the second call.
        factor: each further wait is so many times the one before.
        max_wait: no wait is longer, in seconds or as a timedelta.

    >>> list(Retry(attempts=4, wait=0.5, max_wait=1.5).waits())
    [0.5, 1.0, 1.5]
    """

    attempts: int = 3
    wait: float | dt.timedelta = 0.1
    factor: float = 2.0
    max_wait: float | dt.timedelta = 30.0

    def __post_init__(self) -> None:
        at = user_location()
        if not 1 <= self.attempts <= ATTEMPTS_MAX:
            raise BuildError(
                "attempts= has no such value", at=at, expected="1 to 1,000", got=repr(self.attempts)
            )
        if min(_seconds(self.wait), _seconds(self.max_wait)) < 0 or not self.factor >= 1:
            raise BuildError(
                "a wait must not be negative, and must not shrink",
                at=at,
                expected="wait and max_wait of 0 or more, factor of 1 or more",
                got=repr(self),
            )

    def waits(self) -> list[float]:
        """The seconds to wait before each further call."""
        most = _seconds(self.max_wait)
        found, wait = [], _seconds(self.wait)
        for _ in range(self.attempts - 1):
            found.append(min(wait, most))
            wait = min(wait * self.factor, most)
        return found


def _seconds(value: float | dt.timedelta) -> float:
    return value.total_seconds() if isinstance(value, dt.timedelta) else float(value)


@dataclass(frozen=True)
class OnError:
    """The policy of one step, as `.on_error(...)` set it.

    Attributes:
        policy: what becomes of a row that cannot be worked on.
        retry: how often the step is tried again before; None for not at all.
    """

    policy: ErrorPolicy = "fail"
    retry: Retry | None = field(default=None)

    def __post_init__(self) -> None:
        if self.policy not in get_args(ErrorPolicy):
            raise BuildError(
                "there is no such policy",
                at=user_location(),
                expected=", ".join(repr(p) for p in get_args(ErrorPolicy)),
                got=repr(self.policy),
            )
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise BuildError(
                "retry= needs a Retry",
                at=user_location(),
                expected="such as sl.Retry(attempts=3)",
                got=repr(self.retry),
            )

    @property
    def fails(self) -> bool:
        """Whether the first row that cannot be worked on ends the run, without a second call."""
        return self.policy == "fail" and self.retry is None


FAIL = OnError()
"""The policy where nothing was said."""
