"""Values of Python as JSON text and back: what is kept of a user's state in a checkpoint.

Whoever reads a checkpoint can read them, and reading them runs no code: a list is a list, other types are
objects with one field that names the type. Instances of dataclasses and NamedTuples are made of the classes
that the state began with, and of no others.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
import math
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np

DEPTH_MAX = 100
"""How deep a value may be nested."""


class NoText(Exception):
    """A value has a type that is not kept."""


def to_text(value: Any, classes: Mapping[str, type]) -> str:
    """A value as text.

    Args:
        value: what is kept.
        classes: dataclasses and NamedTuples by name, as `classes_of` finds them.

    Raises:
        NoText: it holds a value that is not kept, or is nested too deep.

    >>> to_text((1, None, float("inf"), {"a": [2.5]}), {})
    '{"tuple": [1, null, {"float": "inf"}, {"dict": [["a", [2.5]]]}]}'
    """
    return json.dumps(_encoded(value, classes, 0))


def of_text(text: str, classes: Mapping[str, type]) -> Any:
    """The value of a text that `to_text` made.

    Raises:
        NoText: it names a class that is not among `classes`, or is no such text.
    """
    try:
        return _decoded(json.loads(text), classes)
    except (ValueError, TypeError, KeyError, IndexError, ArithmeticError, RecursionError) as error:
        raise NoText(f"a kept value cannot be read: {error}") from error


def classes_of(value: Any, depth: int = 0) -> dict[str, type]:
    """The dataclasses and NamedTuples of a value and of what it holds."""
    found: dict[str, type] = {}
    fields = _fields(value)
    if fields is not None:
        found[type(value).__qualname__] = type(value)
        inner = list(fields.values())
    elif isinstance(value, dict):
        inner = [*value.keys(), *value.values()]
    elif isinstance(value, (tuple, list, set, frozenset, deque)):
        inner = list(value)
    else:
        return found
    for item in inner if depth < DEPTH_MAX else []:
        found |= classes_of(item, depth + 1)
    return found


def _fields(value: Any) -> dict[str, Any] | None:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    return None


def _encoded(value: Any, classes: Mapping[str, type], depth: int) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if depth > DEPTH_MAX:
        raise NoText("it is nested too deep")
    if kind in (tuple, list, set, frozenset):
        items = [_encoded(item, classes, depth + 1) for item in value]
        return items if kind is list else {kind.__name__: items}
    if kind is dict:
        pairs = [[_encoded(part, classes, depth + 1) for part in pair] for pair in value.items()]
        return {"dict": pairs}
    if kind is deque:
        return {"deque": [value.maxlen, *(_encoded(item, classes, depth + 1) for item in value)]}
    for name, (owner, encode, _) in _TYPES.items():
        if kind is owner:
            return {name: encode(value)}
    fields = _fields(value)
    if fields is not None and classes.get(kind.__qualname__) is kind:
        parts = {name: _encoded(part, classes, depth + 1) for name, part in fields.items()}
        return {"object": [kind.__qualname__, parts]}
    raise NoText(f"a value of type {kind.__qualname__}")


def _decoded(value: Any, classes: Mapping[str, type]) -> Any:
    if isinstance(value, list):
        return [_decoded(item, classes) for item in value]
    if not isinstance(value, dict):
        return value
    ((name, held),) = value.items()
    if name in _COLLECTIONS:
        return _COLLECTIONS[name]([_decoded(item, classes) for item in held])
    if name == "dict":
        return {_decoded(key, classes): _decoded(item, classes) for key, item in held}
    if name == "deque":
        return deque([_decoded(item, classes) for item in held[1:]], held[0])
    if name == "float":
        return float(held)
    if name == "object":
        return classes[held[0]](**{key: _decoded(item, classes) for key, item in held[1].items()})
    return _TYPES[name][2](held)


_COLLECTIONS: Mapping[str, Callable[[list[Any]], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_TYPES: Mapping[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "bytes": (bytes, lambda v: base64.b64encode(v).decode(), base64.b64decode),
    "datetime": (dt.datetime, lambda v: v.isoformat(), dt.datetime.fromisoformat),
    "date": (dt.date, lambda v: v.isoformat(), dt.date.fromisoformat),
    "time": (dt.time, lambda v: v.isoformat(), dt.time.fromisoformat),
    "timedelta": (
        dt.timedelta,
        lambda v: [v.days, v.seconds, v.microseconds],
        lambda held: dt.timedelta(*held),
    ),
    "decimal": (Decimal, str, Decimal),
    "datetime64": (
        np.datetime64,
        lambda v: [int(v.astype(np.int64)), np.datetime_data(v.dtype)[0]],
        lambda held: np.datetime64(*held),
    ),
    "timedelta64": (
        np.timedelta64,
        lambda v: [int(v.astype(np.int64)), np.datetime_data(v.dtype)[0]],
        lambda held: np.timedelta64(*held),
    ),
    "float64": (np.float64, float.hex, lambda held: np.float64(float.fromhex(held))),
    "int64": (np.int64, int, np.int64),
}
