"""One call of a step function with made-up values, when the graph is built: mistakes show at once.

What it returns must have the right form. What it raises counts only where values are not to blame: a name
that does not exist, an attribute that is not there, types that do not go together.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from streamlib.errors import BuildError
from streamlib.kernels.columns import decoded_type
from streamlib.operators.functions.arrays import Misfit
from streamlib.operators.functions.brief import brief
from streamlib.operators.functions.callee import Callee
from streamlib.operators.functions.row_arguments import RowArguments
from streamlib.operators.own_state.scan_rows import StepRows
from streamlib.state.steps.step_states import StepStates

_ALWAYS_WRONG = (NameError, AttributeError, TypeError)


def probe(
    callee: Callee,
    arguments: RowArguments,
    source: pa.Schema,
    init: Any,
    into: pa.Schema,
    folds: bool = False,
) -> None:
    """Calls the function once, unless it is a class that would have to be built.

    Args:
        folds: whether it returns the new state alone, which is the output.

    Raises:
        BuildError: it cannot be called like this, or what it returned is no (state, output).
    """
    if callee.is_built:
        return
    names = source.names if arguments.columns is None else list(arguments.columns)
    values = [sample(source.field(name).type) for name in names]
    row = dict(zip(names, values, strict=True))
    if arguments.whole:
        try:
            values = [arguments.make(row) if arguments.make is not None else row]
        except Exception:  # made-up values do not fit the class
            return
    rows = StepRows(callee, arguments, into, None, StepStates(init, None), False)
    try:
        result = rows.function()(copy.deepcopy(init), *values)
    except _ALWAYS_WRONG as error:
        raise BuildError(
            f"{callee.raised(error)}, called with made-up values",
            got=f"{error}, for {_shown(init, names, values)}",
        ) from error
    except Exception:  # the values are to blame
        return
    if folds:
        result = (result, result)
    if type(result) is not tuple or len(result) != 2:
        raise BuildError(
            f"{callee.described} returns no pair",
            expected="return new_state, output",
            got="nothing: is a return missing?" if result is None else brief(result),
        )
    try:
        rows.outputs(result[1])
    except Misfit as error:
        raise BuildError(
            f"{callee.described} {error.problem}",
            expected=error.expected,
            got=f"{error.got}, for {_shown(init, names, values)}",
            hint=error.hint or "into= names the columns and their types",
        ) from None


def _shown(init: Any, names: Sequence[str], values: Sequence[Any]) -> str:
    if len(names) != len(values):
        return f"state={brief(init)}"
    return ", ".join(f"{n}={brief(v)}" for n, v in zip(["state", *names], [init, *values], strict=True))


def sample(kind: pa.DataType) -> Any:
    """A value as a column of this type has it."""
    kind, is_ = decoded_type(kind), pa.types
    if is_.is_boolean(kind):
        return True
    if is_.is_integer(kind):
        return 1
    if is_.is_floating(kind):
        return 1.0
    if is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind):
        return "text"
    if is_.is_binary(kind) or is_.is_large_binary(kind) or is_.is_binary_view(kind):
        return b"bytes"
    if is_.is_timestamp(kind):
        return dt.datetime(2000, 1, 1, tzinfo=None if kind.tz is None else dt.UTC)
    if is_.is_date(kind):
        return dt.date(2000, 1, 1)
    if is_.is_time(kind):
        return dt.time(12)
    if is_.is_duration(kind):
        return dt.timedelta(seconds=1)
    if is_.is_decimal(kind):
        return Decimal(1)
    if is_.is_struct(kind):
        return {field.name: sample(field.type) for field in kind}
    if is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind):
        return [sample(kind.value_type)]
    return None
