"""Values that are kept or sent out: taken when they fit their type exactly, in the form in which they come back.

A value is checked where the user's line stands, not when a checkpoint or a batch is made of it. What is
taken is what Arrow would give back: an int for a column of doubles is a float from then on. So a run that
was restored cannot be told from one that was not.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import enum
import typing
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import pyarrow as pa

from streamlib.elements.schemas import type_of
from streamlib.errors import BuildError
from streamlib.operators.functions.annotations import plain, row_types, without_none
from streamlib.operators.functions.arrays import Misfit, array_of
from streamlib.operators.functions.brief import brief
from streamlib.operators.functions.declared import declared_schema
from streamlib.operators.functions.row_arguments import value_reader
from streamlib.operators.functions.values import python_values, zone_of

Fit = Callable[[Any], Any]

_YEARS_SAFE = (1700, 2200)
"""Years of which every instant fits into nanoseconds."""


def value_type(declared: Any, name: str, local: Mapping[str, Any]) -> pa.DataType:
    """The Arrow type of a state: rows declared as `schema=` takes them are structs.

    Raises:
        BuildError: the type is unknown.
    """
    is_row = isinstance(declared, (Mapping, pa.Schema)) or row_types(declared, local) is not None
    if not is_row:
        return type_of(declared, name)
    if isinstance(declared, type) and issubclass(declared, tuple):
        raise BuildError(
            f"the state {name!r} cannot hold {declared.__name__}",
            expected="a dataclass, or a dict of names and types",
        )
    return pa.struct(list(declared_schema(declared, local)))


def fit_of(kind: pa.DataType, hint: Any = None, local: Mapping[str, Any] | None = None) -> Fit:
    """A function that takes a value, or raises `Misfit`.

    Args:
        kind: what it has to fit.
        hint: as the user declared it: values of a dataclass or an Enum come back as such.
        local: names that annotations of a dataclass may use.

    >>> fit_of(pa.float64())(3)
    3.0
    """
    local = {} if local is None else local
    hint, _ = without_none(plain(hint))
    reader = value_reader(hint, local)

    def slow(value: Any) -> Any:
        if value is None:
            return None
        found = python_values(array_of([value], kind))[0]
        return found if reader is None or found is None else reader(found)

    exact = exact_class(kind, hint)
    if exact is not None and exact is not float:
        return _if_exact(lambda value: type(value) is exact, slow)
    return _of_rows(kind, hint, local, slow) or _of_values(kind, slow)


_EXACT: dict[pa.DataType, type] = {
    pa.float64(): float,
    pa.binary(): bytes,
    pa.large_binary(): bytes,
    pa.bool_(): bool,
    pa.date32(): dt.date,
}


def exact_class(kind: pa.DataType, hint: Any = None) -> type | None:
    """The class whose objects all fit as they are; None where that depends on the value.

    Args:
        kind, hint: as of `fit_of`.
    """
    hint, _ = without_none(plain(hint))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint
    return _EXACT.get(kind)


def whole_numbers(kind: pa.DataType, hint: Any = None) -> tuple[int, int] | None:
    """From and to which whole numbers fit as they are; None for other types."""
    if not pa.types.is_integer(kind) or exact_class(kind, hint) is not None:
        return None
    width = kind.bit_width
    return (
        (0, 2**width - 1)
        if pa.types.is_unsigned_integer(kind)
        else (-(2 ** (width - 1)), 2 ** (width - 1) - 1)
    )


def _of_values(kind: pa.DataType, slow: Fit) -> Fit:
    """A function for values that one meets every day; all others go the slow way."""
    is_ = pa.types
    bounds = whole_numbers(kind)
    if bounds is not None:
        return _integer(*bounds, slow)
    if kind == pa.float64():
        return _double(slow)
    if is_.is_string(kind) or is_.is_large_string(kind):
        return _text(slow)
    if is_.is_timestamp(kind) and kind.unit in ("us", "ns"):
        return _instant(None if kind.tz is None else zone_of(kind.tz), slow)
    return slow


def _of_rows(kind: pa.DataType, hint: Any, local: Mapping[str, Any], slow: Fit) -> Fit | None:
    """A function for values with parts, each of which is looked at; None for other types."""
    is_ = pa.types
    if is_.is_struct(kind):
        quick = _dataclass(kind, hint, local) if dataclasses.is_dataclass(hint) else _dict(kind)
    elif is_.is_list(kind) or is_.is_large_list(kind):
        items = typing.get_args(hint)
        quick = _list(fit_of(kind.value_type, items[0] if items else None, local))
    else:
        return None

    def fit(value: Any) -> Any:
        found = quick(value)
        return slow(value) if found is None else found

    return fit


def _if_exact(is_exact: Callable[[Any], bool], slow: Fit) -> Fit:
    return lambda value: value if is_exact(value) else slow(value)


def _integer(low: int, high: int, slow: Fit) -> Fit:
    return lambda value: value if type(value) is int and low <= value <= high else slow(value)


def _double(slow: Fit) -> Fit:
    def fit(value: Any) -> Any:
        if type(value) is float:
            return value
        if type(value) is int and -(2**53) <= value <= 2**53:
            return float(value)
        return slow(value)

    return fit


def _text(slow: Fit) -> Fit:
    return lambda value: value if type(value) is str and value.isascii() else slow(value)


def _instant(zone: dt.tzinfo | None, slow: Fit) -> Fit:
    first, last = _YEARS_SAFE

    def fit(value: Any) -> Any:
        is_plain = type(value) is dt.datetime and value.tzinfo is zone and first < value.year < last
        return value if is_plain else slow(value)

    return fit


def _dict(kind: pa.DataType) -> Fit:
    fits = [(field.name, fit_of(field.type)) for field in kind]

    def fit(value: Any) -> dict[str, Any] | None:
        if type(value) is not dict or len(value) != len(fits):
            return None
        try:
            return {name: one(value[name]) for name, one in fits}
        except KeyError:
            return None

    return fit


def _dataclass(kind: pa.DataType, owner: Any, local: Mapping[str, Any]) -> Fit:
    hints = row_types(owner, local) or {}
    fits = [(attrgetter(f.name), fit_of(f.type, hints.get(f.name), local)) for f in kind]

    def fit(value: Any) -> Any:
        if type(value) is not owner:
            return None
        for field, one in fits:
            given = field(value)
            taken = one(given)
            if taken is not given and (type(taken) is not type(given) or taken != given):
                return None
        return value

    return fit


def _list(item: Fit) -> Fit:
    def fit(value: Any) -> list[Any] | None:
        return [item(each) for each in value] if isinstance(value, (list, tuple)) else None

    return fit


def copied(value: Any) -> Any:
    """A value that stays as it is, whatever becomes of the one that was given.

    >>> given = {"a": [1]}
    >>> kept = copied(given)
    >>> given["a"].append(2)
    >>> kept
    {'a': [1]}
    """
    if isinstance(value, dict):
        return {name: copied(each) for name, each in value.items()}
    if isinstance(value, list):
        return [copied(each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        twin = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(twin, field.name, copied(getattr(value, field.name)))
        return twin
    return value


def misfit_of(error: Misfit, what: str) -> Misfit:
    """The same, said of a certain state or column."""
    return Misfit(0, error.expected, error.got, error.problem or what, error.hint)


def refused(expected: str, value: Any, problem: str) -> Misfit:
    """A value that is no such thing at all."""
    return Misfit(0, expected, brief(value), problem)
