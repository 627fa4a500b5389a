"""The keys of a processor with their timers, and what lets go of keys that had no row for long.

A timer stands in its key's dict as (when it is due, under which time it is filed) and in one heap for all
keys. One that is moved to a later time, as most are, is not filed again: when its entry comes up it is filed
under its new time. So the heap has about one entry for each timer, however often it is moved.
"""

from __future__ import annotations

import heapq
from typing import Any

from streamlib.elements import MAX_TIME
from streamlib.operators.process.states import Cells

BUCKETS_PER_TTL = 8


Timer = list[Any]
"""When it is due, None for one that was cancelled; under which time it is filed. ns."""


class KeyState:
    """What is kept of a key.

    Attributes:
        key: as `Context.key` gives it.
        cells: its states.
        last: the time of its last row, ns.
        timers: by name [due, filed], ns; due is None for one that was cancelled.
        filed: whether `Forgetting` looks at it.
    """

    __slots__ = ("cells", "filed", "key", "last", "timers")

    def __init__(self, key: Any) -> None:
        self.key = key
        self.cells: Cells = {}
        self.last = 0
        self.timers: dict[str, Timer] | None = None
        self.filed = False

    def kept_timers(self) -> dict[str, Timer] | None:
        """Its timers as they are now, whatever becomes of them."""
        return None if self.timers is None else {name: list(timer) for name, timer in self.timers.items()}

    def pending(self) -> dict[str, int]:
        """When its timers are due, ns, by name."""
        return {name: due for name, (due, _) in (self.timers or {}).items() if due is not None}


class Timers:
    """The timers of all keys, in the order of (time, name).

    >>> timers, key = Timers(), KeyState("a")
    >>> timers.set(key, "late", 10), timers.set(key, "late", 20)
    (None, None)
    >>> timers.pop(15), timers.pop(None)[:2]
    (None, (20, 'late'))
    """

    def __init__(self) -> None:
        self.heap: list[tuple[int, str, int, KeyState]] = []
        self._filed = 0

    def set(self, state: KeyState, name: str, at: int) -> None:
        """Sets or moves a timer."""
        timers = state.timers
        if timers is None:
            timers = state.timers = {}
        found = timers.get(name)
        if found is not None and found[1] <= at:
            found[0] = at
        else:
            timers[name] = [at, at]
            self._filed += 1
            heapq.heappush(self.heap, (at, name, self._filed, state))

    def cancel(self, state: KeyState, name: str) -> None:
        """Takes a timer back, if there is one."""
        found = None if state.timers is None else state.timers.get(name)
        if found is not None:
            found[0] = None

    def pop(self, before: int | None) -> tuple[int, str, KeyState] | None:
        """Takes out the earliest timer that is due before a time, ns; of all when None."""
        heap = self.heap
        while heap and (before is None or heap[0][0] < before):
            at, name, _, state = heap[0]
            timers = state.timers
            found = None if timers is None else timers.get(name)
            if timers is None or found is None or found[1] != at:
                heapq.heappop(heap)  # its key is gone, or it was filed under an earlier time since
                continue
            due = found[0]
            if due is not None and due > at:
                found[1] = due
                self._filed += 1
                heapq.heapreplace(heap, (due, name, self._filed, state))
                continue
            heapq.heappop(heap)
            del timers[name]
            if due is not None:
                return at, name, state
        return None


class Forgetting:
    """Finds the keys that had no row for longer than a time to live.

    A key lies in the bucket of its deadline when it is filed, and is looked at when that is over.
    """

    def __init__(self, ttl: int) -> None:
        self.ttl = ttl
        self._width = max(1, ttl // BUCKETS_PER_TTL)
        self._buckets: dict[int, list[KeyState]] = {}
        self._numbers: list[int] = []

    def deadline(self, state: KeyState) -> int:
        """The last time at which the key lives, ns."""
        return min(MAX_TIME, state.last + self.ttl)

    def file(self, state: KeyState) -> None:
        """Takes in a key."""
        state.filed = True
        number = self.deadline(state) // self._width + 1
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = []
            heapq.heappush(self._numbers, number)
        bucket.append(state)

    def due(self, before: int) -> list[KeyState]:
        """Takes out the keys whose deadline lies before `before`, ns; some of them up to ttl/8 later."""
        found: list[KeyState] = []
        while self._numbers and self._numbers[0] * self._width <= before:
            for state in self._buckets.pop(heapq.heappop(self._numbers)):
                state.filed = False
                if self.deadline(state) < before:
                    found.append(state)
                else:
                    self.file(state)
        return found
