"""Reading leniently: a record is refused exactly when it cannot be read alone, and all others are rows."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib.connectors import FileSource
from streamlib.connectors.formats.csv_parse import CsvParser
from streamlib.connectors.formats.jsonl import JsonlParser
from streamlib.contracts import Block, Format, Refused
from streamlib.errors import DataError

KINDS = ["int64", "uint8", "float64", "bool", "timestamp[us]", "timestamp[ns, UTC]", "date32", "decimal128(5, 2)",
         "string", "binary", "dictionary<values=string, indices=int32>", "time32[s]"]  # fmt: skip
VALUES = ["", "1", " 1 ", "1.5", "-1", "256", "0x1F", "+1", "1e3", "nan", "inf", "true", "T", "FALSE", "NA", "null",
          "2024-08-09", " 2024-08-09", "2024-08-09 12:00:00", "2024-08-09T12:00:00Z", "2024-02-30", "12:00:00",
          "2024-08-09 12:00:00.123456789", "1.234", "12345.6", "\u00e9", "99999999999999999999", "1_000"]  # fmt: skip
JSON = ["null", "1", "1.5", "-1", "256", "1e3", "true", '"x"', '"1"', '"2024-08-09"', '"2024-08-09T12:00:00Z"',
        '"2024-08-09 12:00:00"', '"2024-02-30"', '"12:00:00"', '"YQ=="', "[1]", "{}", "99999999999999999999",
        "1.234", '"1.23"', '"\\ud800"', "nan", ""]  # fmt: skip


def lenient(fmt: Format, data: bytes, schema: pa.Schema) -> tuple[list[Any], list[Refused]]:
    reader = fmt.open_reader(io.BytesIO(data), "t", schema)
    rows: list[Any] = []
    refused: list[Refused] = []
    while isinstance(block := reader.read(), Block):
        for batch in reader.decode_leniently(block, refused):
            assert batch.schema == schema
            batch.validate(full=True)
            rows += batch.to_pylist()
    return rows, refused


def alone(fmt: Format, record: bytes, schema: pa.Schema, head: bytes = b"") -> list[Any] | DataError:
    reader = fmt.open_reader(io.BytesIO(head + record), "t", schema)
    try:
        return [
            row
            for block in iter(reader.read, None)
            for batch in reader.decode(block)  # type: ignore[arg-type]
            for row in batch.to_pylist()
        ]
    except DataError as error:
        return error


def check(fmt: Format, records: list[bytes], schema: pa.Schema, head: bytes = b"") -> None:
    rows, refused = lenient(fmt, head + b"".join(records), schema)
    answers = [alone(fmt, record, schema, head) for record in records]
    assert str(rows) == str([answer[0] for answer in answers if isinstance(answer, list)])
    bad = [i for i, answer in enumerate(answers) if isinstance(answer, DataError)]
    first = head.count(b"\n") + 1
    assert [(one.data, one.number) for one in refused] == [(records[i], first + i) for i in bad]
    for one, i in zip(refused, bad, strict=True):
        single = answers[i]
        assert isinstance(single, DataError)
        where = (single.where or "").replace(f"line {first}", f"line {first + i}")
        assert (one.error.problem, one.error.where, one.error.got) == (single.problem, where, single.got)


@given(
    kind=st.sampled_from(KINDS),
    values=st.lists(st.tuples(st.sampled_from(VALUES), st.booleans()), min_size=1, max_size=12),
    shape=st.lists(st.sampled_from([0, 0, 0, 0, 1, 2]), min_size=12, max_size=12),
)
@settings(max_examples=50, deadline=None)
def test_csv(kind: str, values: list[tuple[str, bool]], shape: list[int]) -> None:
    schema = sl.connectors.schemas.schema_of({"v": kind, "n": "int8"})
    records = []
    for (value, quoted), odd in zip(values, shape, strict=False):
        field = f'"{value}"' if quoted else value
        records.append(
            [f"{field},1\n", f"{field}\n", f"{field},1,2\n"][odd].encode() if field or odd != 1 else b",\n"
        )
    check(sl.csv(null_values=["", "NA"]), records, schema, b"v,n\n")


@given(kind=st.sampled_from(KINDS), values=st.lists(st.sampled_from(JSON), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_jsonl(kind: str, values: list[str]) -> None:
    schema = sl.connectors.schemas.schema_of({"v": kind, "n": "int8"})
    check(sl.jsonl(), [f'{{"n":1,"v":{value}}}\n'.encode() for value in values], schema)


@given(values=st.lists(st.sampled_from(VALUES), min_size=1, max_size=12), kind=st.sampled_from(KINDS))
@settings(max_examples=50, deadline=None)
def test_regex(values: list[str], kind: str) -> None:
    fmt = sl.regex("^v=(?P<v>.*)$", {"v": kind})
    check(fmt, [f"v={value}\n".encode() for value in values], fmt.schema)


@pytest.mark.parametrize("block_bytes", [1, 30, 4 << 20])
def test_a_quote_that_is_never_closed_costs_one_line(block_bytes: int) -> None:
    data = b'n,s\n1,a\n2,"b\n3,c\n\n4,d,e\n"5","f ""g"""\n'
    schema = pa.schema({"n": pa.int64(), "s": pa.string()})
    rows, refused = lenient(
        replace(sl.csv(), block_bytes=block_bytes), b'n,s\n1,a\n2,"b\n3,c\n\n4,d\nx,y\n', schema
    )
    assert [row["n"] for row in rows] == [1, 3, 4]
    assert [(one.number, one.data) for one in refused] == [(3, b'2,"b\n'), (7, b"x,y\n")]
    rows, refused = lenient(replace(sl.csv(), block_bytes=block_bytes), data, schema)
    assert sum(one.data.count(b"\n") for one in refused) + len(rows) == 6 - (not rows)


