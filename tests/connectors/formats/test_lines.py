"""Lines, raw bytes and regular expressions: what is read, written and refused, and that both engines agree."""

from __future__ import annotations

import datetime as dt
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib.connectors import FileSource
from streamlib.connectors.formats import Regex, lines, raw_bytes, regex
from streamlib.connectors.formats.re2 import re2_pattern
from streamlib.contracts import Block, Format, Refused
from streamlib.errors import BuildError, ColumnNotFoundError, DataError
from streamlib.testing.conform_connectors import check_format
from tests.connectors.reading import read_text


def decoded(fmt: Format, data: bytes, schema: pa.Schema | None = None) -> tuple[list[Any], list[Refused]]:
    schema = schema or fmt.infer_schema(io.BytesIO(data), "t")
    reader = fmt.open_reader(io.BytesIO(data), "t", schema)
    refused: list[Refused] = []
    rows: list[Any] = []
    while isinstance(block := reader.read(), Block):
        for batch in reader.decode_leniently(block, refused):
            batch.validate(full=True)
            rows += batch.to_pylist()
    return rows, refused


@given(
    data=st.binary(min_size=1, max_size=60) | st.text(st.sampled_from("a\n\ré"), min_size=1).map(str.encode),
    size=st.sampled_from([1, 3, 7, 1000]),
    keep=st.booleans(),
    longest=st.sampled_from([2, 1000]),
)
@settings(max_examples=120, deadline=None)
def test_lines_are_what_python_splits(data: bytes, size: int, keep: bool, longest: int) -> None:
    assume(not data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")))
    rows, refused = decoded(replace(lines(keep_empty=keep, max_line=longest), block_bytes=size), data)
    wanted, bad = [], []
    parts = data.split(b"\n")
    ends = len(parts) - (parts[-1] == b"")
    for number, part in enumerate(parts[:ends], 1):
        text = part.removesuffix(b"\r") if number < len(parts) else part
        if not text and not keep:
            continue
        try:
            value = text.decode()
        except UnicodeDecodeError:
            value = None
        if value is None or len(text) > longest:
            bad.append((number, part + b"\n" * (number < len(parts))))
        else:
            wanted.append(value)
    assert [row["line"] for row in rows] == wanted
    assert [(one.number, one.data) for one in refused] == bad


def test_lines_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no UTF-8") as raised:
        read_text(tmp_path, b"a\n\nb\xff\n", "t.log", format="lines")
    assert raised.value.where is not None and raised.value.where.endswith("t.log, line 3")
    with pytest.raises(DataError, match="too long") as raised:
        read_text(tmp_path, "a\nbcde\n", "t.log", format=lines(max_line=3))
    assert raised.value.expected is not None and "3 bytes" in raised.value.expected


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-be", "cp1252", "shift_jis", "UTF8"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    words = (
        ["añ", "ü", "x" * 300_000, "", "é"] if "jis" not in encoding else ["日本", "x" * 300_000, "", "語"]
    )
    data = ("\n".join(words) + "\n").encode(encoding)
    assert read_text(tmp_path, data, "t.log", format=lines(encoding=encoding)) == [{"line": w} for w in words]
    text = "n,s\n1,ä\n2,ö\n" if "jis" not in encoding else "n,s\n1,日\n2,本\n"
    source = read_text(tmp_path, text.encode(encoding), format=sl.csv(encoding=encoding))
    assert [row["s"] for row in source] == [text[6], text[10]]
    records = read_text(
        tmp_path, f'{{"s":"{words[0]}"}}'.encode(encoding), format=sl.jsonl(encoding=encoding)
    )
    assert records == [{"s": words[0]}]


def test_bytes_that_an_encoding_has_not_are_refused_with_their_line() -> None:
    rows, refused = decoded(lines(encoding="cp1252"), b"a\nb\x81c\nd\n")
    assert ([row["line"] for row in rows], [one.number for one in refused]) == (["a", "d"], [2])
    half = "a\n\U0001f642\nb\n".encode("utf-16-le")
    rows, refused = decoded(lines(encoding="utf-16-le"), half[:6] + half[8:])
    assert ([row["line"] for row in rows], [one.number for one in refused]) == (["a", "b"], [2])


