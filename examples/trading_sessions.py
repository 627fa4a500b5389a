"""A window of your own: the trading sessions of an exchange, with its holidays and half days.

    python -m pip install exchange_calendars
    python examples/trading_sessions.py
    python examples/trading_sessions.py --input trades.parquet --exchange XLON

The days come from exchange_calendars, which knows some fifty exchanges by their codes. Each session is a
window from the opening to the close, and so is the time between two of them: no trade is left out, and
trades before the opening do not get into the session's bar.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import exchange_calendars
import numpy as np
import numpy.typing as npt
import pyarrow as pa

import streamlib as sl
from streamlib import col
from streamlib.contracts import Window

Int64s = npt.NDArray[np.int64]
SECOND_NS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class TradingSessions(Window):
    """Windows that begin at each opening and at each close.

    Attributes:
        exchange: its code, for `describe`.
        opens, closes: of its sessions, in order, ns since 1970.
    """

    exchange: str
    opens: Int64s
    closes: Int64s

    @property
    def bounds(self) -> Int64s:
        """The ends of time, and all openings and closes between them."""
        ends = np.iinfo(np.int64)
        return np.concatenate([[ends.min], np.stack([self.opens, self.closes], axis=1).ravel(), [ends.max]])

    def starts(self, times: Int64s) -> Int64s:
        """The last opening or close at or before each time."""
        bounds = self.bounds
        return bounds[np.searchsorted(bounds[:-1], times, side="right") - 1]

    def ends(self, starts: Int64s) -> Int64s:
        """The next one after each start."""
        bounds = self.bounds
        return bounds[np.searchsorted(bounds[:-1], starts, side="right")]

    def granularity(self) -> int:
        """Exchanges open at whole seconds."""
        return SECOND_NS

    def describe(self) -> str:
        """For `explain()`."""
        return f"trading_sessions({self.exchange})"


def trading_sessions(exchange: str, first: str = "2000-01-01", last: str | None = None) -> TradingSessions:
    """The sessions of an exchange.

    Args:
        exchange: its code, such as ``XNYS`` for New York.
        first, last: the days between which sessions are known; about a year ahead for None. What lies
            before and after them is one window each.
    """
    calendar = exchange_calendars.get_calendar(exchange, start=first, end=last)
    opens, closes = (np.asarray(times, dtype="datetime64[ns]") for times in (calendar.opens, calendar.closes))
    return TradingSessions(exchange, opens.astype(np.int64), closes.astype(np.int64))


def trades_around_thanksgiving() -> pa.Table:
    """A trade every ten minutes from Wednesday to Monday: a holiday, a half day and a weekend."""
    start = np.datetime64("2025-11-26T09:00", "s")
    times = start + np.arange(0, 6 * 86_400, 600)
    cents = 10_000 + np.arange(len(times)) * 7_919 % 501
    return pa.table({"ts": pa.array(times), "price": cents / 100, "volume": np.full(len(times), 100)})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", help="a file with the columns ts, price and volume")
    parser.add_argument("--exchange", default="XNYS")
    args = parser.parse_args()

    trades = sl.read_files(args.input) if args.input else sl.read_arrow(trades_around_thanksgiving())
    sessions = trading_sessions(args.exchange)
    opens = pa.array(sessions.opens // SECOND_NS).cast(pa.timestamp("s"))
    bars = (
        trades.event_time("ts", max_delay="1m")
        .window(sessions)
        .agg(
            open=col("price").first(),
            high=col("price").max(),
            low=col("price").min(),
            close=col("price").last(),
            volume=col("volume").sum(),
        )
        .with_columns(trading=col("window_start").cast("timestamp[s]").is_in(opens))
    )
    sl.run(bars.print(rows=20))


if __name__ == "__main__":
    main()
