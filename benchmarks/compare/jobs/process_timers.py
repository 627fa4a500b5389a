"""process_timers: runs of ticks of one symbol, told by a timer: a Python call for each tick, and one for each run.

Every tick moves its symbol's timer to half a second later; when it comes the run has ended. The answer is that of
sessions, and no faster way to it may be taken here. Bytewax notifies by the wall clock only: its logic keeps
a key's ticks until two seconds of later ones are there, and looks itself whether the time of the timer has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, TypedDict

from benchmarks.compare.job import MAX_DELAY, BytewaxStateful, Job
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import streamlib as sl

GAP = timedelta(milliseconds=500)
DELAY = timedelta(seconds=2)


class Volume(TypedDict):
    """What is read of a tick."""

    volume: int


class ProcessTimers(Job):
    """Trades and volume of runs by symbol that end with 500 ms of silence, by a timer of a Python class."""

    name = "process_timers"
    answer = Shape(
        {"symbol": "string", "ended": "timestamp[us]", "trades": "int64", "volume": "int64"},
        keys=("symbol", "ended"),
        noun="runs",
    )
    targets = {"bytewax": 3.0}

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        import streamlib as sl

        class Runs(sl.Processor):
            trades = sl.ValueState(int, 0)
            volume = sl.ValueState(int, 0)

            def on_row(self, row: Volume, ctx: sl.Context) -> None:
                self.trades += 1
                self.volume += row["volume"]
                ctx.timer("quiet", after="500ms")

            def on_timer(self, name: str, ctx: sl.Context) -> None:
                found = {"symbol": ctx.key, "ended": ctx.time, "trades": self.trades, "volume": self.volume}
                ctx.emit(found)
                self.trades = self.volume = 0

        keyed = rows.event_time("ts", max_delay=MAX_DELAY).key_by("symbol")
        return keyed.process(Runs, schema=self.answer.types)

    def duckdb(self) -> dict[str, str]:
        return {
            "lag": """
                SELECT symbol, max(ts) + INTERVAL 500 MILLISECOND AS ended, count(*) AS trades,
                       sum(volume)::BIGINT AS volume
                FROM (
                    SELECT *, sum(begins) OVER w AS run
                    FROM (
                        SELECT *, coalesce(ts - lag(ts) OVER w > INTERVAL 500 MILLISECOND, false)::INT AS begins
                        FROM {source} WINDOW w AS (PARTITION BY symbol ORDER BY ts))
                    WINDOW w AS (PARTITION BY symbol ORDER BY ts))
                GROUP BY symbol, run
            """
        }

    def polars(self) -> dict[str, Callable[[Any], Any]]:
        import polars as pl

        ts, symbol = pl.col("ts"), pl.col("symbol")

        def one_sort(rows: Any) -> Any:
            begins = (ts - ts.shift(1) > GAP) | symbol.ne_missing(symbol.shift(1))
            found = rows.sort("symbol", "ts").group_by(begins.cum_sum().alias("run"))
            return found.agg(
                symbol=symbol.first(), ended=ts.last() + GAP, trades=pl.len(), volume=pl.col("volume").sum()
            )

        return {"sort by symbol": one_sort}

    def bytewax(self) -> BytewaxStateful:
        def line(symbol: str, run: Any) -> str:
            ended, trades, volume = run
            return f"{symbol},{ended.replace(tzinfo=None)},{trades},{volume}"

        return BytewaxStateful(_runs, line)


def _runs() -> Any:
    """Bytewax's logic for a symbol."""
    from bytewax.operators import StatefulLogic

    class Runs(StatefulLogic):  # type: ignore[misc]
        def __init__(self, _: Any) -> None:
            self.waiting: list[Any] = []
            self.newest: Any = None
            self.due: Any = None
            self.trades = self.volume = 0

        def on_item(self, tick: Any) -> Any:
            time, _, volume = tick
            heappush(self.waiting, (time, volume))
            if self.newest is None or time > self.newest:
                self.newest = time
            return self.taken(self.newest - DELAY), StatefulLogic.RETAIN

        def taken(self, until: Any) -> list[Any]:
            found = []
            waiting = self.waiting
            while waiting and (until is None or waiting[0][0] <= until):
                time, volume = heappop(waiting)
                if self.due is not None and time > self.due:
                    found.append(self.ended())
                self.trades += 1
                self.volume += volume
                self.due = time + GAP
            return found

        def ended(self) -> Any:
            run = (self.due, self.trades, self.volume)
            self.trades = self.volume = 0
            return run

        def on_notify(self) -> Any:
            return [], StatefulLogic.RETAIN

        def on_eof(self) -> Any:
            return [*self.taken(None), self.ended()], StatefulLogic.DISCARD

        def notify_at(self) -> Any:
            return None

        def snapshot(self) -> Any:
            return None

    return Runs


JOB = ProcessTimers()
