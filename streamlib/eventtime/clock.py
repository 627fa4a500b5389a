"""The frontier of one `event_time` step: the lowest watermark of its live splits, handed out to all workers.

The clock is shared by the workers of a process and guarded by its own lock. What it has handed out
never falls. Marks decide lateness (SEMANTICS 2), so a worker may send an older value than the clock
holds: that only closes windows later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sortedcontainers import SortedList

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


@dataclass(frozen=True, slots=True)
class ClockState:
    """A clock at a barrier.

    Attributes:
        splits: by number, after the last block before the barrier.
        handed_out: the largest watermark handed out when the barrier was put behind all that was read.
    """

    splits: dict[int, SplitTime]
    handed_out: int


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
        self._ranked: SortedList = SortedList()
        self._rank: dict[int, tuple[int, int]] = {}
        self._ended = 0
        self._cuts: dict[int, tuple[int, ClockState]] = {}
        self._wanted: dict[int, list[tuple[int, int]]] = {}
        self._resumed: dict[str, list[SplitTime]] = {}
        self._floor = MIN_TIME
        self._high = MIN_TIME
        self._growing = 0
        self._alone_since: int | None = None
        self._absent = False

    def add(self, split: int, name: str, first_time: int | None = None) -> SplitTime:
        """Makes a split known; from now on it counts.

        One that appears while the run is on must not pull back the watermark, nor those of others that
        went on while this clock was idle: it begins idle, and enters by `wake` when it has rows. One that
        a checkpoint knows goes on where it stood.
        """
        with self.lock:
            resumed = self._resumed.get(name)
            if resumed:
                known = resumed.pop(0)
                known.first_time = first_time
            else:
                known = SplitTime(name, first_time=first_time, floor=self._floor)
                if self._handed_out > MIN_TIME or self._absent or (self.splits and not self._ranked):
                    known.state = SplitState.IDLE
            self.splits[split] = known
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
            known.passed = reached = known.watermark(self.max_delay)
            known.last_row_ns = now_ns
            self._place(split, reached)
            if self._wanted:
                self._cut(split)
        self.listener(split)

    def end(self, split: int) -> None:
        """The split has ended and no longer holds the watermark back once all its blocks have passed."""
        with self.lock:
            self.splits[split].state = SplitState.ENDED
            self._place(split)

    def worker_ended(self) -> int:
        """The end of the input has reached one more worker: on how many that is."""
        with self.lock:
            self._ended += 1
            return self._ended

    def position(self, split: int) -> int:
        """The split's own watermark, ns: the reader serves the split furthest behind."""
        return self.splits[split].watermark(self.max_delay)

    def watermark(self) -> int:
        """The frontier to send on: the lowest of the live splits, never less than before.

        When none is live it stays: End, or the idle policy, says how to go on.
        """
        with self.lock:
            if self._rank:
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
            return not self._rank and (
                self._absent
                or any(s.state in (SplitState.IDLE, SplitState.ENTERING) for s in self.splits.values())
            )

    def any_live(self) -> bool:
        """Whether some split counts."""
        return bool(self._rank)

    def silent(self, split: int, now_ns: int) -> bool:
        """The reader has nothing: applies the idle policy. True when the split was left out just now."""
        with self.lock:
            known = self.splits[split]
            if known.state is not SplitState.LIVE:
                return False
            if known.last_row_ns is None:
                known.last_row_ns = now_ns
            if self.idle is IdlePolicy.WAIT:
                return False
            quiet = now_ns - known.last_row_ns
            if quiet < self.idle_after:
                return False
            if self.idle is IdlePolicy.LEAVE:
                known.state = SplitState.IDLE
                self._place(split)
                self.watermark()  # rises now, or would not when the others leave as well before it is asked
                return True
            if known.max_time != MIN_TIME and self.max_delay is not None:
                reached = add_time(add_time(known.max_time, quiet), -self.max_delay)
                known.raise_floor(reached)
                self._place(split)
            return False

    def grows(self, by: int) -> None:
        """A source whose splits appear while the run is on begins (`by` is 1), or will have no more (-1)."""
        with self.lock:
            self._growing += by
            self._absent = self._absent and self._growing > 0

    def alone(self, now_ns: int) -> None:
        """Applies the idle policy where no split counts now, though more may appear."""
        with self.lock:
            if self.idle is IdlePolicy.WAIT or self._ranked or not self._growing:
                return
            if self._alone_since is None:
                self._alone_since = now_ns
            quiet = now_ns - self._alone_since
            if quiet < self.idle_after:
                return
            high = self.high()
            if self.idle is IdlePolicy.LEAVE:
                self._absent = True
            elif high != MIN_TIME and self.max_delay is not None:
                reached = add_time(add_time(high, quiet), -self.max_delay)
                self._handed_out = max(self._handed_out, reached)

    def forget(self, split: int) -> None:
        """Frees an ended split of a source that has had many; one whose last jump is unconfirmed stays."""
        with self.lock:
            known = self.splits[split]
            if known.suspect is None:
                self._high = max(self._high, known.max_time)
                del self.splits[split]

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
        known.raise_floor(max(mark, self._handed_out))
        self._place(split)

    def _place(self, split: int, reached: int | None = None) -> None:
        """Gives a split its place among the live ones; `reached` is its watermark, where that is known."""
        old, known = self._rank.get(split), self.splits[split]
        new = None
        if known.state is SplitState.LIVE:
            new = (known.watermark(self.max_delay) if reached is None else reached, split)
            self._alone_since, self._absent = None, False
        if new == old:
            return
        if old is not None:
            self._ranked.remove(old)
            del self._rank[split]
        if new is not None:
            self._rank[split] = new
            self._ranked.add(new)

    # Checkpoints: the state of each split after the last block before the barrier.

    def cut(self, checkpoint: int, blocks: dict[int, int]) -> None:
        """Asks for the state of each split as of the moment when `blocks[split]` of its blocks have passed."""
        with self.lock:
            self._cuts[checkpoint] = (len(blocks), ClockState({}, self._handed_out))
            for split, count in blocks.items():
                self._wanted.setdefault(split, []).append((checkpoint, count))
                self._cut(split)

    def cut_state(self, checkpoint: int) -> ClockState | None:
        """The states asked for by `cut`, once all of them are there."""
        with self.lock:
            count, state = self._cuts[checkpoint]
            return state if len(state.splits) == count else None

    def _cut(self, split: int) -> None:
        for checkpoint, count in list(self._wanted.get(split, ())):
            if self.splits[split].next_block == count:
                self._cuts[checkpoint][1].splits[split] = self.splits[split].copy()
                self._wanted[split].remove((checkpoint, count))

    def resume_from(self, state: ClockState, reached: int) -> None:
        """Goes on from a checkpoint: called before the splits are made known, which are found by name.

        Live splits go on with their marks, and with them the watermark: it need not be as high as it was,
        since marks decide. One that is not live has no hold on the windows that were closed without it,
        so it enters, later, with a mark that is at least what was reached.

        Args:
            state: what `cut_state` gave.
            reached: the largest watermark that a step behind had met before the barrier.
        """
        with self.lock:
            assert not self.splits, "a clock resumes before its splits are known"
            self._handed_out = state.handed_out
            self._floor = max(state.handed_out, reached)
            for _, split in sorted(state.splits.items()):
                known = split.copy()
                known.next_block = 0
                known.last_row_ns = None
                if known.state in (SplitState.IDLE, SplitState.ENTERING):
                    known.state = SplitState.IDLE
                    known.raise_floor(self._floor)
                self._resumed.setdefault(known.name, []).append(known)

    def high(self) -> int:
        """The largest event time seen, ns; MIN_TIME when there is none."""
        return max([self._high, *(s.max_time for s in list(self.splits.values()))])
