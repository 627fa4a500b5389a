"""A source written as a list: rows, and marks for what a live source does between them.

Each split is a list of rows and marks. Blocks are cut at sizes that a seed chooses, since no answer may
depend on them; marks cut blocks too. A reader that is opened at a position goes on after it, with the
marks that follow.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from streamlib.contracts import PENDING, Block, Pending, Source, Split, SplitReader
from streamlib.elements import duration_ns
from streamlib.errors import BuildError, SourceError
from streamlib.testing.manual_clock import ManualClock
from streamlib.testing.tables import rows_to_table


@dataclass(frozen=True, slots=True)
class Pause:
    """The reader has nothing now, `times` times in a row."""

    times: int = 1


@dataclass(frozen=True, slots=True)
class Idle:
    """The reader has nothing until the manual clock has come to `until` ns; None: until all other splits end."""

    until: int | None = None

    def __call__(self, until: str) -> Idle:
        """Silent until the clock shows this time since its start, such as ``IDLE("5s")``."""
        return Idle(duration_ns(until, "until"))


@dataclass(frozen=True, slots=True)
class Crash:
    """Reading fails here, once: a reader that is opened later goes on."""


WATERMARK = Pause(1)
"""What stands before it is worked through, and the watermark that it allows is out, before the rest is read."""
IDLE = Idle()
"""Nothing comes until all other splits have ended; ``IDLE("5s")``: until the manual clock shows 5 s."""
PAUSE = Pause
"""``PAUSE(3)``: the reader has nothing when it is asked, three times."""
CRASH = Crash()
"""Reading fails here once, with a `CrashedError`."""


def ENTER(after: str) -> Idle:  # noqa: N802 - reads like the other marks
    """As the first mark of a split: it has no rows before the manual clock shows this time."""
    return Idle(duration_ns(after, "after"))


class CrashedError(SourceError):
    """The failure that a `CRASH` mark stands for."""


Item: TypeAlias = "pa.RecordBatch | Pause | Idle | Crash"


class ListSource(Source):
    """Splits whose rows are in memory, with marks.

    Args:
        splits: by name, in the order that decides ties: batches of one schema, and marks.
        schema: of all rows.
        seed: chooses where blocks are cut; None: a block per batch.
        block_rows: the largest block.
        clock: for `IDLE` until a time.
        peeks: the names of the splits whose first row can be looked at; all when None.
        hidden: the names of splits that are not known yet.
    """

    def __init__(
        self,
        splits: Mapping[str, Sequence[Item]],
        schema: pa.Schema,
        *,
        seed: int | None = None,
        block_rows: int = 65_536,
        clock: ManualClock | None = None,
        peeks: Sequence[str] | None = None,
        hidden: Sequence[str] = (),
    ) -> None:
        self.items = {name: [i for i in items if not _is_empty(i)] for name, items in splits.items()}
        self.seed, self.block_rows, self.clock = seed, block_rows, clock
        self.peeks = set(splits if peeks is None else peeks)
        self.hidden = set(hidden)
        self.ended: set[str] = set()
        self.crashed: set[tuple[str, int]] = set()
        self._schema = schema

    def schema(self) -> pa.Schema:
        return self._schema

    def splits(self) -> list[Split]:
        return [Split(name) for name in self.items if name not in self.hidden]

    def open(self, split: Split, position: Any = None) -> SplitReader:
        return ListReader(self, split.name, position)

    def rebuilt(self, splits: Mapping[str, Sequence[Item]], seed: int | None, block_rows: int) -> ListSource:
        """The same source with other items and other cuts: what `check` plays again."""
        return ListSource(splits, self._schema, seed=seed, block_rows=block_rows, clock=self.clock)

    def describe(self) -> str:
        return f"list of {len(self.items)} splits"


class ListReader(SplitReader):
    """Walks the items of one split. The position is [item, rows of it that are read]."""

    def __init__(self, source: ListSource, name: str, position: Any) -> None:
        self.source, self.name = source, name
        self.items = source.items[name]
        self.index, self.offset = (0, 0) if position is None else (int(position[0]), int(position[1]))
        self.paused = 0
        self.random = None if source.seed is None else random.Random(f"{source.seed}/{name}/{position}")
        self.rows = sum(i.num_rows for i in self.items[: self.index] if isinstance(i, pa.RecordBatch))
        self.rows += self.offset

    def read(self) -> Block | Pending | None:
        while self.index < len(self.items):
            item = self.items[self.index]
            if isinstance(item, pa.RecordBatch):
                return self._block(item)
            if self._waits(item):
                return PENDING
            self.index, self.paused = self.index + 1, 0
        self.source.ended.add(self.name)
        return None

    def _waits(self, item: Pause | Idle | Crash) -> bool:
        if isinstance(item, Pause):
            self.paused += 1
            return self.paused <= item.times
        if isinstance(item, Crash):
            if (self.name, self.index) not in self.source.crashed:
                self.source.crashed.add((self.name, self.index))
                raise CrashedError(
                    f"the CRASH mark of split {self.name!r} was read", where=f"item {self.index}"
                )
            return False
        if item.until is None:
            return bool(set(self.source.items) - self.source.ended - {self.name})
        clock = self.source.clock
        if clock is None:
            raise BuildError(
                "an IDLE mark with a time needs a clock", hint="t.source(..., clock=t.ManualClock())"
            )
        clock.wait_until(item.until)
        return clock() < item.until

    def _block(self, item: pa.RecordBatch) -> Block:
        left = item.num_rows - self.offset
        most = min(left, self.source.block_rows)
        count = most if self.random is None else self.random.randint(1, most)
        cut = count if self.random is None else self.random.randint(0, count)
        rows, first = item.slice(self.offset, count), self.rows
        self.rows += count
        self.offset += count
        if self.offset == item.num_rows:
            self.index, self.offset = self.index + 1, 0
        return Block((rows, cut), [self.index, self.offset], first, nbytes=rows.nbytes)

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        rows, cut = block.data
        for part in (rows.slice(0, cut), rows.slice(cut)):
            if part.num_rows:
                yield part

    def peek(self) -> pa.RecordBatch | None:
        if self.name not in self.source.peeks or self.index == len(self.items):
            return None
        item = self.items[self.index]
        return item.slice(self.offset) if isinstance(item, pa.RecordBatch) else None


def source(
    *lists: Sequence[Any],
    schema: pa.Schema | Mapping[str, Any] | None = None,
    seed: int | None = None,
    block_rows: int = 65_536,
    clock: Callable[[], int] | None = None,
    **named: Sequence[Any],
) -> ListSource:
    """A source of one or more splits, each a list of rows and marks.

    Args:
        lists: splits, named ``split 0`` and so on. A row is a dict, or a tuple in the order of `schema`.
        schema: column types; found from the rows when None.
        seed: cuts blocks at sizes it chooses; None: between marks only.
        block_rows: the largest block.
        clock: a `ManualClock`, for `IDLE` until a time.
        named: more splits, by name.

    Marks are `WATERMARK`, `PAUSE(n)`, `IDLE`, `IDLE("5s")`, `ENTER(after="5s")` and `CRASH`.

    Raises:
        BuildError: a row that is neither, or no rows and no schema.

    >>> import streamlib as sl
    >>> rows = source([{"n": 1}, PAUSE(2), {"n": 2}], [{"n": 3}])
    >>> sorted(sl.read(rows).collect()["n"].to_pylist())
    [1, 2, 3]
    """
    splits = {**{f"split {i}": items for i, items in enumerate(lists)}, **named}
    every = [
        item for items in splits.values() for item in items if not isinstance(item, Pause | Idle | Crash)
    ]
    found = rows_to_table(every, schema)
    if not found.num_columns:
        raise BuildError("a source needs rows or a schema", got="neither")
    assert clock is None or isinstance(clock, ManualClock), "marks wait for a ManualClock"
    made: dict[str, list[Item]] = {}
    row = 0
    for name, items in splits.items():
        mine: list[Item] = []
        begin = row
        for item in [*items, None]:
            if item is None or isinstance(item, Pause | Idle | Crash):
                if row > begin:
                    mine.append(found.slice(begin, row - begin).combine_chunks().to_batches()[0])
                if item is not None:
                    mine.append(item)
                begin = row
            else:
                row += 1
        made[name] = mine
    return ListSource(made, found.schema, seed=seed, block_rows=block_rows, clock=clock)


def _is_empty(item: Item) -> bool:
    return isinstance(item, pa.RecordBatch) and item.num_rows == 0
