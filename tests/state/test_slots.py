"""The slot table against dicts: slots, state, freed keys that come back, compaction, snapshots."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamlib.aggregates import AccumulatorPlan, Count, Last, Max, Sum
from streamlib.kernels.keys import KeyEncoder
from streamlib.state import Expiry, SlotTable
from streamlib.state.slot_cache import SlotCache
from streamlib.state.slots import collect_slots

KINDS = {"exact": pa.int64(), "bytes": pa.string(), "decimal": pa.decimal128(30, 2)}


def plan() -> AccumulatorPlan:
    text = pa.string()
    return AccumulatorPlan(
        [(Count(), None, None), (Sum(), 0, pa.int64()), (Last(), 1, text), (Max(), 1, text)], ["v", "s"]
    )


def key(kind: str, number: int | None) -> object:
    if number is None or kind != "bytes":
        return number
    return f"a key with the long name {number}" if number % 2 else str(number)


@pytest.mark.parametrize(
    "kind",
    [kind if kind == "bytes" else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS],
)
@settings(max_examples=12)
@given(seed=st.integers(0, 10_000))
def test_differential_slots_and_dicts_agree(kind: str, seed: int) -> None:
    dice = random.Random(seed)
    fields = [pa.field("k", KINDS[kind])]
    table = SlotTable(fields, plan())
    wanted: dict[object, list] = {}
    slot_of: dict[object, int] = {}
    for step in range(dice.randint(1, 12)):
        size = dice.choice((1, 5, 300, 3000))
        numbers = dice.choices((None, *range(size)), k=dice.randint(1, 2 * size))
        keys = [key(kind, n) for n in numbers]
        rows = pa.RecordBatch.from_arrays([pa.array(keys, fields[0].type)], schema=pa.schema(fields))
        values = [dice.randint(0, 9) for _ in keys]
        texts = [None if v == 0 else str(v) * 3 for v in values]
        found = table.find(rows).copy() if dice.random() < 0.3 else None
        times = np.arange(len(keys)) + 10_000 * step
        slots = table.put(rows, [pa.array(values), pa.array(texts, pa.string())], times)
        if found is not None:
            assert (found == slots).all()
        for one, slot, value, text in zip(keys, slots.tolist(), values, texts, strict=True):
            assert slot_of.setdefault(one, slot) == slot, "a slot is its key's own"
            state = wanted.setdefault(one, [0, 0, None, None])
            state[:] = [
                state[0] + 1,
                state[1] + value,
                text,
                max(filter(None, (state[3], text)), default=None),
            ]
        touched = table.touched(slots, times)
        assert sorted(touched.slots.tolist()) == sorted({slot_of[k] for k in keys})
        for slot, low, high in zip(touched.slots, touched.low, touched.high, strict=True):
            of_slot = times[slots == slot]
            assert (low, high) == (of_slot.min(), of_slot.max())
        freed = touched.slots[: dice.randint(0, len(touched.slots))]
        if len(freed):
            for one in table.read(freed).keys.column(0).to_pylist():
                del wanted[one]
            live = table.free(freed)
            if live is not None:
                assert table.count == len(live) == len(wanted)
                names = table.read(np.arange(len(live))).keys.column(0).to_pylist() if len(live) else []
                slot_of = {name: slot for slot, name in enumerate(names)}
    assert contents(table) == wanted
    other = SlotTable(fields, plan())
    for part in table.snapshot().to_batches(max_chunksize=7):
        for slots in other.take_in(pa.Table.from_batches([part])):
            assert len(slots) == part.num_rows
    assert contents(other) == wanted
    assert table.count <= 2 * len(wanted) + 3 * 1024 + 3000, "freed keys do not pile up"


def contents(table: SlotTable) -> dict[object, list]:
    live = table.live()
    if not len(live):
        return {}
    state = table.read(live)
    columns = [result.to_pylist() for result in state.results()]
    return dict(zip(state.keys.column(0).to_pylist(), map(list, zip(*columns, strict=True)), strict=True))


@pytest.mark.parametrize("kind", ["exact", "bytes"])
@settings(max_examples=8)
@given(seed=st.integers(0, 10_000))
@example(seed=313)
def test_differential_keys_that_come_often_keep_their_slots(kind: str, seed: int) -> None:
    """Many rows of few keys and of many, keys that are freed, and tables that are compacted meanwhile."""
    dice = np.random.default_rng(seed)
    fields = [pa.field("k", KINDS[kind])]
    table, slot_of = SlotTable(fields, AccumulatorPlan([])), {}
    for _ in range(12):
        numbers = dice.integers(0, dice.choice([3, 700, 20_000, 60_000]), dice.choice([50, 3_000])).tolist()
        keys = [None if n == 1 else n if kind == "exact" else key(kind, n) for n in numbers]
        rows = pa.RecordBatch.from_arrays([pa.array(keys, fields[0].type)], schema=pa.schema(fields))
        puts = dice.random() < 0.7
        slots = table.put(rows, [], np.arange(len(keys))) if puts else table.find(rows)
        assert len(slots) == len(keys) and slots is table.slots
        for one, slot in zip(keys, slots.tolist(), strict=True):
            assert slot_of.setdefault(one, slot) == slot, "a slot is its key's own"
        assert len(set(slot_of.values())) == len(slot_of) == table.count
        if puts:
            assert set(slots.tolist()) <= set(table.live().tolist())
        if dice.random() < 0.3 and len(table.live()):
            live = table.live()
            gone = dice.permutation(live)[: len(live) * 9 // 10]
            kept = table.free(np.sort(gone))
            assert not set(gone.tolist()) & set(table.live().tolist()) or kept is not None
            if kept is not None:
                number = {int(slot): n for n, slot in enumerate(kept)}
                slot_of = {one: number[slot] for one, slot in slot_of.items() if slot in number}


def test_the_kernel_says_what_its_python_says() -> None:
    rng = np.random.default_rng(0)
    slots, times = rng.integers(0, 50, 1000), rng.integers(-100, 100, 1000)
    for garbage in (0, 7, 10**6):
        one, other = [(np.full(50, garbage), np.empty((3, 1000), np.int64)) for _ in range(2)]
        counts = [
            function(slots, times, place, out[0], out[1], out[2])
            for function, (place, out) in ((collect_slots, one), (collect_slots.py, other))
        ]
        assert counts[0] == counts[1] == len(set(slots.tolist()))
        assert (one[1][:, : counts[0]] == other[1][:, : counts[0]]).all()


@given(
    ttl=st.sampled_from([1, 7, 16, 100, 2**62]),
    steps=st.lists(
        st.tuples(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60))), st.integers(0, 90))
    ),
)
def test_differential_slots_are_due_when_their_last_row_is_older_than_the_ttl(
    ttl: int, steps: list[tuple[list[tuple[int, int]], int]]
) -> None:
    expiry, last, alive, clock = Expiry(ttl), np.full(31, -(2**63)), {}, -5
    for rows, rise in steps:
        for slot, ahead in rows:
            time = clock + ahead  # never before what has been reached
            alive[slot] = max(alive.get(slot, time), time)
            last[slot] = alive[slot]
        touched = np.array(sorted({slot for slot, _ in rows}), dtype=np.int64)
        expiry.file(touched, last)
        clock += rise
        due = sorted(expiry.due(clock, last).tolist())
        assert due == sorted(slot for slot, time in alive.items() if time + ttl < clock)
        for slot in due:
            del alive[slot]
        if rise == 90:
            expiry.renumbered(np.array(sorted(alive), dtype=np.int64), last)


def test_a_cache_that_was_cleared_takes_nothing_in_until_it_is_asked_again() -> None:
    encoder, cache = KeyEncoder([pa.int64()]), SlotCache()
    keys = encoder.encode([pa.array(np.arange(100))], 100)
    assert cache.find(keys) is None and cache.nbytes > 100_000
    cache.clear()
    assert cache.nbytes < 10_000, "the memory of a cleared cache is given back"
    cache.keep(keys, np.arange(100))  # once written where the sets had been
    assert cache.find(keys) is None
    cache.keep(keys, np.arange(100))
    found = cache.find(keys)
    assert found is not None and found[0].tolist() == list(range(100)) and not len(found[1])
