"""Annotations of a user's function, read one by one, so that one which cannot be resolved spoils no other.

A name that only type checkers see (``if TYPE_CHECKING: import polars as pl``) stays text. Nothing is
imported to find out what an annotation means.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

_STDLIB = frozenset(sys.stdlib_module_names) - {"__main__"}
_MANY = (list, tuple, Iterable, Iterator, Generator, Sequence, Collection)


def resolved(annotation: Any, function: Callable[..., Any], local: Mapping[str, Any]) -> Any:
    """What an annotation of `function` means; the text itself where that cannot be found out.

    Args:
        annotation: as it stands in the signature, often text.
        function: whose globals and closure the names belong to.
        local: further names, such as those of the function that the user's line stands in.
    """
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        hints = typing.get_type_hints(
            holder, _globals(function), {**local, **_closure(function)}, include_extras=True
        )
    except Exception:  # whatever the text holds, it is the user's
        return annotation
    return hints["it"]


def _globals(function: Callable[..., Any]) -> dict[str, Any]:
    found = getattr(function, "__globals__", None)
    if isinstance(found, dict):
        return found
    return dict(vars(sys.modules.get(getattr(function, "__module__", ""), types)))


def _closure(function: Callable[..., Any]) -> dict[str, Any]:
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    found = {}
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found


def names_of_the_caller() -> Mapping[str, Any]:
    """The local names where the user's line stands: classes that are defined in a function."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package != "streamlib" and package not in _STDLIB:
            return dict(frame.f_locals)
        frame = frame.f_back
    return {}


def row_types(annotation: Any, local: Mapping[str, Any]) -> dict[str, Any] | None:
    """The columns that a class of rows names: a dataclass, a TypedDict or a NamedTuple; None for others.

    Args:
        annotation: the class.
        local: names that its own annotations may use, beside those of its module.

    >>> class Trade(typing.NamedTuple):
    ...     price: float
    >>> row_types(Trade, {})
    {'price': <class 'float'>}
    """
    if not isinstance(annotation, type):
        return None
    if dataclasses.is_dataclass(annotation):
        names = [field.name for field in dataclasses.fields(annotation)]
    elif typing.is_typeddict(annotation) or (
        issubclass(annotation, tuple) and hasattr(annotation, "_fields")
    ):
        names = list(annotation.__annotations__)
    else:
        return None
    hints = _hints(annotation, local)
    return {name: _bare(hints.get(name, Any)) for name in names}


def optional_keys(annotation: type, local: Mapping[str, Any]) -> set[str]:
    """The keys that a dict of a TypedDict class may lack."""
    found = set(getattr(annotation, "__optional_keys__", ()))
    for name, hint in _hints(annotation, local).items():  # where annotations are text, Python cannot tell
        if typing.get_origin(hint) is typing.NotRequired:
            found.add(name)
        elif typing.get_origin(hint) is typing.Required:
            found.discard(name)
    return found


def _hints(owner: type, local: Mapping[str, Any]) -> dict[str, Any]:
    """Annotations of a class, each resolved where it was written; a TypedDict has those it inherits too."""
    found: dict[str, Any] = {}
    for base in reversed(owner.__mro__):
        for name, hint in inspect.get_annotations(base).items():
            found[name] = resolved(hint, base, local)
    return found


def _bare(annotation: Any) -> Any:
    """Without the Required and NotRequired of a TypedDict."""
    if typing.get_origin(annotation) in (typing.Required, typing.NotRequired):
        return typing.get_args(annotation)[0]
    return annotation


def plain(annotation: Any) -> Any:
    """Without the further arguments of an Annotated."""
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Annotated else annotation


def without_none(annotation: Any) -> tuple[Any, bool]:
    """The annotation without ``| None``, and whether it had it.

    >>> without_none(int | None)
    (<class 'int'>, True)
    """
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(annotation) if a is not type(None)]
        if len(rest) == 1 and len(rest) < len(typing.get_args(annotation)):
            return rest[0], True
    return annotation, False


def of_many(annotation: Any) -> Any:
    """The class of the items of an iterable; None where the annotation is no iterable of one class.

    >>> of_many(list[int]), of_many(int)
    (<class 'int'>, None)
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin not in _MANY or not arguments:
        return None
    if origin is tuple and (len(arguments) != 2 or arguments[1] is not Ellipsis):
        return None
    return arguments[0]


def is_mapping(annotation: Any) -> bool:
    """Whether it is a dict of any kind: a row by the names of its columns.

    >>> is_mapping(dict[str, float]), is_mapping(int)
    (True, False)
    """
    origin = typing.get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, Mapping)


def shown(annotation: Any) -> str:
    """An annotation as one would write it."""
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", str(annotation))
