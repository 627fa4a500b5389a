"""What steps over rows in order must give, computed as in `streamlib.testing.model`: with dicts, a row at a time."""

from __future__ import annotations

from streamlib.testing.model_rows import ModelRow, by_key, key_of, order_of, result
from streamlib.testing.specs import Deduped, Rolled, RowData, Scanned, Silent


def scanned(rows: list[ModelRow], spec: Scanned) -> list[ModelRow]:
    """Rows in their order, each with what its key has come to."""
    so_far: dict[tuple[object, ...], tuple[int, int]] = {}
    found = []
    for row in sorted(rows, key=order_of):
        key = key_of(row, spec.keys)
        count, total = so_far.get(key, (0, 0))
        so_far[key] = count, total = count + 1, total + number(row)
        found.append(result({**row.values, "count": count, "total": total}, row.time))
    return found


def deduped(rows: list[ModelRow], spec: Deduped) -> tuple[list[ModelRow], list[ModelRow]]:
    """One row of each run, and the others, which keep their place in the input."""
    kept, dropped = [], []
    for mine in by_key(rows, spec.ids).values():
        runs: list[list[ModelRow]] = []
        for row in mine:
            if runs and row.time <= runs[-1][0].time + spec.within:
                runs[-1].append(row)
            else:
                runs.append([row])
        for run in runs:
            chosen = run.pop(0 if spec.keep == "first" else -1)
            kept.append(result(chosen.values, chosen.time))
            dropped += [row.never_late() for row in run]
    return kept, dropped


def rolled(rows: list[ModelRow], spec: Rolled) -> list[ModelRow]:
    """Each row with what those of its key before it, and itself, come to."""
    found = []
    for mine in by_key(rows, spec.keys).values():
        for at, row in enumerate(mine):
            before = mine[: at + 1]
            if spec.kind == "time":
                before = [each for each in before if each.time > row.time - spec.size]
            elif spec.kind == "rows":
                before = before[-spec.size :]
            found.append(result({**row.values, **_rolled(before, spec)}, row.time))
    return found


def _rolled(rows: list[ModelRow], spec: Rolled) -> RowData:
    total = sum(map(number, rows))
    if spec.kind != "functions":
        return {"rows_n": len(rows), "sum_n": total}
    values = [row.values["v"] for row in rows]
    there = [value for value in values if value is not None]
    return {
        "total": total,
        "before": values[-2] if len(values) > 1 else None,
        "latest": there[-1] if there else None,
    }


def silent(rows: list[ModelRow], spec: Silent, horizon: int | None) -> list[ModelRow]:
    """A row for each time that a key had none for long; what the end cuts off counts up to `horizon`."""
    found = []
    for key, mine in by_key(rows, spec.keys).items():
        for row, then in zip(mine, [*mine[1:], None], strict=True):
            end = row.time + spec.duration
            if then.time > end if then is not None else horizon is not None and end <= horizon:
                bounds: RowData = {"silence_start": row.time, "silence_end": end}
                found.append(result({**dict(zip(spec.keys, key, strict=True)), **bounds}, end))
    return found


def number(row: ModelRow) -> int:
    """The row's `n`."""
    return int(str(row.values["n"]))
