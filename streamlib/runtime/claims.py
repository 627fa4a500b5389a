"""What a run keeps of each source and split, and what it hands to a worker to decode."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from streamlib.contracts import Block, Source, Split, SplitReader
from streamlib.elements import MIN_TIME
from streamlib.eventtime import EventClock


@dataclass(slots=True)
class SplitRun:
    """A split in this run. Its index decides ties: sources in plan order, then splits in theirs.

    Of a `live` split the source says when it has data: until then it is `dry`. `wakes` counts how often
    it said so, and `served` is the turn in which a block was last claimed.
    """

    index: int
    step: int
    source: Source
    split: Split
    clocks: list[EventClock]
    position: Any = None
    reader: SplitReader | None = None
    blocks: int = 0
    ended: bool = False
    outstanding: int = 0
    held: Block | None = None
    live: bool = False
    dry: bool = False
    wakes: int = 0
    served: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def watermark(self) -> int:
        """The lowest of its clocks; without a clock splits are read one after another."""
        return min([clock.position(self.index) for clock in self.clocks], default=MIN_TIME)


class ReadError(Exception):
    """Opening or reading a split failed; says in which step, and is never seen by users."""

    def __init__(self, step: int, error: Exception) -> None:
        super().__init__(step, error)
        self.step = step
        self.error = error


@dataclass(slots=True)
class SourceRun:
    """A source in this run.

    Attributes:
        clocks: the `event_time` steps behind it.
        live: whether it says when it has data.
        growing: whether more splits may appear.
        unended: splits that have not ended.
        lock: held by who asks it for new splits.
    """

    source: Source
    clocks: list[EventClock]
    live: bool
    growing: bool
    unended: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class Claim:
    """A block for one worker to decode."""

    run: SplitRun
    block: Block
    number: int
    reader: SplitReader
