"""State that goes from worker to worker as it is, within a process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Handed:
    """What a step hands to one worker of the next step, instead of rows that would say the same.

    Attributes:
        worker: whom it is for.
        state: what only the two steps know. The sender changes it no more.
        rows: how many rows would say the same.
        nbytes: its bytes, as channels count them.
    """

    worker: int
    state: Any
    rows: int
    nbytes: int

    def __len__(self) -> int:
        return self.rows
