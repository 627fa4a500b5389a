"""The good rows of a JSON Lines block in which something is bad, and each bad line with what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from streamlib.connectors.formats.jsonl_diagnose import about_field, about_line, parsed
from streamlib.connectors.formats.lenient import RefusedRecord, sift
from streamlib.connectors.formats.text import TextBlock
from streamlib.contracts import Refused

if TYPE_CHECKING:
    from streamlib.connectors.formats.jsonl import JsonlParser

_HUGE = re.compile(rb"\d[eE][+-]?\d|\d{100}")
DEPTH_SURE = 100
"""Up to this many brackets both JSON parsers read a line; deeper ones may exceed a limit of one of them."""


def sift_jsonl(
    parser: JsonlParser, text: TextBlock, name: str, refused: list[Refused]
) -> Iterator[pa.RecordBatch]:
    """The rows of a block that `parser` refused as a whole; appends what is bad to `refused`."""
    lines = bytes(text.data).split(b"\n")
    kept = [(number, line) for number, line in enumerate(lines) if line.strip()]
    known, suspects = _looked_through(parser, [line for _, line in kept])

    def parse(records: Sequence[int]) -> pa.RecordBatch | None:
        return parsed(parser, [kept[i][1] for i in records])

    rows, bad = sift(len(kept), parse, known, suspects)
    for i in bad:
        number, line = kept[i]
        at = text.line + number
        where = f"{name}, line {at:,}"
        fault = known.get(i)
        error = about_line(parser, line, where) if fault is None else about_field(*fault, where)
        whole = line if number == len(lines) - 1 else line + b"\n"
        refused.append(RefusedRecord(whole, error, at, i))
    yield from rows


def _looked_through(
    parser: JsonlParser, lines: Sequence[bytes]
) -> tuple[dict[int, tuple[pa.Field, Any] | None], list[int]]:
    """Lines that are bad for certain, with the value that is where it is one; and lines that may be."""
    import orjson

    checks = [(field, _check_of(field.type)) for field in parser.schema]
    fits = _Fits(parser)
    known: dict[int, tuple[pa.Field, Any] | None] = {}
    suspects = []
    for i, line in enumerate(lines):
        if line.lstrip()[:1] != b"{":  # a line `null` would crash the parser, so none comes near it
            known[i] = None
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            if _is_plain(line):
                known[i] = None
            else:
                suspects.append(i)
            continue
        for field, check in checks:
            found = value.get(field.name)
            fine = found is None or check(found)
            if fine is None and type(found) is str:
                fine = fits(field, found)
            if fine is False:
                known[i] = field, found
            elif fine is None:
                suspects.append(i)
            if not fine:
                break
    return known, suspects


class _Fits:
    """Whether a text is of a column's type, by the parser itself, once for each text."""

    def __init__(self, parser: JsonlParser) -> None:
        self._parser = parser
        self._known: dict[tuple[str, str], bool] = {}

    def __call__(self, field: pa.Field, value: str) -> bool:
        import orjson

        known = self._known.get((field.name, value))
        if known is None:
            known = parsed(self._parser.only(field.name), [orjson.dumps({field.name: value})]) is not None
            self._known[field.name, value] = known
        return known


def _is_plain(line: bytes) -> bool:
    """Whether two JSON parsers cannot differ about a line: text without escapes, huge numbers, deep nesting."""
    if b"\\u" in line or _HUGE.search(line) or line.count(b"{") + line.count(b"[") > DEPTH_SURE:
        return False
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_of(kind: pa.DataType) -> Callable[[Any], bool | None]:
    """Whether a JSON value is of a type; None in doubt. The parser takes no kind of value for another."""
    types = pa.types
    if types.is_integer(kind) or types.is_duration(kind):
        signed = not types.is_integer(kind) or types.is_signed_integer(kind)
        most = 1 << (kind.bit_width - signed)
        least = -most if signed else 0
        return lambda v: type(v) is int and least <= v < most
    if types.is_floating(kind):
        return lambda v: type(v) in (int, float)
    if types.is_string(kind) or types.is_large_string(kind):
        return lambda v: type(v) is str
    if types.is_boolean(kind):
        return lambda v: type(v) is bool
    if types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind):
        return lambda v: None if type(v) is str else False
    return lambda v: None
