"""Whether engines agree, and the hash that stands beside each figure."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from benchmarks.jobs import BAR_COLUMNS

TYPES = {
    "symbol": pa.string(),
    "window_start": pa.timestamp("us"),
    "trades": pa.int64(),
    "volume": pa.int64(),
}
RELATIVE_TOLERANCE = 1e-9
"""How far two answers may differ in `vwap`: engines add floats in different orders, and round differently."""

AGREES = "agrees"
"""Stands in place of the hash of an engine whose answer has passed `check_same`."""


def canonical(bars: pa.Table) -> pa.Table:
    """The bars with the same columns, types and order from every engine."""
    columns = {}
    for name in BAR_COLUMNS:
        column = bars.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        columns[name] = column.cast(TYPES.get(name, pa.float64()))
    table = pa.table(columns)
    return table.sort_by([("symbol", "ascending"), ("window_start", "ascending")]).combine_chunks()


def hash_of(bars: pa.Table) -> str:
    """12 hex digits over every value of every bar, bit for bit."""
    digest = hashlib.sha256()
    for column in canonical(bars).itercolumns():
        for value in ("\n".join(column.to_pylist()),) if pa.types.is_string(column.type) else (column,):
            data = value.encode() if isinstance(value, str) else np.asarray(value).tobytes()
            digest.update(data)
    return digest.hexdigest()[:12]


def check_same(want: pa.Table, got: pa.Table, who: str) -> None:
    """Compares an engine's bars with streamlib's: all columns exactly, `vwap` to nine digits.

    Raises:
        AssertionError: they differ; the message says in which column.
    """
    want, got = canonical(want), canonical(got)
    assert want.num_rows == got.num_rows, f"{who} has {got.num_rows:,} bars, streamlib {want.num_rows:,}"
    for name in BAR_COLUMNS:
        a, b = want.column(name), got.column(name)
        if name == "vwap":
            same = np.allclose(np.asarray(a), np.asarray(b), rtol=RELATIVE_TOLERANCE, atol=0.0)
        else:
            same = a.equals(b)
        assert same, f"{who} and streamlib differ in {name}"
