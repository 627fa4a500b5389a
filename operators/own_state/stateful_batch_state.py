"""What `state=` of `stateful_batch` means, and what a function may return as the new state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.elements.schemas import schema_of
from streamlib.errors import BuildError, UserFunctionError
from streamlib.operators.functions.brief import brief

Array = npt.NDArray[Any]

_EXPECTED = (
    'a dict of types or first values, such as {"total": "float64", "best": -1.0, "levels": np.zeros(10)}'
)


def initial_state(state: Any) -> dict[str, Array]:
    """The state of a key without rows: a number, a bool or a vector by name.

    Raises:
        BuildError: it is something else.

    >>> initial_state({"total": "float64", "best": -1})
    {'total': array(0.), 'best': array(-1)}
    """
    if not isinstance(state, Mapping) or not state:
        raise BuildError("stateful_batch needs to know its state", expected=_EXPECTED, got=repr(state))
    found = {}
    for name, given in state.items():
        if not isinstance(name, str):
            raise BuildError("a column of the state is named by a string", expected=_EXPECTED, got=repr(name))
        if isinstance(given, (str, type, pa.DataType)):
            kind = schema_of({name: given}).field(0).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
                raise _wrong(name, given)
            found[name] = np.zeros((), dtype=kind.to_pandas_dtype())
        else:
            value = np.array(given)
            if value.dtype.kind not in "biuf" or value.ndim > 1 or not value.size:
                raise _wrong(name, given)
            found[name] = value
    return found


def _wrong(name: str, given: Any) -> BuildError:
    return BuildError(
        f"the state {name!r} is no number, bool or vector of them", expected=_EXPECTED, got=repr(given)
    )


def new_state(given: Any, initial: Mapping[str, Array], keys: int, described: str) -> dict[str, Array]:
    """What a function returned as the new state, as arrays of the types of `initial`.

    Args:
        given: what it returned.
        keys: how many keys there are states of.
        described: the function.

    Raises:
        UserFunctionError: it is not of that form.
    """
    if not isinstance(given, Mapping):
        raise UserFunctionError(
            f"{described} returned no state",
            expected=f"a dict with {', '.join(map(repr, initial))}",
            got="nothing" if given is None else brief(given),
        )
    if set(given) != set(initial):
        raise UserFunctionError(
            f"{described} returned a state with other names",
            expected=", ".join(map(repr, initial)),
            got=", ".join(map(repr, given)) or "none",
        )
    found = {}
    for name, value in initial.items():
        made = np.asarray(given[name])
        wanted = (keys, *value.shape)
        if made.shape != wanted:
            raise UserFunctionError(
                f"{described} returned a state {name!r} of the wrong length",
                expected=f"an array of shape {wanted}: one state for each that it was given",
                got=f"an array of shape {made.shape}",
            )
        if made.dtype != value.dtype and not np.can_cast(made.dtype, value.dtype, "safe"):
            raise UserFunctionError(
                f"{described} returned a state {name!r} of the wrong type",
                expected=str(value.dtype),
                got=str(made.dtype),
                hint=f"state={{{name!r}: {made.dtype.name!r}}} keeps it as it is",
            )
        found[name] = made
    return found
