"""`map` and `flat_map`: a function of the user's, called once for each row.

The rows that come of one input row keep its time, its mark and its order, exactly: they are taken by
its index. Several rows of one input row come in the order in which the function gave them. Values are
turned into Python's column by column before the calls, and back behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Operator, Output
from streamlib.elements import Batch, times_ns
from streamlib.errors import UserFunctionError
from streamlib.graph import BuildContext, Node
from streamlib.operators.functions.arrays import Misfit
from streamlib.operators.functions.brief import brief, brief_row
from streamlib.operators.functions.callee import Callee, Made
from streamlib.operators.functions.event_times import keeps_time
from streamlib.operators.functions.layers import layers
from streamlib.operators.functions.row_arguments import RowArguments
from streamlib.operators.functions.row_results import RowResults, several

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class MapRowsNode(Node):
    """Calls a function for each row.

    Attributes:
        callee: the function.
        arguments: what it is given.
        given: the schema of what it returns.
        flat: whether it returns any number of rows for each.
    """

    kind: ClassVar[str] = "map"
    refuses: ClassVar[Literal["never", "rows", "checked"]] = "rows"
    callee: Callee
    arguments: RowArguments
    given: pa.Schema
    flat: bool = False

    @property
    def blurs_order(self) -> bool:  # type: ignore[override]
        """Whether several rows can stem from one."""
        return self.flat

    @property
    def label(self) -> str:
        return self.name or ("flat_map" if self.flat else "map")

    def derive_schema(self) -> pa.Schema:
        return self.given

    def validate(self) -> None:
        keeps_time(self, self.callee.described, may_go=True)

    def describe(self) -> str:
        return self.callee.short

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        columns = self.arguments.columns
        return [None if columns is None else frozenset(columns)]

    def build(self, context: BuildContext) -> Operator:
        return MapRowsOperator(self, context)


class MapRowsOperator(Operator):
    """Calls the function row by row, and makes columns of so many results as fit a batch."""

    def __init__(self, node: MapRowsNode, context: BuildContext) -> None:
        self.node = node
        self.batch_rows = context.batch_rows
        self.exact = context.needs_order
        self.results = RowResults(node.schema)
        self.made = Made(node.callee)

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Yields the function's rows. Raises for the first row that fails, with its index as `row`."""
        return self._flat(batch) if self.node.flat else self._mapped(batch)

    def _mapped(self, batch: Batch) -> Iterator[Output]:
        call, calls = self._calls(batch)
        made: list[Any] = []
        failed: Exception | None = None
        try:
            for values in calls:
                made.append(call(*values))  # noqa: PERF401 - where one call fails, it counts how many did not
        except Exception as error:
            failed = error
        rows = self._rows(batch, made, None)
        if failed is not None:
            self._fail(batch, len(made), failed)
        yield batch.with_rows(rows)

    def _flat(self, batch: Batch) -> Iterator[Output]:
        calls = _Calls(*self._calls(batch), self.results.names)
        results = iter(calls)
        count = self.batch_rows
        while count == self.batch_rows:
            made: list[Any] = []
            parents: list[int] = []
            failed: Exception | None = None
            try:
                for result in islice(results, self.batch_rows):
                    made.append(result)
                    parents.append(calls.row)
            except Exception as error:
                failed = error
            count = len(made)
            stems = np.array(parents, dtype=np.int64)
            rows = self._rows(batch, made, stems)
            if failed is not None:
                self._fail(batch, calls.row, failed)
            if count:
                made_rows = _descended(batch, stems, rows)
                yield from layers(made_rows) if self.exact else (made_rows,)

    def _calls(self, batch: Batch) -> tuple[Callable[..., Any], Iterator[tuple[Any, ...]]]:
        arguments = self.node.arguments
        call = arguments.bound(self.made.function(), arguments.names(batch.rows))
        return call, arguments.of(batch.rows)

    def _rows(self, batch: Batch, made: list[Any], stems: Int64s | None) -> pa.RecordBatch:
        """The results as columns; result i stems from row stems[i] of the batch, or from row i."""
        try:
            rows = self.results.batch(made)
            self._refuse_moved(batch, rows, stems)
        except Misfit as error:
            if error.index:
                self._rows(batch, made[: error.index], stems)  # an earlier one may have another fault
            self._fail(batch, error.index if stems is None else int(stems[error.index]), error)
        return rows

    def _refuse_moved(self, batch: Batch, rows: pa.RecordBatch, stems: Int64s | None) -> None:
        """Raises where a row's event time is not that of the row it stems from."""
        name = self.node.time
        if name is None or batch.time is None:
            return
        column = rows.column(name)
        expected = f"the time of the row it was given, in column {name!r}"
        if column.null_count:
            first = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise Misfit(first, expected, "None", "returned no event time")
        stemmed = batch.time[: len(column)] if stems is None else batch.time[stems[: len(column)]]
        moved = np.flatnonzero(times_ns(column, name) != stemmed)
        if len(moved):
            first = int(moved[0])
            hint = "compute times before event_time, or put the new time into another column"
            raise Misfit(first, expected, brief(column[first].as_py()), "changed the event time", hint)

    def _fail(self, batch: Batch, row: int, error: Exception) -> NoReturn:
        """Raises the error of one row of the batch."""
        arguments = self.node.arguments
        callee = self.node.callee
        problem, expected, got, hint = callee.raised(error), None, str(error), None
        if isinstance(error, Misfit):
            problem = f"{callee.described} {error.problem or 'failed'}"
            expected, got, hint = error.expected, error.got, error.hint
        elif arguments.guessed is not None:
            hint = f"{arguments.guessed!r} is no column, so it is the whole row, as a dict"
        given = brief_row(arguments.row(batch.rows, row))
        found = UserFunctionError(
            problem,
            where=f"row {row} of the batch",
            expected=expected,
            got=f"{got or type(error).__name__}, for {given}",
            hint=hint,
        )
        found.row = row
        raise found from error

    def on_end(self) -> Iterable[Output]:
        """The input has ended: an object that was built is closed by the thread that called it."""
        self.made.close()
        return ()

    def close(self) -> None:
        """Closes what was built, where the run ended before the input."""
        self.made.close()


class _Calls:
    """All rows that a flat_map function returns for a batch, in order.

    Attributes:
        row: the row it was called for last.
    """

    def __init__(
        self, call: Callable[..., Any], arguments: Iterator[tuple[Any, ...]], names: list[str]
    ) -> None:
        self.call, self.arguments, self.names = call, arguments, names
        self.row = -1

    def __iter__(self) -> Iterator[Any]:
        while True:
            self.row += 1
            values = next(self.arguments, None)
            if values is None:
                return
            result = self.call(*values)
            yield from result if type(result) is list else several(result, self.names)


def _descended(batch: Batch, stems: Int64s, rows: pa.RecordBatch) -> Batch:
    """Rows with the hidden columns of the rows they stem from."""
    orders = batch.order
    return Batch(
        rows,
        None if batch.time is None else batch.time[stems],
        None if batch.mark is None else batch.mark[stems],
        orders + stems if isinstance(orders, int) else None if orders is None else orders[stems],
        None if batch.origin is None else batch.origin.thinned(len(batch)),
    )
