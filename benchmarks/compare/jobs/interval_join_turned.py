"""interval_join_turned: the job of `interval_join`, with the auctions on the left and the bids on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.compare.job import MAX_DELAY
from benchmarks.compare.jobs.interval_join import IntervalJoin

if TYPE_CHECKING:
    import streamlib as sl


class IntervalJoinTurned(IntervalJoin):
    """The same, from the other side."""

    name = "interval_join_turned"

    def streamlib(self, rows: sl.Stream, *others: sl.Stream) -> sl.Stream:
        from streamlib import col

        (other,) = others
        bids = rows.event_time("ts", max_delay=MAX_DELAY).rename({"person": "bidder"})
        auctions = other.event_time("ts", max_delay=MAX_DELAY).select(
            "ts", "auction", seller=col("person"), reserve=col("price")
        )
        joined = auctions.join(bids, on="auction", within=("0s", "10s"))
        return joined.select("number", "auction", "bidder", "price", "seller", "reserve", opened=col("ts"))


JOB = IntervalJoinTurned()
