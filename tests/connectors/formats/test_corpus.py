"""Malformed files, one of each kind, with exact counts of what goes where: rows, and refused lines by number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import streamlib as sl
from streamlib.connectors import FileSource
from streamlib.contracts import Block, Refused
from streamlib.errors import DataError

CORPUS = Path(__file__).parent / "corpus"
NS = {"n": int, "s": str}
ACCESS = r'^(?P<host>\S+) - - \[(?P<at>[^\]]*)\] "(?P<request>[^"]*)" (?P<status>\d+) (?:-|(?P<size>\d+))$'
ACCESS_TYPES = {"host": str, "at": "timestamp[s]", "request": str, "status": "int16", "size": int}

TABLE: list[tuple[str, Any, Any, int, dict[int, str]]] = [
    (
        "ticks.csv",
        "csv",
        {"ts": "timestamp[us]", "symbol": str, "price": float, "volume": int},
        5,
        {
            3: "the line has the wrong number of fields",
            4: "the value is no double",
            5: "the value is no timestamp[us]",
            6: "the value is no int64",
            7: "the line has the wrong number of fields",
            11: "the value is no UTF-8 text",
            14: "the value is no timestamp[us]",
            15: "the value is no int64",
        },
    ),
    ("quotes.csv", "csv", NS, 4, {}),
    ("stray_quote_pairs.csv", "csv", NS, 3, {}),
    ("crlf.csv", "csv", NS, 3, {3: "the value is no int64", 7: "the line has the wrong number of fields"}),
    ("old_mac.csv", "csv", NS, 2, {3: "the value is no int64"}),
    (
        "nulls.csv",
        "csv",
        NS,
        2,
        dict.fromkeys((3, 4, 5, 6), "the value is no int64"),
    ),
    ("nulls.csv", sl.csv(null_values=["", "NULL", "nan", "-"]), NS, 5, {3: "the value is no int64"}),
    (
        "semicolon_latin1.csv",
        sl.csv(delimiter=";", decimal=",", skip_rows=1, encoding="cp1252"),
        {"n": float, "s": str},
        2,
        {4: "the value is no double"},
    ),
    ("bom.csv", "csv", NS, 1, {3: "the value is no int64"}),
    (
        "objects.jsonl",
        "jsonl",
        {"n": int, "s": str, "t": "timestamp[us]"},
        6,
        {
            2: "the line is not JSON",
            3: "the line is no JSON object",
            4: "the line is no JSON object",
            5: "the line is no JSON object",
            6: "the value is no int64",
            7: "the value is no int64",
            8: "the value is no int64",
            10: "the value is no timestamp[us]",
            11: "the value is no timestamp[us]",
            12: "the value is no string",
            13: "the line is not JSON",
            14: "the line is not JSON",
            15: "the line cannot be read",
            20: "the line is not JSON",
            21: "the line is not JSON",
            22: "the line is not JSON",
            23: "the line is not JSON",
            25: "the line is not JSON",
            27: "the line is not JSON",
        },
    ),
    ("deep.jsonl", "jsonl", {"n": int}, 3, {2: "the line is not JSON"}),
    (
        "plain.log",
        sl.lines(max_line=100),
        None,
        5,
        {
            4: "the line is no UTF-8 text",
            6: "the line is no UTF-8 text",
            7: "the line is too long",
        },
    ),
    (
        "access.log",
        sl.regex(ACCESS, ACCESS_TYPES),
        None,
        3,
        {
            3: "the line does not match the expression",
            5: "the value is no timestamp[s]",
            6: "the value is no int16",
            7: "the line is no UTF-8 text",
            8: "the value is no int64",
            9: "the line does not match the expression",
        },
    ),
    ("records.bin", sl.raw_bytes(size=16), None, 2, {2: "the last record is too short"}),
    ("utf16_cut.log", sl.lines(encoding="utf-16"), None, 2, {3: "the line is no UTF-8 text"}),
]


@pytest.mark.parametrize(("name", "fmt", "schema", "rows", "refused"), TABLE, ids=[row[0] for row in TABLE])
def test_what_goes_where(name: str, fmt: Any, schema: Any, rows: int, refused: dict[int, str]) -> None:
    source = FileSource(CORPUS / name, fmt, schema, metadata=True)
    reader = source.open(source.splits()[0])
    found: list[Refused] = []
    read: list[Any] = []
    errors = []
    while isinstance(block := reader.read(), Block):
        for batch in reader.decode_leniently(block, found):
            batch.validate(full=True)
            read += batch.to_pylist()
        try:
            list(reader.decode(block))
        except DataError as error:
            errors.append(error)
    reader.close()
    assert {one.number: one.error.problem for one in found} == refused
    assert len(read) == rows
    assert bool(errors) == bool(refused)
    if errors:
        assert str(errors[0]) == str(found[0].error)  # strictly, the first of them is raised
    numbers = [row["file_row"] for row in read]
    assert numbers == sorted(set(numbers))
    assert all(0 <= n < rows + len(refused) for n in numbers)
    whole = (CORPUS / name).read_bytes()
    if "utf16" not in name and "latin1" not in name:
        assert all(one.data in whole for one in found)


def test_every_file_of_the_corpus_is_in_the_table() -> None:
    assert {row[0] for row in TABLE} == {path.name for path in CORPUS.iterdir()}
