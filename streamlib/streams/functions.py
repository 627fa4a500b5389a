"""The verbs that call functions of the user's; `Stream` inherits them.

What each means stands on its node, in `streamlib.operators`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamlib.elements import duration_ns
from streamlib.errors import Retry, StreamlibError, user_location
from streamlib.graph import Node

if TYPE_CHECKING:
    from streamlib.streams.readers import SchemaLike
    from streamlib.streams.stream import Stream


class FunctionVerbs:
    """Rows that become what a function makes of them."""

    _node: Node

    def map(self, function: Callable[..., Any], schema: SchemaLike | None = None) -> Stream:
        """Calls `function` for each row; what it returns is the row that takes its place.

        The function's parameters are columns, by name. A function of one parameter that is no column,
        or is annotated as a dict or a dataclass, is given the whole row: a dict, or an instance of that
        dataclass.

        It returns a dict, a dataclass, a NamedTuple, or a tuple in the order of the schema. A row keeps
        its event time; the column may be left out, and where it is returned it must be as it came.

        Args:
            function: of one row; or a class, of which each worker builds one object and calls it.
            schema: the columns it returns: a `pyarrow.Schema`, a dict or a dataclass. By the
                annotation of what it returns when None.

        Raises:
            BuildError: a parameter is no column, or nothing says what it returns.
            UserFunctionError: while running: it raised, or returned what does not fit the schema. The
                message names the function with its line, the row, and where that was read.

        >>> import pyarrow as pa, streamlib as sl
        >>> def turnover(price, volume, fee=0.5):
        ...     return {"turnover": price * volume - fee}
        >>> rows = sl.read_arrow(pa.table({"price": [2.0, 3.0], "volume": [5, 1]}))
        >>> rows.map(turnover, schema={"turnover": float}).collect().to_pydict()
        {'turnover': [9.5, 2.5]}
        """
        return self._called_by_row("map", function, schema, flat=False)

    def flat_map(self, function: Callable[..., Any], schema: SchemaLike | None = None) -> Stream:
        """Calls `function` for each row; it returns any number of rows, or None for none.

        What it is given is that of `map`. It returns a list or another iterable, or yields; each item is
        a row as `map` takes it. The rows stand where their row stood, in the order in which they came.

        Args:
            function: of one row; or a class, of which each worker builds one object and calls it.
            schema: the columns of the rows it returns, as for `map`. By the annotation when None, such
                as ``list[Trade]`` or ``Iterator[Trade]``.

        Raises:
            BuildError: a parameter is no column, or nothing says what it returns.
            UserFunctionError: while running, as for `map`.

        >>> import pyarrow as pa, streamlib as sl
        >>> def words(line):
        ...     for word in line.split():
        ...         yield {"word": word, "length": len(word)}
        >>> lines = sl.read_arrow(pa.table({"line": ["to be", "", "or not"]}))
        >>> lines.flat_map(words, schema={"word": str, "length": int}).collect()["word"].to_pylist()
        ['to', 'be', 'or', 'not']
        """
        return self._called_by_row("flat_map", function, schema, flat=True)

    def map_async(
        self,
        function: Callable[..., Any],
        concurrency: int = 100,
        *,
        ordered: bool = True,
        timeout: str | dt.timedelta | None = "30s",
        retry: Retry | None = None,
        schema: SchemaLike | None = None,
    ) -> Stream:
        """Calls an `async` function for many rows at a time: for a service that has to be asked.

        What the function is given and returns is that of `map`. The calls run on an event loop beside
        each worker, so that rows go on while others wait for their answer. A row keeps its event time,
        and the watermark waits for the rows under way. At the end of the input, at a stop and at a
        checkpoint they are waited for; where a run fails or is called off they are cancelled.

        A class is built once by each worker, on its event loop: there it is given ``open()`` before its
        first call and ``close()`` at the end, which may be `async` too, such as for a session.

        Args:
            function: of one row, with ``async def``; or a class whose ``__call__`` has it.
            concurrency: for how many rows each worker calls at a time, 1 to 100,000.
            ordered: rows come out in their order; else each as soon as its answer has come.
            timeout: of each call; None for none.
            retry: a call that raised or took too long is made again, after a wait in which the other
                calls go on. None: as ``.on_error(..., retry=)`` says.
            schema: the columns it returns, as for `map`.

        Raises:
            BuildError: as `map`; the function is not `async`; or `event_time` comes behind this step.
            UserFunctionError: while running, as for `map`, or after `timeout`; ``.on_error`` says what else
                becomes of such a row.

        >>> import pyarrow as pa, streamlib as sl
        >>> async def rated(currency: str, amount: float):
        ...     rate = {"EUR": 1.25, "USD": 1.0}[currency]  # await session.get(...)
        ...     return {"currency": currency, "usd": amount * rate}
        >>> rows = sl.read_arrow(pa.table({"currency": ["EUR", "USD"], "amount": [2.0, 3.0]}))
        >>> rows.map_async(rated, schema={"currency": str, "usd": float}).collect().to_pydict()
        {'currency': ['EUR', 'USD'], 'usd': [2.5, 3.0]}
        """
        from streamlib.operators.functions.annotations import names_of_the_caller
        from streamlib.operators.functions.callee import callee_of
        from streamlib.operators.functions.declared import row_schema
        from streamlib.operators.functions.row_arguments import row_arguments
        from streamlib.operators.map_async.node import MapAsyncNode, MapAsyncUnorderedNode
        from streamlib.streams.stream import Stream

        with _In("map_async"):
            local = names_of_the_caller()
            callee = callee_of(function, "map_async", local, is_async=True)
            arguments = row_arguments(callee, "map_async", self._node.schema, local)
            given = row_schema(callee, "map_async", schema, False, local)
            limit = None if timeout is None else duration_ns(timeout, "timeout")
        kind = MapAsyncNode if ordered else MapAsyncUnorderedNode
        return Stream(
            kind(
                inputs=(self._node,),
                at=user_location(),
                callee=callee,
                arguments=arguments,
                given=given,
                concurrency=concurrency,
                timeout=limit,
                retry=retry,
            )
        )

    def _called_by_row(
        self, verb: str, function: Callable[..., Any], schema: SchemaLike | None, flat: bool
    ) -> Stream:
        from streamlib.operators.functions.annotations import names_of_the_caller
        from streamlib.operators.functions.callee import callee_of
        from streamlib.operators.functions.declared import row_schema
        from streamlib.operators.functions.row_arguments import row_arguments
        from streamlib.operators.map_rows import MapRowsNode
        from streamlib.streams.stream import Stream

        with _In(verb):
            local = names_of_the_caller()
            callee = callee_of(function, verb, local)
            arguments = row_arguments(callee, verb, self._node.schema, local)
            given = row_schema(callee, verb, schema, flat, local)
        return Stream(
            MapRowsNode(
                inputs=(self._node,),
                at=user_location(),
                callee=callee,
                arguments=arguments,
                given=given,
                flat=flat,
            )
        )

    def map_batches(self, function: Callable[..., Any], schema: SchemaLike | None = None) -> Stream:
        """Calls `function` with each batch of rows; it returns any number of rows.

        The annotation of its parameter says what it is given: ``pyarrow.RecordBatch`` (also without one),
        ``pyarrow.Table``, ``polars.DataFrame``, ``pandas.DataFrame`` or ``dict[str, numpy.ndarray]``. It may
        return any of these, or anything else that hands out Arrow data.

        Batches are cut anywhere, so what becomes of a row must depend on that row alone:
        f(x + y) = f(x) + f(y). `streamlib.testing.check` finds functions that see the cut.

        Args:
            function: of a batch; or a class, of which each worker builds one object without arguments,
                calls it, and closes it at the end where it has a method ``close``.
                `functools.partial(Class, ...)` hands arguments over. An object that is there already is
                shared by all workers.
            schema: the columns it returns: a `pyarrow.Schema`, a dict or a dataclass. When None by the
                annotation of what it returns, where that is a dataclass; else found by calling it with a
                batch of no rows.

        Raises:
            BuildError: it cannot be called with a batch, or needs a library that is not installed.
            UserFunctionError: it raised, or returned something else than announced; the message names
                it with its line.

        >>> import numpy as np, pyarrow as pa, streamlib as sl
        >>> def scaled(batch: dict[str, np.ndarray]):
        ...     return {**batch, "price": batch["price"] * 100}
        >>> rows = sl.read_arrow(pa.table({"price": [2.0, None], "volume": [5, 1]}))
        >>> rows.map_batches(scaled).collect().to_pydict()
        {'price': [200.0, None], 'volume': [5, 1]}
        """
        from streamlib.operators.functions.annotations import names_of_the_caller
        from streamlib.operators.functions.batch_forms import form_of
        from streamlib.operators.functions.callee import callee_of
        from streamlib.operators.functions.declared import batch_schema
        from streamlib.operators.map_batches import MapBatchesNode
        from streamlib.streams.stream import Stream

        with _In("map_batches"):
            local = names_of_the_caller()
            callee = callee_of(function, "map_batches", local)
            form, given = form_of(callee), batch_schema(callee, schema, local)
        return Stream(
            MapBatchesNode(inputs=(self._node,), at=user_location(), callee=callee, form=form, given=given)
        )


class _In:
    """Names the verb in errors that are raised before there is a node."""

    def __init__(self, verb: str) -> None:
        self.verb = verb

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StreamlibError):
            error.in_step(self.verb, user_location())
