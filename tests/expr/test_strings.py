"""`.str`: against Polars and Python, with nulls, empty texts and unicode."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamlib.errors import BuildError, DataError, TypeMismatchError
from streamlib.expr import Expr, col, concat_str, lit
from streamlib.expr.text_kernels import named_groups
from tests.expr.columns import assert_same, one, polars_values

TEXTS = st.lists(st.none() | st.text("abAB01 -+,.é漢🎈\n", max_size=7), max_size=8)


def texts(values: list[str | None]) -> pa.RecordBatch:
    return pa.record_batch({"s": pa.array(values, pa.string())})


SAME: dict[str, Callable[[Any], Any]] = {
    "len_bytes": lambda s: s.str.len_bytes(),
    "len_chars": lambda s: s.str.len_chars(),
    "to_lowercase": lambda s: s.str.to_lowercase(),
    "to_uppercase": lambda s: s.str.to_uppercase(),
    "strip_chars": lambda s: s.str.strip_chars(),
    "strip_chars_start": lambda s: s.str.strip_chars_start(),
    "strip_chars_end": lambda s: s.str.strip_chars_end(),
    "strip_these": lambda s: s.str.strip_chars("ab é"),
    "strip_these_start": lambda s: s.str.strip_chars_start("+-"),
    "strip_these_end": lambda s: s.str.strip_chars_end(".🎈"),
    "strip_prefix": lambda s: s.str.strip_prefix("a."),
    "strip_suffix": lambda s: s.str.strip_suffix("é"),
    "starts_with": lambda s: s.str.starts_with("a"),
    "ends_with": lambda s: s.str.ends_with("b"),
    "contains": lambda s: s.str.contains("a.|^b"),
    "contains_literal": lambda s: s.str.contains(".", literal=True),
    "count_matches": lambda s: s.str.count_matches("[ab]+"),
    "count_matches_literal": lambda s: s.str.count_matches("a", literal=True),
    "find": lambda s: s.str.find("[AB]"),
    "find_literal": lambda s: s.str.find("é", literal=True),
    "extract": lambda s: s.str.extract("([ab]+)([01])", 2),
    "extract_whole": lambda s: s.str.extract("[ab]+[01]?", 0),
    "replace": lambda s: s.str.replace("([ab])([AB01])", "${2}$1"),
    "replace_n": lambda s: s.str.replace("a", "xy", n=2),
    "replace_literal": lambda s: s.str.replace(".", "$1", literal=True),
    "replace_all": lambda s: s.str.replace_all("[ab]", "<$0>"),
    "replace_all_literal": lambda s: s.str.replace_all("a", "\\1", literal=True),
    "slice": lambda s: s.str.slice(1, 3),
    "slice_end": lambda s: s.str.slice(-3, 2),
    "slice_far": lambda s: s.str.slice(-9, 4),
    "slice_rest": lambda s: s.str.slice(2),
    "slice_last": lambda s: s.str.slice(-2),
    "slice_over": lambda s: s.str.slice(-2, 5),
    "head": lambda s: s.str.head(2),
    "head_but": lambda s: s.str.head(-2),
    "tail": lambda s: s.str.tail(2),
    "tail_but": lambda s: s.str.tail(-2),
    "tail_none": lambda s: s.str.tail(0),
    "split": lambda s: s.str.split(","),
    "pad_start": lambda s: s.str.pad_start(5),
    "pad_end": lambda s: s.str.pad_end(5, "é"),
    "zfill": lambda s: s.str.zfill(6),
    "to_integer": lambda s: s.str.to_integer(strict=False),
    "to_integer_16": lambda s: s.str.to_integer(base=16, strict=False),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
@given(values=TEXTS)
@example(["+5", "-7", "007", "", None, "-", "9223372036854775808", "-9223372036854775808", "1.5", " 5"])
@example(["ff", "-FF", "7fffffffffffffff", "8000000000000000", "ffffffffffffffff", "0x1"])
@example(["a.b", "a,,b,", ",", "-0-5", "+", "é", "aAb1B0"])
def test_as_polars(name: str, values: list[str | None]) -> None:
    batch, apply = texts(values), SAME[name]
    assert_same(apply(col("s")).evaluate(batch), polars_values(batch, apply(pl.col("s"))))


@given(values=TEXTS)
def test_all_layouts_of_text_are_text(values: list[str | None]) -> None:
    plain = texts(values)
    expected = col("s").str.to_uppercase().evaluate(plain).to_pylist()
    for layout in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        batch = pa.record_batch({"s": plain["s"].cast(layout)})
        assert col("s").str.to_uppercase().evaluate(batch).to_pylist() == expected
    assert one(col("s").str.len_chars(), s=None) is None


def test_reverse_and_letters_are_by_character() -> None:
    assert one(col("s").str.to_titlecase(), s="émile ZOLA") == "Émile Zola"
    assert one(col("s").str.reverse(), s="añb") == "bña"
    assert one(col("s").str.to_uppercase(), s="ß") in ("ß", "ẞ")


@given(pattern=st.text("ab()[]\\^?:P<>Q1E|.+*{}", max_size=12))
@example("(?:a)(?P<x>b)")
@example("[(](a)")
@example("[](](a)")
@example(r"\Q(\E(a)")
@example("[[:alpha:](](a)")
@example("(?<n>a)(b)")
def test_groups_are_counted_as_python_counts(pattern: str) -> None:
    try:
        expected = re.compile(pattern.replace("[[:alpha:]", "[[-\\]a-z").replace(r"\Q(\E", r"\(")).groups
        named = col("s").str.extract(pattern, 0)
    except (BuildError, re.error, FutureWarning, OverflowError):
        return
    if "(?<" in pattern or ("\\Q" in pattern and pattern != r"\Q(\E(a)"):
        return
    assert named_groups(pattern)[1] == expected
    one(named, s="ab")


def test_a_group_that_is_not_there() -> None:
    with pytest.raises(BuildError, match="no group 2"):
        col("s").str.extract("(a)", 2)
    with pytest.raises(BuildError, match="put what you want into parentheses"):
        col("s").str.extract("a")


@given(values=TEXTS, others=TEXTS)
def test_concat_str_agrees_with_polars(values: list[str | None], others: list[str | None]) -> None:
    rows = min(len(values), len(others))
    batch = pa.record_batch(
        {"s": pa.array(values[:rows], pa.string()), "t": pa.array(others[:rows], pa.string())}
    )
    for ignore in (False, True):
        ours = concat_str("s", lit("|"), "t", separator="-", ignore_nulls=ignore)
        theirs = pl.concat_str(["s", pl.lit("|"), "t"], separator="-", ignore_nulls=ignore)
        assert_same(ours.evaluate(batch), polars_values(batch, theirs))
    assert one(concat_str("n", "s"), n=7, s="x") == "7x"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: col("s").str.contains("("), "no regular expression"),
        (lambda: col("s").str.contains(col("t")), "the same for all rows"),
        (lambda: col("s").str.replace("a", "$1"), "does not fit the pattern"),
        (lambda: col("s").str.replace("(?P<x>a)", "${x}"), "by number"),
        (lambda: col("s").str.replace_all("", "x"), "is empty"),
        (lambda: col("s").str.split(""), "needs a separator"),
        (lambda: col("s").str.slice(1, -1), "at least 0"),
        (lambda: col("s").str.pad_start(3, "ab"), "one character"),
        (lambda: col("s").str.to_integer(base=3), "10 or 16"),
        (lambda: col("s").str.to_datetime("%Q"), "unknown directive '%Q'"),
        (lambda: col("s").str.to_datetime("%f %f"), "two parts for the fraction"),
        (lambda: col("s").str.to_datetime(time_zone="Mars"), "no such time zone"),
        (lambda: col("s").str.strptime("int64", "%Y"), "strptime() gives times"),
    ],
)
def test_what_cannot_work_fails_where_it_is_written(build: Callable[[], Expr], message: str) -> None:
    with pytest.raises(BuildError) as caught:
        build()
    assert message in str(caught.value)


def test_a_number_is_no_text() -> None:
    with pytest.raises(TypeMismatchError, match=r'\.str works on text, not int64; \.cast\("string"\)'):
        col("n").str.len_chars().type_in(pa.schema({"n": pa.int64()}))


def test_a_number_that_cannot_be_read_names_its_row() -> None:
    batch = texts(["1", None, "x", "2"])
    with pytest.raises(DataError) as caught:
        col("s").str.to_integer().evaluate(batch)
    assert caught.value.where == "row 2 of the batch"
    assert "'x' is no integer of base 10" in str(caught.value)
    with pytest.raises(DataError, match="overflow"):
        one(col("s").str.to_integer(), s="99999999999999999999")


# ---- times --------------------------------------------------------------------------------------------

TIMES = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2199, 12, 31))
FORMATS = ["%Y-%m-%d %H:%M:%S", "%d/%b/%Y:%H:%M:%S", "%Y%m%d", "%d.%m.%Y %I:%M:%S %p", "%Y %j", "%B %d, %Y"]


@pytest.mark.parametrize("format", FORMATS)
@given(times=st.lists(st.none() | TIMES, max_size=8))
def test_a_time_reads_back_what_python_wrote(format: str, times: list[dt.datetime | None]) -> None:
    written = [None if t is None else t.strftime(format) for t in times]
    expected = [None if w is None else dt.datetime.strptime(w, format) for w in written]
    assert col("s").str.to_datetime(format).evaluate(texts(written)).to_pylist() == expected
    days = [None if e is None else e.date() for e in expected]
    assert col("s").str.to_date(format).evaluate(texts(written)).to_pylist() == days


@given(
    times=st.lists(st.none() | TIMES, max_size=8),
    offset=st.sampled_from(["+0000", "Z", "+09:00", "-0330", "+1400"]),
)
def test_fractions_and_offsets_agree_with_python(times: list[dt.datetime | None], offset: str) -> None:
    written = [None if t is None else t.strftime("%Y-%m-%dT%H:%M:%S.%f") + offset for t in times]
    expected = [None if w is None else dt.datetime.strptime(w, "%Y-%m-%dT%H:%M:%S.%f%z") for w in written]
    for fraction in ("%.f", ".%f", "%.6f", ".%6f"):
        got = col("s").str.to_datetime(f"%Y-%m-%dT%H:%M:%S{fraction}%z").evaluate(texts(written))
        assert got.type == pa.timestamp("us", "UTC")
        assert got.to_pylist() == expected
    assert col("s").str.to_datetime(time_zone="UTC").evaluate(texts(written)).to_pylist() == expected


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ("2024-02-30", "%Y-%m-%d"),
        ("2023-02-29", "%Y-%m-%d"),
        ("2024-04-31", "%Y-%m-%d"),
        ("2024-13-01", "%Y-%m-%d"),
        ("2024-02-30 23:00 -0200", "%Y-%m-%d %H:%M %z"),
        ("2024-02-30 23:00:00.5", "%Y-%m-%d %H:%M:%S%.f"),
        ("10:11:60", "%H:%M:%S"),
        ("2023 366", "%Y %j"),
        ("2024-01-01x", "%Y-%m-%d"),
        ("", "%Y-%m-%d"),
        ("2024-01-01T10:00:00", "%Y-%m-%dT%H:%M:%S.%f"),
        ("2024-02-30", None),
        ("yesterday", None),
    ],
)
def test_a_time_that_does_not_exist_is_refused(text: str, format: str | None) -> None:
    expr = col("s").str.to_datetime(format, strict=False)
    batch = texts(["2024-01-01" if format in (None, "%Y-%m-%d") else None, text])
    assert expr.evaluate(batch).to_pylist()[1] is None
    with pytest.raises(DataError) as caught:
        col("s").str.to_datetime(format).evaluate(batch)
    assert caught.value.where == "row 1 of the batch"


def test_a_text_without_offset_is_the_wall_clock_of_its_zone() -> None:
    at = one(col("s").str.to_datetime("%Y-%m-%d %H:%M", time_zone="Europe/Berlin"), s="2024-07-01 12:00")
    assert at.astimezone(dt.UTC) == dt.datetime(2024, 7, 1, 10, tzinfo=dt.UTC)
    for written in ("2024-07-01T12:00:00", "2024-07-01T10:00:00Z", "2024-07-01T19:00:00+09:00"):
        at = one(col("s").str.to_datetime(time_zone="Europe/Berlin"), s=written)
        assert at.astimezone(dt.UTC) == dt.datetime(2024, 7, 1, 10, tzinfo=dt.UTC), written


def test_short_directives_stand_for_several() -> None:
    for format in ("%F %T", "%D %R:05"):
        written = {"%F %T": "2024-02-29 03:04:05", "%D %R:05": "02/29/24 03:04:05"}[format]
        assert one(col("s").str.to_datetime(format), s=written).replace(second=5) == dt.datetime(
            2024, 2, 29, 3, 4, 5
        )


def test_the_unit_is_that_which_is_asked_for() -> None:
    schema = pa.schema({"s": pa.string()})
    assert col("s").str.to_datetime("%Y").type_in(schema) == pa.timestamp("us")
    assert col("s").str.strptime("timestamp[ms, tz=UTC]", "%Y").type_in(schema) == pa.timestamp("ms", "UTC")
    assert col("s").str.strptime("date32", "%Y").type_in(schema) == pa.date32()
    nanos = one(col("s").str.to_datetime("%S%.f", time_unit="ns").dt.nanosecond(), s="01.123456789")
    assert nanos == 123_456_789
    assert one(col("s").str.to_datetime("%S%.f", time_unit="ms").dt.nanosecond(), s="01.9999") == 999_000_000