def test_numbers_within_the_file_stay_with_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("n\n1\nx\n3\n4\ny\nz\n7\n")
    for fmt in (sl.csv(), replace(sl.csv(), block_bytes=4)):
        source = FileSource(path, fmt, {"n": int}, metadata=True)
        for chosen in (source, source.with_columns(["file_row", "n"])):
            reader = chosen.open(chosen.splits()[0])
            refused: list[Refused] = []
            rows: list[Any] = []
            while isinstance(block := reader.read(), Block):
                for batch in reader.decode_leniently(block, refused):
                    rows += [(row["n"], row["file_row"]) for row in batch.to_pylist()]
            reader.close()
            assert rows == [(1, 0), (3, 2), (4, 3), (7, 6)]
            assert [one.number for one in refused] == [3, 6, 7]
            assert all(str(path) in (one.error.where or "") for one in refused)


BAD = {
    "csv": (sl.csv(header=False), [b"NA\n", b"1,2\n", b"\xff\n", b'""\n']),
    "jsonl": (
        sl.jsonl(),
        [b"[]\n", b'{"n":"x"}\n', b'{"n":1\n', b'{"n":99999999999999999999}\n', b'{"n":1.5}\n'],
    ),
    "regex": (sl.regex(r"(?P<n>[^-]+)", {"n": int}), [b"-\n", b"x\n", b"\xff\n"]),
}


@pytest.mark.parametrize(("name", "bad"), [(name, bad) for name in BAD for bad in BAD[name][1]])
def test_many_bad_records_cost_few_calls_of_the_parser(
    monkeypatch: pytest.MonkeyPatch, name: str, bad: bytes
) -> None:
    """A parser call costs as much as hundreds of rows: never one for each record, good or bad."""
    calls = []

    def counted(owner: Any, method: str) -> None:
        real = getattr(owner, method)
        monkeypatch.setattr(owner, method, lambda *a: calls.append(method) or real(*a))

    counted(CsvParser, "parse")
    counted(JsonlParser, "parse")
    counted(sys.modules["streamlib.connectors.formats.regex"], "typed")
    rows = 2000
    good = b'{"n":1}\n' if name == "jsonl" else b"1\n"
    found, refused = lenient(BAD[name][0], (good + bad) * rows, pa.schema({"n": pa.int64()}))
    assert (len(found), len(refused)) == (rows, rows)
    assert len(calls) < 50
