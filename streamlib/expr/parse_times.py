"""Texts as times: `.str.to_datetime(format)`.

C's strptime, which Arrow calls, takes February 30 for March 1 and second 60 for the next minute, and
knows no fractions. Here the fraction is read apart, and rows that may have been carried over are
checked against the digits that were written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.errors import BuildError

_WHOLE = {"T": "%H:%M:%S", "F": "%Y-%m-%d", "D": "%m/%d/%y", "R": "%H:%M"}
_PATTERNS = {
    "Y": r" *[0-9]{1,4}", "m": r" *[0-9]{1,2}", "d": r" *[0-9]{1,2}", "e": r" *[0-9]{1,2}",
    "H": r" *[0-9]{1,2}", "I": r" *[0-9]{1,2}", "M": r" *[0-9]{1,2}", "S": r" *[0-9]{1,2}",
    "y": r" *[0-9]{1,2}", "j": r" *[0-9]{1,3}", "b": r"[A-Za-z]+", "B": r"[A-Za-z]+",
    "a": r"[A-Za-z]+", "A": r"[A-Za-z]+", "p": r"[AaPp][Mm]", "%": r"%",
}  # fmt: skip
"""What C's strptime takes for a directive."""
_GROUPS = {"d": "day", "e": "day", "S": "second", "j": "ordinal"}
_TOKEN = re.compile(r"(\.?%\.?[369]?f)|%(.)|([^%.]+|\.)", re.DOTALL)
_OFFSET = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"

Parser = Callable[[pa.Array], pa.Array]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Format:
    """A format taken apart.

    Attributes:
        plain: for strptime, without fraction and offset.
        pattern: of all that it accepts, with the groups day, second, ordinal, fraction and offset.
        kept: the same, with a group for each part that `plain` reads.
        parts: how many such parts there are.
        groups: the groups of `pattern`, in order.
    """

    plain: str
    pattern: str
    kept: str
    parts: int
    groups: tuple[str, ...]


def read_format(format: str) -> _Format:
    """A format taken apart.

    Raises:
        BuildError: a directive that is not known.
    """
    for short, long in _WHOLE.items():
        format = format.replace(f"%{short}", long)
    plain, pattern, kept, parts, at = "", "", "(", 1, 0
    groups: list[str] = []
    while at < len(format):
        token = _TOKEN.match(format, at)
        directive = None if token is None else token[2]
        if token is None or (directive is not None and directive not in _PATTERNS and directive != "z"):
            raise BuildError(
                f"a time format has an unknown directive {format[at : at + 2]!r}",
                expected=f"%{' %'.join([*_PATTERNS, 'z', *_WHOLE])}, and %.f or .%f for a fraction of a second",
                got=repr(format),
            )
        at = token.end()
        if directive is None and token[1] is None:
            plain += token[0]
            piece = re.sub(r"(?:\\ |\\?\s)+", r"\\s*", re.escape(token[0]))
            pattern, kept = pattern + piece, kept + piece
            continue
        if token[1] is None and directive != "z":
            assert directive is not None
            plain += f"%{directive}"
            piece, group = _PATTERNS[directive], _GROUPS.get(directive)
            kept += piece
            pattern += f"(?P<{group}>{piece})" if group and group not in groups else piece
            groups += [group] if group and group not in groups else []
            continue
        name, inside, optional = "offset", _OFFSET, ""
        if token[1] is not None:
            digits = next((c for c in token[1] if c in "369"), "1,9")
            name, inside = "fraction", f"[0-9]{{{digits}}}"
            optional = "?" if "%." in token[1] else ""
        if name in groups:
            raise BuildError(f"a time format has two parts for the {name}", got=repr(format))
        groups.append(name)
        dot = r"\." if token[1] is not None and "." in token[1] else ""
        pattern += f"(?:{dot}(?P<{name}>{inside})){optional}"
        kept += f")(?:{dot}{inside}){optional}("
        parts += 1
    return _Format(plain, rf"\A{pattern}\z", rf"\A{kept})\z", parts, tuple(groups))


def parse_times(format: str | None, unit: str, zone: str | None, strict: bool) -> Parser:
    """The function from texts to timestamps of `unit`, in `zone`.

    Raises:
        BuildError: a format with an unknown directive.
    """
    if format is None:
        return partial(_parse_iso, unit, zone, strict)
    parts = read_format(format)
    return partial(_parse, parts, format, unit, zone, strict)


def parse_dates(format: str | None, strict: bool) -> Parser:
    """The function from texts to dates."""
    if format is None:
        return partial(cast_or_null, pa.date32(), strict)
    return partial(_parse_date, read_format(format), format, strict)


def _parse_date(parts: _Format, format: str, strict: bool, texts: pa.Array) -> pa.Array:
    return _parse(parts, format, "s", None, strict, texts).cast(pa.date32())


