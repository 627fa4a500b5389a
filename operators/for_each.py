"""`for_each` and `for_each_batch`: a function of the user's, called for what it does outside.

They are sinks that write by a call. What a call has done stays done: nothing of it is staged, and a run that is
repeated after a crash calls again for rows that it reads again. So the guarantee is at least once, and the
function has to bear a row twice.

Within one run a row is handed over once, in the order in which rows come to its worker: where the policy of the
step cuts a batch because a row fails, the calls before it are not made again. Only the call that failed is, as
often as `Retry` says; and of a function of batches calls with parts of the batch, to find the row.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import pyarrow as pa

from streamlib.contracts import Operator, Sink, SinkWriter
from streamlib.elements import Batch
from streamlib.errors import BuildError, StreamlibError, UserFunctionError
from streamlib.graph import BuildContext, SinkNode
from streamlib.graph.node import SinkOperator
from streamlib.operators.functions.batch_forms import Form, given_as
from streamlib.operators.functions.brief import brief_row
from streamlib.operators.functions.callee import Callee, Made
from streamlib.operators.functions.row_arguments import RowArguments


class CalledSink(Sink):
    """What the run knows of a function as a sink: a name, and a guarantee. The step's operator calls it.

    Args:
        verb: ``for_each`` or ``for_each_batch``.
        callee: the function.
    """

    guarantee = "at_least_once"

    def __init__(self, verb: str, callee: Callee) -> None:
        self._described = f"{verb} {callee.short}"

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        return _NoWriter()

    def describe(self) -> str:
        return self._described


class _NoWriter(SinkWriter):
    """There is nothing to stage."""

    def write(self, rows: pa.RecordBatch) -> None:
        raise AssertionError("the operator calls the function")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class ForEachNode(SinkNode):
    """Calls a function for each row, or for each batch.

    Attributes:
        callee: the function, or the class that each worker builds one object of.
        arguments: what a function of rows is given; None for a function of batches.
        form: what a function of batches is given.
    """

    kind: ClassVar[str] = "for_each"
    refuses = "rows"
    callee: Callee
    arguments: RowArguments | None = None
    form: Form = Form.BATCH

    def validate(self) -> None:
        code = self.callee.code
        if inspect.isgeneratorfunction(code):
            raise BuildError(
                f"{self.callee.described} yields, and a call of it would do nothing",
                expected="a function that does its work when it is called",
                hint="flat_map(...) makes rows of what a function yields",
            )

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        columns = None if self.arguments is None else self.arguments.columns
        return [None if columns is None else frozenset(columns)]

    def build(self, context: BuildContext) -> Operator:
        return (
            ForEachOperator(self, context) if self.arguments is not None else ForBatchOperator(self, context)
        )


class Opened(Made):
    """The function of one worker; an object that was built is opened, where it has a method `open`."""

    def function(self) -> Callable[..., Any]:
        """What to call."""
        if self._made is not None:
            return self._made
        made = super().function()
        opens = getattr(made, "open", None) if self.callee.is_built else None
        if opens is not None:
            try:
                opens()
            except Exception as error:
                raise UserFunctionError(
                    f"open() of {self.callee.described} raised {type(error).__name__}",
                    got=str(error) or type(error).__name__,
                ) from error
        return made


class CallingOperator(SinkOperator):
    """What both share: an object is built by the thread that calls it, and closed at the end."""

    def __init__(self, node: ForEachNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self.node = node
        self.made = Opened(node.callee)

    def on_end(self) -> Sequence[Batch]:
        """The input has ended: an object that was built is closed by the thread that called it."""
        self.made.close()
        return ()

    def close(self) -> None:
        """Closes what was built, where the run ended before the input."""
        self.made.close()


class ForEachOperator(CallingOperator):
    """Calls the function row by row.

    Attributes:
        done: how many of the next rows it was called for already, before a row behind them failed: parts of
            that batch, or all of it, come again.
    """

    def __init__(self, node: ForEachNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self.done = 0

    def on_batch(self, batch: Batch, side: int = 0) -> Sequence[Batch]:
        """Raises for the first row that fails, with its index as `row`."""
        arguments = self.node.arguments
        assert arguments is not None
        row = min(self.done, len(batch))
        self.done -= row
        call = arguments.bound(self.made.function(), arguments.names(batch.rows))
        try:
            for values in islice(arguments.of(batch.rows), row, None):
                call(*values)
                row += 1
        except Exception as error:
            self.done = row
            raise self._failed(batch, arguments, row, error) from error
        return ()

    def _failed(self, batch: Batch, arguments: RowArguments, row: int, error: Exception) -> UserFunctionError:
        hint = None
        if arguments.guessed is not None:
            hint = f"{arguments.guessed!r} is no column, so it is the whole row, as a dict"
        given = brief_row(arguments.row(batch.rows, row))
        found = UserFunctionError(
            self.node.callee.raised(error),
            where=f"row {row} of the batch",
            got=f"{str(error) or type(error).__name__}, for {given}",
            hint=hint,
        )
        found.row = row
        return found


class ForBatchOperator(CallingOperator):
    """Calls the function with whole batches."""

    def __init__(self, node: ForEachNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self.given_as = given_as(node.form)

    def on_batch(self, batch: Batch, side: int = 0) -> Sequence[Batch]:
        """Raises where the function does."""
        function = self.made.function()
        try:
            function(self.given_as(batch.rows))
        except StreamlibError:
            raise
        except Exception as error:
            problem = self.node.callee.raised(error)
            raise UserFunctionError(problem, got=str(error) or type(error).__name__) from error
        return ()
