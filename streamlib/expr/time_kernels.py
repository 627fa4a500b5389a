"""How the methods of `.dt` become kernels.

Parts of a time, and truncation, are those of the wall clock in the column's zone; a time without a
zone is UTC. Arithmetic rounds down, also before 1970.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from streamlib.elements.times import duration_ns
from streamlib.errors import BuildError
from streamlib.expr.named import Lowering, check_text
from streamlib.expr.program import Builder, Operand, UnsupportedError, type_name

Int64s = npt.NDArray[np.int64]
UNITS = ("s", "ms", "us", "ns")
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_STEPS_NS = {"second": 10**9, "millisecond": 10**6, "microsecond": 10**3, "nanosecond": 1}
_CALENDAR = re.compile(r"(\d+)(mo|q|y)")
_FRACTION = re.compile(r"(\.?)%(\.?)([369]?)f")
_UTC = ("UTC", "Etc/UTC", "Z", "+00:00", "GMT")


def expect(value: Operand, method: str, *kinds: str) -> None:
    """Raises UnsupportedError unless the operand is one of: timestamp, date, time, duration, null."""
    own = value.type
    tests = {
        "timestamp": pt.is_timestamp,
        "date": pt.is_date,
        "time": pt.is_time,
        "duration": pt.is_duration,
    }
    if not any(tests[kind](own) for kind in kinds):
        hint = f".dt.{method}() works on a {' or '.join(kinds)}, not {type_name(own)}"
        if pt.is_integer(own):
            hint += '; sl.from_epoch(column, "ms") makes a time of integers'
        elif pt.is_string(own) or pt.is_large_string(own):
            hint += "; .str.to_datetime() reads a text"
        raise UnsupportedError(hint)


def check_zone(zone: object) -> str:
    """The name of a time zone.

    Raises:
        BuildError: there is no such zone.
    """
    if isinstance(zone, str):
        try:
            pc.assume_timezone(pa.array([0], pa.timestamp("s")), timezone=zone)
            return zone
        except pa.ArrowInvalid:
            pass
    raise BuildError(
        "there is no such time zone",
        expected='a name of the IANA database, such as "Europe/Berlin", or an offset such as "+09:00"',
        got=repr(zone),
    )


# ---- parts --------------------------------------------------------------------------------------------


def part(
    method: str, function: str, kinds: tuple[str, ...], options: pc.FunctionOptions | None = None
) -> Lowering:
    """The lowering to one kernel that reads a part of a time."""
    return partial(_part, method, function, kinds, options)


def _part(
    method: str,
    function: str,
    kinds: tuple[str, ...],
    options: pc.FunctionOptions | None,
    builder: Builder,
    inputs: Sequence[Operand],
) -> Operand:
    expect(inputs[0], method, *kinds)
    return builder.kernel(function, inputs[0], options=options)


def subsecond(method: str, unit: str) -> Lowering:
    """The part of the second in whole units."""
    return partial(_subsecond, method, unit)


def _subsecond(method: str, unit: str, builder: Builder, inputs: Sequence[Operand]) -> Operand:
    expect(inputs[0], method, "timestamp", "time")
    kernels = ["millisecond", "microsecond", "nanosecond"][: {"ms": 1, "us": 2, "ns": 3}[unit]]
    result = builder.kernel(kernels[0], inputs[0])
    thousand = builder.constant(pa.scalar(1000, pa.int64()))
    for function in kernels[1:]:
        shifted = builder.kernel("multiply", result, thousand)
        result = builder.kernel("add", shifted, builder.kernel(function, inputs[0]))
    return result


def date(builder: Builder, inputs: Sequence[Operand]) -> Operand:
    """The day of the wall clock."""
    expect(inputs[0], "date", "timestamp", "date")
    return builder.cast(inputs[0], pa.date32())


def time_of_day(builder: Builder, inputs: Sequence[Operand]) -> Operand:
    """The time of the wall clock."""
    expect(inputs[0], "time", "timestamp")
    kind = inputs[0].type
    return builder.cast(
        inputs[0], pa.time64(kind.unit) if kind.unit in ("us", "ns") else pa.time32(kind.unit)
    )


def epoch(unit: str, builder: Builder, inputs: Sequence[Operand]) -> Operand:
    """Units since 1970 (UTC), rounded down."""
    (value,) = inputs
    expect(value, "epoch", "timestamp", "date")
    if pt.is_date(value.type):
        value = builder.cast(value, pa.timestamp("s"))
    if unit == "d":
        per = PER_SECOND[value.type.unit] * 86_400
        return builder.vector(partial(_floor_divided, per), builder.cast(value, pa.int64()))
    own, wanted = PER_SECOND[value.type.unit], PER_SECOND[unit]
    ticks = builder.cast(value, pa.int64())
    if own == wanted:
        return ticks
    if wanted > own:
        factor = builder.constant(pa.scalar(wanted // own, pa.int64()))
        return builder.kernel("multiply_checked", ticks, factor)
    return builder.vector(partial(_floor_divided, own // wanted), ticks)


def total(ns: int, fractional: bool, builder: Builder, inputs: Sequence[Operand]) -> Operand:
    """A duration in units of `ns`, cut towards zero, or as a float."""
    (value,) = inputs
    if not pt.is_duration(value.type):
        raise UnsupportedError(f"totals are of durations, not {type_name(value.type)}")
    ticks = builder.cast(value, pa.int64())
    tick = 10**9 // PER_SECOND[value.type.unit]
    if fractional:
        per_tick = builder.constant(pa.scalar(ns / tick, pa.float64()))
        return builder.kernel("divide", builder.cast(ticks, pa.float64(), safe=False), per_tick)
    if ns >= tick:
        return builder.kernel("divide", ticks, builder.constant(pa.scalar(ns // tick, pa.int64())))
    return builder.kernel("multiply_checked", ticks, builder.constant(pa.scalar(tick // ns, pa.int64())))


# ---- truncation ---------------------------------------------------------------------------------------


def truncate(every: str, rounded: bool) -> Lowering:
    """The lowering of `truncate` and `round`.

    Raises:
        BuildError: no such duration; months are not rounded.
    """
    months = _CALENDAR.fullmatch(check_text(every, "every").replace(" ", ""))
    if months and not rounded:
        count = int(months[1])
        if count < 1:
            raise BuildError("every must be longer than zero", expected='such as "1mo"', got=repr(every))
        return partial(
            _truncate, None, (count, {"mo": "month", "q": "quarter", "y": "year"}[months[2]]), False
        )
    ns = duration_ns(every, "every")
    if ns <= 0:
        raise BuildError("every must be longer than zero", expected='such as "10s"', got=repr(every))
    return partial(_truncate, ns, None, rounded)


def _truncate(
    ns: int | None,
    months: tuple[int, str] | None,
    rounded: bool,
    builder: Builder,
    inputs: Sequence[Operand],
) -> Operand:
    (value,) = inputs
    method = "round" if rounded else "truncate"
    own = value.type
    if pt.is_duration(own) and ns is not None:
        ticks = _ticks(ns, own.unit, own)
        return builder.vector(partial(_floor_duration, ticks, rounded), value)
    expect(value, method, "timestamp", "date", "duration")
    if pt.is_date(own):
        seconds = builder.cast(value, pa.timestamp("s"))
        return builder.cast(_truncate(ns, months, rounded, builder, [seconds]), own)
    naive = pa.timestamp(own.unit)
    if ns is not None:
        floor = partial(_floor, _ticks(ns, own.unit, own), _origin(ns, own.unit), rounded)
    else:
        assert months is not None
        floor = partial(_floor_months, *months)
    if own.tz is None or own.tz in _UTC:
        floored = builder.vector(floor, builder.cast(value, naive))
        return builder.cast(floored, own)
    return builder.vector(partial(_floor_local, floor, own.tz), value)


def _ticks(ns: int, unit: str, own: pa.DataType) -> int:
    tick = 10**9 // PER_SECOND[unit]
    if ns % tick:
        raise UnsupportedError(f"{type_name(own)} is too coarse for it; cast to a finer unit first")
    return ns // tick


def _origin(ns: int, unit: str) -> int:
    """Whole weeks begin on a Monday, as in Polars; all else counts from 1970."""
    return 4 * 86_400 * PER_SECOND[unit] if ns % (7 * 86_400 * 10**9) == 0 else 0


def _floor(every: int, origin: int, rounded: bool, times: pa.Array) -> pa.Array:
    ticks = _int64s(times)
    moved = ticks - origin + (every // 2 if rounded else 0)  # halves go up
    return _like(times, moved - moved % every + origin)


def _floor_duration(every: int, rounded: bool, spans: pa.Array) -> pa.Array:
    return _floor(every, 0, rounded, spans)


def _floor_months(count: int, unit: str, times: pa.Array) -> pa.Array:
    return pc.floor_temporal(times, multiple=count, unit=unit)


def _floor_local(floor: partial[pa.Array], zone: str, times: pa.Array) -> pa.Array:
    """Truncates the wall clock.

    Where the clock was not changed between the truncated time and the time itself, their distance is
    kept, which also tells the two passes of an hour apart that the clock went through twice.
    """
    local = pc.local_timestamp(times)
    floored = floor(local)
    near = _like(times, _int64s(times) - (_int64s(local) - _int64s(floored)))
    moved = pc.not_equal(pc.local_timestamp(near), floored)
    if not pc.any(moved).as_py():
        return near
    sure = pc.if_else(moved, floored, pa.scalar(None, floored.type))
    found = pc.assume_timezone(sure, timezone=zone, ambiguous="earliest", nonexistent="latest")
    return pc.if_else(moved, found, near)


def _int64s(times: pa.Array) -> Int64s:
    """The ticks; whatever stands where a value is null."""
    if not len(times):
        return np.empty(0, dtype=np.int64)
    values = np.frombuffer(times.buffers()[1], dtype=np.int64)
    return values[times.offset : times.offset + len(times)]


def _like(times: pa.Array, ticks: Int64s) -> pa.Array:
    """Ticks as an array of the type and with the nulls of `times`."""
    if not times.null_count:
        return pa.Array.from_buffers(times.type, len(ticks), [None, pa.py_buffer(ticks)])
    mask = np.asarray(pc.is_null(times))
    return pa.array(ticks, pa.int64(), mask=mask).view(times.type)


def _floor_divided(by: int, ticks: pa.Array) -> pa.Array:
    return _like(ticks, _int64s(ticks) // by)


# ---- zones --------------------------------------------------------------------------------------------


def convert_zone(zone: str, builder: Builder, inputs: Sequence[Operand]) -> Operand:
    """The same instant on another clock."""
    expect(inputs[0], "convert_time_zone", "timestamp")
    return builder.cast(inputs[0], pa.timestamp(inputs[0].type.unit, zone))


def replace_zone(
    zone: str | None, ambiguous: str, non_existent: str, builder: Builder, inputs: Sequence[Operand]
) -> Operand:
    """The same wall clock in another zone."""
    (value,) = inputs
    expect(value, "replace_time_zone", "timestamp")
    if value.type.tz is not None:
        value = builder.kernel("local_timestamp", value)
    if zone is None:
        return value
    if "null" not in (ambiguous, non_existent):
        options = pc.AssumeTimezoneOptions(zone, ambiguous=ambiguous, nonexistent=non_existent)
        return builder.kernel("assume_timezone", value, options=options)
    return builder.vector(partial(_assume_or_null, zone, ambiguous, non_existent), value)


def _assume_or_null(zone: str, ambiguous: str, non_existent: str, local: pa.Array) -> pa.Array:
    """Of a time that both choices give alike there is only one."""

    def assume(of_two: str, of_none: str) -> pa.Array:
        return pc.assume_timezone(local, timezone=zone, ambiguous=of_two, nonexistent=of_none)

    either = {"null": "earliest", "raise": "earliest"}
    two, none = either.get(ambiguous, ambiguous), either.get(non_existent, non_existent)
    result = assume(two, none)
    for option, other in (
        (ambiguous, assume("latest" if two == "earliest" else "earliest", none)),
        (non_existent, assume(two, "latest" if none == "earliest" else "earliest")),
    ):
        differs = pc.not_equal(assume(two, none), other)
        if option == "null":
            result = pc.if_else(differs, pa.scalar(None, result.type), result)
        elif option == "raise" and pc.any(differs).as_py():
            pc.assume_timezone(local.filter(differs), timezone=zone)
    return result


# ---- text ---------------------------------------------------------------------------------------------


def to_string(format: str) -> Lowering:
    """The lowering of `to_string`: pieces of the format between its fractions of a second."""
    pieces: list[tuple[str, int]] = []
    at = 0
    for found in _FRACTION.finditer(format.replace("%%", "\0\0")):
        pieces.append((format[at : found.start()], 0))
        dot = found[1] + found[2]
        pieces.append((dot, int(found[3] or 0) or -1))
        at = found.end()
    pieces.append((format[at:], 0))
    return partial(_to_string, format, tuple(p for p in pieces if p != ("", 0)))


def _to_string(
    format: str, pieces: tuple[tuple[str, int], ...], builder: Builder, inputs: Sequence[Operand]
) -> Operand:
    (value,) = inputs
    expect(value, "to_string", "timestamp", "date", "time")
    own = value.type
    if re.search(r"%[zZ]", format) and getattr(own, "tz", None) is None:
        raise UnsupportedError(
            'a time without a zone has no offset; .dt.replace_time_zone("UTC") gives it one'
        )
    if pt.is_date(own):
        value = builder.cast(value, pa.timestamp("s"))
    elif pt.is_time(own):
        value = builder.cast(
            builder.cast(builder.cast(value, pa.time64("ns")), pa.int64()), pa.timestamp("ns")
        )
    return builder.vector(partial(_strftime, pieces), value)


def _strftime(pieces: tuple[tuple[str, int], ...], times: pa.Array) -> pa.Array:
    """Arrow's own %S has the fraction in it: whole seconds are written, and the fraction where it is asked for."""
    per = PER_SECOND[times.type.unit]
    ticks = _int64s(times)
    seconds = _like(times, ticks // per).view(pa.int64()).view(pa.timestamp("s", times.type.tz))
    texts = []
    for piece, digits in pieces:
        if not digits:
            texts.append(pc.strftime(seconds, format=piece))
            continue
        width = {"s": 0, "ms": 3, "us": 6, "ns": 9}[times.type.unit] if digits < 0 else digits
        within = (ticks % per) * (10**9 // per) // 10 ** (9 - width)
        number = pc.utf8_lpad(
            _like(times, within).view(pa.int64()).cast(pa.string()), width=width, padding="0"
        )
        texts += [pa.scalar(piece), number] if width else []
    if not texts:
        return pc.if_else(pc.is_valid(times), pa.scalar(""), pa.scalar(None, pa.string()))
    return pc.binary_join_element_wise(*texts, "") if len(texts) > 1 else texts[0]
