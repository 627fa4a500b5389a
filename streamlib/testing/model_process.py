"""What the processor of the simulation must give, computed as in `streamlib.testing.model`: a key at a time."""

from __future__ import annotations

from streamlib.testing.model_rows import ModelRow, by_key, order_of, result
from streamlib.testing.model_steps import number
from streamlib.testing.specs import Processed, RowData

PASSED = ("k", "g", "v", "n", "id")
"""The columns of a row that the processor sends on."""


def processed(
    rows: list[ModelRow], more: list[ModelRow], rules: list[ModelRow], spec: Processed
) -> tuple[list[ModelRow], list[ModelRow]]:
    """The rows of the main output, and those that timers send out."""
    mine, further = by_key(rows, spec.keys), by_key(more, spec.keys)
    rules = sorted(rules, key=order_of)
    found: list[ModelRow] = []
    timed: list[ModelRow] = []
    for key in {**mine, **further}:
        events = [(row.time, 0, row) for row in mine.get(key, [])]
        events += [(row.time, 1, row) for row in further.get(key, [])]
        state = _Key(dict(zip(spec.keys, key, strict=True)), spec, rules)
        for time, side, row in sorted(events, key=lambda event: event[:2]):  # stable: rows stay in order
            timed += state.fire(time)
            found.append(state.take(time, side, row))
        timed += state.fire(None)
    return found, timed


class _Key:
    """What is kept of one key."""

    def __init__(self, key: RowData, spec: Processed, rules: list[ModelRow]) -> None:
        self.key, self.spec, self.rules = key, spec, rules
        self.last: int | None = None
        self._begin()

    def _begin(self) -> None:
        self.count = self.total = 0
        self.timer: int | None = None

    def _limit(self, time: int) -> int | None:
        known = [number(rule) for rule in self.rules if rule.time <= time]
        return known[-1] if known else None

    def fire(self, before: int | None) -> list[ModelRow]:
        """What its timer sends out before the rows of a time; after that what is too old is forgotten."""
        ends = None if self.last is None or not self.spec.ttl else self.last + self.spec.ttl
        sent = []
        at = self.timer
        if at is not None and (before is None or at < before) and (ends is None or at <= ends):
            values = {**self.key, "n": self.count, "v": None, "total": self.total, "limit": self._limit(at)}
            sent.append(result(values, at))
            self.count, self.timer = 0, None
        if ends is not None and (before is None or before > ends):
            self._begin()
        return sent

    def take(self, time: int, side: int, row: ModelRow) -> ModelRow:
        """What becomes of the next row."""
        n, self.last = number(row), time
        self.count += 1
        self.total += n + 100 * side
        if side == 0 and n % 2 == 0:
            self.timer = time + self.spec.after
        if side == 1 and n > 6:
            self.timer = None
        counted: RowData = {"count": self.count, "total": self.total, "limit": self._limit(time)}
        return result({**{name: row.values[name] for name in PASSED}, **counted}, time)
