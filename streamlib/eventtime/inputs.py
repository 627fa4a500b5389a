"""Progress at the inputs of one step: a watermark per channel, merged; idle inputs are left out."""

from __future__ import annotations

from collections.abc import Iterable

from streamlib.elements import MAX_TIME, MIN_TIME


class InputProgress:
    """Merges the watermarks of a step's inputs.

    Args:
        inputs: how many there are; they are numbered from 0.

    >>> progress = InputProgress(2)
    >>> progress.advance(0, 10), progress.advance(1, 7), progress.idle(1)
    (False, True, True)
    >>> progress.watermark
    10
    """

    __slots__ = ("_ended", "_idle", "_marks", "watermark")

    def __init__(self, inputs: int) -> None:
        self._marks = [MIN_TIME] * inputs
        self._idle = [False] * inputs
        self._ended = [False] * inputs
        self.watermark = MIN_TIME
        """The merged watermark, ns. It never falls."""

    def advance(self, index: int, time: int) -> bool:
        """Input `index` has come to `time`. True when the merged watermark rose."""
        if time > self._marks[index]:
            self._marks[index] = time
        return self._merge()

    def idle(self, index: int) -> bool:
        """Leaves an input out. True when the merged watermark rose by it."""
        self._idle[index] = True
        return self._merge()

    def active(self, index: int) -> int:
        """Counts an input again, from the merged watermark on, which is the answer to the announcement."""
        self._idle[index] = False
        self._marks[index] = max(self._marks[index], self.watermark)
        return self.watermark

    def end(self, index: int) -> bool:
        """The input has ended. True when the merged watermark rose by it."""
        self._ended[index] = True
        return self._merge()

    @property
    def all_ended(self) -> bool:
        """Whether nothing can come any more."""
        return all(self._ended)

    def ended_inputs(self) -> set[int]:
        """The inputs that have ended."""
        return {index for index, ended in enumerate(self._ended) if ended}

    @property
    def all_idle(self) -> bool:
        """Whether no input counts for now, though some have not ended."""
        return all(i or e for i, e in zip(self._idle, self._ended, strict=True)) and not self.all_ended

    def of_inputs(self, indices: Iterable[int]) -> int:
        """The watermark of some inputs, such as the channels of one side; MAX_TIME when all have ended.

        An idle one is where it would be counted again from: what it sends then is not before that.
        """
        return min(
            (
                max(self._marks[i], self.watermark) if self._idle[i] else self._marks[i]
                for i in indices
                if not self._ended[i]
            ),
            default=MAX_TIME,
        )

    def _merge(self) -> bool:
        live = [m for m, i, e in zip(self._marks, self._idle, self._ended, strict=True) if not (i or e)]
        if not live:
            return False
        merged = min(live)
        if merged > self.watermark:
            self.watermark = merged
            return True
        return False
