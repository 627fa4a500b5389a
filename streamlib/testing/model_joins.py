"""What joins must give, computed as in `streamlib.testing.model`: each row is compared with each."""

from __future__ import annotations

from streamlib.testing.model_rows import ModelRow, key_of, order_of, result, taken
from streamlib.testing.model_windows import BY_TIME_OF_ROW, late_row, sessions, windows_of
from streamlib.testing.specs import COLUMNS, Joined, Paired, RowData, Windowed, right_columns

Rows = list[ModelRow]


def joined(left: Rows, right: Rows, spec: Joined) -> tuple[Rows, tuple[Rows, Rows]]:
    """Pairs, and rows without one, as `spec.how` says; and the late rows of either side."""
    left, late_left = taken(left, spec.lateness)
    right, late_right = taken(_narrow(right, spec), spec.lateness)
    late = late_left, late_right
    pairs = [(a, [b for b in right if _match(a, b, spec) and _is_near(a, b, spec)]) for a in left]
    if spec.how == "asof":
        return [_pair(a, max(found, key=order_of, default=None), a.time, spec) for a, found in pairs], late
    return _results(pairs, right, spec, None), late


def paired(left: Rows, right: Rows, spec: Paired) -> tuple[Rows, tuple[Rows, Rows]]:
    """Pairs of rows in the same window, and rows without one; and the late rows of either side."""
    window = Windowed(spec.left, spec.keys, spec.size, 0, spec.lateness, "sums", spec.kind, spec.every)
    groups: dict[tuple[object, ...], list[ModelRow]] = {}
    late: tuple[Rows, Rows] = [], []
    sides: dict[int, int] = {}
    for side, rows in enumerate((left, _narrow(right, spec))):
        for row in rows:
            missed, shown = late_row(row, window)
            late[side].extend([shown] if missed else [])
            for bounds in windows_of(row.time, window, row.values)[missed:]:
                member = row.with_values(row.values)
                sides[id(member)] = side
                groups.setdefault((*key_of(row, spec.keys), *bounds), []).append(member)
    if spec.kind in BY_TIME_OF_ROW:
        groups = sessions(groups, window)
    results = []
    for (*_, start, end), members in groups.items():
        mine = [row for row in members if sides[id(row)] == 0]
        others = [row for row in members if sides[id(row)] == 1]
        pairs = [(a, [b for b in others if _match(a, b, spec)]) for a in mine]
        results += [
            row.with_values({**row.values, "window_start": start, "window_end": end})
            for row in _results(pairs, others, spec, int(str(end)) - 1)
        ]
    return results, late


def _results(
    pairs: list[tuple[ModelRow, Rows]], right: Rows, spec: Joined | Paired, closes: int | None
) -> Rows:
    """What `spec.how` makes of the matches of each left row. The time is that of the later side, or `closes`."""
    if spec.how in ("semi", "anti"):
        chosen = [a for a, found in pairs if bool(found) == (spec.how == "semi")]
        return [result(a.values, a.time if closes is None else closes) for a in chosen]
    rows = [_pair(a, b, max(a.time, b.time), spec) for a, found in pairs for b in found]
    if spec.how in ("left", "full"):
        rows += [_pair(a, None, a.time, spec) for a, found in pairs if not found]
    if spec.how in ("right", "full"):
        matched = {id(b) for _, found in pairs for b in found}
        rows += [_pair(None, b, b.time, spec) for b in right if id(b) not in matched]
    return rows if closes is None else [result(row.values, closes) for row in rows]


def _narrow(right: Rows, spec: Joined | Paired) -> Rows:
    """The columns that go into the join."""
    columns = right_columns(spec.right)
    return [
        row.with_values(
            {
                **{k: row.values[k] for k in spec.keys},
                **{out: row.values[own] for out, own in columns.items()},
            }
        )
        for row in right
    ]


def _match(a: ModelRow, b: ModelRow, spec: Joined | Paired) -> bool:
    return all(a.values[k] is not None and a.values[k] == b.values[k] for k in spec.keys)


def _is_near(a: ModelRow, b: ModelRow, spec: Joined) -> bool:
    return spec.low <= b.time - a.time <= spec.high


def _pair(a: ModelRow | None, b: ModelRow | None, time: int, spec: Joined | Paired) -> ModelRow:
    values: RowData = {} if a is None else dict(a.values)
    if a is None and b is not None:
        values = {name: b.values[name] if name in spec.keys else None for name in COLUMNS}
    for name in right_columns(spec.right):
        values[name] = None if b is None else b.values[name]
    return result(values, time)
