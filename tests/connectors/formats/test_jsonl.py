"""JSON Lines: what is read and written, and what is said about lines that cannot be read."""

from __future__ import annotations

import datetime as dt
import io
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.connectors import FileSource, jsonl
from streamlib.errors import DataError, SourceError
from tests.connectors.reading import read_text

AB = {"a": int, "b": str}


def read(folder: Path, text: str | bytes, schema: Any = None) -> list[dict[str, Any]]:
    return read_text(folder, text, "t.jsonl", schema)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('{"a":1,"b":"x"}\n{"b":"y","a":2}\n', [(1, "x"), (2, "y")]),
        ('{"a":1,"b":"x"}', [(1, "x")]),
        ('{"a":1,"b":"x"}\r\n\r\n{"a":2,"b":"y"}\r\n', [(1, "x"), (2, "y")]),
        ('\ufeff{"a":1,"b":"x"}\n', [(1, "x")]),
        ('\n  \n{"a":1,"b":"x"}\n\n', [(1, "x")]),
        ('   {"a":1,"b":"x"}  \n', [(1, "x")]),
        (
            '{"a":1}\n{"b":"y"}\n{}\n{"a":null,"b":null}\n',
            [(1, None), (None, "y"), (None, None), (None, None)],
        ),
        ('{"a":1,"b":"x","z":[1,{"q":null}]}\n', [(1, "x")]),
        ('{"a":1,"b":"\\u00e9\\n\\ud83d\\ude42 漢"}\n', [(1, "é\n🙂 漢")]),
        ("\n\n", []),
    ],
)
def test_text_is_read(tmp_path: Path, text: str, rows: list[tuple[Any, ...]]) -> None:
    assert [tuple(row.values()) for row in read(tmp_path, text, AB)] == rows


@pytest.mark.parametrize(
    ("text", "where", "got", "problem"),
    [
        ('{"a":1}\n{"a":1\n', "line 2", "'{\"a\":1'", "is not JSON"),
        ('{"a":1}\n{"a":1}{"a":2}\n', "line 2", '{"a":1}{"a":2}', "is not JSON"),
        ('\n{"a":1}\n\nnull\n', "line 4", "null", "no JSON object"),
        ("null\n", "line 1", "null", "no JSON object"),
        ("null\nnull\n", "line 1", "null", "no JSON object"),
        ("[1]\n", "line 1", "an array: '[1]'", "no JSON object"),
        ('{"a":1}\n5\n', "line 2", "a number: '5'", "no JSON object"),
        ('{"a":1.5}\n', "line 1, column 'a'", "'1.5'", "is no int64"),
        ('{"a":1}\n{"a":"x"}\n', "line 2, column 'a'", "a string: '\"x\"'", "is no int64"),
        ('{"a":1,"b":{"c":1}}\n', "line 1, column 'b'", "an object", "is no string"),
        ('{"a":true}\n', "line 1, column 'a'", "a truth value", "is no int64"),
        (b'{"a":1}\n{"b":"\xff"}\n', "line 2", r"\xff", "is not JSON"),
        ('{"a":1,"a":2}\n', "line 1", '"a":2', "cannot be read"),
        (
            '{"a":1}\n' * 200_000 + '{"a":"x"}\n' + '{"a":1}\n' * 9,
            "line 200,001, column 'a'",
            "x",
            "is no int64",
        ),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, text: str | bytes, where: str, got: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as raised:
        read(tmp_path, text, AB)
    error = raised.value
    assert error.where is not None
    assert error.where.endswith(f"t.jsonl, {where}")
    assert error.got is not None
    assert got in error.got
    assert error.expected


def test_an_unknown_key_is_an_error_where_the_schema_was_inferred(tmp_path: Path) -> None:
    text = '{"a":1}\n' * 200_000 + '{"a":1,"z":2}\n'
    with pytest.raises(DataError, match="key 'z'"):
        read(tmp_path, text)
    assert len(read(tmp_path, text, {"a": int})) == 200_001
    path = tmp_path / "t.jsonl"
    narrow = FileSource(path).with_columns(["a"])
    reader = narrow.open(narrow.splits()[0])
    while (block := reader.read()) is not None:
        assert [b.num_columns for b in reader.decode(block)]  # type: ignore[arg-type]
    reader.close()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2"], "int64"),
        (["1", "2.5"], "double"),
        (['"x"'], "string"),
        (['"2024-08-09T12:00:00"'], "timestamp[us]"),
        (['"2024-08-09T12:00:00.123456"', "null"], "timestamp[us]"),
        (['"2024-08-09 12:00:00.123456789"'], "timestamp[ns]"),
        (['"2024-08-09T12:00:00.5Z"'], "timestamp[us, tz=UTC]"),
        (['"2024-08-09T12:00:00.5Z"', '"2024-08-09T12:00:00.5"'], "string"),
        (['"2024-08-09T12:00:00.5"', '"soon"'], "string"),
        (["null"], "string"),
        (["[1]", "[]"], "list<item: int64>"),
        (['{"x":1}'], "struct<x: int64>"),
    ],
)
def test_types_are_inferred(tmp_path: Path, values: list[str], kind: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f'{{"a":{value}}}\n' for value in values))
    assert str(FileSource(path).schema().field("a").type) == kind


