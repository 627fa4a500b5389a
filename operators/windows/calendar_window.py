"""Windows by the calendar and the clock on the wall: days, weeks, months, quarters, years of a time zone.

A window begins at the first instant at which the local clock shows its beginning or later, so that a day
has 23, 24 or 25 hours when clocks are changed, and begins at 01:00 where they skip midnight. The zone's
rules come from Python's `zoneinfo`, which goes on with the last known rule after 2037.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import zoneinfo
from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streamlib.contracts import Window
from streamlib.elements import MAX_TIME, MIN_TIME, duration_ns, format_duration
from streamlib.errors import BuildError, user_location

Int64s = npt.NDArray[np.int64]

_SECOND = 1_000_000_000
_DAY = 86_400
_EPOCH = dt.datetime(1970, 1, 1)
_MONTHS = {"mo": 1, "q": 3, "y": 12}
_SHORTEST_DAYS = {"d": 1, "w": 7, "mo": 28, "q": 90, "y": 365}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_PERIODS_MAX = {"d": 200_000, "w": 30_000, "mo": 7_000, "q": 2_300, "y": 580}
"""Beyond 580 years there is one window, whatever the times."""


@dataclass(frozen=True)
class CalendarWindow(Window):
    """Periods of local time, one after the other.

    Attributes:
        count: how many units a window has.
        unit: ``d``, ``w``, ``mo``, ``q`` or ``y``.
        tz: the time zone's name.
        week_start: the first day of a week, 0 for Monday.
        offset: how long after the period's beginning by the calendar it begins, of the clock on the wall, ns.
    """

    count: int
    unit: str
    tz: str
    week_start: int = 0
    offset: int = 0
    _known: list[_Bounds] = field(default_factory=list, init=False, repr=False, compare=False)

    def starts(self, times: Int64s) -> Int64s:
        """The last beginning of a period at or before each time."""
        if not len(times):
            return np.empty(0, dtype=np.int64)
        low, high = int(times.min()), int(times.max())
        bounds = self._bounds(low, high)
        first = bisect_left(bounds, low + 1) - 1
        last = bisect_left(bounds, high + 1) - 1
        if first == last:
            return np.full(len(times), bounds[first], dtype=np.int64)
        some = bounds[first : last + 1]
        found: Int64s = some[np.searchsorted(some, times, side="right") - 1]
        return found

    def ends(self, starts: Int64s) -> Int64s:
        """The next beginning of a period; the latest time where there is none."""
        if not len(starts):
            return np.empty(0, dtype=np.int64)
        bounds = self._bounds(int(starts.min()), int(starts.max()))
        after = np.searchsorted(bounds, starts, side="right")
        found: Int64s = np.append(bounds, MAX_TIME)[after]
        return found

    def granularity(self) -> int:
        """Clocks are changed at whole seconds."""
        return math.gcd(_SECOND, self.offset)

    def describe(self) -> str:
        """As the user wrote it."""
        week = f", week_start={_WEEKDAYS[self.week_start]!r}" if self.week_start else ""
        offset = f", offset={format_duration(self.offset)!r}" if self.offset else ""
        return f"calendar('{self.count}{self.unit}', tz={self.tz!r}{week}{offset})"

    def _bounds(self, low: int, high: int) -> Int64s:
        """Beginnings of periods, in order, from one at or before `low` to one after `high` if there is one.

        They are kept for the batches that follow. Workers share them: what is kept is replaced whole.
        """
        known = self._known[0] if self._known else None
        if known is None or not known.hold(low, high):
            first, last = self._number(low) - 2, self._number(high) + 3
            if known is not None:
                first, last = min(first, known.first), max(last, known.last)
            known = self._computed(first, last, known)
            assert known.hold(low, high), "the bounds reach around the times"
            self._known[:] = [known]
        return known.instants

    def _computed(self, first: int, last: int, known: _Bounds | None) -> _Bounds:
        zone = zoneinfo.ZoneInfo(self.tz)
        instants: dict[int, int] = {} if known is None else known.by_number
        found = {n: instants[n] if n in instants else self._instant(n, zone) for n in range(first, last + 1)}
        return _Bounds(first, last, found, np.array(sorted({*found.values()}), dtype=np.int64))

    def _number(self, time: int) -> int:
        """The number of the period of a time by UTC: by local time it is at most one more or less."""
        local = _EPOCH + dt.timedelta(seconds=time // _SECOND - self.offset // _SECOND)
        if self.unit in _MONTHS:
            return ((local.year - 1970) * 12 + local.month - 1) // (_MONTHS[self.unit] * self.count)
        days = (local - _EPOCH).days
        if self.unit == "w":
            return (days + 3 - self.week_start) // (7 * self.count)
        return days // self.count

    def _instant(self, number: int, zone: zoneinfo.ZoneInfo) -> int:
        """When a period begins, ns, held at the ends of time."""
        if self.unit in _MONTHS:
            years, month = divmod(number * _MONTHS[self.unit] * self.count, 12)
            wall = dt.datetime(1970 + years, month + 1, 1)
        elif self.unit == "w":
            wall = _EPOCH + dt.timedelta(days=number * 7 * self.count - 3 + self.week_start)
        else:
            wall = _EPOCH + dt.timedelta(days=number * self.count)
        seconds, fraction = divmod(self.offset, _SECOND)
        instant = first_instant(wall + dt.timedelta(seconds=seconds), zone) * _SECOND + fraction
        return max(MIN_TIME, min(MAX_TIME, instant))


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Beginnings of the periods `first` to `last`: by number, and in order without repetition."""

    first: int
    last: int
    by_number: dict[int, int]
    instants: Int64s

    def hold(self, low: int, high: int) -> bool:
        """Whether they reach around these times."""
        below, above = int(self.instants[0]), int(self.instants[-1])
        return below <= low and (high < above or above == MAX_TIME)


