"""Values that are no words: `first`, `last`, `min` and `max` of strings, binary, decimals, lists; against Python."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from streamlib.aggregates import AccumulatorPlan, Count, First, Last, Max, Min, Sum
from streamlib.state import PaneStore, Tumbling
from streamlib.state.value_store import ValueStore
from streamlib.state.values import row_ranks
from tests.state.simulator import Simulator

KEY = [pa.field("key", pa.string())]
NO_ROWS = pa.RecordBatch.from_struct_array(pa.array([], pa.struct([])))
TEXTS = ["", "a", "b", "B", "zażółć", "日本", "🎈", "\0", "\0\0", "a long text, " * 20, "é", "z", "\uffff"]
KINDS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "string": (pa.string(), TEXTS),
    "large_string": (pa.large_string(), TEXTS),
    "string_view": (pa.string_view(), TEXTS),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), TEXTS),
    "binary": (pa.binary(), [text.encode() for text in TEXTS] + [b"\xff", b"\x80"]),
    "fixed": (pa.binary(3), [b"abc", b"\0\0\0", b"\xff\xff\xff", b"abd"]),
    "decimal": (pa.decimal128(20, 2), [Decimal(d) for d in ("-10.00", "9.00", "0.00", "10.01", "-0.50")]),
    "wide": (pa.decimal256(60, 1), [Decimal(10) ** 50, Decimal(-5), Decimal("0.5")]),
}


def plan_of(kind: pa.DataType, ordered: bool) -> tuple[AccumulatorPlan, list[Any]]:
    aggregates: list[Any] = [(a, 0, kind) for a in (First(), Last(), Min(), Max(), Count())]
    aggregates += [(Last(), 1, pa.int32()), (Sum(), 1, pa.int32()), (Count(), None, None)]
    return AccumulatorPlan(aggregates, ["venue", "volume"], ordered), aggregates


def order_of(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def wanted(simulator: Simulator, start: int, aggregates: list[Any]) -> dict[Any, list[Any]]:
    """The simulator's results, where texts are ordered by their UTF-8."""
    results = simulator.results(start, aggregates)
    for key, rows in simulator.panes[start].items():
        values = sorted((row[3][0] for row in rows if row[3][0] is not None), key=order_of)
        results[key][2:4] = [values[0], values[-1]] if values else [None, None]
    return results


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("ordered", [pytest.param(False, marks=pytest.mark.slow), True])
def test_differential_store_equals_simulator(name: str, ordered: bool) -> None:
    kind, pool = KINDS[name]
    rng = random.Random(f"{name} {ordered}")
    plan, aggregates = plan_of(kind, ordered)
    for _ in range(5):
        stores = [PaneStore(KEY, plan) for _ in range(rng.choice([1, 3]) if ordered else 1)]
        simulator, position = Simulator(ordered), 0
        for _ in range(rng.choice([1, 6])):
            rows = rng.choice([0, 1, 40, 1500])
            names = [f"k{rng.randrange(rng.choice([1, 3, 2000]))}" for _ in range(rows)]
            keys = pa.RecordBatch.from_arrays([pa.array(names, pa.string())], schema=pa.schema(KEY))
            time = np.array([rng.randrange(0, 60) for _ in range(rows)], dtype=np.int64)
            values = [None if rng.random() < 0.2 else rng.choice(pool) for _ in range(rows + 7)]
            inputs = [pa.array(values, kind).slice(3, rows), pa.array([rng.randrange(9)] * rows, pa.int32())]
            order = np.random.default_rng(rows).permutation(rows).astype(np.int64) + position
            counted = rng.random() < 0.5
            if counted:
                order = np.arange(position, position + rows)
            position += rows
            given: Any = None if not ordered else position - rows if counted else order
            rng.choice(stores).add(keys, Tumbling(20), inputs, time, given)
            starts = (time // 20 * 20).tolist()
            simulator.add(keys, starts, inputs, time.tolist(), order.tolist() if ordered else None)
        rng.shuffle(stores)
        target = stores[0]
        for other in stores[1:]:
            if rng.random() < 0.5:
                target.restore(other.snapshot())
                continue
            for start in rng.sample(list(other.starts()), len(other)):
                partial = other.partials(start)
                for offset in range(0, partial.num_rows, 100):  # as batches are cut on their way
                    target.merge(partial.slice(offset, 100))
        if rng.random() < 0.5:
            again = PaneStore(KEY, plan)
            again.restore(target.snapshot())
            target = again
        assert list(target.starts()) == sorted(simulator.panes)
        for closed in target.close(1000):
            results = closed.results()
            assert [r.type for r in results] == plan.result_types
            for result in results:
                result.validate(full=True)
            got = zip(*(r.to_pylist() for r in results), strict=True)
            keyed = dict(
                zip(zip(closed.keys.column(0).to_pylist(), strict=True), map(list, got), strict=True)
            )
            assert keyed == wanted(simulator, closed.start, aggregates)
        assert target.nbytes == 0


@pytest.mark.slow
def test_a_tie_in_time_goes_by_order_or_by_arrival() -> None:
    for ordered, want in ((False, ["b", "c"]), (True, ["c", "b"])):
        plan = AccumulatorPlan([(First(), 0, pa.string()), (Last(), 0, pa.string())], ordered=ordered)
        stores = [PaneStore([], plan) for _ in range(3)]
        for store, text, order in zip(stores, ["b", "a", "c"], [3, 2, 1], strict=True):
            keys = pa.RecordBatch.from_struct_array(pa.array([{}], pa.struct([])))
            store.add(keys, Tumbling(10), [pa.array([text])], np.array([5]), order if ordered else None)
        for store in stores[1:]:
            stores[0].merge(store.partials(0))
        assert [r[0].as_py() for r in stores[0].pop(0).results()] == want


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.list_(pa.string()), [["a", None], None, [], ["b"]]),
        (pa.struct([("x", pa.int8()), ("y", pa.string())]), [{"x": 1, "y": "a"}, None, {"x": None, "y": ""}]),
        (pa.map_(pa.string(), pa.int8()), [[("a", 1)], [], None]),
        (pa.list_(pa.int8(), 2), [[1, 2], [3, None], None]),
        (pa.null(), [None, None]),
    ],
    ids=str,
)
def test_first_and_last_of_nested_values(kind: pa.DataType, values: list[Any]) -> None:
    plan = AccumulatorPlan([(First(), 0, kind), (Last(), 0, kind), (Count(), 0, kind)])
    store, again = PaneStore(KEY, plan), PaneStore(KEY, plan)
    for begin in range(0, 600, 3):
        numbers = [n % len(values) for n in range(begin, begin + 3)]
        keys = pa.RecordBatch.from_arrays([pa.array(["k"] * 3)], schema=pa.schema(KEY))
        inputs = [pa.array([values[n] for n in numbers], kind)]
        store.add(keys, Tumbling(10_000), inputs, np.arange(begin, begin + 3))
    again.restore(store.snapshot())
    got = [r[0].as_py() for r in again.pop(0).results()]
    assert got == [
        values[0],
        values[599 % len(values)],
        sum(values[n % len(values)] is not None for n in range(600)),
    ]


