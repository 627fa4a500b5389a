"""A queue from one worker to one input of a step on another.

It admits a batch while it holds less than its limit; the other elements are always admitted, so
that progress, barriers and ends can never be locked out by data (SEMANTICS 6).
"""

from __future__ import annotations

import threading
from collections import deque

from streamlib.elements import Batch, Element, Handed

CHANNEL_BYTES_MAX = 8 * 1024 * 1024


class Channel:
    """First in, first out; one sender, one receiver.

    Args:
        bytes_max: the size from which no further batch is admitted. A single batch may be larger.
    """

    __slots__ = ("_lock", "_queue", "_sizes", "bytes_max", "in_flight_bytes")

    def __init__(self, bytes_max: int = CHANNEL_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.in_flight_bytes = 0
        self._queue: deque[Element] = deque()
        self._sizes: deque[int] = deque()
        self._lock = threading.Lock()

    def admits(self) -> bool:
        """Whether a batch can be offered now."""
        return self.in_flight_bytes < self.bytes_max

    def offer(self, batch: Batch | Handed) -> bool:
        """Adds a batch unless the limit is reached; says whether it did."""
        size = batch.nbytes
        with self._lock:
            if self.in_flight_bytes >= self.bytes_max:
                return False
            self.in_flight_bytes += size
            self._sizes.append(size)
            self._queue.append(batch)
            return True

    def send(self, control: Element) -> None:
        """Adds an element that is no batch."""
        assert not isinstance(control, (Batch, Handed)), "batches are offered"
        with self._lock:
            self._queue.append(control)

    def take(self) -> tuple[Element, bool] | None:
        """The oldest element, and whether a sender that found the channel full can go on; None when empty."""
        with self._lock:
            if not self._queue:
                return None
            element = self._queue.popleft()
            if not isinstance(element, (Batch, Handed)):
                return element, False
            was_full = self.in_flight_bytes >= self.bytes_max
            self.in_flight_bytes -= self._sizes.popleft()
            return element, was_full and self.in_flight_bytes < self.bytes_max

    def __len__(self) -> int:
        return len(self._queue)
