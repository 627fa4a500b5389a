"""Where CSV records end. Line ends inside quotes belong to their record.

Most text has no quotes: then the last line feed decides. Where every quote stands as it should, their
number before a line feed decides (odd: inside). Anything else, such as a quote in the middle of a
field, which is a plain character, is read character by character by the same rules as the parser's.
Where each record ends, and what is wrong with it, is asked of few texts: a pattern of a field answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import accumulate

from streamlib.connectors.formats.text import Cut, count_lines
from streamlib.kernels.quotes import cut_any, cut_regular

_KERNEL_MIN = 2 << 10
"""A shorter text is not worth a kernel, which may still have to be loaded."""


@dataclass(frozen=True)
class CsvCutter:
    """Cuts CSV text. `blank_is_row`: whether a blank line is a row, as in files of one column."""

    delimiter: bytes
    quote: bytes | None
    escape: bytes | None
    blank_is_row: bool = False
    _field: re.Pattern[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_field", _field_pattern(self.delimiter, self.quote, self.escape))

    def cut(self, data: bytes, ended: bool) -> Cut | None:
        escaped = self.escape is not None and self.escape in data
        if not escaped and (self.quote is None or self.quote not in data):
            return self._cut_lines(data, ended)
        if len(data) < _KERNEL_MIN or self._has_double_role:
            return self._cut_by_fields(data, ended)
        return self._cut_by_kernels(data, ended, escaped)

    @property
    def _has_double_role(self) -> bool:
        return self.escape in (self.quote, self.delimiter) or self.quote == self.delimiter

    def records(self, data: bytes) -> list[tuple[int, int]]:
        """Where each record of the text begins and ends, blank lines left out unless they are rows."""
        spans, start = [], 0
        for end in self._all_ends(data):
            if self.blank_is_row or data[start:end].strip(b"\r\n"):
                spans.append((start, end))
            start = end
        return spans

    def _all_ends(self, data: bytes) -> list[int]:
        plain = (self.quote is None or self.quote not in data) and (
            self.escape is None or self.escape not in data
        )
        if plain:
            return list(accumulate(len(line) for line in data.splitlines(keepends=True)))
        return self._ends(data, True)[0]

    def first_end(self, data: bytes, ended: bool) -> int | None:
        """Where the first record ends, blank or not; None when more of the file is needed to know."""
        for match in self._field.finditer(data):
            if match["end"] != self.delimiter:
                sure = ended or (
                    match["end"] != b"" and not (match["end"] == b"\r" and match.end() == len(data))
                )
                return match.end() if sure else None
        return None

    def _cut_lines(self, data: bytes, ended: bool) -> Cut | None:
        nbytes = len(data) if ended else data.rfind(b"\n") + 1
        if not nbytes:
            return None
        lines, full, blank = count_lines(data, nbytes)
        return Cut(nbytes, full + blank if self.blank_is_row else full, lines)

    def _cut_by_kernels(self, data: bytes, ended: bool, escaped: bool) -> Cut | None:
        quote, delimiter = -1 if self.quote is None else self.quote[0], self.delimiter[0]
        found = None if escaped else cut_regular(data, quote, delimiter, ended)
        if found is None:
            escape = -1 if self.escape is None else self.escape[0]
            found = cut_any(data, quote, delimiter, escape, ended)
        if not found.nbytes:
            return None
        blank = 0 if self.blank_is_row else found.blank
        rows = found.records - blank + int(ended and found.open)
        return Cut(found.nbytes, rows, found.lines, found.lines > found.records, ended and found.inside)

    def _cut_by_fields(self, data: bytes, ended: bool) -> Cut | None:
        ends, unended, unclosed = self._ends(data, ended)
        if not ends:
            return None
        nbytes = ends[-1]
        lines = count_lines(data, nbytes)[0]
        blank = sum(
            1 for a, b in zip([0, *ends], ends, strict=False) if not data[a : min(b, a + 3)].strip(b"\r\n")
        )
        rows = len(ends) if self.blank_is_row else len(ends) - blank
        return Cut(nbytes, rows, lines, lines > len(ends) - unended, unclosed)

    def _ends(self, data: bytes, ended: bool) -> tuple[list[int], bool, bool]:
        """The end of every record; whether the last one has no line end; and whether it ends within a quote.

        When more may follow, only records that a line feed ends.
        """
        ends, unclosed = [], False
        for match in self._field.finditer(data):
            if match["end"] != self.delimiter and match["end"]:
                ends.append(match.end())
            unclosed = match["closing"] == b""
            if match.end() == len(data):
                break
        if ended:
            unended = not ends or ends[-1] < len(data)
            return ends + [len(data)] * unended, unended, unclosed
        while ends and data[ends[-1] - 1] != 10:
            ends.pop()  # a carriage return: its line feed may follow
        return ends, False, False


def _field_pattern(delimiter: bytes, quote: bytes | None, escape: bytes | None) -> re.Pattern[bytes]:
    """One field. Groups: `end`, what ends it, empty at the end of the text; `closing`, its closing quote.

    `closing` is None for a field without quotes, and empty where the text ends within them.
    """
    d = re.escape(delimiter)
    e = re.escape(escape) if escape else b""
    plain = rb"[^%b\r\n%b]" % (d, e)
    if escape:
        plain = rb"(?:%b|%b(?:[\s\S]|\Z))" % (plain, e)
    text = rb"(?>%b*)" % plain
    if quote is not None:
        q = re.escape(quote)
        inner = rb"[^%b%b]" % (q, e)
        parts = rb"(?:%b+|%b%b%b)" % (inner, q, q, rb"|%b(?:[\s\S]|\Z)" % e if escape else b"")
        text = rb"(?:%b(?>%b*)(?P<closing>%b|\Z))?%b" % (q, parts, q, text)
    else:
        text = rb"(?P<closing>(?!))?%b" % text
    return re.compile(rb"%b(?P<end>%b|\r\n|\n|\r|\Z)" % (text, d))
