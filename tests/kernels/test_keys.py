"""Keys as words: equal keys equal words, wherever they lie; different keys are told apart."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlib.errors import TypeMismatchError
from streamlib.kernels import keys
from streamlib.kernels.hashing import HASH_VERSION, NULL_WORD, half_hash
from streamlib.kernels.keys import KeyEncoder, KeyKind, exchange_order, key_groups, partition


def words(columns: list[pa.Array]) -> list[int]:
    encoder = KeyEncoder([column.type for column in columns])
    result: list[int] = encoder.words(encoder.encode(columns, len(columns[0]))).tolist()
    return result


def hashes(columns: list[pa.Array]) -> list[int]:
    encoder = KeyEncoder([column.type for column in columns])
    result: list[int] = encoder.hashes(encoder.encode(columns, len(columns[0]))).tolist()
    return result


def short(text: bytes) -> int:
    return int.from_bytes(text, "little") | len(text) << 56


texts = st.one_of(
    st.text(max_size=9), st.text(max_size=40), st.sampled_from(["", "\0", "\0\0", "1234567", "12345678"])
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.none(), texts), max_size=20), st.integers(0, 5), st.integers(0, 5))
def test_string_words_hold_short_strings_and_hash_long_ones(
    values: list[str | None], before: int, after: int
) -> None:
    column = pa.array(["x" * 3] * before + values + [None] * after, pa.string()).slice(before, len(values))
    got = words([column])
    for value, word in zip(values, got, strict=True):
        if value is None:
            assert word == int(NULL_WORD)
        elif len(value.encode()) <= 7:
            assert word == short(value.encode())
        else:
            assert word >> 56 == 0xFF
    known = dict(zip(values, got, strict=True))
    assert len(set(known.values())) == len(known)
    assert got == words([pa.array(values, pa.string())]) == words([pa.array(values, pa.large_string())])
    if len(values):
        assert got == words([pa.array(values, pa.string()).dictionary_encode()])
        assert got == words([pa.array(values, pa.string_view())])


def test_words_are_read_only_within_the_buffer() -> None:
    data = np.frombuffer(b"abcdefg", dtype=np.uint8).copy()  # no padding behind
    column = pa.StringArray.from_buffers(
        3, pa.py_buffer(np.array([0, 2, 2, 7], dtype=np.int32)), pa.py_buffer(data)
    )
    assert words([column]) == [short(b"ab"), short(b""), short(b"cdefg")]
    assert words(
        [pa.StringArray.from_buffers(1, pa.py_buffer(np.zeros(2, np.int32)), pa.py_buffer(b""))]
    ) == [0]
    assert words([pa.array([], pa.string())]) == []


@pytest.mark.parametrize(
    ("data_type", "values"),
    [
        (pa.int8(), [-1, 0, 127]),
        (pa.int32(), [-1, 0, 2**31 - 1]),
        (pa.uint64(), [0, 2**64 - 1]),
        (pa.bool_(), [True, False]),
        (pa.timestamp("us"), [-1, 5]),
        (pa.date32(), [-1, 5]),
        (pa.time32("ms"), [0, 5]),
        (pa.duration("s"), [-1, 5]),
    ],
)
def test_exact_words_are_the_values(data_type: pa.DataType, values: list[Any]) -> None:
    column = pa.array([values[0], *values], data_type).slice(1)
    assert words([column]) == [int(v) % 2**64 for v in values]
    with_null = pa.array([None, *values], data_type)
    assert words([with_null]) == [int(NULL_WORD), *(int(v) % 2**64 for v in values)]


def test_floats_have_one_zero_and_one_nan() -> None:
    strange = np.array([0x7FF8000000000001, 0xFFF8000000000000], dtype=np.uint64).view(np.float64)
    column = pa.array(np.array([0.0, -0.0, math.nan, *strange, 1.5]))
    got = words([column])
    assert got[0] == got[1] == 0 and got[2] == got[3] == got[4] and got[5] not in got[:5]
    assert words([pa.array([1.5, -0.0], pa.float32())]) == [got[5], 0]


cells = st.tuples(
    st.one_of(st.none(), st.sampled_from(["", "a", "\0", "ab", "b"])),
    st.one_of(st.none(), st.integers(-2, 2)),
    st.one_of(st.none(), st.sampled_from([Decimal("1.5"), Decimal("-0.5")])),
    st.one_of(st.none(), st.sampled_from(["", "a", "ab", "b"])),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(cells, min_size=1, max_size=30))
def test_rows_of_several_columns_are_told_apart(rows: list[tuple[Any, ...]]) -> None:
    types = [pa.string(), pa.int16(), pa.decimal128(5, 1), pa.string()]
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), types, strict=True)]
    encoder = KeyEncoder(types)
    encoded = encoder.encode(columns, len(rows))
    data, offsets, _ = encoded.kept
    cut = offsets.tolist()
    codes = [data[a:b].tobytes() for a, b in itertools.pairwise(cut)]
    assert len(set(codes)) == len(set(rows)) == len(set(zip(codes, rows, strict=True)))
    again = hashes([pa.concat_arrays([column, column]).slice(len(rows)) for column in columns])
    assert again == encoder.hashes(encoded).tolist()


def test_hashes_are_fixed() -> None:
    """Saved state is ordered by them: a change here needs a new HASH_VERSION and a migration."""
    assert HASH_VERSION == 1
    assert hashes([pa.array(["", "AAPL", "12345678", "a key of some length", None])]) == FIXED_STRINGS
    assert hashes([pa.array([0, 1, -1])]) == hashes([pa.array([0, 1, -1], pa.int8())]) == FIXED_INTS


def test_hash_in_plain_python() -> None:
    fixed = [keys.hash_word(np.uint64(v % 2**64)) for v in (0, 1, -1)]
    assert fixed == FIXED_INTS


FIXED_STRINGS = [
    7423383483382639721,
    5223162645637927661,
    8015109425916122691,
    15880933672226245323,
    11551682795033548911,
]
FIXED_INTS = [7423383483382639721, 494474263449348215, 7391031281425394802]


def test_key_groups_and_partitions_are_even_and_in_order() -> None:
    got = np.array(hashes([pa.array(np.arange(100_000))]), dtype=np.uint64)
    counts = np.bincount(key_groups(got), minlength=256)
    assert counts.min() > 250 and counts.max() < 550
    for workers in (1, 3, 8, 256):
        parts = partition(got, workers)
        assert parts.min() == 0 and parts.max() == workers - 1
        assert (np.diff(parts[np.argsort(key_groups(got))]) >= 0).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=50))
def test_exchange_order_is_a_stable_sort(parts: list[int]) -> None:
    order, offsets = exchange_order(np.array(parts, dtype=np.int64), 5)
    assert order.tolist() == sorted(range(len(parts)), key=lambda i: parts[i])
    assert offsets.tolist() == [sum(p < w for p in parts) for w in range(6)]


def test_no_key_columns_is_one_key() -> None:
    encoder = KeyEncoder([])
    assert encoder.kind is KeyKind.NONE
    assert encoder.words(encoder.encode([], 3)).tolist() == [0, 0, 0]


def test_nested_keys_are_refused() -> None:
    with pytest.raises(TypeMismatchError, match="cannot be a key"):
        KeyEncoder([pa.list_(pa.int64())])


@pytest.mark.parametrize("step", [1, 1_000, 1 << 20])
def test_numbers_in_a_row_are_scattered_over_the_places_of_a_table(step: int) -> None:
    with np.errstate(over="ignore"):
        places = {int(half_hash(np.uint64(step * n))) & 0x1FFF for n in range(4_096)}
    assert len(places) > 3_000, "of 8,192, where chance gives 3,223"
