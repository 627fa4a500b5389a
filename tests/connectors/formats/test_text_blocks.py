"""Cutting text into blocks: any size, and going on from any position, give the rows of reading it whole."""

from __future__ import annotations

import csv as pycsv
import gzip
import io
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlib.connectors import FileSource, csv, jsonl
from streamlib.connectors.formats.csv_cut import CsvCutter
from streamlib.connectors.formats.text import Cut, count_lines
from streamlib.contracts import Format
from streamlib.kernels.quotes import cut_regular
from tests.connectors.reading import blocks_of, rows_of

CELLS = st.text(st.sampled_from('ab1 ,;"\n\r\\é漢🙂'), max_size=6)
SIZES = st.sampled_from([1, 2, 3, 5, 7, 16, 64, 1000])
ENDINGS = st.sampled_from(["\n", "\r\n"])


def written(rows: list[list[str]], ending: str, quoting: int) -> str:
    out = io.StringIO()
    pycsv.writer(out, lineterminator=ending, quoting=quoting).writerows([["a", "b"], *rows])  # type: ignore[arg-type]
    return out.getvalue()


def check_everywhere(path: Path, fmt: Format, schema: pa.Schema, expected: list[dict[str, Any]]) -> None:
    """Reads whole, then goes on from the position after every block; lines and rows must be right."""
    source = FileSource(path, fmt, schema)
    (split,) = source.splits()
    blocks = blocks_of(source, split)
    assert [row for _, rows in blocks for row in rows] == expected
    seen = 0
    for block, rows in blocks:
        assert block.first_row == seen
        seen += len(rows)
        rest = [
            row
            for _, more in blocks_of(source, split, json.loads(json.dumps(block.position)))
            for row in more
        ]
        assert rest == expected[seen:]


@given(
    rows=st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=8),
    ending=ENDINGS,
    quoting=st.sampled_from([pycsv.QUOTE_ALL, pycsv.QUOTE_MINIMAL]),
    size=SIZES,
    last=st.booleans(),
    packed=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_csv_in_blocks_is_what_pythons_csv_wrote(
    rows: list[list[str]], ending: str, quoting: int, size: int, last: bool, packed: bool
) -> None:
    if quoting == pycsv.QUOTE_MINIMAL:  # Python's csv does not quote a lone carriage return
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    text = written(rows, ending, quoting)
    if not last:
        text = text.removesuffix(ending)
    expected: list[dict[str, Any]] = [dict(zip("ab", row, strict=True)) for row in rows]
    if quoting == pycsv.QUOTE_MINIMAL:  # an unquoted empty field is null
        expected = [{k: v or None for k, v in row.items()} for row in expected]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("t.csv.gz" if packed else "t.csv")
        data = text.encode()
        path.write_bytes(gzip.compress(data) if packed else data)
        fmt = replace(csv(), block_bytes=size)
        check_everywhere(path, fmt, pa.schema({"a": pa.string(), "b": pa.string()}), expected)


