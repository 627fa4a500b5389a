"""A window of your own: shifts of a plant, by local time, with the clocks changed twice a year.

    python examples/own_window.py
    python examples/own_window.py --input parts.csv --zone America/New_York --shifts 07:00,19:00

A fixed window says two things of arrays of times: where the window of each row starts, and where a
window ends. Everything else (lateness, workers, checkpoints, results) is the engine's.
"""

from __future__ import annotations

import argparse
import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import streamlib as sl
from streamlib import col
from streamlib.contracts import Window

Int64s = npt.NDArray[np.int64]
DAY = 86_400
SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Shifts(Window):
    """Windows from one change of shift to the next.

    Attributes:
        zone: the plant's time zone, such as ``Europe/Berlin``.
        changes: when shifts change by the clock on the wall, seconds after midnight, in order.
    """

    zone: str
    changes: tuple[int, ...]

    def starts(self, times: Int64s) -> Int64s:
        """The last change of shift at or before each time, ns."""
        if not len(times):
            return times
        changes = self.near(times)
        return changes[np.searchsorted(changes, times, side="right") - 1]

    def ends(self, starts: Int64s) -> Int64s:
        """The change of shift after each start, ns."""
        if not len(starts):
            return starts
        changes = self.near(starts)
        return changes[np.searchsorted(changes, starts, side="right")]

    def near(self, times: Int64s) -> Int64s:
        """All changes of shift up to two days from each time, ns, in order."""
        zone, midnight = ZoneInfo(self.zone), dt.datetime(1970, 1, 1)
        days = np.unique(np.unique(times // SECOND_NS // DAY)[:, None] + np.arange(-2, 3))
        walls = [midnight + dt.timedelta(days=int(day), seconds=s) for day in days for s in self.changes]
        # Of an hour that comes twice it is the first; in one that is left out it is as much later.
        instants = {int(wall.replace(tzinfo=zone).timestamp()) for wall in walls}
        return np.array(sorted(instants), dtype=np.int64) * SECOND_NS

    def granularity(self) -> int:
        """Shifts change at whole seconds."""
        return SECOND_NS

    def describe(self) -> str:
        """For `explain()`."""
        clock = ",".join(f"{s // 3600:02}:{s // 60 % 60:02}" for s in self.changes)
        return f"shifts({clock} {self.zone})"


def shifts(clock: str, zone: str) -> Shifts:
    """Shifts that change at times such as ``06:00,14:00,22:00``."""
    seconds = [
        int(hour) * 3600 + int(minute) * 60 for hour, minute in (c.split(":") for c in clock.split(","))
    ]
    return Shifts(zone, tuple(sorted(seconds)))


def a_weekend_of_parts() -> pa.Table:
    """One part every ten minutes around the night in which Berlin's clocks go back."""
    start = np.datetime64("2026-10-24T10:00", "s")
    times = start + np.arange(0, 36 * 3600, 600)
    rejected = np.arange(len(times)) % 7 == 0
    return pa.table({"made": pa.array(times), "rejected": rejected})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", help="a file with the columns made (a time) and rejected (true or false)")
    parser.add_argument("--zone", default="Europe/Berlin")
    parser.add_argument("--shifts", default="06:00,14:00,22:00", help="when shifts change")
    args = parser.parse_args()

    parts = sl.read_files(args.input) if args.input else sl.read_arrow(a_weekend_of_parts())
    counts = (
        parts.event_time("made", max_delay="10m")
        .window(shifts(args.shifts, args.zone))
        .agg(parts=sl.count(), rejected=col("rejected").cast("int64").sum())
        .with_columns(
            shift=col("window_start").dt.convert_time_zone(args.zone),
            hours=(col("window_end") - col("window_start")).cast("int64") / 3600,
        )
    )
    sl.run(counts.select("shift", "hours", "parts", "rejected").print())


if __name__ == "__main__":
    main()
