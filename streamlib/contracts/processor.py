"""The processor contract: own state by key, timers, and rows of several inputs in the order of event time.

A complete processor, which says so when a key was silent for two minutes after a request::

    class Unanswered(Processor):
        asked = ValueState(int, 0)

        def on_row(self, row: dict, ctx: Context) -> None:
            self.asked += 1
            ctx.timer("answer", after="2m")

        def on_answers(self, row: dict, ctx: Context) -> None:
            self.asked = 0
            ctx.cancel_timer("answer")

        def on_timer(self, name: str, ctx: Context) -> None:
            ctx.emit({"user": ctx.key, "asked": self.asked})

``keyed.process(Unanswered, answers=answers, schema={"user": str, "asked": int}, ttl="1d")`` runs it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import MutableMapping, MutableSequence
from typing import Any, Generic, NoReturn, Protocol, Self, TypeVar, overload

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


class Context(Protocol):
    """What a method of a processor is given besides the row: whose turn it is, and what it may do.

    There is no watermark in it: how far that has come is timing, and output is a function of the input.
    """

    @property
    def key(self) -> Any:
        """The key: the value of the key column; of several key columns a tuple."""

    @property
    def time(self) -> Any:
        """The event time: the row's, or that for which the timer was set.

        A datetime as rows have it: with the time zone of the first input's time column, or without one.
        """

    def emit(self, row: Any, to: str | None = None) -> None:
        """Sends a row out, with the time `time`.

        Args:
            row: a dict, a dataclass, or a tuple in the order of the schema.
            to: one of the names in ``outputs=``; the main output when None.
        """

    def timer(
        self, name: str, *, after: str | dt.timedelta | None = None, at: dt.datetime | None = None
    ) -> None:
        """Has `on_timer` called for this key, behind all its rows with a time up to that, before later ones.

        A key has one timer of a name: setting it again moves it. A time that has passed counts as now.

        Args:
            name: what `on_timer` is given.
            after: how long after `time`, such as ``"2m"``.
            at: instead, when; without a time zone it is UTC.
        """

    def cancel_timer(self, name: str) -> None:
        """Takes a timer of this key back; nothing happens when there is none."""


class Processor:
    """Base of the classes that `process` runs. Each worker builds one object, without arguments.

    ``on_row(self, row, ctx)`` takes rows of the first input, ``on_<name>(self, row, ctx)`` those of a further
    one, ``on_timer(self, name, ctx)`` timers, ``close(self)`` the end of the run. A row is a dict, or an
    instance of the dataclass that the parameter is annotated with.

    What is kept of a key is declared in the class, as `ValueState`, `ListState` or `MapState`. An object is
    the same for all keys of its worker, so other attributes may be set in ``__init__`` only; those whose
    name begins with ``_`` may change, as caches do.
    """


class _Declared:
    """What is kept for each key; or once, for all of them."""

    shared: bool

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def _outside(self) -> NoReturn:
        raise RuntimeError(
            f"the state {self.name!r} belongs to a key: it can be used only while a pipeline runs the processor; "
            "streamlib.testing.harness drives one by hand"
        )


class ValueState(_Declared, Generic[T]):
    """One value, read and assigned as an attribute: ``self.total += row["price"]``.

    Args:
        type: of the value, as ``schema=`` takes types: Python's, Arrow's, a name of one; a dataclass, or a
            dict of names and types. It may always be None.
        default: the value of a key that none was assigned for.
        shared: one value for all keys, which only methods of broadcast inputs may change.
    """

    def __init__(self, type: type[T] | Any, default: T | None = None, *, shared: bool = False) -> None:
        self.type, self.default, self.shared = type, default, shared

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> Self | T:
        return self if instance is None else self._outside()

    def __set__(self, instance: object, value: T) -> None:
        self._outside()


class ListState(_Declared, Generic[T]):
    """A list: ``self.waiting.append(ride)``; empty at first.

    Args:
        type: of its items; see `ValueState`.
        shared: one list for all keys, which only methods of broadcast inputs may change.
    """

    def __init__(self, type: type[T] | Any, *, shared: bool = False) -> None:
        self.type, self.shared = type, shared

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> MutableSequence[T]: ...

    def __get__(self, instance: object | None, owner: type) -> Self | MutableSequence[T]:
        return self if instance is None else self._outside()

    def __set__(self, instance: object, value: Any) -> None:
        self._outside()


class MapState(_Declared, Generic[K, V]):
    """A dict: ``self.orders[row["order"]] = row["price"]``; empty at first.

    Args:
        key_type: of its keys: numbers, text, bytes, times; not None.
        type: of its values; see `ValueState`.
        shared: one dict for all keys, which only methods of broadcast inputs may change.
    """

    def __init__(self, key_type: type[K] | Any, type: type[V] | Any, *, shared: bool = False) -> None:
        self.key_type, self.type, self.shared = key_type, type, shared

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> MutableMapping[K, V]: ...

    def __get__(self, instance: object | None, owner: type) -> Self | MutableMapping[K, V]:
        return self if instance is None else self._outside()

    def __set__(self, instance: object, value: Any) -> None:
        self._outside()


Declared = ValueState[Any] | ListState[Any] | MapState[Any, Any]
