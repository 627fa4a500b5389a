"""How the methods of `.str` become kernels. Patterns are RE2's: linear in time, without look-around."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from streamlib.errors import BuildError
from streamlib.expr.named import Lowering
from streamlib.expr.program import Builder, Operand, UnsupportedError, type_name
from streamlib.expr.promote import is_text

_REFERENCE = re.compile(r"\$(?:\$|(\d+)|\{(\d+)\}|\{?(\w+)\}?)")


def text(builder: Builder, value: Operand) -> Operand:
    """A text operand in a layout that the kernels take.

    Raises:
        UnsupportedError: it is no text.
    """
    if pt.is_null(value.type) or pt.is_string_view(value.type):
        return builder.cast(value, pa.string())
    if is_text(value.type):
        wide = value.type.value_type if pt.is_dictionary(value.type) else value.type
        return builder.cast(value, wide)
    raise UnsupportedError(f'.str works on text, not {type_name(value.type)}; .cast("string") makes a text')


def text_kernel(function: str, options: pc.FunctionOptions | None = None) -> Lowering:
    """The lowering to one kernel that takes a text."""
    return partial(_text_kernel, function, options)


def _text_kernel(
    function: str, options: pc.FunctionOptions | None, builder: Builder, inputs: Sequence[Operand]
) -> Operand:
    return builder.kernel(function, text(builder, inputs[0]), options=options)


def text_vector(function: Any) -> Lowering:
    """The lowering to a function of our own that takes an array of texts."""
    return partial(_text_vector, function)


def _text_vector(function: Any, builder: Builder, inputs: Sequence[Operand]) -> Operand:
    return builder.vector(function, text(builder, inputs[0]))


def check_pattern(pattern: str, literal: bool) -> None:
    """Raises BuildError for a pattern that is no regular expression."""
    if literal:
        return
    try:
        pc.match_substring_regex(pa.array([""]), pattern=pattern)
    except pa.ArrowInvalid as error:
        raise BuildError(
            "the pattern is no regular expression",
            expected="one of RE2: https://github.com/google/re2/wiki/Syntax",
            got=repr(pattern),
            hint=f"{str(error).partition(': ')[2]}; for a plain text say literal=True",
        ) from None


def rewrite(value: str) -> str:
    r"""A replacement with `$1` as RE2 writes it, `\1`.

    Raises:
        BuildError: a reference by name.

    >>> print(rewrite("${1}0 \\ $$"))
    \10 \\ $
    """

    def reference(match: re.Match[str]) -> str:
        number, braced, name = match.groups()
        if name:
            raise BuildError(
                "a replacement refers to groups by number",
                expected="$1 or ${1}, and $$ for a dollar sign",
                got=repr(value),
            )
        return f"\\{number or braced}" if number or braced else "$"

    return _REFERENCE.sub(reference, value.replace("\\", "\\\\"))


def quoted(value: str) -> str:
    """A pattern for just this text."""
    return re.escape(value)


# ---- groups -------------------------------------------------------------------------------------------


def named_groups(pattern: str) -> tuple[str, int]:
    """The pattern with every group named ``g1``, ``g2``, ... and itself within ``g0``; how many there are.

    >>> named_groups(r"(\\d+)-[(](?:a|(b))")
    ('(?P<g0>(?P<g1>\\\\d+)-[(](?:a|(?P<g2>b)))', 2)
    """
    made, count, at, in_class = [], 0, 0, False
    while at < len(pattern):
        rest = pattern[at:]
        if rest.startswith("\\Q"):
            end = pattern.find("\\E", at)
            piece = rest if end < 0 else pattern[at : end + 2]
        elif rest[0] == "\\":
            piece = rest[:2]
        elif in_class:
            posix = re.match(r"\[:\^?\w+:\]", rest)
            piece = posix[0] if posix else rest[0]
            in_class = piece != "]"
        elif rest[0] == "[":
            first = re.match(r"\[\^?\]?", rest)
            assert first is not None
            piece, in_class = first[0], True
        elif rest[0] == "(" and (opened := re.match(r"\((?!\?)|\(\?P?<\w+>", rest)):
            count += 1
            made.append(f"(?P<g{count}>")
            at += len(opened[0])
            continue
        else:
            piece = rest[0]
        made.append(piece)
        at += len(piece)
    return f"(?P<g0>{''.join(made)})", count


def extract(pattern: str, group: int) -> Lowering:
    """The lowering of `extract`; null where nothing matches."""
    named, count = named_groups(pattern)
    if group > count:
        raise BuildError(
            f"the pattern has no group {group}",
            expected=f"0 to {count}" if count else "0, for the whole match",
            got=repr(pattern),
            hint="put what you want into parentheses" if not count else None,
        )
    return text_vector(partial(_extract, named, group))


def _extract(pattern: str, group: int, texts: pa.Array) -> pa.Array:
    return pc.struct_field(pc.extract_regex(texts, pattern=pattern), [group])


# ---- cutting ------------------------------------------------------------------------------------------


def slice_chars(offset: int, length: int | None) -> Lowering:
    """Characters from `offset` on, at most `length` of them; a negative offset counts from the end."""
    stop = None if length is None else offset + length
    if offset < 0 and stop is not None and stop >= 0:
        stop = None
    return text_kernel("utf8_slice_codeunits", pc.SliceOptions(offset, stop))


def head_chars(n: int) -> Lowering:
    """The first `n` characters; all but the last `-n` when `n` is negative."""
    return text_kernel("utf8_slice_codeunits", pc.SliceOptions(0, n))


def tail_chars(n: int) -> Lowering:
    """The last `n` characters; all but the first `-n` when `n` is negative."""
    if n == 0:
        return head_chars(0)
    return text_kernel("utf8_slice_codeunits", pc.SliceOptions(-n, None))


def find(pattern: str, literal: bool) -> Lowering:
    """Where the pattern is first found, in bytes; null where it is not."""
    function = pc.find_substring if literal else pc.find_substring_regex
    return text_vector(partial(_find, function, pattern))


def _find(function: Any, pattern: str, texts: pa.Array) -> pa.Array:
    at = function(texts, pattern=pattern)
    return pc.if_else(pc.equal(at, -1), pa.scalar(None, at.type), at)


def zero_fill(length: int, texts: pa.Array) -> pa.Array:
    """Zeros in front, behind a sign."""
    padded = pc.utf8_lpad(texts, width=length, padding="0")
    signed = pc.match_substring_regex(texts, pattern=r"\A[+-]")
    if not pc.any(signed).as_py():
        return padded
    turned = pc.replace_substring_regex(padded, pattern=r"\A(0+)([+-])", replacement=r"\2\1")
    return pc.if_else(signed, turned, padded)


# ---- numbers ------------------------------------------------------------------------------------------


def to_integer(base: int, strict: bool) -> Lowering:
    """The lowering of `to_integer`."""
    return text_vector(partial(_to_integer, base, strict))


def _to_integer(base: int, strict: bool, texts: pa.Array) -> pa.Array:
    digits = "[0-9]" if base == 10 else "[0-9A-Fa-f]"
    good = pc.match_substring_regex(texts, pattern=rf"\A[+-]?{digits}+\z")
    if strict and pc.any(pc.invert(good)).as_py():
        bad = texts.filter(pc.invert(good))[0].as_py()
        raise pa.ArrowInvalid(f"{bad!r} is no integer of base {base}")
    texts = pc.if_else(good, texts, pa.scalar(None, texts.type))
    if base == 10:
        plain = pc.utf8_ltrim(texts, characters="+")
    else:
        negative = pc.starts_with(texts, pattern="-")
        bare = pc.utf8_ltrim(pc.utf8_ltrim(texts, characters="+-"), characters="0")
        plain = pc.binary_join_element_wise("0x", pc.utf8_lpad(bare, width=1, padding="0"), "")
        plain = plain.cast(texts.type)
    values = _cast_or_null(plain, strict)
    if base == 10:
        return values
    return pc.if_else(negative, pc.negate_checked(values), values)


def _cast_or_null(texts: pa.Array, strict: bool) -> pa.Array:
    """Digits as int64; where they do not fit an error, or null."""
    try:
        return _cast_digits(texts)
    except pa.ArrowInvalid:
        if strict:
            raise pa.ArrowInvalid("overflow") from None
    short = pc.less_equal(pc.binary_length(texts), 17)
    values = _cast_digits(pc.if_else(short, texts, pa.scalar(None, texts.type)))
    long = texts.filter(pc.invert(pc.fill_null(short, True))).to_pylist()
    numbers = [int(t, 16 if t.startswith("0x") else 10) for t in long]
    fitting = [n if -(2**63) <= n < 2**63 else None for n in numbers]
    return pc.replace_with_mask(values, pc.invert(pc.fill_null(short, True)), pa.array(fitting, pa.int64()))


def _cast_digits(texts: pa.Array) -> pa.Array:
    """Arrow reads hexadecimal numbers as bits: above 2**63 they must not become negative."""
    values = texts.cast(pa.int64())
    wrapped = pc.and_(pc.less(values, 0), pc.invert(pc.starts_with(texts, pattern="-")))
    if pc.any(wrapped).as_py():
        raise pa.ArrowInvalid("overflow")
    return values
