"""The rows of the model: values, and what decides about them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from streamlib.testing.specs import RowData

BEFORE_ALL = -(2**63)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A row with what decides about it.

    Attributes:
        values: the visible columns.
        split: (source in plan order, split); None for results.
        position: within the split, as `event_time` met it.
        path: how it became of that row, step by step: its number among the rows that one row became, and
            the sides of unions that it came by.
        time: event time, ns.
        mark: SEMANTICS 2; BEFORE_ALL where it cannot be late.
    """

    values: RowData
    split: tuple[int, int] | None
    position: int = 0
    path: tuple[int, ...] = ()
    time: int = 0
    mark: int = BEFORE_ALL

    def with_values(self, values: RowData) -> ModelRow:
        """The same row with other columns."""
        return replace(self, values=values)

    def never_late(self) -> ModelRow:
        """The same row behind a step that has waited for it."""
        return replace(self, mark=BEFORE_ALL)


def result(values: RowData, time: int) -> ModelRow:
    """A row that a step with state gives: it is never late, and has no place in the input."""
    return ModelRow(values, None, time=time)


def key_of(row: ModelRow, keys: tuple[str, ...]) -> tuple[object, ...]:
    """The values of some columns."""
    return tuple(row.values[name] for name in keys)


def by_key(rows: list[ModelRow], keys: tuple[str, ...]) -> dict[tuple[object, ...], list[ModelRow]]:
    """The rows of each key, in their order."""
    found: dict[tuple[object, ...], list[ModelRow]] = {}
    for row in sorted(rows, key=order_of):
        found.setdefault(key_of(row, keys), []).append(row)
    return found


def taken(rows: list[ModelRow], lateness: int) -> tuple[list[ModelRow], list[ModelRow]]:
    """The rows that a step takes which refuses them by their own time, and those that are late for it."""
    mine = [row for row in rows if row.mark <= row.time + lateness]
    late = [row for row in rows if row.mark > row.time + lateness]
    return mine, [r.with_values({**r.values, "late_by": r.mark - r.time - lateness}) for r in late]


def order_of(row: ModelRow) -> tuple[object, ...]:
    """SEMANTICS 3: by time, then place in the input; results by time, then their visible columns."""
    if row.split is None:
        shown = tuple((value is None, 0 if value is None else value) for value in row.values.values())
        return row.time, shown
    return row.time, row.split, row.position, row.path
