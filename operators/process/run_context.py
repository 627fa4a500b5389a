"""What a processor's methods are given besides the row: `Context`, as the engine fills it in."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa

from streamlib.contracts import Context
from streamlib.elements import MAX_TIME, duration_ns
from streamlib.errors import nearest_names
from streamlib.operators.functions.arrays import array_of
from streamlib.operators.functions.values import zone_of
from streamlib.operators.process.emitted import Emitted
from streamlib.operators.process.timers import KeyState, Timers

_EPOCH = dt.datetime(1970, 1, 1)
_EPOCH_UTC = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_UTC = pa.timestamp("ns", "UTC")


def instant(ns: int, zone: str | None) -> Any:
    """A time as Python has it; finer than a microsecond it is NumPy's.

    >>> instant(1_500_000_000, None)
    datetime.datetime(1970, 1, 1, 0, 0, 1, 500000)
    """
    microseconds, rest = divmod(ns, 1_000)
    if rest:
        return np.datetime64(ns, "ns")
    if zone is None:
        return _EPOCH + dt.timedelta(microseconds=microseconds)
    return (_EPOCH_UTC + dt.timedelta(microseconds=microseconds)).astimezone(zone_of(zone))


def instant_ns(value: Any) -> int:
    """An instant as ns; without a time zone it is UTC. Raises Misfit for what is none."""
    if type(value) is dt.datetime:
        since = value - (_EPOCH if value.tzinfo is None else _EPOCH_UTC)
        return (since // _MICROSECOND) * 1_000
    return int(array_of([value], _UTC).cast(pa.int64())[0].as_py())


class RunContext(Context):
    """The turn of one key.

    Args:
        outputs: by name, the main one's None.
        timers: of all keys.
        zone: of the times that rows have.
        has_timers: whether the class takes timers.

    Attributes:
        emitted: how many rows wait to be sent on.
        now: the time, ns.
        state: of the key.
    """

    __slots__ = (
        "_durations",
        "_has_timers",
        "_outputs",
        "_timers",
        "_zone",
        "emitted",
        "key",
        "now",
        "state",
    )

    key: Any

    def __init__(
        self, outputs: dict[str | None, Emitted], timers: Timers, zone: str | None, has_timers: bool
    ) -> None:
        self._outputs, self._timers, self._zone, self._has_timers = outputs, timers, zone, has_timers
        self._durations: dict[str | dt.timedelta | None, int] = {}
        self.state = KeyState(None)
        self.now = 0
        self.emitted = 0
        self.key = None

    @property
    def time(self) -> Any:
        return instant(self.now, self._zone)

    def emit(self, row: Any, to: str | None = None) -> None:
        output = self._outputs.get(to)
        if output is None:
            raise ValueError(_no_output(to, self._outputs))
        output.add(row, self.now)
        self.emitted += 1

    def timer(
        self, name: str, *, after: str | dt.timedelta | None = None, at: dt.datetime | None = None
    ) -> None:
        if at is None and after in self._durations:
            due = self.now + self._durations[after]
        else:
            due = self._due(after, at)
        timers = self.state.timers
        if timers is not None:  # most timers are moved to later: that is all there is to do then
            found = timers.get(name)
            if found is not None and found[1] <= due <= MAX_TIME:
                found[0] = due
                return
        self._set(name, due)

    def _set(self, name: str, due: int) -> None:
        if not self._has_timers:
            raise TypeError("a timer needs a method that takes it: def on_timer(self, name, ctx)")
        if type(name) is not str:
            raise TypeError(f"a timer's name is a text, not {name!r}")
        self._timers.set(self.state, name, min(MAX_TIME, due))

    def _due(self, after: str | dt.timedelta | None, at: dt.datetime | None) -> int:
        if (after is None) == (at is None):
            raise TypeError('a timer needs after= or at=, such as ctx.timer("late", after="2m")')
        if after is None:
            return max(self.now, instant_ns(at))
        wait = duration_ns(after, "after")
        if wait < 0:
            raise ValueError(f"after= must not be negative: {after!r}")
        if len(self._durations) < 1_000:
            self._durations[after] = wait
        return self.now + wait

    def cancel_timer(self, name: str) -> None:
        self._timers.cancel(self.state, name)


class SharedContext(Context):
    """The turn of a row of a broadcast input, which is for all keys."""

    def __init__(self, zone: str | None) -> None:
        self._zone = zone
        self.now = 0

    @property
    def time(self) -> Any:
        return instant(self.now, self._zone)

    @property
    def key(self) -> Any:
        self._refuse("it has no key")

    def emit(self, row: Any, to: str | None = None) -> None:
        self._refuse("every worker is given it, so that each would send the row out")

    def timer(
        self, name: str, *, after: str | dt.timedelta | None = None, at: dt.datetime | None = None
    ) -> None:
        self._refuse("it has no key that a timer could be of")

    def cancel_timer(self, name: str) -> None:
        self._refuse("it has no key that a timer could be of")

    def _refuse(self, why: str) -> Any:
        raise RuntimeError(f"a row of a broadcast input only changes shared state: {why}")


def _no_output(name: object, outputs: dict[str | None, Emitted]) -> str:
    known = [output for output in outputs if output is not None]
    near = nearest_names(name, known) if isinstance(name, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"there is no output {name!r} among outputs={{{', '.join(map(repr, known))}}}{hint}"
