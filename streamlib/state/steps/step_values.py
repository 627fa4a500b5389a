"""What a translated function works on: the kinds of its values, and the names they have in the kernel.

A value is a whole number (`i`), a float (`f`), a bool (`b`), None, or a tuple of values. One that may be
None has a second name that says whether it is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

INT, FLOAT, BOOL, NONE, TUPLE = "i", "f", "b", "none", "tuple"
INT_MAX = 2**63 - 1
ZERO = {INT: "0", FLOAT: "0.0", BOOL: "False"}
WORDS = {INT: "a whole number", FLOAT: "a float", BOOL: "a bool", NONE: "None", TUPLE: "a tuple"}


class NotCompiled(Exception):
    """The function cannot be compiled; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the function.

    Attributes:
        kind: INT, FLOAT, BOOL, NONE or TUPLE.
        text: the name it has in the kernel, or a literal.
        there: the name of the bool that says whether it is not None; empty where it never is.
        items: those of a tuple.
        is_literal: whether `text` is a literal.
    """

    kind: str
    text: str = ""
    there: str = ""
    items: tuple[Value, ...] = ()
    is_literal: bool = False

    def leaves(self) -> Iterator[Value]:
        """The values that are no tuples, in their order."""
        if self.kind != TUPLE:
            yield self
        for item in self.items:
            yield from item.leaves()


def shape_of(value: Value) -> Value:
    """The value without names: equal for values of the same kinds."""
    items = tuple(map(shape_of, value.items))
    return Value(value.kind, there="?" if value.there else "", items=items)


def shape_of_python(value: Any) -> Value | None:
    """The shape of a Python value; None for one that is no number, bool or tuple of them.

    >>> shape_of_python((0.0, 1)) == shape_of_python((2.5, 7)), shape_of_python("a")
    (True, None)
    """
    kind = {int: INT, float: FLOAT, bool: BOOL}.get(type(value))
    if kind is not None:
        return None if kind == INT and not -INT_MAX <= value <= INT_MAX else Value(kind)
    if type(value) is not tuple or not value:
        return None
    items = [shape_of_python(item) for item in value]
    found = tuple(item for item in items if item is not None)
    return Value(TUPLE, items=found) if len(found) == len(items) else None


def named(shape: Value, base: str) -> Value:
    """The value of a shape whose parts are variables that begin with `base`."""
    if shape.kind == TUPLE:
        items = tuple(named(item, f"{base}_{place}") for place, item in enumerate(shape.items))
        return Value(TUPLE, items=items)
    if shape.kind == NONE:
        return Value(NONE)
    return Value(shape.kind, base, f"{base}_there" if shape.there else "")


def assigned(base: str, value: Value, shape: Value | None = None) -> list[str]:
    """Lines that give variables `base` the value, which becomes one of `shape`, wider perhaps."""
    shape = value if shape is None else shape
    if shape.kind == TUPLE:
        lines: list[str] = []
        for place, (item, of) in enumerate(zip(value.items, shape.items, strict=True)):
            lines += assigned(f"{base}_{place}", item, of)
        return lines
    if shape.kind == NONE:
        return []
    text = ZERO[shape.kind] if value.kind == NONE else value.text
    lines = [] if text == base else [f"{base} = {text}"]
    if shape.there:
        there = "False" if value.kind == NONE else value.there or "True"
        if there != f"{base}_there":
            lines.append(f"{base}_there = {there}")
    return lines


def together(one: Value, other: Value) -> Value | None:
    """The shape that has both; None where there is none: a whole number and a float stay what they are."""
    if one.kind == TUPLE and other.kind == TUPLE and len(one.items) == len(other.items):
        items = [together(a, b) for a, b in zip(one.items, other.items, strict=True)]
        found = tuple(item for item in items if item is not None)
        return Value(TUPLE, items=found) if len(found) == len(items) else None
    if TUPLE in (one.kind, other.kind):
        return None
    if NONE in (one.kind, other.kind):
        kept = other if one.kind == NONE else one
        return Value(NONE) if kept.kind == NONE else replace(shape_of(kept), there="?")
    if one.kind != other.kind:
        return None
    return Value(one.kind, there="?" if one.there or other.there else "")


def described(shape: Value) -> str:
    """A shape in words."""
    if shape.kind == TUPLE:
        return f"({', '.join(map(described, shape.items))})"
    return WORDS[shape.kind] + (" or None" if shape.there else "")


def flat(value: Any) -> Sequence[Any]:
    """The numbers of a state, in their order.

    >>> flat((1.0, (2, True)))
    [1.0, 2, True]
    """
    return [leaf for item in value for leaf in flat(item)] if type(value) is tuple else [value]


def rebuilt(shape: Value, leaves: Iterator[Any]) -> Any:
    """The Python value of a shape, from its numbers in order."""
    if shape.kind == TUPLE:
        return tuple([rebuilt(item, leaves) for item in shape.items])
    return next(leaves)
