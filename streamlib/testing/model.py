"""What a job must give, computed from SEMANTICS 1 to 4 with dicts and loops, a row at a time.

It shares no code with the engine: no Arrow, no NumPy, no batches, no workers, no watermark. A row is
late by its mark alone, and a window's rows are taken in the order of SEMANTICS 3; that is all there
is to the rules, and every speed-up of the engine must agree with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from streamlib.testing.model_joins import joined, paired
from streamlib.testing.model_process import processed
from streamlib.testing.model_rows import BEFORE_ALL, ModelRow, order_of, taken
from streamlib.testing.model_steps import deduped, rolled, scanned, silent
from streamlib.testing.model_tables import filled, ranked, tabled
from streamlib.testing.model_windows import aggregated, bars, late_row, sessions, shown_late, windows_of
from streamlib.testing.specs import (
    Apply,
    Deduped,
    Filled,
    Joined,
    Late,
    Paired,
    Processed,
    Read,
    Rolled,
    RowData,
    Scanned,
    Side,
    Silent,
    Spec,
    Tabled,
    Timed,
    Union,
    Windowed,
    all_specs,
    has_siblings,
    inputs_of,
)


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
    late: dict[int, Sequence[list[ModelRow]]] = {}
    beside: dict[int, list[ModelRow]] = {}
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
            made[id(spec)], refused_rows = _aggregate(made[id(spec.input)], spec, chosen)
            late[id(spec)] = [refused_rows]
            if spec.updates:
                first, _ = _aggregate(made[id(spec.input)], replace(spec, lateness=0), None)
                made[id(spec)] = _changes(first, made[id(spec)], spec)
        elif isinstance(spec, Late | Side):
            rows = late[id(spec.step)][spec.side] if isinstance(spec, Late) else beside[id(spec.step)]
            parted = not isinstance(spec.step, Windowed) and any(map(has_siblings, inputs_of(spec.step)))
            made[id(spec)] = [replace(row, split=None) for row in rows] if parted else rows
        elif isinstance(spec, Filled):
            made[id(spec)] = filled(made[id(spec.window)], spec)
        else:
            inputs = [made[id(source)] for source in inputs_of(spec)]
            horizon = max((row.time for timed in _timed(spec) for row in made[id(timed)]), default=None)
            made[id(spec)], late[id(spec)], beside[id(spec)] = _with_state(spec, inputs, horizon)
    return [[row.values for row in made[id(sink)]] for sink in sinks]


def _timed(spec: Spec) -> list[Timed]:
    """The steps that give event time to what a step reads."""
    return [each for each in all_specs((spec,)) if isinstance(each, Timed)]


def _with_state(
    spec: Spec, inputs: list[list[ModelRow]], horizon: int | None
) -> tuple[list[ModelRow], Sequence[list[ModelRow]], list[ModelRow]]:
    """The rows of a step; those that are late, by input; and those of its side output."""
    if isinstance(spec, Joined):
        return *joined(inputs[0], inputs[1], spec), []
    if isinstance(spec, Paired):
        return *paired(inputs[0], inputs[1], spec), []
    assert isinstance(spec, Scanned | Deduped | Rolled | Silent | Tabled | Processed)
    parted = [taken(rows, 0 if isinstance(spec, Tabled) else spec.lateness) for rows in inputs]
    late = [refused for _, refused in parted]
    rows = parted[0][0]
    if isinstance(spec, Processed):
        found, timed = processed(rows, parted[1][0], parted[2][0], spec)
        return found, late, timed
    if isinstance(spec, Deduped):
        kept, dropped = deduped(rows, spec)
        return kept, late, dropped
    if isinstance(spec, Silent):
        return silent(rows, spec, horizon), late, []
    if isinstance(spec, Tabled):
        return tabled(rows, spec), late, []
    return scanned(rows, spec) if isinstance(spec, Scanned) else rolled(rows, spec), late, []


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


def _aggregate(
    rows: list[ModelRow], spec: Windowed, refused: Mapping[object, int] | None
) -> tuple[list[ModelRow], list[ModelRow]]:
    groups: dict[tuple[object, ...], list[ModelRow]] = {}
    late = []
    for row in sorted(rows, key=order_of):
        windows = windows_of(row.time, spec, row.values)
        if refused is None:
            missed, shown = late_row(row, spec)
        else:
            missed = refused.get(row.values.get("id"), 0)
            shown = shown_late(row, spec, missed)
        if missed:
            late.append(shown)
        for bounds_of_one in windows[missed:]:
            groups.setdefault((*(row.values[k] for k in spec.keys), *bounds_of_one), []).append(row)
    if spec.kind == "session":
        groups = sessions(groups, spec)
    results = []
    found = bars(groups, spec) if spec.kind == "rows" else list(groups.items())
    for (*key, begin, finish), members in found:
        values: RowData = dict(zip(spec.keys, key, strict=True))
        values["window_start"], values["window_end"] = begin, finish
        time = int(str(finish)) - (spec.kind != "rows")
        if spec.top:
            results += _ranked(values, members, spec, time)
            continue
        values.update(aggregated(members, spec.plan))
        results.append(ModelRow(values, None, time=time))
    return results, late


def _ranked(values: RowData, members: list[ModelRow], spec: Windowed, time: int) -> list[ModelRow]:
    """The rows of one window in which `v` is largest; of equal ones those that come first."""
    return [
        ModelRow(
            {**values, "rank": rank, **{n: v for n, v in m.values.items() if n not in values}},
            None,
            time=time,
        )
        for rank, m in enumerate(ranked(members, spec.top), start=1)
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
            found += [replace(_change(one, 0, "delete"), time=row.time) for one in inside if one not in same]
        found.append(_change(row, 1, "update" if same else "insert"))
    return found


def _lies_in(one: ModelRow, other: ModelRow, spec: Windowed) -> bool:
    """Whether one window of a key lies in another."""
    begins, ends = (int(str(one.values[name])) for name in ("window_start", "window_end"))
    start, end = (int(str(other.values[name])) for name in ("window_start", "window_end"))
    return all(one.values[k] == other.values[k] for k in spec.keys) and start <= begins and ends <= end


def _change(row: ModelRow, revision: int, change: str) -> ModelRow:
    return replace(row, values={**row.values, "revision": revision, "change": change})
