"""`map_batches`: a function of the user's on whole batches.

The contract is f(x + y) = f(x) + f(y): the function sees batches cut anywhere, so a row's output
must depend on that row alone. Where no schema is given, it is tried with an empty batch when the graph
is built.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Operator, Output
from streamlib.elements import Batch, times_ns
from streamlib.errors import StreamlibError, UserFunctionError
from streamlib.graph import BuildContext, Node
from streamlib.operators.functions.batch_forms import Form, given_as
from streamlib.operators.functions.batch_results import fitted, rows_of
from streamlib.operators.functions.callee import Callee, Made
from streamlib.operators.functions.event_times import keeps_time
from streamlib.operators.functions.layers import layers
from streamlib.operators.functions.tried import tried


@dataclass(frozen=True, eq=False, kw_only=True)
class MapBatchesNode(Node):
    """Calls a function for each batch.

    Attributes:
        callee: the function, or the class that each worker builds one object of.
        form: what it is given.
        given: the schema it returns; found with an empty batch when None.
    """

    kind: ClassVar[str] = "map_batches"
    refuses = "rows"
    blurs_order: ClassVar[bool] = True
    callee: Callee
    form: Form = Form.BATCH
    given: pa.Schema | None = None

    def derive_schema(self) -> pa.Schema:
        if self.given is not None:
            return self.given
        return tried(self.callee, self.form, self.inputs[0].schema, lambda call, empty: call(empty))

    def validate(self) -> None:
        keeps_time(self, self.callee.described)

    def describe(self) -> str:
        return self.callee.short

    def build(self, context: BuildContext) -> Operator:
        return MapBatchesOperator(self, context)


class MapBatchesOperator(Operator):
    """Keeps the hidden columns right although the function does not see them.

    Rows behind their mark are called apart, so that each result has the mark of its row; where the
    event time is no column, so are rows of different times. All results of a batch take the order of its
    first row: order only has to be right between splits and blocks, within them arrival is.

    Where they meet other rows that stem from the same ones, arrival depends on the cut into batches. There
    a call has no two rows of one time, so that a result's time tells which row it stems from, and its order.
    """

    def __init__(self, node: MapBatchesNode, context: BuildContext) -> None:
        self.node = node
        self.batch_rows = context.batch_rows
        self.exact = context.needs_order
        self.given_as = given_as(node.form)
        self.made = Made(node.callee)

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Yields the function's results, cut to the largest batch."""
        for piece in _pieces(batch, self.node.time is not None, self.exact):
            for rows in self._called(piece.rows):
                result = self._hidden(piece, rows)
                for part in layers(result) if self.exact else (result,):
                    for offset in range(0, len(part), self.batch_rows):
                        yield part if len(part) <= self.batch_rows else part.slice(offset, self.batch_rows)

    def _called(self, rows: pa.RecordBatch) -> Sequence[pa.RecordBatch]:
        """The function's result, of the node's schema."""
        described = self.node.callee.described
        function = self.made.function()
        try:
            result = function(self.given_as(rows))
        except StreamlibError:
            raise
        except Exception as error:
            problem = self.node.callee.raised(error)
            raise UserFunctionError(problem, got=str(error) or type(error).__name__) from error
        return fitted(rows_of(result, described), self.node.schema, described)

    def _hidden(self, piece: Batch, rows: pa.RecordBatch) -> Batch:
        count = rows.num_rows
        origin = None if piece.origin is None else piece.origin.thinned(len(piece))
        if piece.time is None:
            return Batch(rows, origin=origin)
        mark = None if piece.mark is None else np.full(count, piece.mark[0], dtype=np.int64)
        orders = piece.orders() if self.exact else piece.slice(0, 1).orders()
        order = None if orders is None else np.full(count, orders[0], dtype=np.int64)
        name = self.node.time
        if name is None:
            return Batch(rows, np.full(count, piece.time[0], dtype=np.int64), mark, order, origin)
        column = rows.column(name)
        if column.null_count:
            raise UserFunctionError(
                f"{self.node.callee.described} returned a null event time", where=f"column {name!r}"
            )
        time = times_ns(column, name)
        if not np.array_equal(time, piece.time) and not np.isin(time, piece.time).all():
            raise UserFunctionError(
                f"{self.node.callee.described} changed the event time {name!r}",
                expected="the times of the rows it was given",
                hint="compute times before event_time, or put the new time into another column",
            )
        if orders is not None and len(orders) > 1:
            by_time = np.argsort(piece.time)
            order = orders[by_time][np.searchsorted(piece.time[by_time], time)]
        return Batch(rows, time, mark, order, origin)

    def on_end(self) -> Sequence[Output]:
        """The input has ended: an object that was built is closed by the thread that called it."""
        self.made.close()
        return ()

    def close(self) -> None:
        """Closes what was built, where the run ended before the input."""
        self.made.close()


def _pieces(batch: Batch, time_is_column: bool, exact: bool) -> Iterator[Batch]:
    """The batch, cut so that what its rows do not show is one for each piece.

    A row behind its mark stands alone, and other pieces need no mark. Where the time is no column,
    the rows of a piece have one time. Where `exact`, no two rows of a piece do.
    """
    if batch.time is None:
        yield batch
        return
    behind = batch.time < batch.mark if batch.mark is not None else np.zeros(len(batch), dtype=np.bool_)
    cuts = behind[1:] | behind[:-1]
    if not time_is_column:
        cuts |= batch.time[1:] != batch.time[:-1]
    if exact:
        cuts |= _repeated(batch.time, cuts)
    ends = [*(np.flatnonzero(cuts) + 1).tolist(), len(batch)]
    for begin, end in pairwise([0, *ends]):
        piece = batch.slice(begin, end - begin)
        yield piece if behind[begin] else replace(piece, mark=None)


def _repeated(time: npt.NDArray[np.int64], cuts: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Further cuts, behind rows as `cuts` has them, after which no time comes twice between two cuts."""
    by_time = np.argsort(time, kind="stable")
    same = np.flatnonzero(time[by_time[1:]] == time[by_time[:-1]])
    before = np.full(len(time), -1, dtype=np.int64)
    before[by_time[same + 1]] = by_time[same]
    more = np.zeros(len(cuts), dtype=np.bool_)
    begins = np.zeros(len(time), dtype=np.int64)
    begins[1:] = np.where(cuts, np.arange(1, len(time)), 0)
    begins = np.maximum.accumulate(begins)
    begin = 0
    for row in np.flatnonzero(before >= begins).tolist():
        begin = max(begin, int(begins[row]))
        if before[row] >= begin:
            more[row - 1], begin = True, row
    return more
