"""The buffer of rows that wait, against sorted lists; and the orders of SEMANTICS 3."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamlib.elements import MAX_TIME, Batch
from streamlib.state import Order, OrderedBuffer, gathering, pieces
from streamlib.state import ordered as ordered_module
from streamlib.state.ordered import PIECES_MAX, in_order

rows = st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 5)), max_size=12)
steps = st.lists(st.tuples(rows, st.integers(-25, 25)), max_size=60)


def batch(rows: list[tuple[int, int]], first: int, ordered: bool) -> Batch:
    numbers = np.arange(first, first + len(rows))
    order = -numbers if ordered else None  # the later a row comes, the earlier it stands
    columns = {"n": pa.array(numbers), "v": pa.array([v for _, v in rows], pa.int64())}
    return Batch(pa.record_batch(columns), np.array([t for t, _ in rows], dtype=np.int64), order=order)


@pytest.fixture(params=[False, True], ids=["as it is", "kernels for few rows too"])
def _few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        for module in (ordered_module, pieces, gathering):
            monkeypatch.setattr(module, "KERNEL_ROWS_MIN", 1)


@pytest.mark.usefixtures("_few")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, order=st.sampled_from(Order), ordered=st.booleans(), halt=st.integers(0, 60))
def test_differential_what_comes_out_is_what_a_sorted_list_gives(
    steps: list[tuple[list[tuple[int, int]], int]], order: Order, ordered: bool, halt: int
) -> None:
    compared = 2
    buffer, held, count = OrderedBuffer(order, compared), [], 0
    for number, (new, before) in enumerate([*steps, ([], None)]):
        if new:
            buffer.add(batch(new, count, ordered))
            held += [(t, count + i, v) for i, (t, v) in enumerate(new)]
            count += len(new)
        assert buffer.rows == len(held) and buffer.low == min([t for t, _, _ in held], default=MAX_TIME)
        assert sorted(buffer.times().tolist()) == sorted(t for t, _, _ in held)
        assert len(buffer._pieces) <= PIECES_MAX
        if number == halt:
            saved = buffer.snapshot(pa.schema({"n": pa.int64(), "v": pa.int64()}))
            assert saved.schema.names == ["n", "v", "event_time", "event_order"]
            buffer = OrderedBuffer(order, compared)
            buffer.restore(saved)
        out = buffer.release(before)
        got = [
            (time, *row.values())
            for part in out
            for time, row in zip(part.time.tolist(), part.rows.to_pylist(), strict=True)  # type: ignore[union-attr]
        ]
        ready = [row for row in held if before is None or row[0] < before]
        held = [row for row in held if row not in ready]
        if order is Order.ARRIVAL:
            assert sorted(got) == sorted(ready)
            for time in {t for t, _, _ in ready}:
                assert [n for t, n, _ in got if t == time] == [n for t, n, _ in ready if t == time]
        elif order is Order.TIME:
            assert got == sorted(ready, key=lambda row: (row[0], -row[1] if ordered else row[1]))
        else:
            assert got == sorted(ready)


@pytest.mark.parametrize("cuts", [1, 2, pieces.PARTED_MAX, pieces.PARTED_MAX + 4])
def test_rows_in_any_order_are_parted_a_few_times_and_then_sorted(cuts: int) -> None:
    rows = 4 * gathering.KERNEL_ROWS_MIN
    times = np.random.default_rng(3).integers(0, 1000, rows)
    texts = pa.array([None if time % 7 == 0 else f"{time}" for time in times.tolist()])
    buffer, left = OrderedBuffer(Order.ARRIVAL), np.arange(rows)
    buffer.add(Batch(pa.record_batch({"n": left, "t": texts}), times))
    for cut in range(1, cuts + 1):
        before = cut * 1000 // (2 * cuts)
        (out,) = buffer.release(before)
        goes = times[left] < before
        numbers = np.asarray(out.rows.column(0))
        if cut <= pieces.PARTED_MAX:
            assert numbers.tolist() == left[goes].tolist()
        assert sorted(numbers.tolist()) == left[goes].tolist()
        assert out.time is not None and (out.time == times[numbers]).all()
        assert out.rows.column(1).equals(texts.take(pa.array(numbers)))
        left = left[~goes]
        assert buffer.rows == len(left) and buffer.low == times[left].min()
    (rest,) = buffer.release(None)
    assert sorted(rest.rows.column(0).to_pylist()) == left.tolist()


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        (pa.array([2, None, -1]), [-1, 2, None]),
        (pa.array([1.5, float("nan"), None, -2.0]), [-2.0, 1.5, "nan", None]),
        (pa.array(["b", "ß", None, "a"]), ["a", "b", "ß", None]),
        (pa.array(["b", None, "a"]).dictionary_encode(), ["a", "b", None]),
        (pa.array([True, False, None]), [False, True, None]),
        (pa.array([3, 1], pa.duration("s")).cast(pa.duration("ns")), None),
        (pa.array([None, None], pa.null()), [None, None]),
        (pa.array([[2], [1], None, [1, 1]], pa.list_(pa.int64())), None),
        (pa.array([{"a": 2}, {"a": 1}, None]), None),
        (pa.array([1.5, 0.5], pa.float16()), [0.5, 1.5]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_rows_of_one_time_go_by_their_columns_however_they_arrived(column: pa.Array, wanted: list) -> None:
    time = np.zeros(len(column), dtype=np.int64)
    answers = set()
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(len(column))
        values = pa.array([column[int(i)].as_py() for i in order], column.type)
        rows = pa.record_batch({"v": values})
        found = in_order(Batch(rows, time), Order.COLUMNS, 1).rows.column(0).to_pylist()
        answers.add(repr(found))
        if wanted is not None:
            assert ["nan" if v != v else v for v in found] == wanted
    assert len(answers) == 1, "the order of arrival is not to be seen"


def test_columns_behind_the_compared_ones_decide_nothing() -> None:
    rows = pa.record_batch({"k": [1, 1, 0], "more": [9, 8, 7]})
    found = in_order(Batch(rows, np.zeros(3, dtype=np.int64)), Order.COLUMNS, 1)
    assert found.rows.column(1).to_pylist() == [7, 9, 8]


GATHERED = {
    "int64": pa.int64(),
    "int8": pa.int8(),
    "float32": pa.float32(),
    "bool": pa.bool_(),
    "text": pa.string(),
    "bytes": pa.binary(),
    "large text": pa.large_string(),
    "time": pa.timestamp("ms", "UTC"),
    "decimal": pa.decimal128(9, 2),
    "list": pa.list_(pa.int8()),
    "null": pa.null(),
}


@pytest.mark.parametrize("name", GATHERED)
def test_differential_rows_are_gathered_as_arrow_takes_them(name: str) -> None:
    kind, dice = GATHERED[name], np.random.default_rng(3)
    texts = ["", "a", "seven77", "eight888", "a text of more than sixteen bytes", "ß"]
    batches = []
    for rows in (700, 1, 300):
        numbers = dice.integers(0, len(texts), rows + 5)
        values: list = [texts[n] for n in numbers]
        if pa.types.is_binary(kind):
            values = [text.encode() for text in values]
        elif pa.types.is_list(kind):
            values = [[int(n)] * int(n) for n in numbers]
        elif pa.types.is_boolean(kind):
            values = [bool(n % 2) for n in numbers]
        elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            values = [int(n) for n in numbers]
        if rows != 300 or pa.types.is_null(kind):
            values = [
                None if n == 3 or pa.types.is_null(kind) else v for n, v in zip(numbers, values, strict=True)
            ]
        batches.append(pa.record_batch({"v": pa.array(values, kind)}).slice(3, rows))
    whole = pa.Table.from_batches(batches).combine_chunks()
    rows = dice.permutation(1001)[:800]
    begins = np.array([0, 700, 701])
    numbers = np.searchsorted(begins, rows, side="right") - 1
    found = gathering.gathered(batches, (numbers << 32) | (rows - begins[numbers]), [rows] * 3, rows)
    found.validate(full=True)
    assert found.column(0).equals(whole.take(pa.array(rows)).column(0).combine_chunks())


@pytest.mark.parametrize("span", [0, 1, 2_047, 2**33, 2**61, 2**63])
def test_differential_times_are_sorted_as_numpy_sorts_them(span: int) -> None:
    dice = np.random.default_rng(span % 97)
    times = dice.integers(-(span // 2) - 1, span - span // 2, 5_000)
    codes = np.arange(5_000)
    order = np.argsort(times, kind="stable")
    found = gathering.sorted_by_time(times, codes)
    assert found[0].tolist() == times[order].tolist() and found[1].tolist() == order.tolist()


@pytest.mark.parametrize("limit", [16, 100])
def test_many_rows_come_out_in_parts_and_large_batches_are_not_joined(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("STAGE_ROWS", limit), ("_SAMPLED", 4), ("KERNEL_ROWS_MIN", 1)):
        monkeypatch.setattr(ordered_module, name, value)
    dice = np.random.default_rng(limit)
    buffer, held = OrderedBuffer(Order.TIME), []
    for step in range(60):
        rows = int(dice.integers(1, 200))
        times = dice.integers(0, 900, rows) + 10 * step
        numbers = np.arange(rows) + 1_000 * step
        buffer.add(Batch(pa.record_batch({"n": numbers}), times))
        held += zip(times.tolist(), numbers.tolist(), strict=True)
        assert len(buffer._pieces) <= PIECES_MAX + 2 * len(held) // limit
        if step % 20 == 19:
            found = buffer.release(10 * step)
            assert len(found) > 1, "in parts"
            got = [n for part in found for n in part.rows.column(0).to_pylist()]
            ready = sorted(row for row in held if row[0] < 10 * step)
            assert got == [n for _, n in ready]
            held = [row for row in held if row[0] >= 10 * step]
            assert buffer.rows == len(held)


@pytest.mark.parametrize("shape", ["even", "one far away", "few times", "rises"])
@pytest.mark.parametrize("coded", [False, True])
def test_differential_times_that_crowd_are_sorted_too(shape: str, coded: bool) -> None:
    dice = np.random.default_rng(len(shape))
    times = dice.integers(0, 2**40, 6_000)
    if shape == "one far away":
        times[17] = 2**47  # all others differ in the lowest bits only
    elif shape == "few times":
        times = dice.integers(0, 3, 6_000) * 2**40
    elif shape == "rises":
        times.sort()
    codes = dice.permutation(6_000) if coded else None
    order = np.argsort(times, kind="stable")
    found = gathering.sorted_by_time(times, codes)
    assert found[0].tolist() == times[order].tolist()
    assert found[1].tolist() == (order if codes is None else codes[order]).tolist()


def test_a_column_that_is_the_event_time_comes_out_as_the_times() -> None:
    times = np.random.default_rng(2).permutation(5_000)
    rows = pa.record_batch({"ts": pa.array(times).view(pa.timestamp("ns")), "n": pa.array(times)})
    buffer = OrderedBuffer(Order.TIME)
    buffer.add(Batch(rows, np.asarray(rows.column(0).view(pa.int64()))))
    (found,) = buffer.release(4_000)
    assert found.rows.column(0).equals(rows.column(0).take(pa.array(np.argsort(times)[:4_000])))
    assert found.rows.column(1).to_pylist() == list(range(4_000))


def test_texts_of_which_the_long_ones_come_out_alone() -> None:
    texts = ["x" * 500 if n % 50 == 0 else "" for n in range(5_000)]
    codes = np.arange(0, 5_000, 50).repeat(30)
    batch = pa.record_batch({"t": texts})
    found = gathering.gathered([batch], codes, [codes], codes)
    assert found.equals(batch.take(pa.array(codes)))


def test_many_rows_of_one_time_go_by_their_order() -> None:
    dice = np.random.default_rng(1)
    ranks = dice.permutation(6_000)
    buffer = OrderedBuffer(Order.TIME)
    for begin in range(0, 6_000, 3_000):
        part = ranks[begin : begin + 3_000]
        buffer.add(Batch(pa.record_batch({"n": part}), part // 2_000, order=part))
    (found,) = buffer.release(None)
    assert found.rows.column(0).to_pylist() == list(range(6_000))


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9)))
def test_differential_two_batches_are_merged_as_they_are_sorted(one: list[int], other: list[int]) -> None:
    times = [np.sort(np.array(part, dtype=np.int64)) for part in (one, other)]
    codes = [np.arange(len(part), dtype=np.int64)[::-1].copy() for part in times]
    found = gathering.merged_by_time(times, codes)
    both = np.concatenate([codes[0], codes[1] | (1 << 32)])
    order = np.argsort(np.concatenate(times), kind="stable")
    assert found[0].tolist() == np.concatenate(times)[order].tolist()
    assert found[1].tolist() == both[order].tolist()
