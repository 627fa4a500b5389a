"""Rows taken from records, against the rows that Arrow takes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from streamlib.elements import Batch
from streamlib.state import Order, OrderedBuffer
from streamlib.state.packed import PackedRows, Packer

KINDS = {
    "int64": pa.int64(),
    "double": pa.float64(),
    "float": pa.float32(),
    "int32": pa.int32(),
    "int8": pa.int8(),
    "bool": pa.bool_(),
    "us": pa.timestamp("us", "UTC"),
    "text": pa.string(),
    "bytes": pa.binary(),
    "null": pa.null(),
}
TEXTS = ["", "a", "seven77", "eight888", "fifteen_bytes15", "sixteen_bytes_16", "ß"]


def column(kind: pa.DataType, dice: np.random.Generator, rows: int, nulls: bool, texts: int) -> pa.Array:
    """Values of a type, behind others in one memory."""
    numbers = dice.integers(0, 100, rows + 3)
    values: list = numbers.tolist()
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        values = [TEXTS[n % texts] for n in values]
    elif pa.types.is_boolean(kind):
        values = [bool(n & 1) for n in values]
    elif pa.types.is_floating(kind):
        values = [n / 4 for n in values]
    elif pa.types.is_null(kind):
        values = [None] * len(values)
    if nulls:
        values = [None if n % 5 == 0 else v for n, v in zip(numbers, values, strict=True)]
    return pa.array(values, kind).slice(3)


batches = st.lists(
    st.tuples(st.integers(0, 50), st.booleans(), st.integers(1, len(TEXTS))), min_size=1, max_size=4
)


@given(
    kinds=st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=4),
    turns=st.lists(batches, min_size=1, max_size=2),
    brief=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_differential_rows_are_taken_as_arrow_takes_them(
    kinds: list[str], turns: list[list[tuple[int, bool, int]]], brief: bool, seed: int
) -> None:
    dice = np.random.default_rng(seed)
    packer = Packer(frozenset(["0"]) if brief else None)
    held: list[PackedRows] = []
    for turn in turns:
        for rows, nulls, texts in turn:
            columns = [column(KINDS[kind], dice, rows + 1, nulls, texts) for kind in kinds]
            held.append(PackedRows(pa.record_batch(columns, names=[str(n) for n in range(len(kinds))])))
        numbers = dice.integers(0, len(held), 100)
        codes = np.array(
            [(n << 32) | dice.integers(0, held[n].rows.num_rows) for n in numbers], dtype=np.int64
        )
        made = packer.columns(held, codes)
        whole = pa.Table.from_batches([part.rows for part in held]).combine_chunks()
        begins = np.cumsum([0, *(part.rows.num_rows for part in held)])
        wanted = whole.take(pa.array(begins[codes >> 32] + (codes & 0xFFFFFFFF)))
        for place, found in made.items():
            found.validate(full=True)
            assert found.equals(wanted.column(place).combine_chunks())
        if dice.integers(0, 2):
            packer.take_back(held.pop(0))  # its memory is written over
            if not held:
                break


def test_the_kind_of_a_column_only_ever_widens() -> None:
    """Texts that become longer, and then a null: records are made anew, in the end without the column."""
    packer, held = Packer(), []
    for texts, places in (
        (["a", "b"], {0, 1}),
        (["eight888", "b"], {0, 1}),
        (["a", None], set()),
        (["a", "b"], set()),
    ):
        held.append(PackedRows(pa.record_batch({"t": texts, "n": [1.5, 2.5]})))
        made = packer.columns(held, np.array([(n << 32) | 1 for n in range(len(held))]))
        assert set(made) == places
        if made:
            assert made[0].to_pylist() == ["b"] * len(held)
            assert made[1].to_pylist() == [2.5] * len(held)


def test_texts_of_which_the_longer_ones_come_out() -> None:
    """There is not room for all of them at first."""
    texts = ["" if n % 50 else "fifteen_bytes15" for n in range(5_000)]
    part = PackedRows(pa.record_batch({"t": texts, "n": range(5_000)}))
    codes = np.arange(0, 5_000, 50).repeat(30)
    made = Packer().columns([part], codes)
    assert made[0].to_pylist() == ["fifteen_bytes15"] * len(codes)
    assert made[1].to_pylist() == codes.tolist()


def test_rows_that_wait_for_long_come_out_of_records_that_were_written_over() -> None:
    """Batches out of order by more than one of them, one after another: each is gone before the next but two."""
    dice, buffer, rows, begin = np.random.default_rng(4), OrderedBuffer(Order.TIME), [], 0
    for number in range(12):
        times = np.sort(dice.integers(0, 20_000, 6_000)) + number * 10_000
        times = times[dice.permutation(6_000)]
        rows += list(zip(times.tolist(), range(begin, begin + 6_000), strict=True))
        columns = {
            "n": np.arange(begin, begin + 6_000),
            "t": [f"{n % 977:x}" for n in range(begin, begin + 6_000)],
        }
        buffer.add(Batch(pa.record_batch(columns), times))
        begin += 6_000
        before = number * 10_000 if number < 11 else None
        ready = sorted(row for row in rows if before is None or row[0] < before)
        rows = [row for row in rows if before is not None and row[0] >= before]
        out = buffer.release(before)
        assert [n for part in out for n in part.rows.column(0).to_pylist()] == [n for _, n in ready]
        assert [t for part in out for t in part.rows.column(1).to_pylist()] == [
            f"{n % 977:x}" for _, n in ready
        ]
