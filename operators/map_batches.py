"""`map_batches`: a function of the user's on whole batches.

The contract is f(x + y) = f(x) + f(y): the function sees batches cut anywhere, so a row's output
must depend on that row alone. It is tried with an empty batch when the graph is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pyarrow as pa

from streamlib.contracts import Operator, Output
from streamlib.elements import Batch, times_ns
from streamlib.errors import BuildError, Location, StreamlibError, UserFunctionError
from streamlib.graph import BuildContext, Node

BatchFunction = Callable[[pa.RecordBatch], "pa.RecordBatch | pa.Table"]


@dataclass(frozen=True, eq=False, kw_only=True)
class MapBatchesNode(Node):
    """Calls a function for each batch.

    Attributes:
        function: takes a pyarrow.RecordBatch, returns one or a Table, of any number of rows.
        given: the schema it returns; found with an empty batch when None.
    """

    kind: ClassVar[str] = "map_batches"
    function: BatchFunction
    given: pa.Schema | None = None

    def derive_schema(self) -> pa.Schema:
        if not callable(self.function):
            raise BuildError("map_batches needs a function", got=repr(self.function))
        if self.given is not None:
            return self.given
        try:
            result = self.function(_empty(self.inputs[0].schema))
        except Exception as error:
            raise UserFunctionError(
                f"{self.described} fails on an empty batch, which is how its columns are found",
                got=f"{type(error).__name__}: {error}",
                hint="make it work on a batch of no rows, or name the columns with schema=",
            ) from error
        return self._rows(result).schema

    def validate(self) -> None:
        if self.inputs[0].time is not None and self.time is None:
            raise BuildError(
                f"{self.described} drops the event-time column",
                expected=f"a column {self.inputs[0].time!r} in what it returns",
                got=", ".join(self.schema.names),
                hint="return the time column too; drop it after the windows",
            )

    @property
    def described(self) -> str:
        """The function with the line it is defined on."""
        code = getattr(self.function, "__code__", None)
        name = getattr(self.function, "__qualname__", repr(self.function))
        return name if code is None else f"{name} ({Location(code.co_filename, code.co_firstlineno)})"

    def describe(self) -> str:
        return str(getattr(self.function, "__name__", self.function))

    def _rows(self, result: object) -> pa.RecordBatch:
        if isinstance(result, pa.Table):
            batches = result.combine_chunks().to_batches()
            return batches[0] if batches else _empty(result.schema)
        if not isinstance(result, pa.RecordBatch):
            raise UserFunctionError(
                f"{self.described} returned the wrong thing",
                expected="a pyarrow.RecordBatch or Table",
                got="nothing: is a return missing?" if result is None else type(result).__name__,
            )
        return result

    def call(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The function's result, of the node's schema."""
        try:
            result = self._rows(self.function(rows))
        except StreamlibError:
            raise
        except Exception as error:
            raise UserFunctionError(
                f"{self.described} raised {type(error).__name__}", got=str(error) or type(error).__name__
            ) from error
        if result.schema.names != self.schema.names or result.schema.types != self.schema.types:
            raise UserFunctionError(
                f"{self.described} returned other columns than before",
                expected=_columns(self.schema),
                got=_columns(result.schema),
            )
        return result

    def build(self, context: BuildContext) -> Operator:
        return MapBatchesOperator(self, context)


class MapBatchesOperator(Operator):
    """Keeps the hidden columns right although the function does not see them.

    Rows behind their mark are called apart, so that each result has the mark of its row; where the
    event time is no column, so are rows of different times. Where the
    number of rows changes, all results of a batch take the order of its first row: order only has to
    be right between splits and blocks, within them arrival is.
    """

    def __init__(self, node: MapBatchesNode, context: BuildContext) -> None:
        self.node = node
        self.batch_rows = context.batch_rows

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Yields the function's results, cut to the largest batch."""
        for piece in _pieces(batch, self.node.time is not None):
            rows = self.node.call(piece.rows)
            result = self._hidden(piece, rows)
            for offset in range(0, len(result), self.batch_rows):
                yield result if len(result) <= self.batch_rows else result.slice(offset, self.batch_rows)

    def _hidden(self, piece: Batch, rows: pa.RecordBatch) -> Batch:
        count = rows.num_rows
        origin = None if piece.origin is None else piece.origin.thinned(len(piece))
        if piece.time is None:
            return Batch(rows, origin=origin)
        mark = None if piece.mark is None else np.full(count, piece.mark[0], dtype=np.int64)
        orders = piece.slice(0, 1).orders()
        order = None if orders is None else np.full(count, orders[0], dtype=np.int64)
        name = self.node.time
        if name is None:
            return Batch(rows, np.full(count, piece.time[0], dtype=np.int64), mark, order, origin)
        column = rows.column(name)
        if column.null_count:
            raise UserFunctionError(
                f"{self.node.described} returned a null event time", where=f"column {name!r}"
            )
        time = times_ns(column, name)
        if not np.array_equal(time, piece.time) and not np.isin(time, piece.time).all():
            raise UserFunctionError(
                f"{self.node.described} changed the event time {name!r}",
                expected="the times of the rows it was given",
                hint="compute times before event_time, or put the new time into another column",
            )
        return Batch(rows, time, mark, order, origin)


def _pieces(batch: Batch, time_is_column: bool) -> Iterator[Batch]:
    """The batch, cut so that what its rows do not show is one for each piece.

    A row behind its mark stands alone, and other pieces need no mark. Where the time is no column,
    the rows of a piece have one time.
    """
    if batch.time is None:
        yield batch
        return
    behind = batch.time < batch.mark if batch.mark is not None else np.zeros(len(batch), dtype=np.bool_)
    cuts = behind[1:] | behind[:-1]
    if not time_is_column:
        cuts |= batch.time[1:] != batch.time[:-1]
    ends = [*(np.flatnonzero(cuts) + 1).tolist(), len(batch)]
    for begin, end in pairwise([0, *ends]):
        piece = batch.slice(begin, end - begin)
        yield piece if behind[begin] else replace(piece, mark=None)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{f.name} {f.type}" for f in schema)
