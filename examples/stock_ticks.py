"""Ten-second bars from a file of stock ticks: open, high, low, close, volume and VWAP per symbol.

    python examples/stock_ticks.py --input out/ticks.csv
    python examples/stock_ticks.py --input trades.parquet --columns ts=time,symbol=pair,price=p,volume=q

The input may be CSV, JSON Lines, Parquet or Arrow, one file or a pattern. Ticks may arrive out of
order by up to `--max-delay`; later ones are counted in the report and written to `--late`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pyarrow.parquet as pq

import streamlib as sl
from streamlib import col

COLUMNS = ("ts", "symbol", "price", "volume")


def bars_of(ticks: sl.Stream, window: str, max_delay: str) -> sl.Stream:
    """One row per symbol and window."""
    return (
        ticks.filter(col("price") > 0)
        .event_time("ts", max_delay=max_delay)
        .key_by("symbol")
        .window(sl.tumbling(window))
        .agg(
            trades=sl.count(),
            open=col("price").first(),
            high=col("price").max(),
            low=col("price").min(),
            close=col("price").last(),
            volume=col("volume").sum(),
            vwap=(col("price") * col("volume")).sum() / col("volume").sum(),
        )
        .named("bars")
    )


def names_of(text: str) -> dict[str, str]:
    """The user's column for each of ours: ``ts=time,price=p`` leaves the others as they are."""
    names = {name: name for name in COLUMNS}
    for pair in filter(None, text.split(",")):
        ours, _, theirs = pair.partition("=")
        if ours not in names or not theirs:
            sys.exit(f"--columns: cannot read {pair!r}; write ts=TIME,symbol=NAME,price=PRICE,volume=AMOUNT")
        names[ours] = theirs
    return names


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", required=True, help="a file or a pattern such as 'ticks/*.csv'")
    parser.add_argument(
        "--columns", default="", help="names of your columns: ts=time,symbol=pair,price=p,volume=q"
    )
    parser.add_argument(
        "--epoch", choices=["s", "ms", "us", "ns"], help="unit of times that are numbers since 1970"
    )
    parser.add_argument("--output", default="out/bars", help="folder for the bars")
    parser.add_argument("--late", help="file for late ticks, such as out/late.jsonl")
    parser.add_argument("--window", default="10s")
    parser.add_argument("--max-delay", default="2s", help="how far ticks may be out of order")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()

    names = names_of(args.columns)
    columns = {ours: col(theirs) for ours, theirs in names.items()}
    if args.epoch:
        columns["ts"] = sl.from_epoch(columns["ts"], args.epoch)
    ticks = sl.read_files(args.input).select(**columns)
    bars = bars_of(ticks, args.window, args.max_delay)
    sinks = [bars.print(rows=10), bars.write_files(args.output, format="parquet", if_exists="replace")]
    if args.late:
        sinks.append(bars.late.write_files(args.late, if_exists="replace"))
    print(sl.run(*sinks, workers=args.workers))
    print(f"{pq.read_table(args.output).num_rows:,} bars in {Path(args.output)}/*.parquet")


if __name__ == "__main__":
    try:
        main()
    except sl.StreamlibError as error:
        sys.exit(f"error: {error}")
