"""Seeded ticks: the one input of all benchmarks.

Each tick has 100 microseconds of event time to itself, so that no two ticks have the same time: `first`
and `last` have one answer in every engine. Ticks arrive up to `DISORDER_US` after they happened, in the
order of arrival, so that with a `max_delay` of that length none is late.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

START = np.datetime64("2026-01-05T14:30:00", "us")
SLOT_US = 100
DISORDER_US = 2_000_000
SYMBOLS = 1_000
SEED = 7
PIECE_ROWS = 1_000_000

SCHEMA = pa.schema(
    {"ts": pa.timestamp("us"), "symbol": pa.string(), "price": pa.float64(), "volume": pa.int64()}
)


def ticks(
    rows: int, symbols: int = SYMBOLS, seed: int = SEED, disorder_us: int = DISORDER_US, first: int = 0
) -> pa.Table:
    """Ticks `first` to `first + rows`, in the order in which they arrive, in one chunk.

    The same arguments give the same table. Pieces are drawn each on its own: putting two together gives
    other ticks than drawing both at once.
    """
    random = np.random.default_rng([seed, first])
    happened = (first + np.arange(rows, dtype=np.int64)) * SLOT_US + random.integers(0, SLOT_US, rows)
    arrival = np.argsort(happened + random.integers(0, disorder_us + 1, rows), kind="stable")
    symbol = random.integers(0, symbols, rows)
    level = np.exp(np.random.default_rng(seed).normal(4.0, 0.6, symbols))
    price = np.round(level[symbol] * np.exp(random.normal(0.0, 0.01, rows)), 2)
    names = pa.array([f"S{number:04d}" for number in range(symbols)])
    return pa.table(
        {
            "ts": pa.array((START + happened[arrival]).astype("datetime64[us]")),
            "symbol": names.take(pa.array(symbol)),
            "price": pa.array(np.maximum(price, 0.01)),
            "volume": pa.array(random.geometric(0.01, rows)),
        },
        schema=SCHEMA,
    ).combine_chunks()


def pieces(rows: int, symbols: int = SYMBOLS, seed: int = SEED) -> Iterator[pa.Table]:
    """Any number of ticks in tables of at most `PIECE_ROWS`, so that memory stays small."""
    for first in range(0, rows, PIECE_ROWS):
        yield ticks(min(PIECE_ROWS, rows - first), symbols, seed, first=first)


def write_csv(path: Path, rows: int, symbols: int = SYMBOLS, seed: int = SEED) -> int:
    """Writes `pieces` as one CSV file with a header; returns its size in bytes."""
    options = pacsv.WriteOptions(quoting_style="none")
    with pacsv.CSVWriter(path, SCHEMA, write_options=options) as writer:
        for table in pieces(rows, symbols, seed):
            writer.write_table(table)
    return path.stat().st_size
