"""What a job must give, computed from SEMANTICS 1 to 4 with dicts and loops, a row at a time.

It shares no code with the engine: no Arrow, no NumPy, no batches, no workers, no watermark. A row is
late by its mark alone, and a window's rows are taken in the order of SEMANTICS 3; that is all there
is to the rules, and every speed-up of the engine must agree with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from streamlib.testing.model_rows import BEFORE_ALL, ModelRow, order_of
from streamlib.testing.model_steps import joined, scanned
from streamlib.testing.specs import (
    PLANS,
    Apply,
    Joined,
    Read,
    RowData,
    Scanned,
    Spec,
    Timed,
    Union,
    Windowed,
    all_specs,
)

BY_TIME_OF_ROW = ("session", "rows")
"""Windows that refuse a row by its own time."""


def run_model(
    sources: Sequence[Sequence[Sequence[RowData]]],
    sinks: tuple[Spec, ...],
    refused: Mapping[int, Mapping[object, int]] | None = None,
) -> list[list[RowData]]:
    """The rows of each sink, in no particular order.

    Args:
        sources: by number: splits, and their rows in order.
        sinks: what to compute.
        refused: of how many windows the rows with these ids were late, by `id(spec)`, instead of the
            rule: for runs in which entry marks depend on timing.
    """
    made: dict[int, list[ModelRow]] = {}
    ranks: dict[int, int] = {}
    late: dict[int, list[ModelRow]] = {}
    for spec in all_specs(sinks):
        if isinstance(spec, Read):
            rank = ranks.setdefault(spec.source, len(ranks))
            made[id(spec)] = [
                ModelRow(values, (rank, number))
                for number, rows in enumerate(sources[spec.source])
                for values in rows
            ]
        elif isinstance(spec, Apply):
            made[id(spec)] = _apply(made[id(spec.input)], spec.function)
        elif isinstance(spec, Timed):
            made[id(spec)] = _stamp(made[id(spec.input)], spec)
        elif isinstance(spec, Union):
            made[id(spec)] = [
                replace(row, path=(*row.path, side))
                for side, source in enumerate(spec.inputs)
                for row in made[id(source)]
            ]
        elif isinstance(spec, Windowed):
            chosen = None if refused is None else refused.get(id(spec))
            made[id(spec)], late[id(spec)] = _aggregate(made[id(spec.input)], spec, chosen)
            if spec.updates:
                first, _ = _aggregate(made[id(spec.input)], replace(spec, lateness=0), None)
                made[id(spec)] = _changes(first, made[id(spec)], spec)
        elif isinstance(spec, Scanned):
            made[id(spec)] = scanned(made[id(spec.input)], spec)
        elif isinstance(spec, Joined):
            made[id(spec)] = joined(made[id(spec.left)], made[id(spec.right)], spec)
        else:
            made[id(spec)] = late[id(spec.window)]
    return [[row.values for row in made[id(sink)]] for sink in sinks]


def apply_to_row(values: RowData, function: str) -> list[RowData]:
    """What a step on single rows makes of one row."""
    n, v = values["n"], values["v"]
    assert isinstance(n, int) and (v is None or isinstance(v, float))
    if function == "keep_large":
        return [values] if n > 2 else []
    if function == "keep_keyed":
        return [values] if values["k"] is not None else []
    if function == "keep_valued":
        return [values] if v is not None and v < 6 else []
    if function == "add_one":
        return [{**values, "n": n + 1}]
    if function == "double":
        return [{**values, "v": None if v is None else v * 2}]
    if function == "drop_even":
        return [values] if n % 2 else []
    if function == "twice":
        return [values, {**values, "n": n + 10}]
    assert function == "same"
    return [values]


def _apply(rows: list[ModelRow], function: str) -> list[ModelRow]:
    made = []
    for row in rows:
        for ordinal, values in enumerate(apply_to_row(row.values, function)):
            path = (*row.path, ordinal) if function == "twice" else row.path
            made.append(replace(row, values=values, path=path))
    return made


def _stamp(rows: list[ModelRow], spec: Timed) -> list[ModelRow]:
    """SEMANTICS 2: the mark is the largest time before the row in its split, less `max_delay`."""
    progress: dict[tuple[int, int], _SplitModel] = {}
    stamped = []
    for row in rows:
        assert row.split is not None
        split = progress.setdefault(row.split, _SplitModel())
        time = row.values["ts"]
        assert isinstance(time, int)
        mark = split.meet(time, tuple(row.values[name] for name in spec.per), spec.max_delay)
        stamped.append(replace(row, position=split.rows, path=(), time=time, mark=mark))
    return stamped


@dataclass(slots=True)
class _SplitModel:
    """One split; its rows belong to values of the `per` columns, of which there is only () without them."""

    rows: int = 0
    largest: dict[tuple[object, ...], int] = field(default_factory=dict)
    floor: dict[tuple[object, ...], int] = field(default_factory=dict)
    reached: int = BEFORE_ALL

    def meet(self, time: int, value: tuple[object, ...], max_delay: int | None) -> int:
        """The mark of the next row. A new value enters at what the whole split has reached before it."""
        self.rows += 1
        if max_delay is None:
            return BEFORE_ALL
        if self.largest:
            self.reached = max(self.reached, min(self.largest.values()) - max_delay)
        if value not in self.largest:
            mark = self.floor[value] = self.reached
        else:
            mark = max(self.floor[value], self.largest[value] - max_delay)
        self.largest[value] = max(time, self.largest.get(value, time))
        return mark


def windows_of(time: int, spec: Windowed, values: RowData) -> list[tuple[int, int]]:
    """The bounds of the windows that a row is in, the one that ends first before the others.

    Of a session, and of windows by rows, those that it would have if the row were alone.

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