@pytest.mark.parametrize("encoding", ["klingon", "base64", "utf_9", "idna2", ""])
def test_encodings_that_do_not_exist(encoding: str) -> None:
    with pytest.raises(BuildError, match="no such encoding"):
        lines(encoding=encoding)


def test_written_lines_and_records_are_read_back() -> None:
    texts = pa.table({"line": ["a", "", "ü b", "c\rd"]})
    assert check_format(lines(), texts) == 1
    records = pa.table({"data": pa.array([b"ab", b"\0\n", b"cd"])})
    assert check_format(raw_bytes(size=2), records)
    assert check_format(raw_bytes(delimiter=b"--"), records)


@pytest.mark.parametrize("value", ["a\nb", "a\r", None])
def test_what_is_no_line_is_not_written(value: str | None) -> None:
    writer = lines().open_writer(io.BytesIO(), pa.schema({"t": pa.string()}))
    with pytest.raises(DataError, match="no line"):
        writer.write(pa.record_batch({"t": pa.array(["x", value], pa.string())}))


def test_raw_records(tmp_path: Path) -> None:
    def read(fmt: Any, data: bytes) -> list[bytes]:
        return [row["data"] for row in read_text(tmp_path, data, "t.bin", format=fmt)]

    assert read("bytes", b"a\n\xff\0") == [b"a\n\xff\0"]
    assert read(raw_bytes(size=2), b"aabb") == [b"aa", b"bb"]
    assert read(raw_bytes(delimiter=b";;"), b"a;;;;b;c") == [b"a", b"", b"b;c"]
    assert read(raw_bytes(delimiter=b"\n"), b"a\n\nb\n") == [b"a", b"", b"b"]
    with pytest.raises(DataError, match="too short") as raised:
        read(raw_bytes(size=3), b"aaabbbcc")
    assert raised.value.where is not None and raised.value.where.endswith("record 2")
    rows, refused = decoded(replace(raw_bytes(size=3), block_bytes=1), b"aaabbbcc")
    assert ([row["data"] for row in rows], [(r.data, r.number) for r in refused]) == (
        [b"aaa", b"bbb"],
        [(b"cc", 2)],
    )


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_delimiter_that_overlaps_itself(size: int) -> None:
    rows, _ = decoded(replace(raw_bytes(delimiter=b"aa"), block_bytes=size), b"xaaayaaaaz")
    assert [row["data"] for row in rows] == b"xaaayaaaaz".split(b"aa")


LOG = r'(?P<host>\S+) \[(?P<at>[^\]]+)\] "(?P<path>[^"]*)" (?P<status>\d{3})(?: (?P<ms>[\d.]+))?$'


def test_a_log_file(tmp_path: Path) -> None:
    text = 'a [2024-08-09T12:00:00] "/x" 200 1.5\n\nb [2024-08-09T12:00:01] "" 404\n'
    types = {"status": "int16", "at": "timestamp[s]", "ms": float, "path": str}
    fmt = regex(LOG, types)
    assert read_text(tmp_path, text, "t.log", format=fmt) == [
        {"status": 200, "at": dt.datetime(2024, 8, 9, 12), "ms": 1.5, "path": "/x"},
        {"status": 404, "at": dt.datetime(2024, 8, 9, 12, 0, 1), "ms": None, "path": None},
    ]
    source = FileSource(tmp_path / "t.log", fmt)
    assert source.with_columns(["ms"]).schema().names == ["ms"]
    assert [
        row["status"] for row in read_text(tmp_path, text, "t.log", format=fmt, schema={"status": str})
    ] == [
        "200",
        "404",
    ]
    bad = text + 'c [2024-02-30T12:00:00] "/" 200\nnonsense\nd [2024-08-09T12:00:00] "/" 99999\nb\xff\n'
    rows, refused = decoded(fmt, bad.encode("latin-1"))
    assert len(rows) == 2
    assert [(one.number, one.error.problem) for one in refused] == [
        (4, "the value is no timestamp[s]"),
        (5, "the line does not match the expression"),
        (6, "the line does not match the expression"),
        (7, "the line is no UTF-8 text"),
    ]
    assert refused[0].error.where == "t, line 4, column 'at'"
    assert refused[0].error.got == "'2024-02-30T12:00:00'"
    with pytest.raises(DataError, match=re.escape("timestamp[s]")):
        read_text(tmp_path, bad.encode("latin-1"), "t.log", format=fmt)


