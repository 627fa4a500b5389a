"""A micro-batch: Arrow rows, and the hidden columns that travel with them.

Hidden columns are int64 arrays of the batch's length. They exist only where a step reads them:
`time` after `event_time`, `mark` when some row of the batch is behind its mark (no other row can
be late for anything), `order` where ties in event time must be decided across splits. Selection,
exchange and copies keep all of them. Rows of equal (time, order) come from one input row: they stay
on one worker until they meet, and arrive in their order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a batch was read: for messages, and for the running maximum of its split.

    Attributes:
        split: the split's index in the run.
        block: the number of the block within the split, from 0.
        name: the split's name, such as a file's path.
        first_row: the position within the split of the batch's first row; None once rows may have
            been dropped before it.
        first_line: the line of the file the first row stands on, where the format has lines.
    """

    split: int
    block: int
    name: str
    first_row: int | None = None
    first_line: int | None = None

    def describe(self, row: int) -> str:
        """Where row `row` of the batch came from, for a message."""
        if self.first_line is not None:
            return f"{self.name}, line {self.first_line + row:,}"
        if self.first_row is not None:
            return f"{self.name}, row {self.first_row + row:,}"
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows of one schema with their hidden columns.

    Attributes:
        rows: the visible columns.
        time: event time of each row, ns since 1970.
        mark: per row, what SEMANTICS 2 calls its mark, ns; None when no row is behind it.
        order: per row, (split, position) packed into one int64.
        origin: where the rows were read, as long as they are still the rows of one block.
    """

    rows: pa.RecordBatch
    time: Int64s | None = None
    mark: Int64s | None = None
    order: Int64s | None = None
    origin: Origin | None = None

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the visible and hidden columns, as channels count them."""
        hidden = sum(c.nbytes for c in (self.time, self.mark, self.order) if c is not None)
        return int(self.rows.nbytes) + hidden

    def with_rows(self, rows: pa.RecordBatch) -> Batch:
        """The same rows in order, with other visible columns."""
        assert rows.num_rows == self.rows.num_rows, "with_rows keeps the rows; use take or filter"
        return Batch(rows, self.time, self.mark, self.order, self.origin)

    def slice(self, offset: int, length: int) -> Batch:
        """Rows [offset, offset + length), without copying."""
        end = offset + length
        origin = self.origin
        if origin is not None and offset:
            origin = Origin(
                origin.split,
                origin.block,
                origin.name,
                None if origin.first_row is None else origin.first_row + offset,
                None if origin.first_line is None else origin.first_line + offset,
            )
        return Batch(
            self.rows.slice(offset, length),
            None if self.time is None else self.time[offset:end],
            None if self.mark is None else self.mark[offset:end],
            None if self.order is None else self.order[offset:end],
            origin,
        )

    def filter(self, keep: npt.NDArray[np.bool_]) -> Batch:
        """The rows where `keep` is true."""
        return self._chosen(self.rows.filter(pa.array(keep)), keep)

    def take(self, indices: Int64s) -> Batch:
        """The rows at `indices`, in that order."""
        return self._chosen(self.rows.take(pa.array(indices)), indices)

    def _chosen(self, rows: pa.RecordBatch, which: npt.NDArray[np.generic]) -> Batch:
        origin = self.origin
        if origin is not None and rows.num_rows != self.rows.num_rows:
            origin = Origin(origin.split, origin.block, origin.name)
        return Batch(
            rows,
            None if self.time is None else self.time[which],
            None if self.mark is None else self.mark[which],
            None if self.order is None else self.order[which],
            origin,
        )
