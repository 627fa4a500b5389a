"""pyarrow.compute functions by name: which may be called on a stream, and their options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc

from streamlib.errors import BuildError, nearest_names

_NOT_A_FUNCTION_OF_ROWS = ("random",)


def check_call(function: str, inputs: int, options: Mapping[str, object]) -> None:
    """Checks all of a call but the types of its inputs.

    Raises:
        BuildError: no such function, one that does not work row by row, or options it does not take.
    """
    known = pc.list_functions()
    if function not in known:
        near = nearest_names(function, known)
        raise BuildError(
            f"pyarrow.compute has no function {function!r}",
            got=repr(function),
            hint=f"did you mean {' or '.join(repr(n) for n in near)}?"
            if near
            else "pc.list_functions() lists them",
        )
    if pc.get_function(function).kind != "scalar" or function in _NOT_A_FUNCTION_OF_ROWS:
        raise BuildError(
            f"{function!r} does not work row by row: it would depend on how the stream is cut into batches",
            expected="a scalar function of pyarrow.compute",
            hint="use an aggregate in .agg(...), or map_batches",
        )
    arity = pc.get_function(function).arity
    wrong = inputs == 0 if arity is Ellipsis else inputs != arity
    if wrong:
        raise BuildError(
            f"{function!r} was called with {inputs} inputs",
            expected="at least 1" if arity is Ellipsis else str(arity),
            hint="options are keyword arguments",
        )
    try:
        call_options(function, options)
    except TypeError as error:
        given = ", ".join(options) or "none"
        raise BuildError(f"{function!r} does not take these options: {error}", got=given) from None


def call_options(function: str, values: Mapping[str, Any]) -> pc.FunctionOptions | None:
    """The options object of a function; None when it takes none, or its defaults do.

    Raises:
        TypeError: it takes no such option.
    """
    doc = pc.get_function(function)._doc
    if not doc.options_class:
        if values:
            raise TypeError("it has no options")
        return None
    if not values and not doc.options_required:
        return None
    options: pc.FunctionOptions = getattr(pc, doc.options_class)(**values)
    return options