def _aggregate(
    rows: list[ModelRow], spec: Windowed, refused: Mapping[object, int] | None
) -> tuple[list[ModelRow], list[ModelRow]]:
    groups: dict[tuple[object, ...], list[ModelRow]] = {}
    late = []
    for row in sorted(rows, key=order_of):
        windows = windows_of(row.time, spec, row.values)
        if refused is None:
            missed = sum(row.mark >= closes for closes in _closings(row, spec))
        else:
            missed = refused.get(row.values.get("id"), 0)
        if missed:
            start, end = windows[0]
            over = row.mark - _closings(row, spec)[0] + (spec.kind in BY_TIME_OF_ROW)
            bounds: RowData = {"late_by": over}
            if spec.kind != "rows":
                bounds.update({"windows_late": missed, "window_start": start, "window_end": end})
            late.append(replace(row, values={**row.values, **bounds}))
        for bounds_of_one in windows[missed:]:
            groups.setdefault((*(row.values[k] for k in spec.keys), *bounds_of_one), []).append(row)
    if spec.kind == "session":
        groups = _sessions(groups, spec)
    results = []
    found = _bars(groups, spec) if spec.kind == "rows" else list(groups.items())
    for (*key, begin, finish), members in found:
        values: RowData = dict(zip(spec.keys, key, strict=True))
        values["window_start"], values["window_end"] = begin, finish
        time = int(str(finish)) - (spec.kind != "rows")
        if spec.top:
            results += _ranked(values, members, spec, time)
            continue
        for name, aggregate, column in PLANS[spec.plan]:
            values[name] = _value(aggregate, [m.values[column] if column else 0 for m in members])
        results.append(ModelRow(values, None, time=time))
    return results, late


def _ranked(values: RowData, members: list[ModelRow], spec: Windowed, time: int) -> list[ModelRow]:
    """The rows of one window in which `v` is largest; of equal ones those that come first."""
    valued = [m for m in members if m.values["v"] is not None]
    best = sorted(valued, key=lambda m: -float(str(m.values["v"])))[: spec.top]
    return [
        ModelRow(
            {**values, "rank": rank, **{n: v for n, v in m.values.items() if n not in values}},
            None,
            time=time,
        )
        for rank, m in enumerate(best, start=1)
    ]


def _changes(first: list[ModelRow], whole: list[ModelRow], spec: Windowed) -> list[ModelRow]:
    """The results without lateness, and what makes those with lateness of them."""
    found = [_change(row, 0, "insert") for row in first]
    for row in whole:
        start, end = row.values["window_start"], row.values["window_end"]
        if any(row.values == one.values for one in first):
            continue
        inside = [one for one in first if _lies_in(one, row, spec)]
        same = [
            one for one in inside if (one.values["window_start"], one.values["window_end"]) == (start, end)
        ]
        if spec.kind == "session":
            found += [_change(one, 0, "delete") for one in inside if one not in same]
        found.append(_change(row, 1, "update" if same else "insert"))
    return found


def _lies_in(one: ModelRow, other: ModelRow, spec: Windowed) -> bool:
    """Whether one window of a key lies in another."""
    begins, ends = (int(str(one.values[name])) for name in ("window_start", "window_end"))
    start, end = (int(str(other.values[name])) for name in ("window_start", "window_end"))
    return all(one.values[k] == other.values[k] for k in spec.keys) and start <= begins and ends <= end


def _change(row: ModelRow, revision: int, change: str) -> ModelRow:
    return replace(row, values={**row.values, "revision": revision, "change": change})


def _closings(row: ModelRow, spec: Windowed) -> list[int]:
    """The marks from which on the windows of a row refuse it. A session does when the mark lies after the row."""
    if spec.kind in BY_TIME_OF_ROW:
        return [row.time + spec.lateness + 1]
    return [end + spec.lateness for _, end in windows_of(row.time, spec, row.values)]


def _sessions(
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


def _bars(
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
