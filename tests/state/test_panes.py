"""The pane store where the differential test does not look: growth, memory, many panes, types of keys."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from streamlib.aggregates import AccumulatorPlan, Count, Sum
from streamlib.state import PaneStore, Tumbling
from streamlib.state.pane import Pane

PLAN = AccumulatorPlan([(Count(), None, None), (Sum(), 0, pa.int64())], ["volume"])


def store_of(kind: pa.DataType) -> PaneStore:
    return PaneStore([pa.field("key", kind)], PLAN)


def add(store: PaneStore, keys: pa.Array, times: Any = None, values: Any = None, size: int = 10) -> None:
    rows = len(keys)
    times = np.zeros(rows, dtype=np.int64) if times is None else times
    values = pa.array(np.ones(rows, dtype=np.int64)) if values is None else values
    store.add(pa.RecordBatch.from_arrays([keys], ["key"]), Tumbling(size), [values], times)


def counts(store: PaneStore, start: int) -> dict[Any, int]:
    closed = store.pop(start)
    rows, sums = closed.results()
    assert rows.equals(sums)
    return dict(zip(closed.keys.column(0).to_pylist(), rows.to_pylist(), strict=True))


@pytest.mark.parametrize("long", [False, True])
def test_a_pane_grows_within_a_batch_and_between_batches(long: bool) -> None:
    rng = np.random.default_rng(3)
    numbers = rng.integers(0, 40_000, 120_000)
    kind = pa.string() if long else pa.int64()
    name = (lambda n: f"the long name of key {n}") if long else int
    store = store_of(kind)
    for begin in range(0, len(numbers), 50_000):
        add(store, pa.array([name(n) for n in numbers[begin : begin + 50_000]], kind))
    want: dict[Any, int] = {}
    for n in numbers.tolist():
        want[name(n)] = want.get(name(n), 0) + 1
    assert store.rows == len(want)
    assert counts(store, 0) == want
    assert store.nbytes == 0 and len(store) == 0


def test_keys_come_out_in_the_order_they_were_first_met() -> None:
    store = store_of(pa.string())
    add(store, pa.array(["b", None, "a", "b", "c"]))
    assert store.pop(0).keys.column(0).to_pylist() == ["b", None, "a", "c"]


def test_a_window_is_expected_to_have_as_many_keys_as_whole_ones_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grown: list[int] = []
    grow = Pane.grow
    monkeypatch.setattr(Pane, "grow", lambda pane: (grown.append(pane.start), grow(pane)))
    store = store_of(pa.int64())
    windows = {0: 5, 10: 1000, 20: 1000, 30: 1000, 40: 5, 50: 1000, 60: 1000}  # 0 and 40 are cut by blocks
    for start, keys in windows.items():
        for begin in range(0, keys, 250):
            rows = pa.array(range(begin, min(begin + 250, keys)))
            add(store, rows, np.full(len(rows), start, dtype=np.int64))
        if start == 40:
            assert [len(counts(store, closed)) for closed in (0, 10, 20, 30, 40)] == [5, 1000, 1000, 1000, 5]
    assert set(grown) == {10}


def test_many_panes_opened_and_closed_in_any_order() -> None:
    rng = np.random.default_rng(4)
    store = store_of(pa.int64())
    times = rng.permutation(np.arange(-20_000, 20_000, dtype=np.int64))
    add(store, pa.array(times % 3), times)
    assert list(store.starts()) == list(range(-20_000, 20_000, 10))
    for start in rng.permutation(np.arange(-20_000, 0, 10)).tolist():
        assert sum(counts(store, start).values()) == 10
    with pytest.raises(KeyError):
        store.pop(-10)
    for begin in range(0, 1000, 10):  # places that closed panes left are used again
        add(store, pa.array([1]), np.array([20_000 + begin], dtype=np.int64))
        assert counts(store, begin) == {
            k: len([t for t in range(begin, begin + 10) if t % 3 == k]) for k in range(3)
        }
    assert [closed.start for closed in store.close(20_500)] == list(range(1000, 20_500, 10))
    assert list(store.starts()) == list(range(20_500, 21_000, 10))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.large_string(), ["a", "a long long string", None]),
        (pa.string_view(), ["a", "a long long string", None]),
        (pa.dictionary(pa.int8(), pa.string()), ["a", "a long long string", None]),
        (pa.binary(), [b"", b"\0", None]),
        (pa.binary(3), [b"abc", b"\0\0\0", None]),
        (pa.decimal128(20, 3), [Decimal("1.250"), Decimal("-7.000"), None]),
        (pa.bool_(), [True, False, None]),
        (pa.date32(), [None]),
        (pa.timestamp("ms", "Europe/Berlin"), [None]),
        (pa.null(), [None]),
    ],
    ids=str,
)
def test_keys_of_any_type_come_out_as_they_came_in(kind: pa.DataType, values: list[Any]) -> None:
    store = store_of(kind)
    for _ in range(2):
        add(store, pa.array(values * 2, kind))
    again = store_of(kind)
    again.merge(store.partials(0))
    closed = again.pop(0)
    assert closed.keys.schema.types == [kind]
    assert closed.keys.column(0).to_pylist() == values
    assert closed.results()[0].to_pylist() == [4] * len(values)


def test_float_keys_show_one_zero_whichever_came_first() -> None:
    for zeros in ([0.0, -0.0], [-0.0, 0.0]):
        store = store_of(pa.float64())
        add(store, pa.array([*zeros, math.nan, None]))
        keys = store.pop(0).keys.column(0).to_pylist()
        assert math.copysign(1, keys[0]) == 1 and math.isnan(keys[1]) and keys[2:] == [None]


def test_a_word_that_looks_like_the_null_key_is_not_it() -> None:
    tag = (0xFE << 56) - 2**64
    store = store_of(pa.int64())
    add(store, pa.array([tag, None, tag]))
    assert counts(store, 0) == {tag: 2, None: 1}


def test_a_snapshot_is_open_data_and_leaves_the_store_as_it_is() -> None:
    store = store_of(pa.string())
    add(store, pa.array(["a", "b", "a"]), np.array([0, 0, 10], dtype=np.int64), pa.array([1, 2, 3]))
    table = store.snapshot()
    assert table.column_names == ["key", "window_start", "rows", "volume.int_sum.low", "volume.int_sum.high"]
    assert table.column("volume.int_sum.low").to_pylist() == [1, 2, 3]
    assert table.column("window_start").cast(pa.int64()).to_pylist() == [0, 0, 10]
    assert store.rows == 3
    half = store_of(pa.string())
    half.restore(table.slice(1))
    half.restore(table.slice(0, 1))
    assert half.snapshot().sort_by("window_start").num_rows == 3
    assert store_of(pa.string()).snapshot().num_rows == 0
    other = PaneStore([pa.field("key", pa.string())], AccumulatorPlan([(Count(), None, None)]))
    with pytest.raises(AssertionError, match="another plan"):
        other.restore(table)


def test_memory_is_that_of_the_open_panes() -> None:
    store = store_of(pa.int64())
    sizes = []
    for n in range(50):
        add(store, pa.array(np.arange(1000)), np.full(1000, 10 * n, dtype=np.int64))
        for _ in store.close(10 * n - 10):
            pass
        sizes.append(store.nbytes)
    assert max(sizes[10:]) == min(sizes[10:]) < 2**20
