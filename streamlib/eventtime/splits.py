"""One split's progress in event time: its running maximum, its entry mark and whose turn it is.

Blocks of a split may be decoded by several workers, but they pass `event_time` in their order, so
that the running maximum, and with it every row's mark, is a function of the split's rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from streamlib.elements import MAX_TIME, MIN_TIME, Batch, add_time


class SplitState(Enum):
    """What a split does for the frontier."""

    LIVE = "live"
    """Counts: also before its first row."""
    IDLE = "idle"
    """Silent for too long: left out until it enters again."""
    ENTERING = "entering"
    """Announced; counts again once all receivers have answered with their watermarks."""
    ENDED = "ended"


@dataclass(slots=True)
class PerValues:
    """The values of `per=` columns seen in a split: each is a split of its own."""

    codes: dict[tuple[object, ...], int] = field(default_factory=dict)
    max_time: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    floor: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def enter(self, value: tuple[object, ...], floor: int) -> int:
        """Gives a new value its code; `floor` is the watermark of the whole split before its first row."""
        code = len(self.codes)
        self.codes[value] = code
        self.max_time = np.append(self.max_time, np.int64(MIN_TIME))
        self.floor = np.append(self.floor, np.int64(floor))
        return code

    def copy(self) -> PerValues:
        return PerValues(dict(self.codes), self.max_time.copy(), self.floor.copy())


@dataclass(frozen=True, slots=True)
class Suspect:
    """A row that jumps ahead, held back until the next row of its split is there.

    Attributes:
        row: the row.
        where: its place in the input.
        time: its event time, ns.
        limit: what is no jump, ns.
    """

    row: Batch
    where: str
    time: int
    limit: int


@dataclass(slots=True)
class SplitTime:
    """Progress of one split.

    Attributes:
        name: for messages and `why`.
        max_time: the largest event time that has passed, ns; MIN_TIME before the first row.
        floor: the entry mark, ns: no mark of the split lies below it.
        first_time: event time of the first unread row where it was peeked at, ns.
        next_block: the block whose turn it is to pass.
        rows: rows that have passed; the next row's position.
        passed: the watermark that has been reached; a value of `per=` that appears does not lower it.
        late_entry_rows: rows behind their mark only because the split entered late.
        last_row_ns: when its last block passed, by the processing clock.
        suspect: a jump that the next row must confirm.
    """

    name: str
    max_time: int = MIN_TIME
    floor: int = MIN_TIME
    first_time: int | None = None
    next_block: int = 0
    rows: int = 0
    state: SplitState = SplitState.LIVE
    per: PerValues | None = None
    passed: int = MIN_TIME
    late_entry_rows: int = 0
    last_row_ns: int | None = None
    suspect: Suspect | None = None

    def watermark(self, max_delay: int | None) -> int:
        """No row to come has a mark below it, ns (`max_delay` None: until the end of the input).

        Before its first row a split stands at that row's time less the delay, if it is known.
        """
        if max_delay is None:
            return MIN_TIME
        if self.max_time == MIN_TIME:
            low = MIN_TIME if self.first_time is None else add_time(self.first_time, -max_delay)
        elif self.per is not None:
            low = add_time(int(self.per.max_time.min()), -max_delay)
        else:
            low = add_time(self.max_time, -max_delay)
        return max(min(low, MAX_TIME - 1), self.floor, self.passed)

    def raise_floor(self, mark: int) -> None:
        """From now on no mark of the split lies below `mark`, ns."""
        self.floor = max(self.floor, mark)
        if self.per is not None:
            self.per.floor[:] = self.per.floor.clip(min=self.floor)

    def copy(self) -> SplitTime:
        """A copy for a checkpoint."""
        return SplitTime(
            self.name,
            self.max_time,
            self.floor,
            self.first_time,
            self.next_block,
            self.rows,
            self.state,
            None if self.per is None else self.per.copy(),
            self.passed,
            self.late_entry_rows,
            self.last_row_ns,
            self.suspect,
        )
