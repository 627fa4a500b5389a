"""The verbs of a keyed stream that keep state of the user's own; `KeyedStream` inherits them.

What each means stands on its node, in `streamlib.operators`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import Parameter
from typing import TYPE_CHECKING, Any, Literal

from streamlib.elements import duration_ns
from streamlib.errors import BuildError, StreamlibError, user_location
from streamlib.graph import Node
from streamlib.streams.ordered import ttl_options

if TYPE_CHECKING:
    from streamlib.operators.functions.callee import Callee
    from streamlib.operators.functions.row_arguments import RowArguments
    from streamlib.streams.readers import SchemaLike
    from streamlib.streams.stream import KeyedStream
    from streamlib.streams.table import Forever, Table

_BY_PLACE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class StatefulVerbs:
    """Steps that hand the state of a key to a function of the user's."""

    _node: Node

    def scan(
        self,
        step: Callable[..., Any],
        init: Any,
        into: SchemaLike,
        ttl: str | dt.timedelta | Forever | None = None,
        allowed_lateness: str | dt.timedelta = "0s",
        order: Literal["time", "arrival"] = "time",
    ) -> KeyedStream:
        """For each row new columns, made of the row and of the state of its key.

        ``step(state, price, volume)`` is called with the state of the row's key and, by the names of its
        other parameters, with columns of the row; it returns ``(new state, output)``. Where numba can
        compile it the rows are done by compiled code, 10 to 50 times as fast; `explain()` says whether, and
        why not. The results are the same to the last bit.

        Compiled are functions of numbers and bools: arithmetic, comparisons, `if`, tuples, `min`, `max`, `abs`,
        `math.sqrt` and the like, but no loops and no calls of other functions. Its globals are read when the
        graph is built. A row that compiled code would not do exactly as Python (a null, a whole number that
        leaves 64 bits, a division by zero) is given to the function itself.

        Args:
            step: a function; or a class, of which each worker builds one object and calls it. It must
                depend on its arguments alone. It is called once with made-up values when the graph is built.
            init: the state of a key without rows: numbers or tuples of them, to be compiled; else any value
                that a checkpoint can keep (texts, times, lists, dicts, dataclasses and the like).
            into: the new columns: a dict of names and types, a `pyarrow.Schema` or a dataclass. With
                several of them the output is a tuple, in their order. None is a null.
            ttl: a key without rows for longer than this, in event time, begins anew. `sl.FOREVER` keeps
                every key; an input without an end needs one of both.
            allowed_lateness: how much longer rows wait for others that come late.
            order: ``"time"``: rows wait until the watermark has passed them, and come in the order of event
                time. ``"arrival"``: they are taken as they come, and none is late.

        Raises:
            BuildError: a parameter is no column, a name of `into` is taken, or the function is wrong for
                every row.
            UserFunctionError: while running: it raised, or returned what does not fit. The message names it
                with its line, and the row. With ``.on_error("skip")`` such a row is left out, and the state
                of its key stays as it was.

        >>> import pyarrow as pa, streamlib as sl
        >>> def vwap(state, price, volume):
        ...     turnover, total = state[0] + price * volume, state[1] + volume
        ...     return (turnover, total), turnover / total
        >>> rows = pa.table({
        ...     "ts": pa.array([1, 2, 3], pa.timestamp("s")), "k": ["a", "b", "a"],
        ...     "price": [2.0, 5.0, 4.0], "volume": [1, 1, 3],
        ... })
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
        >>> keyed.scan(vwap, init=(0.0, 0), into={"vwap": "float64"}).select("k", "vwap").collect().to_pylist()
        [{'k': 'a', 'vwap': 2.0}, {'k': 'b', 'vwap': 5.0}, {'k': 'a', 'vwap': 3.5}]
        """
        from streamlib.operators.functions.annotations import names_of_the_caller
        from streamlib.operators.functions.declared import declared_schema
        from streamlib.operators.own_state.scan import ScanNode
        from streamlib.operators.own_state.scan_function import require_kept
        from streamlib.operators.own_state.scan_probe import probe
        from streamlib.streams.stream import KeyedStream

        at = user_location()
        try:
            local = names_of_the_caller()
            if order not in ("time", "arrival"):
                raise BuildError("no such order", expected="time, arrival", got=repr(order))
            callee, arguments = _step_of(step, "scan", self._node.schema, local)
            columns = _columns_of(declared_schema(into, local), "scan")
            options = {
                **ttl_options(ttl),
                "allowed_lateness": duration_ns(allowed_lateness, "allowed_lateness"),
            }
            if order == "arrival" and options["allowed_lateness"]:
                raise BuildError(
                    "allowed_lateness= says how long rows wait, and with order='arrival' none does",
                    got=f"allowed_lateness={allowed_lateness!r}",
                )
            require_kept(init)
            probe(callee, arguments, self._node.schema, init, columns)
        except StreamlibError as error:
            raise error.in_step("scan", at) from error.__cause__
        node = ScanNode(
            inputs=(self._node,),
            at=at,
            callee=callee,
            arguments=arguments,
            init=init,
            into=columns,
            order=order,
            **options,
        )
        return KeyedStream(node)

    def stateful_batch(
        self,
        function: Callable[..., Any],
        state: Mapping[str, Any],
        schema: SchemaLike | None = None,
        ttl: str | dt.timedelta | Forever | None = None,
        allowed_lateness: str | dt.timedelta = "0s",
    ) -> KeyedStream:
        """Calls ``function(rows, state, slot)`` for each batch; it returns ``(rows out, new state)``.

        ``rows`` are the rows of several keys, each key's in the order of event time. The annotation of the
        parameter says in which form, as for `map_batches`. ``state`` is a dict of NumPy arrays with one entry
        for each key that the batch has, and row i belongs to the key whose state is ``state[name][slot[i]]``;
        ``slot`` is an int64 array. The arrays are copies: they may be changed and returned.

        Batches are cut anywhere: f(x + y) = f(x) then f(y), so a row's output must depend on that row and on
        those of its key before it. `streamlib.testing.check` finds functions that see the cut.

        Where the rows that it returns have the event-time column, there may be any number of them, at times of
        the rows it was given; without that column there is one for each row, and has its time.

        Args:
            function: of three arguments; or a class, of which each worker builds one object and calls it.
            state: the columns of the state: by name a type, which begins with 0, or the value that it
                begins with: a number, a bool, or a vector of them (then the array has a row for each key).
            schema: the columns it returns: a `pyarrow.Schema`, a dict or a dataclass. When None it is
                called with a batch of no rows to see them.
            ttl: a key without rows for longer than this, in event time, begins anew; see `scan`.
            allowed_lateness: how much longer rows wait for others that come late.

        Raises:
            BuildError: it cannot be called like this.
            UserFunctionError: it raised, or returned what was not announced; the message names it with its
                line. With ``.on_error("skip")`` the batch is halved until the rows that fail are alone.

        >>> import numpy as np, pyarrow as pa, streamlib as sl
        >>> def spend(rows: dict[str, np.ndarray], state, slot):
        ...     np.add.at(state["total"], slot, rows["amount"])
        ...     return {"ts": rows["ts"], "k": rows["k"], "big": rows["amount"] > 5}, state
        >>> rows = pa.table({"ts": pa.array([1, 2], pa.timestamp("s")), "k": ["a", "a"], "amount": [2.0, 7.0]})
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
        >>> schema = {"ts": "timestamp[s]", "k": str, "big": bool}
        >>> keyed.stateful_batch(spend, state={"total": "float64"}, schema=schema).collect()["big"].to_pylist()
        [False, True]
        """
        from streamlib.operators.functions.annotations import names_of_the_caller
        from streamlib.operators.functions.batch_forms import form_of
        from streamlib.operators.functions.callee import callee_of
        from streamlib.operators.functions.declared import batch_schema
        from streamlib.operators.own_state.stateful_batch import StatefulBatchNode
        from streamlib.operators.own_state.stateful_batch_state import initial_state
        from streamlib.streams.stream import KeyedStream

        at = user_location()
        try:
            local = names_of_the_caller()
            callee = callee_of(function, "stateful_batch", local)
            needed = [p for p in callee.parameters if p.kind in _BY_PLACE]
            if len(needed) < 3 or any(p.default is Parameter.empty for p in callee.parameters[3:]):
                raise BuildError(
                    f"{callee.described} cannot be called with rows, state and slots",
                    expected=f"def {callee.short}(rows, state, slot)",
                    got=f"parameters {', '.join(p.name for p in callee.parameters) or '(none)'}",
                )
            form = form_of(replace(callee, parameters=callee.parameters[:1]))
            given = batch_schema(replace(callee, returns=Parameter.empty), schema, local)
            initial = initial_state(state)
            options = {
                **ttl_options(ttl),
                "allowed_lateness": duration_ns(allowed_lateness, "allowed_lateness"),
            }
        except StreamlibError as error:
            raise error.in_step("stateful_batch", at) from error.__cause__
        node = StatefulBatchNode(
            inputs=(self._node,), at=at, callee=callee, form=form, initial=initial, given=given, **options
        )
        return KeyedStream(node)

    def fold(
        self,
        init: Any,
        function: Callable[..., Any],
        into: SchemaLike,
        ttl: str | dt.timedelta | Forever | None = None,
        max_rate: str | dt.timedelta | None = None,
    ) -> Table:
        """A table with one row per key: the state that a function has made of all its rows so far.

        ``function(state, price, volume)`` is called for each row in the order of event time, as that of
        `scan`, and returns the new state. The state is what the table holds: one value for one column of
        `into`, a tuple for several.

        Args:
            init: the state of a key without rows.
            function: a function of the state and of columns by name; compiled where it can be, see `scan`.
            into: the columns of the state: a dict of names and types, a `pyarrow.Schema` or a dataclass.
            ttl: a key without rows for longer than this, in event time, is dropped, and begins anew
                when it comes back. `sl.FOREVER` keeps every key; an input without an end needs one of both.
            max_rate: at most one change per key in each span of this length, in event time.

        Raises:
            BuildError: a parameter is no column, or the function is wrong for every row.
            UserFunctionError: while running, as for `scan`.

        >>> import pyarrow as pa, streamlib as sl
        >>> def longest(state, v):
        ...     run, best = (state[0] + 1 if v > 0 else 0), state[1]
        ...     return run, max(run, best)
        >>> rows = pa.table({"ts": pa.array(range(5), pa.timestamp("s")), "k": ["a"] * 5, "v": [1, 1, -1, 1, 0]})
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
        >>> keyed.fold((0, 0), longest, into={"run": "int64", "best": "int64"}).collect().to_pylist()
        [{'k': 'a', 'run': 0, 'best': 2}]
        """
        from streamlib.operators.functions.annotations import names_of_the_caller
        from streamlib.operators.functions.declared import declared_schema
        from streamlib.operators.own_state.fold import FoldNode
        from streamlib.operators.own_state.scan_function import require_kept
        from streamlib.operators.own_state.scan_probe import probe
        from streamlib.streams.table import Table, table_options

        at = user_location()
        options = table_options(ttl, max_rate, "fold")
        try:
            local = names_of_the_caller()
            callee, arguments = _step_of(function, "fold", self._node.schema, local)
            columns = _columns_of(declared_schema(into, local), "fold")
            require_kept(init)
            probe(callee, arguments, self._node.schema, init, columns, folds=True)
        except StreamlibError as error:
            raise error.in_step("fold", at) from error.__cause__
        node = FoldNode(
            inputs=(self._node,),
            at=at,
            callee=callee,
            arguments=arguments,
            init=init,
            into=columns,
            **options,
        )
        return Table(node)


def _step_of(step: Any, verb: str, schema: Any, local: Any) -> tuple[Callee, RowArguments]:
    """A function whose first parameter is the state, and what its others are given."""
    from streamlib.operators.functions.callee import callee_of
    from streamlib.operators.functions.row_arguments import RowArguments, row_arguments

    callee = callee_of(step, verb, local)
    if not callee.parameters or callee.parameters[0].kind not in _BY_PLACE:
        raise BuildError(
            f"{callee.described} has no parameter for the state",
            expected=f"def {callee.short}(state, price, volume): its first parameter is the state",
            got=", ".join(p.name for p in callee.parameters) or "no parameters",
        )
    rest = replace(callee, parameters=callee.parameters[1:])
    if not rest.parameters:
        return callee, RowArguments(())
    return callee, row_arguments(rest, verb, schema, local)


def _columns_of(into: Any, verb: str) -> Any:
    if not len(into):
        raise BuildError(
            f"{verb} needs to know which columns it makes", expected='such as into={"vwap": "float64"}'
        )
    return into
