"""Columns as words: where they lie, and which rows have a value."""

from __future__ import annotations

import pyarrow as pa
import pytest

from streamlib.kernels.columns import is_valid, validity_of


@pytest.mark.parametrize(
    "column",
    [
        pa.nulls(3),
        pa.nulls(200_000).slice(3),
        pa.array([1, None, 3]),
        pa.array([None, 1, None, 3]).slice(1),
        pa.array(["a", None]),
    ],
    ids=str,
)
def test_which_rows_have_a_value(column: pa.Array) -> None:
    address, bit = validity_of(column)
    valid = [address == 0 or bool(is_valid(address, bit + row)) for row in (0, 1, len(column) - 1)]
    assert valid == [column[row].is_valid for row in (0, 1, len(column) - 1)]


def test_a_column_without_nulls_has_no_bitmap() -> None:
    assert validity_of(pa.array([1, 2])) == (0, 0) == validity_of(pa.nulls(0))
