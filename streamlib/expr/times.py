"""`.dt`: methods of dates, times and durations. Names and meanings follow Polars.

A timestamp with a zone is read on that zone's clock, daylight saving time included; one without is
UTC. Null stays null.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from typing import Literal as OneOf

import pyarrow.compute as pc

from streamlib.errors import BuildError
from streamlib.expr import time_kernels as kernels
from streamlib.expr.named import Namespace, changed, check_choice, check_text
from streamlib.expr.time_kernels import check_zone, part, subsecond

if TYPE_CHECKING:
    from streamlib.expr.expression import Expr

_DAYS = ("timestamp", "date")
_CLOCK = ("timestamp", "time")


class Times(Namespace):
    """The methods of a column of dates, times or durations."""

    __slots__ = ()

    space = "dt"

    # Parts of a date

    def year(self) -> Expr:
        """The year.

        >>> import datetime as dt
        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("t").dt.year().evaluate(pa.record_batch({"t": [dt.date(2024, 3, 31)]})).to_pylist()
        [2024]
        """
        return self._call("year", part("year", "year", _DAYS))

    def iso_year(self) -> Expr:
        """The year that the ISO week belongs to.

        >>> import datetime as dt
        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("t").dt.iso_year().evaluate(pa.record_batch({"t": [dt.date(2021, 1, 3)]})).to_pylist()
        [2020]
        """
        return self._call("iso_year", part("iso_year", "iso_year", _DAYS))

    def quarter(self) -> Expr:
        """The quarter of the year, 1 to 4.

        >>> import datetime as dt
        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("t").dt.quarter().evaluate(pa.record_batch({"t": [dt.date(2024, 4, 1)]})).to_pylist()
        [2]
        """
        return self._call("quarter", part("quarter", "quarter", _DAYS))

    def month(self) -> Expr:
        """The month, 1 to 12.

        >>> import datetime as dt
        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("t").dt.month().evaluate(pa.record_batch({"t": [dt.date(2024, 3, 31)]})).to_pylist()
        [3]
        """
        return self._call("month", part("month", "month", _DAYS))

    def week(self) -> Expr:
        """The ISO week of the year, 1 to 53.

        >>> import datetime as dt
        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("t").dt.week().evaluate(pa.record_batch({"t": [dt.date(2021, 1, 3)]})).to_pylist()
        [53]
        """
        return self._call("week", part("week", "iso_week", _DAYS))

    def weekday(self) -> Expr:
        """The ISO day of the week: Monday is 1, Sunday 7.

        >>> import datetime as dt
        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("t").dt.weekday().evaluate(pa.record_batch({"t": [dt.date(2024, 3, 31)]})).to_pylist()
        [7]
        """
        options = pc.DayOfWeekOptions(count_from_zero=False, week_start=1)
        return self._call("weekday", part("weekday", "day_of_week", _DAYS, options))

    def day(self) -> Expr:
        """The day of the month, 1 to 31.

        >>> import datetime as dt
        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("t").dt.day().evaluate(pa.record_batch({"t": [dt.date(2024, 3, 31)]})).to_pylist()
        [31]
        """
        return self._call("day", part("day", "day", _DAYS))

    def ordinal_day(self) -> Expr:
        """The day of the year, 1 to 366.

        >>> import datetime as dt
        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("t").dt.ordinal_day().evaluate(pa.record_batch({"t": [dt.date(2024, 12, 31)]})).to_pylist()
        [366]
        """
        return self._call("ordinal_day", part("ordinal_day", "day_of_year", _DAYS))

    def is_leap_year(self) -> Expr:
        """Whether the year has a February 29.

        >>> import datetime as dt
        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("t").dt.is_leap_year().evaluate(pa.record_batch({"t": [dt.date(2100, 1, 1)]})).to_pylist()
        [False]
        """
        return self._call("is_leap_year", part("is_leap_year", "is_leap_year", _DAYS))

    def date(self) -> Expr:
        """The day, as a date.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"t": pa.array([1_711_841_400], pa.timestamp("s", "Asia/Tokyo"))})
        >>> col("t").dt.date().evaluate(rows).to_pylist()
        [datetime.date(2024, 3, 31)]
        """
        return self._call("date", kernels.date)

    # Parts of a time

    def time(self) -> Expr:
        """The time of day.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("t").dt.time().evaluate(pa.record_batch({"t": pa.array([-1], pa.timestamp("s"))})).to_pylist()
        [datetime.time(23, 59, 59)]
        """
        return self._call("time", kernels.time_of_day)

    def hour(self) -> Expr:
        """The hour, 0 to 23.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"t": pa.array([0], pa.timestamp("s", "America/New_York"))})
        >>> col("t").dt.hour().evaluate(rows).to_pylist()
        [19]
        """
        return self._call("hour", part("hour", "hour", _CLOCK))

    def minute(self) -> Expr:
        """The minute, 0 to 59.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("t").dt.minute().evaluate(pa.record_batch({"t": pa.array([60], pa.timestamp("s"))})).to_pylist()
        [1]
        """
        return self._call("minute", part("minute", "minute", _CLOCK))

    def second(self) -> Expr:
        """The second, 0 to 59, without its fraction.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("t").dt.second().evaluate(pa.record_batch({"t": pa.array([-1], pa.timestamp("ms"))})).to_pylist()
        [59]
        """
        return self._call("second", part("second", "second", _CLOCK))

    def millisecond(self) -> Expr:
        """The fraction of the second in whole milliseconds, 0 to 999.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"t": pa.array([1_234_567], pa.timestamp("us"))})
        >>> col("t").dt.millisecond().evaluate(rows).to_pylist()
        [234]
        """
        return self._call("millisecond", subsecond("millisecond", "ms"))

    def microsecond(self) -> Expr:
        """The fraction of the second in whole microseconds, 0 to 999,999.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"t": pa.array([1_234_567], pa.timestamp("us"))})
        >>> col("t").dt.microsecond().evaluate(rows).to_pylist()
        [234567]
        """
        return self._call("microsecond", subsecond("microsecond", "us"))

    def nanosecond(self) -> Expr:
        """The fraction of the second in nanoseconds, 0 to 999,999,999.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"t": pa.array([1_234_567], pa.timestamp("us"))})
        >>> col("t").dt.nanosecond().evaluate(rows).to_pylist()
        [234567000]
        """
        return self._call("nanosecond", subsecond("nanosecond", "ns"))

    # As numbers

    def epoch(self, unit: OneOf["d", "s", "ms", "us", "ns"] = "us") -> Expr:
        """Whole units since 1970 (UTC), rounded down; the inverse of `from_epoch`.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("t").dt.epoch("s").evaluate(pa.record_batch({"t": pa.array([-1], pa.timestamp("ms"))})).to_pylist()
        [-1]
        """
        check_choice(unit, "the unit of epoch", ("d", *kernels.UNITS))
        return self._call("epoch", partial(kernels.epoch, unit), *([] if unit == "us" else [unit]))

    def total_days(self, fractional: bool = False) -> Expr:
        """A duration in days of 24 hours, cut towards zero; with `fractional` as a float.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"d": pa.array([36 * 3600], pa.duration("s"))})
        >>> col("d").dt.total_days(fractional=True).evaluate(rows).to_pylist()
        [1.5]
        """
        return self._total("total_days", 86_400 * 10**9, fractional)

    def total_hours(self, fractional: bool = False) -> Expr:
        """A duration in hours, cut towards zero; with `fractional` as a float.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("d").dt.total_hours().evaluate(pa.record_batch({"d": pa.array([7_300], pa.duration("s"))})).to_pylist()
        [2]
        """
        return self._total("total_hours", 3_600 * 10**9, fractional)

    def total_minutes(self, fractional: bool = False) -> Expr:
        """A duration in minutes, cut towards zero; with `fractional` as a float.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("d").dt.total_minutes().evaluate(pa.record_batch({"d": pa.array([-90], pa.duration("s"))})).to_pylist()
        [-1]
        """
        return self._total("total_minutes", 60 * 10**9, fractional)

    def total_seconds(self, fractional: bool = False) -> Expr:
        """A duration in seconds, cut towards zero; with `fractional` as a float.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"d": pa.array([1_500], pa.duration("ms"))})
        >>> col("d").dt.total_seconds(fractional=True).evaluate(rows).to_pylist()
        [1.5]
        """
        return self._total("total_seconds", 10**9, fractional)

    def total_milliseconds(self, fractional: bool = False) -> Expr:
        """A duration in milliseconds, cut towards zero; with `fractional` as a float.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"d": pa.array([2], pa.duration("s"))})
        >>> col("d").dt.total_milliseconds().evaluate(rows).to_pylist()
        [2000]
        """
        return self._total("total_milliseconds", 10**6, fractional)

    def total_microseconds(self, fractional: bool = False) -> Expr:
        """A duration in microseconds, cut towards zero; with `fractional` as a float.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"d": pa.array([2], pa.duration("ms"))})
        >>> col("d").dt.total_microseconds().evaluate(rows).to_pylist()
        [2000]
        """
        return self._total("total_microseconds", 10**3, fractional)

    def total_nanoseconds(self) -> Expr:
        """A duration in nanoseconds.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"d": pa.array([2], pa.duration("us"))})
        >>> col("d").dt.total_nanoseconds().evaluate(rows).to_pylist()
        [2000]
        """
        return self._total("total_nanoseconds", 1, False)

    def _total(self, name: str, ns: int, fractional: bool) -> Expr:
        return self._call(
            name, partial(kernels.total, ns, fractional), **changed(fractional=(fractional, False))
        )

    # Rounding

    def truncate(self, every: str) -> Expr:
        """The beginning of the interval it falls into: `"10s"`, `"1h"`, `"1d"`, `"1w"`, `"1mo"`, `"1q"`, `"1y"`.

        Intervals are those of the wall clock in the column's zone: `"1d"` begins at midnight there, also
        on a day of 23 or 25 hours. They count from 1970, weeks from a Monday.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"t": pa.array([-1, 17], pa.timestamp("s"))})
        >>> col("t").dt.truncate("10s").dt.epoch("s").evaluate(rows).to_pylist()
        [-10, 10]
        """
        return self._call("truncate", kernels.truncate(every, rounded=False), every)

    def round(self, every: str) -> Expr:
        """The nearest beginning of an interval, halves up; the intervals of `truncate` but for months.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"t": pa.array([14, 15], pa.timestamp("s"))})
        >>> col("t").dt.round("10s").dt.epoch("s").evaluate(rows).to_pylist()
        [10, 20]
        """
        return self._call("round", kernels.truncate(every, rounded=True), every)

    # Text and zones

    def to_string(self, format: str) -> Expr:
        """Written in a format of `strftime`; `%.f` and `%.3f` are the fraction of the second with its dot.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"t": pa.array([1_500], pa.timestamp("ms", "Asia/Tokyo"))})
        >>> col("t").dt.to_string("%Y-%m-%d %H:%M:%S%.3f %z").evaluate(rows).to_pylist()
        ['1970-01-01 09:00:01.500 +0900']
        """
        return self._call("to_string", kernels.to_string(check_text(format, "format")), format)

    def strftime(self, format: str) -> Expr:
        """`to_string` by its other name.

        >>> from streamlib import col
        >>> col("t").dt.strftime("%H:%M")
        col("t").dt.to_string("%H:%M")
        """
        return self.to_string(format)

    def convert_time_zone(self, time_zone: str) -> Expr:
        """The same instant on the clock of another zone; a time without a zone is UTC.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"t": pa.array([0], pa.timestamp("s"))})
        >>> col("t").dt.convert_time_zone("Asia/Tokyo").dt.hour().evaluate(rows).to_pylist()
        [9]
        """
        zone = check_zone(time_zone)
        return self._call("convert_time_zone", partial(kernels.convert_zone, zone), zone)

    def replace_time_zone(
        self,
        time_zone: str | None,
        ambiguous: OneOf["raise", "earliest", "latest", "null"] = "raise",
        non_existent: OneOf["raise", "earliest", "latest", "null"] = "raise",
    ) -> Expr:
        """The same wall clock in another zone, or in none.

        Args:
            time_zone: the zone; None for a time without one.
            ambiguous: for a time that the clock showed twice.
            non_existent: for a time that the clock skipped: "latest" is the first instant after the
                gap, "earliest" the last one before it.

        >>> import datetime as dt
        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"t": [dt.datetime(2024, 10, 27, 2, 30)]})
        >>> berlin = col("t").dt.replace_time_zone("Europe/Berlin", ambiguous="latest")
        >>> berlin.dt.convert_time_zone("UTC").dt.hour().evaluate(rows).to_pylist()
        [1]
        """
        choices = ("raise", "earliest", "latest", "null")
        check_choice(ambiguous, "ambiguous=", choices)
        check_choice(non_existent, "non_existent=", choices)
        if time_zone is not None:
            check_zone(time_zone)
        elif (ambiguous, non_existent) != ("raise", "raise"):
            raise BuildError(
                "without a zone no time is ambiguous", hint="leave ambiguous= and non_existent= out"
            )
        lower = partial(kernels.replace_zone, time_zone, ambiguous, non_existent)
        shown = changed(ambiguous=(ambiguous, "raise"), non_existent=(non_existent, "raise"))
        return self._call("replace_time_zone", lower, time_zone, **shown)
