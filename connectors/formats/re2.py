r"""Which of Python's regular expressions mean the same to RE2, the engine inside Arrow, and how they are spelled there.

RE2 takes time linear in the line and needs no Python. The engines differ in corners: what ``\s`` holds,
numbered groups, look-around, what a repeated group remembers. An expression with a doubtful part is not
translated: it stays correct, and slower.
"""

from __future__ import annotations

import re

_SPACE = r"\t\n\x0b\f\r "
_CLASS_ESCAPES = {"d": r"\d", "w": r"\w", "s": _SPACE, "t": r"\t", "n": r"\n", "r": r"\r", "f": r"\f"}
_ESCAPES = {
    **_CLASS_ESCAPES,
    "D": r"\D",
    "W": r"\W",
    "s": f"[{_SPACE}]",
    "S": f"[^{_SPACE}]",
    "b": r"\b",
    "B": r"\B",
    "A": r"\A",
    "Z": r"\z",
}
_COUNT = re.compile(r"\{(\d+)(,?)(\d*)\}")
_NAMED = re.compile(r"\(\?P<([A-Za-z_][A-Za-z0-9_]*)>")
REPEAT_MAX = 1_000
"""The largest count that RE2 takes."""


def re2_pattern(pattern: str, compiled: re.Pattern[str]) -> str | None:
    """The expression for RE2; None where it may not mean the same.

    >>> re2_pattern(r"^(?P<a>\\d+)\\s*$", re.compile(r"^(?P<a>\\d+)\\s*$"))
    '^(?P<a>\\\\d+)[\\\\t\\\\n\\\\x0b\\\\f\\\\r ]*$'
    >>> re2_pattern(r"(?P<a>x)(?=y)", re.compile(r"(?P<a>x)(?=y)")) is None
    True
    """
    if compiled.flags & ~(re.ASCII | re.UNICODE) or "\0" in pattern:
        return None
    try:
        translated = _Translation(pattern).whole()
    except (_Doubtful, IndexError):
        return None
    return translated if _compiles(translated) else None


def _compiles(pattern: str) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.extract_regex(pa.array([""], pa.string()), pattern)
    except pa.ArrowException:
        return False
    return True


class _Doubtful(Exception):
    """A part of an expression that RE2 has not, or reads in another way."""


class _Translation:
    """Reads an expression from left to right."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0
        self.out: list[str] = []

    def whole(self) -> str:
        closed = False  # whether a group has just ended
        while self.at < len(self.pattern):
            char = self.pattern[self.at]
            if char in "*+?{":
                self._repeat(closed)
                closed = False
                continue
            closed = char == ")"
            if char == "\\":
                self.out.append(self._escape(_ESCAPES))
            elif char == "[":
                self._char_class()
            elif char == "(":
                self._open()
            else:
                self.out.append(char)
                self.at += 1
        return "".join(self.out)

    def _repeat(self, after_group: bool) -> None:
        """A count. Repeated groups remember other things in RE2, and may stop elsewhere: left to Python."""
        char = self.pattern[self.at]
        if char == "{":
            match = _COUNT.match(self.pattern, self.at)
            if match is None or max(int(match[1]), int(match[3] or 0)) > REPEAT_MAX:
                raise _Doubtful
            text = match[0]
        else:
            text = char
        if after_group and text != "?":
            raise _Doubtful
        self.at += len(text)
        following = self.pattern[self.at : self.at + 1]
        if following == "+":  # possessive
            raise _Doubtful
        if following == "?":
            text, self.at = text + "?", self.at + 1
        if self.pattern[self.at : self.at + 1] in ("*", "+", "?", "{"):
            raise _Doubtful
        self.out.append(text)

    def _escape(self, known: dict[str, str]) -> str:
        char = self.pattern[self.at + 1]
        if char == "x":
            digits = self.pattern[self.at + 2 : self.at + 4]
            if not re.fullmatch("[0-9a-fA-F]{2}", digits) or int(digits, 16) > 127:
                raise _Doubtful
            self.at += 4
            return f"\\x{digits}"
        self.at += 2
        if char in known:
            return known[char]
        if char.isascii() and not char.isalnum() and not char.isspace():
            return f"\\{char}" if char != "_" else "_"
        raise _Doubtful

    def _char_class(self) -> None:
        self.at += 1
        parts = ["["]
        if self.pattern[self.at] == "^":
            parts.append("^")
            self.at += 1
        first = True
        while first or self.pattern[self.at] != "]":
            char = self.pattern[self.at]
            if char == "\\":
                parts.append(self._escape(_CLASS_ESCAPES))
            elif char == "[" or (char in "-&|~" and self.pattern[self.at + 1] == char):
                raise _Doubtful  # posix classes, and sets of a future Python
            else:
                parts.append("\\]" if char == "]" else char)
                self.at += 1
            first = False
        self.at += 1
        self.out.append("".join([*parts, "]"]))

    def _open(self) -> None:
        named = _NAMED.match(self.pattern, self.at)
        if named is not None:
            text = named[0]
            self.out.append(text)
        elif self.pattern.startswith("(?:", self.at):
            text = "(?:"
            self.out.append(text)
        elif self.pattern.startswith("(?", self.at):
            raise _Doubtful
        else:
            text = "("
            self.out.append("(?:")  # numbered groups are not asked for, and Arrow takes none
        self.at += len(text)