def first_instant(wall: dt.datetime, zone: zoneinfo.ZoneInfo) -> int:
    """The first instant at which the clock shows `wall`, or later where that is skipped; seconds since 1970.

    >>> berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    >>> first_instant(dt.datetime(2026, 3, 29, 2, 30), berlin)  # skipped: clocks go from 02:00 to 03:00
    1774746000
    >>> first_instant(dt.datetime(2026, 10, 25, 2, 30), berlin)  # comes twice
    1792888200
    """
    plain = int((wall - _EPOCH).total_seconds())
    earlier, later = (plain - _utc_offset(wall.replace(fold=fold), zone) for fold in (0, 1))
    if earlier <= later:
        return earlier
    # Skipped. The clock is changed after `later` and at or before `earlier`: where it first shows more.
    low, high = later, earlier
    while high - low > 1:
        middle = (low + high) // 2
        at = _EPOCH + dt.timedelta(seconds=middle)
        shown = at.replace(tzinfo=dt.UTC).astimezone(zone).replace(tzinfo=None)
        low, high = (low, middle) if shown >= wall else (middle, high)
    return high


def _utc_offset(wall: dt.datetime, zone: zoneinfo.ZoneInfo) -> int:
    offset = zone.utcoffset(wall)
    assert offset is not None, "zoneinfo knows every time's offset"
    return int(offset.total_seconds())


def calendar(
    period: str, tz: str = "UTC", week_start: str = "monday", offset: str | dt.timedelta = "0s"
) -> CalendarWindow:
    """Windows by local time: calendar days, weeks, months, quarters or years, and multiples of them.

    A day is from midnight to midnight of the clock on the wall: 23 or 25 hours long when clocks are
    changed. Multiples are counted from 1970; weeks from that of 1970-01-01.

    Args:
        period: ``"1d"``, ``"1w"``, ``"1mo"``, ``"1q"``, ``"1y"``, or more of one unit, such as ``"3mo"``.
        tz: such as ``"Europe/Berlin"``.
        week_start: the first day of a week, in lower case.
        offset: how long after midnight a period begins, by the clock on the wall: ``"6h"`` for days from
            six to six.

    Raises:
        BuildError: a period that cannot be read, an unknown time zone or weekday, or an offset that is
            negative or as long as the shortest period.

    >>> import pyarrow as pa, streamlib as sl
    >>> times = pa.array(["2026-03-28 22:59:59", "2026-03-28 23:00:00", "2026-03-29 21:59:59"]).cast(pa.timestamp("s"))
    >>> rows = sl.read_arrow(pa.table({"ts": times})).event_time("ts", max_delay="1s")
    >>> days = rows.window(sl.calendar("1d", tz="Europe/Berlin")).agg(n=sl.count()).collect()
    >>> days["n"].to_pylist(), [str(d) for d in days["window_start"].to_pylist()]
    ([1, 2], ['2026-03-27 23:00:00', '2026-03-28 23:00:00'])
    """
    at = user_location()
    try:
        count, unit = _period(period)
        if week_start not in _WEEKDAYS:
            raise BuildError(
                f"unknown weekday {week_start!r}", expected=", ".join(_WEEKDAYS), got=repr(week_start)
            )
        offset_ns = duration_ns(offset, "offset")
        shortest = _SHORTEST_DAYS[unit] * count * _DAY * _SECOND
        if not 0 <= offset_ns < shortest:
            raise BuildError(
                "the offset must lie within the period",
                expected=f"from 0s to less than {format_duration(shortest)!r}",
                got=format_duration(offset_ns),
            )
        _check_zone(tz)
    except BuildError as error:
        raise error.in_step("calendar", at) from None
    return CalendarWindow(count, unit, tz, _WEEKDAYS.index(week_start), offset_ns)


def _period(period: str) -> tuple[int, str]:
    found = re.fullmatch(r"\s*(\d+)\s*(d|w|mo|q|y)\s*", period) if isinstance(period, str) else None  # type: ignore[redundant-expr]
    if found is None:
        raise BuildError(
            f"the period {period!r} cannot be read",
            expected='a whole number of one unit: "1d", "1w", "1mo", "1q" or "1y"',
            got=repr(period),
            hint="windows of hours and less need no calendar: sl.tumbling(...)",
        )
    count, unit = int(found[1]), found[2]
    if count == 0:
        raise BuildError("a window must be longer than zero", expected='such as "1d"', got=repr(period))
    if count > _PERIODS_MAX[unit]:
        raise BuildError(
            "the period is too long", expected=f"at most {_PERIODS_MAX[unit]:,}{unit}", got=repr(period)
        )
    return count, unit


def _check_zone(tz: str) -> None:
    try:
        zoneinfo.ZoneInfo(tz)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise BuildError(
            f"unknown time zone {tz!r}",
            expected='a name such as "Europe/Berlin"',
            got=repr(tz),
            hint=None
            if zoneinfo.available_timezones()
            else "this system has no time zone database: pip install tzdata",
        ) from None
