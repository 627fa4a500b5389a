"""The frontier of one `event_time` step: the lowest watermark of its live splits, handed out to all workers.

The clock is shared by the workers of a process and guarded by its own lock. What it has handed out
never falls. Marks decide lateness (SEMANTICS 2), so a worker may send an older value than the clock
holds: that only closes windows later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum

from sortedcontainers import SortedSet

from streamlib.elements import MIN_TIME, add_time
from streamlib.eventtime.splits import SplitState, SplitTime


class IdlePolicy(Enum):
    """What happens to the watermark while a split is silent."""

    WAIT = "wait"
    """It waits for the split: right for files."""
    LEAVE = "leave"
    """After `idle_after` the split is left out; when all are silent the watermark stays."""
    ADVANCE = "advance"
    """After `idle_after` it goes on with the wall clock from the last row."""


def _nobody(split: int) -> None:
    """The listener of a clock that stands alone."""


class EventClock:
    """Event time of the splits below one `event_time` step.

    Args:
        max_delay: how far behind the largest time a row may be, ns; None to wait for the end.
        idle: what to do about silent splits.
        idle_after: silence after which they are idle, ns of the processing clock.
    """

    def __init__(
        self, max_delay: int | None, idle: IdlePolicy = IdlePolicy.WAIT, idle_after: int = 30_000_000_000
    ) -> None:
        self.max_delay = max_delay
        self.idle = idle
        self.idle_after = idle_after
        self.splits: dict[int, SplitTime] = {}
        self.lock = threading.RLock()
        self.listener: Callable[[int], None] = _nobody
        """Told of each split whose block has passed."""
        self._handed_out = MIN_TIME
        self._ranked: SortedSet = SortedSet()
        self._rank: dict[int, tuple[int, int]] = {}
        self._cuts: dict[int, tuple[int, dict[int, SplitTime]]] = {}
        self._wanted: dict[int, list[tuple[int, int]]] = {}

    def add(self, split: int, name: str, first_time: int | None = None) -> SplitTime:
        """Makes a split known; from now on it counts.

        One that appears while the run is on must not pull the watermark back: it begins idle, and
        enters by `wake` when it has rows.
        """
        with self.lock:
            known = self.splits[split] = SplitTime(name, first_time=first_time)
            if self._handed_out > MIN_TIME:
                known.state = SplitState.IDLE
            self._place(split)
            return known

    def is_turn(self, split: int, block: int) -> bool:
        """Whether all earlier blocks of the split have passed."""
        return self.splits[split].next_block == block

    def pass_block(self, split: int, now_ns: int | None = None) -> None:
        """The block whose turn it was has passed: `SplitTime` holds the split's state after it."""
        with self.lock:
            known = self.splits[split]
            known.next_block += 1
            known.passed = known.watermark(self.max_delay)
            known.last_row_ns = now_ns
            self._place(split)
            self._cut(split)
        self.listener(split)

    def end(self, split: int) -> None:
        """The split has ended and no longer holds the watermark back once all its blocks have passed."""
        with self.lock:
            self.splits[split].state = SplitState.ENDED
            self._place(split)

    def position(self, split: int) -> int:
        """The split's own watermark, ns: the reader serves the split furthest behind."""
        return self.splits[split].watermark(self.max_delay)

    def watermark(self) -> int:
        """The frontier to send on: the lowest of the live splits, never less than before.

        When none is live it stays: End, or the idle policy, says how to go on.
        """
        with self.lock:
            if self._ranked:
                self._handed_out = max(self._handed_out, self._ranked[0][0])
            return self._handed_out

    def slowest(self) -> SplitTime | None:
        """The live split that holds the watermark back; None when there is none."""
        with self.lock:
            return self.splits[self._ranked[0][1]] if self._ranked else None

    def is_live(self, split: int) -> bool:
        """Whether the split counts now."""
        return self.splits[split].state is SplitState.LIVE

    def all_idle(self) -> bool:
        """Whether no split counts, though some have not ended."""
        with self.lock:
            return not self._ranked and any(
                s.state in (SplitState.IDLE, SplitState.ENTERING) for s in self.splits.values()
            )

    def any_live(self) -> bool:
        """Whether some split counts."""
        return bool(self._ranked)

    def silent(self, split: int, now_ns: int) -> bool:
        """The reader has nothing: applies the idle policy. True when the split was left out just now."""
        with self.lock:
            known = self.splits[split]
            if self.idle is IdlePolicy.WAIT or known.state is not SplitState.LIVE:
                return False
            if known.last_row_ns is None:
                known.last_row_ns = now_ns
            quiet = now_ns - known.last_row_ns
            if quiet < self.idle_after:
                return False
            if self.idle is IdlePolicy.LEAVE:
                known.state = SplitState.IDLE
                self._place(split)
                return True
            if known.max_time != MIN_TIME and self.max_delay is not None:
                reached = add_time(add_time(known.max_time, quiet), -self.max_delay)
                known.floor = max(known.floor, reached)
                if known.per is not None:
                    known.per.floor[:] = known.per.floor.clip(min=reached)
                self._place(split)
            return False

    def wake(self, split: int) -> bool:
        """An idle split has rows again. True when it counts at once, since its edge never went idle."""
        with self.lock:
            known = self.splits[split]
            if known.state is not SplitState.IDLE:
                return True
            if self._ranked:
                self._enter(split, self.watermark())
                return True
            known.state = SplitState.ENTERING
            return False

    def enter(self, split: int, mark: int) -> None:
        """All receivers have answered; `mark` is the largest answer."""
        with self.lock:
            self._enter(split, mark)

    def _enter(self, split: int, mark: int) -> None:
        known = self.splits[split]
        known.state = SplitState.LIVE
        known.floor = max(known.floor, mark, self._handed_out)
        if known.per is not None:
            known.per.floor[:] = known.per.floor.clip(min=known.floor)
        self._place(split)

    def _place(self, split: int) -> None:
        old = self._rank.pop(split, None)
        if old is not None:
            self._ranked.discard(old)
        known = self.splits[split]
        if known.state is SplitState.LIVE:
            self._rank[split] = (known.watermark(self.max_delay), split)
            self._ranked.add(self._rank[split])

    # Checkpoints: the state of each split after the last block before the barrier.

    def cut(self, checkpoint: int, blocks: dict[int, int]) -> None:
        """Asks for the state of each split as of the moment when `blocks[split]` of its blocks have passed."""
        with self.lock:
            self._cuts[checkpoint] = (len(blocks), {})
            for split, count in blocks.items():
                self._wanted.setdefault(split, []).append((checkpoint, count))
                self._cut(split)

    def cut_state(self, checkpoint: int) -> dict[int, SplitTime] | None:
        """The states asked for by `cut`, once all of them are there."""
        with self.lock:
            count, states = self._cuts[checkpoint]
            return states if len(states) == count else None

    def _cut(self, split: int) -> None:
        for checkpoint, count in list(self._wanted.get(split, ())):
            if self.splits[split].next_block == count:
                self._cuts[checkpoint][1][split] = self.splits[split].copy()
                self._wanted[split].remove((checkpoint, count))

    def restore(self, states: dict[int, SplitTime]) -> None:
        """Continues from the states of a checkpoint; blocks are numbered from 0 again."""
        with self.lock:
            for split, state in states.items():
                known = state.copy()
                known.next_block = 0
                self.splits[split] = known
                self._place(split)

    def high(self) -> int:
        """The largest event time seen, ns; MIN_TIME when there is none."""
        return max((s.max_time for s in self.splits.values()), default=MIN_TIME)
