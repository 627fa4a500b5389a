"""The pool of splits that the workers of a run read from.

A worker claims the next block of the split with the lowest watermark, across sources, so that a
year of daily files is read in the order of time and in bounded state. Blocks of one split are
numbered; `event_time` lets them pass in that order, whoever decodes them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sortedcontainers import SortedSet

from streamlib.contracts import PENDING, Block, Source, Split, SplitReader
from streamlib.elements import MAX_TIME, MIN_TIME, add_time
from streamlib.eventtime import EventClock

MAX_DRIFT_NS = 10 * 60 * 1_000_000_000
"""How far in event time a split may be read ahead of the lowest live one that has nothing now."""


@dataclass(slots=True)
class SplitRun:
    """A split in this run. Its index decides ties: sources in plan order, then splits in theirs."""

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
    lock: threading.Lock = field(default_factory=threading.Lock)

    def watermark(self) -> int:
        """The lowest of its clocks; without a clock splits are read one after another."""
        return min((clock.position(self.index) for clock in self.clocks), default=MIN_TIME)


class ReadError(Exception):
    """Opening or reading a split failed; says in which step, and is never seen by users."""

    def __init__(self, step: int, error: Exception) -> None:
        super().__init__(step, error)
        self.step = step
        self.error = error


@dataclass(frozen=True, slots=True)
class Claim:
    """A block for one worker to decode."""

    run: SplitRun
    block: Block
    number: int
    reader: SplitReader


class SplitPool:
    """Hands out blocks; shared by all workers of a run.

    Args:
        now_ns: the processing clock, for idle policies only.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.now_ns = now_ns
        self.splits: list[SplitRun] = []
        self.stopped = False
        self.bytes_read = 0
        self.entering: list[SplitRun] = []
        self._lock = threading.RLock()
        self._ready: SortedSet = SortedSet()
        self._key: dict[int, tuple[int, int]] = {}
        self._injected: set[int] = set()

    def add(
        self,
        step: int,
        source: Source,
        splits: Sequence[Split],
        clocks: list[EventClock],
        first_time: Callable[[SplitReader], int | None] | None = None,
        positions: dict[str, Any] | None = None,
    ) -> list[SplitRun]:
        """Makes splits known, before the run or while it goes on (then they enter).

        Args:
            step: the source's step.
            source: who opens them.
            splits: in the order that decides ties.
            clocks: the `event_time` steps behind the source.
            first_time: finds the event time of a reader's first unread row.
            positions: where to go on, by split name.
        """
        added = []
        for split in splits:
            run = SplitRun(len(self.splits), step, source, split, clocks)
            run.position = (positions or {}).get(split.name)
            first = None
            if first_time is not None:
                reader = source.open(split, run.position)
                try:
                    first = first_time(reader)
                finally:
                    reader.close()
            with self._lock:
                self.splits.append(run)
                for clock in clocks:
                    clock.add(run.index, split.name, first)
                self._place(run)
            added.append(run)
        return added

    def claim(self, worker: int) -> Claim | None:
        """The next block, or None when there is nothing to read now."""
        empty: set[int] = set()
        while True:
            with self._lock:
                run = None if worker in self._injected else self._choose(empty)
            if run is None:
                return None
            with run.lock:
                try:
                    claim = self._read(run)
                except Exception as error:
                    raise ReadError(run.step, error) from None
            if claim is not None:
                return claim
            empty.add(run.index)

    def _choose(self, empty: set[int]) -> SplitRun | None:
        """The split furthest behind. One that has nothing now holds the others to its time plus the drift."""
        if self.stopped:
            return None
        limit = MAX_TIME
        for watermark, index in self._ready:
            if watermark > limit:
                return None
            if index not in empty:
                return self.splits[index]
            if watermark > MIN_TIME and any(clock.is_live(index) for clock in self.splits[index].clocks):
                limit = min(limit, add_time(watermark, MAX_DRIFT_NS))
        return None

    def _read(self, run: SplitRun) -> Claim | None:
        if run.ended or self.stopped:
            return None
        if run.reader is None:
            run.reader = run.source.open(run.split, run.position)
        block = run.held
        if block is None:
            answer = run.reader.read()
            if answer is PENDING:
                now = self.now_ns()
                with self._lock:
                    for clock in run.clocks:
                        clock.silent(run.index, now)
                    self._place(run)
                return None
            if answer is None:
                self._end(run)
                return None
            assert isinstance(answer, Block)
            block = answer
            with self._lock:
                counted = [clock.wake(run.index) for clock in run.clocks]
                if not all(counted):
                    run.held = block
                    self.entering.append(run)
                    self._drop(run)
                    return None
        run.held = None
        number, run.blocks = run.blocks, run.blocks + 1
        run.outstanding += 1
        self.bytes_read += block.nbytes
        run.position = block.position
        return Claim(run, block, number, run.reader)

    def _end(self, run: SplitRun) -> None:
        with self._lock:
            run.ended = True
            self._drop(run)
            if run.outstanding == 0:
                self._close(run)
            for clock in run.clocks:
                if clock.is_turn(run.index, run.blocks):
                    clock.end(run.index)

    def done(self, claim: Claim) -> None:
        """The block has been decoded."""
        run = claim.run
        with run.lock:
            run.outstanding -= 1
            if run.ended and run.outstanding == 0:
                self._close(run)

    def passed(self, index: int, clock: EventClock) -> None:
        """A block has passed `event_time`: the split has a new place in the order of reading."""
        with self._lock:
            run = self.splits[index]
            if run.ended:
                if clock.is_turn(index, run.blocks):
                    clock.end(index)
            else:
                self._place(run)

    def entered(self, run: SplitRun) -> None:
        """All receivers have counted the split again: its held block may be read."""
        with self._lock:
            self.entering.remove(run)
            self._place(run)

    def exhausted(self, step: int) -> bool:
        """Whether no block of the source at `step` is left to claim."""
        return all(run.ended for run in self.splits if run.step == step)

    def _place(self, run: SplitRun) -> None:
        self._drop(run)
        if not run.ended and run not in self.entering:
            self._key[run.index] = (run.watermark(), run.index)
            self._ready.add(self._key[run.index])

    def _drop(self, run: SplitRun) -> None:
        key = self._key.pop(run.index, None)
        if key is not None:
            self._ready.discard(key)

    def _close(self, run: SplitRun) -> None:
        if run.reader is not None:
            run.reader.close()
            run.reader = None

    def close(self) -> None:
        """Closes all readers; called once at the end of the run, also after an error."""
        for run in self.splits:
            self._close(run)

    # The cut of a barrier: a worker that has injected it claims nothing until all have.

    def injected(self, worker: int, checkpoint: int, workers: int) -> dict[str, Any] | None:
        """Worker `worker` has injected barrier `checkpoint`. The last one gets the positions of the cut."""
        with self._lock:
            self._injected.add(worker)
            if len(self._injected) < workers:
                return None
            self._injected.clear()
            for clock in {id(c): c for run in self.splits for c in run.clocks}.values():
                clock.cut(checkpoint, {run.index: run.blocks for run in self.splits if clock in run.clocks})
            return {f"{run.step}/{run.split.name}": run.position for run in self.splits}
