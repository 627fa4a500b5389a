"""The elements other than batches. They are always admitted to a channel and never overtake a batch."""

from __future__ import annotations

from dataclasses import dataclass

from streamlib.elements.batch import Batch
from streamlib.elements.handed import Handed


@dataclass(frozen=True, slots=True)
class Watermark:
    """No row that follows has a mark below `time`, ns: windows that end by it may close."""

    time: int


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing comes on this edge for now; it does not hold the watermark of the others back."""


@dataclass(frozen=True, slots=True)
class Active:
    """The edge counts again. `entry` numbers the announcement, `mark` is the largest watermark met."""

    entry: int
    mark: int


@dataclass(frozen=True, slots=True)
class Barrier:
    """What came before it belongs to checkpoint `checkpoint`, what follows does not."""

    checkpoint: int


@dataclass(frozen=True, slots=True)
class BlockEnd:
    """All rows of one block of a split have passed: only between a source and `event_time`."""

    split: int
    block: int
    rows: int


@dataclass(frozen=True, slots=True)
class End:
    """Nothing follows, ever."""


Control = Watermark | Idle | Active | Barrier | BlockEnd | End
Element = Batch | Handed | Control
