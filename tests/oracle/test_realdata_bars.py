"""Real trades: tick, volume and dollar bars are those of a loop over the trades of each venue and symbol.

See `test_realdata` for the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import col
from tests.oracle import queries
from tests.oracle.test_realdata import _table

SIZES: dict[str, tuple[Any, Callable[[list[Any]], bool]]] = {
    "ticks": (sl.tumbling(rows=100), lambda bar: len(bar) == 100),
    "volume": (sl.tumbling(sum="qty", size=7.5), lambda bar: math.fsum(qty for _, _, qty in bar) >= 7.5),
    "dollars": (
        sl.tumbling(sum=col("price") * col("qty"), size=250_000),
        lambda bar: math.fsum(price * qty for _, price, qty in bar) >= 250_000,
    ),
}


AGGREGATES = {
    "trades": sl.count(),
    "open": col("price").first(),
    "high": col("price").max(),
    "low": col("price").min(),
    "close": col("price").last(),
    "volume": col("qty").sum(),
    "vwap": (col("price") * col("qty")).sum() / col("qty").sum(),
}


@pytest.fixture(scope="module")
def trades() -> pa.Table:
    rows = _table("binance_trades").select(["seq", "trade_time", "venue", "symbol", "price", "qty"])
    return rows.append_column("at", rows["trade_time"].cast(pa.timestamp("ns")).cast(pa.int64()))


@pytest.mark.parametrize("name", SIZES)
def test_bars_of_trades_equal_a_loop(trades: pa.Table, name: str) -> None:
    window, is_full = SIZES[name]
    stream = sl.read_arrow(trades).event_time("trade_time", max_delay="300ms").key_by("venue", "symbol")
    bars = stream.window(window).agg(**AGGREGATES)
    wanted = loop(trades, is_full)
    assert len(wanted) > 400
    for workers, batch_rows in ((1, 65_536), (3, 1_000)):
        found = queries.found(bars.collect(workers=workers, batch_rows=batch_rows))
        assert found == queries.canonical(wanted)


def loop(trades: pa.Table, is_full: Callable[[list[Any]], bool]) -> list[Any]:
    """The bars, a trade at a time. Trades of one millisecond are in the order of their arrival."""
    open_bars: dict[tuple[str, str], list[Any]] = {}
    done = []
    for row in sorted(trades.to_pylist(), key=lambda row: (row["at"], row["seq"])):
        key = (row["venue"], row["symbol"])
        bar = open_bars.setdefault(key, [])
        bar.append((row["at"], row["price"], row["qty"]))
        if is_full(bar):
            prices = [price for _, price, _ in bar]
            edges = (prices[0], max(prices), min(prices), prices[-1])
            volume = math.fsum(qty for *_, qty in bar)
            vwap = math.fsum(price * qty for _, price, qty in bar) / volume
            done.append((*key, bar[0][0], bar[-1][0], len(bar), *edges, volume, vwap))
            open_bars[key] = []
    return done


def test_seconds_without_trades_are_filled(trades: pa.Table) -> None:
    stream = sl.read_arrow(trades).event_time("trade_time", max_delay="300ms").key_by("venue", "symbol")
    bars = stream.window(sl.tumbling("1s")).agg(**AGGREGATES)
    filled = bars.fill_gaps(close="forward", trades=0, up_to="1m")
    columns = ["venue", "symbol", "window_start", "window_end", "close", "trades"]
    found = queries.found(filled.collect(workers=2).select(columns))
    wanted = []
    by_key: dict[Any, list[Any]] = {}
    given = queries.found(bars.collect().select(columns))
    for bar in given:
        by_key.setdefault(bar[:2], []).append(bar)
    for key, mine in by_key.items():
        ends = [bar[3] for bar in mine]
        for bar, following in zip(mine, [*ends[1:], math.inf], strict=True):
            wanted.append(bar)
            end = bar[3] + queries.SECOND
            while end < following and end <= bar[3] + 60 * queries.SECOND:
                wanted.append((*key, end - queries.SECOND, end, bar[4], 0))
                end += queries.SECOND
    assert found == queries.canonical(wanted)
    assert len(found) > len(given) + 700
