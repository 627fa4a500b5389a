"""What a processor keeps: the states that its class declares, as attributes of the key whose turn it is.

A key's state is a dict by the name of the state, which has what was assigned at least once. The class that
a worker builds is a subclass of the user's in which each declaration gives way to a `Bound` one.

Where rows may be refused, a call that fails leaves nothing behind: `Turn.begin` keeps the dict as it was,
and lists, dicts and values that can be changed in place are kept when the call first gets at them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from streamlib.contracts import Declared, ListState, MapState, ValueState
from streamlib.errors import BuildError
from streamlib.operators.functions.arrays import Misfit, array_of
from streamlib.operators.functions.row_arguments import value_reader
from streamlib.operators.functions.values import python_values
from streamlib.operators.process.containers import StateList, StateMap
from streamlib.operators.process.fits import (
    Fit,
    copied,
    exact_class,
    fit_of,
    misfit_of,
    refused,
    value_type,
    whole_numbers,
)

Cells = dict[str, Any]


class NoKey(dict[str, Any]):
    """The cells where there is no key: nobody may use them."""

    def _refuse(self, *_: Any) -> Any:
        raise RuntimeError(
            "rows of a broadcast input are for all keys: there is no state of a key; declare it with shared=True"
        )

    get = __getitem__ = __setitem__ = _refuse


NO_KEY = NoKey()


class Turn:
    """Whose turn it is.

    Attributes:
        cells: the state of the key.
        shared: the state that all keys share.
        may_share: whether that may be changed.
        saves: what puts back what the call has changed in place; None where a failure ends the run.
    """

    __slots__ = ("cells", "may_share", "saves", "shared")

    def __init__(self) -> None:
        self.cells: Cells = NO_KEY
        self.shared: Cells = {}
        self.may_share = False
        self.saves: dict[object, Callable[[], object]] | None = None


@dataclass(frozen=True, slots=True)
class StateSpec:
    """One declared state.

    Attributes:
        name: of the attribute.
        shared: whether all keys share it.
        kind: ``value``, ``list`` or ``map``.
        type: the Arrow type in snapshots.
        fit: takes a value, or an item.
        fit_key: takes the key of a map.
        read, read_key: make a value, or the key of a map, of what a snapshot has; None where it is the same.
        nested: whether values can be changed in place.
        exact: the class whose objects all fit as they are; None where there is none.
        bounds: from and to which whole numbers fit as they are; None for other types.
        default: of a value.
    """

    name: str
    shared: bool
    kind: str
    type: pa.DataType
    fit: Fit
    fit_key: Fit | None
    read: Callable[[Any], Any] | None
    nested: bool
    exact: type | None = None
    bounds: tuple[int, int] | None = None
    default: Any = None
    read_key: Callable[[Any], Any] | None = None

    def column(self, cells: Iterable[Cells]) -> pa.Array:
        """The state of several keys. A value that was not assigned is its default."""
        if self.kind == "value":
            values = [each.get(self.name, self.default) for each in cells]
        elif self.kind == "list":
            values = [list(each.get(self.name, ())) for each in cells]
        else:
            found = [each.get(self.name, {}) for each in cells]
            values = [[{"key": k, "value": v} for k, v in each.items()] for each in found]
        try:
            return array_of(values, self.type)
        except Misfit as error:
            raise misfit_of(error, f"the state {self.name!r} was changed to what does not fit it") from error

    def load(self, column: pa.Array, cells: Iterable[Cells], bound: Bound) -> None:
        """Puts the values of a snapshot into the cells."""
        read = self.read or (lambda value: value)
        for each, value in zip(cells, python_values(column), strict=True):
            if self.kind == "value":
                if value != self.default:
                    each[self.name] = None if value is None else read(value)
            elif value:
                each[self.name] = made = bound.container()
                if self.kind == "list":
                    list.extend(made, (None if item is None else read(item) for item in value))
                else:
                    read_key = self.read_key or (lambda key: key)
                    for item in value:
                        found = item["value"]
                        dict.__setitem__(made, read_key(item["key"]), None if found is None else read(found))

    def is_empty(self, cells: Cells) -> bool:
        """Whether a key that has no state at all would be no different."""
        value = cells.get(self.name, self.default)
        return (value == self.default) if self.kind == "value" else not value


def state_specs(owner: type, local: Mapping[str, Any]) -> tuple[StateSpec, ...]:
    """The states that a class declares, those of its bases first.

    Raises:
        BuildError: a type is unknown, or a default does not fit it.
    """
    found: dict[str, Declared] = {}
    for base in reversed(owner.__mro__):
        found.update(
            (n, d) for n, d in vars(base).items() if isinstance(d, (ValueState, ListState, MapState))
        )
    return tuple(_spec(name, declared, local) for name, declared in found.items())


def _spec(name: str, declared: Declared, local: Mapping[str, Any]) -> StateSpec:
    kind = value_type(declared.type, name, local)
    fit, reader = fit_of(kind, declared.type, local), value_reader(declared.type, local)
    nested = pa.types.is_nested(kind)
    if isinstance(declared, MapState):
        key = value_type(declared.key_type, name, local)
        if pa.types.is_nested(key):
            raise BuildError(
                f"the keys of state {name!r} have no such type",
                expected="numbers, text or times",
                got=str(key),
            )
        whole = pa.list_(pa.struct([pa.field("key", key, False), pa.field("value", kind)]))
        fit_key, read_key = fit_of(key, declared.key_type, local), value_reader(declared.key_type, local)
        return StateSpec(name, declared.shared, "map", whole, fit, fit_key, reader, nested, read_key=read_key)
    if isinstance(declared, ListState):
        return StateSpec(name, declared.shared, "list", pa.list_(kind), fit, None, reader, nested)
    try:
        default = fit(declared.default)
    except Misfit as error:
        raise BuildError(
            f"the default of state {name!r} does not fit it", expected=error.expected, got=error.got
        ) from None
    exact, bounds = exact_class(kind, declared.type), whole_numbers(kind, declared.type)
    return StateSpec(name, declared.shared, "value", kind, fit, None, reader, nested, exact, bounds, default)


class Bound:
    """A declared state of the object that a worker has built."""

    def __init__(self, spec: StateSpec, turn: Turn) -> None:
        self.spec, self.turn = spec, turn
        self.name, self.default, self.nested, self.shared = spec.name, spec.default, spec.nested, spec.shared

    def container(self) -> Any:
        """An empty list or dict of this state."""
        return StateList(self) if self.spec.kind == "list" else StateMap(self)

    def fit(self, value: Any) -> Any:
        """The value as it is kept. Raises Misfit."""
        try:
            return self.spec.fit(value)
        except Misfit as error:
            raise self.misfit(error) from error

    def misfit(self, error: Misfit) -> Misfit:
        """The error of a value that does not fit, with the name of the state."""
        return misfit_of(error, f"gave state {self.name!r} a value that does not fit it")

    def fit_key(self, key: Any) -> Any:
        """The key of a map as it is kept. Raises Misfit."""
        assert self.spec.fit_key is not None
        if key is None:
            raise refused(str(self.spec.type), key, f"gave state {self.name!r} a key that is None")
        try:
            return self.spec.fit_key(key)
        except Misfit as error:
            raise misfit_of(error, f"gave state {self.name!r} a key that does not fit it") from error

    def cells(self) -> Cells:
        """Where the value is."""
        return self.turn.shared if self.shared else self.turn.cells

    def before_write(self) -> None:
        """Raises where the state must not be changed now."""
        if self.shared and not self.turn.may_share:
            raise RuntimeError(
                f"the state {self.name!r} is shared by all keys: only methods of broadcast inputs may change it"
            )

    def touch(self, container: Any) -> None:
        """A list or dict of this state is about to change."""
        self.before_write()
        saves = self.turn.saves
        if saves is not None and id(container) not in saves:
            saves[id(container)] = container.restorer()


class BoundValue(Bound):
    """`ValueState` of the key whose turn it is, where reading or writing needs more than `attribute`."""

    def __get__(self, instance: object, owner: type) -> Any:
        if self.shared:
            return self.turn.shared.get(self.name, self.default)
        cells, saves = self.turn.cells, self.turn.saves
        value = cells.get(self.name)
        if value is None and self.name not in cells:
            value = copied(self.default)
            if value is not None:
                cells[self.name] = value
        if saves is not None and value is not None and self.name not in saves:
            kept, name = copied(value), self.name
            saves[name] = lambda: cells.__setitem__(name, kept) if name in cells else None
        return value

    def __set__(self, instance: object, value: Any) -> None:
        self.before_write()
        self.cells()[self.name] = self.fit(value)


def attribute(bound: Bound) -> property:
    """A plain value of the key whose turn it is: reading and writing cost little more than with any attribute."""
    turn, name, default, fit, exact = bound.turn, bound.name, bound.default, bound.fit, bound.spec.exact
    low, high = bound.spec.bounds or (0, 0)

    def read(_: object) -> Any:
        return turn.cells.get(name, default)

    def write(_: object, value: Any) -> None:
        turn.cells[name] = value if type(value) is exact else fit(value)

    def write_whole(_: object, value: Any) -> None:
        turn.cells[name] = value if type(value) is int and low <= value <= high else fit(value)

    return property(read, write if bound.spec.bounds is None else write_whole)


class BoundContainer(Bound):
    """`ListState` or `MapState` of the key whose turn it is."""

    def __get__(self, instance: object, owner: type) -> Any:
        cells = self.turn.shared if self.shared else self.turn.cells
        found = cells.get(self.name)
        if found is None:
            found = cells[self.name] = self.container()
        elif self.nested and self.turn.saves is not None and (not self.shared or self.turn.may_share):
            self.turn.saves.setdefault(id(found), found.restorer())
        return found

    def __set__(self, instance: object, value: Any) -> None:
        self.__get__(instance, type(instance)).replace(value)


def bound_class(owner: type, specs: Iterable[StateSpec], turn: Turn) -> tuple[type, dict[str, Bound]]:
    """The user's class with its states bound to `turn`, and those by name."""
    bound: dict[str, Bound] = {
        s.name: (BoundValue if s.kind == "value" else BoundContainer)(s, turn) for s in specs
    }
    members: dict[str, Any] = {"__module__": owner.__module__, "__qualname__": owner.__qualname__}
    for name, one in bound.items():
        plain = one.spec.kind == "value" and not one.nested and not one.shared
        members[name] = attribute(one) if plain else one
    return type(owner.__name__, (owner,), members), bound
