"""Sources: logs that can be read again from a position.

A source names its splits; a split is a sequence of rows and the unit of order and progress. A
reader cuts its split into blocks, the unit of work: `read` is called under the split's lock and
should do little more than fetch bytes, `decode` is pure and runs on any worker, several blocks at
once. Decoding block n gives the same rows whoever does it.

A complete source of 20 lines::

    class Count(Source):
        def __init__(self, upto: int) -> None:
            self.upto = upto

        def schema(self) -> pa.Schema:
            return pa.schema({"n": pa.int64()})

        def splits(self) -> list[Split]:
            return [Split("count")]

        def open(self, split: Split, position: object = None) -> SplitReader:
            return CountReader(self.upto, int(position or 0))

    class CountReader(SplitReader):
        def __init__(self, upto: int, start: int) -> None:
            self.upto, self.next = upto, start

        def read(self) -> Block | None:
            if self.next >= self.upto:
                return None
            start, self.next = self.next, min(self.next + 1000, self.upto)
            return Block((start, self.next), position=self.next)

        def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
            yield pa.record_batch({"n": pa.array(range(*block.data))})
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pyarrow as pa

from streamlib.errors import DataError


@dataclass(frozen=True, slots=True)
class Split:
    """One split of a source.

    Attributes:
        name: unique within the source and the same in every run: it is the split's identity.
        detail: whatever the source needs to open it.
    """

    name: str
    detail: Any = None


@dataclass(frozen=True, slots=True)
class Block:
    """A unit of work: what `decode` needs, and where reading goes on after it.

    Attributes:
        data: for `decode` only.
        position: JSON-like value from which `open` continues after this block.
        first_row: number of rows of the split before this block, where that is known.
        first_line: line of the file that the block begins on, from 1, where the format has lines
            and one row takes one line.
        nbytes: size of the undecoded data, for memory limits and progress.
    """

    data: Any
    position: Any = None
    first_row: int | None = None
    first_line: int | None = None
    nbytes: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that could not become a row, as `decode_leniently` hands it out.

    Attributes:
        data: its bytes as they came.
        error: what is wrong with it, naming line, column and value where they are known.
        number: its line in the file, from 1, or its number in the split, from 0; None if neither is known.
    """

    data: bytes
    error: DataError
    number: int | None = None


class Pending(Enum):
    """The answer of a reader that has nothing now but may have something later."""

    PENDING = "pending"


PENDING = Pending.PENDING


class SplitReader(ABC):
    """Reads one split, block after block."""

    @abstractmethod
    def read(self) -> Block | Pending | None:
        """The next block; PENDING when there is nothing now; None at the end of the split."""

    @abstractmethod
    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        """The rows of a block, in order, in the source's schema. Pure: may run on any thread.

        Raises:
            DataError: a row that cannot be decoded, naming its line, column and value.
        """

    def decode_leniently(self, block: Block, refused: list[Refused]) -> Iterator[pa.RecordBatch]:
        """As `decode`, but a record that cannot become a row is appended to `refused` and left out.

        This is what `.on_error("skip")` and `.on_error("dead_letter")` after a source call. Which
        records are refused depends on the block alone. A reader whose records cannot be told apart
        once one is damaged keeps this default, and raises.
        """
        return self.decode(block)

    def peek(self) -> pa.RecordBatch | None:
        """At least the first row of what is still unread, without reading it; None if that is not cheap."""
        return None

    def close(self) -> None:
        """Frees what `open` took. Called once, also after an error."""


Wake = Callable[[str | None], None]
"""Says that the split of this name may have something to read; None: that some split may, or a new one is there."""


class Source(ABC):
    """A log: splits that can be read again from a position.

    A live source also works between the calls: `bind` begins that work and `close` ends it. Where it
    can tell when data has come, workers that have nothing to do sleep until it does; one that cannot
    is asked again every few milliseconds.
    """

    bounded: bool = True
    """Whether every split ends."""
    replayable: bool = True
    """Whether a position can be read from again; if not, output is marked `timing`."""
    grows: bool = False
    """Whether splits may appear while the run is on, so that `new_splits` is asked for them."""

    @abstractmethod
    def schema(self) -> pa.Schema:
        """The columns of every row, known before the first one."""

    @abstractmethod
    def splits(self) -> Sequence[Split]:
        """The splits known now, in the order that decides ties."""

    @abstractmethod
    def open(self, split: Split, position: Any = None) -> SplitReader:
        """A reader at the beginning, or at a `Block.position` of an earlier reader."""

    def bind(self, wake: Wake) -> bool:
        """The run begins: called once, before the first reader is opened.

        Args:
            wake: to be called, from any thread, when a split that answered PENDING has data or has ended,
                and when there is a new split. It may be called for nothing. It must not be called
                under a lock that a reader or `new_splits` takes.

        Returns:
            Whether `wake` will be called. If not, readers are asked again every few milliseconds.

        Raises:
            SourceError: the source cannot begin.
        """
        return False

    def new_splits(self) -> Sequence[Split] | None:
        """The splits that have appeared since the last call, in order; None when no more will come.

        Asked only of a source that `grows`, after `splits` and `bind`, by one thread at a time.
        """
        return None

    def close(self) -> None:
        """The run is over, also after an error: ends what `bind` began. May be called without it."""

    def counters(self) -> dict[str, int]:
        """What the source counts for the report, such as clients that it refused."""
        return {}

    def with_columns(self, columns: Sequence[str]) -> Source:
        """The same source reading only `columns`, in the order of its schema; itself where it cannot.

        Only columns are pushed into a reader, never predicates: a row that is filtered later still
        moves the watermark.
        """
        return self

    def total_bytes(self) -> int | None:
        """The size of the input for progress; None where it is not known."""
        return None

    def describe(self) -> str:
        """A few words for `explain()` and messages, such as ``files ticks/*.csv``."""
        return type(self).__name__