@pytest.mark.parametrize(
    ("text", "error", "problem"),
    [
        ("", SourceError, "is empty"),
        ("{}\n", SourceError, "no columns"),
        ('{"a":1}\n{"a":"x"}\n', SourceError, "types cannot be told"),
        ('{"a":1}\n[1]\n', DataError, "no JSON object"),
        ("{" * 5_000 + "\n", DataError, "no JSON object"),
        ('{"a":' * 5_000 + "1" + "}" * 5_000 + "\n", DataError, "no JSON object"),
    ],
)
def test_a_schema_that_cannot_be_inferred(
    tmp_path: Path, text: str, error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        read(tmp_path, text)


def written(rows: pa.RecordBatch) -> list[str]:
    out = io.BytesIO()
    writer = jsonl().open_writer(out, rows.schema)
    writer.write(rows)
    writer.close()
    return out.getvalue().decode().split("\n")[:-1]


def test_every_type_is_written(tmp_path: Path) -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    values = {
        "i": (7, pa.int64(), 7),
        "f": (0.1, pa.float64(), 0.1),
        "whole": (5.0, pa.float64(), 5.0),
        "nan": (math.nan, pa.float64(), None),
        "inf": (math.inf, pa.float32(), None),
        "half": (1.5, pa.float16(), 1.5),
        "s": ('"\\\n é🙂', pa.string(), '"\\\n é🙂'),
        "ok": (True, pa.bool_(), True),
        "us": (dt.datetime(1969, 12, 31, 23, 59, 59, 5), pa.timestamp("us"), "1969-12-31T23:59:59.000005"),
        "ns": (1, pa.timestamp("ns"), "1970-01-01T00:00:00.000000001"),
        "z": (dt.datetime(2024, 1, 1, 2, tzinfo=zone), pa.timestamp("s", "+02:00"), "2024-01-01T00:00:00Z"),
        "d": (dt.date(2024, 1, 2), pa.date32(), "2024-01-02"),
        "t": (dt.time(1, 2, 3, 4), pa.time64("us"), "01:02:03.000004"),
        "dur": (5, pa.duration("us"), 5),
        "dec": (Decimal("1.20"), pa.decimal128(10, 2), "1.20"),
        "bin": (b"hello", pa.binary(), "aGVsbG8="),
        "dict": ("k", pa.dictionary(pa.int32(), pa.string()), "k"),
        "list": ([dt.date(2024, 1, 2), None], pa.list_(pa.date32()), ["2024-01-02", None]),
        "struct": (
            {"x": b"hi", "y": None},
            pa.struct({"x": pa.binary(), "y": pa.int8()}),
            {"x": "aGk=", "y": None},
        ),
    }
    arrays = [pa.array([value, None], kind) for value, kind, _ in values.values()]
    rows = pa.record_batch(arrays, names=list(values))
    first, second = map(json.loads, written(rows))
    assert first == {name: out for name, (_, _, out) in values.items()}
    assert set(second.values()) == {None}
    assert list(first) == list(values)
    back = [n for n in values if n not in ("nan", "inf", "half")]
    schema = pa.schema([rows.schema.field(n) for n in back])
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(written(rows)))
    source = FileSource(path, schema=schema)
    reader = source.open(source.splits()[0])
    batches = list(reader.decode(reader.read()))  # type: ignore[arg-type]
    reader.close()
    assert pa.Table.from_batches(batches).equals(pa.Table.from_batches([rows.select(back)]))


@given(
    st.lists(
        st.fixed_dictionaries({"a": st.none() | st.integers(-(2**63), 2**63 - 1), "b": st.none() | st.text()})
    )
)
def test_what_is_written_is_what_json_reads(rows: list[dict[str, Any]]) -> None:
    batch = pa.RecordBatch.from_pylist(rows, pa.schema({"a": pa.int64(), "b": pa.string()}))
    assert [json.loads(line) for line in written(batch)] == rows


def test_sliced_lists_and_structs_are_written() -> None:
    rows = pa.record_batch({"l": [[1], [2, 3], None, []], "s": [{"x": 1}, {"x": 2}, None, {"x": 4}]})
    assert [json.loads(line) for line in written(rows.slice(1, 3))] == rows.slice(1, 3).to_pylist()
