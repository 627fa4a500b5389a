"""Writes seeded stock ticks as CSV: `ts, symbol, price, volume`, arriving up to two seconds out of order.

    python examples/make_ticks.py out/ticks.csv --rows 2000000

The same arguments give the same file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

START = np.datetime64("2026-01-05T14:30:00", "us")
TICKS_PER_SECOND = 10_000
ARRIVAL_DELAY_US = 2_000_000
CHUNK_ROWS = 250_000


def ticks(rows: int, symbols: int, seed: int) -> pa.Table:
    """Ticks in the order in which they arrive; every price is a random walk of its symbol."""
    random = np.random.default_rng(seed)
    happened = np.arange(rows, dtype=np.int64) * (1_000_000 // TICKS_PER_SECOND)
    happened += random.integers(0, 1_000_000 // TICKS_PER_SECOND, rows)
    arrival = np.argsort(happened + random.integers(0, ARRIVAL_DELAY_US, rows), kind="stable")
    symbol = random.integers(0, symbols, rows)
    names = np.array([f"S{number:04d}" for number in range(symbols)])
    step = random.normal(0.0, 0.0005, rows)
    level = np.exp(random.normal(4.0, 0.6, symbols))
    price = np.round(level[symbol] * np.exp(walk(symbol, step)), 2)
    volume = random.geometric(0.01, rows)
    return pa.table(
        {
            "ts": pa.array((START + happened[arrival]).astype("datetime64[us]")),
            "symbol": pa.array(names[symbol[arrival]]),
            "price": pa.array(np.maximum(price[arrival], 0.01)),
            "volume": pa.array(volume[arrival]),
        }
    )


def walk(symbol: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The running sum of `step` within each symbol, in the order of time."""
    order = np.argsort(symbol, kind="stable")
    total = np.cumsum(step[order])
    first = np.flatnonzero(np.diff(symbol[order], prepend=-1))
    before = np.repeat(total[first] - step[order][first], np.diff(first, append=len(symbol)))
    walked = np.empty_like(step)
    walked[order] = total - before
    return walked


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--symbols", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.path.parent.mkdir(parents=True, exist_ok=True)
    table = ticks(args.rows, args.symbols, args.seed)
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none", batch_size=CHUNK_ROWS)
    with args.path.open("wb") as file:
        file.write(",".join(table.schema.names).encode() + b"\n")
        pyarrow.csv.write_csv(table, file, options)
    print(f"{table.num_rows:,} ticks of {args.symbols:,} symbols in {args.path}")


if __name__ == "__main__":
    main()
