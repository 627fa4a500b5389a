"""`process` in plain Python, a row at a time: SEMANTICS 2 to 4 with lists, dicts and loops.

It shares no code with the engine. A row is late by its mark alone; all rows of all inputs are put into one
list and sorted; timers are looked for in all keys after each row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

BEFORE_ALL = -(2**63)

Row = dict[str, Any]


@dataclass
class Input:
    """One input: splits of rows, each with its time in ``t``, ns.

    Attributes:
        name: as the method is called: ``row`` for the first one.
        shared: whether it is broadcast.
    """

    name: str
    splits: Sequence[Sequence[Row]]
    delay: int
    shared: bool = False


@dataclass
class Key:
    """What is kept of a key: attributes as the processor has them, and its timers."""

    state: Any
    last: int = 0
    timers: dict[str, int] = field(default_factory=dict)


@dataclass
class Plain:
    """The run.

    Attributes:
        act: what a call does, given (state, context, what, given); the processor of the test does the same.
        fresh: makes the state of a key.
        shared: the state of all keys.
        emitted: what came out: (output, row, time).
        late: by input, its late rows with `late_by`.
        failed: the calls that raised.
    """

    act: Callable[[Any, Any, str, Any], None]
    fresh: Callable[[], Any]
    shared: Any
    lateness: int = 0
    ttl: int | None = None
    keys: dict[Any, Key] = field(default_factory=dict)
    emitted: list[tuple[str | None, Row, int]] = field(default_factory=list)
    late: dict[str, list[Row]] = field(default_factory=dict)
    failed: list[tuple[str, Any]] = field(default_factory=list)

    def run(self, inputs: Sequence[Input]) -> Plain:
        """All rows, then all timers."""
        ranked = sorted(range(len(inputs)), key=lambda n: (not inputs[n].shared, n))
        rows = []
        for rank, number in enumerate(ranked):
            given = inputs[number]
            for split, position, row, mark in marked(given):
                if mark > row["t"] + self.lateness:
                    by = mark - self.lateness - row["t"]
                    self.late.setdefault(given.name, []).append({**row, "late_by": by})
                else:
                    rows.append(((row["t"], rank, split, position), given, row))
        for (time, *_), given, row in sorted(rows, key=lambda each: each[0]):
            self.fire(time)
            if given.shared:
                self.call(None, None, time, given.name, row)
                continue
            key = self.keys.setdefault(row["k"], Key(self.fresh(), time))
            if self.ttl is not None and time > key.last + self.ttl:
                key.state, key.timers = self.fresh(), {}
            before, key.last = key.last, time
            if not self.call(key, row["k"], time, given.name, row):
                key.last = before
        self.fire(None)
        return self

    def fire(self, before: int | None) -> None:
        """The timers that are due before a time, in the order of (time, name)."""
        while True:
            due = [
                (at, name, number)
                for number, key in enumerate(self.keys.values())
                for name, at in key.timers.items()
                if before is None or at < before
            ]
            if not due:
                return
            at, name, number = min(due)
            value, key = list(self.keys.items())[number]
            del key.timers[name]
            if self.ttl is not None and at > key.last + self.ttl:
                continue
            self.call(key, value, at, "timer", name)

    def call(self, key: Key | None, value: Any, time: int, what: str, given: Any) -> bool:
        """One call; whether it went well. One that fails leaves nothing behind."""
        state = self.shared if key is None else key.state
        kept, timers = state.copy(), dict(key.timers) if key is not None else {}
        count = len(self.emitted)
        try:
            self.act(state, PlainContext(self, value, time, key), what, given)
        except ArithmeticError:
            state.become(kept)
            if key is not None:
                key.timers = timers
            del self.emitted[count:]
            self.failed.append((what, given))
            return False
        return True


@dataclass
class PlainContext:
    """What the call may do."""

    run: Plain
    key: Any
    time_ns: int
    of: Key | None

    def emit(self, row: Row, to: str | None = None) -> None:
        """Sends a row out."""
        self.run.emitted.append((to, dict(row), self.time_ns))

    def timer(self, name: str, after_ns: int) -> None:
        """Sets or moves a timer."""
        assert self.of is not None
        self.of.timers[name] = self.time_ns + after_ns

    def cancel_timer(self, name: str) -> None:
        """Takes a timer back."""
        assert self.of is not None
        self.of.timers.pop(name, None)


def marked(given: Input) -> list[tuple[int, int, Row, int]]:
    """The rows with their split, their position and their mark: the largest time before, less the delay."""
    found = []
    for split, rows in enumerate(given.splits):
        mark = BEFORE_ALL
        for position, row in enumerate(rows):
            found.append((split, position, row, mark))
            mark = max(mark, row["t"] - given.delay)
    return found
