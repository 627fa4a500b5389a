"""Rows of joins: found by key and time, and taken out by number, beside plain Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from streamlib.elements import Batch
from streamlib.state import IntervalStore, NumberedRows
from streamlib.state.joins import interval
from streamlib.state.joins.kept_blocks import KeptBlocks
from streamlib.state.joins.record_layout import RecordLayout


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
