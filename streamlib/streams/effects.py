"""Functions that are called for what they do outside: verbs of `Stream` that end it.

What they mean stands on their node, in `streamlib.operators.for_each`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamlib.errors import ErrorPolicy, OnError, Retry, StreamlibError, user_location
from streamlib.graph import Node

if TYPE_CHECKING:
    from streamlib.operators.for_each import ForEachNode


class EffectVerbs:
    """`for_each` and `for_each_batch`."""

    _node: Node

    def for_each(
        self,
        function: Callable[..., Any],
        *,
        on_error: ErrorPolicy | None = None,
        retry: Retry | None = None,
    ) -> ForEachNode:
        """Calls `function` for each row, for what it does: a sink, to be passed to `sl.run`.

        Its parameters are those of `Stream.map`: columns by name, or one for the whole row. What it returns
        is not looked at. Rows of a worker come in their order; with `workers=` above 1 several threads call
        at the same time.

        The guarantee is at least once: a run that is repeated after a crash calls again for rows that it
        reads again. Within a run each row is handed over once, and only a call that raised is repeated.

        Args:
            function: of one row; or a class, of which each worker builds one object and calls it. `open`
                is called before the first row and `close` at the end, where it has these methods, all by
                the thread that calls.
            on_error: what becomes of rows for which it raises: ``"fail"`` ends the run, ``"skip"`` counts
                them, ``"dead_letter"`` writes them where ``sl.run(..., dead_letters=...)`` says. None: as
                the run says.
            retry: how often and when a call that raised is repeated before that.

        Raises:
            BuildError: a parameter is no column, or the function yields.
            UserFunctionError: while running: it raised. The message names the function with its line, the
                row, and where that was read.

        >>> import pyarrow as pa, streamlib as sl
        >>> def alert(symbol, price):
        ...     print(f"{symbol} at {price}")
        >>> rows = sl.read_arrow(pa.table({"symbol": ["A", "B"], "price": [2.0, 3.5]}))
        >>> report = sl.run(rows.filter(sl.col("price") > 3).for_each(alert), progress=False)
        B at 3.5
        """
        from streamlib.operators.for_each import CalledSink, ForEachNode
        from streamlib.operators.functions.annotations import names_of_the_caller
        from streamlib.operators.functions.callee import callee_of
        from streamlib.operators.functions.row_arguments import row_arguments

        at = user_location()
        try:
            local = names_of_the_caller()
            callee = callee_of(function, "for_each", local)
            arguments = row_arguments(callee, "for_each", self._node.schema, local)
            policy = _policy(on_error, retry)
        except StreamlibError as error:
            raise error.in_step("for_each", at) from None
        sink = CalledSink("for_each", callee)
        node = ForEachNode(
            inputs=(self._node,), at=at, sink=sink, callee=callee, arguments=arguments, on_error=policy
        )
        return _remembered(node)

    def for_each_batch(
        self,
        function: Callable[..., Any],
        *,
        on_error: ErrorPolicy | None = None,
        retry: Retry | None = None,
    ) -> ForEachNode:
        """Calls `function` with each batch of rows, for what it does: a sink, to be passed to `sl.run`.

        The annotation of its parameter says what it is given, as for `Stream.map_batches`. What it returns
        is not looked at. Batches are cut anywhere: how many rows come together means nothing.

        The guarantee is at least once, as for `for_each`. Where it raises and `on_error` is not ``"fail"``,
        it is called again with parts of the batch until the rows that fail are alone.

        Args:
            function: of a batch; or a class, see `for_each`.
            on_error: what becomes of rows for which it raises; see `for_each`.
            retry: how often and when it is called again with the same batch before that.

        Raises:
            BuildError: it cannot be called with a batch, it yields, or needs a library that is not installed.
            UserFunctionError: while running: it raised.

        >>> import pyarrow as pa, streamlib as sl
        >>> kept = []
        >>> def keep(batch: pa.RecordBatch):
        ...     kept.append(batch.num_rows)
        >>> report = sl.run(sl.read_arrow(pa.table({"n": range(5)})).for_each_batch(keep), progress=False)
        >>> sum(kept)
        5
        """
        from streamlib.operators.for_each import CalledSink, ForEachNode
        from streamlib.operators.functions.annotations import names_of_the_caller
        from streamlib.operators.functions.batch_forms import form_of
        from streamlib.operators.functions.callee import callee_of

        at = user_location()
        try:
            callee = callee_of(function, "for_each_batch", names_of_the_caller())
            form = form_of(callee)
            policy = _policy(on_error, retry)
        except StreamlibError as error:
            raise error.in_step("for_each_batch", at) from None
        sink = CalledSink("for_each_batch", callee)
        node = ForEachNode(inputs=(self._node,), at=at, sink=sink, callee=callee, form=form, on_error=policy)
        return _remembered(node)


def _policy(on_error: ErrorPolicy | None, retry: Retry | None) -> OnError | None:
    if on_error is None and retry is None:
        return None
    return OnError("fail" if on_error is None else on_error, retry)


def _remembered(node: ForEachNode) -> ForEachNode:
    from streamlib.graph.never_run import remember

    remember(node)
    return node
