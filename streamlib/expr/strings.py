"""`.str`: methods of texts. Names and meanings follow Polars.

Lengths and positions count characters (code points) unless they say bytes. Patterns are regular
expressions of RE2 unless `literal=True`. Null stays null.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.errors import BuildError
from streamlib.expr import text_kernels as kernels
from streamlib.expr.named import Lowering, Namespace, changed, check_choice, check_int, check_text
from streamlib.expr.parse_times import parse_dates, parse_times
from streamlib.expr.text_kernels import check_pattern, quoted, rewrite, text_kernel, text_vector
from streamlib.expr.time_kernels import UNITS, check_zone
from streamlib.expr.type_names import parse_type

if TYPE_CHECKING:
    from streamlib.expr.expression import Expr


class Strings(Namespace):
    """The methods of a text column."""

    __slots__ = ()

    space = "str"

    # Length and letters

    def len_bytes(self) -> Expr:
        """How many bytes of UTF-8 it has.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.len_bytes().evaluate(pa.record_batch({"s": ["é", "", None]})).to_pylist()
        [2, 0, None]
        """
        return self._call("len_bytes", text_kernel("binary_length"))

    def len_chars(self) -> Expr:
        """How many characters it has.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.len_chars().evaluate(pa.record_batch({"s": ["é", ""]})).to_pylist()
        [1, 0]
        """
        return self._call("len_chars", text_kernel("utf8_length"))

    def to_lowercase(self) -> Expr:
        """In small letters, each character by itself.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.to_lowercase().evaluate(pa.record_batch({"s": ["ÉA"]})).to_pylist()
        ['éa']
        """
        return self._call("to_lowercase", text_kernel("utf8_lower"))

    def to_uppercase(self) -> Expr:
        """In capital letters, each character by itself.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.to_uppercase().evaluate(pa.record_batch({"s": ["éa"]})).to_pylist()
        ['ÉA']
        """
        return self._call("to_uppercase", text_kernel("utf8_upper"))

    def to_titlecase(self) -> Expr:
        """Words with a capital letter, the rest in small ones; a word ends at what has neither.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.to_titlecase().evaluate(pa.record_batch({"s": ["new YORK"]})).to_pylist()
        ['New York']
        """
        return self._call("to_titlecase", text_kernel("utf8_title"))

    def reverse(self) -> Expr:
        """The characters from the last to the first.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.reverse().evaluate(pa.record_batch({"s": ["abc"]})).to_pylist()
        ['cba']
        """
        return self._call("reverse", text_kernel("utf8_reverse"))

    # Ends

    def strip_chars(self, characters: str | None = None) -> Expr:
        """Without the given characters, or white space, at both ends.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.strip_chars().evaluate(pa.record_batch({"s": [" a b "]})).to_pylist()
        ['a b']
        """
        return self._strip("strip_chars", "utf8_trim", characters)

    def strip_chars_start(self, characters: str | None = None) -> Expr:
        """Without the given characters, or white space, at its beginning.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.strip_chars_start("0").evaluate(pa.record_batch({"s": ["007"]})).to_pylist()
        ['7']
        """
        return self._strip("strip_chars_start", "utf8_ltrim", characters)

    def strip_chars_end(self, characters: str | None = None) -> Expr:
        """Without the given characters, or white space, at its end.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.strip_chars_end("!?").evaluate(pa.record_batch({"s": ["so?!"]})).to_pylist()
        ['so']
        """
        return self._strip("strip_chars_end", "utf8_rtrim", characters)

    def _strip(self, name: str, function: str, characters: str | None) -> Expr:
        if characters is None:
            return self._call(name, text_kernel(f"{function}_whitespace"))
        options = pc.TrimOptions(check_text(characters, "characters"))
        return self._call(name, text_kernel(function, options), characters)

    def strip_prefix(self, prefix: str) -> Expr:
        """Without this beginning, where it has it.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.strip_prefix("X:").evaluate(pa.record_batch({"s": ["X:BTC", "ETH"]})).to_pylist()
        ['BTC', 'ETH']
        """
        pattern = rf"\A{quoted(check_text(prefix, 'prefix'))}"
        return self._call("strip_prefix", _replace(pattern, "", 1, literal=False), prefix)

    def strip_suffix(self, suffix: str) -> Expr:
        """Without this ending, where it has it.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.strip_suffix("-PERP").evaluate(pa.record_batch({"s": ["BTC-PERP"]})).to_pylist()
        ['BTC']
        """
        pattern = rf"{quoted(check_text(suffix, 'suffix'))}\z"
        return self._call("strip_suffix", _replace(pattern, "", 1, literal=False), suffix)

    def pad_start(self, length: int, fill_char: str = " ") -> Expr:
        """Filled up at its beginning to `length` characters; longer ones stay.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.pad_start(3, ".").evaluate(pa.record_batch({"s": ["a", "abcd"]})).to_pylist()
        ['..a', 'abcd']
        """
        return self._pad("pad_start", "utf8_lpad", length, fill_char)

    def pad_end(self, length: int, fill_char: str = " ") -> Expr:
        """Filled up at its end to `length` characters; longer ones stay.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.pad_end(3, ".").evaluate(pa.record_batch({"s": ["a"]})).to_pylist()
        ['a..']
        """
        return self._pad("pad_end", "utf8_rpad", length, fill_char)

    def _pad(self, name: str, function: str, length: int, fill_char: str) -> Expr:
        check_int(length, "length", 0)
        if len(check_text(fill_char, "fill_char")) != 1:
            raise BuildError("fill_char must be one character", expected='such as "0"', got=repr(fill_char))
        options = pc.PadOptions(length, fill_char)
        shown = (length,) if fill_char == " " else (length, fill_char)
        return self._call(name, text_kernel(function, options), *shown)

    def zfill(self, length: int) -> Expr:
        """Filled up with zeros in front, behind a sign, to `length` characters.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.zfill(4).evaluate(pa.record_batch({"s": ["7", "-7"]})).to_pylist()
        ['0007', '-007']
        """
        check_int(length, "length", 0)
        return self._call("zfill", text_vector(partial(kernels.zero_fill, length)), length)

    # Search

    def starts_with(self, prefix: str) -> Expr:
        """Whether it begins with this text.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.starts_with("a").evaluate(pa.record_batch({"s": ["ab", "b", None]})).to_pylist()
        [True, False, None]
        """
        options = pc.MatchSubstringOptions(check_text(prefix, "prefix"))
        return self._call("starts_with", text_kernel("starts_with", options), prefix)

    def ends_with(self, suffix: str) -> Expr:
        """Whether it ends with this text.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.ends_with("b").evaluate(pa.record_batch({"s": ["ab", "a"]})).to_pylist()
        [True, False]
        """
        options = pc.MatchSubstringOptions(check_text(suffix, "suffix"))
        return self._call("ends_with", text_kernel("ends_with", options), suffix)

    def contains(self, pattern: str, literal: bool = False) -> Expr:
        """Whether the pattern is found in it.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.contains("^a.c").evaluate(pa.record_batch({"s": ["abcd", "bc"]})).to_pylist()
        [True, False]
        """
        return self._search("contains", "match_substring", pattern, literal)

    def count_matches(self, pattern: str, literal: bool = False) -> Expr:
        """How often the pattern is found in it, without overlaps.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.count_matches("[0-9]").evaluate(pa.record_batch({"s": ["a1b22"]})).to_pylist()
        [3]
        """
        return self._search("count_matches", "count_substring", pattern, literal)

    def _search(self, name: str, function: str, pattern: str, literal: bool) -> Expr:
        check_pattern(check_text(pattern, "pattern"), literal)
        lower = text_kernel(function if literal else f"{function}_regex", pc.MatchSubstringOptions(pattern))
        return self._call(name, lower, pattern, **changed(literal=(literal, False)))

    def find(self, pattern: str, literal: bool = False) -> Expr:
        """The position in bytes at which the pattern is first found; null where it is not.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.find("b+").evaluate(pa.record_batch({"s": ["aabb", "a"]})).to_pylist()
        [2, None]
        """
        check_pattern(check_text(pattern, "pattern"), literal)
        return self._call(
            "find", kernels.find(pattern, literal), pattern, **changed(literal=(literal, False))
        )

    def extract(self, pattern: str, group_index: int = 1) -> Expr:
        """What a group of the pattern holds at its first match, 0 for the whole match; null without one.

        A group that takes no part in the match gives an empty text.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> volume = col("s").str.extract(r"vol=(\\d+)")
        >>> volume.evaluate(pa.record_batch({"s": ["vol=12", "none"]})).to_pylist()
        ['12', None]
        """
        check_pattern(check_text(pattern, "pattern"), literal=False)
        lower = kernels.extract(pattern, check_int(group_index, "group_index", 0))
        return self._call("extract", lower, pattern, *([] if group_index == 1 else [group_index]))

    # Cutting and replacing

    def replace(self, pattern: str, value: str, literal: bool = False, n: int = 1) -> Expr:
        """The first `n` matches replaced; `$1` in `value` (not `\\1`) stands for a group, `$$` for a dollar sign.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> swapped = col("s").str.replace("(\\\\w+)/(\\\\w+)", "$2/$1")
        >>> swapped.evaluate(pa.record_batch({"s": ["BTC/EUR"]})).to_pylist()
        ['EUR/BTC']
        """
        check_int(n, "n", 1)
        return self._replaced("replace", pattern, value, literal, n)

    def replace_all(self, pattern: str, value: str, literal: bool = False) -> Expr:
        """All matches replaced; `$1` in `value` stands for a group, `$$` for a dollar sign.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.replace_all(",", "").evaluate(pa.record_batch({"s": ["1,234,567"]})).to_pylist()
        ['1234567']
        """
        return self._replaced("replace_all", pattern, value, literal, None)

    def _replaced(self, name: str, pattern: str, value: str, literal: bool, n: int | None) -> Expr:
        check_pattern(check_text(pattern, "pattern"), literal)
        lower = _replace(pattern, check_text(value, "value"), n, literal)
        shown = changed(literal=(literal, False), n=(n or 1, 1))
        return self._call(name, lower, pattern, value, **shown)

    def slice(self, offset: int, length: int | None = None) -> Expr:
        """Characters from `offset` on, at most `length` of them; a negative offset counts from the end.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.slice(-3, 2).evaluate(pa.record_batch({"s": ["abcde"]})).to_pylist()
        ['cd']
        """
        check_int(offset, "offset")
        if length is not None:
            check_int(length, "length", 0)
        shown = (offset,) if length is None else (offset, length)
        return self._call("slice", kernels.slice_chars(offset, length), *shown)

    def head(self, n: int) -> Expr:
        """The first `n` characters; without the last ones when `n` is negative.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.head(2).evaluate(pa.record_batch({"s": ["abc"]})).to_pylist()
        ['ab']
        """
        return self._call("head", kernels.head_chars(check_int(n, "n")), n)

    def tail(self, n: int) -> Expr:
        """The last `n` characters; without the first ones when `n` is negative.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.tail(2).evaluate(pa.record_batch({"s": ["abc"]})).to_pylist()
        ['bc']
        """
        return self._call("tail", kernels.tail_chars(check_int(n, "n")), n)

    def split(self, by: str) -> Expr:
        """The pieces between separators, as a list of texts.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.split("-").evaluate(pa.record_batch({"s": ["a-b", ""]})).to_pylist()
        [['a', 'b'], ['']]
        """
        if not check_text(by, "by"):
            raise BuildError("split() needs a separator", expected='such as ","', got="an empty text")
        return self._call("split", text_kernel("split_pattern", pc.SplitPatternOptions(by)), by)

    # Reading values

    def to_integer(self, base: int = 10, strict: bool = True) -> Expr:
        """The number it writes, as int64; digits and a sign, nothing else.

        Args:
            base: 10 or 16.
            strict: what is no number is a DataError; otherwise it is null.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.to_integer(strict=False).evaluate(pa.record_batch({"s": ["-7", "x"]})).to_pylist()
        [-7, None]
        """
        if base not in (10, 16):
            raise BuildError("base= is not supported", expected="10 or 16", got=repr(base))
        shown = changed(base=(base, 10), strict=(strict, True))
        return self._call("to_integer", kernels.to_integer(base, strict), **shown)

    def to_datetime(
        self,
        format: str | None = None,
        time_unit: str = "us",
        time_zone: str | None = None,
        strict: bool = True,
    ) -> Expr:
        """The time it writes, as a timestamp.

        A date that does not exist, such as February 30, is no time. Digits finer than `time_unit` are
        cut off.

        Args:
            format: such as ``"%d/%b/%Y:%H:%M:%S %z"`` or ``"%Y-%m-%d %H:%M:%S%.f"``; ISO 8601 when None.
            time_unit: of the result: s, ms, us or ns.
            time_zone: the result's zone. Texts with an offset are converted to it, others are its wall
                clock. With `%z` and no zone the result is in UTC.
            strict: what is no such time is a DataError; otherwise it is null.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"s": ["03/Feb/2024:10:11:12"]})
        >>> col("s").str.to_datetime("%d/%b/%Y:%H:%M:%S").evaluate(rows)[0].as_py()
        datetime.datetime(2024, 2, 3, 10, 11, 12)
        """
        check_choice(time_unit, "time_unit=", UNITS)
        if time_zone is not None:
            check_zone(time_zone)
        lower = text_vector(parse_times(_format(format), time_unit, time_zone, strict))
        shown = changed(time_unit=(time_unit, "us"), time_zone=(time_zone, None), strict=(strict, True))
        return self._call("to_datetime", lower, *([] if format is None else [format]), **shown)

    def to_date(self, format: str | None = None, strict: bool = True) -> Expr:
        """The day it writes, as a date; ISO 8601 when `format` is None.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.to_date("%d.%m.%Y").evaluate(pa.record_batch({"s": ["31.01.2024"]})).to_pylist()
        [datetime.date(2024, 1, 31)]
        """
        lower = text_vector(parse_dates(_format(format), strict))
        shown = changed(strict=(strict, True))
        return self._call("to_date", lower, *([] if format is None else [format]), **shown)

    def strptime(self, dtype: pa.DataType | str, format: str | None = None, strict: bool = True) -> Expr:
        """The time or date it writes, in a type: `to_datetime` and `to_date` by another name.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("s").str.strptime("timestamp[ms]", "%Y%m%d")
        col("s").str.to_datetime("%Y%m%d", time_unit="ms")
        """
        wanted: Any = parse_type(dtype)
        if pa.types.is_date32(wanted):
            return self.to_date(format, strict)
        if pa.types.is_timestamp(wanted):
            return self.to_datetime(format, wanted.unit, wanted.tz, strict)
        raise BuildError("strptime() gives times", expected="a timestamp or date32", got=str(wanted))


def _format(format: str | None) -> str | None:
    return None if format is None else check_text(format, "format")


def _replace(pattern: str, value: str, n: int | None, literal: bool) -> Lowering:
    if not pattern:
        raise BuildError("the pattern to replace is empty", expected='such as ","')
    if literal:
        return text_kernel(
            "replace_substring", pc.ReplaceSubstringOptions(pattern, value, max_replacements=n)
        )
    rewritten = rewrite(value)
    try:
        pc.replace_substring_regex(pa.array([""]), pattern=pattern, replacement=rewritten)
    except pa.ArrowInvalid as error:
        raise BuildError(
            "the replacement does not fit the pattern", got=repr(value), hint=str(error).rpartition(": ")[2]
        ) from None
    options = pc.ReplaceSubstringOptions(pattern, rewritten, max_replacements=n)
    return text_kernel("replace_substring_regex", options)
