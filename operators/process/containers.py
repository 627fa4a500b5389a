"""The lists and dicts that a processor keeps: Python's own, which take only what fits their types.

Before one changes, `touch` is told: it refuses where that must not be, and keeps what is there where the call
may have to be taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, SupportsIndex

from streamlib.operators.process.fits import copied


class Owner(Protocol):
    """The state that a list or dict belongs to."""

    nested: bool

    def fit(self, value: Any) -> Any:
        """The value as it is kept."""

    def fit_key(self, key: Any) -> Any:
        """The key of a map as it is kept."""

    def touch(self, container: Any) -> None:
        """A list or dict of this state is about to change."""


class StateList(list[Any]):
    """A list that takes what fits its type."""

    __slots__ = ("_bound",)

    def __init__(self, bound: Owner) -> None:
        self._bound = bound

    def restorer(self) -> Callable[[], object]:
        """A function that makes it what it is now."""
        kept = [copied(item) for item in self] if self._bound.nested else list(self)
        return lambda: list.__setitem__(self, slice(None), kept)

    def replace(self, items: Iterable[Any]) -> None:
        """Other items instead."""
        self[:] = items

    def append(self, item: Any) -> None:
        self._bound.touch(self)
        list.append(self, self._bound.fit(item))

    def extend(self, items: Iterable[Any]) -> None:
        self._bound.touch(self)
        list.extend(self, [self._bound.fit(item) for item in items])

    def insert(self, index: SupportsIndex, item: Any) -> None:
        self._bound.touch(self)
        list.insert(self, index, self._bound.fit(item))

    def __setitem__(self, index: Any, value: Any) -> None:
        self._bound.touch(self)
        fit = self._bound.fit
        list.__setitem__(self, index, [fit(v) for v in value] if isinstance(index, slice) else fit(value))

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        self._bound.touch(self)
        list.__delitem__(self, index)

    def __iadd__(self, items: Iterable[Any]) -> StateList:  # type: ignore[misc]
        self.extend(items)
        return self

    def __imul__(self, times: SupportsIndex) -> StateList:
        self._bound.touch(self)
        list.__imul__(self, times)
        return self

    def pop(self, index: SupportsIndex = -1) -> Any:
        self._bound.touch(self)
        return list.pop(self, index)

    def remove(self, item: Any) -> None:
        self._bound.touch(self)
        list.remove(self, item)

    def clear(self) -> None:
        self._bound.touch(self)
        list.clear(self)

    def sort(self, **options: Any) -> None:
        self._bound.touch(self)
        list.sort(self, **options)

    def reverse(self) -> None:
        self._bound.touch(self)
        list.reverse(self)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return list, (list(self),)


class StateMap(dict[Any, Any]):
    """A dict that takes what fits its types."""

    __slots__ = ("_bound",)

    def __init__(self, bound: Owner) -> None:
        self._bound = bound

    def restorer(self) -> Callable[[], object]:
        """A function that makes it what it is now."""
        kept = {key: copied(value) for key, value in self.items()} if self._bound.nested else dict(self)

        def restore() -> None:
            dict.clear(self)
            dict.update(self, kept)

        return restore

    def replace(self, items: Mapping[Any, Any]) -> None:
        """Other items instead."""
        given = dict(items or {})
        self.clear()
        self.update(given)

    def __setitem__(self, key: Any, value: Any) -> None:
        bound = self._bound
        bound.touch(self)
        dict.__setitem__(self, bound.fit_key(key), bound.fit(value))

    def __delitem__(self, key: Any) -> None:
        self._bound.touch(self)
        dict.__delitem__(self, key)

    def pop(self, key: Any, *default: Any) -> Any:
        self._bound.touch(self)
        return dict.pop(self, key, *default)

    def popitem(self) -> tuple[Any, Any]:
        self._bound.touch(self)
        return dict.popitem(self)

    def clear(self) -> None:
        self._bound.touch(self)
        dict.clear(self)

    def update(self, *given: Any, **named: Any) -> None:
        for key, value in dict(*given, **named).items():
            self[key] = value

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def __ior__(self, other: Any) -> StateMap:  # type: ignore[misc]
        self.update(other)
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return dict, (dict(self),)
