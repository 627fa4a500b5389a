"""Real trades, replayed after a reconnect: each comes out once. And the largest of each venue, as DuckDB has them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib.connectors.memory import CollectSink
from tests.oracle import queries
from tests.oracle.test_realdata import _table

ID = ("venue", "symbol", "trade_id")


@pytest.fixture(scope="module")
def trades() -> pa.Table:
    return _table("binance_trades").select(
        ["seq", "trade_time", "trade_id", "venue", "symbol", "price", "qty"]
    )


@pytest.mark.parametrize("keep", ["first", "last", "any"])
@pytest.mark.parametrize(("workers", "batch_rows"), [(1, 65_536), (3, 1_000)])
def test_a_feed_that_is_replayed(trades: pa.Table, keep: Any, workers: int, batch_rows: int) -> None:
    feed = pa.concat_tables([trades.slice(0, 30_000), trades.slice(20_000)])
    stream = sl.read_arrow(feed).event_time("trade_time", max_delay="5m")
    stream = stream.dedup(*ID, within="10m", keep=keep)
    once, again = CollectSink(), CollectSink()
    report = sl.run(
        stream.write(once), stream.duplicates.write(again), workers=workers, batch_rows=batch_rows
    )
    assert report.rows_late == 0
    assert once.table().sort_by("seq").equals(trades)
    assert again.table().sort_by("seq").equals(trades.slice(20_000, 10_000).combine_chunks())


def test_the_largest_trades_of_each_venue(trades: pa.Table) -> None:
    stream = sl.read_arrow(trades).event_time("trade_time", max_delay="1s").key_by("venue")
    top = stream.top_n(3, by="qty", per="10s").select("venue", "window_start", "rank", "trade_id", "qty")
    database = queries.database()
    database.register("trades", trades)
    wanted = database.execute(
        """
        select venue, epoch_ns(start), rank, trade_id, qty from (
            select *, row_number() over (partition by venue, start order by qty desc, trade_time, seq) as rank
            from (select *, time_bucket(interval 10 seconds, trade_time) as start from trades)
        ) where rank <= 3
        """
    ).fetchall()
    assert queries.found(top.collect(workers=2)) == queries.canonical(wanted)