@given(
    text=st.text(st.sampled_from('ab,"\n\r\\'), max_size=40), size=SIZES, escape=st.sampled_from([None, "\\"])
)
@settings(max_examples=150, deadline=None)
def test_any_csv_text_gives_the_same_in_blocks_as_whole(text: str, size: int, escape: str | None) -> None:
    """Also text that no writer makes: the same rows, or an error in both ways."""
    schema = pa.schema({"a": pa.string(), "b": pa.string()})
    whole = csv(header=False, escape=escape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(text.encode() or b"\n")
        answers = []
        for fmt in (whole, replace(whole, block_bytes=size)):
            try:
                answers.append(str(rows_of(FileSource(path, fmt, schema))))
            except Exception as error:
                answers.append(f"{type(error).__name__} {error}")
        assert answers[0] == answers[1]
        assert "were counted" not in answers[0]


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {}, optional={"a": st.none() | st.integers(-(2**63), 2**63 - 1), "b": st.none() | CELLS}
        ),
        max_size=8,
    ),
    blank=st.sampled_from(["", "\n", "  \n", "\r\n"]),
    size=SIZES,
    ending=ENDINGS,
    indent=st.sampled_from(["", " "]),
)
@settings(max_examples=50, deadline=None)
def test_jsonl_in_blocks_is_what_pythons_json_wrote(
    rows: list[dict[str, Any]], blank: str, size: int, ending: str, indent: str
) -> None:
    text = "".join(indent + json.dumps(row) + ending + blank for row in rows) or "\n"
    expected = [{"a": row.get("a"), "b": row.get("b")} for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.jsonl"
        path.write_text(text, newline="")
        fmt = replace(jsonl(), block_bytes=size)
        check_everywhere(path, fmt, pa.schema({"a": pa.int64(), "b": pa.string()}), expected)


@given(text=st.text(st.sampled_from("a\n\r"), max_size=30))
def test_lines_are_counted_as_python_splits_them(text: str) -> None:
    data = text.encode()
    lines = data.splitlines(keepends=True)
    ends = sum(1 for line in lines if line.endswith((b"\n", b"\r")))
    blank = sum(1 for line in lines if not line.strip(b"\r\n"))
    assert count_lines(data, len(data)) == (ends, len(lines) - blank, blank)


def test_lines_are_counted_across_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlib.connectors.formats.text._STRIDE", 1)
    assert count_lines(b"a\r\n\r\n\nb\n\nc\r\rd", 13) == (7, 4, 4)


def test_the_line_of_a_block_is_given_only_where_a_row_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n2,y\n\n3,z\n" + '4,"p\nq"\n5,r\n')
    source = FileSource(path, replace(csv(), block_bytes=8), {"a": int, "b": str})
    lines = {rows[0]["a"]: block.first_line for block, rows in blocks_of(source, source.splits()[0]) if rows}
    assert lines[1] == 2
    assert lines[5] == 8 or lines.get(4) is None


@given(
    text=st.lists(st.sampled_from([*'",\n\ra\\', '""', ',"', '",', '"\n', "a" * 30, "é" * 40]), max_size=90),
    escape=st.sampled_from([None, b"\\"]),
    one_column=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_the_kernels_and_the_pattern_cut_alike(
    text: list[str], escape: bytes | None, one_column: bool
) -> None:
    data = "".join(text).encode() or b"\n"
    cutter = CsvCutter(b",", b'"', escape, one_column)
    for ended in (False, True):
        wanted = cutter._cut_by_fields(data, ended)
        assert cutter._cut_by_kernels(data, ended, escaped=True) == wanted
        if escape is None:
            assert cutter._cut_by_kernels(data, ended, escaped=False) == wanted


@given(
    fields=st.lists(st.lists(CELLS, min_size=1, max_size=3), min_size=1, max_size=6),
    size=st.integers(1, 200),
)
@settings(max_examples=100, deadline=None)
def test_what_writers_make_needs_no_look_at_each_character(fields: list[list[str]], size: int) -> None:
    out = io.StringIO()
    pycsv.writer(out, quoting=pycsv.QUOTE_ALL, lineterminator="\n").writerows(fields)
    data = out.getvalue().encode()[:size]
    cutter = CsvCutter(b",", b'"', None)
    for ended in (False, True):
        assert cut_regular(data, ord('"'), ord(","), ended) is not None
        assert cutter._cut_by_kernels(data, ended, escaped=False) == cutter._cut_by_fields(data, ended)


def test_a_record_larger_than_any_block_is_cut_whole() -> None:
    record = b'1,"' + b"x,\r\n" * 300_000 + b'"\r\n'
    data = b'0,"a"\r\n' + record + b'2,"b'
    cutter = CsvCutter(b",", b'"', None)
    whole = cutter.cut(data, ended=False)
    assert whole == Cut(len(data) - 4, 2, 300_002, multiline=True)
    assert cutter.cut(data, ended=True) == Cut(len(data), 3, 300_002, multiline=True, unclosed=True)
    assert cutter.cut(data[: len(data) // 2], ended=False) == Cut(7, 1, 1)
