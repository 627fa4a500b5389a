"""What tables and filled gaps must give, computed as in `streamlib.testing.model`, from all rows at once."""

from __future__ import annotations

from streamlib.testing.model_rows import ModelRow, by_key, key_of, result
from streamlib.testing.model_windows import aggregated, following
from streamlib.testing.specs import Filled, RowData, Tabled, Windowed

Key = tuple[object, ...]


def tabled(rows: list[ModelRow], spec: Tabled) -> list[ModelRow]:
    """The changes of each span, or the states at their ends."""
    found = []
    for key, mine in by_key(rows, spec.keys).items():
        so_far: list[ModelRow] = []
        shown: list[RowData] = []
        for span in sorted({row.time // spec.span for row in mine}):
            added = [row for row in mine if row.time // spec.span == span]
            if spec.ttl and so_far and added[0].time > so_far[-1].time + spec.ttl:
                so_far = []
            so_far = so_far + added
            now = _table_of(dict(zip(spec.keys, key, strict=True)), so_far, spec)
            end = (span + 1) * spec.span
            if spec.kind == "states":
                (values,) = now
                head: RowData = {name: values.pop(name) for name in spec.keys}
                found.append(result({**head, "event_time": end, **values}, end))
                continue
            before = shown + [{}] * (len(now) - len(shown))
            for values, old in zip(now, before, strict=True):
                if not old or values != old or spec.kind != "top":
                    change = "update" if old else "insert"
                    found.append(result({**values, "change": change}, added[-1].time))
            shown = now
    return found


def _table_of(key: RowData, rows: list[ModelRow], spec: Tabled) -> list[RowData]:
    """The rows that the table has for a key."""
    if spec.kind == "latest":
        return [rows[-1].values]
    if spec.kind != "top":
        return [{**key, **aggregated(rows, spec.plan)}]
    best = ranked(rows, spec.top)
    return [{**key, "rank": n, **_others(row, spec)} for n, row in enumerate(best, start=1)]


def _others(row: ModelRow, spec: Tabled) -> RowData:
    return {name: value for name, value in row.values.items() if name not in spec.keys}


def ranked(rows: list[ModelRow], most: int) -> list[ModelRow]:
    """The rows in which `v` is largest; of equal ones those that come first."""
    valued = [row for row in rows if row.values["v"] is not None]
    return sorted(valued, key=lambda row: -float(str(row.values["v"])))[:most]


def filled(rows: list[ModelRow], spec: Filled) -> list[ModelRow]:
    """The rows, and those of the windows that follow each before the next one: `n` is 0, `v` goes on."""
    found = list(rows)
    for mine in by_key(rows, spec.window.keys).values():
        ends = [int(str(row.values["window_end"])) for row in mine]
        for row, end, then in zip(mine, ends, [*ends[1:], None], strict=True):
            until = end + spec.up_to if then is None else min(end + spec.up_to, then - 1)
            for start, finish in following(end, until, spec.window):
                values: RowData = dict.fromkeys(row.values)
                values.update(zip(spec.window.keys, key_of(row, spec.window.keys), strict=True))
                values.update({"window_start": start, "window_end": finish, "n": 0, "v": row.values["v"]})
                found.append(result(values, finish - 1))
    return found


def last_state(changes: list[RowData], spec: Windowed) -> dict[Key, RowData]:
    """The table that changes, in the order in which they came, make.

    Raises:
        AssertionError: a change that does not fit what was there.
    """
    table: dict[Key, RowData] = {}
    for row in changes:
        values = dict(row)
        change = values.pop("change")
        key = tuple(values[name] for name in (*spec.keys, "window_start", "window_end"))
        assert (key in table) == (change != "insert"), f"{change} of {key}, which is {table.get(key)}"
        if change == "delete":
            del table[key]
        else:
            table[key] = values
    return table
