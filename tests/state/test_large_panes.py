"""Panes of many keys: tables that grow where they are, closing in parts, results in the records' memory."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.aggregates import AccumulatorPlan, Count, Max, Min
from streamlib.aggregates.accumulators import NO_FLOAT
from streamlib.state import PaneStore, Tumbling, moved_into, panes, record_memory
from streamlib.state.pane import Pane, address
from streamlib.state.probe import split_entries

PLACES = 16
LONG, SHORT = "the long name of key {}", "k{}"


def put(table: np.ndarray[Any, Any], entry: int) -> None:
    """What `insert` does with an entry, whose place is the low bits of its upper half."""
    mask = len(table) - 1
    place = (entry >> 32) & mask
    while table[place]:
        place = (place + 1) & mask
    table[place] = entry


def finds(table: np.ndarray[Any, Any], entry: int) -> bool:
    mask = len(table) - 1
    place = (entry >> 32) & mask
    while table[place] not in (0, entry):
        place = (place + 1) & mask
    return bool(table[place] == entry)


@given(st.lists(st.sampled_from([0, 1, 7, 13, 14, 15, 16, 17, 29, 30, 31]), max_size=PLACES - 1))
def test_entries_are_found_after_a_table_has_grown_into_what_follows_it(homes: list[int]) -> None:
    entries = [(home << 32) | (slot + 1) for slot, home in enumerate(homes)]
    for split in (split_entries, split_entries.py):
        memory = np.zeros(2 * PLACES, dtype=np.uint64)
        for entry in entries:
            put(memory[:PLACES], entry)
        split(address(memory), PLACES)
        assert all(finds(memory, entry) for entry in entries)
        assert np.count_nonzero(memory) == len(entries)


def keys_of(kind: str, numbers: np.ndarray[Any, Any]) -> pa.Array:
    null = pa.array(numbers == 5)
    if kind == "text":
        names = [(LONG if n % 3 else SHORT).format(n) for n in numbers.tolist()]
        return pa.array(names, mask=np.asarray(null))
    made: Any = numbers % 2 == 0 if kind == "bool" else numbers
    return pa.array(made, mask=np.asarray(null)).cast(pa.type_for_alias(kind))


@pytest.mark.parametrize("kind", ["int64", "int32", "double", "float", "bool", "timestamp[us]", "text"])
def test_parts_together_are_the_pane(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panes, "PART_ROWS", 700)
    keys = keys_of(kind, np.random.default_rng(4).integers(0, 3_000, 9_000))
    plan = AccumulatorPlan([(Count(), None, None)])
    stores = [PaneStore([pa.field("key", keys.type)], plan) for _ in range(2)]
    for store in stores:
        batch = pa.RecordBatch.from_arrays([keys], ["key"])
        store.add(batch, Tumbling(10), [], np.zeros(len(keys), dtype=np.int64))
    whole, parts = stores[0].pop(0), list(stores[1].pop_parts(0))
    assert len(parts) == -(-len(whole.state) // 700) and len(stores[1]) == 0
    assert pa.concat_batches([part.keys for part in parts]).equals(whole.keys)
    assert np.concatenate([part.state for part in parts]).tolist() == whole.state.tolist()
    counted = dict(zip(whole.keys.column(0).to_pylist(), whole.results()[0].to_pylist(), strict=True))
    want = {row["values"]: row["counts"] for row in keys.value_counts().to_pylist()}
    assert counted == want


@pytest.mark.parametrize("kind", ["int64", "text"])
def test_rows_are_fetched_ahead_of_whichever_panes_are_open(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pane, "is_large", True)  # so that all the ways of large panes are gone, in small ones
    plan = AccumulatorPlan([(Count(), None, None)])
    store = PaneStore([pa.field("key", keys_of(kind, np.arange(1)).type)], plan)
    dice, want = np.random.default_rng(9), Counter[tuple[int, Any]]()
    for rows, spread in [(3_000, 1), (3_001, 40), (15, 40), (5_000, 200), (1, 1)]:
        keys = keys_of(kind, dice.integers(0, 2_000, rows))
        times = dice.integers(0, spread, rows)
        store.add(pa.RecordBatch.from_arrays([keys], ["key"]), Tumbling(10), [], times)
        want.update(zip((times // 10 * 10).tolist(), keys.to_pylist(), strict=True))
    found = {}
    for closed in store.close(1_000):
        counted = zip(closed.keys.column(0).to_pylist(), closed.results()[0].to_pylist(), strict=True)
        found.update({(closed.start, key): count for key, count in counted})
    assert found == want


@pytest.mark.slow
def test_results_of_a_large_window_are_right_in_the_records_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panes, "PART_ROWS", 20_000)
    rng = np.random.default_rng(8)
    rows = 60_000
    numbers = rng.integers(0, 45_000, rows)
    table = pa.table(
        {
            "ts": pa.array(np.sort(rng.integers(0, 10**9, rows))).view(pa.timestamp("ns")),
            "key": keys_of("text", numbers),
            "x": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.3),
        }
    )
    windowed = sl.read_arrow(table).event_time("ts", max_delay="0s").key_by("key").window(sl.tumbling("1m"))
    got = windowed.agg(n=sl.count(), low=col("x").min(), high=col("x").max(), all=col("x").sum()).collect()
    grouped = table.group_by("key").aggregate([("ts", "count"), ("x", "min"), ("x", "max"), ("x", "sum")])
    want = {row["key"]: row for row in grouped.to_pylist()}
    assert got.num_rows == len(want) and got["window_start"].to_numpy().astype(np.int64).max() == 0
    for row in got.to_pylist():
        other = want[row["key"]]
        assert (row["n"], row["low"], row["high"]) == (other["ts_count"], other["x_min"], other["x_max"])
        assert row["all"] == pytest.approx(other["x_sum"] or 0.0, abs=1e-12)


def test_columns_without_room_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_memory, "ROWS_MIN", 1)
    memory = np.zeros((100, 2), dtype=np.int64)
    texts = ["a longer text than there is room for"] * 100
    rows = pa.record_batch({"a": np.arange(100), "b": texts, "c": np.arange(100) / 2, "d": np.arange(100)})
    moved = moved_into(memory, rows, ["a"])
    assert moved.equals(rows)
    places = [moved.column(name).buffers()[1].address for name in "abcd"]
    inside = [address(memory) <= place < address(memory) + memory.nbytes for place in places]
    assert inside == [False, False, True, True]


def test_no_value_is_taken_for_none() -> None:
    strange = struct.unpack("<d", struct.pack("<q", NO_FLOAT))[0]
    plan = AccumulatorPlan([(Min(), 0, pa.float64()), (Max(), 0, pa.float64())])
    store = PaneStore([pa.field("key", pa.int64())], plan)
    values = pa.array(np.array([strange, strange, 1.5, 0.0]), mask=np.array([False, False, False, True]))
    keys = pa.record_batch({"key": [1, 2, 2, 3]})
    store.add(keys, Tumbling(10), [values], np.zeros(4, dtype=np.int64))
    other = PaneStore([pa.field("key", pa.int64())], plan)
    other.merge(store.partials(0))
    low, high = other.pop(0).results()
    for found in (low.to_pylist(), high.to_pylist()):
        assert np.isnan(found[0]) and found[1:] == [1.5, None]
