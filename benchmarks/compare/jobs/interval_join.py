"""interval_join: each bid with its auction, where it came within 10 s of the auction's start.

Of 53 events three open an auction and fifty are bids. A bid is for one of the auctions of the last twelve
seconds, so that some come too late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.compare.job import MAX_DELAY, Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import pyarrow as pa

    import streamlib as sl

BID, AUCTION = 0, 1
SHARE = 53
"""Three events of so many are auctions."""
OPEN_US = 12_000_000


class IntervalJoin(Job):
    """Each bid with its auction, where it came within 10 s."""

    name = "interval_join"
    columns = {
        "ts": "timestamp[us]",
        "kind": "int64",
        "auction": "int64",
        "person": "int64",
        "price": "double",
        "number": "int64",
    }
    answer = Shape(
        {
            "number": "int64",
            "auction": "int64",
            "bidder": "int64",
            "price": "double",
            "seller": "int64",
            "reserve": "double",
            "opened": "timestamp[us]",
        },
        keys=("number",),
        noun="bids",
    )
    targets = {"duckdb": 0.75}
    sides = "kind"

    def data(self, rows: int) -> pa.Table:
        import numpy as np
        import pyarrow as pa

        from benchmarks.ticks import DISORDER_US, SEED, SLOT_US, START

        random = np.random.default_rng([SEED, rows])
        happened = np.arange(rows, dtype=np.int64) * SLOT_US + random.integers(0, SLOT_US, rows)
        is_auction = random.integers(0, SHARE, rows) < 3
        opened = np.cumsum(is_auction)  # auctions up to each event: the newest has this number less one
        before = np.searchsorted(happened, happened - OPEN_US)
        oldest = np.where(before > 0, opened[np.maximum(before, 1) - 1], 0)
        newest = np.maximum(opened - 1, 0)
        bid_for = oldest + (random.random(rows) * (newest - oldest + 1)).astype(np.int64)
        arrival = np.argsort(happened + random.integers(0, DISORDER_US + 1, rows), kind="stable")
        table = {
            "ts": (START + happened).astype("datetime64[us]"),
            "kind": np.where(is_auction, AUCTION, BID),
            "auction": np.where(is_auction, newest, np.minimum(bid_for, newest)),
            "person": random.integers(0, 100_000, rows),
            "price": np.round(random.gamma(2.0, 50.0, rows), 2),
            "number": np.arange(rows),
        }
        return pa.table({name: pa.array(values[arrival]) for name, values in table.items()})

    def streamlib(self, rows: sl.Stream, *others: sl.Stream) -> sl.Stream:
        from streamlib import col

        (other,) = others
        bids = rows.event_time("ts", max_delay=MAX_DELAY).rename({"person": "bidder"})
        auctions = other.event_time("ts", max_delay=MAX_DELAY).select(
            "ts", "auction", seller=col("person"), reserve=col("price")
        )
        joined = bids.join(auctions, on="auction", within=("-10s", "0s"))
        return joined.select(
            "number", "auction", "bidder", "price", "seller", "reserve", opened=col("ts_right")
        )

    def duckdb(self) -> dict[str, str]:
        return {
            "hash join": """
                SELECT b.number, b.auction, b.person AS bidder, b.price, a.person AS seller, a.price AS reserve,
                       a.ts AS opened
                FROM {source} b JOIN {other} a ON a.auction = b.auction
                 AND b.ts BETWEEN a.ts AND a.ts + INTERVAL 10 SECOND
            """
        }

    def polars(self) -> dict[str, Callable[..., Any]]:
        from datetime import timedelta

        import polars as pl

        def join(bids: Any, others: Any) -> Any:
            auctions = others.select("auction", opened="ts", seller="person", reserve="price")
            after = pl.col("ts") - pl.col("opened")
            answer = ["number", "auction", "bidder", "price", "seller", "reserve", "opened"]
            joined = bids.rename({"person": "bidder"}).join(auctions, on="auction")
            return joined.filter(after.is_between(timedelta(0), timedelta(seconds=10))).select(answer)

        return {"hash join": join}

    def flink(self) -> str:
        return f"""
            SELECT b.number, b.auction, b.person, b.price, a.person, a.price, a.ts
            FROM (SELECT * FROM events WHERE kind = {BID}) b, (SELECT * FROM events WHERE kind = {AUCTION}) a
            WHERE a.auction = b.auction AND b.t BETWEEN a.t AND a.t + INTERVAL '10' SECOND
        """


JOB = IntervalJoin()
