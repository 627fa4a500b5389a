"""Channels between processes: the sender counts what the receiver has not taken yet, and admits as any channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamlib.elements import Active, Barrier, Batch, BlockEnd, Element, End, Handed, Idle, Watermark
from streamlib.exchange import Channel
from streamlib.workers.link import Link
from streamlib.workers.rows import write_batch

OWED_SHARE = 4
"""The receiver gives room back when it has taken this part of the limit: seldom enough to cost nothing."""


class OutgoingChannel(Channel):
    """The sender's end of a channel to another process.

    Args:
        bytes_max: the limit.
        link: the way out.
        worker: who receives.
        number: the step and input there.
        entering: the clock's step of the split that enters now.
    """

    __slots__ = ("_entering", "_link", "_number", "_worker")

    def __init__(
        self,
        bytes_max: int,
        link: Link,
        worker: int,
        number: tuple[int, int],
        entering: Callable[[], int],
    ) -> None:
        super().__init__(bytes_max)
        self._link, self._worker, self._number, self._entering = link, worker, number, entering

    def offer(self, batch: Batch | Handed) -> bool:
        assert isinstance(batch, Batch), "nothing is handed to another process"
        if not self.admits():
            return False
        size = batch.nbytes
        self.in_flight_bytes += size
        about, part = write_batch(batch)
        self._link.send(["batch", *self._number, size, about], [part], to=self._worker)
        return True

    def send(self, control: Element) -> None:
        values = control_values(control)
        if isinstance(control, Active):
            values.append(self._entering())
        self._link.send(["element", *self._number, *values], to=self._worker)

    def given_back(self, size: int) -> None:
        """The receiver has taken batches of so many bytes."""
        self.in_flight_bytes -= size


class IncomingChannel(Channel):
    """The receiver's end.

    Args:
        bytes_max: the limit.
        give_back: tells the sender how many bytes were taken.
    """

    __slots__ = ("_give_back", "_owed")

    def __init__(self, bytes_max: int, give_back: Callable[[int], object]) -> None:
        super().__init__(bytes_max)
        self._give_back, self._owed = give_back, 0

    def arrived(self, batch: Batch, size: int) -> None:
        """A batch is there: its sender has seen to the limit."""
        self.in_flight_bytes += size
        self._sizes.append(size)
        self._queue.append(batch)

    def take(self) -> tuple[Element, bool] | None:
        before = self.in_flight_bytes
        taken = super().take()
        self._owed += before - self.in_flight_bytes
        if self._owed and self._owed * OWED_SHARE >= self.bytes_max:
            owed, self._owed = self._owed, 0
            self._give_back(owed)
        return taken


def control_values(control: Element) -> list[Any]:
    """An element that is no batch, as values."""
    if isinstance(control, Watermark):
        return ["watermark", control.time]
    if isinstance(control, Idle):
        return ["idle"]
    if isinstance(control, Active):
        return ["active", control.entry, control.mark]
    if isinstance(control, Barrier):
        return ["barrier", control.checkpoint]
    if isinstance(control, BlockEnd):
        return ["block end", control.split, control.block, control.rows]
    assert isinstance(control, End), "batches are offered"
    return ["end"]


_KINDS: dict[str, Callable[..., Element]] = {
    "watermark": Watermark,
    "idle": Idle,
    "active": Active,
    "barrier": Barrier,
    "block end": BlockEnd,
    "end": End,
}


def control_of(kind: str, *values: int) -> Element:
    """The element of `control_values`.

    >>> control_of("watermark", 5)
    Watermark(time=5)
    """
    return _KINDS[kind](*values)
