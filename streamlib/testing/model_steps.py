"""What `scan` and joins must give, computed as in `streamlib.testing.model`: with dicts and loops, a row at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from streamlib.testing.model_rows import BEFORE_ALL, ModelRow, order_of
from streamlib.testing.specs import RIGHT_COLUMNS, Joined, RowData, Scanned


def scanned(rows: list[ModelRow], spec: Scanned) -> list[ModelRow]:
    """Rows in their order, each with what its key has come to."""
    so_far: dict[tuple[object, ...], tuple[int, int]] = {}
    found = []
    for row in sorted(taken(rows, spec.lateness), key=order_of):
        key = tuple(row.values[k] for k in spec.keys)
        count, total = so_far.get(key, (0, 0))
        so_far[key] = count, total = count + 1, total + int(str(row.values["n"]))
        found.append(result({**row.values, "count": count, "total": total}, row.time))
    return found


def joined(left: list[ModelRow], right: list[ModelRow], spec: Joined) -> list[ModelRow]:
    """Pairs, and rows without one, as `spec.how` says."""
    left, right = taken(left, spec.lateness), taken(right, spec.lateness)
    pairs = [(a, [b for b in right if _match(a, b, spec)]) for a in left]
    if spec.how == "asof":
        return [_pair(a, max(found, key=order_of, default=None), a.time) for a, found in pairs]
    if spec.how in ("semi", "anti"):
        return [result(a.values, a.time) for a, found in pairs if bool(found) == (spec.how == "semi")]
    rows = [_pair(a, b, max(a.time, b.time)) for a, found in pairs for b in found]
    if spec.how in ("left", "full"):
        rows += [_pair(a, None, a.time) for a, found in pairs if not found]
    if spec.how == "full":
        matched = {id(b) for _, found in pairs for b in found}
        rows += [_alone(b, spec) for b in right if id(b) not in matched]
    return rows


def taken(rows: list[ModelRow], lateness: int) -> list[ModelRow]:
    """The rows that a step refuses by their own time does not refuse."""
    return [row for row in rows if row.mark <= row.time + lateness]


def result(values: RowData, time: int) -> ModelRow:
    """A row that a step with state gives: it is never late, and has no place in the input."""
    return ModelRow(values, None, time=time, mark=BEFORE_ALL)


def _match(a: ModelRow, b: ModelRow, spec: Joined) -> bool:
    equal = all(a.values[k] is not None and a.values[k] == b.values[k] for k in spec.keys)
    return equal and spec.low <= b.time - a.time <= spec.high


def _pair(a: ModelRow, b: ModelRow | None, time: int) -> ModelRow:
    value: Callable[[str], object] = (lambda own: None) if b is None else b.values.__getitem__
    return result({**a.values, **{out: value(own) for out, own in RIGHT_COLUMNS.items()}}, time)


def _alone(b: ModelRow, spec: Joined) -> ModelRow:
    values: RowData = {name: b.values[name] if name in spec.keys else None for name in b.values}
    return _pair(replace(b, values=values), b, b.time)
