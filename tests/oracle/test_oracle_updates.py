"""Windows with emit="updates": every change is the one that DuckDB's answers with and without lateness make.

Revision 0 is what the windows are without allowed lateness; revision 1 what they are with it, where that differs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import CollectSink
from streamlib.connectors.tables import TableSink
from streamlib.elements import format_duration
from tests.oracle import queries, test_oracle_overlapping, test_oracle_sessions
from tests.oracle.drawn import Input, inputs
from tests.oracle.test_oracle_overlapping import Shape, shapes
from tests.oracle.test_oracle_sessions import AGGREGATES, Sessions, sessions, timed

Row = tuple[Any, ...]


def run(table: sl.Table, case: Input) -> tuple[list[Row], list[Row], int]:
    """The changes, the last state, and how many rows were late."""
    changes, last, late = CollectSink(), TableSink(), CollectSink()
    sl.run(
        table.changes().write(changes),
        table.write(last),
        table.late.write(late),
        workers=case.workers,
        batch_rows=case.batch_rows,
    )
    return queries.found(changes.table()), queries.found(last.table()), late.table().num_rows


def bounds(row: Row) -> Row:
    return row[:3]


def changes_between(first: list[Row], whole: list[Row]) -> list[Row]:
    """What shows `first`, then corrects it to `whole`, for windows whose bounds are fixed."""
    shown = {bounds(row): row for row in first}
    found = [(*row, 0, "insert") for row in first]
    for row in whole:
        if row != shown.get(bounds(row)):
            found.append((*row, 1, "update" if bounds(row) in shown else "insert"))
    return queries.canonical(found)


def last_state(first: list[Row], whole: list[Row]) -> list[Row]:
    """A row for each bounds: at the end of time several windows can have the same."""
    shown = set(first)
    return queries.canonical({(*row, 0 if row in shown else 1) for row in whole})


def check(windowed: sl.streams.windowed.WindowedUpdates, case: Input, shape: Shape) -> None:
    price = col("price")
    table = windowed.agg(
        trades=sl.count(),
        open=price.first(),
        high=price.max(),
        low=price.min(),
        close=price.last(),
        volume=col("volume").sum(),
        mean=price.mean(),
        least=col("symbol").min(),
    )
    first = test_oracle_overlapping.answer(test_oracle_overlapping._BARS, replace(case, lateness=0), shape)
    whole = test_oracle_overlapping.answer(test_oracle_overlapping._BARS, case, shape)
    late = test_oracle_overlapping.answer(test_oracle_overlapping._LATE, case, shape)
    changes, last, rows_late = run(table, case)
    assert changes == changes_between(first, whole)
    assert last == last_state(first, whole)
    assert rows_late == len(late)


@pytest.mark.slow
@given(case=inputs(), shape=shapes())
def test_overlapping_windows(case: Input, shape: Shape) -> None:
    lateness = format_duration(case.lateness)
    check(timed(case).key_by("symbol").window(shape.window, lateness, emit="updates"), case, shape)


@pytest.mark.slow
@given(case=inputs())
def test_windows_end_to_end(case: Input) -> None:
    window = sl.tumbling(format_duration(case.size), offset=format_duration(case.offset))
    windowed = timed(case).key_by("symbol").window(window, format_duration(case.lateness), emit="updates")
    check(windowed, case, Shape(True, case.size, case.size, case.offset))


@pytest.mark.slow
@given(case=inputs(most_splits=2))
def test_values_that_are_collected(case: Input) -> None:
    """Medians and lists are kept for the correction as what they are made of."""
    window = sl.tumbling(format_duration(case.size))
    options = {"prices": col("volume").list(), "median": col("volume").median(), "n": sl.count()}
    lateness = format_duration(case.lateness)
    both = [
        timed(case).key_by("symbol").window(window, some).agg(**options).collect().to_pylist()
        for some in ("0s", lateness)
    ]
    table = timed(case).key_by("symbol").window(window, lateness, emit="updates").agg(**options)
    changes = table.changes().collect(case.workers, case.batch_rows).to_pylist()
    first, whole = ([tuple(row.values()) for row in rows] for rows in both)
    wanted = changes_between_lists(first, whole)
    assert sorted(repr(tuple(row.values())) for row in changes) == wanted


def changes_between_lists(first: list[Row], whole: list[Row]) -> list[str]:
    shown = {bounds(row): row for row in first}
    found = [(*row, 0, "insert") for row in first]
    found += [
        (*row, 1, "update" if bounds(row) in shown else "insert")
        for row in whole
        if row != shown.get(bounds(row))
    ]
    return sorted(map(repr, found))


@pytest.mark.slow
@given(drawn=sessions(keys=("symbol",)))
def test_sessions_that_late_rows_change_are_replaced(drawn: Sessions) -> None:
    case = drawn.case
    whole = drawn.answer(test_oracle_sessions._SESSIONS)
    in_time = Sessions(replace(case, lateness=0), drawn.gap, drawn.key)
    first = in_time.answer(test_oracle_sessions._SESSIONS)
    lateness = format_duration(case.lateness)
    window = sl.session(format_duration(drawn.gap))
    table = timed(case).key_by("symbol").window(window, lateness, emit="updates").agg(**AGGREGATES)
    changes, last, rows_late = run(table, case)
    wanted = [(*row, 0, "insert") for row in first]
    for key, start, end, *values in set(whole) - set(first):
        inside = [row for row in first if row[0] == key and start <= row[1] and row[2] <= end]
        same = [row for row in inside if row[1:3] == (start, end)]
        wanted += [(*row, 0, "delete") for row in inside if row not in same]
        wanted.append((key, start, end, *values, 1, "update" if same else "insert"))
    assert changes == queries.canonical(wanted)
    assert last == last_state(first, whole)
    assert rows_late == len(drawn.answer(test_oracle_sessions._LATE))


@pytest.mark.slow
@given(case=inputs(most_splits=2))
def test_without_keys(case: Input) -> None:
    window, lateness = sl.tumbling(format_duration(case.size)), format_duration(case.lateness)
    volume = col("volume").sum()
    both = [
        queries.found(timed(case).window(window, some).agg(volume=volume).collect())
        for some in ("0s", lateness)
    ]
    table = timed(case).window(window, lateness, emit="updates").agg(volume=volume)
    changes, _, _ = run(table, case)
    first, whole = both
    shown = {row[:2]: row for row in first}
    wanted = [(*row, 0, "insert") for row in first]
    wanted += [
        (*row, 1, "update" if row[:2] in shown else "insert") for row in whole if row != shown.get(row[:2])
    ]
    assert changes == queries.canonical(wanted)
