"""CSV: what is read, and what is said about text that cannot be."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from streamlib.connectors import FileSource, csv
from streamlib.errors import BuildError, DataError, SourceError
from tests.connectors.reading import read_text

AB = {"a": int, "b": str}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,x\n2,y\n", [(1, "x"), (2, "y")]),
        ("a,b\n1,x\n2,y", [(1, "x"), (2, "y")]),
        ("a,b\r\n1,x\r\n2,y\r\n", [(1, "x"), (2, "y")]),
        ("a,b\r1,x\r2,y\r", [(1, "x"), (2, "y")]),
        ("\ufeffa,b\n1,x\n", [(1, "x")]),
        ("\n\na,b\n1,x\n", [(1, "x")]),
        ("a,b\n\n1,x\n\n\n2,y\n\n", [(1, "x"), (2, "y")]),
        ("a,b\r\n\r\n1,x\r\n\r\n2,y\r\n", [(1, "x"), (2, "y")]),
        ("a,b\n", []),
        ("a,b", []),
        ("b,a\nx,1\n", [(1, "x")]),
        ("a,z,b\n1,9,x\n", [(1, "x")]),
        ("a,b\n,x\n2,\n", [(None, "x"), (2, None)]),
        ('a,b\n1,""\n2,\n', [(1, ""), (2, None)]),
        ('a,b\n1,"x,y"\n', [(1, "x,y")]),
        ('a,b\n1,"x\ny"\n2,"\n"\n', [(1, "x\ny"), (2, "\n")]),
        ('a,b\n1,"x\r\n\r\ny"\n', [(1, "x\r\n\r\ny")]),
        ('a,b\n1,"say ""hi"""\n2,""""\n', [(1, 'say "hi"'), (2, '"')]),
        ('a,b\n1,5" pipe\n2,x\n', [(1, '5" pipe'), (2, "x")]),
        ('a,b\n1,5" pipe\n2,"x\ny"\n3,7" pipe\n', [(1, '5" pipe'), (2, "x\ny"), (3, '7" pipe')]),
        ('a,b\n1,"x"y\n', [(1, "xy")]),
        ("a,b\n1,żółć 漢字 🙂\n", [(1, "żółć 漢字 🙂")]),
        ("a,b\n1, x \n", [(1, " x ")]),
        ("a,b\n1,null\n", [(1, "null")]),
        ('"a","b"\n"1","x"\n', [(1, "x")]),
        ("a,b\n9223372036854775807,x\n-9223372036854775808,y\n", [(2**63 - 1, "x"), (-(2**63), "y")]),
    ],
)
def test_text_is_read(tmp_path: Path, text: str, rows: list[tuple[Any, ...]]) -> None:
    assert [tuple(r.values()) for r in read_text(tmp_path, text, schema=AB)] == rows


def test_types(tmp_path: Path) -> None:
    schema = {
        "ts": "timestamp[us]",
        "z": "timestamp[us, UTC]",
        "d": "date32",
        "f": float,
        "ok": bool,
        "dec": "decimal128(10, 2)",
        "bin": "binary",
        "u": "uint8",
        "dict": pa.dictionary(pa.int32(), pa.string()),
    }
    head = ",".join(schema)
    values = ["2024-08-09T12:00:00.123456", "2024-08-09 12:00:00+02:00", "1969-01-02", "-1.5e3", "true"]
    line = ",".join([*values, "1.25", "\\x", "255", "k"])
    (row,) = read_text(tmp_path, f"{head}\n{line}\n", schema=schema)
    assert row["ts"] == dt.datetime(2024, 8, 9, 12, 0, 0, 123456)
    assert row["z"] == dt.datetime(2024, 8, 9, 10, tzinfo=dt.UTC)
    assert (row["d"], row["f"], row["ok"]) == (dt.date(1969, 1, 2), -1500.0, True)
    assert (row["dec"], row["bin"], row["u"], row["dict"]) == (Decimal("1.25"), b"\\x", 255, "k")
    (empty,) = read_text(tmp_path, f"{head}\n{',' * (len(schema) - 1)}\n", schema=schema)
    assert set(empty.values()) == {None}


def test_a_file_of_one_column_has_a_null_on_a_blank_line(tmp_path: Path) -> None:
    assert [r["a"] for r in read_text(tmp_path, "a\n1\n\n3\n", schema={"a": int})] == [1, None, 3]
    assert [r["a"] for r in read_text(tmp_path, "a\n\n", schema={"a": int})] == [None]
    assert [r["a"] for r in read_text(tmp_path, 'a\n""\n\n', schema={"a": str})] == ["", None]


def test_options(tmp_path: Path) -> None:
    rows = read_text(
        tmp_path,
        "1;'x;y'\nNA;z\n",
        schema=AB,
        format=csv(delimiter=";", quote="'", header=False, null_values=["NA"]),
    )
    assert rows == [{"a": 1, "b": "x;y"}, {"a": None, "b": "z"}]
    rows = read_text(tmp_path, '1,x\\,\\"y\n2,"\\"\n\\""\n', schema=AB, format=csv(header=False, escape="\\"))
    assert rows == [{"a": 1, "b": 'x,"y'}, {"a": 2, "b": '"\n"'}]
    rows = read_text(tmp_path, '1,"x\n2,y\n', schema=AB, format=csv(header=False, quote=None))
    assert rows == [{"a": 1, "b": '"x'}, {"a": 2, "b": "y"}]
    rows = read_text(tmp_path, "1,x\n", format=csv(column_names=["p", "q"]), schema={"q": str})
    assert rows == [{"q": "x"}]
    for wrong in ({"delimiter": ""}, {"delimiter": "ab"}, {"quote": "\n"}, {"escape": "é"}):
        with pytest.raises(BuildError, match="one ASCII character"):
            csv(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("a\n1\n2\n", "int64"),
        ("a\n1\n2.5\n", "double"),
        ("a\nx\n1\n", "string"),
        ("a\n2024-08-09 12:00:00\n", "timestamp[us]"),
        ("a\n2024-08-09 12:00:00.5\n", "timestamp[us]"),
        ("a\n2024-08-09 12:00:00.123456789\n", "timestamp[ns]"),
        ("a\n2024-08-09T12:00:00Z\n", "timestamp[us, tz=UTC]"),
        ("a\n2024-08-09\n", "date32[day]"),
        ("a\ntrue\n", "bool"),
        ("a,b\n,1\n", "string int64"),
        ("a,b\n", "string string"),
        ('a,b\n"x\ny",2\n', "string int64"),
    ],
)
def test_types_are_inferred(tmp_path: Path, text: str, types: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    schema = FileSource(path).schema()
    assert " ".join(str(field.type) for field in schema) == types
    names = FileSource(path, csv(header=False)).schema().names
    assert names == [f"f{i}" for i in range(len(schema))]


@pytest.mark.parametrize(
    ("text", "where", "got", "problem"),
    [
        ("a,b\n1,x\n2\n", "t.csv, line 3", "1 fields: '2'", "wrong number of fields"),
        ("a,b\n1,x\n2,y,z\n", "t.csv, line 3", "3 fields: '2,y,z'", "wrong number of fields"),
        ("a,b\n\n1,x\n\n2\n3,y\n", "t.csv, line 5", "1 fields: '2'", "wrong number of fields"),
        ("a,b\nfoo,x\n", "t.csv, line 2, column 'a'", "'foo'", "is no int64"),
        ("a,b\n1,x\n1.5,y\nbad,z\n", "t.csv, line 3, column 'a'", "'1.5'", "is no int64"),
        ('a,b\n1,"x\n\ny"\n\n\nfoo,y\n', "t.csv, line 7, column 'a'", "'foo'", "is no int64"),
        ('a,b\r\n1,"x\r\ny"\r\nfoo,y\r\n', "t.csv, line 4, column 'a'", "'foo'", "is no int64"),
        ('a,b\n"",x\n', "t.csv, line 2, column 'a'", "''", "is no int64"),
        ("a,b\n9223372036854775808,x\n", "t.csv, line 2, column 'a'", "'9223372036854775808'", "is no int64"),
        (b"a,b\n1,x\n2,\xff\xfe\n", "t.csv, line 3, column 'b'", r"b'\xff\xfe'", "no UTF-8"),
        ('a,b\n1,x\n2,"abc\n3,x\n', "t.csv, line 3", "'2,\"abc", "never closed"),
        ('a,b\nfoo,x\n2,"abc\n3,x\n', "t.csv, line 2, column 'a'", "'foo'", "is no int64"),
        ("a,b\n1,x\n \n", "t.csv, line 3", "1 fields", "wrong number of fields"),
        (
            "a,b\n" + "1,x\n" * 300_000 + "q,x\n" + "1,x\n" * 9,
            "t.csv, line 300,002, column 'a'",
            "'q'",
            "is no int64",
        ),
    ],
)
def test_bad_text_is_named(tmp_path: Path, text: str | bytes, where: str, got: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as raised:
        read_text(tmp_path, text, schema=AB)
    error = raised.value
    assert error.where is not None
    assert error.where.endswith(where)
    assert error.got is not None
    assert got in error.got
    assert error.expected


@pytest.mark.parametrize(
    ("kind", "value", "hint"),
    [
        ("timestamp[us]", "2024-08-09T12:00:00Z", "timestamp[us, UTC]"),
        ("timestamp[us, UTC]", "2024-08-09T12:00:00", "timestamp[us] "),
        ("timestamp[us]", "2024-08-09T12:00:00.123456789", "timestamp[ns]"),
        ("timestamp[us]", "1723204800000", "from_epoch"),
        ("int64", "1.5", "float64"),
        ("int64", "NULL", "null_values"),
    ],
)
def test_the_likely_cause_is_said(tmp_path: Path, kind: str, value: str, hint: str) -> None:
    with pytest.raises(DataError) as raised:
        read_text(tmp_path, f"a,b\n{value},1\n", schema={"a": kind})
    assert raised.value.hint is not None
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("\ufeff", "no header"),
        ("\n\n", "no header"),
        ("a,a\n1,2\n", "names a column twice"),
        ("a,c\n1,2\n", "no column 'b'"),
        ("1,x\n2,y\n", "header=False"),
        ("a,b\n1,x\n".encode("utf-16"), "not UTF-8"),
        (b"a,\xff\n1,x\n", "header cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, text: str | bytes, problem: str) -> None:
    with pytest.raises(SourceError) as raised:
        read_text(tmp_path, text, schema=AB)
    assert problem in str(raised.value)
    assert "t.csv" in str(raised.value)


def test_an_endless_record_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlib.connectors.formats.text.RECORD_BYTES_MAX", 1 << 16)
    text = 'a,b\n1,x\n2,"' + "y,z\n" * 100_000
    with pytest.raises(DataError, match="does not end") as raised:
        read_text(tmp_path, text, schema=AB, format=replace(csv(), block_bytes=1 << 12))
    assert raised.value.where is not None
    assert raised.value.where.endswith("t.csv, line 3")


def test_a_huge_record_is_read(tmp_path: Path) -> None:
    long = "x\n" * 6_000_000
    assert read_text(tmp_path, f'a,b\n1,"{long}"\n2,y\n', schema=AB) == [
        {"a": 1, "b": long},
        {"a": 2, "b": "y"},
    ]


def test_a_type_csv_cannot_hold_is_refused_when_the_graph_is_built(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    with pytest.raises(BuildError, match="CSV cannot hold column 'a'"):
        FileSource(path, schema={"a": "list<int64>"}).schema()
