"""The table of open sessions against a loop over the rows, and what it keeps when sessions have gone."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from streamlib.aggregates import AccumulatorPlan, Count, Quantile, Sum
from streamlib.aggregates.first_last import First
from streamlib.elements import MAX_TIME, MIN_TIME
from streamlib.kernels import sessions as kernels
from streamlib.kernels.session_order import STRETCHES, order_rows
from streamlib.state.pane import address
from streamlib.state.sessions import ClosedSessions, SessionTable

KEY = [pa.field("k", pa.string())]
Row = tuple[str, int, int]
Session = tuple[Any, ...]


def plan() -> AccumulatorPlan:
    """A word, a value beside the records, and a collection: all that has to move when sessions become one."""
    aggregates = [
        (Count(), None, None),
        (Sum(), 0, pa.int64()),
        (First(), 1, pa.string()),
        (Quantile(0.5, "midpoint"), 0, pa.int64()),
    ]
    return AccumulatorPlan(aggregates)


def add(table: SessionTable, rows: list[Row]) -> None:
    keys, times, values = (list(column) for column in zip(*rows, strict=True))
    batch = pa.record_batch({"k": keys})
    inputs = [pa.array(values, pa.int64()), pa.array([f"{t}" for t in times])]
    table.add(batch, inputs, np.array(times, dtype=np.int64))


def taken(parts: list[ClosedSessions]) -> list[Session]:
    found: list[Session] = []
    for part in parts:
        columns = [part.closed.keys.column(0), *part.closed.results()]
        bounds = part.first.tolist(), part.last.tolist()
        found += zip(*bounds, *(column.to_pylist() for column in columns), strict=True)
    return found


def loop(rows: list[Row], gap: int) -> list[Session]:
    found: list[Session] = []
    for key in {row[0] for row in rows}:
        mine = sorted((time, value) for k, time, value in rows if k == key)
        cuts = [n for n in range(1, len(mine)) if mine[n][0] - mine[n - 1][0] > gap]
        for begin, end in zip([0, *cuts], [*cuts, len(mine)], strict=True):
            part = mine[begin:end]
            values = sorted(value for _, value in part)
            median = (values[(len(part) - 1) // 2] + values[len(part) // 2]) / 2
            found.append((part[0][0], part[-1][0], key, len(part), sum(values), f"{part[0][0]}", median))
    return sorted(found)


@pytest.mark.parametrize("seed", range(40))
def test_differential_sessions_by_any_order_cut_and_snapshot(seed: int) -> None:
    dice = random.Random(seed)
    gap = dice.choice((1, 3, 10, 100)) * dice.choice((1, 1_000_000))
    disorder = dice.choice((0, 3, 30, 300)) * gap // 3
    keys = [f"key {n}" for n in range(dice.choice((1, 3, 50)))]
    count = dice.choice((50, 2_000))
    step = max(1, gap * 2 // len(keys))
    rows = [
        (dice.choice(keys), (n - count // 2) * step // 2 + dice.randint(0, step), dice.randint(0, 9))
        for n in range(count)
    ]
    rows.sort(key=lambda row: row[1] + dice.randint(0, disorder))
    table, done, newest, before = SessionTable(KEY, plan(), gap), [], MIN_TIME, MIN_TIME
    begin = 0
    while begin < count:
        part = rows[begin : begin + dice.choice((1, 5, 70, 400))]
        begin += len(part)
        add(table, part)
        newest = max(newest, *(row[1] for row in part))
        if dice.random() < 0.7:
            before = newest - disorder
            done += taken(table.close(before, rows_max=dice.choice((1, 1_000))))
        if dice.random() < 0.1:
            restored = SessionTable(KEY, plan(), gap)
            restored.restore(table.snapshot())
            assert len(restored) == len(table) and restored.rows == table.rows
            assert restored.close(before) == []
            table = restored
    assert all(last + gap < before for _, last, *_ in done)
    done += taken(table.close_all())
    assert sorted(done) == loop(rows, gap)


def test_all_that_was_open_at_once_leaves_no_state() -> None:
    table = SessionTable(KEY, plan(), gap=10)
    add(table, [("first", 0, 1)])
    small = table.nbytes
    for begin in range(0, 20_000, 5_000):
        add(table, [(f"key {n}", n % 7, n) for n in range(begin, begin + 5_000)])
    add(table, [("stays", 100, 1), ("too", 100, 1)])  # the last numbers, which become the first
    assert len(table) == 20_003 and table.earliest() == 10
    assert len(taken(table.close(50))) == 20_001
    assert len(table) == 2 and table.rows == 2
    assert table.nbytes < 2 * small
    add(table, [("stays", 105, 2), ("comes", 105, 3), ("comes", 120, 3), ("comes", 112, 3), ("too", 90, 4)])
    found = sorted(taken(table.close(200)))
    assert found == [
        (90, 100, "too", 2, 5, "90", 2.5),
        (100, 105, "stays", 2, 3, "100", 1.5),
        (105, 120, "comes", 3, 9, "105", 3.0),
    ]


def test_numbers_come_back_while_sessions_come_and_go() -> None:
    table = SessionTable(KEY, plan(), gap=10)
    for turn in range(300):
        add(table, [(f"{turn} {n}", 100 * turn + n, 1) for n in range(20)])
        assert len(taken(table.close(100 * turn + 50))) == 20
    assert table._counts[kernels.USED] <= 40


def test_ends_of_time() -> None:
    table = SessionTable(KEY, plan(), gap=MAX_TIME)
    rows = [("a", MIN_TIME + 1, 1), ("a", -1, 1), ("a", MAX_TIME - 1, 1), ("b", MAX_TIME - 1, 2)]
    add(table, rows[2:])
    add(table, rows[:1])
    assert len(table) == 3
    assert table.close(0) == []
    assert table.earliest() == 0
    with pytest.raises(AssertionError, match="has closed"):
        add(table, rows[1:2])


def test_a_row_between_two_sessions_makes_them_one_and_a_later_one_does_not() -> None:
    table = SessionTable(KEY, plan(), gap=10)
    add(table, [("a", 0, 1)])
    add(table, [("a", 22, 2)])
    add(table, [("a", 44, 3)])
    assert len(table) == 3
    add(table, [("a", 11, 4)])  # eleven from each
    assert len(table) == 4
    add(table, [("a", 33, 5), ("a", 1, 6), ("a", 21, 7)])
    assert len(table) == 3
    assert taken(table.close(32)) == []
    assert taken(table.close(33)) == [(0, 22, "a", 5, 20, "0", 4.0)]


def test_a_limited_session_is_cut_by_its_first_row() -> None:
    table = SessionTable(KEY, plan(), gap=10, longest=15)
    add(table, [("a", 0, 1), ("a", 8, 1), ("a", 15, 1), ("a", 16, 1)])
    add(table, [("a", 16, 1), ("a", 24, 1), ("a", 31, 1), ("a", 32, 1)])
    copy = SessionTable(KEY, plan(), gap=10, longest=15)
    copy.restore(table.snapshot())
    for one in (table, copy):
        assert len(one) == 3
        add(one, [("a", 40, 1)])
        found = sorted((first, last, count) for first, last, _, count, *_ in taken(one.close_all()))
        assert found == [(0, 15, 3), (16, 31, 4), (32, 40, 2)]


@pytest.mark.parametrize("gap", [1, 2, 3, 1_000, 10**9, 2**62])
@pytest.mark.parametrize("spread", [1, 50, 10**6, 2**40])
def test_rows_are_put_in_order_but_for_less_than_a_gap(gap: int, spread: int) -> None:
    dice = np.random.default_rng(gap + spread)
    times = np.arange(3000) * (gap // 100 + 1) % 2**61 + dice.integers(-spread, spread, 3000)
    keys, places = dice.integers(0, 2**31, 3000), np.empty(STRETCHES, dtype=np.int64)
    entries = np.full((3000, 2), -1)
    lag = int((np.maximum.accumulate(times) - times).max())
    is_ordered = order_rows(3000, address(keys), address(times), gap, address(places), address(entries))
    taken, order = entries[:, 0], entries[:, 1] & (2**32 - 1)
    assert (taken == times[order]).all()
    assert (entries[:, 1] >> 32 == keys[order]).all()
    if not is_ordered:
        assert lag <= gap // 2 or int(times.max() - times.min()) >= STRETCHES * (gap // 2)
        assert order.tolist() == list(range(3000))
        return
    assert sorted(order.tolist()) == list(range(3000))
    assert (np.maximum.accumulate(taken) - taken < gap).all()
