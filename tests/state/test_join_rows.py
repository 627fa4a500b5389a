"""Rows of joins: found by key and time, and taken out by number, beside plain Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlib.elements import Batch
from streamlib.kernels.asof import BACKWARD, FORWARD, NEAREST, UNLIMITED
from streamlib.state import AsOfStore, IntervalStore, NumberedRows
from streamlib.state.joins import interval
from streamlib.state.joins.kept_blocks import KeptBlocks
from streamlib.state.joins.record_layout import RecordLayout
from streamlib.state.joins.word_rows import WordRows


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8), seed=st.integers(0, 1000))
def test_rows_are_taken_out_in_the_order_that_is_asked_for(sizes: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, there, number = NumberedRows(), set[int](), 0
    for size in sorted(sizes, reverse=seed % 2 == 0):
        numbers = np.arange(number, number + size)
        number += size
        rows.add(Batch(pa.record_batch({"n": numbers}), numbers * 10), numbers)
        there |= set(numbers.tolist())
        wanted = random.permutation(sorted(there))[: random.integers(0, len(there) + 1)]
        found = rows.take_out(wanted)
        assert ([] if found is None else found.rows.column(0).to_pylist()) == wanted.tolist()
        assert found is None or found.time.tolist() == (wanted * 10).tolist()
        there -= set(wanted.tolist())
        assert rows.rows == len(there)
    left = rows.all()
    assert sorted([] if left is None else left.rows.column(0).to_pylist()) == sorted(there)


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8), seed=st.integers(0, 1000))
def test_kept_blocks_give_any_rows_that_have_not_gone(sizes: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    blocks, number, gone = KeptBlocks([pa.int64(), pa.string()]), 0, 0
    for size in sorted(sizes, reverse=seed % 2 == 0):
        numbers = np.arange(number, number + size)
        blocks.append(number, [pa.array(numbers), pa.array([str(n) for n in numbers])])
        number += size
        gone = int(random.integers(gone, number))
        blocks.drop(gone)
        wanted = random.integers(gone, number, 30)
        found = blocks.take(wanted, [1, 0])
        assert [column.to_pylist() for column in found] == [[str(n) for n in wanted], wanted.tolist()]


@given(seed=st.integers(0, 1000), by_key=st.booleans(), keys=st.sampled_from([1, 3, 200]))
def test_a_store_finds_what_a_scan_finds(seed: int, by_key: bool, keys: int) -> None:
    """Whether keys have few rows or many, in pages that come and go."""
    random = np.random.default_rng(seed)
    low, high = sorted(random.integers(-30, 30, 2).tolist())
    layout = RecordLayout([pa.field("n", pa.int32()), pa.field("b", pa.bool_())])
    store, kept, number = IntervalStore(layout, interval.stretch_of(low, high), by_key), [], 0
    for now in range(0, 3_000, 300):
        count = int(random.integers(0, 900))
        words, times = (
            random.integers(0, keys, count).astype(np.uint64),
            now + random.integers(-100, 300, count),
        )
        numbers = np.arange(number, number + count)
        number += count
        store.add(words, times, [pa.array(numbers, pa.int32()), pa.array(numbers % 2 == 0)])
        kept += zip(words.tolist(), times.tolist(), numbers.tolist(), strict=True)
        limit = now - 200
        store.drop(limit)
        asked, at = random.integers(0, keys, 20).astype(np.uint64), now + random.integers(-100, 300, 20)
        found = set()
        for part in store.probe(asked, at, low, high, 64, columns=[0, 1]):
            of_pairs, flags = part.columns([0, 1])
            assert flags.to_pylist() == [n % 2 == 0 for n in of_pairs.to_pylist()]
            found |= set(zip(part.rows.tolist(), of_pairs.to_pylist(), strict=True))
        wanted = {
            (row, n)
            for row in range(20)
            for word, time, n in kept
            if word == asked[row] and low <= time - at[row] <= high
        }
        alive = {n for _, time, n in kept if time >= limit}
        assert {pair for pair in found if pair[1] in alive} == {pair for pair in wanted if pair[1] in alive}
        assert found <= wanted


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    direction=st.sampled_from([BACKWARD, FORWARD, NEAREST]),
    exact=st.booleans(),
    tolerance=st.sampled_from([UNLIMITED, 0, 40]),
)
def test_rows_in_any_order_have_the_match_that_a_scan_finds(
    seed: int, direction: int, exact: bool, tolerance: int
) -> None:
    """Rows in runs that rise, and in none: swept, by notes of stretches, put in order first, or searched for."""
    random = np.random.default_rng(seed)
    store = AsOfStore([pa.field("k", pa.int64())], [])
    begin = random.choice([0, -300])
    kept = begin + np.sort(random.integers(0, 600, random.choice([3, 500])))
    keys = random.integers(0, 3, len(kept))
    store.add(pa.record_batch({"k": keys}), [], kept)
    for rows, runs, pause in ((60, 1, 0), (60, 3, 0), (60, 60, 0), (60, 60, 2), (1, 1, 0)):
        store._pause = pause
        times = begin + random.integers(0, 600, rows)
        times = np.concatenate([np.sort(part) for part in np.array_split(times, runs)])
        wanted = random.integers(0, 4, rows)
        slots = store.slots_of(pa.record_batch({"k": wanted}))
        found = store.match(slots, times, direction, exact, tolerance)
        for key, time, row in zip(wanted.tolist(), times.tolist(), found.tolist(), strict=True):
            before = np.flatnonzero((keys == key) & ((kept < time) | (exact & (kept == time))))
            after = np.flatnonzero((keys == key) & ((kept > time) | (exact & (kept == time))))
            chosen = []
            if direction != FORWARD and len(before):
                chosen.append((time - kept[before[-1]], 0, before[-1]))
            if direction != BACKWARD and len(after):
                chosen.append((kept[after[0]] - time, 1, after[0]))
            chosen = [c for c in chosen if tolerance == UNLIMITED or c[0] <= tolerance]
            assert row == (min(chosen)[2] if chosen else -1)


@pytest.mark.parametrize("direction", [BACKWARD, FORWARD, NEAREST])
def test_rows_that_crowd_in_one_stretch_of_time_are_sorted_first(direction: int) -> None:
    random = np.random.default_rng(7)
    store = AsOfStore([pa.field("k", pa.int64())], [])
    kept, keys = np.sort(random.integers(0, 3_000, 5_000)), random.integers(0, 3, 5_000)
    store.add(pa.record_batch({"k": keys}), [], kept)
    times, wanted = random.integers(0, 3_000, 2_000), random.integers(0, 3, 2_000)
    times[17] = 2**61  # all others are in one stretch
    slots = store.slots_of(pa.record_batch({"k": wanted}))
    found = store.match(slots, times, direction, True, UNLIMITED).copy()
    assert store._pause > 0, "it has tried"
    assert (store.match(slots, times, direction, True, UNLIMITED) == found).all()
    order = np.argsort(times, kind="stable")
    other = AsOfStore([pa.field("k", pa.int64())], [])
    other.add(pa.record_batch({"k": keys}), [], kept)
    slots = other.slots_of(pa.record_batch({"k": wanted[order]}))
    singly = [
        other.match(slots[i : i + 1], times[order][i : i + 1], direction, True, UNLIMITED)[0]
        for i in range(2_000)
    ]
    assert found[order].tolist() == [int(row) for row in singly]


def test_rows_whose_only_values_are_no_words_are_found() -> None:
    store = AsOfStore([pa.field("k", pa.int64())], [pa.field("t", pa.string()), pa.field("b", pa.bool_())])
    store.add(
        pa.record_batch({"k": [1, 1]}), [pa.array(["a", None]), pa.array([True, False])], np.array([1, 2])
    )
    found = store.match(store.slots_of(pa.record_batch({"k": [1, 1]})), np.array([2, 1]), BACKWARD, True, -1)
    assert [column.to_pylist() for column in store.values(found)] == [[None, "a"], [False, True]]


def test_a_key_with_most_of_the_rows_is_matched_in_a_rough_order() -> None:
    """The notes of stretches lead too far away; and before that, among many keys, they do not."""
    random = np.random.default_rng(9)
    for hot in (0.0, 0.9):
        keys = np.where(random.random(6_000) < hot, 0, random.integers(0, 500, 6_000))
        times, kept = random.integers(-9_000, 9_000, 4_000), np.sort(random.integers(-9_000, 9_000, 6_000))
        store = AsOfStore([pa.field("k", pa.int64())], [pa.field("n", pa.int64())])
        store.add(pa.record_batch({"k": keys}), [pa.array(np.arange(6_000))], kept)
        wanted = keys[random.integers(0, 6_000, 4_000)]
        found = store.match(store.slots_of(pa.record_batch({"k": wanted})), times, BACKWARD, True, UNLIMITED)
        assert (store._pause > 0) == (hot > 0)
        for key, time, row in zip(wanted.tolist(), times.tolist(), found.tolist(), strict=True):
            before = np.flatnonzero((keys == key) & (kept <= time))
            assert row == (before[-1] if len(before) else -1)
        values = store.values(found)[0].to_pylist()
        assert values == [None if row < 0 else row for row in found.tolist()]


@given(seed=st.integers(0, 2**32))
def test_differential_words_side_by_side_are_those_that_were_added(seed: int) -> None:
    """Batches with nulls and without, with rows that go; and slices of others."""
    random = np.random.default_rng(seed)
    kinds = [pa.int64(), pa.float64(), pa.timestamp("us", "UTC")][: random.integers(1, 4)]
    rows, held = WordRows(kinds), [pa.array([], kind) for kind in kinds]
    for _ in range(4):
        count, first = int(random.integers(0, 90)), int(random.integers(0, 3))
        new = []
        for kind in kinds:
            values, nulls = random.integers(-50, 50, count + first), random.random() < 0.4
            mask = random.random(count + first) < 0.3 if nulls else None
            new.append(pa.array(values, pa.int64(), mask=mask).cast(kind).slice(first))
        if count:
            rows.append(new)
        held = [pa.concat_arrays([one, other]) for one, other in zip(held, new, strict=True)]
        if random.random() < 0.3:
            places = np.flatnonzero(random.random(len(rows)) < 0.5)
            rows.keep(places)
            held = [column.take(pa.array(places)) for column in held]
        asked = random.integers(-1, len(rows), 40) if len(rows) else np.full(40, -1)
        wanted = [column.take(pa.array(asked, mask=asked < 0)) for column in held]
        for found, column in zip(rows.take(asked), wanted, strict=True):
            found.validate(full=True)
            assert found.equals(column)


def test_a_store_without_columns_of_words_gives_its_texts() -> None:
    store = AsOfStore([pa.field("k", pa.int64())], [pa.field("text", pa.string())])
    store.add(pa.record_batch({"k": [1, 2, 1]}), [pa.array(["a", "b", "c"])], np.array([10, 20, 30]))
    for times, wanted in (([15, 40, 5], ["a", "c", None]), ([25, 35, 20], [None, "c", None])):
        slots = store.slots_of(pa.record_batch({"k": [1, 1, 1]}))
        found = store.match(slots, np.array(times), BACKWARD, True, UNLIMITED)
        assert store.values(found)[0].to_pylist() == wanted
        store.drop(30, 30, False)
    words = WordRows([])
    words.append([])
    words.keep(np.array([4, 7]))
    assert words.take(np.array([0, -1, 1])) == []
