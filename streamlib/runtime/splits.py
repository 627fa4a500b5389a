"""The pool of splits that the workers of a run read from.

A worker claims the next block of the split with the lowest watermark, across sources, so that a
year of daily files is read in the order of time and in bounded state. Blocks of one split are
numbered; `event_time` lets them pass in that order, whoever decodes them.

Splits of a live source are served in turn as long as none gets too far ahead, so that a peer who
floods does not keep the others waiting. One that had nothing is not asked again before its source
says so, and one that has ended is forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sortedcontainers import SortedList

from streamlib.contracts import PENDING, Block, Source, Split, SplitReader
from streamlib.elements import MAX_TIME, MIN_TIME, add_time
from streamlib.eventtime import EventClock, IdlePolicy
from streamlib.runtime.claims import Claim, ReadError, SourceRun, SplitRun

__all__ = ["Claim", "ReadError", "SplitPool", "SplitRun"]

MAX_DRIFT_NS = 10 * 60 * 1_000_000_000
"""How far in event time a split may be read ahead of the lowest live one that has nothing now."""
POLL_SECONDS = 0.005
"""How often a source that cannot announce its data is asked again."""
LOOK_SECONDS = 0.2
"""How often a worker that waits for announced data looks around: for idle splits, and whether to stop."""


class SplitPool:
    """Hands out blocks; shared by all workers of a run.

    Args:
        now_ns: the processing clock, for idle policies only.
        wake: called when a source has announced data, so that waiting workers look again.
    """

    def __init__(self, now_ns: Callable[[], int], wake: Callable[[], None] | None = None) -> None:
        self.now_ns = now_ns
        self.wake = wake or _nothing
        self.splits: dict[int, SplitRun] = {}
        self.stopped = False
        self.bytes_read = 0
        self.entering: list[SplitRun] = []
        self._lock = threading.RLock()
        self._ready: SortedList = SortedList()
        self._key: dict[int, tuple[int, int]] = {}
        self._injected: set[int] = set()
        self._sources: dict[int, SourceRun] = {}
        self._named: dict[tuple[int, str], SplitRun] = {}
        self._count = self._turns = 0
        self._news = self._any_live = False
        self._looked_ns: int | None = None

    def bind(self, step: int, source: Source, clocks: list[EventClock]) -> None:
        """The source at `step` begins; called before its splits are made known."""
        known = SourceRun(source, clocks, False, source.grows)
        self._sources[step] = known
        if source.grows:
            for clock in clocks:
                clock.grows(1)
        known.live = source.bind(partial(self._woken, step))
        self._any_live |= known.live
        self._news = self._news or source.grows

    def _woken(self, step: int, name: str | None = None) -> None:
        """A source says that a split has data (None: any of its splits, or a new one)."""
        with self._lock:
            if name is None:
                self._news = True
                runs = [run for run in self.splits.values() if run.step == step]
            else:
                run = self._named.get((step, name))
                runs = [] if run is None else [run]
            for run in runs:
                run.wakes += 1
                run.dry = False
        self.wake()

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
        if step not in self._sources:
            self.bind(step, source, clocks)
        known, added = self._sources[step], []
        for split in splits:
            with self._lock:
                run = SplitRun(self._count, step, source, split, clocks, live=known.live)
                self._count += 1
                known.unended += 1
            run.position = (positions or {}).get(split.name)
            first = None
            if first_time is not None:
                reader = source.open(split, run.position)
                try:
                    first = first_time(reader)
                finally:
                    reader.close()
            with self._lock:
                self.splits[run.index] = run
                self._named[step, split.name] = run
                for clock in clocks:
                    clock.add(run.index, split.name, first)
                self._place(run)
            added.append(run)
        return added

    def claim(self, worker: int) -> Claim | None:
        """The next block, or None when there is nothing to read now."""
        empty: set[int] = set()
        if self._news:
            self._look_for_splits()
        if self._any_live:
            self._look_at_silent()
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
        chosen: SplitRun | None = None
        for watermark, index in self._ready:
            if watermark > limit:
                break
            run = self.splits[index]
            if index not in empty and not run.dry:
                if not run.live:
                    return chosen or run
                if chosen is None or run.served < chosen.served:
                    chosen = run
            elif not any(clock.is_live(index) for clock in run.clocks):
                continue
            if watermark > MIN_TIME:
                limit = min(limit, add_time(watermark, MAX_DRIFT_NS))
        return chosen

    def _look_for_splits(self) -> None:
        """Makes known the splits that live sources have announced."""
        if self.stopped:
            return
        self._news = False
        for step, known in self._sources.items():
            if not known.growing:
                continue
            with known.lock:
                try:
                    found = known.source.new_splits()
                except Exception as error:
                    raise ReadError(step, error) from None
                if found is None:
                    self._grown(known)
                else:
                    self.add(step, known.source, found, known.clocks)
                    # Asked until there are none; one that cannot announce them, each time.
                    self._news = self._news or bool(found) or not known.live

    def _grown(self, known: SourceRun) -> None:
        """No more splits will appear of this source."""
        with self._lock:
            if known.growing:
                known.growing = False
                for clock in known.clocks:
                    clock.grows(-1)
        self.wake()

    def _look_at_silent(self) -> None:
        """Applies the idle policies to splits that are not asked, because their source announces data."""
        now = self.now_ns()
        with self._lock:
            if self._looked_ns is not None and now - self._looked_ns < self.wait_seconds() * 500_000_000:
                return
            self._looked_ns = now
            clocks = {id(c): c for known in self._sources.values() for c in known.clocks}.values()
            before = [(clock.watermark(), clock.all_idle()) for clock in clocks]
            for run in self.splits.values():
                if run.dry and not run.ended:
                    self._apply_silence(run, now)
            for known in self._sources.values():
                if known.growing:
                    for clock in known.clocks:
                        clock.alone(now)
            changed = before != [(clock.watermark(), clock.all_idle()) for clock in clocks]
        if changed:
            self.wake()

    def wait_seconds(self) -> float:
        """How long a worker with nothing to do may wait before it looks again, if nobody wakes it."""
        wait = LOOK_SECONDS
        for known in self._sources.values():
            if not known.live:
                return POLL_SECONDS
            for clock in known.clocks:
                if clock.idle is not IdlePolicy.WAIT:
                    wait = min(wait, max(clock.idle_after / 4e9, POLL_SECONDS))
        return wait

    def _read(self, run: SplitRun) -> Claim | None:
        if run.ended or self.stopped or run in self.entering:  # since it was chosen
            return None
        if run.reader is None:
            run.reader = run.source.open(run.split, run.position)
        block, wakes = run.held, run.wakes
        if block is None:
            answer = run.reader.read()
            if answer is PENDING:
                now = self.now_ns()
                with self._lock:
                    run.dry = run.live and run.wakes == wakes
                    self._apply_silence(run, now)
                return None
            if answer is None:
                self._end(run)
                return None
            assert isinstance(answer, Block)
            block = answer
            if not self._counted(run, block):
                return None
        run.held = None
        number, run.blocks = run.blocks, run.blocks + 1
        run.outstanding += 1
        self._turns += 1
        run.served = self._turns
        self.bytes_read += block.nbytes
        run.position = block.position
        return Claim(run, block, number, run.reader)

    def _counted(self, run: SplitRun, block: Block) -> bool:
        """Whether the split counts, or counts at once, now that it has rows; else it enters with this block."""
        if all(clock.is_live(run.index) for clock in run.clocks):
            return True
        with self._lock:
            counted = [clock.wake(run.index) for clock in run.clocks]
            if not all(counted):
                run.held = block
                self.entering.append(run)
                self._drop(run)
        return all(counted)

    def _apply_silence(self, run: SplitRun, now: int) -> None:
        """Applies the idle policies to a split that has nothing. Blocks that are still to pass are no silence."""
        for clock in run.clocks:
            if clock.is_turn(run.index, run.blocks):
                clock.silent(run.index, now)
        self._place(run)

    def _end(self, run: SplitRun) -> None:
        with self._lock:
            run.ended = True
            self._sources[run.step].unended -= 1
            if self.exhausted(run.step):
                self.wake()
            self._drop(run)
            if run.outstanding == 0:
                self._close(run)
            for clock in run.clocks:
                if clock.is_turn(run.index, run.blocks):
                    clock.end(run.index)
            self._forget(run)

    def done(self, claim: Claim) -> None:
        """The block has been decoded."""
        run = claim.run
        with run.lock:
            run.outstanding -= 1
            if run.ended and run.outstanding == 0:
                self._close(run)
                with self._lock:
                    self._forget(run)

    def passed(self, index: int, clock: EventClock) -> None:
        """A block has passed `event_time`: the split has a new place in the order of reading."""
        with self._lock:
            run = self.splits[index]
            if run.ended:
                if clock.is_turn(index, run.blocks):
                    clock.end(index)
                    self._forget(run)
            else:
                self._place(run)

    def entered(self, run: SplitRun) -> None:
        """All receivers have counted the split again: its held block may be read."""
        with self._lock:
            self.entering.remove(run)
            self._place(run)

    def exhausted(self, step: int) -> bool:
        """Whether no block of the source at `step` is left to claim."""
        known = self._sources[step]
        return known.unended == 0 and not known.growing

    def all_exhausted(self) -> bool:
        """Whether no block is left of any source: then nothing will come."""
        return all(self.exhausted(step) for step in self._sources)

    def _forget(self, run: SplitRun) -> None:
        """Frees what is kept of a split that has ended, where a source may have any number of them."""
        if not run.source.grows or run.outstanding or run.index not in self.splits:
            return
        if all(clock.is_turn(run.index, run.blocks) for clock in run.clocks):
            del self.splits[run.index]
            del self._named[run.step, run.split.name]
            for clock in run.clocks:
                clock.forget(run.index)

    def _place(self, run: SplitRun) -> None:
        old = self._key.get(run.index)
        new = None if run.ended or run in self.entering else (run.watermark(), run.index)
        if new != old:
            self._drop(run)
            if new is not None:
                self._key[run.index] = new
                self._ready.add(new)

    def _drop(self, run: SplitRun) -> None:
        key = self._key.pop(run.index, None)
        if key is not None:
            self._ready.remove(key)

    def _close(self, run: SplitRun) -> None:
        if run.reader is not None:
            run.reader.close()
            run.reader = None

    def close(self) -> None:
        """Closes all readers; called once at the end of the run, also after an error."""
        for run in self.splits.values():
            self._close(run)
        for known in self._sources.values():
            known.source.close()

    # The cut of a barrier: a worker that has injected it claims nothing until all have.

    def injected(self, worker: int, checkpoint: int, workers: int) -> dict[str, Any] | None:
        """Worker `worker` has injected barrier `checkpoint`. The last one gets the positions of the cut."""
        with self._lock:
            self._injected.add(worker)
            if len(self._injected) < workers:
                return None
            self._injected.clear()
            runs = list(self.splits.values())
            for clock in {id(c): c for known in self._sources.values() for c in known.clocks}.values():
                clock.cut(checkpoint, {run.index: run.blocks for run in runs if clock in run.clocks})
            return {f"{run.step}/{run.split.name}": run.position for run in runs}


def _nothing() -> None:
    """Wakes nobody."""
