"""The pane store, written plainly: a dict of dicts of lists of rows, and results recomputed from scratch."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pyarrow as pa

from streamlib.aggregates import Aggregate

Row = tuple[int, int, int, tuple[Any, ...]]  # time, order, arrival, inputs


def canonical(value: Any) -> Any:
    """What makes two key values equal: one zero, one NaN."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value + 0.0
    return value


class Simulator:
    """Rows per window start and key."""

    def __init__(self, ordered: bool) -> None:
        self.panes: dict[int, dict[tuple[Any, ...], list[Row]]] = {}
        self.ordered = ordered
        self.arrivals = 0

    def add(
        self,
        keys: pa.RecordBatch,
        starts: list[int],
        inputs: list[pa.Array],
        time: list[int],
        order: list[int] | None,
    ) -> None:
        columns = [column.to_pylist() for column in keys.columns]
        values = [column.to_pylist() for column in inputs]
        for i, start in enumerate(starts):
            key = tuple(canonical(column[i]) for column in columns)
            self.arrivals += 1
            row = (
                time[i],
                order[i] if order else 0,
                self.arrivals,
                tuple(column[i] for column in values),
            )
            self.panes.setdefault(start, {}).setdefault(key, []).append(row)

    def results(
        self, start: int, aggregates: list[tuple[Aggregate, int | None, Any]]
    ) -> dict[Any, list[Any]]:
        return {
            key: [expected(a.name, index, kind, rows) for a, index, kind in aggregates]
            for key, rows in self.panes[start].items()
        }


def expected(name: str, index: int | None, kind: Any, rows: list[Row]) -> Any:
    """One aggregate over the rows of a key."""
    if index is None:
        return len(rows)
    in_order = sorted(rows)
    if name in ("first", "last"):
        return in_order[0 if name == "first" else -1][3][index]
    values = [row[3][index] for row in rows if row[3][index] is not None]
    if name == "count":
        return len(values)
    if name == "sum":
        return exact_sum(values)
    if not values:
        return None
    if name == "mean":
        return (exact_sum(values) if pa.types.is_floating(kind) else sum(values)) / len(values)
    numbers = [v for v in values if not (isinstance(v, float) and math.isnan(v))]
    if not numbers:
        return math.nan
    return min(numbers) if name == "min" else max(numbers)


def exact_sum(values: list[Any]) -> Any:
    """The sum, rounded once."""
    if any(isinstance(v, float) and not math.isfinite(v) for v in values):
        return sum(values)
    total = sum((Fraction(v) for v in values), Fraction(0))
    return float(total) if any(isinstance(v, float) for v in values) else int(total)


def same(got: Any, want: Any) -> bool:
    """Equal, NaN to NaN, and floats but for the last bits."""
    if isinstance(want, float) and isinstance(got, float):
        if math.isnan(want) or math.isnan(got):
            return math.isnan(want) and math.isnan(got)
        return got == want or math.isclose(got, want, rel_tol=1e-13, abs_tol=1e-300)
    return bool(got == want)