def test_encoded_columns_are_aggregated_as_what_they_stand_for() -> None:
    texts = pa.array(["b", None, "a", "b", "c"])
    numbers = pa.array([2.0, None, float("nan"), 2.0, 1.0])
    columns = [texts.dictionary_encode(), pa.compute.run_end_encode(texts), numbers.dictionary_encode()]
    columns += [pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, None]), pa.array(["b", None, "a"]))]
    views = pa.array(["b", "a", "c"], pa.string_view())
    columns += [pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 0, 2]), views)]
    for column in columns:
        plan = AccumulatorPlan([(a, 0, column.type) for a in (First(), Last(), Min(), Max(), Count())])
        store = PaneStore([], plan)
        keys = pa.RecordBatch.from_struct_array(pa.array([{}] * len(column), pa.struct([])))
        store.add(keys, Tumbling(10), [column], np.zeros(len(column), dtype=np.int64))
        results = store.pop(0).results()
        assert [r.type for r in results[:4]] == [column.type.value_type] * 4
        got = [r[0].as_py() for r in results]
        if column is columns[2]:
            assert got == [2.0, 1.0, 1.0, 2.0, 4]
        elif column is columns[3]:
            assert got == ["b", None, "a", "b", 2]
        else:
            assert got == ["b", "c", "a", "c", 4]


def test_a_snapshot_holds_the_values_in_columns_named_for_them() -> None:
    plan, _ = plan_of(pa.string(), True)
    store = PaneStore(KEY, plan)
    keys = pa.RecordBatch.from_arrays([pa.array(["k", "l", "k"])], schema=pa.schema(KEY))
    inputs = [pa.array(["x", None, "y"]), pa.array([1, 2, 3], pa.int32())]
    store.add(keys, Tumbling(10), inputs, np.array([1, 2, 3]), 7)
    table = store.snapshot()
    assert [name for name in table.column_names if name.startswith("venue")] == [
        *(f"venue.first_any_ordered.{part}" for part in ("time", "order")),
        *(f"venue.last_any_ordered.{part}" for part in ("time", "order")),
        "venue.nulls.count",
        "venue.first_any_ordered.value",
        "venue.last_any_ordered.value",
        "venue.min_any.value",
        "venue.max_any.value",
    ]
    assert table.column("venue.last_any_ordered.value").to_pylist() == ["y", None]
    assert table.column("venue.last_any_ordered.order").to_pylist() == [9, 8]
    assert store.snapshot().equals(table), "a snapshot changes nothing"


@pytest.mark.parametrize("rows", [pytest.param(1, marks=pytest.mark.slow), 700])
def test_memory_is_bounded_while_one_key_gets_a_million_values(rows: int) -> None:
    kind = pa.string()
    plan = AccumulatorPlan([(a, 0, kind) for a in (First(), Last(), Max())], ordered=False)
    store = PaneStore([], plan)
    updates = 1_000_000 if rows > 1 else 20_000
    texts = pa.array([f"{n:012}" for n in range(updates)])
    keys = pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    largest = 0
    for begin in range(0, updates - rows + 1, rows):
        store.add(keys, Tumbling(10**9), [texts.slice(begin, rows)], np.arange(begin, begin + rows))
        largest = max(largest, store.nbytes)
    assert largest < 3 * (64 * 1024 + 4096) + 16_384
    last = begin + rows - 1
    assert [r[0].as_py() for r in store.pop(0).results()] == [f"{n:012}" for n in (0, last, last)]