def _parse(
    parts: _Format, format: str, unit: str, zone: str | None, strict: bool, texts: pa.Array
) -> pa.Array:
    found, plain = None, texts
    if parts.parts > 1:
        found = pc.extract_regex(texts, pattern=parts.pattern)
        references = "".join(f"\\{n}" for n in range(1, parts.parts + 1))
        plain = pc.replace_substring_regex(texts, pattern=parts.kept, replacement=references)
        plain = pc.if_else(pc.is_valid(found), plain, pa.scalar(None, texts.type))
    times = pc.strptime(plain, format=parts.plain, unit=unit, error_is_null=True)
    times = _without_carried(times, texts, parts)
    if strict and times.null_count > texts.null_count:
        bad = texts.filter(pc.and_(pc.is_valid(texts), pc.is_null(times)))[0].as_py()
        raise pa.ArrowInvalid(f"{bad!r} is no time of the format {format!r}")
    if "fraction" in parts.groups and unit != "s":
        times = pc.add_checked(times, _fraction(_group(found, parts, "fraction"), unit))
    if "offset" in parts.groups:
        times = pc.subtract_checked(times, _offset(_group(found, parts, "offset")).cast(pa.duration(unit)))
        return times.cast(pa.timestamp(unit, zone or "UTC"))
    return times if zone is None else pc.assume_timezone(times, timezone=zone)


def _group(found: pa.Array, parts: _Format, name: str) -> pa.Array:
    return pc.struct_field(found, [parts.groups.index(name)])


def _fraction(digits: pa.Array, unit: str) -> pa.Array:
    width = {"ms": 3, "us": 6, "ns": 9}[unit]
    padded = pc.utf8_slice_codeunits(pc.utf8_rpad(digits, width=9, padding="0"), start=0, stop=width)
    return padded.cast(pa.int64()).cast(pa.duration(unit))


def _offset(texts: pa.Array) -> pa.Array:
    """Offsets such as ``+0130``, ``+01:30`` and ``Z`` as durations."""
    digits = pc.replace_substring(texts, pattern=":", replacement="")
    digits = pc.utf8_rpad(pc.replace_substring(digits, pattern="Z", replacement="+"), width=5, padding="0")
    hours, minutes = (
        pc.utf8_slice_codeunits(digits, start=start, stop=start + 2).cast(pa.int64()) for start in (1, 3)
    )
    seconds = pc.add(pc.multiply(hours, 3_600), pc.multiply(minutes, 60))
    west = pc.starts_with(digits, pattern="-")
    return pc.if_else(west, pc.negate(seconds), seconds).cast(pa.duration("s"))


def _without_carried(times: pa.Array, texts: pa.Array, parts: _Format) -> pa.Array:
    """Null where the parsed day or second is not the written one.

    A day that does not exist became one of the first three of the next month or year, and second 60
    or 61 second 0 or 1: only such rows are looked at.
    """
    suspicious: Bools = np.zeros(len(times), dtype=np.bool_)
    if "day" in parts.groups:
        suspicious |= _values(pc.day(times)) <= 3
    if "ordinal" in parts.groups:
        suspicious |= True
    if "second" in parts.groups:
        suspicious |= _values(pc.second(times)) <= 1
    suspicious &= np.asarray(pc.is_valid(times))
    rows = np.flatnonzero(suspicious)
    if not len(rows):
        return times
    found = pc.extract_regex(texts.take(pa.array(rows)), pattern=parts.pattern)
    parsed = times.take(pa.array(rows))
    wrong = np.zeros(len(rows), dtype=np.bool_)
    for name, read in (("day", pc.day), ("second", pc.second), ("ordinal", pc.day_of_year)):
        if name in parts.groups:
            written = pc.utf8_ltrim(_group(found, parts, name), characters=" ").cast(pa.int64())
            wrong |= _values(written) != _values(read(parsed))
    mask = np.zeros(len(times), dtype=np.bool_)
    mask[rows[wrong]] = True
    return pc.if_else(pa.array(mask), pa.scalar(None, times.type), times) if mask.any() else times


def _values(column: pa.Array) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(column, 0))


# ---- ISO 8601 -----------------------------------------------------------------------------------------


def _parse_iso(unit: str, zone: str | None, strict: bool, texts: pa.Array) -> pa.Array:
    if zone is None:
        return cast_or_null(pa.timestamp(unit), strict, texts)
    nothing = pa.scalar(None, texts.type)
    offset = pc.match_substring_regex(texts, pattern=rf"[T ].*{_OFFSET}\z")
    absolute = cast_or_null(pa.timestamp(unit, zone), strict, pc.if_else(offset, texts, nothing))
    local = cast_or_null(pa.timestamp(unit), strict, pc.if_else(offset, nothing, texts))
    return pc.coalesce(absolute, pc.assume_timezone(local, timezone=zone))


def cast_or_null(to: pa.DataType, strict: bool, values: pa.Array) -> pa.Array:
    """A cast; where a value has no place in the type an error, or null. Bad rows are found by halving."""
    if pa.types.is_nested(values.type):  # of a slice Arrow would cast what other rows hold
        values = values.take(pa.array(range(len(values)), pa.int64()))
    try:
        return values.cast(to)
    except pa.ArrowInvalid:
        if strict:
            raise
    if len(values) == 1:
        return pa.nulls(1, to)
    if len(values) >= _REPEATED_MIN and (
        pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    ):
        distinct = values.dictionary_encode()
        if len(distinct.dictionary) <= len(values) // 2:
            return cast_or_null(to, strict, distinct.dictionary).take(distinct.indices)
    middle = len(values) // 2
    return pa.concat_arrays(
        [cast_or_null(to, strict, values.slice(0, middle)), cast_or_null(to, strict, values.slice(middle))]
    )


_REPEATED_MIN = 64
"""Bad texts are mostly a few, such as ``n/a``: of so many each is looked at once."""
