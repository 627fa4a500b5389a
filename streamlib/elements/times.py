"""Times and durations: int64 nanoseconds since 1970 (UTC); arithmetic that stops at the ends instead of wrapping."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.errors import BuildError, DataError, TypeMismatchError

MIN_TIME = -(2**63)
"""Before every row. A watermark starts here."""
MAX_TIME = 2**63 - 1
"""After every row."""

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3_600 * 1_000_000_000,
    "d": 86_400 * 1_000_000_000,
    "w": 7 * 86_400 * 1_000_000_000,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d|w)")
_SPELLINGS = {
    **{unit: unit for unit in _UNITS_NS},
    **dict.fromkeys(("nano", "nanosecond"), "ns"),
    **dict.fromkeys(("micro", "microsecond", "usec"), "us"),
    **dict.fromkeys(("milli", "millisecond", "msec"), "ms"),
    **dict.fromkeys(("second", "sec"), "s"),
    **dict.fromkeys(("minute", "min"), "m"),
    **dict.fromkeys(("hour", "hr"), "h"),
    "day": "d",
    "week": "w",
}
"""The unit that is meant by its other spellings, without a plural's s."""
_EPOCH = dt.datetime(1970, 1, 1)


def duration_ns(value: str | dt.timedelta, what: str = "duration") -> int:
    """A duration in nanoseconds: ``"10s"``, ``"1h30m"``, ``"250ms"``, or a timedelta. ``1d`` is 24 hours.

    Raises:
        BuildError: a bare number, an unknown unit, or more than 292 years.

    >>> duration_ns("1m30s")
    90000000000
    """
    if isinstance(value, dt.timedelta):
        total = (value.days * 86_400 + value.seconds) * 1_000_000_000 + value.microseconds * 1_000
    elif isinstance(value, str):
        total = _parse(value, what)
    else:
        raise BuildError(
            f"{what} must be a string with a unit or a timedelta",
            expected='such as "10s", "1h30m", "250ms" or timedelta(seconds=10)',
            got=repr(value),
            hint=f'seconds are "{value}s"' if type(value) is int else None,
        )
    if not MIN_TIME <= total <= MAX_TIME:
        raise BuildError(f"{what} is too long", expected="at most 292 years", got=repr(value))
    return total


def _parse(text: str, what: str) -> int:
    stripped = text.strip().replace(" ", "")
    negative = stripped.startswith("-")
    body = stripped[1:] if negative else stripped
    parts = _PART.findall(body)
    if not parts or "".join(n + u for n, u in parts) != body:
        raise BuildError(
            f"{what} {text!r} cannot be read",
            expected="numbers with units ns, us, ms, s, m (minutes), h, d (24 hours), w",
            got=repr(text),
            hint=_nearest_duration(body),
        )
    total = sum((Decimal(n) * _UNITS_NS[u] for n, u in parts), Decimal(0))
    if total != int(total):
        raise BuildError(f"{what} {text!r} is finer than a nanosecond", got=repr(text))
    return -int(total) if negative else int(total)


def _nearest_duration(body: str) -> str | None:
    """The hint for a duration that cannot be read: what was probably meant."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([^\d.]*)", body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        return None
    if any(unit in ("mo", "y") or unit.startswith(("mon", "year")) for _, unit in parts):
        return 'for calendar months and years use calendar("1mo")'
    meant = [(number, _SPELLINGS.get(unit.lower().removesuffix("s") or unit, "")) for number, unit in parts]
    if all(unit for _, unit in meant):
        return f"did you mean {''.join(number + unit for number, unit in meant)!r}?"
    return f"write the unit: {body + 's'!r}" if parts == [(body, "")] else None


def format_duration(ns: int) -> str:
    """The shortest spelling of a duration that `duration_ns` reads back.

    >>> format_duration(90_000_000_000)
    '1m30s'
    """
    if ns == 0:
        return "0s"
    sign, rest, parts = ("-" if ns < 0 else ""), abs(ns), []
    for unit in ("d", "h", "m", "s", "ms", "us", "ns"):
        count, rest = divmod(rest, _UNITS_NS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return sign + "".join(parts)


def format_time(ns: int) -> str:
    """An event time for people, UTC, with as many digits as it needs.

    >>> format_time(1_500_000_000)
    '1970-01-01 00:00:01.5'
    """
    if ns <= MIN_TIME:
        return "the beginning"
    if ns >= MAX_TIME:
        return "the end"
    seconds, fraction = divmod(ns, 1_000_000_000)
    text = str(_EPOCH + dt.timedelta(seconds=seconds))
    return text + f".{fraction:09d}".rstrip("0") if fraction else text


def add_time(time: int, delta: int) -> int:
    """time + delta, held at MIN_TIME and MAX_TIME; the two ends themselves do not move."""
    if time <= MIN_TIME or time >= MAX_TIME:
        return time
    return max(MIN_TIME, min(MAX_TIME, time + delta))


def times_ns(column: pa.Array, name: str) -> npt.NDArray[np.int64]:
    """A timestamp or date column as int64 ns, without copying where its unit is ns.

    The column must hold no nulls.

    Raises:
        TypeMismatchError: the column is no timestamp.
        DataError: a time outside the years 1677 to 2262.
    """
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    if not pa.types.is_timestamp(column.type):
        raise TypeMismatchError(
            f"column {name!r} is no time",
            expected="a timestamp or date column",
            got=str(column.type),
            hint=f'for integers since 1970 use sl.from_epoch(col("{name}"), "ms")'
            if pa.types.is_integer(column.type)
            else f"declare the column as a timestamp, or cast it before event_time({name!r}, ...)",
        )
    if len(column) == 0:
        return np.empty(0, dtype=np.int64)
    assert column.null_count == 0, "times_ns takes no nulls"
    values: npt.NDArray[np.int64] = np.frombuffer(column.buffers()[1], dtype=np.int64)
    values = values[column.offset : column.offset + len(column)]
    factor = _UNITS_NS[column.type.unit]
    if factor == 1:
        return values
    most = MAX_TIME // factor
    if values.min() < -most or values.max() > most:
        low, high = (_instant(extreme(column)) for extreme in (pc.min, pc.max))
        raise DataError(
            f"column {name!r} has a time that does not fit into nanoseconds",
            expected="years 1677 to 2262",
            got=low if low == high else f"{low} to {high}",
            hint='is its unit right? seconds are sl.from_epoch(col("t"), "s"), milliseconds "ms"',
        )
    return values * np.int64(factor)


def _instant(time: pa.TimestampScalar) -> str:
    """The time as people write it; a number of its unit where Python's calendar has ended."""
    try:
        return str(time.as_py())
    except (OverflowError, ValueError):
        return f"{time.value} {time.type.unit} since 1970"