def test_memory_of_many_keys_is_at_most_a_few_times_that_of_the_values() -> None:
    plan = AccumulatorPlan([(Last(), 0, pa.string())])
    store, rng = PaneStore([pa.field("key", pa.int64())], plan), np.random.default_rng(5)
    texts = pa.array([f"a text of thirty-two bytes {n:05}" for n in range(20_000)])
    sizes = []
    for n in range(150):
        numbers = rng.permutation(20_000)[:5000]
        keys = pa.RecordBatch.from_arrays([pa.array(numbers)], ["key"])
        store.add(keys, Tumbling(10**9), [texts.take(pa.array(numbers))], np.full(5000, n))
        sizes.append(sum(values.nbytes for pane in store._panes.values() for values in pane.values))
    live = 20_000 * (32 + 8)
    assert max(sizes) < 3 * live
    closed = store.pop(0)
    numbers = closed.keys.column(0).to_numpy()
    assert closed.results()[0].equals(texts.take(pa.array(numbers)))


@pytest.mark.slow
def test_a_pane_grows_in_the_middle_of_a_batch() -> None:
    rng = np.random.default_rng(6)
    numbers = rng.integers(0, 30_000, 90_000)
    texts = pa.array([f"{n}" for n in range(90_000)])
    plan = AccumulatorPlan([(a, 0, pa.string()) for a in (First(), Last(), Min(), Max())])
    store = PaneStore([pa.field("key", pa.int64())], plan)
    store.add(
        pa.RecordBatch.from_arrays([pa.array(numbers)], ["key"]), Tumbling(10**9), [texts], np.arange(90_000)
    )
    closed = store.pop(0)
    want: dict[int, list[str]] = {}
    for number, text in zip(numbers.tolist(), texts.to_pylist(), strict=True):
        want.setdefault(number, []).append(text)
    got = zip(*(r.to_pylist() for r in closed.results()), strict=True)
    for number, row in zip(closed.keys.column(0).to_pylist(), got, strict=True):
        values = want[number]
        assert row == (values[0], values[-1], min(values), max(values))


def test_a_store_keeps_few_chunks_and_finds_its_values() -> None:
    store, rng, texts = ValueStore(pa.large_string()), random.Random(7), []
    for n in range(500):
        part = [f"{n} {i}" for i in range(rng.choice([1, 1, 5, 100]))]
        assert store.append(pa.array(part, pa.large_string())) == len(texts)
        texts += part
        assert len(store._chunks) <= 16
    places = np.array([rng.randrange(-1, len(texts)) for _ in range(1000)])
    assert store.take(places).to_pylist() == [None if p < 0 else texts[p] for p in places]
    store.keep(places[places >= 0])
    assert len(store) == int((places >= 0).sum())
    assert store.take(np.array([0]))[0].as_py() == texts[places[places >= 0][0]]


@pytest.mark.parametrize("kind", [pa.int64(), pa.int16(), pa.float64(), pa.string(), pa.binary(), pa.bool_()])
@pytest.mark.parametrize("nulls", [False, True])
def test_differential_many_values_are_taken_as_arrow_takes_them(kind: pa.DataType, nulls: bool) -> None:
    dice, store, parts = np.random.default_rng(5), ValueStore(kind), []
    for rows in (3_000, 900, 7, 300):
        numbers = pa.array(dice.integers(0, 2, rows)).cast(pa.int16()).cast(pa.string()).cast(kind)
        mask = pa.array(dice.random(rows) < 0.3) if nulls else pa.array(np.zeros(rows, bool))
        parts.append(pc.if_else(mask, pa.scalar(None, kind), numbers))
        store.append(parts[-1])
    whole, places = pa.concat_arrays(parts), dice.integers(-1_000, len(store), 6_000)
    for wanted in (places, np.abs(places), places[:100]):
        found = store.take(np.maximum(wanted, -1))
        found.validate(full=True)
        assert found.equals(whole.take(pa.array(wanted, mask=wanted < 0)))


def test_ranks_follow_the_bytes() -> None:
    for kind, pool in KINDS.values():
        values = [None, *pool, pool[0]]
        ranks = row_ranks(pa.array(values, kind)) if kind != pa.string_view() else row_ranks(pa.array(values))
        assert ranks[0] == -1
        assert (ranks[1:] & 0xFFFFFFFF).tolist() == list(range(1, len(values)))
        numbers = [order_of(v) for v in values[1:]]
        ordered = {v: n for n, v in enumerate(sorted(set(numbers)))}
        assert (ranks[1:] >> 32).tolist() == [ordered[v] for v in numbers]
    assert row_ranks(pa.nulls(3)).tolist() == row_ranks(pa.nulls(3, pa.string())).tolist() == [-1] * 3
