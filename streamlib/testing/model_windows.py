"""Windows of the model: which ones a row is in, when they refuse it, and what their rows aggregate to."""

from __future__ import annotations

import math
from collections.abc import Iterator

from streamlib.testing.model_rows import ModelRow
from streamlib.testing.specs import PLANS, RowData, Windowed

BY_TIME_OF_ROW = ("session", "rows")
"""Windows that refuse a row by its own time."""


def windows_of(time: int, spec: Windowed, values: RowData) -> list[tuple[int, int]]:
    """The bounds of the windows that a row is in, the one that ends first before the others.

    Of a session, and of windows by rows, those that it would have if the row were alone.

    >>> from streamlib.testing.specs import Read
    >>> windows_of(7, Windowed(Read(0), (), 10, 0, 0, "sums", "hopping", 4), {})
    [(0, 10), (4, 14)]
    """
    if spec.kind == "same":
        return [(int(str(values["window_start"])), int(str(values["window_end"])))]
    if spec.kind == "hopping":
        found = []
        start = (time - spec.offset) // spec.every * spec.every + spec.offset
        while start + spec.size > time:
            found.append((start, start + spec.size))
            start -= spec.every
        return found[::-1]
    if spec.kind == "session":
        return [(time, time + spec.size)]
    if spec.kind == "rows":
        return [(time, time)]
    start = (time - spec.offset) // spec.size * spec.size + spec.offset
    if spec.kind == "tumbling":
        return [(start, start + spec.size)]
    ends = range(start + spec.every, start + spec.size + 1, spec.every)
    return [(start, end) for end in ends if end > time]


def closings(row: ModelRow, spec: Windowed) -> list[int]:
    """The marks from which on the windows of a row refuse it. A session does when the mark lies after the row."""
    if spec.kind in BY_TIME_OF_ROW:
        return [row.time + spec.lateness + 1]
    return [end + spec.lateness for _, end in windows_of(row.time, spec, row.values)]


def late_row(row: ModelRow, spec: Windowed) -> tuple[int, ModelRow]:
    """Of how many of its windows a row is too late by its mark, and the row as it is late."""
    missed = sum(row.mark >= closes for closes in closings(row, spec))
    return missed, shown_late(row, spec, missed)


def shown_late(row: ModelRow, spec: Windowed, missed: int) -> ModelRow:
    """The row with the columns of late rows."""
    start, end = windows_of(row.time, spec, row.values)[0]
    bounds: RowData = {"late_by": row.mark - closings(row, spec)[0] + (spec.kind in BY_TIME_OF_ROW)}
    if spec.kind != "rows":
        bounds.update({"windows_late": missed, "window_start": start, "window_end": end})
    return row.with_values({**row.values, **bounds})


def aggregated(members: list[ModelRow], plan: str) -> RowData:
    """The aggregates of a plan over rows in their order."""
    return {
        name: _value(aggregate, [m.values[column] if column else 0 for m in members])
        for name, aggregate, column in PLANS[plan]
    }


def sessions(
    groups: dict[tuple[object, ...], list[ModelRow]], spec: Windowed
) -> dict[tuple[object, ...], list[ModelRow]]:
    """The windows of single times put together, in the order of time."""
    found: dict[tuple[object, ...], list[ModelRow]] = {}
    open_ones: dict[tuple[object, ...], tuple[int, int]] = {}
    for (*key, begin, _), members in sorted(groups.items(), key=lambda item: int(str(item[0][-2]))):
        time, of = int(str(begin)), tuple(key)
        first, last = open_ones.get(of, (time, time))
        joins = time - last <= spec.size and (not spec.every or time - first <= spec.every)
        before = found.pop((*of, first, last + spec.size), []) if joins else []
        first = first if joins else time
        open_ones[of] = first, time
        found[*of, first, time + spec.size] = before + members
    return found


def bars(
    groups: dict[tuple[object, ...], list[ModelRow]], spec: Windowed
) -> list[tuple[tuple[object, ...], list[ModelRow]]]:
    """The rows of each key, so many at a time; those of windows that are not full are in none.

    Windows that overlap end with every so many rows.
    """
    rows: dict[tuple[object, ...], list[ModelRow]] = {}
    for (*key, _, _), members in groups.items():  # in the order of time
        rows.setdefault(tuple(key), []).extend(members)
    found = []
    for of, mine in rows.items():
        every = spec.every or spec.size
        for end in range(every, len(mine) + 1, every):
            if end < spec.size:
                continue
            members = mine[end - spec.size : end]
            found.append(((*of, members[0].time, members[-1].time), members))
    return found


def following(end: int, until: int, spec: Windowed) -> Iterator[tuple[int, int]]:
    """The bounds of the windows that end after `end` and by `until`.

    >>> from streamlib.testing.specs import Read
    >>> list(following(10, 26, Windowed(Read(0), (), 10, 0, 0, "sums", "hopping", 5)))
    [(5, 15), (10, 20), (15, 25)]
    """
    step = spec.size if spec.kind == "tumbling" else spec.every
    while end + step <= until:
        end += step
        size = spec.size if spec.kind != "cumulative" else (end - spec.offset - 1) % spec.size + 1
        yield end - size, end


def _value(aggregate: str, values: list[object]) -> object:
    """One aggregate over the values of a window's rows, in their order."""
    if aggregate in ("first", "last"):
        return values[0 if aggregate == "first" else -1]
    numbers = [value for value in values if isinstance(value, int | float)]
    if aggregate == "count":
        return len(numbers)
    if aggregate == "sum":
        whole = all(isinstance(number, int) for number in numbers)
        return sum(numbers) if whole and numbers else math.fsum(numbers)
    if not numbers:
        return None
    if aggregate == "mean":
        return math.fsum(numbers) / len(numbers)
    return min(numbers) if aggregate == "min" else max(numbers)