@pytest.mark.parametrize(
    ("pattern", "schema", "problem"),
    [
        ("(?P<a>x", None, "cannot be compiled"),
        ("x+", None, "names no columns"),
        ("(?P<a>x)", {"b": int}, "no column 'b'"),
        ("(?P<a>x)", {"a": "list<int64>"}, "cannot hold column 'a'"),
        ("(?P<a>x)(?P<a>y)", None, "cannot be compiled"),
    ],
)
def test_expressions_that_cannot_work(pattern: str, schema: Any, problem: str) -> None:
    with pytest.raises((BuildError, ColumnNotFoundError), match=problem):
        regex(pattern, schema)


ATOMS = st.sampled_from(
    [
        "a",
        "b",
        r"\d",
        r"\w",
        r"\s",
        r"\S",
        r"\.",
        ".",
        "[ab]",
        r"[^\s]",
        r"[a\d-]",
        "[]x]",
        "é",
        r"\b",
        "^",
        "$",
        r"\x41",
    ]
)
COUNTS = st.sampled_from(["", "", "", "*", "+", "?", "*?", "+?", "{2}", "{1,2}", "{0,}"])


@st.composite
def expressions(draw: st.DrawFn) -> str:
    parts, names = [], iter("pqrstuvw")
    for _ in range(draw(st.integers(1, 5))):
        inner = "".join(
            draw(ATOMS) + draw(COUNTS) if draw(st.booleans()) else draw(ATOMS)
            for _ in range(draw(st.integers(1, 3)))
        )
        if draw(st.booleans()):
            inner += "|" + draw(ATOMS)
        shape = draw(st.sampled_from(["(?P<%s>{})", "(?P<%s>{})?", "(?:{})", "(?:{})?", "({})"]))
        parts.append(shape.replace("%s", next(names)).replace("{}", inner))
    return "(?P<first>a*)" + "".join(parts)


@given(
    pattern=expressions(), texts=st.lists(st.text(st.sampled_from("abA1 .é\t\x0b-_"), max_size=8), min_size=1)
)
@settings(max_examples=80, deadline=None)
def test_both_engines_agree(pattern: str, texts: list[str]) -> None:
    try:
        compiled = re.compile(pattern, re.ASCII)
    except re.error:
        assume(False)
    assume(re2_pattern(pattern, compiled) is not None)
    data = "".join(f"{text}\n" for text in texts).encode()
    fast = regex(pattern)
    slow = Regex(pattern)
    slow.__dict__["fast"] = None
    a, b = decoded(fast, data), decoded(slow, data)
    assert a[0] == b[0]
    assert [(one.data, one.number) for one in a[1]] == [(one.data, one.number) for one in b[1]]


@pytest.mark.parametrize(
    ("pattern", "fast"),
    [
        (LOG, True),
        (r"^(?P<a>[\d\-+.eE]+)\s*,\s*(?P<b>.*?)$", True),
        (r"(?P<a>x)(?=y)", False),
        (r"(?P<a>x)\1", False),
        (r"(?P<a>x)(?P=a)", False),
        (r"(?i)(?P<a>x)", False),
        (r"(?P<a>x)*", False),
        (r"(?P<a>x*+)", False),
        (r"(?P<a>x{1,2000})", False),
        (r"(?P<a>[[:alpha:]])", False),
        (r"(?P<a>\N{DIGIT ONE})", False),
    ],
)
@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
def test_which_expressions_are_fast(pattern: str, fast: bool) -> None:
    assert (regex(pattern).fast is not None) == fast


def test_public_names() -> None:
    assert sl.lines is lines and sl.regex is regex and sl.raw_bytes is raw_bytes
