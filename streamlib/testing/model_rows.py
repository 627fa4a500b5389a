"""The rows of the model: values, and what decides about them."""

from __future__ import annotations

from dataclasses import dataclass

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


def order_of(row: ModelRow) -> tuple[object, ...]:
    """SEMANTICS 3: by time, then place in the input; results by time, then their visible columns."""
    if row.split is None:
        shown = tuple((value is None, 0 if value is None else value) for value in row.values.values())
        return row.time, shown
    return row.time, row.split, row.position, row.path
