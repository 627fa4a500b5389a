"""Panes that are handed over: every worker gets its own keys, and all together what a dictionary says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.aggregates import AccumulatorPlan, Count, First, Last, Max, Sum
from streamlib.kernels.keys import KeyEncoder, partition
from streamlib.state import BY_KEY, HandingStore, Owners, Tumbling

PLAN = AccumulatorPlan(
    [
        (Count(), None, None),
        (Sum(), 0, pa.int64()),
        (Max(), 0, pa.int64()),
        (First(), 0, pa.int64()),
        (Last(), 0, pa.int64()),
    ],
    ["volume"],
)
SIZE = 100
Rows = list[tuple[Any, int, int]]
"""Key, time and value."""


def store_of(kind: pa.DataType) -> HandingStore:
    return HandingStore([pa.field("key", kind)], PLAN)


def add(store: HandingStore, kind: pa.DataType, rows: Rows) -> None:
    keys = pa.RecordBatch.from_arrays([pa.array([key for key, _, _ in rows], kind)], ["key"])
    times = np.array([time for _, time, _ in rows], dtype=np.int64)
    store.add(keys, Tumbling(SIZE), [pa.array([value for _, _, value in rows], pa.int64())], times)


def wanted(rows: Rows) -> dict[tuple[int, Any], tuple[int, ...]]:
    """By window and key, what a plain loop finds."""
    groups: dict[tuple[int, Any], Rows] = {}
    for row in rows:
        groups.setdefault((row[1] // SIZE * SIZE, row[0]), []).append(row)
    found = {}
    for group, members in groups.items():
        values = [value for _, _, value in members]
        by_time = sorted(members, key=lambda row: row[1])
        found[group] = (len(values), sum(values), max(values), by_time[0][2], by_time[-1][2])
    return found


def handed_round(kind: pa.DataType, shares: list[Rows], workers: int) -> dict[tuple[int, Any], Any]:
    """Has each store take in what all combiners hand over; what they then have, checked for its place."""
    mergers = [store_of(kind) for _ in range(workers)]
    for rows in shares:
        combiner = store_of(kind)
        add(combiner, kind, rows)
        starts = list(combiner.starts())
        assert all(combiner.hands_over(start) for start in starts)
        for worker, parts in combiner.hand_over(starts, workers):
            assert all(part.nbytes for part in parts)
            mergers[worker].take_in(parts)
        assert len(combiner) == 0
    encoder, found = KeyEncoder([kind]), {}
    for worker, merger in enumerate(mergers):
        for start in list(merger.starts()):
            closed = merger.pop(start)
            hashes = encoder.hashes(encoder.encode(closed.keys.columns, closed.keys.num_rows))
            assert (partition(hashes, workers) == worker).all(), "rows of these keys go to another worker"
            results = [column.to_pylist() for column in closed.results()]
            for key, *values in zip(closed.keys.column(0).to_pylist(), *results, strict=True):
                found[start, key] = tuple(values)
    return found


def owned_round(
    kind: pa.DataType, shares: list[tuple[int, Rows]], restored: Rows
) -> dict[tuple[int, Any], Any]:
    """Has the workers of shares close them one after the other, where the first that asks merges a window."""
    owners, workers = Owners(), 3
    stores = [store_of(kind) for _ in range(workers)]
    before = store_of(kind)
    if restored:
        add(before, kind, restored)
        rows = before.snapshot()
        encoder = KeyEncoder([kind])
        keys = rows.select(["key"]).combine_chunks().to_batches()[0]
        places = partition(encoder.hashes(encoder.encode(keys.columns, keys.num_rows)), workers)
        for worker, store in enumerate(stores):
            store.restore(rows.filter(pa.array(places == worker)))
            owners.restored(store.starts())
    for worker, rows in shares:
        combiner = store_of(kind)
        add(combiner, kind, rows)
        for start in list(combiner.starts()):
            owner = owners.claim(start, worker, combiner.keys_in(start))
            if owner != BY_KEY:
                stores[owner].take_in([combiner.give(start)])
                continue
            for part, panes in combiner.hand_over([start], workers):
                stores[part].take_in(panes)
        assert len(combiner) == 0
    found: dict[tuple[int, Any], Any] = {}
    for store in stores:
        owners.forget(store.starts())
        for start in list(store.starts()):
            closed = store.pop(start)
            results = [column.to_pylist() for column in closed.results()]
            for key, *values in zip(closed.keys.column(0).to_pylist(), *results, strict=True):
                assert (start, key) not in found, "two workers have a key of one window"
                found[start, key] = tuple(values)
    assert owners.claim(0, 2, 1) == 2
    return found


texts = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.sampled_from(["seven77", "eight888", "x" * 40, "x" * 39 + "y", "é" * 4, ""]),
)
numbers = st.one_of(st.integers(-3, 3), st.sampled_from([-(2**63), 2**63 - 1, -(1 << 56)]))


@given(data=st.data(), workers=st.sampled_from([1, 2, 3, 7]), is_text=st.booleans())
def test_what_is_handed_over_comes_to_what_a_plain_loop_finds(
    data: st.DataObject, workers: int, is_text: bool
) -> None:
    keys: st.SearchStrategy[Any] = texts if is_text else numbers
    times = data.draw(st.lists(st.integers(-250, 250), min_size=1, max_size=60, unique=True))
    rows = [(data.draw(keys), time, data.draw(st.integers(-9, 9))) for time in times]
    cut = data.draw(st.integers(0, len(rows)))
    kind = pa.string() if is_text else pa.int64()
    shares = [share for share in (rows[:cut], rows[cut:]) if share]
    assert handed_round(kind, shares, workers) == wanted(rows)


@given(data=st.data(), is_text=st.booleans())
def test_windows_that_one_worker_merges_come_to_the_same(data: st.DataObject, is_text: bool) -> None:
    kind = pa.string() if is_text else pa.int64()
    times = data.draw(st.lists(st.integers(-250, 250), min_size=1, max_size=60, unique=True))
    later = [
        (data.draw(texts if is_text else numbers), time, data.draw(st.integers(-9, 9))) for time in times
    ]
    restored = later[: data.draw(st.integers(0, len(later)))] if data.draw(st.booleans()) else []
    rest, shares = later[len(restored) :], []
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        shares.append((data.draw(st.integers(0, 2)), rest[:size]))
        rest = rest[size:]
    if is_text or not restored:  # a null among numbers goes as rows where windows are merged by key
        shares = [(worker, with_null(rows, is_text)) for worker, rows in shares]
    everything = restored + [row for _, rows in shares for row in rows]
    assert owned_round(kind, shares, restored) == wanted(everything)


def with_null(rows: Rows, is_text: bool) -> Rows:
    """Rows of which the first one has no key."""
    return rows if is_text else [(None, *rows[0][1:]), *rows[1:]]


@pytest.mark.parametrize("is_text", [pytest.param(False, marks=pytest.mark.slow), True])
def test_panes_that_grow_while_they_take_in_others(is_text: bool) -> None:
    rng = np.random.default_rng(7)
    picks = rng.integers(0, 30_000, 60_000).tolist()
    rows: Rows = [
        (f"a key with a long name {n}" if is_text else n, time, n % 13) for time, n in enumerate(picks)
    ]
    rows = [(key, time % SIZE if time < 100 else 50, value) for key, time, value in rows]
    by_order = {key: value for key, _, value in rows}
    kind = pa.string() if is_text else pa.int64()
    found = handed_round(kind, [rows[:20_000], rows[20_000:21_000], rows[21_000:]], 2)
    counted: dict[Any, int] = {}
    for key, _, _ in rows:
        counted[key] = counted.get(key, 0) + 1
    assert {key: values[0] for (_, key), values in found.items()} == counted
    assert all(values[2] == by_order[key] for (_, key), values in found.items())


def test_what_does_not_lie_in_the_records_is_not_handed_over() -> None:
    with_null = store_of(pa.int64())
    add(with_null, pa.int64(), [(None, 1, 1), (7, 2, 2)])
    assert not with_null.hands_over(0)
    two = HandingStore([pa.field("a", pa.int64()), pa.field("b", pa.int64())], PLAN)
    keys = pa.record_batch({"a": [1], "b": [2]})
    two.add(keys, Tumbling(SIZE), [pa.array([3])], np.array([1], dtype=np.int64))
    assert not two.hands_over(0)
