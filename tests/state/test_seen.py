"""Keys that were seen, and the last rows of runs, against dicts: all types, growth, forgetting, snapshots."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlib.elements import MAX_TIME, MIN_TIME, Batch
from streamlib.state import LastRows, SeenKeys
from streamlib.state.seen import CHUNK_MIN

KINDS: dict[str, list[pa.DataType]] = {
    "int8": [pa.int8()],
    "int64": [pa.int64()],
    "uint64": [pa.uint64()],
    "float32": [pa.float32()],
    "bool": [pa.bool_()],
    "date": [pa.date32()],
    "timestamp": [pa.timestamp("us", "UTC")],
    "decimal": [pa.decimal128(21, 2)],
    "string": [pa.string()],
    "large_binary": [pa.large_binary()],
    "null": [pa.null()],
    "two": [pa.string(), pa.int64()],
}


def value(kind: pa.DataType, number: int | None) -> Any:
    if number is None or pa.types.is_null(kind):
        return None
    if pa.types.is_string(kind):
        return f"a key with the long name {number}" if number % 2 else str(number)
    if pa.types.is_large_binary(kind):
        return bytes(number % 40) + b"%d" % number
    if pa.types.is_floating(kind):
        return float("nan") if number == 1 else -0.0 if number == 2 else 0.0 if number == 3 else number / 4
    if pa.types.is_boolean(kind):
        return number % 2 == 0
    if pa.types.is_decimal(kind):
        return Decimal(number)
    if pa.types.is_int8(kind):
        return number % 100 - 50
    if pa.types.is_uint64(kind):
        return 2**64 - 1 - number
    return number


def batch_of(kinds: list[pa.DataType], numbers: list[int | None]) -> tuple[pa.RecordBatch, list[Any]]:
    """Keys as columns, and as values that are equal where the keys are."""
    values = [[value(kind, n) for n in numbers] for kind in kinds]
    schema = pa.schema([(f"k{i}", kind) for i, kind in enumerate(kinds)])
    columns = [pa.array(v, kind, from_pandas=False) for v, kind in zip(values, kinds, strict=True)]
    keys = [tuple("nan" if v != v else v for v in row) for row in zip(*values, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema), keys


def again(seen: SeenKeys, within: int | None, dice: random.Random) -> SeenKeys:
    """Two others that took in its snapshot in parts, and one that took in theirs."""
    halves = [SeenKeys(list(seen.schema), within) for _ in range(2)]
    for keys, times in seen.snapshot():
        which = np.array([dice.random() < 0.5 for _ in times], dtype=np.bool_)
        for half, mask in zip(halves, (which, ~which), strict=True):
            assert half.add(keys.filter(pa.array(mask)), times[mask]).all()
    whole = SeenKeys(list(seen.schema), within)
    for half in halves:
        for keys, times in half.snapshot():
            assert whole.add(keys, times).all(), "kept rows of one key are far apart"
    return whole


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4)
@given(seed=st.integers(0, 100_000))
def test_differential_seen_and_dicts_agree(kind: str, seed: int) -> None:
    dice = random.Random(seed)
    kinds = KINDS[kind]
    within = dice.choice((0, 5, 100, None))
    seen = SeenKeys([pa.field(f"k{i}", k) for i, k in enumerate(kinds)], within)
    wanted: dict[Any, list[int]] = {}
    now, passed = 0, MIN_TIME
    for _ in range(dice.randint(1, 6)):
        size = dice.choice((3, 40, 800))
        numbers = dice.choices((None, *range(size)), k=dice.randint(0, 2 * size))
        keys, ids = batch_of(kinds, numbers)
        times = [max(passed, now + dice.randint(-60, 60)) for _ in numbers]
        offset = dice.randint(0, min(2, len(numbers)))
        found = seen.add(keys.slice(offset), np.array(times[offset:], dtype=np.int64)).tolist()
        for one, time, new in zip(ids[offset:], times[offset:], found, strict=True):
            kept = wanted.setdefault(one, [])
            repeats = any(within is None or abs(time - other) <= within for other in kept)
            assert new is not repeats, f"{one} at {time}, kept at {kept}"
            if new:
                kept.append(time)
        now += dice.choice((0, 10, 300))
        if dice.random() < 0.6:
            passed = max(passed, now - 60)
            seen.forget(passed)
        if dice.random() < 0.3:
            seen = again(seen, within, dice)


@pytest.mark.parametrize("text", [False, True])
def test_what_is_over_is_forgotten(text: bool) -> None:
    field = pa.field("id", pa.string() if text else pa.int64())
    seen, largest = SeenKeys([field], within=1_000), 0
    for begin in range(0, 200_000, 5_000):
        ids = pa.array(range(begin, begin + 5_000)).cast(field.type)
        assert seen.add(pa.record_batch({"id": ids}), np.arange(begin, begin + 5_000)).all()
        largest = max(largest, seen.nbytes)
        seen.forget(begin + 5_000)
        assert seen.rows <= 1_000 + CHUNK_MIN + 5_000 // 16
    assert largest < 6_500 * (90 if text else 60) + 100_000
    seen.forget(300_000)
    assert (seen.rows, seen.nbytes < 30_000) == (0, True)


def test_a_row_far_ahead_holds_back_its_chunk_alone() -> None:
    seen = SeenKeys([pa.field("id", pa.int64())], within=10)
    seen.add(pa.record_batch({"id": [0]}), np.array([10**12]))
    for begin in range(1, 50_001, 1_000):
        ids = np.arange(begin, begin + 1_000)
        seen.add(pa.record_batch({"id": ids}), ids)
        seen.forget(begin + 1_000)
    assert seen.rows <= 3 * CHUNK_MIN
    assert not seen.add(pa.record_batch({"id": [0]}), np.array([10**12 + 1])).any()


def test_one_id_that_comes_all_the_time_is_found_at_once() -> None:
    """Kept rows are linked by time: a row looks at the newest of them, and not at half a million."""
    seen, times = SeenKeys([pa.field("id", pa.int64())], within=1), np.arange(0, 1_000_000, 2)
    ids = pa.record_batch({"id": np.zeros(len(times), dtype=np.int64)})
    assert seen.add(ids, times).all() and not seen.add(ids, times[-1:].repeat(len(times))).any()


def test_times_at_the_ends() -> None:
    seen = SeenKeys([pa.field("id", pa.int64())], within=MAX_TIME)
    ids = pa.record_batch({"id": [1, 1, 1, 1]})
    times = np.array([MIN_TIME + 1, MAX_TIME - 1, 0, MAX_TIME - 2], dtype=np.int64)
    assert seen.add(ids, times).tolist() == [True, True, False, False]
    seen.forget(MAX_TIME)
    assert seen.rows == 2


def numbers_of(batch: Batch) -> list[int]:
    return sorted(batch.rows["n"].to_pylist()) if len(batch) else []


@settings(max_examples=15)
@given(seed=st.integers(0, 100_000), text=st.booleans())
def test_differential_last_rows_and_dicts_agree(seed: int, text: bool) -> None:
    dice = random.Random(seed)
    within = dice.choice((0, 5, 100, None))
    fields = [pa.field("k", pa.string() if text else pa.int64())]
    runs = LastRows(fields, within)
    open_runs: dict[Any, tuple[int, int]] = {}
    now = number = 0
    for _ in range(dice.randint(1, 8)):
        count = dice.choice((1, 30, 1_500))
        keys = [dice.choice((None, *range(count))) for _ in range(count)]
        times = sorted(now + dice.randint(0, 40) for _ in keys)
        numbers = list(range(number, number + count))
        number += count
        rows = pa.RecordBatch.from_arrays(
            [pa.array(keys, pa.int64()).cast(fields[0].type), pa.array(numbers)], names=["k", "n"]
        )
        over, repeated = runs.add(Batch(rows, np.array(times), order=np.array(numbers)))
        ended, again = [], []
        for key, time, one in zip(keys, times, numbers, strict=True):
            run = open_runs.get(key)
            if run is not None:
                (again if within is None or time - run[0] <= within else ended).append(run[1])
            same = run is not None and (within is None or time - run[0] <= within)
            open_runs[key] = (run[0] if same and run is not None else time, one)
        assert numbers_of(over) == sorted(ended)
        assert numbers_of(repeated) == sorted(again)
        now = times[-1] + dice.choice((0, 3, 200))
        if dice.random() < 0.5:
            due = [k for k, run in open_runs.items() if within is not None and run[0] + within < now]
            gone = sorted(open_runs.pop(k)[1] for k in due)
            assert numbers_of(runs.due(now)) == gone
        if dice.random() < 0.3:
            table = runs.snapshot(rows.schema)
            runs = LastRows(fields, within)
            half = table.num_rows // 2
            runs.restore(table.slice(0, half))
            runs.restore(table.slice(half))
        assert runs.count == len(open_runs)
    assert numbers_of(runs.due(None)) == sorted(run[1] for run in open_runs.values())
    assert runs.count == 0
